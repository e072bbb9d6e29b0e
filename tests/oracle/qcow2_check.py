#!/usr/bin/env python3
"""Damages images in known and in random ways; our check must find what QEMU finds (and more where QEMU is known to
miss it), repair must make qemu-img check clean and change no byte that could be read before.
"""
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

from _dish import DISH, LONG, poke
from _qcow2 import BLKCAT, run


def ours(image, *args):
    """(damage, leaks, errors, damage fixed, leaks fixed) or None when it failed."""
    out = run(BLKCAT, image, 'check', *args, status=None)
    if out.returncode != 0:
        return None, out.stderr
    return tuple(int(word) for word in out.stdout.strip().splitlines()[-1].split()), out.stdout


def qemu(image):
    out = run('qemu-img', 'check', '--output=json', image, status=None)
    try:
        report = json.loads(out.stdout)
    except ValueError:
        return None, out.returncode
    return (report.get('corruptions', 0), report.get('leaks', 0)), out.returncode


def readable(image, size, step):
    """What each unit of the guest reads as; None where reading fails. Done by one process."""
    lines = ''.join(f'-fetch {off} {min(step, size - off)}\n' for off in range(0, size, step))
    out = subprocess.run([BLKCAT, '-r', image, '-'], input=lines, capture_output=True, text=True)
    return [None if line.startswith('failed') else line for line in out.stdout.splitlines()]


def cluster_size(image):
    with open(image, 'rb') as file:
        return 1 << struct.unpack('>I', file.read(24)[20:])[0]


def repaired(image, size, step, what):
    before = readable(image, size, step)
    counts, text = ours(image, 'all', 'data')
    if counts is None:
        raise SystemExit(f'{what}: repair failed: {text}')
    first_text = text
    found, rc = qemu(image)
    if rc != 0:
        raise SystemExit(f'{what}: after our repair qemu-img check says {rc} {found}\n{run("qemu-img", "check", image, status=None).stdout}{text}')
    again, text = ours(image)
    if again[:3] != (0, 0, 0):
        raise SystemExit(f'{what}: after our repair our check says {again}\n{text}')
    after = readable(image, size, step)
    # An L1 entry that names other metadata as its L2 table read garbage before: that is gone, and said so.
    for index in re.findall(r'L1 entry (\d+): L2 table', first_text):
        span = cluster_size(image) ** 2 // (16 if 'extended' in what else 8)
        for i in range(int(index) * span // step, min(len(before), (int(index) + 1) * span // step)):
            before[i] = None
    for i, (old, new) in enumerate(zip(before, after)):
        if old is not None and old != new:
            raise SystemExit(f'{what}: repair changed guest offset {i * step:#x}')
        if new is None:
            raise SystemExit(f'{what}: guest offset {i * step:#x} still unreadable after the repair')


def same_verdict(image, what):
    """`check --qemu-status` has the exit status and the closing words of qemu-img check."""
    mine, theirs = run(DISH, '-q', image, '--', 'check', '--qemu-status', status=None), run('qemu-img', 'check', image, status=None)
    words = ''.join(line for line in mine.stdout.splitlines(True) if not line.startswith(('ERROR', 'Leaked')))
    if (mine.returncode, words) != (theirs.returncode, theirs.stdout):
        raise SystemExit(f'{what}: check --qemu-status: {mine.returncode}\n{mine.stdout}{mine.stderr}QEMU: {theirs.returncode}\n{theirs.stdout}')
    lines = [sum(line.startswith(word) for line in mine.stdout.splitlines()) for word in ('ERROR', 'Leaked')]
    json_mine = run(DISH, '-q', '--json', image, '--', 'check', '--qemu-status', status=None)
    report = json.loads(json_mine.stdout)
    if json_mine.returncode != theirs.returncode or lines != [report.get('corruptions', 0), report.get('leaks', 0)]:
        raise SystemExit(f'{what}: check --qemu-status --json: {json_mine.returncode} {json_mine.stdout}{mine.stdout}')
    plain = run(DISH, '-q', image, '--', 'check', '--container', status=None).returncode
    if plain != (4 if theirs.returncode else 0):
        raise SystemExit(f'{what}: check: {plain}')


def command_repairs(image, what):
    """`check -r all` on a copy: clean for QEMU afterwards, and no byte that could be read has changed."""
    copy = image + '.copy'
    shutil.copy(image, copy)
    before = readable(copy, 1 << 20, 65536)
    done = run(DISH, '-q', copy, '--', 'check', '-r', 'all', '--container', status=None)
    if done.returncode != 0 or qemu(copy)[1] != 0:
        raise SystemExit(f'{what}: check -r all: {done.returncode} {done.stdout}{done.stderr}')
    for i, (old, new) in enumerate(zip(before, readable(copy, 1 << 20, 65536))):
        if new is None or old not in (None, new):
            raise SystemExit(f'{what}: check -r all changed guest offset {i * 65536:#x}')


def known_faults(work):
    base = os.path.join(work, 't.qcow2')
    run('qemu-img', 'create', '-q', '-f', 'qcow2', base, '1M')
    run('qemu-io', '-c', 'write -P 17 0 256k', base)
    word = lambda value: struct.pack('>Q', value)
    faults = [
        ('copied flag', 0x40000, word(0x50000), (1, 0)),
        ('refcount 2', 0x2000a, b'\0\2', (1, 1)),
        ('refcount 0', 0x2000a, b'\0\0', (2, 0)),
        ('past the end', 0x40000, word(0x8000000040000000), (2, 1)),
        ('L1 reserved', 0x30000, word(0x8000000000040001), (1, 0)),
        ('L2 reserved', 0x40000, word(0x8100000000050002), (1, 0)),
        ('data is L2', 0x40000, word(0x8000000000040000), (1, 1)),
        ('data twice', 0x40000, word(0x8000000000050000) * 2, (1, 1)),
        ('no refcount block', 0x10000, word(0), (13, 0)),
        ('dirty', 79, b'\1', (0, 0)),
        ('corrupt', 79, b'\2', (0, 0)),
        ('zero cluster', 0x40000, word(1), (0, 1)),
    ]
    for what, off, data, expected in faults:
        image = os.path.join(work, 'f.qcow2')
        shutil.copy(base, image)
        poke(image, off, data)
        found, _ = qemu(image)
        counts, text = ours(image)
        if found != expected or counts is None or counts[:2] != expected:
            raise SystemExit(f'{what}: expected {expected}, QEMU says {found}, we say {counts}\n{text}')
        same_verdict(image, what)
        command_repairs(image, what)
        repaired(image, 1 << 20, 65536, what)
        header = open(image, 'rb').read(80)
        if header[79] != 0:
            raise SystemExit(f'{what}: the incompatible bits are still {header[79]}')
    # Leaks only: repaired by the small repair, too.
    shutil.copy(base, image)
    poke(image, 0x40000, word(1))
    said = run(DISH, '-q', image, '--', 'check', '--qemu-status', '--repair=leaks', status=None)
    if said.returncode != 0 or '    1 leaked clusters\n    0 corruptions\n' not in said.stdout or qemu(image)[1] != 0:
        raise SystemExit(f'leaks: not mended by "leaks": {said.stdout}{said.stderr}')
    same_verdict(image, 'repaired')
    raw = os.path.join(work, 'plain.raw')
    run('qemu-img', 'create', '-q', '-f', 'raw', raw, '1M')
    if run(DISH, raw, '--', 'check', '--qemu-status', status=None).returncode != 63:
        raise SystemExit('a raw image is not refused with 63')


VALUES = [0, 1, 2, 0x100, 0x200, 0x1000, 0x10000, 0x10001, 0x30000, 0x40000, 1 << 20, 1 << 40, 1 << 55, 1 << 56,
          1 << 62, 1 << 63, (1 << 63) | 0x50000, (1 << 62) | 0x50000, (1 << 63) | 0x40000, (1 << 64) - 1,
          (1 << 63) | 0x10000, (1 << 63) | 0x20000, 0x50200, (1 << 63) | 0x51000]


def tables(image):
    """Offsets of all entries of L1, L2, refcount table and blocks, snapshot table."""
    with open(image, 'rb') as file:
        header = file.read(112)
        bits, l1_size, l1 = (struct.unpack('>I', header[20:24])[0], struct.unpack('>I', header[36:40])[0],
                             struct.unpack('>Q', header[40:48])[0])
        rt, rt_clusters = struct.unpack('>QI', header[48:60])
        cluster = 1 << bits
        entries = [l1 + 8 * i for i in range(l1_size)] * 4
        entries += [rt + 8 * i for i in range(min(4, rt_clusters * cluster // 8))] * 4
        for table, count in ((l1, l1_size), (rt, rt_clusters * cluster // 8)):
            for i in range(count):
                file.seek(table + 8 * i)
                entry = struct.unpack('>Q', file.read(8))[0] & 0x00fffffffffffe00
                if entry:
                    entries += [entry + 8 * k for k in range(cluster // 8)]
        return entries


def random_faults(work, seed, rounds):
    rng = random.Random(seed)
    variants = [('cluster_size=64k', 1 << 20), ('cluster_size=512', 1 << 17), ('cluster_size=4k,refcount_bits=64', 1 << 19),
                ('cluster_size=512,refcount_bits=1', 1 << 16), ('cluster_size=64k,extended_l2=on', 1 << 20),
                ('cluster_size=64k,compat=0.10', 1 << 20), ('cluster_size=4k,snapshot', 1 << 19)]
    for number in range(rounds):
        options, size = variants[number % len(variants)]
        image = os.path.join(work, 'r.qcow2')
        snapshot = ',snapshot' in options
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options.replace(',snapshot', ''), image, str(size))
        commands = [f'write -P {rng.randrange(1, 255)} {rng.randrange(0, size // 8192) * 4096} 8k' for _ in range(12)]
        run('qemu-io', *[word for command in commands for word in ('-c', command)], image)
        if snapshot:
            run('qemu-img', 'snapshot', '-c', 's', image)
            run('qemu-io', '-c', 'write -P 3 0 16k', image)
        if rng.random() < 0.3 and 'extended' not in options:
            raw = os.path.join(work, 'c.raw')
            run('qemu-img', 'convert', '-O', 'raw', image, raw)
            if not snapshot:
                run('qemu-img', 'convert', '-c', '-O', 'qcow2', '-o', options, raw, image)
        entries = tables(image)
        pokes = []
        for _ in range(rng.choice([1, 1, 2, 4])):
            off = rng.choice(entries)
            value = rng.choice(VALUES) if rng.random() < 0.7 else rng.getrandbits(64)
            if rng.random() < 0.3:
                with open(image, 'rb') as file:
                    file.seek(off)
                    raw = file.read(8)
                value = struct.unpack('>Q', raw.ljust(8, b'\0'))[0] ^ (1 << rng.randrange(64))
            pokes.append((off, value))
            poke(image, off, struct.pack('>Q', value))
        what = f'seed {seed} round {number} {options} ' + ' '.join(f'{off:#x}={value:#x}' for off, value in pokes)
        counts, text = ours(image)
        if counts is None:
            if 'refuse' in text or 'check' in text:
                raise SystemExit(f'{what}: {text}')
            continue
        found, _ = qemu(image)
        if found and found[0] > 0 and counts[0] == 0:
            raise SystemExit(f'{what}: QEMU finds {found}, we find {counts}')
        if found and found[1] > 0 and counts[1] == 0 and counts[0] == 0:
            raise SystemExit(f'{what}: QEMU finds {found}, we find {counts}')
        step = 65536 if '64k' in options else 4096 if '4k' in options else 512
        repaired(image, size, step, what)


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with tempfile.TemporaryDirectory() as work:
        known_faults(work)
        random_faults(work, seed, 1500 if LONG else 100)
    print('ok')


main()
