#!/usr/bin/env python3
"""Structures of qcow2 that nobody writes, made with a foreign tool and changed by hand: one lies over another, a count
is too low, an entry names what it must not. A change that would have to trust them is refused and leaves the image as
it was but for the mark that it is corrupt."""
import os
import struct
import tempfile
import zlib

from _dish import DISH, content, expect, finish, run
from _dish import poke as put

COPIED, ZERO, OFFSET = 1 << 63, 1, 0x00fffffffffffe00
CLUSTER = 1 << 16
INCOMPATIBLE = 72  # its offset in the header


class Image:
    def __init__(self, path, options, size, *writes):
        self.path = path
        if os.path.exists(path):
            os.unlink(path)
        self.tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, path, size)
        for line in writes:
            self.tool('qemu-io', '-f', 'qcow2', '-c', line, path)

    @staticmethod
    def tool(*words):
        rc, out, err = run(*words)
        expect(rc == 0, words, out, err)

    def number(self, off, width=8):
        return int.from_bytes(content(self.path)[off:off + width], 'big')

    def put(self, off, value, width=8):
        put(self.path, off, value.to_bytes(width, 'big'))

    def l1(self):
        return self.number(40)

    def l2(self):
        return self.number(self.l1()) & OFFSET

    def host(self, index=0):
        return self.number(self.l2() + 8 * index) & OFFSET

    def refcount(self, cluster, value=None):
        off = self.number(self.number(48)) + 2 * cluster
        if value is not None:
            self.put(off, value, 2)
        return self.number(off, 2)

    def bitmap(self):
        """Where the table of the first bitmap lies, and its first entry."""
        raw = content(self.path)
        at = raw.index(struct.pack('>II', 0x23852875, 24))
        directory = self.number(at + 24)
        return directory, self.number(directory)

    def dish(self, *commands, options=()):
        return run(DISH, *options, self.path, *(word for line in commands for word in ('-c', line)))

    def refused(self, what, why, *commands):
        """The last command fails; not a byte changes but the mark."""
        before = content(self.path)
        rc, _, err = self.dish(*commands)
        expect(rc == 1 and why in err, what, rc, err[:1000])
        after = bytearray(content(self.path))
        if len(after) == len(before):
            after[INCOMPATIBLE:INCOMPATIBLE + 8] = before[INCOMPATIBLE:INCOMPATIBLE + 8]
        expect(bytes(after) == before, what, 'the image changed')

    def guest(self):
        rc, _, err = run(DISH, '-q', '--', 'convert', '--force', '-f', 'raw', self.path, self.path + '.raw')
        expect(rc == 0, 'convert', err)
        return content(self.path + '.raw')


def bitmap_over_l1(path):
    """A cluster of bits that is the L1 table: what lies behind the disk's end would be cleared in it."""
    image = Image(path, 'cluster_size=64k', '1M', 'write -P 17 0 128k')
    image.tool('qemu-img', 'bitmap', '--add', path, 'b')
    image.put(image.bitmap()[1], image.l1())
    image.refused('bits over the L1 table', 'overlap', 'resize 2M')


def bitmap_table_over_l1(path):
    image = Image(path, 'cluster_size=64k', '1M')
    image.tool('qemu-img', 'bitmap', '--add', path, 'b')
    image.put(image.bitmap()[0], image.l1())
    image.refused('a table of bitmaps over the L1 table', 'overlap', 'bitmap clear b')


def refcounts_over_l1(path):
    """A refcount block that is the L1 table: mending what is leaked would clear it."""
    image = Image(path, 'cluster_size=64k', '1M', 'write -P 17 0 128k')
    image.put(image.number(48) + 8, image.l1())
    before = content(path)
    rc, _, err = image.dish('check --repair=leaks')
    expect(rc in (1, 4), 'refcounts over the L1 table', rc, err)
    expect(content(path) == before, 'refcounts over the L1 table', 'the image changed')


def zeros_over_l1(path):
    """A reserved cluster of zeros that is the L1 table: version 2 has to store the zeros."""
    image = Image(path, 'cluster_size=64k', '1M', 'write -P 17 0 128k')
    image.put(image.l2() + 16, image.l1() | COPIED | ZERO)
    image.refused('zeros over the L1 table', 'overlap', 'amend compat=0.10')


def discard_over_l1(path):
    """The same as data: its bytes would be given back to the host, its place kept."""
    image = Image(path, 'cluster_size=64k', '1M', 'write -P 17 0 128k')
    image.put(image.l2() + 16, image.l1() | COPIED)
    image.refused('a discard over the L1 table', 'overlap', 'set discard-no-unref on',
                  'punch -o 128K -l 64K 0:')


def uncounted_data(path):
    """Data that nothing counts looks like free space to what makes the file smaller."""
    for command in 'compact', 'resize --shrink 192k':
        image = Image(path, 'cluster_size=64k', '1M', 'write -P 17 0 128k')
        before = image.guest()[:196608]
        image.refcount(image.host(1) // CLUSTER, 0)
        image.dish(command)
        expect(image.guest()[:196608] == before, 'uncounted data', command, 'lost it')


def snapshot_counted_once(path):
    """Data that a snapshot shares, counted once: it must not go when the active disk leaves it."""
    image = Image(path, 'cluster_size=64k', '1M', 'write -P 17 0 128k')
    image.tool('qemu-img', 'snapshot', '-c', 's', path)
    for index in range(2):
        image.refcount(image.host(index) // CLUSTER, 1)
    before = image.guest()
    image.dish('snapshot apply s')
    expect(image.guest() == before, 'a snapshot counted once', 'its data are lost')


def flag_without_table(path):
    """An L1 entry that is nothing but a flag names no table that could be freed."""
    image = Image(path, 'cluster_size=512', '1M', 'write -P 17 0 16k')
    image.put(image.l1() + 8 * 20, COPIED)
    rc, _, err = image.dish('resize --shrink 128k')
    expect(rc == 0, 'a flag without a table', rc, err)
    rc, out, _ = run('qemu-img', 'check', path)
    expect(rc == 0, 'a flag without a table', out)


def part_of_a_field(path):
    """Version 2 allows any length of a snapshot's extra data; four bytes of them are no size."""
    image = Image(path, 'compat=0.10,cluster_size=64k', '1M', 'write -P 17 0 64k')
    image.tool('qemu-img', 'snapshot', '-c', 's', path)
    at = image.number(64)
    put(path, at + 36, struct.pack('>I', 4) + b'ABCD' + b'1s')
    rc, _, err = image.dish('amend compat=1.1')
    expect(rc == 0, 'part of a field', rc, err)
    at = image.number(64)
    expect(content(path)[at + 36:at + 56] == struct.pack('>IQQ', 16, 0, 1 << 20), 'part of a field',
           content(path)[at + 36:at + 56])


def unreadable_snapshots(path):
    """What only a damaged entry of the snapshot table refers to is not leaked: the entry can be mended by hand."""
    image = Image(path, 'cluster_size=64k', '1M', 'write -P 17 0 128k')
    image.tool('qemu-img', 'snapshot', '-c', 's', path)
    image.tool('qemu-io', '-f', 'qcow2', '-c', 'write -P 34 0 128k', path)
    at = image.number(64)
    l1 = image.number(at)
    image.put(at, l1 + 1)
    rc, _, err = image.dish('check --repair=leaks')
    expect(rc in (1, 4), 'unreadable snapshots', rc, err)
    image.put(at, l1)
    rc, out, _ = run('qemu-img', 'check', path)
    expect(rc == 0, 'unreadable snapshots', out)


def no_extra_data(path):
    """A snapshot without extra data has none to be shown or changed: behind it lies its name."""
    image = Image(path, 'compat=0.10,cluster_size=64k', '1M')
    image.tool('qemu-img', 'snapshot', '-c', 's', path)
    put(path, image.number(64) + 36, struct.pack('>I', 0) + b'1s')
    image.refused('no extra data', 'no extra data', 'poke --raw qcow2.snapshot-extra.disk_size 0 7')


def larger_clusters(path):
    """What was made for the small clusters of a header does not do for large ones."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    payload = packer.compress(b'text' * 128) + packer.flush()
    raw = bytearray(0x80000)
    struct.pack_into('>IIQIIQIIQQIIQQQQII', raw, 0, 0x514649fb, 3, 0, 0, 9, 32768, 0, 1, 0x30000, 0x10000, 128, 0, 0,
                     0, 0, 0, 4, 112)
    struct.pack_into('>Q', raw, 0x10000, 0x20000)
    struct.pack_into('>Q', raw, 0x30000, COPIED | 0x40000)
    struct.pack_into('>Q', raw, 0x40000, 1 << 62 | 1 << 61 | 0x50000)  # two sectors, or 129
    raw[0x50000:0x50000 + len(payload)] = payload
    with open(path, 'wb') as file:
        file.write(raw)
    look = 'hexdump -n 16 0:'
    rc, out, err = run(DISH, '-k', path, '-c', look, '-c', 'poke qcow2.header.cluster_bits 16', '-c', look, '-c', 'undo',
                       '-c', look)
    expect(rc == 1 and out.count('|texttexttexttext|') == 2 and 'too short' in err, 'larger clusters', rc, out, err[:3000])


def corrupt_twice(path):
    """Version 2 has no mark for a corrupt image; the session remembers, and says so each time."""
    image = Image(path, 'compat=0.10,cluster_size=64k', '1M', 'write -P 17 0 128k')
    image.put(image.l2(), image.l1() | COPIED)
    _, _, err = image.dish('punch -o 0 -l 64K 0:', 'punch -o 0 -l 64K 0:', options=('-k',))
    expect('would be freed' in err and 'found to be corrupt' in err, 'corrupt twice', err)


CASES = (bitmap_over_l1, bitmap_table_over_l1, refcounts_over_l1, zeros_over_l1, discard_over_l1, uncounted_data,
         snapshot_counted_once, flag_without_table, part_of_a_field, unreadable_snapshots, no_extra_data,
         larger_clusters, corrupt_twice)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            case(folder + '/image')
    finish()


main()
