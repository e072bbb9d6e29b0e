#!/usr/bin/env python3
"""compact on images of every kind that were written, thinned out and given snapshots and bitmaps at random: the file
becomes as short as its contents allow, and what qemu-img reads out of it stays the same. LONG=1 takes more rounds."""
import json
import os
import random
import sys
import tempfile

from _dish import DISH, LONG, content
from _qcow2 import run

VARIANTS = [
    'cluster_size=512', 'cluster_size=4k', 'cluster_size=64k', 'cluster_size=4k,refcount_bits=1', 'cluster_size=512,refcount_bits=64',
    'cluster_size=4k,compat=0.10', 'cluster_size=16k,extended_l2=on', 'cluster_size=4k,lazy_refcounts=on', 'cluster_size=2M',
    'cluster_size=4k,compressed', 'cluster_size=64k,compressed', 'cluster_size=512,compressed', 'cluster_size=4k,backed',
    'cluster_size=4k,data_file=data.raw', 'cluster_size=1k,preallocation=metadata',
]


def check(image, what):
    found = run('qemu-img', 'check', '--output=json', image, status=None)
    if found.returncode:
        raise SystemExit(f'{what}: qemu-img check says {found.returncode}\n{run("qemu-img", "check", image, status=None).stdout}')
    return json.loads(found.stdout)


def snapshots(image):
    return [line.split()[1] for line in run('qemu-img', 'snapshot', '-l', image).stdout.splitlines()[2:]]


def everything(image, options):
    """All that can be read: the disk, each snapshot, the bitmaps' bits."""
    run('qemu-img', 'convert', '-O', 'raw', image, 'now.raw')
    seen = {'disk': content('now.raw')}
    for name in snapshots(image):
        run('qemu-img', 'convert', '-l', name, '-O', 'raw', image, 'old.raw')
        seen[name] = content('old.raw')
    seen['bitmaps'] = run(DISH, '-r', *options, '--json', image, '--', 'bitmap', 'list', status=None).stdout
    return seen


def make(rng, words):
    size = {'2M': 64 << 20, '64k': 4 << 20, '512': 256 << 10}.get(words.split(',')[0].split('=')[1], 1 << 20)
    step = min(65536, size // 64)
    options = ','.join(word for word in words.split(',') if word not in ('compressed', 'backed'))
    extra = []
    if 'backed' in words:
        with open('base.raw', 'wb') as file:
            file.write(rng.randbytes(size // 2))
        extra = ['-b', 'base.raw', '-F', 'raw']
    for name in ('i.qcow2', 'data.raw'):
        if os.path.exists(name):
            os.unlink(name)
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, *extra, 'i.qcow2', str(size))
    if 'compressed' in words:
        with open('in.raw', 'wb') as file:
            for _ in range(size // 4096):
                file.write(rng.randbytes(rng.randrange(4096)).ljust(4096, b'z'))
        run('qemu-img', 'convert', '-c', '-O', 'qcow2', '-o', options, 'in.raw', 'i.qcow2')
    return size, step


def change(rng, size, step, words):
    """Writes, zeros and discards by QEMU; snapshots and bitmaps by both."""
    commands = []
    for _ in range(rng.randrange(20, 60)):
        off, length = rng.randrange(size // step) * step, rng.choice([step, step, 2 * step, step // 2])
        length = min(length, size - off)
        commands.append(rng.choice([f'write -P {rng.randrange(1, 255)} {off} {length}'] * 3 + [f'discard {off} {length}'] * 3 +
                                   [f'write -z {off} {length}', f'write -z -u {off} {length}']))
    run('qemu-io', *[word for command in commands for word in ('-c', command)], 'i.qcow2')
    if 'data_file' not in words and 'refcount_bits=1' not in words.split(',') and rng.random() < 0.6:
        names = snapshots('i.qcow2')
        if names and rng.random() < 0.4:
            run('qemu-img', 'snapshot', '-d', rng.choice(names), 'i.qcow2')
        else:
            run('qemu-img', 'snapshot', '-c', f's{rng.randrange(1 << 30)}', 'i.qcow2')
    if 'compat' not in words and rng.random() < 0.4:
        run('qemu-img', 'bitmap', '--add', '-g', '512', 'i.qcow2', f'b{rng.randrange(1 << 30)}', status=None)


def one(rng, words, what):
    size, step = make(rng, words)
    options = ['--allow-data-file'] if 'data_file' in words else []
    for number in range(rng.randrange(2, 4)):
        change(rng, size, step, words)
    before, length = everything('i.qcow2', options), os.path.getsize('i.qcow2')
    check('i.qcow2', f'{what}: before')
    kept = content('i.qcow2')
    # Taken back: all as it was; and by undo within a session to the very bytes.
    run(DISH, '-q', *options, 'i.qcow2', '-c', 'compact', '-c', 'check --container', '-c', 'rollback')
    if everything('i.qcow2', options) != before or os.path.getsize('i.qcow2') != length:
        raise SystemExit(f'{what}: a compact that was taken back changed something')
    with open('i.qcow2', 'wb') as file:
        file.write(kept)
    run(DISH, '-q', *options, 'i.qcow2', '-c', 'compact', '-c', 'check --container')
    found = check('i.qcow2', f'{what}: after')
    after = everything('i.qcow2', options)
    for name in before:
        if before[name] != after.get(name):
            raise SystemExit(f'{what}: {name} has changed')
    now = os.path.getsize('i.qcow2')
    if found['image-end-offset'] < now - (1 << 21 if '2M' in words else 65536) or now > length + 4 * 65536:
        raise SystemExit(f'{what}: {length} bytes became {now}, but {found["image-end-offset"]} are in use')
    # Dense: again there is nothing to gain, and a writer goes on from here.
    run(DISH, '-q', *options, 'i.qcow2', '-c', 'compact')
    again = os.path.getsize('i.qcow2')
    if again > now:
        raise SystemExit(f'{what}: a second compact made {now} bytes {again}')
    run(DISH, '-q', *options, 'i.qcow2', '-c', f'write --at={size // 3} --fill=1 --length={step} 0:', '-c', 'commit', '-c',
        f'punch -o 0 -l {size // 2} 0:', '-c', 'compact')
    check('i.qcow2', f'{what}: written and compacted again')
    wanted = bytearray(after['disk'])
    wanted[size // 3:size // 3 + step] = b'\1' * step
    run('qemu-img', 'convert', '-O', 'raw', 'i.qcow2', 'now.raw')
    if content('now.raw')[size // 2:] != wanted[size // 2:]:
        raise SystemExit(f'{what}: contents behind the discarded half')
    return length, now


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    rng = random.Random(seed)
    saved = {}
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        for number in range(300 if LONG else len(VARIANTS)):
            words = VARIANTS[number % len(VARIANTS)]
            length, now = one(rng, words, f'seed {seed} round {number} {words}')
            saved.setdefault(words, []).append(now / length)
    if os.environ.get('SHOW'):
        for words, parts in saved.items():
            print(f'{words:40} {min(parts):.2f} {sum(parts) / len(parts):.2f}')
    if min(min(parts) for parts in saved.values()) > 0.8:
        raise SystemExit('nothing became shorter')
    print('ok')


main()
