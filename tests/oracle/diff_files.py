#!/usr/bin/env python3
"""diff of two files: patch(1) makes the second of the first by what it says, and it says no more than diff(1) does;
for bytes the ranges are those that differ."""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

DISH = os.environ['DISH']
ROUNDS = 400 if os.environ.get('LONG') else 40


def dish(*words):
    done = subprocess.run([DISH, *words], capture_output=True)
    return done.returncode, done.stdout, done.stderr


def text(rng):
    alphabet = rng.choice([[b'a', b'b'], [b'x', b'y', b'', b'long line of words'], [b'%d' % i for i in range(60)]])
    lines = [rng.choice(alphabet) for _ in range(rng.choice([0, 1, 2, 5, 20, 100, 400]))]
    return lines


def changed(rng, lines):
    lines = list(lines)
    for _ in range(rng.choice([0, 1, 1, 2, 5, 40])):
        at, n = rng.randrange(len(lines) + 1), rng.choice([0, 1, 1, 3, 30])
        lines[at:at + n] = [b'new %d' % rng.randrange(9) for _ in range(rng.choice([0, 1, 2, 20]))]
    return lines


def write(path, lines, ended):
    data = b'\n'.join(lines) + (b'\n' if lines and ended else b'')
    with open(path, 'wb') as file:
        file.write(data)
    return data


def put(image, *paths):
    status, _, err = dish(image, '--', 'put', *paths, '/')
    if status != 0:
        raise SystemExit(err)


def edits(diff):
    return sum(line[:1] in b'+-' and line[:3] not in (b'---', b'+++') for line in diff.splitlines())


def texts(work, rng, image):
    for number in range(ROUNDS):
        first = text(rng)
        second = changed(rng, first) if rng.random() < .8 else text(rng)
        a, b = os.path.join(work, 'a'), os.path.join(work, 'b')
        old, new = write(a, first, rng.random() < .8), write(b, second, rng.random() < .8)
        context = rng.choice([0, 1, 3, 3, 3, 7])
        put(image, a, b)
        status, out, err = dish(image, '--', 'diff', f'-U{context}', '/a', '/b')
        if status != (old != new) or (old == new) != (out == b''):
            raise SystemExit(f'round {number}: status {status}: {err} {out[:300]}')
        status, host, _ = dish('--', 'diff', f'-U{context}', 'host:' + a, 'host:' + b)
        if host.splitlines()[2:] != out.splitlines()[2:]:
            raise SystemExit(f'round {number}: on the host it is {host[:300]}')
        if old == new:
            continue
        wanted = subprocess.run(['diff', f'-U{context}', '-d', a, b], capture_output=True).stdout
        if edits(out) > edits(wanted) * 1.05 + 2:
            raise SystemExit(f'round {number}: {edits(out)} edits where diff -d has {edits(wanted)}')
        shutil.copy(a, a + '.patched')
        patched = subprocess.run(['patch', '-s', '-t', a + '.patched'], input=out, capture_output=True)
        with open(a + '.patched', 'rb') as file:
            if patched.returncode != 0 or file.read() != new:
                raise SystemExit(f'round {number}: patch: {patched.stdout} {out[:2000]}')
        _, listed, _ = dish('--json', image, '--', 'diff', '/a', '/b')
        changes, lines, done, made = json.loads(listed), old.splitlines(True), 0, []
        for change in changes:
            at = change['first-line'] - 1
            made += lines[done:at] + [line.encode() for line in change['added']]
            done = at + len(change['removed'])
        if b''.join(made + lines[done:]) != new:
            raise SystemExit(f'round {number}: JSON: {listed[:500]}')


def far_apart(work, image):
    """Texts that have little in common must not take for ever, nor much memory."""
    rng = random.Random(3)
    a, b = os.path.join(work, 'a'), os.path.join(work, 'b')
    write(a, [b'%d' % rng.randrange(50000) for _ in range(150000)], True)
    new = write(b, [b'%d' % rng.randrange(50000) for _ in range(150000)], True)
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([DISH, '--', 'diff', 'host:' + a, 'host:' + b], stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        script = out.read()
    if usage.ru_utime > 60 or ('SANITIZED' not in os.environ and usage.ru_maxrss > 64 * 1024):
        raise SystemExit(f'far apart: {usage.ru_utime:.1f} s, {usage.ru_maxrss // 1024} MiB')
    subprocess.run(['patch', '-s', '-t', a], input=script, check=True)
    with open(a, 'rb') as file:
        if file.read() != new:
            raise SystemExit('far apart: patch makes something else')


def binaries(work, rng, image):
    for number in range(ROUNDS // 4):
        old = bytearray(rng.randbytes(rng.choice([1, 100, 70000, 600000]))) + b'\0'
        new = bytearray(old)
        for _ in range(rng.choice([0, 1, 3])):
            at = rng.randrange(len(new))
            for i in range(at, min(at + rng.choice([1, 2, 50]), len(new))):
                new[i] ^= 0x55
        new += rng.choice([b'', b'', b'more'])
        a, b = os.path.join(work, 'a'), os.path.join(work, 'b')
        for path, data in ((a, old), (b, new)):
            with open(path, 'wb') as file:
                file.write(data)
        put(image, a, b)
        status, out, err = dish('--json', image, '--', 'diff', '/a', '/b')
        wanted = []
        for i in (i for i in range(len(old)) if old[i] != new[i]):
            if wanted and i <= wanted[-1][1] + 16:
                wanted[-1][1] = i + 1
            else:
                wanted.append([i, i + 1])
        got = [[r['offset'], r['offset'] + r['length']] for r in json.loads(out)]
        if got != wanted or status != (old != new):
            raise SystemExit(f'bytes, round {number}: {got}, not {wanted}; status {status}: {err}')
        status, out, _ = dish(image, '--', 'diff', '-q', '/a', '/b')
        if status != (old != new) or (out != b'') != (old != new):
            raise SystemExit(f'bytes, round {number}: diff -q: {status} {out}')
        status, out, _ = dish(image, '--', 'diff', '/a', 'host:' + b)
        if status != (old != new) or (len(new) > len(old)) != (b' has 4 bytes more' in out):
            raise SystemExit(f'bytes, round {number}: with the host: {status} {out}')


def main():
    rng = random.Random(11)
    with tempfile.TemporaryDirectory() as work:
        image = os.path.join(work, 'disk.img')
        status, _, err = dish('-c', f'create -f raw {image} 32M', '-c', 'mkfs ext4')
        if status != 0:
            raise SystemExit(err)
        texts(work, rng, image)
        binaries(work, rng, image)
        far_apart(work, image)


if __name__ == '__main__':
    sys.exit(main())
