#!/usr/bin/env python3
"""Images made by us are clean in QEMU and described by it as its own twins are; impossible ones leave no file."""
import itertools
import os
import subprocess
import tempfile

from _dish import LONG
from _qcow2 import BLKCAT, described


def run(*args):
    return subprocess.run(args, capture_output=True, text=True)


def compare(work, size, options):
    mine, twin = os.path.join(work, 'mine.qcow2'), os.path.join(work, 'twin.qcow2')
    for path in (mine, twin):
        if os.path.exists(path):
            os.unlink(path)
    text = ','.join(options)
    made = run(BLKCAT, mine, 'create', str(size), text)
    qemu = run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', text, twin, str(size))
    if made.returncode != 0 or qemu.returncode != 0:
        if made.returncode != 0 and qemu.returncode != 0:
            return
        raise SystemExit(f'{text} {size}: we {made.returncode} {made.stderr}, QEMU {qemu.returncode} {qemu.stderr}')
    check = run('qemu-img', 'check', mine)
    if check.returncode != 0:
        raise SystemExit(f'{text} {size}: qemu-img check says {check.returncode}\n{check.stdout}{check.stderr}')
    if described(mine) != described(twin):
        raise SystemExit(f'{text} {size}: {described(mine)}\nis not {described(twin)}')


def main():
    clusters = [512 << i for i in range(13)]
    bits = [1, 2, 4, 8, 16, 32, 64]
    sizes = [0, 512, 1000, (1 << 20) + 512, 10 << 30]
    kinds = [[], ['lazy_refcounts=on'], ['compression_type=zstd'], ['extended_l2=on']]
    cases = [(size, [f'cluster_size={cluster}', f'refcount_bits={width}'] + kind)
             for cluster, width, kind, size in itertools.product(clusters, bits, kinds, sizes)
             if not (kind == ['extended_l2=on'] and cluster < 16384)]
    cases += [(size, [f'cluster_size={cluster}', 'compat=0.10']) for cluster in clusters for size in sizes]
    cases += [(32 << 20, [f'cluster_size={cluster}', f'preallocation={mode}'] + more)
              for cluster in (512, 4096, 65536, 2 << 20) for mode in ('metadata', 'falloc', 'full') for more in ([],)]
    cases += [(32 << 20, ['preallocation=metadata', 'extended_l2=on'])]
    if not LONG:
        cases = cases[::13] + cases[-20:]
    bad = [['cluster_size=256'], ['cluster_size=4M'], ['cluster_size=1000'], ['refcount_bits=3'], ['refcount_bits=128'],
           ['compat=0.10', 'refcount_bits=8'], ['compat=0.10', 'lazy_refcounts=on'], ['compat=0.10', 'extended_l2=on'],
           ['compat=0.10', 'compression_type=zstd'], ['compat=0.10', 'data_file=x'], ['cluster_size=8k', 'extended_l2=on'],
           ['backing_file=base.raw'], ['backing_file=base.raw', 'backing_fmt=raw', 'preallocation=metadata'],
           ['data_file_raw=on'], ['data_file=d.raw', 'data_file_raw=on', 'backing_file=base.raw', 'backing_fmt=raw'],
           ['backing_file=nosuch.raw', 'backing_fmt=raw'], ['nonsense=1']]
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        open('base.raw', 'wb').write(b'x' * 65536)
        for size, options in cases:
            compare(work, size, options)
        image = os.path.join(work, 'bad.qcow2')
        for options in bad:
            if run(BLKCAT, image, 'create', '1M', ','.join(options)).returncode == 0 or os.path.exists(image):
                raise SystemExit(f'{options}: made, or a file is left')
        if run(BLKCAT, image, 'create', '129G', 'cluster_size=512').returncode == 0 or os.path.exists(image):
            raise SystemExit('129G with clusters of 512 bytes: made, or a file is left')
    print(f'ok ({len(cases)} images)')


main()
