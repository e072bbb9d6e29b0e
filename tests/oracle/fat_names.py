#!/usr/bin/env python3
"""Names and limits of FAT and exFAT: scripts of the world, 255 units, cases, short names, what is refused, volumes
made by mtools (and with LONG=1 by the Linux kernel) read back, full volumes, the longest file."""
import os
import shutil
import subprocess
import tempfile

from _dish import DISH, LONG, blank, content, fail, finish

NAMES = ['latin äöüß.txt', 'ελληνικά', 'русский язык.текст', 'עברית', 'العربية', 'हिन्दी', 'ไทย', '中文文件.txt',
         '日本語のファイル', '한국어', 'Հայերեն', 'ქართული', '😀🎉 emoji 𝒳.md', 'e\u0301 decomposed', 'é composed',
         'a' * 255, 'я' * 255, '😀' * 127, 'lower.txt', 'UPPER.TXT', 'Mixed.Txt', 'base.TXT', 'EXT.txt', 'n', 'N.o',
         'two  spaces', ' leading', '.hidden', '..dots', 'a.b.c.d', 'longextension.html', '+,;=[]', "it's",
         'con', 'aux.c', '8.3', 'exactly8.txt', 'ninechars.txt', '~tilde~1', 'FILE~1', '100%', '$#&!@']
BAD = ['a:b', 'a*b', 'a?b', 'a<b', 'a|b', 'a"b', 'a\\b', 'dot.', 'space ', 'tab\tin', 'new\nline', 'x' * 256,
       '😀' * 128]


def dish(image, *words, stdin=None, ok=True):
    done = subprocess.run([DISH, '-q', image, '--', *words], capture_output=True, input=stdin)
    if ok and done.returncode != 0:
        fail(words[:3], done.stderr.decode(errors='replace')[:300])
    return done


def new(work, kib, make):
    image = os.path.join(work, 'v.img')
    blank(image, kib << 10)
    dish(image, *make.split())
    return image


def clean(image):
    with open(image, 'rb') as stream:
        stream.seek(3)
        exfat = stream.read(8) == b'EXFAT   '
    done = subprocess.run(['fsck.exfat' if exfat else 'fsck.vfat', '-n', image], capture_output=True, text=True,
                          errors='replace')
    if done.returncode != 0 or (not exfat and len(done.stdout.strip().split('\n')) != 2):
        fail('checker:', done.stdout[-400:])


def listed(image, folder='/'):
    return set(dish(image, 'ls', '-1a', folder).stdout.decode().split('\n')) - {'', '.', '..'}


def check_names(work, make):
    image = new(work, 40000, make)
    os.makedirs(work + '/src', exist_ok=True)
    for name in NAMES:
        if len(name.encode()) < 256:
            with open(f'{work}/src/{name}', 'w') as stream:
                stream.write(name)
    dish(image, 'put', '-r', work + '/src', '/')
    for name in NAMES:
        dish(image, 'put', '-', '/' + name, stdin=name.encode())
        if dish(image, 'cat', '/' + name).stdout.decode() != name:
            fail(make, 'contents of', name[:20])
        other = name.swapcase()
        if len(other) == len(name) and 'ß' not in name and 'ქ' not in name and dish(image, 'cat', '/' + other).stdout.decode() != name:
            fail(make, 'in other case:', name[:20])
    if listed(image) != set(NAMES) | {'src'}:
        fail(make, 'listing', listed(image) ^ (set(NAMES) | {'src'}))
    before = content(image)
    for name in BAD:
        done = dish(image, 'put', '-', '/' + name, stdin=b'x', ok=False)
        if done.returncode != 1 or content(image) != before:
            fail(make, 'should be refused:', repr(name[:20]))
    clean(image)
    dish(image, 'mv', '/Mixed.Txt', '/mIXED.tXT')
    if 'mIXED.tXT' not in listed(image) or 'Mixed.Txt' in listed(image):
        fail(make, 'a change of case')
    dish(image, 'rm', '-r', '/src')
    clean(image)


def check_mtools(work):
    """Trees written by mtools read back equal, and the other way round."""
    image = new(work, 40000, 'mkfs fat16')
    source = work + '/tree'
    os.makedirs(source + '/one/two/three', exist_ok=True)
    for i, name in enumerate(n for n in NAMES if len(n.encode()) < 256 and n != 'con' and max(n) <= '\uffff'):
        with open(f'{source}/one/{name}', 'w') as stream:
            stream.write(name * i)
    env = dict(os.environ, LC_ALL='C.UTF-8')
    done = subprocess.run(['mcopy', '-s', '-i', image, source + '/one', '::'], env=env, capture_output=True, text=True)
    if done.returncode != 0:
        fail('mcopy', done.stderr[:300])
    dish(image, 'get', '-r', '/one', work + '/out')
    done = subprocess.run(['diff', '-r', source + '/one', work + '/out'], capture_output=True, text=True)
    if done.returncode != 0:
        fail('mtools made:', done.stdout[:400])
    shutil.rmtree(work + '/out')
    clean(image)


def short_names(image):
    """Short names of the root as stored, by long name, out of a FAT16 volume."""
    with open(image, 'rb') as stream:
        b = stream.read()
    sector = int.from_bytes(b[11:13], 'little')
    at = (int.from_bytes(b[14:16], 'little') + b[16] * int.from_bytes(b[22:24], 'little')) * sector
    found, parts = {}, []
    while b[at]:
        entry = b[at:at + 32]
        at += 32
        if entry[0] == 0xE5:
            parts = []
        elif entry[11] == 0x0F:
            parts.insert(0, entry[1:11] + entry[14:26] + entry[28:32])
        else:
            long = b''.join(parts).decode('utf-16le', 'replace').split('\0')[0]
            parts = []
            if not entry[11] & 8:
                found[long or entry[:11].decode('latin-1')] = (entry[:11], entry[12])
    return found


def check_short_names(work):
    """Tails and case bits are those of Windows and of Linux when told so; with LONG=1 its kernel is asked."""
    image = new(work, 20000, 'mkfs fat16')
    names = ['lower.txt', 'UPPER.TXT', 'Mixed.Txt', 'UPPER.txt', 'lower.TXT', 'ninechars', 'ninechart', 'nine.chars',
             'a+b', 'two words.txt', '.profile', 'a.b.c', 'много', 'много2', '中文', 'x[1].TXT', 'Ärger', '1.ÄÖ',
             'longer name.html', 'LONGER NAME.HTM', '~~', 'dot..dot', 'é', 'À B']
    for name in names:
        dish(image, 'touch', '/' + name)
    ours = short_names(image)
    expected = {'ninechars': b'NINECH~1   ', 'ninechart': b'NINECH~2   ', 'nine.chars': b'NINE~1  CHA',
                'a+b': b'A_B~1      ', '.profile': b'PROFIL~1   ', 'a.b.c': b'AB~1    C  ', 'two words.txt': b'TWOWOR~1TXT',
                'Mixed.Txt': b'MIXED   TXT', 'LOWER   TXT': None, 'longer name.html': b'LONGER~1HTM'}
    for name, short in expected.items():
        if short and ours.get(name, (None,))[0] != short:
            fail('short name of', name, ours.get(name))
    if not LONG or not shutil.which('linux.uml'):
        return
    other = work + '/kernel.img'
    shutil.copy(new(work, 20000, 'mkfs fat16'), other)
    with open(work + '/init', 'w') as script:
        touches = '\n'.join(f"touch '/mnt/m/{n}'" for n in names)
        script.write(f'''#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t tmpfs tmp /mnt; mkdir /mnt/m
mount -t tmpfs tmp /lib/modules; ln -s /usr/lib/uml/modules/$(uname -r) /lib/modules/$(uname -r)
modprobe vfat; mount -t vfat -o utf8,shortname=winnt /dev/ubda /mnt/m
{touches}
sync; umount /mnt/m; echo o >/proc/sysrq-trigger; sleep 5
''')
    os.chmod(work + '/init', 0o755)
    subprocess.run(['linux.uml', 'mem=256M', f'ubd0={other}', 'root=/dev/root', 'rootfstype=hostfs', 'rw',
                    f'init={work}/init', 'con=null', 'con0=null', 'quiet'], stdin=subprocess.DEVNULL,
                   capture_output=True, timeout=120)
    theirs = short_names(other)
    for name in sorted(set(ours) | set(theirs)):
        if ours.get(name) != theirs.get(name):
            fail('the kernel names', name, theirs.get(name), 'not', ours.get(name))


def check_full(work, make):
    """Filled to the last cluster, and emptied again."""
    image = new(work, 6000, make)
    free = dish(image, 'df').stdout.decode().split('\n')[1].split()
    with open(work + '/junk', 'wb') as stream:
        stream.write(os.urandom(200000))
    script = ''.join(f'-put {work}/junk /f{i}\n' for i in range(40))
    script += ''.join(f'-mkdir /d{i}\n' for i in range(600))
    subprocess.run([DISH, '-q', image], input=script, capture_output=True, text=True)
    clean(image)
    if dish(image, 'mkdir', '/one-more', ok=False).returncode == 0:
        fail(make, 'the volume is not full')
    dish(image, 'rm', '-r', *[f'/f{i}' for i in range(20)])
    clean(image)
    subprocess.run([DISH, '-q', '-c', 'rm -r /*', image], check=True)
    clean(image)
    after = dish(image, 'df').stdout.decode().split('\n')[1].split()
    if 'exfat' not in make and 'fat32' not in make and after != free:
        fail(make, 'not all space came back:', free, after)


def check_longest(work):
    """4 GiB less one byte; the next is refused before anything changes."""
    image = new(work, 4500 * 1024, 'mkfs fat32')
    dish(image, 'touch', '/big')
    dish(image, 'truncate', '-s', '4294967295', '/big')
    for words in (['truncate', '-s', '4294967296', '/big'], ['write', '-a', '/big', 'x']):
        done = dish(image, *words, ok=False)
        if done.returncode != 1 or b'4294967295' not in done.stderr:
            fail('the next byte:', done.stderr[:200])
    if b'4294967295' not in dish(image, 'stat', '/big').stdout:
        fail('the longest file')
    dish(image, 'rm', '/big')
    with open(work + '/huge', 'wb') as stream:
        stream.truncate(4 << 30)
    done = dish(image, 'put', work + '/huge', '/', ok=False)
    if done.returncode != 1 or b'4294967295' not in done.stderr:
        fail('a put of 4 GiB:', done.returncode, done.stderr[:200])
    clean(image)


def main():
    with tempfile.TemporaryDirectory() as work:
        for make in ('mkfs fat12 -O cluster_size=16K', 'mkfs fat16', 'mkfs fat32', 'mkfs exfat'):
            check_names(work, make)
        check_mtools(work)
        check_short_names(work)
        for make in ('mkfs fat12', 'mkfs fat16 -O cluster_size=512', 'mkfs fat32', 'mkfs exfat'):
            check_full(work, make)
        check_longest(work)
    finish()


main()
