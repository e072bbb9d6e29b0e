#!/usr/bin/env python3
"""resizefs and moving of FAT and exFAT volumes: the foreign checkers find nothing afterwards, the same files are read as
before, and a size that would need another type of FAT, or more room than there is, is refused."""
import hashlib
import json
import os
import random
import struct
import subprocess
import tempfile

from _dish import DISH, LONG, blank, content, expect, finish
from _fat import Fat, judge


def run(image, *commands):
    words = [w for c in commands for w in ('-c', c)]
    done = subprocess.run([DISH, '-q', *words, image], capture_output=True, text=True, errors='replace')
    return done.returncode, done.stdout, done.stderr


def digest(image, work):
    """Names and contents of all, as dish reads them; and as mtools does where that can."""
    out = os.path.join(work, 'out')
    subprocess.run(['rm', '-rf', out])
    os.mkdir(out)
    status, _, err = run(image, f'get -r / {out}')
    expect(status == 0, 'get', err)
    return tree(out)


def tree(out):
    total = hashlib.sha256()
    for top, folders, files in sorted(os.walk(out)):
        folders.sort()
        for name in sorted(folders) + sorted(files):
            path = os.path.join(top, name)
            total.update(os.path.relpath(path, out).encode() + b'\0')
            if os.path.isfile(path):
                with open(path, 'rb') as stream:
                    total.update(stream.read())
    return total.hexdigest()


def by_mtools(image, work):
    out = os.path.join(work, 'mtools')
    subprocess.run(['rm', '-rf', out])
    os.mkdir(out)
    subprocess.run(['mcopy', '-s', '-n', '-i', image, '::', out], check=True, capture_output=True,
                   env={**os.environ, 'MTOOLS_SKIP_CHECK': '1'})
    return tree(out)


def fill(image, rng, work, size):
    """Files in pieces all over the volume, folders deep down, holes between them."""
    with open(os.path.join(work, 'long'), 'wb') as stream:
        stream.write(rng.randbytes(size // 8))  # in one row over the first clusters
    commands = [f'put {work}/long /long', 'mkdir -p "/A folder/below/and below"', 'mkdir /many']
    part = os.path.join(work, 'part')
    names = []
    for i in range(60):
        with open(f'{part}{i}', 'wb') as stream:
            stream.write(rng.randbytes(rng.randrange(1, max(size // 150, 2))))
        names.append(rng.choice(('/', '/many/', '/A folder/below/and below/', '/A folder/')) + f'File number {i}.bin')
        commands.append(f'put {part}{i} "{names[-1]}"')
    rng.shuffle(names)
    for name in names[:15]:
        commands.append(f'rm "{name}"')
    commands += [f'write -a "{name}" {"tail" * 500}' for name in names[15:25]]
    commands += [f'mkdir "/many/late {i}"' for i in range(5)]
    commands += [f'put {part}{i} "/many/late {i}/again"' for i in range(5)]
    script = '\n'.join(commands) + '\n'
    done = subprocess.run([DISH, '-q', image], input=script, capture_output=True, text=True)
    expect(done.returncode == 0, 'fill', done.stderr[-300:])


def volume(label, make, kib, limit, work, seed):
    rng = random.Random(seed)
    image = os.path.join(work, 'volume.img')
    blank(image, kib * 1024)
    tool = 'exfat' if 'exfat' in label else 'fat'
    status, _, err = run(image, make)
    expect(status == 0, label, err)
    fill(image, rng, work, kib * 1024)
    before = digest(image, work)
    kind = type_of(image)
    os.truncate(image, limit * 1024)
    status, _, err = run(image, 'resizefs 0 min')
    expect(status == 0, f'{label}: min', err)
    steps = ['min', 'all'] + [f'{rng.randrange(kib * 7 // 8, limit)}K' for _ in range(20 if LONG else 3)] + ['min', 'all']
    for step in steps:
        command = 'resizefs 0' + ('' if step == 'all' else ' ' + step)
        status, _, err = run(image, command)
        # so small a volume would be of another type: nothing changes
        expect(status == 0 or 'it has at least' in err, f'{label}: {command}', err)
        sound, text = judge(tool, image)
        expect(sound, f'{label}: {command}', text)
        expect(run(image, 'fsck')[0] == 0, f'{label}: {command}', run(image, 'fsck')[1])
        expect(digest(image, work) == before, f'{label}: {command}: contents')
        expect(type_of(image) == kind, f'{label}: {command}: type', type_of(image))
        if tool == 'fat':
            expect(by_mtools(image, work) == before, f'{label}: {command}: mtools')
    # the volume is of use: filled to its end and emptied
    status, _, err = run(image, 'write /after resizing', 'rm /after')
    expect(status == 0 and judge(tool, image)[0], f'{label}: used', err)


def refusals(work):
    """Sizes that are not to be had leave the image as it is."""
    image = os.path.join(work, 'refused.img')
    for make, kib, room, cases in (
            ('mkfs fat16 -O cluster_size=2K', 20000, 400000, (('7000K', 'at least 4085'), ('400000K', 'another type'))),
            ('mkfs fat12', 1440, 9000, (('9000K', 'another type'), ('10G', 'more than'))),
            ('mkfs fat32 -O cluster_size=512', 40000, 40000, (('20M', 'at least 65525'),)),
            ('mkfs exfat', 20000, 30000, (('10K', 'too'), ('3M', 'does not fit')))):
        blank(image, kib * 1024)
        expect(run(image, make, 'fallocate -l 5M /f' if 'fat12' not in make else 'touch /f')[0] == 0, make)
        os.truncate(image, room * 1024)
        before = content(image)
        for size, said in cases:
            status, _, err = run(image, f'resizefs 0 {size}')
            expect(status == 1 and said in err, f'{make}: {size}', err)
        expect(content(image) == before, f'{make}: unchanged')


def odd_fats(work):
    """A bad cluster, a single active FAT, a root directory elsewhere, entries of deleted files."""
    image = os.path.join(work, 'odd.img')
    blank(image, 40000 * 1024)
    run(image, 'mkfs fat32 -O cluster_size=512', 'mkdir /d', 'write /d/f text', 'write /gone "deleted text"', 'rm /gone')
    v = Fat(image)
    new_root = v.free(9)[0]
    v.b[v.off(new_root):v.off(new_root) + v.size] = v.b[v.off(2):v.off(2) + v.size]
    v.set(new_root, v.end), v.set(2, 0), v.set(v.free(1)[0], v.end - 8), v.set(7000, v.end - 8)
    for sector in (0, 6):
        struct.pack_into('<I', v.b, sector * 512 + 44, new_root)
    with open(image, 'wb') as stream:
        stream.write(v.b)
    expect(run(image, 'fsck --repair')[0] == 0, 'odd')
    for size in ('36000K', '34000K', '40000K'):
        status, _, err = run(image, f'resizefs 0 {size}')
        expect(status == 0 and judge('fat', image)[0], f'odd: {size}', err, judge('fat', image)[1])
        expect(run(image, 'cat /d/f')[1] == 'text' or run(image, 'cat /d/f')[1].strip() == 'text', f'odd: {size}')
        expect(Fat(image).get(7000) == v.end - 8, f'odd: {size}: the bad cluster')
        out = run(image, 'lsdel /')[1]
        expect('_one' in out, f'odd: {size}: the deleted file', out)
    for sector in (0, 6):
        struct.pack_into('<H', v.b, sector * 512 + 40, 0x81)
    with open(image, 'wb') as stream:
        stream.write(v.b)
    os.truncate(image, 90000 * 1024)
    status, _, err = run(image, 'resizefs 0')
    expect(status == 1 and 'FAT 1 alone' in err, 'single active FAT', err)
    status, _, err = run(image, 'resizefs 0 38000K', 'cat /d/f')
    expect(status == 0, 'single active FAT', err)


def partitions(work):
    """In a partition: a moved volume says where it is, and a longer partition is taken up."""
    image = os.path.join(work, 'disk.img')
    blank(image, 100 << 20)
    status, _, err = run(image, 'partition init gpt', 'partition add 20M msdata', 'partition add 20M msdata',
                         'mkfs vfat 1', 'mkfs exfat 2', 'write 1:/f one', 'write 2:/f two', 'partition move 2 70M',
                         'partition move 1 30M', 'partition resize 1 35M', 'resizefs 1', 'resizefs 2 10M')
    expect(status == 0, 'partitions', err)
    b = content(image)
    expect(struct.unpack_from('<I', b, (30 << 20) + 28)[0] == (30 << 20) // 512, 'BPB_HiddSec')
    expect(struct.unpack_from('<Q', b, (70 << 20) + 64)[0] == (70 << 20) // 512, 'PartitionOffset')
    for kind, number, at in (('fat', 1, 30), ('exfat', 2, 70)):
        part = os.path.join(work, 'part.img')
        with open(part, 'wb') as stream:
            stream.write(b[at << 20:(at + (35 if number == 1 else 20)) << 20])
        expect(judge(kind, part)[0], kind, judge(kind, part)[1])
        expect(run(image, f'cat {number}:/f')[1].strip() == ('one' if number == 1 else 'two'), kind)


def type_of(image):
    return json.loads(subprocess.run([DISH, '-j', '-q', '-c', 'df', image], capture_output=True,
                                     text=True).stdout)[0]['type']


def main():
    with tempfile.TemporaryDirectory() as work:
        for seed in range(10 if LONG else 1):
            for label, make, kib, limit in (
                    ('fat12', 'mkfs fat12', 1440, 1900), ('fat12 grown', 'mkfs fat12 -O cluster_size=512', 600, 2000),
                    ('fat16', 'mkfs fat16 -O cluster_size=2K', 20000, 100000),
                    ('fat16 one', 'mkfs fat16 -O cluster_size=512,fats=1', 6000, 30000),
                    ('fat16 4096', 'mkfs fat16 -O sector_size=4096,cluster_size=8K', 50000, 200000),
                    ('fat32', 'mkfs fat32 -O cluster_size=512', 40000, 200000),
                    ('exfat', 'mkfs exfat', 20000, 100000), ('exfat 512', 'mkfs exfat -O cluster_size=512', 8000, 60000),
                    ('exfat grown', 'mkfs exfat -O cluster_size=1K,align=64K', 12000, 90000),
                    ('exfat 32K', 'mkfs exfat -O cluster_size=32K,sector_size=4096', 20000, 90000)):
                volume(label, make, kib, limit, work, seed)
        refusals(work)
        odd_fats(work)
        partitions(work)
    finish()


main()
