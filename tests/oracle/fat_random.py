#!/usr/bin/env python3
"""Random operations on FAT and exFAT volumes, made by dish and by the foreign tools, against a model in memory.

After each round: the driver's own view equals the model, fsck.vfat says exactly its two lines or fsck.exfat
"clean", the counts of free clusters agree, and mtools (FAT) lists and reads the same tree. LONG=1 runs more
operations and seeds, and the Linux kernel reads the FAT volumes too; SEED, MIX and OPS choose.
"""
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import zlib

TOOLS = os.environ.get('TOOLS', '.')
DISH = os.environ.get('DISH', 'dish')
FSOP = os.path.join(TOOLS, 'fsop')
LONG = os.environ.get('LONG') == '1'
OPS = int(os.environ.get('OPS', 4000 if LONG else 300))
SEEDS = int(os.environ.get('SEEDS', 4 if LONG else 1))
PATTERN = 251
TOO_LONG = 2**32

# name, KiB, how it is made: options of mkfs in dish, or a command line of a foreign tool
MIXES = [
    ('fat12', 1440, 'mkfs fat12'),
    ('fat12-16k', 20000, 'mkfs fat12 -O cluster_size=16K'),
    ('fat12-theirs', 3000, ['mkfs.vfat', '-F', '12']),
    ('fat16', 30000, 'mkfs fat16'),
    ('fat16-512', 12000, 'mkfs fat16 -O cluster_size=512,root_entries=64'),
    ('fat16-1k', 20000, 'mkfs fat16 -O sector_size=1024,cluster_size=1024,fats=1'),
    ('fat16-64k', 600000, 'mkfs fat16 -O cluster_size=64K'),
    ('fat16-theirs', 30000, ['mkfs.vfat', '-F', '16', '-s', '8']),
    ('fat32', 60000, 'mkfs fat32'),
    ('fat32-4096', 400000, 'mkfs fat32 -O sector_size=4096'),
    ('fat32-theirs', 70000, ['mkfs.vfat', '-F', '32', '-s', '1', '-R', '40']),
    ('exfat', 30000, 'mkfs exfat'),
    ('exfat-1k', 10000, 'mkfs exfat -O cluster_size=1K'),
    ('exfat-64k', 60000, 'mkfs exfat -O cluster_size=64K'),
    ('exfat-theirs', 30000, ['mkfs.exfat', '-c', '2K']),
]
SHORT = ('fat12', 'fat16', 'fat16-theirs', 'fat32', 'exfat-1k', 'exfat-theirs')
LETTERS = 'aAbBcCdDäÄßéÉжЖя中文字עβΒあ한ไ😀🎉𝒳 .-_~+,;=[]()&\'!#1234567890'


def fold(text):
    return ''.join(c.upper() if len(c.upper()) == 1 and ord(c) < 0x10000 else c for c in text)


def encode(text):
    return ''.join(chr(c) if chr(c).isalnum() and c < 128 or c in b'/._-+=,@:' else '%%%02x' % c
                   for c in text.encode())


def pattern(seed, n):
    unit = bytes((seed * 7 + at * at + (at * seed >> 3)) & 255 for at in range(PATTERN))
    return (unit * (n // PATTERN + 1))[:n]


class Tool:
    """The driver behind the program for tests."""

    def __init__(self, image, *flags):
        self.log = []
        self.process = subprocess.Popen([FSOP, *flags, image], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, line):
        self.log.append(line)
        self.process.stdin.write(line.encode() + b'\n')
        self.process.stdin.flush()
        lines = []
        while True:
            answer = self.process.stdout.readline().decode()
            if not answer:
                raise SystemExit('fsop died at: ' + line)
            if answer.startswith((' ', 'note')):
                lines.append(answer.strip())
                continue
            return answer.strip(), lines

    def close(self):
        self.process.stdin.close()
        out = self.process.stdout.read()
        if self.process.wait() != 0:
            raise SystemExit('fsop failed: ' + out.decode())


class Model:
    """Folders are dictionaries, files bytearrays."""

    def __init__(self, rng, root_limit):
        self.rng, self.root, self.refused, self.root_limit = rng, {}, 0, root_limit

    def walk(self, want=(dict, bytearray)):
        found, todo = [], [('', self.root)]
        while todo:
            path, folder = todo.pop()
            for name, node in folder.items():
                if isinstance(node, want):
                    found.append((path + '/' + name, folder, name))
                if isinstance(node, dict):
                    todo.append((path + '/' + name, node))
        return sorted(found, key=lambda f: f[0])

    def folder(self):
        return self.rng.choice([('', self.root)] + [(p, d[n]) for p, d, n in self.walk(dict) if p.count('/') < 7])

    def new_name(self, folder):
        rng = self.rng
        while True:
            kind = rng.random()
            if kind < 0.3:
                stem = ''.join(rng.choice('abcdefgh0123') for _ in range(rng.randint(1, 9)))
                name = rng.choice([str.lower, str.upper, str.title])(stem + rng.choice(['', '.c', '.txt', '.html']))
            elif kind < 0.5:
                name = f'A long name that many share {rng.randrange(10**6)}.text'
            elif kind < 0.55:
                name = ''.join(rng.choice('xyz') for _ in range(rng.randint(240, 255)))
            else:
                name = ''.join(rng.choice(LETTERS) for _ in range(rng.randint(1, 40)))
            if not name.strip(' .') or name[-1] in ' .' or name[0] == ' ':
                continue
            if fold(name) not in map(fold, folder) and not re.search('~', name):
                return name

    def step(self):
        rng = self.rng
        while True:
            files, nodes = self.walk(bytearray), self.walk()
            kind = rng.choices(['create', 'mkdir', 'write', 'truncate', 'remove', 'rename'], [24, 10, 30, 9, 14, 13])[0]
            path, folder = self.folder()
            if kind in ('create', 'mkdir'):
                name = self.new_name(folder)
                node = {} if kind == 'mkdir' else bytearray()
                hint = '' if kind == 'mkdir' else ' %d' % rng.choice([0, 0, 1000, 100000])
                return (f'{kind} {encode(path + "/" + name)} 755{hint}',
                        lambda: folder.__setitem__(name, node))
            if kind in ('write', 'truncate') and files:
                path, folder, name = rng.choice(files)
                data = folder[name]
                if kind == 'truncate':
                    size = rng.choice([0, len(data) // 2, len(data), rng.randrange(0, 60000)])
                    return f'truncate {encode(path)} {size}', lambda: self.resize(data, size)
                off = rng.choice([0, len(data), len(data), rng.randrange(0, len(data) + 20000)])
                n, seed = rng.choice([1, 511, 512, 513, rng.randrange(1, 4000), rng.randrange(1, 50000)]), \
                    rng.randrange(256)

                def wrote():
                    self.resize(data, max(len(data), off + n))
                    data[off:off + n] = pattern(seed, n)
                return f'write {encode(path)} {off} {n} {seed}', wrote
            if kind == 'remove' and nodes:
                path, folder, name = rng.choice(nodes)
                if isinstance(folder[name], dict) and folder[name]:
                    return f'rm {encode(path)}', 'not-empty'
                other = name.swapcase()
                shown = path[:-len(name)] + (other if fold(other) == fold(name) else name)
                return f'rm {encode(shown)}', lambda: folder.pop(name)
            if kind == 'rename' and nodes:
                old, old_folder, old_name = rng.choice(nodes)
                if isinstance(old_folder[old_name], dict) and (path + '/').startswith(old + '/'):
                    continue
                new_name = self.new_name(folder)
                if rng.random() < 0.2:
                    path, folder, new_name = old[:-len(old_name) - 1], old_folder, old_name.swapcase()
                    if fold(new_name) != fold(old_name):
                        continue

                def renamed():
                    node = old_folder.pop(old_name)
                    folder[new_name] = node
                return f'mv {encode(old)} {encode(path + "/" + new_name)}', renamed

    @staticmethod
    def resize(data, size):
        if size < len(data):
            del data[size:]
        else:
            data.extend(bytes(size - len(data)))

    def manifest(self, skip_wide=False):
        lines = {}
        for path, folder, name in self.walk():
            if skip_wide and any(ord(c) > 0xFFFF for c in path):
                continue
            node = folder[name]
            lines[path] = 'd' if isinstance(node, dict) else f'{len(node)}:{zlib.crc32(node):08x}'
        return lines


def decode(word):
    return re.sub(rb'%(..)', lambda m: bytes([int(m.group(1), 16)]), word.encode()).decode()


def from_tool(lines):
    seen = {}
    for line in lines:
        words = line.split(' ')
        if words[0] in ('fault:', 'note'):
            raise SystemExit(line)
        if words[0] != '/':
            seen[decode(words[0])] = 'd' if words[1].startswith('40') else words[4]
    return seen


def from_folder(top, skip_wide=False):
    seen = {}
    for folder, dirs, files in os.walk(top):
        for name in dirs + files:
            full = os.path.join(folder, name)
            path = full[len(top):]
            if os.path.isdir(full):
                seen[path] = 'd'
            else:
                with open(full, 'rb') as stream:
                    data = stream.read()
                seen[path] = f'{len(data)}:{zlib.crc32(data):08x}'
    return seen


def compare(what, expected, seen, fail):
    text = [f'{what}: {len(expected)} expected, {len(seen)} seen']
    for path in sorted(set(expected) | set(seen)):
        if expected.get(path) != seen.get(path):
            text.append(f'{path[:100]!r}: expected {expected.get(path)}, seen {seen.get(path)}')
    if len(text) > 1:
        fail('\n'.join(text[:12]))


def check_fat(image, free, work, model, fail):
    done = subprocess.run(['fsck.vfat', '-n', image], capture_output=True, text=True)
    lines = done.stdout.strip().split('\n')
    if done.returncode != 0 or len(lines) != 2:
        fail('fsck.vfat: ' + done.stdout[-2000:])
    used, total = map(int, re.search(r'(\d+)/(\d+) clusters', lines[1]).groups())
    if total - used != free:
        fail(f'fsck.vfat counts {total - used} free clusters, dish {free}')
    out = os.path.join(work, 'mtools')
    os.makedirs(out)
    env = dict(os.environ, MTOOLS_SKIP_CHECK='1', LC_ALL='C.UTF-8')
    if model.root:
        subprocess.run(['mcopy', '-s', '-n', '-i', image, '::', out], env=env, capture_output=True)
    # mtools knows no characters beyond the BMP and loses what two of them would be called alike
    wide = any(ord(c) > 0xFFFF for p in model.manifest() for c in p)
    seen = from_folder(out)
    if wide:
        seen = {p: v for p, v in seen.items() if '__' not in p}
        compare('mtools', {p: v for p, v in model.manifest(True).items() if '__' not in p}, seen, fail)
    else:
        compare('mtools', model.manifest(), seen, fail)
    shutil.rmtree(out)


def check_exfat(image, free, fail):
    done = subprocess.run(['fsck.exfat', '-n', image], capture_output=True, text=True, errors='replace')
    if done.returncode != 0 or 'clean' not in done.stdout:
        fail('fsck.exfat: ' + done.stdout[-2000:])
    done = subprocess.run(['dump.exfat', image], capture_output=True, text=True, errors='replace')
    theirs = int(re.search(r'Free Clusters:\s*(\d+)', done.stdout).group(1))
    if theirs != free:
        fail(f'dump.exfat counts {theirs} free clusters, dish {free}')


def check_kernel(image, work, model, fail):
    """The kernel of user-mode Linux mounts the volume and lists it."""
    if not LONG or not shutil.which('linux.uml'):
        return
    out = os.path.join(work, 'kernel')
    os.makedirs(out)
    with open(os.path.join(work, 'init'), 'w') as script:
        script.write(f'''#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t tmpfs tmp /mnt; mkdir /mnt/m
mount -t tmpfs tmp /lib/modules; ln -s /usr/lib/uml/modules/$(uname -r) /lib/modules/$(uname -r)
modprobe vfat; mount -t vfat -o ro,utf8 /dev/ubda /mnt/m && cp -r /mnt/m/. {out}/ && touch {work}/kernel-read
sync; umount /mnt/m; echo o >/proc/sysrq-trigger; sleep 5
''')
    os.chmod(os.path.join(work, 'init'), 0o755)
    subprocess.run(['linux.uml', 'mem=256M', f'ubd0r={image}', 'root=/dev/root', 'rootfstype=hostfs', 'rw',
                    f'init={work}/init', 'con=null', 'con0=null', 'quiet'], stdin=subprocess.DEVNULL,
                   capture_output=True, timeout=120)
    if not os.path.exists(work + '/kernel-read'):
        fail('the kernel could not read the volume')
    os.unlink(work + '/kernel-read')
    compare('kernel', model.manifest(), from_folder(out), fail)
    shutil.rmtree(out)


def make(mix, image):
    name, size, how = mix
    with open(image, 'wb') as stream:
        stream.truncate(size * 1024)
    command = [DISH, '-q', '-c', how, image] if isinstance(how, str) else how + [image]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def run_round(mix, seed, work):
    name = mix[0]
    image = os.path.join(work, name + '.img')
    make(mix, image)
    model = Model(random.Random(f'{name}-{seed}'), 0)
    flags = ['-k'] if seed % 3 == 2 else []
    tool = Tool(image, *flags)

    def fail(text):
        with open(os.path.join(tempfile.gettempdir(), f'fat_random-{name}-{seed}.log'), 'w') as out:
            out.write('\n'.join(tool.log))
        raise SystemExit(f'{name}, seed {seed}: {text}')

    for part in range(3):
        for _ in range(OPS // 3):
            line, done = model.step()
            answer, _ = tool.run(line)
            if answer == 'ok' and done != 'not-empty':
                done()
            elif answer.startswith('err no-space'):
                model.refused += 1
            elif done != 'not-empty' or not answer.startswith('err not-empty'):
                fail(f'{line[:200]}: {answer}')
        _, lines = tool.run('tree /')
        compare('driver', model.manifest(), from_tool(lines), fail)
        _, lines = tool.run('stat')
        free = int(lines[-1].split()[3])
        tool.close()
        if name.startswith('fat'):
            check_fat(image, free, work, model, fail)
            check_kernel(image, work, model, fail)
        else:
            check_exfat(image, free, fail)
        tool = Tool(image, *flags)
    tool.close()
    os.unlink(image)
    print(f'{name}: seed {seed}: {OPS} operations, {len(model.walk())} files, {model.refused} refused', flush=True)


def main():
    chosen = os.environ.get('MIX')
    with tempfile.TemporaryDirectory() as work:
        for mix in MIXES:
            if chosen and mix[0] not in chosen.split(','):
                continue
            if not chosen and not LONG and mix[0] not in SHORT:
                continue
            first = int(os.environ.get('SEED', 0))
            for seed in range(first, first + SEEDS):
                run_round(mix, seed, work)


main()
