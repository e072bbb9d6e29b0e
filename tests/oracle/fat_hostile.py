#!/usr/bin/env python3
"""FAT and exFAT volumes that nobody writes, changed by hand so that a careless change or repair would spread the
damage to files that are sound, destroy the volume, or never end."""
import os
import struct
import tempfile

from _dish import DISH, blank, expect, finish, run
from _fat import Exfat, Fat

KiB = 1024
EXFAT = 'mkfs exfat -O cluster_size=512'
FAT12 = 'mkfs fat12 -O cluster_size=512'
FAT32 = 'mkfs fat32 -O cluster_size=512'


def dish(image, *commands):
    """Status and output of one session; nothing here takes longer than a moment."""
    rc, out, err = run(DISH, '-q', image, *(word for line in commands for word in ('-c', line)), timeout=60)
    expect(rc in (0, 1, 4), commands, rc, err[:2000])
    return rc, out + err


def make(image, kib, *commands):
    blank(image, kib * KiB)
    rc, text = dish(image, *commands)
    expect(rc == 0, 'make', commands, text)
    return (Exfat if 'exfat' in commands[0] else Fat)(image)


def save(image, volume):
    with open(image, 'wb') as file:
        file.write(volume.b)


def clean(what, image):
    rc, text = dish(image, 'fsck')
    expect(rc == 0, what, text)


def mended(what, image, *lines):
    """A repair settles it, and the files are what they were."""
    dish(image, 'fsck --repair')
    clean(what, image)
    for command, output in lines:
        rc, text = dish(image, command)
        expect(rc == 0 and text == output, what, command, text)


def set_bit(volume, cluster, used):
    at, bit = volume.off(2) + (cluster - 2) // 8, 1 << (cluster - 2) % 8
    volume.b[at] = volume.b[at] | bit if used else volume.b[at] & ~bit


def host_file(image, size):
    with open(image + '.data', 'wb') as file:
        file.write(b'h' * size)
    return image + '.data'


# ---- FAT ----

def freed_twice(image):
    """Two files share clusters. One goes, a third gets the clusters, and must not be taken for the second."""
    v = make(image, 1440, FAT12, 'write /a ' + 'a' * 2000, 'write /b b', 'write /z ' + 'z' * 1000)
    entry = v.find('B          ')
    v.set_first(entry, v.get(v.first(v.find('A          '))))
    v.set_size(entry, 1400)
    save(image, v)
    data = host_file(image, 512 * len(v.free(v.clusters)))
    dish(image, f'put {data} /big', 'cat /b > /dev/null', 'rm /a', 'rm /z', 'commit', 'write /h h',
         'write /c ' + 'c' * 2500)
    rc, text = dish(image, 'cat /c')
    expect(rc == 0 and text.strip() == 'c' * 2500, 'freed twice', text[-200:])


def circle(image):
    """What a chain is cut from leads back into what stays."""
    v = make(image, 1440, FAT12, 'write /a ' + 'a' * 2000)
    first = v.first(v.find('A          '))
    v.set(v.get(first), first)
    save(image, v)
    rc, text = dish(image, 'truncate -s 100 /a')
    expect(rc == 1 and 'circle' in text, 'circle', rc, text)
    expect(Fat(image).get(first) != 0, 'circle', 'the first cluster is free')


def many_bad_names(image):
    """More entries to be renamed than four digits count."""
    v = make(image, 5 * KiB, 'mkfs fat16 -O cluster_size=512', 'mkdir /d')
    first, count = v.first(v.find('D          ')), 10050
    chain = [first] + v.free(v.clusters)[:(count + 2) * 32 // v.size]
    entries = bytes(v.b[v.off(first):v.off(first) + 64])
    entries += b''.join(b'A*%06d  T ' % i + bytes(20) for i in range(count))
    for i, cluster in enumerate(chain):
        v.set(cluster, chain[i + 1] if i + 1 < len(chain) else v.end)
        v.b[v.off(cluster):v.off(cluster) + v.size] = entries[i * v.size:(i + 1) * v.size].ljust(v.size, b'\0')
    save(image, v)
    dish(image, 'fsck --repair > /dev/null')
    rc, text = dish(image, 'fsck', 'ls /d | wc -l')
    expect(rc == 0 and text.strip().endswith(str(count)), 'many bad names', text[-300:])


def free_root(image):
    """The root directory's first cluster is marked free, and the search for free ones begins there."""
    v = make(image, 64 * KiB, FAT32, 'write /a A')
    v.set(2, 0)
    struct.pack_into('<I', v.b, 512 + 492, 2)
    save(image, v)
    dish(image, 'write /n new')
    mended('free root', image, ('cat /a', 'A'), ('cat /n', 'new'))


def one_sector(image):
    """One sector is named as FSInfo and as the copy of the boot sector: neither may be written over the other."""
    v = make(image, 64 * KiB, FAT32, 'write /a A')
    struct.pack_into('<H', v.b, 48, 6)
    v.b[6 * 512:7 * 512] = v.b[:512]
    save(image, v)
    rc, text = dish(image, 'fsck --repair')
    expect(rc == 4 and 'sector 6' in text, 'one sector', rc, text)
    dish(image, 'write /n new', 'label XYZ')
    with open(image, 'rb') as file:
        sectors = file.read(7 * 512)
    expect(sectors[6 * 512:6 * 512 + 64] == bytes(v.b[:64]), 'one sector', 'the copy was changed')


# ---- exFAT ----

def greedy_set(image):
    """A file's entry claims those of its neighbours; it can go, they stay."""
    for seal in (False, True):
        v = make(image, 4 * KiB, EXFAT, 'write /bad x', 'write /g1 1', 'write /g2 2')
        at = v.find('bad')
        v.b[at + 1] = 8
        if seal:
            v.seal(at)
        save(image, v)
        dish(image, '-rm -f /bad')
        mended('greedy set', image, ('cat /g1 /g2', '12'))


def directory_twice(image):
    """A directory's cluster is marked free, and becomes that of a directory inside it."""
    v = make(image, 4 * KiB, EXFAT, 'mkdir /d', 'write /keep K')
    set_bit(v, v.first('d'), False)
    save(image, v)
    dish(image, '-stat /d/x', '-mkdir /d/e', 'mkdir /f', 'mkdir /g', '-stat /f/x', '-stat /g/x', '-stat /d/x')
    dish(image, 'cat /keep')


def given_twice(image):
    """A file's cluster is marked free. Once the file is gone two others must not get it."""
    v = make(image, KiB, 'mkfs exfat -O cluster_size=4096', 'write /x XXXX', 'write /keep 1')
    set_bit(v, v.first('x'), False)
    save(image, v)
    bits = v.b[v.off(2):v.off(2) + (v.clusters + 7) // 8]
    data = host_file(image, v.size * (v.clusters - sum(bin(byte).count('1') for byte in bits)))
    dish(image, 'rm /x', 'write /a aaaa', 'commit', f'-put {data} /b')
    rc, text = dish(image, 'cat /a')
    expect(rc == 0 and text == 'aaaa', 'given twice', text[:200])
    clean('given twice', image)


def long_bitmap(image):
    """The allocation bitmap says that it is as long as the volume: a repair must not give it all clusters."""
    v = make(image, 4 * KiB, EXFAT, 'mkdir /d', 'write /d/a AAA', 'write /g 1')
    at = next(at for at in range(v.off(v.root), v.off(v.root) + 512, 32) if v.b[at] == 0x81)
    struct.pack_into('<Q', v.b, at + 24, (v.clusters - (struct.unpack_from('<I', v.b, at + 20)[0] - 2)) * v.size)
    save(image, v)
    mended('long bitmap', image, ('cat /d/a /g', 'AAA1'))


def two_bitmaps(image):
    """Two entries lead to the bitmap, the first one with too small a size: the second one is it."""
    v = make(image, 4 * KiB, EXFAT, 'write /g 1')
    root = v.off(v.root)
    entries = [bytes(v.b[at:at + 32]) for at in range(root, root + 512, 32)]
    place = next(i for i, entry in enumerate(entries) if entry[0] == 0x81)
    short = bytearray(entries[place])
    struct.pack_into('<Q', short, 24, 512)
    v.b[root:root + 512] = b''.join(entries[:place] + [short] + entries[place:15])
    save(image, v)
    mended('two bitmaps', image, ('cat /g', '1'))


def huge_file(image):
    """A size larger than the volume: what the chain holds is kept, and one repair does."""
    v = make(image, 4 * KiB, EXFAT, 'write /x XXXX', 'write /y y', 'write -a /x ' + 'z' * 2000)
    v.put('x', 32 + 24, '<Q', 1 << 40)
    save(image, v)
    mended('huge file', image, ('head -c 4 /x', 'XXXX'))


def free_tables(image):
    """The bitmap's own clusters are marked free, and those of the up-case table and the root directory."""
    v = make(image, 4 * KiB, EXFAT, 'write /g 1')
    for cluster in range(2, v.root + 1):
        set_bit(v, cluster, False)
    save(image, v)
    dish(image, 'write /n ' + 'n' * 3000)
    mended('free tables', image, ('cat /g', '1'), ('cat /n', 'n' * 3000))


def deleted_circle(image):
    """The chain of a deleted file runs in a circle: no cluster is given to it twice."""
    v = make(image, 4 * KiB, EXFAT, 'write /x XXXX', 'write /y y', 'write -a /x ' + 'z' * 2000)
    chain = [v.first('x')]
    while v.get(chain[-1]) != 0xFFFFFFFF:
        chain.append(v.get(chain[-1]))
    at = v.find('x')
    for cluster in chain:
        set_bit(v, cluster, False)
    for i in range(3):
        v.b[at + 32 * i] &= 0x7F
    v.set(chain[2], chain[1])
    save(image, v)
    rc, text = dish(image, f'undel {v.root << 24 | (at - v.off(v.root)) // 32} /q')
    expect(rc == 1 and 'in use again' in text, 'deleted circle', rc, text)
    clean('deleted circle', image)


def main():
    cases = (freed_twice, circle, many_bad_names, free_root, one_sector, greedy_set,
             directory_twice, given_twice, long_bitmap, two_bitmaps, huge_file, free_tables, deleted_circle)
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            case(os.path.join(folder, 'image'))
    finish()


main()
