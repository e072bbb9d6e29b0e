#!/usr/bin/env python3
"""map, info, measure, check, rebase, commit-backing and convert against qemu-img, on images that qemu-img made."""
import json
import os
import random
import shutil
import struct
import tempfile

from _dish import DISH, LONG
from _qcow2 import clean, run, same


def dish(*args, status=0):
    return run(DISH, *args, status=status)


def ours(image, *command, options=(), status=0):
    return json.loads(dish('--json', *options, image, '--', *command, status=status).stdout)


def theirs(*command, status=0):
    return json.loads(run('qemu-img', command[0], '--output=json', *command[1:], status=status).stdout)


def equal(what, mine, qemu):
    if mine != qemu:
        raise SystemExit(f'{what}: we say\n{json.dumps(mine)[:3000]}\nQEMU says\n{json.dumps(qemu)[:3000]}')


def create(image, size, options='', backing=None, backing_format='qcow2'):
    words = ['-o', options] if options else []
    words += ['-b', backing, '-F', backing_format] if backing else []
    run('qemu-img', 'create', '-q', '-f', 'qcow2', *words, image, *([str(size)] if size else []))
    return image


def fill(image, seed, size, count=12, zeros=True, discards=False):
    """Random writes, zeros and discards of whole and part clusters."""
    rng = random.Random(seed)
    words = []
    for _ in range(count):
        off = rng.randrange(size // 512) * 512
        length = min(rng.choice([512, 4096, 65536, 200 * 1024]), size - off)
        verb = rng.choice([f'-P {rng.randrange(1, 255)} '] * 4 + ['-z '] * zeros)
        words += ['-c', f'write {verb}{off} {length}']
        if discards and rng.random() < 0.3:
            words += ['-c', f'discard {off} {length}']
    run('qemu-io', '-f', 'raw' if image.endswith('.raw') else 'qcow2', *words, image)


def raw(path, size, seed):
    with open(path, 'wb') as file:
        file.truncate(size)
    fill(path, seed, size, zeros=False)
    return path


OPTIONS = ['cluster_size=64k', 'cluster_size=512', 'cluster_size=4k', 'cluster_size=2M', 'extended_l2=on',
           'compat=0.10', 'refcount_bits=1,cluster_size=4k', 'compression_type=zstd', 'cluster_size=32k,extended_l2=on',
           'cluster_size=64k,preallocation=metadata']


def images():
    """One of each kind, by name."""
    size = 3 << 20
    out = []
    for number, options in enumerate(OPTIONS):
        image = create(f'i{number}.qcow2', size, options)
        fill(image, number, size, discards=True)
        out.append(image)
        flat = f'f{number}.raw'
        run('qemu-img', 'convert', '-O', 'raw', image, flat)
        if 'preallocation' not in options:
            packed = f'c{number}.qcow2'
            run('qemu-img', 'convert', '-c', '-O', 'qcow2', '-o', options, flat, packed)
            out.append(packed)
    out.append(raw('holes.raw', size, 99))
    for number, (base, base_format) in enumerate([('holes.raw', 'raw'), ('i0.qcow2', 'qcow2'), ('i4.qcow2', 'qcow2')]):
        for bigger in (0, 1 << 20):
            image = create(f'o{number}{bigger}.qcow2', size + bigger, '', base, base_format)
            fill(image, number + 50, size + bigger, 6, discards=True)
            out.append(image)
    smaller = create('small.qcow2', 1 << 20, '', 'i0.qcow2')
    fill(smaller, 7, 1 << 20, 4)
    top = create('top.qcow2', 5 << 20, '', 'o01048576.qcow2')
    fill(top, 8, 5 << 20, 4)
    return out + [smaller, top]


def merged(runs):
    """Neighbours that differ in nothing are one, whoever cut them."""
    out = []
    for item in runs:
        item = {key: value for key, value in item.items() if key != 'filename'}
        # Where it thinks that most of a file is holes QEMU looks for holes of the host in stored clusters, too.
        item['zero'] = item['zero'] and not item['data']
        last = out[-1] if out else None
        if last and all(last[key] == item[key] for key in ('depth', 'present', 'zero', 'data')) and \
                ('offset' in last) == ('offset' in item) and \
                ('offset' not in item or last['offset'] + last['length'] == item['offset']):
            last['length'] += item['length']
        else:
            out.append(item)
    return out


def map_parity(image):
    mine = ours(image, 'map')
    for item in mine:
        item.pop('compressed', None)
    qemu = theirs('map', image)
    for item in qemu:
        item.pop('compressed', None)
    equal(f'map {image}', merged(mine), merged(qemu))


def info_parity(image):
    mine, qemu = ours(image, 'info'), theirs('info', image)
    for key in qemu:
        if key not in ('children', 'actual-size'):
            equal(f'info {image}: {key}', mine.get(key), qemu[key])


def check_parity(image, status=0, ours_expect=0):
    mine, qemu = ours(image, 'check', '--container', status=ours_expect), theirs('check', image, status=status)
    for key in qemu:
        equal(f'check {image}: {key}', mine.get(key), qemu[key])


def measure_parity(image):
    # See merged(): those holes are not counted either.
    holes = any(item['zero'] and item['data'] for item in theirs('map', image))
    for options in ('', 'cluster_size=512', 'cluster_size=2M', 'extended_l2=on', 'refcount_bits=64,cluster_size=4k',
                    'preallocation=full', 'compat=0.10', 'backing_file=i0.qcow2,backing_fmt=qcow2'):
        words = ['-o', options] if options else []
        mine = json.loads(dish('--json', '--', 'measure', *words, image).stdout)
        qemu = theirs('measure', '-O', 'qcow2', *words, image)
        if holes and qemu['required'] <= mine['required']:
            qemu['required'] = mine['required']
        equal(f'measure {image} {options}', mine, qemu)
    equal(f'measure -f raw {image}', json.loads(dish('--json', '--', 'measure', '-f', 'raw', image).stdout),
          theirs('measure', '-O', 'raw', image))


def measure_sizes():
    for size in (0, 512, 1000, 1 << 20, (1 << 30) + 512, 10 << 30, 1 << 40):
        for options in ('cluster_size=64k', 'cluster_size=2M', 'extended_l2=on', 'refcount_bits=1', 'refcount_bits=64'):
            mine = json.loads(dish('--json', '--', 'measure', '-o', options, str(size)).stdout)
            equal(f'measure {size} {options}', mine, theirs('measure', '-O', 'qcow2', '-o', options, '--size', str(size)))
    dish('--', 'measure', '-o', 'cluster_size=512', '1T', status=1)


def snapshots_and_bitmaps():
    image = create('s.qcow2', 1 << 20)
    run('qemu-img', 'bitmap', '--add', '-g', '128k', image, 'one')
    run('qemu-img', 'bitmap', '--add', '--disable', image, 'a longer name')
    fill(image, 3, 1 << 20)
    run('qemu-img', 'snapshot', '-c', 'first', image)
    fill(image, 4, 1 << 20)
    run('qemu-img', 'snapshot', '-c', 'second one', image)
    info_parity(image)
    map_parity(image)
    check_parity(image)
    measure_parity(image)
    # A snapshot's contents are measured as they were; bitmaps are not theirs.
    mine = json.loads(dish('--json', '--', 'measure', '-l', 'first', image).stdout)
    equal('measure -l', mine['required'],
          theirs('measure', '-O', 'qcow2', '-l', 'snapshot.name=first', image)['required'])


def poke(image, off, data):
    with open(image, 'r+b') as file:
        file.seek(off)
        file.write(data)


def damage():
    """Counts and exit status; repaired by us they are clean for QEMU."""
    base = create('t.qcow2', 1 << 20)
    run('qemu-io', '-c', 'write -P 17 0 256k', base)
    for what, off, data, status in (('copied flag', 0x40000, struct.pack('>Q', 0x50000), 2),
                                    ('refcount 2', 0x2000a, b'\0\2', 2), ('refcount 0', 0x2000a, b'\0\0', 2),
                                    ('leak', 0x40000, struct.pack('>Q', 1), 3)):
        shutil.copy(base, 'bad.qcow2')
        poke('bad.qcow2', off, data)
        check_parity('bad.qcow2', status, 4)
        mine = ours('bad.qcow2', 'check', '--container', '--repair=all')
        qemu = shutil.copy(base, 'bad2.qcow2')
        poke(qemu, off, data)
        report = theirs('check', '-r', 'all', qemu)
        for key in ('corruptions', 'leaks', 'leaks-fixed', 'check-errors'):
            equal(f'{what}: repaired: {key}', mine.get(key), report.get(key))
        clean('bad.qcow2', what)


def chain(number):
    """Bases of several sizes and formats under one overlay of 2 MiB."""
    base_size, new_size = [(2 << 20, 2 << 20), (1 << 20, 3 << 20), (3 << 20, 1 << 20), (96 << 10, (1 << 20) + 512)][number % 4]
    old_format, new_format = [('raw', 'qcow2'), ('qcow2', 'raw'), ('qcow2', 'qcow2')][number % 3]
    os.makedirs('sub', exist_ok=True)
    for name, kind, size, seed in (('old', old_format, base_size, 1), ('new', new_format, new_size, 2)):
        path = f'sub/{name}.{kind}'
        if kind == 'raw':
            raw(path, size, seed + number)
        else:
            fill(create(path, size), seed + number, size)
    options = ['', 'cluster_size=4k', 'compat=0.10', 'extended_l2=on', 'cluster_size=512'][number % 5]
    run('qemu-img', 'create', '-q', '-f', 'qcow2', *(['-o', options] if options else []), '-b', f'old.{old_format}',
        '-F', old_format, 'sub/over.qcow2', '2M')
    fill('sub/over.qcow2', number + 9, 2 << 20, 5)
    return f'old.{old_format}', old_format, f'new.{new_format}', new_format


def rebase(number):
    old, old_format, new, new_format = chain(number)
    over = 'sub/over.qcow2'
    run('qemu-img', 'convert', '-O', 'raw', over, 'want.raw')
    for name, words in (('safe', ('-b', new, '-F', new_format)), ('flatten', ('-b', ''))):
        mine, qemu = f'sub/{name}.qcow2', f'sub/{name}-q.qcow2'
        shutil.copy(over, mine)
        shutil.copy(over, qemu)
        dish(mine, '--', 'rebase', *words)
        run('qemu-img', 'rebase', *words, qemu)
        clean(mine, f'rebase {name} {number}')
        same(mine, 'want.raw', f'rebase {name} {number}')
        report = theirs('info', mine)
        equal(f'rebase {name} {number}: name', report.get('backing-filename'), words[1] or None)
        equal(f'rebase {name} {number}: format', report.get('backing-filename-format'), words[3] if len(words) > 2 else None)
        if os.path.getsize(mine) > os.path.getsize(qemu) * 1.15 + 65536:
            raise SystemExit(f'rebase {name} {number}: {os.path.getsize(mine)} bytes, QEMU {os.path.getsize(qemu)}')
    shutil.copy(over, 'sub/unsafe.qcow2')
    dish('sub/unsafe.qcow2', '--', 'rebase', '-u', '-b', new, '-F', new_format)
    shutil.copy(over, 'sub/unsafe-q.qcow2')
    run('qemu-img', 'rebase', '-u', '-b', new, '-F', new_format, 'sub/unsafe-q.qcow2')
    clean('sub/unsafe.qcow2', 'rebase -u')
    same('sub/unsafe.qcow2', 'sub/unsafe-q.qcow2', f'rebase -u {number}')


def commit_backing(number):
    old, old_format, _, _ = chain(number)
    over = 'sub/over.qcow2'
    run('qemu-img', 'convert', '-O', 'raw', over, 'want.raw')
    os.makedirs('twin', exist_ok=True)
    shutil.copy(over, 'twin/over.qcow2')
    shutil.copy(f'sub/{old}', f'twin/{old}')
    run('qemu-img', 'commit', '-q', 'twin/over.qcow2')
    dish(over, '--', 'commit-backing')
    what = f'commit-backing {number}'
    clean(over, what)
    same(over, 'want.raw', what)
    if old_format == 'qcow2':
        clean(f'sub/{old}', what)
    equal(f'{what}: size of the base', theirs('info', f'sub/{old}')['virtual-size'],
          theirs('info', f'twin/{old}')['virtual-size'])
    same(f'sub/{old}', f'twin/{old}', what)
    if any(item['depth'] == 0 and item['present'] for item in theirs('map', over)):
        raise SystemExit(f'{what}: the image still holds something')


def refusals():
    create('r.qcow2', 1 << 20)
    before = open('r.qcow2', 'rb').read()
    for words in (['rebase'], ['rebase', '-b', 'i0.qcow2'], ['rebase', '-b', 'nosuch.qcow2', '-F', 'qcow2'],
                  ['rebase', '-b', 'r.qcow2', '-F', 'qcow2'], ['commit-backing']):
        if dish('r.qcow2', '--', *words, status=None).returncode in (0, 139, 134):
            raise SystemExit(f'{words}: not refused')
        if open('r.qcow2', 'rb').read() != before:
            raise SystemExit(f'{words}: refused, but the file has changed')


def taken_back():
    """After a change of the backing file is taken back, or fails, the old one shows again."""
    run('qemu-img', 'create', '-q', '-f', 'qcow2', 'under.qcow2', '1M')
    run('qemu-io', '-f', 'qcow2', '-c', 'write -P 65 0 64k', 'under.qcow2')
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=512', '-b', 'under.qcow2', '-F', 'qcow2',
        'over.qcow2')
    too_long = './' * 200 + 'under.qcow2'
    for changes in (['rebase -u -b under.qcow2 -F raw', 'undo'], [f'-rebase -u -b {too_long} -F qcow2']):
        words = [word for line in [*changes, 'hexdump -n 4 0:'] for word in ('-c', line)]
        done = run(DISH, '-q', 'over.qcow2', *words, status=None)
        if done.returncode != 0 or '|AAAA|' not in done.stdout:
            raise SystemExit(f'{changes}: {done.stdout}{done.stderr}')


def converted(image):
    """By the name of the new file; and only what differs from a base."""
    for name, kind in (('x.img', 'raw'), ('x.qcow2', 'qcow2'), ('x', 'qcow2')):
        dish('--', 'convert', image, name)
        equal(f'convert {name}', theirs('info', name)['format'], kind)
        same(image, name, f'convert {name}')
        os.unlink(name)
    dish('--', 'convert', '-o', 'backing_file=i0.qcow2,backing_fmt=qcow2', image, 'x.qcow2')
    clean('x.qcow2', 'convert over a base')
    same(image, 'x.qcow2', 'convert over a base')
    if image == 'i0.qcow2' and any(item['depth'] == 0 and item['present'] for item in theirs('map', 'x.qcow2')):
        raise SystemExit('convert over a base: an equal image stored something')
    os.unlink('x.qcow2')


def main():
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        made = images()
        for image in made:
            map_parity(image)
            if image.endswith('.qcow2'):
                info_parity(image)
                check_parity(image)
        for image in made if LONG else made[::5]:
            measure_parity(image)
            if LONG or image.startswith('i'):
                converted(image)
        measure_sizes()
        snapshots_and_bitmaps()
        damage()
        refusals()
        taken_back()
        for number in range(60 if LONG else 6):
            rebase(number)
            commit_backing(number)
    print('ok')


main()
