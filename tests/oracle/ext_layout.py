#!/usr/bin/env python3
"""Where files lie: extents for each file, and how the free space is cut up. A fresh tree against mke2fs -d; an aged
volume, with every second file removed and others put in, against what the kernel makes of it."""
import os
import random
import re
import subprocess
import tempfile

from _dish import DISH, LONG, blank, expect, finish

MOST_EXTENTS = 1.05


def make_tree(top):
    rng = random.Random(1)
    for d in range(1000 if LONG else 120):
        folder = os.path.join(top, f'dir{d % 12:02}', f'sub{d:04}')
        os.makedirs(folder)
        for f in range(12):
            with open(os.path.join(folder, f'file{f:02}'), 'wb') as out:
                out.write(rng.randbytes(min(int(rng.paretovariate(1.1) * 2600), 400000)))
    with open(os.path.join(top, 'large'), 'wb') as out:
        out.write(rng.randbytes(20 << 20))


def extents(image):
    """Files with blocks, and their extents, as debugfs counts them."""
    out = subprocess.run(['debugfs', '-R', 'filefrag -r /', image], capture_output=True, text=True).stdout
    counts = [int(n) for n in re.findall(r': (\d+) contiguous extents?', out)]
    return len(counts), sum(counts)


def free_extents(image):
    out = subprocess.run(['e2freefrag', image], capture_output=True, text=True).stdout
    return int(re.search(r'Num\. free extent: (\d+)', out).group(1))


def fill(top, seed, size):
    """Files of some size in total; their names below top."""
    rng, names = random.Random(seed), []
    while size > 0:
        name = f'/{seed}-{len(names) // 40:03}/f{len(names)}'
        os.makedirs(os.path.dirname(top + name), exist_ok=True)
        with open(top + name, 'wb') as out:
            out.write(rng.randbytes(min(int(rng.paretovariate(1.05) * 3000), 3000000)))
        size -= -(-os.path.getsize(top + name) // 4096) * 4096
        names.append(name)
    return names


def age_by_kernel(image, work, first, victims, second):
    """False when there is no kernel that mounts it."""
    top = work + '/mounted'
    os.makedirs(top)
    for tree, doomed in ((first, victims), (second, [])):
        if subprocess.run(['mount', '-o', 'loop', image, top], capture_output=True).returncode:
            return False
        try:
            subprocess.run(['cp', '-a', tree + '/.', top], check=True)
            for name in doomed:
                os.unlink(top + name)
        finally:
            subprocess.run(['umount', top], check=True)
    return True


def aged(work):
    """Full to nine tenths, then half of it removed, then as much put in again."""
    ours, theirs, first, second = (f'{work}/{name}' for name in ('ours.img', 'theirs.img', 'first', 'second'))
    size = (400 if LONG else 100) << 20
    names = fill(first, 1, size * 8 // 10)
    victims = names[::2]
    kept = len(names) - len(victims) + len(fill(second, 2, size * 35 // 100))
    for image in (ours, theirs):
        blank(image, size)
        subprocess.run(['mke2fs', '-q', '-F', '-t', 'ext4', '-b', '4096', '-m', '0', image], check=True)
    script = ''.join(f'rm {name}\n' for name in victims)
    subprocess.run([DISH, ours, '-c', f'put -r -a {first}/* /'], check=True)
    subprocess.run([DISH, ours], input=script, text=True, check=True)
    subprocess.run([DISH, ours, '-c', f'put -r -a {second}/* /'], check=True)
    files, pieces = extents(ours)
    free, most, most_free = free_extents(ours), MOST_EXTENTS * files, None
    print(f'aged: {pieces} extents of {files} files, {free} stretches of free space')
    if age_by_kernel(theirs, work, first, victims, second):
        their_files, their_pieces = extents(theirs)
        most, most_free = max(most, their_pieces), 3 * free_extents(theirs)
        print(f'by the kernel: {their_pieces} of {their_files}, {free_extents(theirs)} stretches')
        expect(files == their_files, 'aged: files are missing')
    expect(files >= kept, f'aged: {kept - files} of {kept} files are missing')
    expect(pieces <= most, 'too many extents on an aged volume')
    expect(most_free is None or free <= most_free, 'the free space of an aged volume is cut up')


def main():
    with tempfile.TemporaryDirectory() as work:
        aged(work)
        tree, ours, theirs = (os.path.join(work, name) for name in ('tree', 'ours.img', 'theirs.img'))
        make_tree(tree)
        for block in (4096, 1024):
            blank(ours, 1 << 30)
            subprocess.run([DISH, ours, '-c', f'mkfs ext4 -O blocksize={block}', '-c', f'put -r -a {tree} /'], check=True)
            files, pieces = extents(ours)
            blank(theirs, 1 << 30)
            subprocess.run(['mke2fs', '-q', '-F', '-t', 'ext4', '-b', str(block), '-d', tree, theirs], check=True)
            their_files, their_pieces = extents(theirs)
            free, their_free = free_extents(ours), free_extents(theirs)
            print(f'{block}: {pieces} extents of {files} files (mke2fs {their_pieces} of {their_files}), '
                  f'{free} stretches of free space (mke2fs {their_free})')
            expect(files >= their_files, f'{block}: {their_files - files} files are missing')
            expect(pieces <= MOST_EXTENTS * files, f'{block}: too many extents')
            expect(free <= 2 * their_free + 8, f'{block}: the free space is cut up')
    finish()


if __name__ == '__main__':
    main()
