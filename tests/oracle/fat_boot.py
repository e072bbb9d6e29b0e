#!/usr/bin/env python3
"""Boot sectors and their copies on FAT32 and exFAT, up-case tables, lost clusters, and a long session: a damaged boot
sector is read by its copy, with a damaged up-case table the recommended one is used, and nothing is changed before fsck
restored them; poke keeps both equal; lost clusters become files where the foreign checkers make files of them; boot
code is kept; 20,000 commands look into the FAT once, and after one that failed memory says what the volume does."""
import json
import os
import random
import struct
import subprocess
import tempfile

from _dish import DISH, SANITIZED, blank, content, expect, finish
from _fat import Exfat, Fat, dish, fill, judge

FAT32, EXFAT = (40000, 'mkfs fat32 -L TEST'), (12000, 'mkfs exfat -L TEST -O cluster_size=2K')


def run(image, *commands):
    words = [w for c in commands for w in ('-c', c)]
    done = subprocess.run([DISH, *words, image], capture_output=True, text=True, errors='replace')
    return done.returncode, done.stdout, done.stderr


def volume(image, form, change):
    """A filled volume, damaged."""
    kind = Exfat if 'exfat' in form[1] else Fat
    blank(image, form[0] << 10)
    fill(image, form[1])
    v = kind(image)
    change(v)
    with open(image, 'wb') as stream:
        stream.write(v.b)
    return v


def damaged(label, image, form, change, said=('damaged', 'wrong')):
    """Readable, not writable, and both after the repair."""
    tool = 'exfat' if 'exfat' in form[1] else 'fat'
    volume(image, form, change)
    before = content(image)
    status, out, err = run(image, 'ls /', 'cat /F2.TXT > /dev/null')
    expect(status == 0 and 'F2.TXT' in out, label, 'cannot be read:', err)
    expect(any(word in err for word in said), label, 'nothing is said:', err)
    status, out, err = run(image, 'rm /F2.TXT')
    expect(status == 1 and 'read-only' in err and 'fsck --repair' in err, label, 'changed:', err)
    expect(content(image) == before, label, 'the image changed')
    status, out, err = run(image, 'fsck')
    expect(status == 4, label, 'fsck finds nothing')
    status, out, err = run(image, 'fsck --repair', 'rm /F2.TXT')
    expect(status == 0, label, 'not repaired:', err)
    expect(judge(tool, image)[0], label, judge(tool, image)[1])
    status, out, err = run(image, 'cat "/SUB DIRECTORY ONE/file WITH long name 1.text" > /dev/null')
    expect(status == 0 and not err, label, 'still damaged:', err)


def boots(image):
    damaged('FAT32, boot sector overwritten', image, FAT32, lambda v: v.b.__setitem__(slice(0, 90), bytes(range(90))))
    damaged('FAT32, boot sector of zeros', image, FAT32, lambda v: v.b.__setitem__(slice(0, 512), bytes(512)))
    damaged('exFAT, boot sector of zeros', image, EXFAT, lambda v: v.b.__setitem__(slice(0, 512), bytes(512)))
    damaged('exFAT, boot code', image, EXFAT, lambda v: v.b.__setitem__(200, 1))
    damaged('exFAT, checksum', image, EXFAT, lambda v: v.b.__setitem__(11 * 512 + 9, 1))

    def both(v):
        v.b[200] ^= 1
        v.b[12 * 512 + 200] ^= 1
    damaged('exFAT, both regions', image, EXFAT, both)


def upcases(image):
    """An up-case table that cannot be used, or none: the recommended one takes its place, at its place if it can."""
    def table(v):
        return v.b.index(0x82, v.off(v.root)) // 32 * 32

    def missing(v):
        v.b[table(v)] = 2

    def into_file(v):
        struct.pack_into('<I', v.b, table(v) + 20, v.first('F2.TXT'))

    def across(v):
        """Its chain runs into a file's."""
        chain = [v.first('F6.TXT')]
        while v.get(chain[-1]) in range(2, v.clusters + 2):
            chain.append(v.get(chain[-1]))
        v.set(struct.unpack_from('<I', v.b, table(v) + 20)[0], chain[-2])

    def short(v):
        """Half a table, with the right checksum."""
        at = table(v)
        first = struct.unpack_from('<I', v.b, at + 20)[0]
        total = 0
        for byte in v.b[v.off(first):v.off(first) + 1024]:
            total = ((total << 31 | total >> 1) + byte) & 0xFFFFFFFF
        struct.pack_into('<Q', v.b, at + 24, 1024)
        struct.pack_into('<I', v.b, at + 4, total)

    for label, change in (
            ('checksum', lambda v: v.b.__setitem__(table(v) + 5, 9)),
            ('contents', lambda v: v.b.__setitem__(v.off(struct.unpack_from('<I', v.b, table(v) + 20)[0]) + 300, 9)),
            ('missing', missing), ('into a file', into_file), ('chain into a file', across), ('short', short),
            ('cluster', lambda v: struct.pack_into('<I', v.b, table(v) + 20, 0x7FFFFFFF)),
            ('no bytes', lambda v: struct.pack_into('<Q', v.b, table(v) + 24, 0)),
            ('too many bytes', lambda v: struct.pack_into('<Q', v.b, table(v) + 24, 1 << 40))):
        damaged(f'up-case table, {label}', image, EXFAT, change, said=('recommended',))


def pokes(image):
    for label, form, copy, size, field in (('FAT32', FAT32, 6 * 512, 512, 'fat.boot.BS_VolID'),
                                           ('exFAT', EXFAT, 12 * 512, 12 * 512, 'exfat.boot.VolumeSerialNumber')):
        tool = label[:-2].lower() if label == 'FAT32' else 'exfat'
        for raw in (False, True):
            volume(image, form, lambda v: None)
            status, _, err = run(image, f'poke {"--raw " if raw else ""}{field} 0x12345678')
            expect(status == 0, f'poke of {label}', err)
            b = content(image)
            expect(b'\x78\x56\x34\x12' in b[:512], f'poke of {label}', 'not written')
            expect((b[:size] == b[copy:copy + size]) != raw, f'poke of {label}, raw {raw}', 'the copy')
            expect(judge(tool, image)[0] != raw, f'poke of {label}, raw {raw}', judge(tool, image)[1])


def lost(image):
    for form, bits in (((3000, 'mkfs fat12'), 12), ((12000, 'mkfs fat16 -O cluster_size=1K'), 16), (FAT32, 32)):
        def lose(v):
            c = v.free(3)
            v.set(c[0], c[1]), v.set(c[1], v.end), v.set(c[2], v.end)
            v.b[v.off(c[0]):v.off(c[0]) + 4] = b'LOST'
        for option, names in (('', ['FSCK0000.REC', 'FSCK0001.REC']), (' --lost=save', ['FSCK0000.REC', 'FSCK0001.REC']),
                              (' --lost=free', [])):
            v = volume(image, form, lose)
            status, _, err = run(image, 'fsck --repair' + option)
            expect(status == 0, f'FAT{bits}{option}', err)
            found = [e['name'] for e in json.loads(dish(image, 'ls /').stdout) if e['name'].endswith('.REC')]
            expect(found == names, f'FAT{bits}{option}', found)
            expect(judge('fat', image)[0], f'FAT{bits}{option}', judge('fat', image)[1])
            if names:
                text = run(image, 'cat /FSCK0000.REC')[1]
                expect(text.startswith('LOST') and len(text) == 2 * v.size, f'FAT{bits}{option}', len(text))

    def lose_bits(v):
        v.b[v.bitmap + v.clusters // 8 - 3] |= 0x3C
    for option, names in (('', []), (' --lost=free', []), (' --lost=save', ['FILE0000000.CHK'])):
        v = volume(image, EXFAT, lose_bits)
        status, _, err = run(image, 'fsck --repair' + option)
        expect(status == 0, f'exFAT{option}', err)
        status, out, _ = run(image, 'ls /LOST+FOUND')
        expect(out.split() == names, f'exFAT{option}', out)
        expect(judge('exfat', image)[0], f'exFAT{option}', judge('exfat', image)[1])
        expect(run(image, 'fsck')[0] == 0, f'exFAT{option}', 'something is left over')
    blank(image, 2000 << 10)
    run(image, 'mkfs ext2')
    expect('one way' in run(image, 'fsck --repair --lost=free')[2], 'ext2 --lost', 'taken')
    expect(run(image, 'fsck --lost=free')[0] != 0, '--lost alone', 'taken')


def full_root(image):
    """Where the root directory has no room for an entry the chain is freed."""
    blank(image, 3000 << 10)
    dish(image, 'mkfs fat12 -O root_entries=16', *[f'touch /F{i}' for i in range(16)])
    v = Fat(image)
    c = v.free(2)
    v.set(c[0], c[1]), v.set(c[1], v.end)
    with open(image, 'wb') as stream:
        stream.write(v.b)
    status, out, err = run(image, 'fsck --repair')
    expect(status == 0 and judge('fat', image)[0], 'full root', out, err, judge('fat', image)[1])


def old_boot(image):
    """A boot sector of before DOS 4 has code where later ones have label and id: it is kept."""
    blank(image, 1440 << 10)
    status, _, err = run(image, 'mkfs fat12 -L OLD', 'poke fat.boot.BS_BootSig 0')
    before = content(image)[:512]
    status, out, err = run(image, 'label 0 NEW', 'label 0')
    expect(status == 0 and out.strip() == 'NEW', 'label without a place in the boot sector', err)
    status, _, err = run(image, 'uuid 0 1234-5678')
    expect(status == 1 and 'no place for a volume id' in err, 'id without a place in the boot sector', err)
    expect(content(image)[:512] == before, 'boot code')


def session(image):
    """Thousands of commands in one session: the FAT or the bitmap is scanned once."""
    count = 1000 if SANITIZED else 10000
    source = image + '.small'
    with open(source, 'w') as stream:
        stream.write('small\n' * 300)
    for form, key in ((FAT32, 'fat-scans'), ((12000, 'mkfs fat16'), 'fat-scans'), (EXFAT, 'bitmap-scans')):
        blank(image, form[0] << 10)
        dish(image, form[1])
        script = ''.join(f'put {source} /n{i % 50}\nrm {"-f " if i < 25 else ""}/n{(i + 25) % 50}\n' for i in range(count))
        done = subprocess.run([DISH, '-j', '-q', image], input=script + 'status -v\n', capture_output=True, text=True)
        scans = done.stdout.rsplit(f'"{key}":', 1)[-1].split(',')[0].split('}')[0].strip()
        expect(scans == '1', f'{form[1]}: {2 * count} commands', key, scans, done.stderr[-300:])


def failing(rng, work):
    """A command that fails, most of them with the volume changed already; a leading - lets the script go on."""
    return rng.choice((f'rm /missing{rng.random()}', f'put -r {work}/tree /t{rng.randrange(9)}', 'mv /nothing /there',
                       f'truncate -s 1T /n{rng.randrange(9)}', f'put {work}/large /n{rng.randrange(9)}',
                       f'cp -r /full /copy{rng.randrange(9)}', 'mkdir /full', 'rmdir /full', 'label 0 "a:*?b"',
                       f'mv /n{rng.randrange(9)} /full/no/where', f'rm /n{rng.randrange(9)} /missing'))


def script(rng, work, count):
    lines = ['mkdir /full', f'put {work}/large /full/a', f'put {work}/large /full/b']
    for i in range(count):
        lines.append('-' + failing(rng, work))
        lines.append(rng.choice((f'-put {work}/small /n{rng.randrange(9)}', f'-rm -f /n{rng.randrange(9)}', '-undo',
                                 f'-write -a /n{rng.randrange(9)} {"z" * 3000}', 'df', 'commit', 'ls -lR /')))
    return '\n'.join(lines + ['ls -lR /', 'df']) + '\n'


def taken_back(image):
    """After a command that failed what is in memory is what a fresh look would give, and the FAT is not scanned anew."""
    work = os.path.dirname(image)
    os.mkdir(work + '/tree')
    for name, size in (('small', 9000), ('large', 700000), ('tree/1', 5000), ('tree/2', 1200000)):
        with open(f'{work}/{name}', 'wb') as stream:
            stream.write(name.encode() * (size // len(name)))
    env = {**os.environ, 'SOURCE_DATE_EPOCH': '1700000000'}
    for kib, make, key in ((2500, 'mkfs fat12', 'fat-scans'), (5000, 'mkfs fat16 -O cluster_size=512', 'fat-scans'),
                           (36500, 'mkfs fat32 -O cluster_size=512', 'fat-scans'), (2500, 'mkfs exfat', 'bitmap-scans'),
                           (5500, 'mkfs ext4 -O ^has_journal', None)):
        rng = random.Random(kib)
        filler = f'truncate -s {kib * 1024 - 3000000} /filler' if kib > 6000 else 'touch /filler'
        lines = make + '\n' + filler + '\n' + script(rng, work, 150)
        seen = []
        for drop in '01':
            blank(image, kib << 10)
            done = subprocess.run([DISH, '-q', image], input=lines, capture_output=True, text=True,
                                  env={**env, 'DISH_TEST_DROP_CACHES': drop})
            seen.append((done.returncode, done.stdout, done.stderr))
        expect(seen[0][0] == 0, f'{make}: taken back', seen[0][2][-300:])
        expect(seen[0] == seen[1], f'{make}: taken back, as with fresh caches', seen)
        expect(seen[0][2].count('full') > 20, f'{make}: failing commands', seen[0][2][-300:])
        after = subprocess.run([DISH, '-q', image], input='ls -lR /\ndf\n', capture_output=True, text=True,
                               env=env).stdout
        expect(seen[0][1].endswith(after) and after, f'{make}: a new session sees the same', after)
        expect(run(image, 'fsck')[0] == 0, f'{make}: fsck')
        if not key:
            continue
        expect(judge('exfat' if 'exfat' in make else 'fat', image)[0], f'{make}: the checker')
        lines = ''.join(f'-{failing(rng, work)}\n-put {work}/small /m\n-rm /m\n' for i in range(100)) + 'status -v\n'
        done = subprocess.run([DISH, '-j', '-q', image], input=lines, capture_output=True, text=True)
        scans = done.stdout.rsplit(f'"{key}":', 1)[-1].split(',')[0].split('}')[0].strip()
        expect(scans == '1', f'{make}: failing commands', key, scans, done.stderr[-300:])


def main():
    with tempfile.TemporaryDirectory() as work:
        image = os.path.join(work, 'volume.img')
        for part in (boots, upcases, pokes, lost, full_root, old_boot, session, taken_back):
            part(image)
    finish()


main()
