#!/usr/bin/env python3
"""fsck of FAT and exFAT volumes, judged by fsck.vfat and fsck.exfat: what they find dish finds too, with more; what
dish repairs they call clean, and dish finds nothing left. The volumes are small and damaged byte by byte."""
import os
import struct
import sys
import tempfile

from _dish import blank, fail, finish
from _fat import Exfat, Fat, dish, fill, findings, judge

DAMAGES = {'fat': {}, 'exfat': {}}


def damage(kind, *only):
    def keep(function):
        DAMAGES[kind][function.__name__] = (function, only)
        return function
    return keep


# ---- FAT -----------------------------------------------------------------------------------------------------

@damage('fat')
def lost_chains(v):
    c = v.free(5)
    v.set(c[0], c[1]), v.set(c[1], v.end), v.set(c[3], v.end)


@damage('fat')
def lost_circle(v):
    c = v.free(2)
    v.set(c[0], c[1]), v.set(c[1], c[0])


@damage('fat')
def circle(v):
    c = v.first(v.file(8))
    v.set(v.get(c), c)


@damage('fat')
def same_start(v):
    v.set_first(v.file(8), v.first(v.file(10)))


@damage('fat')
def crossing(v):
    v.set(v.first(v.file(8)), v.get(v.first(v.file(10))))


@damage('fat')
def free_inside(v):
    v.set(v.get(v.first(v.file(8))), 0)


@damage('fat')
def bad_inside(v):
    v.set(v.get(v.first(v.file(8))), v.bad)


@damage('fat')
def next_out_of_range(v):
    v.set(v.first(v.file(8)), v.clusters + 5)


@damage('fat')
def first_out_of_range(v):
    v.set_first(v.file(8), v.clusters + 500)


@damage('fat')
def size_too_large(v):
    v.set_size(v.file(6), 500000)


@damage('fat')
def size_too_small(v):
    v.set_size(v.file(6), 100)


@damage('fat')
def size_zero(v):
    v.set_size(v.file(6), 0)


@damage('fat')
def directory_with_size(v):
    v.set_size(v.find('B          '), 512)


@damage('fat')
def short_name_not_allowed(v):
    v.b[v.file(6) + 1] = ord('*')


@damage('fat')
def short_name_twice(v):
    at = v.file(6)
    v.b[at:at + 11] = b'F8      TXT'


@damage('fat')
def long_name_checksum(v):
    v.b[v.find('FILEWI~1TEX') - 32 + 13] ^= 0x55


@damage('fat')
def long_name_order(v):
    v.b[v.find('FILEWI~1TEX') - 64] = 0x45


@damage('fat')
def long_name_without_file(v):
    v.b[v.find('FILEWI~1TEX')] = 0xE5


@damage('fat')
def copies_differ(v):
    v.set(v.clusters - 3, v.end, [1])


@damage('fat', 32)
def free_count(v):
    struct.pack_into('<I', v.b, v.sector + 488, 12345)


@damage('fat', 32)
def fsinfo_signature(v):
    v.b[v.sector] ^= 1


@damage('fat', 32)
def backup_boot_sector(v):
    v.b[6 * v.sector + 20] ^= 1


@damage('fat', 32)
def boot_sector(v):
    v.b[0:64] = bytes(range(64))


@damage('fat', 32)
def root_circle(v):
    v.set(2, 2)


@damage('fat')
def dirty(v):
    v.b[65 if v.wide else 37] |= 1


@damage('fat')
def media(v):
    for copy in range(v.copies):
        v.b[v.fat + copy * v.length] ^= 1


@damage('fat')
def dotdot(v):
    below = v.off(v.first(v.find('B          '))) + 64
    v.set_first(v.off(v.first(below)) + 32, 7)


@damage('fat')
def dot(v):
    v.set_first(v.off(v.first(v.find('B          '))), 9)


@damage('fat')
def directory_circle(v):
    c = v.first(v.find('B          '))
    v.set_first(v.off(c) + 64, c)


@damage('fat')
def directory_is_root(v):
    v.set_first(v.off(v.first(v.find('B          '))) + 64, 2 if v.wide else 0)


@damage('fat')
def label_differs(v):
    v.b[71 if v.wide else 43] = ord('Q')
    if v.wide:
        v.b[6 * v.sector + 71] = ord('Q')


@damage('fat')
def second_label(v):
    at = v.file(6)
    v.b[at + 11] = 8
    v.set_first(at, 0), v.set_size(at, 0)


# ---- exFAT ---------------------------------------------------------------------------------------------------

@damage('exfat')
def boot_checksum(v):
    v.b[11 * v.sector] ^= 1


@damage('exfat')
def boot_code(v):
    v.b[200] ^= 1


@damage('exfat')
def boot_sector_gone(v):
    v.b[0:512] = bytes(512)


@damage('exfat')
def backup_region(v):
    v.b[12 * v.sector + 200] ^= 1


@damage('exfat')
def dirty_flag(v):
    v.b[106] |= 2


@damage('exfat')
def fat_head(v):
    v.set(0, 0xFFFFFFF0)


@damage('exfat')
def bitmap_leak(v):
    v.b[v.bitmap + v.clusters // 8 - 3] |= 0x3C


@damage('exfat')
def used_but_free(v):
    bit = v.first('F10.TXT') - 2
    v.b[v.bitmap + bit // 8] &= ~(1 << bit % 8) & 255


@damage('exfat')
def set_checksum(v):
    v.b[v.find('F8.TXT') + 2] ^= 1


@damage('exfat')
def name_hash(v):
    v.put('F8.TXT', 36, '<H', 0x1234)


@damage('exfat')
def name_length(v):
    v.put('F8.TXT', 35, 'B', 200)


@damage('exfat')
def secondary_count(v):
    v.put('F8.TXT', 1, 'B', 5)


@damage('exfat')
def valid_length(v):
    v.put('F10.TXT', 40, '<Q', 10**6)


@damage('exfat')
def beyond_volume(v):
    v.put('F10.TXT', 56, '<Q', 1 << 50)


@damage('exfat')
def longer_than_chain(v):
    v.put('F8.TXT', 56, '<Q', 500000)


@damage('exfat')
def shorter_than_chain(v):
    v.put('F8.TXT', 56, '<Q', 100), v.put('F8.TXT', 40, '<Q', 100)


@damage('exfat')
def first_cluster(v):
    v.put('F10.TXT', 52, '<I', v.clusters + 9)


@damage('exfat')
def no_cluster(v):
    v.put('F10.TXT', 52, '<I', 0)


@damage('exfat')
def cluster_without_bytes(v):
    v.put('F10.TXT', 40, '<Q', 0), v.put('F10.TXT', 56, '<Q', 0)


@damage('exfat')
def chain_circle(v):
    c = v.first('F8.TXT')
    v.set(v.get(c), c)


@damage('exfat')
def chain_out_of_range(v):
    v.set(v.first('F8.TXT'), v.clusters + 50)


@damage('exfat')
def shared_clusters(v):
    v.put('F10.TXT', 52, '<I', v.first('F2.TXT'))


@damage('exfat')
def entries_without_file(v):
    v.b[v.find('F8.TXT')] = 5


@damage('exfat')
def same_name(v):
    a, b = v.find('F8.TXT'), v.find('F6.TXT')
    v.b[b + 64:b + 96], v.b[b + 36:b + 38] = v.b[a + 64:a + 96], v.b[a + 36:a + 38]
    v.seal(b)


@damage('exfat')
def name_not_allowed(v):
    v.put('F8.TXT', 66, '<H', ord('*'))


@damage('exfat')
def folder_in_itself(v):
    v.put('C', 52, '<I', v.first('B'))


@damage('exfat')
def folder_is_root(v):
    v.put('C', 52, '<I', v.root)


@damage('exfat')
def folder_length(v):
    v.put('B', 56, '<Q', 100), v.put('B', 40, '<Q', 100)


@damage('exfat')
def root_chain_circle(v):
    v.set(v.root, v.root)


# ---- the rounds ----------------------------------------------------------------------------------------------

def one(kind, base, work, name, function):
    image = os.path.join(work, 'damaged.img')
    volume = (Fat if kind == 'fat' else Exfat)(base)
    function(volume)
    with open(image, 'wb') as stream:
        stream.write(volume.b)
    label = f'{kind}{volume.bits if kind == "fat" else ""} {name}'
    clean, _ = judge(kind, image)
    looked = dish(image, 'fsck')
    if looked.returncode != 4 or not findings(looked):
        fail(label, 'dish finds nothing', '' if clean else '(the foreign checker does)')
    repaired = dish(image, 'fsck --repair')
    if repaired.returncode != 0:
        fail(label, 'not repaired:', repaired.stdout[-500:], repaired.stderr[-300:])
    again = dish(image, 'fsck')
    if again.returncode != 0 or findings(again):
        fail(label, 'left over:', again.stdout[-500:])
    clean, text = judge(kind, image)
    if not clean:
        fail(label, 'after the repair:', text[-500:])


def main():
    with tempfile.TemporaryDirectory() as work:
        base = os.path.join(work, 'base.img')
        count = 0
        for kind, size, make in (('fat', 3000, 'mkfs fat12 -L TEST'),
                                 ('fat', 12000, 'mkfs fat16 -L TEST -O cluster_size=1K'),
                                 ('fat', 40000, 'mkfs fat32 -L TEST'),
                                 ('exfat', 12000, 'mkfs exfat -L TEST -O cluster_size=2K')):
            blank(base, size << 10)
            fill(base, make)
            if not judge(kind, base)[0] or dish(base, 'fsck').returncode != 0:
                fail(make, 'is not clean before any damage')
            bits = Fat(base).bits if kind == 'fat' else 64
            for name, (function, only) in DAMAGES[kind].items():
                if only and bits not in only or len(sys.argv) > 1 and name not in sys.argv[1:]:
                    continue
                try:
                    one(kind, base, work, name, function)
                except AssertionError as error:
                    fail(name, error)
                count += 1
        print(f'{count} damages')
    finish()


main()
