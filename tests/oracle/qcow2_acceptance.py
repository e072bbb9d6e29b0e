#!/usr/bin/env python3
"""The program's image commands as a whole against qemu-img: making, reading, backing files, hostile headers, snapshots,
compression. LONG=1 takes every combination and 1 GiB of data."""
import hashlib
import itertools
import json
import os
import random
import shutil
import struct
import subprocess
import tempfile
import time

from _dish import DISH, LONG
from _qcow2 import clean, described, expect, run

MIX = (1 << 30) if LONG else (24 << 20)


def dish(*args, status=0):
    return run(DISH, *args, status=status)


def digest(path):
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def remove(*paths):
    for path in paths:
        if os.path.exists(path):
            os.unlink(path)


# ---- making ----

def make(size, text):
    remove('mine.qcow2', 'twin.qcow2')
    words = ['-o', text] if text else []
    dish('--', 'create', *words, 'mine.qcow2', str(size))
    run('qemu-img', 'create', '-q', '-f', 'qcow2', *words, 'twin.qcow2', str(size))
    clean('mine.qcow2', f'create {text} {size}')
    expect(described('mine.qcow2') == described('twin.qcow2'),
           f'create {text} {size}: {described("mine.qcow2")}\nis not {described("twin.qcow2")}')


def creation():
    clusters, bits = [512 << i for i in range(13)], [1, 2, 4, 8, 16, 32, 64]
    kinds = ['', ',lazy_refcounts=on', ',compression_type=zstd', ',extended_l2=on']
    cases = [(size, f'cluster_size={cluster},refcount_bits={width}{kind}')
             for cluster, width, kind, size in itertools.product(clusters, bits, kinds, (0, 512, 1000, (1 << 20) + 512, 10 << 30))
             if cluster >= 16384 or 'extended' not in kind]
    cases += [(size, f'cluster_size={cluster},compat=0.10') for cluster in clusters for size in (0, 1000, 10 << 30)]
    random.Random(1).shuffle(cases)
    for size, text in cases if LONG else cases[:25]:
        make(size, text)
    with open('base.raw', 'wb') as file:
        file.write(b'x' * 98304)
    remove('bad.qcow2')
    for text in ('cluster_size=256', 'cluster_size=4M', 'refcount_bits=3', 'refcount_bits=128', 'compat=0.10,refcount_bits=8',
                 'compat=0.10,extended_l2=on', 'cluster_size=8k,extended_l2=on', 'backing_file=base.raw',
                 'backing_file=base.raw,backing_fmt=raw,preallocation=metadata', 'nonsense=1'):
        done = dish('--', 'create', '-o', text, 'bad.qcow2', '1M', status=None)
        expect(done.returncode == 1 and not os.path.exists('bad.qcow2'), f'create {text}: {done.returncode}, or a file is left')
    done = dish('--', 'create', '-o', 'cluster_size=512', 'bad.qcow2', '129G', status=None)
    expect(done.returncode == 1 and not os.path.exists('bad.qcow2'), 'create 129G: made, or a file is left')


def external_data():
    """The data file appears together with its image, or not at all."""
    dish('-c', 'create -o data_file=d.raw e.qcow2 4M', '-c', 'rollback')
    expect(not os.path.exists('d.raw') and not os.path.exists('e.qcow2'), 'a data file is left of a new image taken back')
    dish('-c', 'create -b base.raw -F raw -o data_file=d.raw e.qcow2 4M', '-c', 'mkfs ext4', '-c', 'commit', '-c', 'rebase -b ""')
    clean('e.qcow2', 'external data file')
    expect('backing-filename' not in run('qemu-img', 'info', '--output=json', 'e.qcow2').stdout, 'rebase with a data file')
    run('qemu-img', 'convert', '-O', 'raw', 'e.qcow2', 'e.raw')
    dish('--', 'convert', '-o', 'data_file=d2.raw,data_file_raw=on', 'e.raw', 'e2.qcow2')
    clean('e2.qcow2', 'convert into a data file')
    run('cmp', 'e.raw', 'd2.raw')
    run('qemu-img', 'compare', 'e.raw', 'e2.qcow2')


# ---- reading ----

def mix():
    """Random bytes, zeros and text in shuffled thirds."""
    rng = random.Random(7)
    segment = 262144
    kinds = [i % 3 for i in range(MIX // segment)]
    rng.shuffle(kinds)
    text = (b'The quick brown fox jumps over the lazy dog. ' * 6000)[:segment]
    with open('mix.raw', 'wb') as file:
        for kind in kinds:
            if kind == 1:
                file.seek(segment, os.SEEK_CUR)
            else:
                file.write(rng.randbytes(segment) if kind == 0 else text)
        file.truncate(MIX)


def reading():
    for words in ([], ['-o', 'cluster_size=4k'], ['-o', 'cluster_size=512'], ['-c'], ['-c', '-o', 'compression_type=zstd'],
                  ['-o', 'extended_l2=on'], ['-o', 'refcount_bits=1'], ['-o', 'refcount_bits=64'],
                  ['-o', 'data_file=data.raw'], ['-o', 'compat=0.10']):
        run('qemu-img', 'convert', '-O', 'qcow2', *words, 'mix.raw', 'q.qcow2')
        before = digest('q.qcow2')
        more = ['--allow-data-file'] if 'data_file=data.raw' in words else []
        dish(*more, '--', 'convert', '-f', 'raw', 'q.qcow2', 'out.raw')
        run('cmp', 'mix.raw', 'out.raw')
        expect(digest('q.qcow2') == before, f'{words}: reading changed the image')
        dish(*more, '--', 'compare', 'q.qcow2', 'mix.raw')
        remove('q.qcow2', 'out.raw', 'data.raw')


def compression():
    remove('mine.qcow2', 'twin.qcow2')
    for words in ([], ['-o', 'compression_type=zstd'], ['-o', 'cluster_size=4k'], ['-o', 'cluster_size=2M']):
        dish('--', 'convert', '-c', *words, 'mix.raw', 'mine.qcow2', status=0)
        run('qemu-img', 'convert', '-c', '-O', 'qcow2', *words, 'mix.raw', 'twin.qcow2')
        clean('mine.qcow2', f'convert -c {words}')
        run('qemu-img', 'compare', 'mine.qcow2', 'mix.raw')
        counts = [json.loads(run('qemu-img', 'check', '--output=json', name).stdout)['compressed-clusters']
                  for name in ('mine.qcow2', 'twin.qcow2')]
        expect(counts[0] >= counts[1] * 0.99, f'convert -c {words}: {counts[0]} compressed clusters, QEMU {counts[1]}')
        sizes = [os.path.getsize(name) for name in ('mine.qcow2', 'twin.qcow2')]
        # Our file ends with a whole cluster.
        expect(sizes[0] <= sizes[1] * 1.01 + (2 << 20 if '2M' in str(words) else 65536), f'convert -c {words}: {sizes[0]} bytes, QEMU {sizes[1]}')
        remove('mine.qcow2', 'twin.qcow2')


# ---- backing files ----

def cat(image, *options):
    done = subprocess.run([DISH, *options, image, '--', 'cat', '0:'], capture_output=True)
    expect(done.returncode == 0, f'cat 0: of {image}: {done.stderr}')
    return done.stdout, done.stderr.decode()


def backing():
    dish('--', 'create', '-b', 'base.raw', '-F', 'raw', 'over.qcow2', '256K')
    clean('over.qcow2', 'overlay')
    expect(cat('over.qcow2')[0] == b'x' * 98304 + bytes(262144 - 98304), 'overlay over a shorter base')
    for name, other in (('a.qcow2', 'b.qcow2'), ('b.qcow2', 'a.qcow2')):
        run('qemu-img', 'create', '-q', '-f', 'qcow2', name, '1M')
        run('qemu-img', 'rebase', '-u', '-b', other, '-F', 'qcow2', name)
    start = time.monotonic()
    done = dish('a.qcow2', '--', 'info', status=3)
    expect('loop' in done.stderr and time.monotonic() - start < 5, f'a loop: {done.stderr}')
    # What a base names whose own format was only guessed is not opened.
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'over.qcow2', '-F', 'qcow2', 'middle.qcow2')
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-o', 'backing_file=middle.qcow2,backing_fmt=qcow2', 'top.qcow2', '256K')
    expect(cat('top.qcow2')[0].startswith(b'x'), 'a chain of three')
    with open('top.qcow2', 'r+b') as file: # the extension becomes one that nobody knows
        at = file.read(65536).index(b'\xe2\x79\x2a\xca')
        file.seek(at)
        file.write(b'\x12\x34\x56\x78')
    data, said = cat('top.qcow2')
    expect(data == bytes(262144) and 'format' in said, f'a base of a guessed format: {said}')


# ---- hostile headers ----

def hostile():
    run('qemu-img', 'create', '-q', '-f', 'qcow2', 't.qcow2', '1M')
    run('qemu-io', '-c', 'write -P 17 0 256k', 't.qcow2')
    u32, u64 = (lambda v: struct.pack('>I', v)), (lambda v: struct.pack('>Q', v))
    faults = [(4, u32(4), 'version'), *[(20, u32(bits), 'cluster') for bits in (8, 22, 0, 32, 0xffffffff)],
              (96, u32(7), 'refcount'), (36, u32(0), 'L1'), (36, u32(0x10000000), 'L1'), (40, u64(0x30001), 'L1'),
              (40, u64(0x7fffffffffff0000), 'L1'), (48, u64(0x10001), 'refcount table'), (56, u32(0), 'refcount table'),
              (56, u32(0x7fffffff), 'refcount table'), (24, u64(1 << 62), ''), (24, u64((1 << 63) + 512), ''),
              (100, u32(103), 'header'), (100, u32(65544), 'header'), (32, u32(3), 'encrypt'), (8, u64(1 << 32), 'backing'),
              (116, u32(65535), 'extension'), (60, u32(65537), 'snapshot'), (72, u64(1 << 5), 'feature'),
              (72, u64(1 << 63), 'feature')]
    for off, data, word in faults:
        shutil.copy('t.qcow2', 'h.qcow2')
        with open('h.qcow2', 'r+b') as file:
            file.seek(off)
            file.write(data)
        before = digest('h.qcow2')
        for command in (['cat', '0:'], ['check', '--container'], ['info'], ['map'], ['rebase', '-b', '']):
            start = time.monotonic()
            with open('said', 'w+b') as said:
                process = subprocess.Popen([DISH, 'h.qcow2', '--', *command], stdout=subprocess.DEVNULL, stderr=said)
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                said.seek(0)
                text = said.read().decode(errors='replace')
            what = f'header {off} = {data.hex()}: {command[0]}'
            expect(process.returncode >= 0 and process.returncode < 126, f'{what}: died: {process.returncode} {text}')
            expect(time.monotonic() - start < 5, f'{what}: took {time.monotonic() - start} s')
            expect(usage.ru_maxrss < 64 * 1024 or 'SANITIZED' in os.environ, f'{what}: {usage.ru_maxrss} KiB')
            expect(digest('h.qcow2') == before, f'{what}: the file has changed')
            expect(process.returncode != 0, f'{what}: exit status 0')
            if command[0] == 'cat':
                expect(process.returncode == 3, f'{what}: exit status {process.returncode}')
                expect(word.lower() in text.lower().replace('_', ' '), f'{what}: does not name {word}: {text}')


def refused():
    """What cannot be used can be looked at and repaired, where enough of it is there."""
    u32, u64 = (lambda v: struct.pack('>I', v)), (lambda v: struct.pack('>Q', v))
    for off, data, text in ((56, u32(0), 'refcount_table_clusters'), (48, u64(0x10001), 'refcount_table_offset'),
                            (60, u32(65537), 'nb_snapshots'), (60, u32(1) + u64(0x40001), 'snapshots_offset')):
        shutil.copy('t.qcow2', 'h.qcow2')
        with open('h.qcow2', 'r+b') as file:
            file.seek(off)
            file.write(data)
        before, what = digest('h.qcow2'), f'header {off} = {data.hex()}'
        for words in (['-c', 'info'], ['-c', 'qcow2-info -v']):
            done = dish(*words, 'h.qcow2', status=3)
            expect('cluster size' in done.stdout and text in done.stderr, f'{what}: {words}: {done.stdout}{done.stderr}')
        for words in (['-c', 'show qcow2.header'], ['-c', 'show qcow2.header', '-c', 'echo looked']):
            expect('refcount_table_offset' in dish(*words, 'h.qcow2').stdout, f'{what}: show')
        for words in (['-c', 'echo nothing'], ['-c', 'ls /'], ['-c', 'show qcow2.header', '-c', 'cat 0:'], ['-c', 'convert h.qcow2 o.raw'],
                      ['-c', 'resize 2M'], ['-c', 'write --at=0 0: x'], ['-c', 'create new.qcow2 1M']):
            expect(text in dish(*words, 'h.qcow2', status=3).stderr, f'{what}: {words}')
        expect(not os.path.exists('new.qcow2'), f'{what}: a script beside a refused image made something')
        found = dish('--', 'compare', 'h.qcow2', 't.qcow2', status=1)
        expect(text in found.stderr, f'{what}: compare: {found.stderr}')
        found = dish('h.qcow2', '--', 'check', status=4)
        expect(text in found.stdout, f'{what}: check: {found.stdout}')
        dish('-c', 'check --repair=all', '-c', 'cat 0: > seen', '-c', 'undo', '-c', '-check', '-c', 'redo', '-c', 'undo', 'h.qcow2')
        expect(digest('h.qcow2') == before, f'{what}: a repair that was taken back changed the file')
        dish('-c', 'open h.qcow2', status=1)
        dish('-c', 'open --check h.qcow2', '-c', 'ls', status=3)
        dish('-c', 'open --check h.qcow2', '-c', 'check --repair=all')
        clean('h.qcow2', f'{what}: after the repair')
        run('qemu-img', 'compare', 'h.qcow2', 't.qcow2')
        run('qemu-img', 'convert', '-O', 'raw', 't.qcow2', 't.raw')
        run('cmp', 't.raw', 'seen')
        # By hand, where a field is all that is wrong.
        if off == 60:
            with open('h.qcow2', 'r+b') as file:
                file.seek(off)
                file.write(data)
            dish('-c', 'poke qcow2.header.nb_snapshots 0', '-c', 'cat 0: > /dev/null', 'h.qcow2')
    # A backing file that is not there: the image itself can be checked, and be told of another one.
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b', 'gone.raw', '-F', 'raw', 'h.qcow2', '1M')
    dish('-c', 'check', 'h.qcow2')
    expect('gone.raw' in dish('-c', 'info', 'h.qcow2', status=3).stderr, 'info over a missing backing file')
    dish('-c', 'rebase -u -b other.raw -F raw', '-c', 'qcow2-info', 'h.qcow2', status=3)
    dish('-c', 'rebase -u -b other.raw -F raw', 'h.qcow2')
    expect('other.raw' in run('qemu-img', 'info', 'h.qcow2').stdout, 'rebase -u to a missing file')
    dish('-c', 'rebase -b third.raw -F raw', 'h.qcow2', status=3)
    dish('-c', 'rebase -u -b ""', '-c', 'cat 0: > seen', 'h.qcow2')
    clean('h.qcow2', 'rebase -u')
    # Data kept elsewhere is no fault of the image.
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'data_file=elsewhere.raw', 'h.qcow2', '1M')
    os.unlink('elsewhere.raw')
    dish('-c', 'info', '-c', 'check', '-c', 'qcow2-info', 'h.qcow2')
    expect('--allow-data-file' in dish('-c', 'cat 0:', 'h.qcow2', status=3).stderr, 'reading without the data file')


# ---- snapshots ----

def snapshots():
    remove('s.qcow2', 's1.raw', 'now.raw', 'back.raw')
    dish('--', 'create', 's.qcow2', '16M')
    dish('s.qcow2', '--', 'mkfs', 'ext4')
    dish('s.qcow2', '--', 'write', '/one', 'first')

    def step(what, *words):
        dish('s.qcow2', '--', *words)
        clean('s.qcow2', what)
        listed = [line.split()[1] for line in run('qemu-img', 'snapshot', '-l', 's.qcow2').stdout.splitlines()[2:]]
        mine = [item['name'] for item in json.loads(dish('--json', 's.qcow2', '--', 'snapshot').stdout)]
        expect(listed == mine, f'{what}: snapshots {mine}, QEMU {listed}')

    run('qemu-img', 'convert', '-O', 'raw', 's.qcow2', 's1.raw')
    step('create s1', 'snapshot', 'create', 's1')
    step('write', 'write', '/two', 'second')
    step('create s2', 'snapshot', 'create', 's2')
    dish('--', 'convert', '-l', 's1', 's.qcow2', 'now.raw')
    run('cmp', 's1.raw', 'now.raw')
    run('qemu-img', 'convert', '-l', 's1', '-O', 'raw', 's.qcow2', 'back.raw')
    run('cmp', 's1.raw', 'back.raw')
    step('apply s1', 'snapshot', 'apply', 's1')
    run('qemu-img', 'compare', 's.qcow2', 's1.raw')
    dish('s.qcow2', '--', 'stat', '/two', status=1)
    step('delete s2', 'snapshot', 'delete', 's2')
    step('resize', 'resize', '24M')
    run('qemu-img', 'convert', '-l', 's1', '-O', 'raw', 's.qcow2', 'back.raw')
    run('cmp', '-n', str(16 << 20), 's1.raw', 'back.raw')
    dish('--', 'convert', '--force', '-l', 's1', 's.qcow2', 'now.raw')
    run('cmp', 's1.raw', 'now.raw')
    dish('-r', 's.qcow2', '--', 'snapshot', 'convert', 's1', 'then.raw')
    run('cmp', 's1.raw', 'then.raw')
    dish('s.qcow2', '--', 'snapshot', 'convert', 's1', 'then.raw', status=1)
    # One bit cannot count two users.
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'refcount_bits=1', 'one.qcow2', '1M')
    run('qemu-io', '-c', 'write 0 64k', 'one.qcow2')
    before = digest('one.qcow2')
    dish('one.qcow2', '--', 'snapshot', 'create', 's', status=1)
    clean('one.qcow2', 'refused snapshot')
    expect(digest('one.qcow2') == before, 'a refused snapshot changed the file')


def main():
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        creation()
        external_data()
        backing()
        hostile()
        refused()
        snapshots()
        mix()
        reading()
        compression()
    print('ok')


main()
