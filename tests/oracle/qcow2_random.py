#!/usr/bin/env python3
"""Random writes, zeros, discards, resizes, snapshots, commits, undos and reopens against a model in memory.

After every reopen qemu-img check must find nothing and qemu-img convert must read the model's bytes.
The tool is given by $BLKCAT; LONG=1 runs 5,000 operations for each geometry.
"""
import os
import random
import subprocess
import sys
import tempfile

from _dish import LONG
from _qcow2 import BLKCAT

OPERATIONS = 5000 if LONG else 250
ROUNDS = 10 if LONG else 3

GEOMETRIES = [
    ('cluster_size=512', 4 << 20, None),
    ('cluster_size=512,refcount_bits=64', 3 << 20, None),
    ('cluster_size=512,refcount_bits=1', 3 << 20, None),
    ('cluster_size=4k', 24 << 20, None),
    ('cluster_size=64k', 96 << 20, None),
    ('cluster_size=2M', 96 << 20, None),
    ('cluster_size=64k,extended_l2=on', 48 << 20, None),
    ('cluster_size=64k,compat=0.10', 48 << 20, None),
    ('cluster_size=4k', 8 << 20, 5 * 1000 * 1000 + 123),
    ('cluster_size=64k', 16 << 20, 9 * 1000 * 1000 + 77),
    ('cluster_size=64k,extended_l2=on', 16 << 20, 9 * 1000 * 1000 + 77),
    ('cluster_size=64k,compat=0.10', 16 << 20, 9 * 1000 * 1000 + 77),
    ('cluster_size=512', 2 << 20, 1 << 20),
]


class Tool:
    def __init__(self, image):
        self.process = subprocess.Popen([BLKCAT, image, '-'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, line):
        self.process.stdin.write(line + '\n')

    def close(self):
        self.process.stdin.close()
        out = self.process.stdout.read()
        if self.process.wait() != 0:
            raise SystemExit('blkcat failed')
        return out


def judge(image, model, work, log):
    check = subprocess.run(['qemu-img', 'check', image], capture_output=True, text=True)
    if check.returncode != 0:
        print('the last operations:', *log[-20:], sep='\n    ')
        raise SystemExit(f'qemu-img check: {check.returncode}\n{check.stdout}{check.stderr}')
    raw = os.path.join(work, 'out.raw')
    subprocess.run(['qemu-img', 'convert', '-O', 'raw', image, raw], check=True)
    got = open(raw, 'rb').read()
    os.unlink(raw)
    if got != model:
        at = next(i for i in range(min(len(got), len(model))) if got[i] != model[i]) if len(got) == len(model) else -1
        print('the last operations:', *log[-20:], sep='\n    ')
        raise SystemExit(f'contents differ at {at:#x} (sizes {len(got)}, {len(model)})')


def one_operation(rng, model, maximum, log, tool):
    """Changes the model as the operation changes the image."""
    size = len(model)
    kind = rng.choices(['write', 'zero', 'discard', 'resize', 'commit'], [50, 15, 15, 4, 4])[0]
    length = rng.choice([512, 4096, 65536, 300000, 2000000])
    off = rng.randrange(0, size // 512) * 512
    n = min(size - off, max(1, rng.randrange(1, length)))
    if rng.random() < 0.7:
        n = max(512, n // 512 * 512)
        n = min(n, size - off)
    line = 'commit'
    if kind == 'write':
        byte = rng.randrange(1, 256)
        line = f'write {off} {n} {byte}'
        model[off:off + n] = bytes([byte]) * n
    elif kind == 'zero':
        line = f'zero {off} {n}'
        model[off:off + n] = bytes(n)
    elif kind == 'discard':
        line = f'discard {off} {n}'
    elif kind == 'resize':
        new = rng.randrange(maximum // 4, maximum) // 512 * 512
        line = f'resize {new}'
        if new < size:
            del model[new:]
        else:
            model.extend(bytes(new - size))
    log.append(line)
    tool.send(line)
    return kind, off, n


def apply_discard(image, model, off, n, cluster, v2_backed):
    """What a discard must do: whole clusters read as zeros; version 2 over a backing file does nothing."""
    if v2_backed:
        return
    start = -(-off // cluster) * cluster
    end = len(model) if off + n == len(model) else (off + n) // cluster * cluster
    if start < end:
        model[start:end] = bytes(end - start)


def run(options, size, base, seed, work):
    rng = random.Random(seed)
    image = os.path.join(work, 'image.qcow2')
    log = []
    model = bytearray(size)
    create = options
    cluster = {'512': 512, '4k': 4096, '64k': 65536, '2M': 2 << 20}[options.split('cluster_size=')[1].split(',')[0]]
    if base:
        contents = rng.randbytes(base)
        open(os.path.join(work, 'base.raw'), 'wb').write(contents)
        model[:base] = contents[:size]
        create += ',backing_file=base.raw,backing_fmt=raw'
    subprocess.run([BLKCAT, image, 'create', str(size), create], check=True)
    v2_backed = base is not None and 'compat=0.10' in options
    for _ in range(ROUNDS):
        tool = Tool(image)
        saved = bytes(model)
        for _ in range(OPERATIONS // ROUNDS):
            before = bytes(model) if rng.random() < 0.08 else None
            kind, off, n = one_operation(rng, model, size, log, tool)
            if kind == 'discard':
                apply_discard(image, model, off, n, cluster, v2_backed)
            if kind == 'commit':
                saved = bytes(model)
            elif before is not None:
                tool.send('undo')
                log.append('undo')
                model[:] = before
            elif rng.random() < 0.02:
                tool.send('rollback')
                log.append('rollback')
                model[:] = saved
        tool.close()
        log.append('reopen')
        judge(image, bytes(model), work, log)


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    for options, size, base in GEOMETRIES:
        with tempfile.TemporaryDirectory() as work:
            print(options, size, base, flush=True)
            run(options, size, base, f'{seed}{options}{base}', work)
    print('ok')


main()
