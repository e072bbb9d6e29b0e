#!/usr/bin/env python3
"""What the cross-checks with random operations share: the test program that drives a driver line by line, and
comparing what it shows, and what folders of the host hold, with a model in memory. Names are bytes, kept in
strings with surrogateescape where they are no UTF-8."""
import functools
import os
import re
import subprocess
import zlib

from _dish import LONG, TOOLS

FSOP = os.path.join(TOOLS, 'fsop')
PATTERN = 251
ENCODED = [chr(c) if c < 128 and chr(c).isalnum() or c in b'/._-+=,@:' else '%%%02x' % c for c in range(256)]


def encode(name):
    """A word of a command: what could be taken for something else becomes %xx."""
    return ''.join([ENCODED[c] for c in (name if isinstance(name, bytes) else os.fsencode(name))])


def decode(word):
    return os.fsdecode(re.sub(rb'%(..)', lambda m: bytes([int(m.group(1), 16)]), word.encode()))


@functools.lru_cache(maxsize=256)
def pattern_unit(seed):
    return bytes((seed * 7 + at * at + (at * seed >> 3)) & 255 for at in range(PATTERN))


def pattern(seed, n):
    """The bytes that `write PATH OFF N SEED` writes."""
    return (pattern_unit(seed) * (n // PATTERN + 1))[:n]


class Tool:
    """The driver behind the test program: one line in, one answer out, with the indented lines before it."""

    def __init__(self, image, *flags):
        self.log = []
        self.process = subprocess.Popen([FSOP, *flags, image], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def send(self, lines):
        """Several lines at once; they and their answers must be few enough for pipes to hold."""
        self.log += lines
        self.process.stdin.write(b''.join(line.encode() + b'\n' for line in lines))
        self.process.stdin.flush()

    def answer(self):
        lines = []
        while True:
            answer = self.process.stdout.readline().decode('latin-1')
            if not answer:
                raise SystemExit('fsop died at or after: ' + self.log[-1])
            if not answer.startswith((' ', 'note')):
                return answer.strip(), lines
            lines.append(answer.strip())

    def run(self, line):
        self.send([line])
        return self.answer()

    def close(self):
        self.process.stdin.close()
        out = self.process.stdout.read()
        if self.process.wait() != 0:
            raise SystemExit('fsop failed: ' + out.decode('latin-1'))


def summary(data):
    """A file's contents in a manifest; a folder is 'd'."""
    return f'{len(data)}:{zlib.crc32(data):08x}'


def compare(what, expected, seen, fail):
    if expected == seen:
        return
    text = [f'{what}: {len(expected)} expected, {len(seen)} seen']
    for path in sorted(set(expected) | set(seen)):
        if expected.get(path) != seen.get(path):
            text.append(f'{path[:100]!r}:\n  expected {expected.get(path)}\n  seen     {seen.get(path)}')
    fail('\n'.join(text[:12]))


def from_folder(top):
    """The manifest of a tree of the host."""
    seen = {}
    for folder, dirs, files in os.walk(top):
        for name in dirs + files:
            full = os.path.join(folder, name)
            if os.path.islink(full):
                seen[full[len(top):]] = encode(os.readlink(full))
            elif os.path.isdir(full):
                seen[full[len(top):]] = 'd'
            else:
                with open(full, 'rb') as stream:
                    seen[full[len(top):]] = summary(stream.read())
    return seen


def rounds(mixes, short, seeds):
    """What a run goes through: each mix that $MIX names, or that belongs to the form of the run, with each seed."""
    chosen, first = os.environ.get('MIX'), int(os.environ.get('SEED', 0))
    for mix in mixes:
        if mix[0] in chosen.split(',') if chosen else LONG or mix[0] in short:
            for seed in range(first, first + seeds):
                yield mix, seed
