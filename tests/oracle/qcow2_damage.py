#!/usr/bin/env python3
"""Single faults that a program can go wrong on: what is refused, found, repaired, and how much that may cost."""
import json
import os
import resource
import struct
import subprocess
import tempfile

from _dish import DISH, SANITIZED
from _qcow2 import expect

COPIED, COMPRESSED = 1 << 63, 1 << 62


def run(*args, data=None):
    return subprocess.run(args, input=data, capture_output=True, text=True, errors='replace')


def make(options, size, *writes):
    if os.path.exists('t.qcow2'):
        os.unlink('t.qcow2')
    words = [word for write in writes for word in ('-c', write)]
    expect(run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, 't.qcow2', size).returncode == 0, options)
    expect(not writes or run('qemu-io', '-f', 'qcow2', *words, 't.qcow2').returncode == 0, options)


def poke(off, value, width=8):
    with open('t.qcow2', 'r+b') as file:
        file.seek(off)
        file.write(value.to_bytes(width, 'big'))


def number(off, width=8):
    with open('t.qcow2', 'rb') as file:
        file.seek(off)
        return int.from_bytes(file.read(width), 'big')


def l1():
    return number(40)


def l2():
    return number(l1()) & 0x00fffffffffffe00


def contents():
    done = run(DISH, '-q', '--allow-data-file', '--', 'convert', '--force', '-f', 'raw', 't.qcow2', 'out.raw')
    expect(done.returncode == 0, done.stderr)
    with open('out.raw', 'rb') as file:
        return file.read()


def check(*options):
    done = run(DISH, '-q', '-j', '--allow-data-file', 't.qcow2', '--', 'check', '--container', *options)
    return done.returncode, [finding['code'] for finding in json.loads(done.stdout)['findings']] if done.stdout else []


def repair(what):
    status, _ = check('--repair=all')
    expect(status == 0, f'{what}: the repair ended with {status}')
    done = run('qemu-img', 'check', '-f', 'qcow2', 't.qcow2')
    expect(done.returncode == 0, f'{what}: after the repair qemu-img check says {done.returncode}\n{done.stdout}')
    expect(check()[0] == 0, f'{what}: the check still finds something after the repair')


def repair_keeps(what, code):
    """The fault is found, and what could be read reads the same after the repair."""
    before, (status, codes) = contents(), check()
    expect(status == 4 and code in codes, f'{what}: status {status}, {codes}')
    repair(what)
    expect(contents() == before, f'{what}: the repair changed what was read')


def base(size):
    with open('base.raw', 'wb') as file:
        file.write(b'b' * size)


def data_past_the_end():
    """Version 2 over a backing file has no entry for zeros."""
    base(1 << 20)
    make('compat=0.10,backing_file=base.raw,backing_fmt=raw', '1M', 'write -P 17 0 64k')
    poke(l2() + 8, COPIED | 1 << 40)
    repair_keeps('a cluster past the end, version 2', 'l2-entry')
    expect(contents()[65536:131072] == bytes(65536), 'what was past the end is not zeros')


def table_past_the_end():
    base(1 << 20)
    make('cluster_size=4k,backing_file=base.raw,backing_fmt=raw', '4M', 'write -P 17 3M 4k')
    poke(l1(), COPIED | 1 << 40)
    repair_keeps('an L2 table past the end', 'l2-offset')


def many_bad_tables():
    """An L1 table of garbage costs no table of zeros for each entry."""
    base(1 << 20)
    make('cluster_size=64k,backing_file=base.raw,backing_fmt=raw', '1M', 'write -P 17 0 1M')
    poke(36, 0x10001, 4)
    repair('a long L1 table of garbage')
    expect(os.path.getsize('t.qcow2') < 8 << 20, f'the file has {os.path.getsize("t.qcow2")} bytes now')


def shared_table():
    """With an external data file each offset belongs to one guest offset."""
    make('cluster_size=1k,data_file=data.raw', '256k', 'write -P 17 0 256k')
    poke(l1() + 8, number(l1()))
    status, codes = check()
    expect(status == 4 and 'l2-shared' in codes, f'a shared L2 table: status {status}, {codes}')
    repair('a shared L2 table')
    expect(contents()[:131072] == b'\x11' * 131072, 'the first user of a shared L2 table lost its contents')


def write_past_the_end():
    make('cluster_size=64k', '1M', 'write -P 17 0 128k')
    poke(l2(), COPIED | 1 << 55)
    size = os.path.getsize('t.qcow2')
    with open('host.raw', 'wb') as file:
        file.write(b'x' * 4096)
    done = run(DISH, '-q', 't.qcow2', '--', 'mkfs', 'ext2', '0')
    expect(done.returncode == 1 and 'past the end' in done.stderr, f'a write past the end: {done.stderr}')
    expect(os.path.getsize('t.qcow2') == size, 'a refused write made the file longer')


def metadata_freed():
    """A compressed cluster that claims to lie in the header must not take the header with it."""
    make('cluster_size=64k', '1M', 'write -P 17 0 128k')
    poke(l2() + 8, COMPRESSED | 8)
    done = run(DISH, '-q', 't.qcow2', '--', 'punch', '-o', '64K', '-l', '64K', '0:')
    expect(done.returncode == 1 and 'metadata' in done.stderr, f'the header is freed: {done.stderr}')
    expect(number(0, 4) == 0x514649fb, 'the header is gone')


def snapshots_offset():
    make('cluster_size=64k', '1M', 'write -P 17 0 128k')
    poke(64, 0x1234)
    repair_keeps('the offset of no snapshots', 'snapshot-table')


def with_bitmap():
    """The place of the directory's size and offset in the header."""
    make('cluster_size=64k', '1M', 'write -P 17 0 128k')
    expect(run('qemu-img', 'bitmap', '--add', 't.qcow2', 'b').returncode == 0, 'bitmap')
    with open('t.qcow2', 'rb') as file:
        return file.read(65536).index(struct.pack('>II', 0x23852875, 24)) + 16


def bitmap_sizes():
    at = with_bitmap()
    poke(at, number(at) + 40)
    repair_keeps('a bitmap directory that is too long', 'bitmap-directory')
    at = with_bitmap()
    poke(number(at + 8) + 8, 2, 4)
    repair_keeps('a bitmap table that is too long', 'bitmap-directory')


def bitmap_of_nothing():
    """No other program opens an image whose empty disk has a bitmap."""
    with_bitmap()
    for words in (['resize', '--shrink', '0'], ['bitmap', 'add', 'c']):
        done = run(DISH, '-q', 't.qcow2', '--', *words)
        expect(done.returncode == 1 and 'without a byte' in done.stderr, f'{words}: {done.stderr}')
        make('cluster_size=64k', '0')


def overlapping_snapshots():
    """Snapshots without end, all with the same long L1 table."""
    make('cluster_size=64k', '1M', 'write -P 17 0 128k')
    l1_at = (os.path.getsize('t.qcow2') + 65535) // 65536 * 65536
    table, count = l1_at + (1 << 20), 60000
    with open('t.qcow2', 'r+b') as file:
        file.seek(l1_at)
        file.write(struct.pack('>Q', l2()) * 131072)
        file.seek(table)
        file.write(b''.join(struct.pack('>QIHHIIQII', l1_at, 131072, 4, 4, 0, 0, 0, 0, 24) +
                            struct.pack('>QQQ', 0, 1 << 20, 0) + b'%04x%04x' % (i, i) for i in range(count)))
    poke(60, count, 4)
    poke(64, table)


def long_encryption_header():
    make('cluster_size=64k', '1M', 'write -P 17 0 128k')
    poke(32, 2, 4)
    with open('t.qcow2', 'r+b') as file:
        file.seek(112)
        file.write(struct.pack('>IIQQII', 0x0537be77, 16, 65536, 1 << 40, 0, 0))
    os.truncate('t.qcow2', 1 << 42)


def costs():
    """What reads a table for each entry that names it, or looks at each cluster of a hole, does not end."""
    make('cluster_size=2M', '1M', 'write -P 17 0 1M')
    with open('t.qcow2', 'r+b') as file:
        file.seek(l1())
        file.write(struct.pack('>Q', COPIED | l2()) * 200000)
    poke(36, 200000, 4)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    run(DISH, '-r', 't.qcow2', '-c', 'qcow2-info -v')
    make('cluster_size=512', '1M', 'write -P 17 0 1M')
    os.truncate('t.qcow2', 1 << 42)
    run(DISH, 't.qcow2', '-c', 'compact')
    compacted = os.path.getsize('t.qcow2')
    overlapping_snapshots()
    run(DISH, '-k', '-r', 't.qcow2', '-c', 'what file: 70000', '-c', 'check --container')
    make('cluster_size=2M', '1T', 'write -P 0x54 0 4M')  # the data as an L2 table: one compressed cluster, often
    poke(l1() + 8, COPIED | number(l2()) & 0x00fffffffffffe00)
    run(DISH, '-k', '-r', 't.qcow2', '-c', 'check --container --data')
    long_encryption_header()
    run(DISH, '-k', '-r', 't.qcow2', '-c', 'check --container', '-c', 'qcow2-info -v')
    spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    expect(spent < (10 if SANITIZED else 2), f'{spent:.1f} s')
    expect(compacted < 4 << 20, 'compact leaves a hole at the end of the file')


def lost_image():
    """Once an image cannot be read again, every command says so."""
    make('cluster_size=64k', '1M', 'write -P 17 0 128k')
    script = 'snapshot create s\n!truncate -s 0 t.qcow2\nsnapshot delete nothing\n' + \
             'mkfs ext2 0\nhexdump 0:\nwhere 0: 0\nls /\nmap\ninfo\ncheck\nundo\ncommit\n'
    done = run(DISH, '-k', '-q', 't.qcow2', data=script)
    expect(done.returncode == 1, f'status {done.returncode}')
    expect(done.stderr.count('cannot go on') >= 8, done.stderr)


def main():
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        for test in (data_past_the_end, table_past_the_end, many_bad_tables, shared_table, write_past_the_end,
                     metadata_freed, snapshots_offset, bitmap_sizes, bitmap_of_nothing, costs, lost_image):
            for name in os.listdir('.'):
                os.unlink(name)
            test()
        os.chdir('/')
    print('ok')


main()
