#!/usr/bin/env python3
"""The options of convert that qemu-img's users expect: into targets that exist, sparseness, threads, snapshots, backing
files; and amend to version 2 of images whose snapshots hold zero clusters. Judged by qemu-img."""
import json
import os
import random
import tempfile

from _dish import DISH, content
from _qcow2 import clean, expect, run, same


def dish(*args, status=0):
    return run(DISH, '-q', '--', *args, status=status)


def source(path, seed, size=4 << 20):
    """Random bytes, single sectors and holes."""
    rng = random.Random(seed)
    with open(path, 'wb') as file:
        for _ in range(24):
            file.seek(rng.randrange(size // 512) * 512)
            file.write(rng.randbytes(rng.choice([512, 4096, 70000]))[:size - file.tell()])
        file.truncate(size)
    return path


def existing():
    source('a.raw', 1)
    source('b.raw', 2)
    source('long.raw', 3, 6 << 20)
    for maker in (['-f', 'raw'], ['-f', 'qcow2'], ['-f', 'qcow2', '-o', 'cluster_size=512'], ['-f', 'qcow2', '-o', 'compat=0.10']):
        run('qemu-img', 'convert', '-O', *maker[1:], 'b.raw', 't.img')
        dish('convert', '-n', '-f', maker[1], 'a.raw', 't.img')
        same('a.raw', 't.img', f'-n {maker}')
        if maker[1] == 'qcow2':
            clean('t.img')
        before, stamp = content('t.img'), os.stat('t.img').st_mtime_ns
        dish('convert', '-n', '-f', maker[1], 'a.raw', 't.img')
        expect(content('t.img') == before and os.stat('t.img').st_mtime_ns == stamp, f'-n {maker}: equal contents were written')
        said = dish('convert', '-n', '-f', maker[1], 'long.raw', 't.img', status=1).stderr
        expect('fewer' in said and content('t.img') == before, f'-n into a shorter target: {said}')
        # A longer target keeps what lies behind.
        run('qemu-img', 'convert', '-O', *maker[1:], 'long.raw', 't.img')
        dish('convert', '-n', '-f', maker[1], 'a.raw', 't.img')
        run('qemu-img', 'convert', '-O', 'raw', '-f', maker[1], 't.img', 'out.raw')
        expect(content('out.raw') == content('a.raw') + content('long.raw')[4 << 20:], f'-n {maker} into a longer target')
    dish('convert', '-n', 'a.raw', 'none.qcow2', status=1)
    expect(not os.path.exists('none.qcow2'), '-n made a file')
    dish('convert', '-n', '-o', 'cluster_size=4k', 'a.raw', 't.img', status=1)
    # Over a backing file: only what differs.
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'b.raw', '-F', 'raw', 'over.qcow2')
    dish('convert', '-n', 'a.raw', 'over.qcow2')
    same('a.raw', 'over.qcow2', '-n over a backing file')
    clean('over.qcow2')


def backing():
    with open('c.raw', 'wb') as file:
        file.write(content('a.raw'))
        file.seek(1 << 20)
        file.write(b'different' * 1000)
    os.link('a.raw', 'a,1.raw')
    for words in (['-B', 'a.raw', '--backing-format', 'raw'], ['-b', 'a,1.raw', '--backing-format=raw'],
                  ['-o', 'backing_file=a.raw,backing_fmt=raw']):
        dish('convert', '--force', *words, 'c.raw', 'diff.qcow2')
        clean('diff.qcow2')
        same('c.raw', 'diff.qcow2', f'{words}')
        expect(os.path.getsize('diff.qcow2') < 600000, f'{words}: {os.path.getsize("diff.qcow2")} bytes')
    dish('create', '-b', 'a,1.raw', '-F', 'raw', 'comma.qcow2')
    same('a.raw', 'comma.qcow2', 'create -b with a comma in the name')
    said = dish('convert', '--force', '-B', 'a.raw', 'c.raw', 'diff.qcow2', status=1).stderr
    expect('format' in said, f'-B without a format: {said}')


def sparse():
    with open('s.raw', 'wb') as file:
        file.write(bytes(8 << 20)) # no holes, which would be known without looking
        for i in range(0, 64):
            for place in (0, 16384): # nearer to each other than 64 KiB
                file.seek(i * 131072 + place + 4096 * (i % 8))
                file.write(b's' * 512)
        file.truncate(8 << 20)
    blocks = {}
    for size in ('512', '4k', '64k', '0'):
        dish('convert', '--force', '-S', size, 's.raw', 'out.raw')
        run('cmp', 's.raw', 'out.raw')
        blocks[size] = os.stat('out.raw').st_blocks * 512
        run('qemu-img', 'convert', '-S', size, '-O', 'raw', 's.raw', 'q.raw')
        theirs = os.stat('q.raw').st_blocks * 512
        expect(blocks[size] <= theirs * 1.1 + 8192, f'-S {size}: {blocks[size]} bytes are stored, QEMU {theirs}')
        dish('convert', '--force', '-S', size, 's.raw', 'out.qcow2')
        same('s.raw', 'out.qcow2', f'-S {size}')
        clean('out.qcow2')
        parts = json.loads(run('qemu-img', 'map', '--output=json', 'out.qcow2').stdout)
        stored = sum(part['length'] for part in parts if part['data'])
        expect((stored == 8 << 20) == (size == '0'), f'-S {size}: {stored} bytes are data')
    expect(blocks['0'] >= 8 << 20 and blocks['64k'] > blocks['4k'], f'-S: {blocks}')
    for wrong in ('100', '4M', 'x'):
        dish('convert', '--force', '-S', wrong, 's.raw', 'out.raw', status=1)


def threads():
    sums = set()
    for words in (['-m', '1'], ['-m', '4'], ['-W', '-m', '16'], []):
        dish('convert', '--force', '-c', *words, 'a.raw', 'c.qcow2')
        clean('c.qcow2')
        same('a.raw', 'c.qcow2', f'-c {words}')
        sums.add(content('c.qcow2'))
    expect(len(sums) == 1, 'the number of threads changes the file')
    for wrong in ('0', '17', 'x'):
        dish('convert', '--force', '-m', wrong, 'a.raw', 'c.qcow2', status=1)


def snapshots():
    run('qemu-img', 'convert', '-O', 'qcow2', 'a.raw', 's.qcow2')
    run('qemu-img', 'snapshot', '-c', 'first', 's.qcow2')
    run('qemu-io', '-c', 'write -P 9 0 1M', 's.qcow2')
    for name in ('first', '1', 'snapshot.name=first', 'snapshot.id=1'):
        dish('convert', '--force', '-O', 'raw', '-l', name, 's.qcow2', 'old.raw')
        run('cmp', 'a.raw', 'old.raw')


def to_version_2():
    """Zero clusters of snapshots become data, or nothing; also where tables and clusters are shared."""
    rng = random.Random(4)
    for base in (False, True):
        for number in range(4):
            words = ['-b', 'b.raw', '-F', 'raw'] if base else []
            run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', f'compat=1.1,cluster_size={rng.choice([512, 4096, 65536])}', *words, 'v.qcow2', '4M')
            for step in range(4):
                commands = []
                for _ in range(12):
                    off = rng.randrange(64) * 65536
                    commands += ['-c', rng.choice([f'write -P {rng.randrange(1, 255)} {off} 64k', f'write -z {off} 128k' if off < 3 << 20 else f'write -z {off} 64k',
                                                   f'discard {off} 64k', f'write -z -u {off} 64k'])]
                run('qemu-io', *commands, 'v.qcow2')
                if step < 3:
                    run('qemu-img', 'snapshot', '-c', f's{step}', 'v.qcow2')
            seen = {}
            for name in ('', 's0', 's1', 's2'):
                run('qemu-img', 'convert', *(['-l', name] if name else []), '-O', 'raw', 'v.qcow2', 'x.raw')
                seen[name] = content('x.raw')
            run(DISH, '-q', 'v.qcow2', '--', 'amend', '-o', 'compat=0.10')
            clean('v.qcow2')
            expect('compat: 0.10' in run('qemu-img', 'info', 'v.qcow2').stdout, 'the version is still 3')
            for name, bytes_then in seen.items():
                run('qemu-img', 'convert', *(['-l', name] if name else []), '-O', 'raw', 'v.qcow2', 'x.raw')
                expect(content('x.raw') == bytes_then, f'amend to version 2 changed {name or "the disk"} ({base} {number})')
            run(DISH, '-q', 'v.qcow2', '--', 'check')
            for name in ('s1', 's0', 's2'):
                run(DISH, '-q', 'v.qcow2', '--', 'snapshot', 'delete', name)
                clean('v.qcow2')


def main():
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        for part in (existing, backing, sparse, threads, snapshots, to_version_2):
            part()
    print('ok')


main()
