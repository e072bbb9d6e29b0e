#!/usr/bin/env python3
"""Snapshots, bitmaps, compressed clusters, backing files, external data files, amending, hostile headers and overlap
checks, each judged by qemu-img and qemu-io, in both directions.
"""
import hashlib
import json
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time

from _dish import poke
from _qcow2 import BLKCAT, clean, expect, run


def blkcat(image, *commands, status=0):
    words = []
    for command in commands:
        words += ([','] if words else []) + command.split()
    return run(BLKCAT, image, *words, status=status)


def contents(image, *options):
    run('qemu-img', 'convert', '-O', 'raw', *options, image, 'contents.raw')
    return hashlib.sha256(open('contents.raw', 'rb').read()).hexdigest()


def ours(image, name=None):
    blkcat(image, f'snapshot open {name} ours.raw' if name else 'dump ours.raw')
    return hashlib.sha256(open('ours.raw', 'rb').read()).hexdigest()


def mixed(path, size, seed):
    """Random bytes, zeros and text in turn."""
    rng = random.Random(seed)
    with open(path, 'wb') as file:
        while size > 0:
            n = min(size, 65536 * rng.randrange(1, 5))
            kind = rng.randrange(3)
            file.write(rng.randbytes(n) if kind == 0 else bytes(n) if kind == 1 else (b'some text %d, ' % n * n)[:n])
            size -= n


def snapshots():
    for options in ('', 'cluster_size=512', 'cluster_size=4k,refcount_bits=8', 'extended_l2=on', 'compat=0.10',
                    'cluster_size=2M'):
        image = 's.qcow2'
        blkcat(image, f'create 8M {options}', 'write 0 3000000 1', 'write 5000000 100000 2', 'snapshot create s1')
        clean(image, options)
        s1 = contents(image)
        blkcat(image, 'write 1000000 2000000 3', 'zero 0 70000', 'discard 5000000 90000', 'snapshot create s2')
        clean(image, options)
        s2 = contents(image)
        blkcat(image, 'write 100 1000 9', 'write 7000000 1000000 4')
        clean(image, options)
        now = contents(image)
        names = [line.split()[1] for line in run('qemu-img', 'snapshot', '-l', image).stdout.splitlines()[2:]]
        expect(names == ['s1', 's2'], f'{options}: snapshots are {names}')
        expect(contents(image, '-l', 's1') == s1 == ours(image, 's1'), f'{options}: s1 differs')
        expect(contents(image, '-l', 's2') == s2 == ours(image, 's2'), f'{options}: s2 differs')
        expect(ours(image) == now, f'{options}: the disk differs')
        blkcat(image, 'snapshot apply s1')
        clean(image, options)
        expect(contents(image) == s1, f'{options}: applying s1 gave something else')
        blkcat(image, 'write 0 1000000 8', 'snapshot delete s2')
        clean(image, options)
        expect(contents(image, '-l', 's1') == s1, f'{options}: s1 differs after s2 went')
        if 'compat' not in options:
            blkcat(image, 'resize 12M', 'write 10M 1M 5')
            clean(image, options)
            blkcat(image, 'snapshot apply s1')
            clean(image, options)
            expect(contents(image) == s1, f'{options}: applying s1 after a resize gave something else')
        # QEMU's snapshots in our hands.
        run('qemu-img', 'snapshot', '-c', 'theirs', image)
        run('qemu-io', '-c', 'write -P 77 1M 1M', image)
        theirs = contents(image, '-l', 'theirs')
        expect(ours(image, 'theirs') == theirs, f'{options}: a snapshot of QEMU reads differently')
        blkcat(image, 'snapshot delete s1', 'snapshot apply theirs', 'snapshot delete theirs')
        clean(image, options)
        expect(contents(image) == theirs, f'{options}: applying a snapshot of QEMU gave something else')
        os.unlink(image)
    blkcat('one.qcow2', 'create 1M refcount_bits=1', 'write 0 64k 1')
    expect(blkcat('one.qcow2', 'snapshot create s', status=None).returncode != 0, 'a snapshot with 1-bit refcounts')
    clean('one.qcow2')
    os.unlink('one.qcow2')


def bitmaps_of(image):
    report = json.loads(run('qemu-img', 'info', '--output=json', image).stdout)
    return {b['name']: (b['granularity'], sorted(b['flags'])) for b in report['format-specific']['data'].get('bitmaps', [])}


def dirty(image, name):
    """Set runs of a bitmap as QEMU reads them."""
    out = run('qemu-img', 'map', '--output=json', '--image-opts',
              f'driver=qcow2,file.filename={image}', status=None)
    del out
    address = f'unix:{os.getcwd()}/nbd.sock'
    server = subprocess.Popen(['qemu-nbd', '-k', f'{os.getcwd()}/nbd.sock', '-r', '-f', 'qcow2', '-B', name, image])
    for _ in range(100):
        if os.path.exists('nbd.sock'):
            break
        time.sleep(0.05)
    try:
        opts = f'driver=nbd,server.type=unix,server.path={os.getcwd()}/nbd.sock,x-dirty-bitmap=qemu:dirty-bitmap:{name}'
        report = json.loads(run('qemu-img', 'map', '--output=json', '--image-opts', opts).stdout)
    finally:
        server.terminate()
        server.wait()
        if os.path.exists('nbd.sock'):
            os.unlink('nbd.sock')
    del address
    # Set bits come out as "no data".
    runs = []
    for item in report:
        if not item['data']:
            if runs and runs[-1][1] == item['start']:
                runs[-1][1] += item['length']
            else:
                runs.append([item['start'], item['start'] + item['length']])
    return runs


def bitmaps():
    for options in ('', 'cluster_size=512', 'cluster_size=4k'):
        image = 'b.qcow2'
        blkcat(image, f'create 16M {options}', 'write 0 1M 1', 'bitmap add one', 'bitmap add two 4k')
        clean(image, options)
        found = bitmaps_of(image)
        expect(set(found) == {'one', 'two'} and found['two'][0] == 4096, f'{options}: bitmaps are {found}')
        blkcat(image, 'write 2M 64k 2', 'zero 4M 128k', 'write 8388609 5 3')
        clean(image, options)
        expect(dirty(image, 'two') == [[2 << 20, (2 << 20) + 65536], [4 << 20, (4 << 20) + 131072],
                                      [8 << 20, (8 << 20) + 4096]], f'{options}: two is {dirty(image, "two")}')
        blkcat(image, 'bitmap disable one', 'write 10M 64k 4', 'bitmap merge one two', 'bitmap clear two')
        clean(image, options)
        found = bitmaps_of(image)
        expect(found['one'][1] == [] and found['two'][1] == ['auto'], f'{options}: flags are {found}')
        blkcat(image, 'resize 24M', 'write 20M 64k 5')
        clean(image, options)
        blkcat(image, 'resize 9M')
        clean(image, options)
        run('qemu-io', '-c', 'write -P 9 1M 64k', image)
        listed = blkcat(image, 'bitmap list').stdout
        expect('two' in listed and 'auto' in listed, f'{options}: {listed}')
        run('qemu-img', 'bitmap', '--add', image, 'three')
        blkcat(image, 'write 0 64k 9', 'bitmap remove one', 'bitmap remove three', 'bitmap remove two')
        clean(image, options)
        expect(bitmaps_of(image) == {}, f'{options}: bitmaps are left')
        os.unlink(image)


def compressed():
    mixed('mix.raw', 24 << 20, 5)
    for options in ('', 'cluster_size=512', 'cluster_size=4k', 'cluster_size=2M', 'compression_type=zstd', 'refcount_bits=1',
                    'extended_l2=on', 'compat=0.10'):
        blkcat('c.qcow2', f'create 24M {options}', 'import mix.raw compressed')
        clean('c.qcow2', options)
        run('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', 'c.qcow2', 'mix.raw')
        blkcat('c.qcow2', 'dump ours.raw')
        run('cmp', 'ours.raw', 'mix.raw')
        run('qemu-img', 'convert', '-c', '-O', 'qcow2', *(['-o', options] if options else []), 'mix.raw', 'q.qcow2')
        blkcat('q.qcow2', 'dump ours.raw')
        run('cmp', 'ours.raw', 'mix.raw')
        counts = [json.loads(run('qemu-img', 'check', '--output=json', path).stdout).get('compressed-clusters', 0)
                  for path in ('c.qcow2', 'q.qcow2')]
        expect(counts[0] >= counts[1] * 0.99, f'{options}: compressed clusters {counts}')
        sizes = [os.path.getsize(path) for path in ('c.qcow2', 'q.qcow2')]
        expect(sizes[0] <= sizes[1] * 1.02 + (4 << 20 if '2M' in options else 262144), f'{options}: sizes {sizes}')
        # Parts of compressed clusters change, the rest stays.
        shutil.copy('mix.raw', 'model.raw')
        for off in range(0, 20 << 20, 777216):
            poke('model.raw', off, b'\5' * 4096)
            blkcat('c.qcow2', f'write {off} 4096 5')
        clean('c.qcow2', options)
        run('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', 'c.qcow2', 'model.raw')
        os.unlink('c.qcow2')
        os.unlink('q.qcow2')
    # A file that ends inside a cluster.
    run('qemu-img', 'create', '-q', '-f', 'qcow2', 'm.qcow2', '1M')
    run('qemu-io', '-c', 'write -c -P 17 0 64k', '-c', 'write -c -P 18 64k 64k', 'm.qcow2')
    blkcat('m.qcow2', 'write 512k 64k 0x22', 'read 0 64k 17', 'read 64k 64k 18')
    clean('m.qcow2')


def backing():
    open('base.raw', 'wb').write(b'x' * 98304)
    blkcat('o.qcow2', 'create 256k backing_file=base.raw,backing_fmt=raw', 'read 0 96k 120', 'read 96k 160k 0',
           'write 92k 1k 7')
    clean('o.qcow2')
    blkcat('o.qcow2', 'read 64k 28k 120', 'read 92k 1k 7', 'read 93k 3k 120', 'read 96k 160k 0')
    data = open('base.raw', 'rb').read() + bytes(256 * 1024 - 98304)
    data = data[:92 * 1024] + b'\7' * 1024 + data[93 * 1024:]
    run('qemu-img', 'convert', '-O', 'raw', 'o.qcow2', 'o.raw')
    expect(open('o.raw', 'rb').read() == data, 'overlay over a short base')
    # The disk shrinks and grows again: nothing of the base shows behind the old end.
    blkcat('o.qcow2', 'resize 48k', 'resize 256k', 'read 48k 208k 0', 'read 0 48k 120')
    clean('o.qcow2')
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'o.qcow2', '-F', 'qcow2', 'top.qcow2')
    blkcat('top.qcow2', 'read 0 48k 120', 'write 0 512 1', 'read 512 1024 120')
    clean('top.qcow2')
    blkcat('top.qcow2', 'rebase base.raw raw', 'read 64k 32k 120', 'rebase')
    clean('top.qcow2')
    expect('backing-filename' not in json.loads(run('qemu-img', 'info', '--output=json', 'top.qcow2').stdout), 'rebase')


def data_files():
    for raw in ('off', 'on'):
        for name in ('e.qcow2', 'd.raw'):
            if os.path.exists(name):
                os.unlink(name)
        blkcat('e.qcow2', f'create 4M data_file=d.raw,data_file_raw={raw}', 'write 0 64k 1', 'write 1000000 500000 2',
               'zero 1100000 100000', 'discard 1300000 200000', 'write 3M 1M 3')
        clean('e.qcow2', raw)
        run('qemu-img', 'convert', '-O', 'raw', 'e.qcow2', 'e.raw')
        blkcat('e.qcow2', 'dump ours.raw')
        run('cmp', 'e.raw', 'ours.raw')
        if raw == 'on':
            run('cmp', 'd.raw', 'ours.raw')
        blkcat('e.qcow2', 'resize 6M', 'write 5M 1M 4', 'resize 3M')
        clean('e.qcow2', raw)
        run('qemu-io', '-c', 'write -P 5 2M 64k', 'e.qcow2')
        blkcat('e.qcow2', 'read 2M 64k 5')


def amend():
    blkcat('a.qcow2', 'create 4M', 'write 0 1M 1', 'zero 0 64k')
    content = contents('a.qcow2')
    for options in ('refcount_bits=1', 'refcount_bits=64', 'refcount_bits=16', 'lazy_refcounts=on', 'lazy_refcounts=off',
                    'compat=0.10', 'compat=1.1'):
        blkcat('a.qcow2', f'amend {options}')
        clean('a.qcow2', options)
        expect(contents('a.qcow2') == content == ours('a.qcow2'), f'amend {options} changed the contents')
    report = json.loads(run('qemu-img', 'info', '--output=json', 'a.qcow2').stdout)['format-specific']['data']
    expect(report['compat'] == '1.1' and report['refcount-bits'] == 16, f'amend: {report}')
    for options in ('cluster_size=4k', 'extended_l2=on', 'compression_type=zstd', 'data_file=x'):
        expect(blkcat('a.qcow2', f'amend {options}', status=None).returncode != 0, f'amend {options} was not refused')
    blkcat('a.qcow2', 'snapshot create s')
    expect(blkcat('a.qcow2', 'amend refcount_bits=1', status=None).returncode != 0, 'too narrow refcounts were not refused')
    clean('a.qcow2')
    blkcat('a.qcow2', 'snapshot delete s', 'write 0 1M 0', 'write 2M 1M 0', 'compact')
    clean('a.qcow2')
    left = os.stat('a.qcow2').st_blocks * 512
    expect(left < 600000, f'compact left {left} bytes')


def limit_memory():
    # The address sanitizer maps terabytes of shadow memory.
    if not os.environ.get('SANITIZED'):
        resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))


def hostile():
    run('qemu-img', 'create', '-q', '-f', 'qcow2', 't.qcow2', '1M')
    run('qemu-io', '-c', 'write -P 17 0 256k', 't.qcow2')
    u32, u64 = (lambda v: struct.pack('>I', v)), (lambda v: struct.pack('>Q', v))
    faults = [(4, u32(4)), (20, u32(8)), (20, u32(22)), (20, u32(0)), (20, u32(32)), (20, u32(0xffffffff)), (96, u32(7)),
              (36, u32(0)), (36, u32(0x10000000)), (40, u64(0x30001)), (40, u64(0x7fffffffffff0000)), (48, u64(0x10001)),
              (56, u32(0)), (56, u32(0x7fffffff)), (24, u64(1 << 62)), (24, u64((1 << 63) + 512)), (100, u32(103)),
              (100, u32(65544)), (32, u32(3)), (8, u64(1 << 32)), (116, u32(65535)), (60, u32(65537)), (72, u64(1 << 5)),
              (72, u64(1 << 63))]
    for off, data in faults:
        shutil.copy('t.qcow2', 'h.qcow2')
        poke('h.qcow2', off, data)
        before = hashlib.sha256(open('h.qcow2', 'rb').read()).hexdigest()
        start = time.time()
        out = subprocess.run([BLKCAT, 'h.qcow2', 'read', '0', '64k', '17'], capture_output=True, text=True,
                             preexec_fn=limit_memory if 'SANITIZED' not in os.environ else None)
        expect(out.returncode == 1, f'header {off} = {data.hex()}: {out.returncode} {out.stderr}')
        expect(time.time() - start < 5, f'header {off} = {data.hex()}: took too long')
        expect(hashlib.sha256(open('h.qcow2', 'rb').read()).hexdigest() == before, f'header {off}: the file changed')


def overlaps():
    for target in (0x10000, 0x20000, 0x30000, 0x40000):
        shutil.copy('t.qcow2', 'v.qcow2')
        poke('v.qcow2', 0x40000, struct.pack('>Q', 0x8000000000000000 | target))
        before = open('v.qcow2', 'rb').read()
        out = blkcat('v.qcow2', 'write 0 64k 1', status=None)
        expect(out.returncode == 1 and 'overlaps' in out.stderr, f'{target:#x}: {out.stderr}')
        after = open('v.qcow2', 'rb').read()
        expect(after[:72] == before[:72] and after[80:] == before[80:], f'{target:#x}: more than the mark changed')
        expect(after[79] & 2, f'{target:#x}: the corrupt bit is not set')
        blkcat('v.qcow2', 'read 64k 64k 17')
        expect(blkcat('v.qcow2', 'write 0 64k 1', status=None).returncode == 1, f'{target:#x}: written again')


def lazy():
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'lazy_refcounts=on', 'l.qcow2', '1M')
    run('qemu-io', '-c', 'write -P 1 0 64k', '-c', 'flush', '-c', 'sigraise 9', 'l.qcow2', status=None)
    before = open('l.qcow2', 'rb').read()
    expect(before[79] & 1, 'QEMU left no dirty image')
    run(BLKCAT, '-r', 'l.qcow2', 'read', '0', '64k', '1')
    expect(open('l.qcow2', 'rb').read() == before, 'reading changed a dirty image')
    blkcat('l.qcow2', 'write 128k 64k 2', 'read 0 64k 1')
    expect(open('l.qcow2', 'rb').read(80)[79] == 0, 'the dirty bit is still set')
    clean('l.qcow2')


def main():
    tests = [snapshots, bitmaps, compressed, backing, data_files, amend, hostile, overlaps, lazy]
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        for test in tests:
            if not wanted or test.__name__ in wanted:
                print(test.__name__, flush=True)
                test()
    print('ok')


main()
