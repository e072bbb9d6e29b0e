#!/usr/bin/env python3
"""mkfs of FAT and exFAT against mkfs.fat and mkfs.exfat: the same size, options, label and id give the same bytes,
but for the boot code of FAT (each has its own) and the time of the label."""
import os
import random
import subprocess
import tempfile

from _dish import DISH, LONG, blank, fail, finish

ENV = dict(os.environ, SOURCE_DATE_EPOCH='1700000000')
LOOK = 24 << 20  # bytes compared


def masked(path):
    """The volume's head without boot code and times."""
    with open(path, 'rb') as stream:
        b = bytearray(stream.read(LOOK))
    wide = b[22:24] == b'\0\0'
    code, sector = 90 if wide else 62, int.from_bytes(b[11:13], 'little')
    for at in {0, int.from_bytes(b[50:52], 'little') * sector if wide else 0}:
        b[at + code:at + 510] = bytes(510 - code)
    root = (int.from_bytes(b[14:16], 'little') +
            b[16] * int.from_bytes(b[36:40] if wide else b[22:24], 'little')) * sector
    b[root + 13:root + 26] = bytes(13)
    return b


def fat(work, size, kind, theirs, ours, label=''):
    """Both tools make it, or neither does."""
    a, b = work + '/theirs.img', work + '/ours.img'
    blank(a, size), blank(b, size)
    done = subprocess.run(['mkfs.fat', '-i', '1234abcd', *theirs, *(['-n', label] if label else []), a],
                          capture_output=True, text=True, env=ENV)
    mine = subprocess.run([DISH, '-q', b, '--', 'mkfs', kind, '-U', '1234-ABCD', *(['-L', label] if label else []),
                           *(['-O', ','.join(ours)] if ours else [])], capture_output=True, text=True, env=ENV)
    what = f'{size} bytes, {kind} {theirs}'
    if (done.returncode == 0) != (mine.returncode == 0):
        return fail(what, done.stderr[-150:], mine.stderr[-200:])
    if done.returncode == 0:
        x, y = masked(a), masked(b)
        if x != y:
            fail(what, [(hex(i), x[i], y[i]) for i in range(len(x)) if x[i] != y[i]][:8])


def exfat(work, size, theirs, ours):
    a, b = work + '/theirs.img', work + '/ours.img'
    blank(a, size), blank(b, size)
    done = subprocess.run(['mkfs.exfat', '-L', 'Label', *theirs, a], capture_output=True, text=True)
    if done.returncode != 0:
        return fail('mkfs.exfat', size, theirs, done.stdout)
    with open(a, 'rb') as stream:
        head = stream.read(104)
    serial = '%08x' % int.from_bytes(head[100:104], 'little')
    mine = subprocess.run([DISH, '-q', b, '--', 'mkfs', 'exfat', '-L', 'Label', '-U', serial, *ours],
                          capture_output=True, text=True)
    if mine.returncode != 0 or subprocess.run(['cmp', '-n', str(LOOK), a, b]).returncode != 0:
        fail('exfat', size, theirs, mine.stderr[-200:])


def random_fat(rng, work):
    size = rng.choice([rng.randint(100, 20000), rng.randint(8000, 300000), rng.randint(100000, 3000000)]) * 512
    kind, theirs = rng.choice([('vfat', []), ('fat12', ['-F', '12']), ('fat16', ['-F', '16']), ('fat32', ['-F', '32'])])
    theirs, ours = list(theirs), []
    cluster = rng.random() < 0.3
    for chance, flag, key, value in (
            (cluster, '-s', 'sectors_per_cluster', 1 << rng.randint(0, 7)),
            (rng.random() < 0.3, '-S', 'sector_size', 512 << rng.randint(0, 3)),
            (rng.random() < 0.2, '-f', 'fats', 1),
            (rng.random() < 0.2, '-R', 'reserved', rng.randint(2, 300)),
            (rng.random() < 0.2, '-r', 'root_entries', rng.choice([64, 100, 112, 512, 513, 1000])),
            (rng.random() < 0.2, '-M', 'media', '0xf0'),
            (rng.random() < 0.2, '-h', 'hidden', 63)):
        if chance:
            theirs += [flag, str(value)]
            ours.append(f'{key}={value}')
    if rng.random() < 0.2:
        theirs.append('-a')
        ours.append('align=off')
    if cluster and kind == 'vfat' and size >= 512 << 20:
        return  # mkfs.fat insists on FAT32 there and may refuse
    fat(work, size, kind, theirs, ours, rng.choice(['', 'LABEL', 'TWO WORDS']))


def main():
    rng = random.Random(int(os.environ.get('SEED', 1)))
    sectors = [100, 320, 720, 1440, 2400, 2880, 5760, 4096, 4097, 8192, 8193, 8224, 16500, 16600, 16700, 32768, 32769,
               65536, 65537, 131072, 262144, 262145, 524288, 524289, 1032193, 1048575, 1048576, 2097152, 8388608]
    with tempfile.TemporaryDirectory() as work:
        for n in sectors:
            for kind, flags in (('vfat', []), ('fat12', ['-F', '12']), ('fat16', ['-F', '16']), ('fat32', ['-F', '32'])):
                fat(work, n * 512, kind, flags, [])
        for _ in range(2000 if LONG else 25):
            random_fat(rng, work)
        for size in (8 << 20, 40 << 20, 300 << 20, 1 << 30, 40 << 30):
            exfat(work, size, [], [])
        for cluster in ('512', '4K', '64K', '1M'):
            exfat(work, 100 << 20, ['-c', cluster], ['-O', f'cluster_size={cluster}'])
        exfat(work, 100 << 20, ['-b', '4M'], ['-O', 'align=4M'])
        exfat(work, 100 << 20, ['--pack-bitmap'], ['-O', 'pack_bitmap'])
    finish()


main()
