#!/usr/bin/env python3
"""Where a fresh tree lies: extents for each file, and how the free space is cut up, against mke2fs -d."""
import os
import random
import re
import subprocess
import sys
import tempfile

from _dish import DISH, LONG, blank

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


def main():
    with tempfile.TemporaryDirectory() as work:
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
            if files < 100 or pieces > MOST_EXTENTS * files:
                sys.exit('too many extents')
            if free > 2 * their_free + 8:
                sys.exit('the free space is cut up')


if __name__ == '__main__':
    main()
