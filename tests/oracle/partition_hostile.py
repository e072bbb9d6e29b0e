#!/usr/bin/env python3
"""Partition tables that no tool makes, with sound checksums: copies of different lengths and places, entries inside
other partitions. A change keeps to the places of the table, and leaves a table that says what it said."""
import struct
import tempfile
import zlib

from _dish import DISH, MiB, blank, content, expect, finish, poke, run

SECTOR, SECTORS = 512, 8 * MiB // 512
LAST = SECTORS - 1
DATA = b'data of the first partition '.ljust(SECTOR, b'.') * 64


def dish(image, *commands):
    return run(DISH, image, *(word for line in commands for word in ('-c', line)))


# ---- GPT ----

def gpt(image, *options):
    blank(image, 8 * MiB)
    rc, out, err = run('sgdisk', '-a', '1', *options, image)
    expect(rc == 0, 'sgdisk', out, err)


def seal(image, header, **fields):
    """Change fields of the header in that sector, and make both checksums right."""
    places = {'first': (40, '<Q'), 'last': (48, '<Q'), 'array': (72, '<Q'), 'count': (80, '<I')}
    raw = bytearray(content(image)[header * SECTOR:][:92])
    for name, value in fields.items():
        struct.pack_into(places[name][1], raw, places[name][0], value)
    array, count, size = struct.unpack_from('<QII', raw, 72)
    struct.pack_into('<I', raw, 88, zlib.crc32(content(image)[array * SECTOR:][:count * size]))
    struct.pack_into('<I', raw, 16, 0)
    struct.pack_into('<I', raw, 16, zlib.crc32(raw))
    poke(image, header * SECTOR, raw)


def sound(what, image, *changed):
    """Both copies are sound after the commands, and the partition's data are there."""
    rc, _, err = dish(image, *changed)
    expect(rc == 0, what, changed, rc, err)
    rc, out, _ = run('sgdisk', '-v', image)
    expect('No problems found' in out, what, changed, out)
    expect(content(image)[34 * SECTOR:][:len(DATA)] == DATA, what, changed, 'the data are overwritten')


def short_backup_store(image):
    gpt(image, '-n', '1:34:2047')
    poke(image, 34 * SECTOR, DATA)
    seal(image, LAST, array=33, count=4)
    sound('a short backup', image, 'partition name 1 new')


def short_backup_poke(image):
    gpt(image, '-n', '1:34:2047', '-n', '100:4096:4100')
    poke(image, 34 * SECTOR, DATA)
    seal(image, LAST, array=33, count=4)
    rc, _, err = dish(image, 'poke gpt.entry.PartitionName 100 x')
    expect(content(image)[34 * SECTOR:][:len(DATA)] == DATA, 'an entry that the backup has not', rc, err)


def arrays_overlap(image):
    """The primary array lies at the end of the disk, half over the backup's."""
    gpt(image, '-n', '1:34:2047')
    poke(image, 34 * SECTOR, DATA)
    array, at = content(image)[2 * SECTOR:34 * SECTOR], LAST - 40
    poke(image, at * SECTOR, array)
    seal(image, 1, array=at, last=at - 1)
    sound('arrays that overlap', image, 'partition name 1 new')


# ---- MBR ----

def record(kind, start, length):
    return struct.pack('<B3sB3sII', 0, b'', kind, b'', start, length)


def mbr(image, sector, *records):
    poke(image, sector * SECTOR + 446, b''.join(records).ljust(64, b'\0') + b'\x55\xaa')


def entry_in_partition(image):
    """The entry of a logical partition lies in another one, and what is free lies behind its own."""
    blank(image, 8 * MiB)
    mbr(image, 0, record(0x05, 2048, 200))
    mbr(image, 2048, record(0x83, 1, 99), record(0x05, 50, 60))
    mbr(image, 2098, record(0x83, 50, 40))
    before = dish(image, 'partition list')[1]
    rc, _, err = dish(image, 'partition type 5 0x07')
    after = dish(image, 'partition list')[1]
    expect('2148' in before or rc, 'an entry in a partition', before)
    expect(rc == 1 or after.splitlines()[-1] == before.splitlines()[-1], 'an entry in a partition', rc, err, after)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for case in (short_backup_store, short_backup_poke, arrays_overlap, entry_in_partition):
            case(folder + '/image')
    finish()


main()
