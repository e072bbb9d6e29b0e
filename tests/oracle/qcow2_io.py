#!/usr/bin/env python3
"""Bytes at offsets of the virtual disk, written, zeroed, discarded and read by commands, against a raw model and
qemu-img: random operations, block boundaries, flag bits, overlaps, lazy refcounts, compressed clusters, the number of
syncs. LONG=1 takes 5,000 operations each and 64 MiB."""
import json
import os
import random
import re
import struct
import tempfile

from _dish import DISH, LONG, content, poke
from _qcow2 import clean, expect, run, same


def dish(image, *commands, status=0, options=()):
    return run(DISH, *options, image, *[word for command in commands for word in ('-c', command)],
               status=status, text=False)


def script(image, lines):
    run(DISH, '-q', image, stdin='\n'.join(lines) + '\n')


def qemu_map(image):
    return json.loads(run('qemu-img', 'map', '--output=json', image).stdout)


def bytes_at(image, off, length, options=('-r',)):
    return dish(image, f'get --at={off} --length={length} 0: -', options=options).stdout


# ---- random operations ----

class Model:
    """The raw disk that the image must look like."""

    def __init__(self, image, size, cluster, base=b''):
        self.image, self.cluster = image, cluster
        self.bytes = bytearray(base[:size].ljust(size, b'\0'))

    def operation(self, rng):
        size, cluster = len(self.bytes), self.cluster
        kind = rng.choice(['write'] * 5 + ['bytes', 'zero', 'zero', 'discard', 'discard', 'resize', 'commit'])
        off = rng.randrange(size)
        length = min(size - off, rng.choice([1, 512, 4096, cluster, rng.randrange(1, 3 * cluster)]))
        if kind == 'write':
            byte = rng.randrange(1, 256)
            self.bytes[off:off + length] = bytes([byte]) * length
            return f'write --at={off} --fill={byte} --length={length} 0:'
        if kind == 'bytes':
            data = rng.randbytes(length)
            self.bytes[off:off + length] = data
            with open('piece', 'ab') as file:
                at = file.tell()
                file.write(data)
            return f'!dd if=piece of=part bs=64K iflag=skip_bytes,count_bytes skip={at} count={length} status=none\nput --at={off} part 0:'
        if kind == 'zero':
            self.bytes[off:off + length] = bytes(length)
            return f'fallocate -z -o {off} -l {length} 0:'
        if kind == 'discard':
            first = off // cluster * cluster
            length = min(size - first, rng.randrange(1, 4) * cluster)
            self.bytes[first:first + length] = bytes(length)
            return f'punch -o {first} -l {length} 0:'
        if kind == 'resize' and rng.random() < 0.3:
            new = max(cluster, min(size + rng.randrange(-8, 9) * cluster, 600 * cluster))
            self.bytes = self.bytes[:new] if new < size else self.bytes + bytes(new - size)
            return f'resize --shrink {new}'
        return 'commit'

    def check(self, what):
        with open('model.raw', 'wb') as file:
            file.write(self.bytes)
        clean(self.image, what)
        same(self.image, 'model.raw', what)


def random_operations():
    rng = random.Random(5)
    for cluster, based in ((512, False), (4096, True), (65536, False), (65536, True), (2 << 20, False)):
        size = cluster * (40 if cluster > 65536 else 300)
        base = rng.randbytes(size // 3 + 77) if based else b''
        words = ['-f', 'qcow2', '-o', f'cluster_size={cluster}']
        if based:
            with open('base.raw', 'wb') as file:
                file.write(base)
            words += ['-b', 'base.raw', '-F', 'raw']
        run('qemu-img', 'create', '-q', *words, 'r.qcow2', str(size))
        model = Model('r.qcow2', size, cluster, base)
        rounds, each = (25, 200) if LONG else (3, 40)
        for number in range(rounds):
            lines = [model.operation(rng) for _ in range(each if cluster < 1 << 20 or LONG else each // 3)]
            with open('last', 'w') as file:
                file.write('\n'.join(lines))
            script('r.qcow2', lines)
            model.check(f'{cluster} {"backed" if based else ""} round {number}')
            if os.path.exists('piece'):
                os.unlink('piece')
        # What was done and taken back leaves the same.
        other = Model('r.qcow2', len(model.bytes), cluster)
        lines = [other.operation(rng) for _ in range(20)] + ['rollback']
        script('r.qcow2', [line for line in lines if line != 'commit'])
        model.check(f'{cluster} after a rollback')


def block_boundaries():
    """Growth of refcount blocks and table at any place, in a file written in random order."""
    rng = random.Random(6)
    size = (64 if LONG else 10) << 20
    for bits in (64, 16, 1):
        for maker in ('qemu-img', 'dish'):
            options = f'cluster_size=512,refcount_bits={bits}'
            if maker == 'dish':
                run(DISH, '--', 'create', '-f', 'qcow2', '-o', options, 'b.qcow2', str(size))
            else:
                run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, 'b.qcow2', str(size))
            before = content('b.qcow2')[48:56]
            pieces = list(range(0, size, 65536))
            rng.shuffle(pieces)
            lines, model = [], bytearray(size)
            for off in pieces:
                model[off:off + 65536] = bytes([off >> 16 & 255 or 7]) * 65536
                lines.append(f'write --at={off} --fill={off >> 16 & 255 or 7} --length=64K 0:')
                lines += ['commit'] if rng.random() < 0.05 else []
            script('b.qcow2', lines)
            with open('model.raw', 'wb') as file:
                file.write(model)
            clean('b.qcow2', f'boundaries {maker} {bits}')
            same('b.qcow2', 'model.raw', f'boundaries {maker} {bits}')
            if maker == 'qemu-img' and bits > 1:
                expect(content('b.qcow2')[48:56] != before, f'{bits} bits: the refcount table did not move')
            os.unlink('b.qcow2')


# ---- single situations ----

def fixed_image(name='t.qcow2'):
    run('qemu-img', 'create', '-q', '-f', 'qcow2', name, '1M')
    run('qemu-io', '-c', 'write -P 17 0 256k', name)


def mid_cluster_end():
    run('qemu-img', 'create', '-q', '-f', 'qcow2', 'm.qcow2', '1M')
    run('qemu-io', '-c', 'write -c -P 17 0 64k', '-c', 'write -c -P 18 64k 64k', 'm.qcow2')
    expect(os.path.getsize('m.qcow2') % 65536, 'the file ends with a whole cluster')
    dish('m.qcow2', 'write --at=512K --fill=0x22 --length=64K 0:')
    clean('m.qcow2', 'end inside a cluster')
    expect(bytes_at('m.qcow2', 0, 1 << 20) ==
           b'\x11' * 65536 + b'\x12' * 65536 + bytes(393216) + b'\x22' * 65536 + bytes(458752), 'end inside a cluster: contents')
    # Part of a compressed cluster is written: the rest stays.
    dish('m.qcow2', 'write --at=68K --fill=0x33 --length=4K 0:')
    clean('m.qcow2', 'write into a compressed cluster')
    expect(bytes_at('m.qcow2', 65536, 65536) == b'\x12' * 4096 + b'\x33' * 4096 + b'\x12' * 57344, 'the rest of a compressed cluster')


def zero_flag():
    fixed_image()
    poke('t.qcow2', 0x40000, struct.pack('>Q', 1))
    expect(bytes_at('t.qcow2', 0, 65536) == bytes(65536), 'the zero flag')
    found = dish('t.qcow2', 'check --container', status=4)
    expect(b'1 leaked clusters' in found.stdout and b' damage: ' not in found.stdout, f'zero flag: {found.stdout.decode()}')
    dish('t.qcow2', 'check --container --repair=leaks')
    clean('t.qcow2', 'zero flag after the repair')


def backing():
    with open('base.raw', 'wb') as file:
        file.write(b'x' * 98304)
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base.raw', '-F', 'raw', 'o.qcow2', '256K')
    dish('o.qcow2', 'write --at=92K --fill=0x6e --length=1K 0:')
    clean('o.qcow2', 'write over a backing file')
    expect(bytes_at('o.qcow2', 0, 262144) == b'x' * 94208 + b'n' * 1024 + b'x' * 3072 + bytes(163840), 'write over a backing file')


def lazy():
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'lazy_refcounts=on', 'l.qcow2', '1M')
    run('qemu-io', '-c', 'write -P 1 0 64k', '-c', 'flush', '-c', 'sigraise 9', 'l.qcow2', status=None)
    before = content('l.qcow2')
    expect(before[79] == 1, 'the image is not dirty')
    expect(bytes_at('l.qcow2', 0, 65536) == b'\1' * 65536, 'lazy: contents')
    dish('l.qcow2', 'check --container', status=4)
    expect(content('l.qcow2') == before, 'lazy: looking changed the file')
    dish('l.qcow2', 'write --at=128K --fill=2 --length=64K 0:')
    expect(content('l.qcow2')[72:80] == bytes(8), 'lazy: the dirty bit is still set')
    clean('l.qcow2', 'lazy')


def overlaps():
    for place in (0x10000, 0x20000, 0x30000, 0x40000):
        fixed_image()
        poke('t.qcow2', 0x40000, struct.pack('>Q', 1 << 63 | place))
        before = content('t.qcow2')
        dish('t.qcow2', 'write --at=0 --fill=9 --length=64K 0:', status=1)
        after = content('t.qcow2')
        expect(after[:72] + after[80:] == before[:72] + before[80:], f'overlap at {place:#x}: more than the corrupt bit changed')
        expect(after[79] & 2, f'overlap at {place:#x}: the corrupt bit is not set')
        expect(bytes_at('t.qcow2', 65536, 65536) == b'\x11' * 65536, f'overlap at {place:#x}: reading')
        found = dish('t.qcow2', 'write --at=128K --fill=9 --length=64K 0:', status=1)
        expect(b'corrupt' in found.stderr and content('t.qcow2') == after, f'overlap at {place:#x}: a second writer')


def syncs():
    """One commit, however many tables it touches."""
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=512', 'f.qcow2', '64M')
    run('strace', '-f', '-o', 'trace', '-e', 'trace=fsync,fdatasync,sync_file_range,syncfs', DISH, 'f.qcow2', '-c',
        'write --at=0 --fill=0x5a --length=16M 0:', '-c', 'commit',
        env={**os.environ, 'ASAN_OPTIONS': 'detect_leaks=0'})  # leaks cannot be looked for under strace
    count = len(re.findall(r'\b(?:fdatasync|fsync|syncfs)\(', open('trace').read()))
    expect(1 <= count <= 12, f'{count} syncs for one commit')
    clean('f.qcow2', 'after one commit')
    with open('model.raw', 'wb') as file:
        file.write(b'\x5a' * (16 << 20))
        file.truncate(64 << 20)
    same('f.qcow2', 'model.raw', 'after one commit')


def kept_discards():
    """With discard-no-unref a discarded cluster keeps its place, and gives its bytes back."""
    fixed_image()
    dish('t.qcow2', 'snapshot create s', 'write --at=64K --fill=5 --length=64K 0:')
    place = [part['offset'] for part in qemu_map('t.qcow2') if part['start'] == 65536]
    blocks = os.stat('t.qcow2').st_blocks
    dish('t.qcow2', 'set discard-no-unref on', 'punch -o 0 -l 128K 0:', 'commit', 'write --at=68K --fill=6 --length=4K 0:')
    clean('t.qcow2', 'discard-no-unref')
    expect(bytes_at('t.qcow2', 0, 1 << 18) == bytes(69632) + b'\6' * 4096 + bytes(57344) + b'\x11' * 131072, 'discard-no-unref: contents')
    parts = {part['start']: part for part in qemu_map('t.qcow2')}
    # The cluster shared with the snapshot is given up: it is not ours to punch.
    expect('offset' not in parts[0] and not parts[0]['data'], f'discard-no-unref: {parts}')
    expect(parts[69632]['offset'] == place[0] + 4096, f'discard-no-unref: {parts} {place}')
    dish('t.qcow2', 'set discard-no-unref on', 'punch -o 64K -l 64K 0:')
    expect(os.stat('t.qcow2').st_blocks < blocks, 'discard-no-unref: nothing was punched')
    expect(run(DISH, '-r', 't.qcow2', '-c', 'snapshot convert s s.raw').returncode == 0 and
           content('s.raw')[:262144] == b'\x11' * 262144, 'discard-no-unref: the snapshot has changed')
    dish('t.qcow2', 'punch -o 64K -l 64K 0:')
    expect(all('offset' not in part for part in qemu_map('t.qcow2') if part['start'] < 131072), 'a discard keeps its place without being asked')
    clean('t.qcow2', 'discard')


# ---- the commands themselves ----

def layers_above():
    """Changed bytes below a mounted volume are seen by it, and undone with it."""
    run(DISH, '--', 'create', 'v.qcow2', '16M')
    dish('v.qcow2', 'mkfs ext4', 'write /f one')
    found = dish('v.qcow2', 'ls /', 'write --at=0 --fill=0 --length=16M 0:', '-ls /', 'undo', 'cat /f')
    expect(found.stdout.endswith(b'one') and b'no filesystem' in found.stderr, f'layers above: {found.stdout} {found.stderr}')
    before = content('v.qcow2')
    dish('v.qcow2', 'write --at=0 file: QFX', status=1)
    dish('v.qcow2', 'write --at=16M 0: x', status=1)
    dish('v.qcow2', 'write 0: x', status=1)
    dish('v.qcow2', 'write --at=0 0: x', status=1, options=('-r',))
    expect(content('v.qcow2') == before, 'refused writes changed the file')
    # The same in files: nothing is cut off, holes before the new end.
    found = dish('v.qcow2', 'write --at=1 /f NE', 'write --at=+2 /f end', 'cat /f', 'fallocate -z -l 2 /f', 'cat /f',
                 'punch -z -o 5 -l 100 /f', 'cat /f')
    expect(found.stdout == b'oNE\0\0end' + b'\0\0E\0\0end' + b'\0\0E\0\0\0\0\0', f'files: {found.stdout}')
    run('qemu-img', 'convert', '-O', 'raw', 'v.qcow2', 'v.raw')
    run('e2fsck', '-fn', 'v.raw')


def main():
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        for part in (mid_cluster_end, zero_flag, backing, lazy, overlaps, syncs, kept_discards, layers_above, random_operations, block_boundaries):
            part()
    print('ok')


main()
