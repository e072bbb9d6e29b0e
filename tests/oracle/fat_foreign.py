#!/usr/bin/env python3
"""FAT and exFAT volumes as others leave them: unmirrored FATs, roots elsewhere, kept bits, bad clusters, data that was
never written, vendors' entries, features that must be refused by name."""
import os
import struct
import subprocess
import tempfile

from _dish import DISH, blank, content, fail, finish


def dish(image, *commands, ok=True):
    words = [w for c in commands for w in ('-c', c)]
    done = subprocess.run([DISH, '-q', *words, image], capture_output=True)
    if ok and done.returncode != 0:
        fail(commands, done.stderr.decode(errors='replace')[:400])
    return done


def new(work, kib, *commands):
    image = os.path.join(work, 'v.img')
    blank(image, kib << 10)
    dish(image, *commands)
    return image


def load(image):
    return bytearray(content(image))


def store(image, data):
    with open(image, 'wb') as stream:
        stream.write(data)


def checked(image, tool):
    done = subprocess.run([tool, '-n', image], capture_output=True, text=True, errors='replace')
    if done.returncode != 0:
        fail(tool, done.stdout[-300:])


def head(b):
    """Of FAT32: sector, offset of the FAT, its length, offset of cluster 2, bytes of a cluster."""
    sector = struct.unpack_from('<H', b, 11)[0]
    fat = struct.unpack_from('<H', b, 14)[0] * sector
    length = struct.unpack_from('<I', b, 36)[0] * sector
    return sector, fat, length, fat + b[16] * length, b[13] * sector


def unmirrored_fat(work):
    """With mirroring off only the active FAT is read and written."""
    image = new(work, 40000, 'mkfs fat32', 'write /a hello', 'mkdir /d')
    b = load(image)
    sector, fat, length, _, _ = head(b)
    for boot in (0, 6 * sector):
        struct.pack_into('<H', b, boot + 40, 0x81)
    b[fat:fat + length] = bytes(length)  # the first copy is worthless now
    store(image, b)
    if dish(image, 'cat /a').stdout != b'hello':
        fail('unmirrored: contents')
    dish(image, 'write /d/b world', 'rm /a')
    b = load(image)
    if any(b[fat:fat + length]) or not any(b[fat + length:fat + 2 * length]):
        fail('unmirrored: the wrong FAT was written')
    if dish(image, 'cat /d/b').stdout != b'world' or dish(image, 'fsck').returncode != 0:
        fail('unmirrored: after a change')


def kept_bits(work):
    """The four high bits of FAT32 entries and bad clusters survive allocation and freeing."""
    image = new(work, 40000, 'mkfs fat32')
    b = load(image)
    _, fat, length, _, _ = head(b)
    for copy in (fat, fat + length):
        for n in range(3, 60):
            struct.pack_into('<I', b, copy + 4 * n, 0xA0000000)
        struct.pack_into('<I', b, copy + 4 * 10, 0x5FFFFFF7)
    store(image, b)
    with open(work + '/data', 'wb') as stream:
        stream.write(os.urandom(20000))
    dish(image, f'put {work}/data /x', 'rm /x', f'put {work}/data /y')
    b = load(image)
    if struct.unpack_from('<I', b, fat + 40)[0] != 0x5FFFFFF7:
        fail('the bad cluster was used')
    if any(struct.unpack_from('<I', b, fat + 4 * n)[0] >> 28 != 10 for n in range(3, 60) if n != 10):
        fail('high bits were lost')
    if dish(image, 'cat /y').stdout != load(work + '/data'):
        fail('contents around a bad cluster')


def root_elsewhere(work):
    """A root directory that does not begin at cluster 2 and has several clusters far apart."""
    image = new(work, 40000, 'mkfs fat32', 'write /a hello')
    b = load(image)
    sector, fat, length, data, size = head(b)
    for boot in (0, 6 * sector):
        struct.pack_into('<I', b, boot + 44, 900)
    for copy in (fat, fat + length):
        entry = struct.unpack_from('<I', b, copy + 8)[0]
        struct.pack_into('<I', b, copy + 8, 0)
        struct.pack_into('<I', b, copy + 3600, 700)
        struct.pack_into('<I', b, copy + 2800, entry)
    b[data + 898 * size:data + 899 * size] = b[data:data + size]
    struct.pack_into('<I', b, sector + 488, struct.unpack_from('<I', b, sector + 488)[0] - 1)
    store(image, b)
    checked(image, 'fsck.vfat')
    if dish(image, 'cat /a').stdout != b'hello':
        fail('root elsewhere: contents')
    dish(image, 'mkdir /sub', *[f'touch "/a file with a long name {i}"' for i in range(60)])
    checked(image, 'fsck.vfat')
    if dish(image, 'ls /sub/..').stdout.count(b'\n') != 62:
        fail('root elsewhere: listing', dish(image, 'ls /sub/..').stdout)


def refused(work):
    """What is not understood is named, and nothing is changed."""
    image = new(work, 40000, 'mkfs fat32')
    b = load(image)
    b[42] = 1
    store(image, b)
    if b'version' not in dish(image, 'ls /', ok=False).stderr:
        fail('FAT32 version')
    image = new(work, 12000, 'mkfs exfat')
    clean = load(image)
    for off, value, word in ((110, 2, b'TexFAT'), (105, 2, b'revision'), (106, 1, b'TexFAT')):
        b = bytearray(clean)
        b[off] = value
        store(image, b)
        done = dish(image, 'ls /', ok=False)
        if done.returncode == 0 or word not in done.stderr:
            fail('exFAT', word, done.stderr)
    b = bytearray(clean)
    sector = 1 << b[108]
    root = struct.unpack_from('<I', b, 88)[0] * sector + (struct.unpack_from('<I', b, 96)[0] - 2) * (sector << b[109])
    b[root + 96] = 0x86  # an unknown critical entry: reading only
    store(image, b)
    if dish(image, 'ls /').returncode != 0:
        fail('reading with an unknown critical entry')
    if b'0x86' not in dish(image, 'touch /x', ok=False).stderr or load(image) != b:
        fail('changing with an unknown critical entry')


class Set:
    """The entry set of a file in an exFAT root directory."""

    def __init__(self, image, name):
        self.image, self.b = image, load(image)
        at = 0
        while True:
            at = self.b.index(b'\xc1\x00' + name.encode('utf-16le'), at + 1)
            if self.b[at - 64] == 0x85:
                break
        self.at = at - 64

    def seal(self):
        total = 0
        for i in range((1 + self.b[self.at + 1]) * 32):
            if i not in (2, 3):
                total = ((total << 15 | total >> 1) + self.b[self.at + i]) & 0xFFFF
        struct.pack_into('<H', self.b, self.at + 2, total)
        store(self.image, self.b)


def never_written(work):
    """Bytes from ValidDataLength on are zeros, whatever the clusters hold."""
    with open(work + '/data', 'wb') as stream:
        stream.write(b'x' * 30000)
    image = new(work, 12000, 'mkfs exfat', f'put {work}/data /file')
    entries = Set(image, 'file')
    struct.pack_into('<Q', entries.b, entries.at + 40, 3000)
    entries.seal()
    checked(image, 'fsck.exfat')
    if dish(image, 'cat /file').stdout != b'x' * 3000 + bytes(27000):
        fail('ValidDataLength: reading')
    dish(image, 'write -a /file end')
    if dish(image, 'cat /file').stdout != b'x' * 3000 + bytes(27000) + b'end':
        fail('ValidDataLength: appending')
    checked(image, 'fsck.exfat')


def vendor_entries(work):
    """Entries of vendors stay with their file, and their clusters go with it."""
    image = new(work, 12000, 'mkfs exfat', 'write /first 1')
    entries = Set(image, 'first')
    entries.b[entries.at + 1] = 3
    entries.b[entries.at + 96:entries.at + 128] = b'\xe0\x01' + bytes(range(30))
    entries.seal()
    dish(image, 'write -a /first 23', 'mv /first "/a longer name, so that the set moves"', 'touch /other')
    b = load(image)
    moved = Set(image, 'a longer name, ')
    count = b[moved.at + 1]
    if count != 5 or b[moved.at + 32 * count:moved.at + 32 * count + 32] != b'\xe0\x01' + bytes(range(30)):
        fail('vendor entry', count)
    moved.seal()
    if load(image) != b:
        fail('vendor entry: checksum')
    if dish(image, 'cat /a*').stdout != b'123' or dish(image, 'fsck').returncode != 0:
        fail('vendor entry: contents')
    dish(image, 'rm /a*', 'fsck')


def contiguous_to_chain(work):
    """A file without a FAT chain gets one as soon as it cannot grow in place."""
    image = new(work, 12000, 'mkfs exfat -O cluster_size=4K', 'write /a 1', 'write /b 2')
    dish(image, f'write -a /a {"x" * 5000}', f'write -a /b {"y" * 9000}')
    if dish(image, 'cat /a').stdout != b'1' + b'x' * 5000 or dish(image, 'cat /b').stdout != b'2' + b'y' * 9000:
        fail('chains: contents')
    entries = Set(image, 'a')
    if entries.b[entries.at + 33] != 1:
        fail('chains: the flag is', entries.b[entries.at + 33])
    checked(image, 'fsck.exfat')
    dish(image, 'truncate -s 0 /a', 'write -a /a again')
    checked(image, 'fsck.exfat')


def main():
    with tempfile.TemporaryDirectory() as work:
        for test in (unmirrored_fat, kept_bits, root_elsewhere, refused, never_written, vendor_entries,
                     contiguous_to_chain):
            test(work)
    finish()


main()
