#!/usr/bin/env python3
"""Random operations on FAT and exFAT volumes, made by dish and by the foreign tools, against a model in memory.

After each round: the driver's own view equals the model, fsck.vfat says exactly its two lines or fsck.exfat
"clean", the counts of free clusters agree, and mtools (FAT) lists and reads the same tree. LONG=1 runs more
operations and seeds, and the Linux kernel reads the FAT volumes of every tenth seed too; SEED, MIX and OPS choose.
"""
import os
import random
import re
import shutil
import subprocess
import tempfile

from _dish import DISH, LONG
from _fsop import Tool, compare, decode, encode, from_folder, pattern, rounds, summary

OPS = int(os.environ.get('OPS', 10000 if LONG else 300))
SEEDS = int(os.environ.get('SEEDS', 10 if LONG else 1))

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


class Node:
    """A file (with data) or a folder (with children by name, and their names as the volume compares them)."""

    def __init__(self, name, parent, folder):
        self.name, self.parent, self.at = name, parent, 0
        self.children, self.folded, self.data = ({}, set(), None) if folder else (None, None, bytearray())
        self.depth = parent.depth + 1 if parent else 0

    def path(self):
        return self.parent.path() + '/' + self.name if self.parent else ''


class Pool:
    """Nodes to choose from: adding, taking out and choosing cost the same however many there are."""

    def __init__(self):
        self.nodes = []

    def add(self, node):
        node.at = len(self.nodes)
        self.nodes.append(node)

    def remove(self, node):
        last = self.nodes.pop()
        if last is not node:
            self.nodes[node.at] = last
            last.at = node.at


class Model:
    """The tree as it should be, and the random choice of what to do next."""

    def __init__(self, rng):
        self.rng, self.refused = rng, 0
        self.root = Node('', None, True)
        self.files, self.folders = Pool(), Pool()

    def folder(self):
        while True:
            pick = self.rng.randrange(len(self.folders.nodes) + 1)
            folder = self.folders.nodes[pick - 1] if pick else self.root
            if folder.depth < 7:
                return folder

    def any_node(self):
        pick = self.rng.randrange(len(self.files.nodes) + len(self.folders.nodes))
        files = len(self.files.nodes)
        return self.files.nodes[pick] if pick < files else self.folders.nodes[pick - files]

    def insert(self, node, parent, name):
        node.parent, node.name = parent, name
        parent.children[name] = node
        parent.folded.add(fold(name))
        self.set_depth(node, parent.depth + 1)

    def set_depth(self, node, depth):
        node.depth = depth
        for child in (node.children or {}).values():
            self.set_depth(child, depth + 1)

    @staticmethod
    def detach(node):
        del node.parent.children[node.name]
        node.parent.folded.discard(fold(node.name))

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
            if not name.strip(' .') or name[-1] in ' .' or name[0] == ' ' or '~' in name:
                continue
            if fold(name) not in folder.folded:
                return name

    def make(self, kind):
        folder = self.folder()
        name, node = self.new_name(folder), Node('', folder, kind == 'mkdir')

        def made():
            self.insert(node, folder, name)
            (self.folders if kind == 'mkdir' else self.files).add(node)
        hint = '' if kind == 'mkdir' else ' %d' % self.rng.choice([0, 0, 1000, 100000])
        return f'{kind} {encode(folder.path() + "/" + name)} 755{hint}', made

    def truncate(self):
        node = self.rng.choice(self.files.nodes)
        size = self.rng.choice([0, len(node.data) // 2, len(node.data), self.rng.randrange(0, 60000)])
        return f'truncate {encode(node.path())} {size}', lambda: self.resize(node.data, size)

    def write(self):
        rng, node = self.rng, self.rng.choice(self.files.nodes)
        data = node.data
        off = rng.choice([0, len(data), len(data), rng.randrange(0, len(data) + 20000)])
        n = rng.choice([1, 511, 512, 513, rng.randrange(1, 4000), rng.randrange(1, 50000)])
        seed = rng.randrange(256)

        def wrote():
            self.resize(data, max(len(data), off + n))
            data[off:off + n] = pattern(seed, n)
        return f'write {encode(node.path())} {off} {n} {seed}', wrote

    def remove(self):
        node = self.any_node()
        if node.children:
            return f'rm {encode(node.path())}', 'not-empty'
        other = node.name.swapcase()
        shown = node.parent.path() + '/' + (other if fold(other) == fold(node.name) else node.name)

        def removed():
            self.detach(node)
            (self.folders if node.data is None else self.files).remove(node)
        return f'rm {encode(shown)}', removed

    def rename(self):
        node, folder = self.any_node(), self.folder()
        above = folder
        while above and above is not node:
            above = above.parent
        if above:
            return None
        name = self.new_name(folder)
        if self.rng.random() < 0.2:
            folder, name = node.parent, node.name.swapcase()
            if fold(name) != fold(node.name):
                return None

        def renamed():
            self.detach(node)
            self.insert(node, folder, name)
        return f'mv {encode(node.path())} {encode(folder.path() + "/" + name)}', renamed

    def step(self):
        while True:
            kind = self.rng.choices(['create', 'mkdir', 'write', 'truncate', 'remove', 'rename'],
                                    [24, 10, 30, 9, 14, 13])[0]
            if kind in ('create', 'mkdir'):
                return self.make(kind)
            if not (self.files.nodes if kind in ('write', 'truncate') else self.root.children):
                continue
            chosen = getattr(self, kind)()
            if chosen:
                return chosen

    @staticmethod
    def resize(data, size):
        if size < len(data):
            del data[size:]
        else:
            data.extend(bytes(size - len(data)))

    def manifest(self):
        lines, todo = {}, [('', self.root)]
        while todo:
            path, folder = todo.pop()
            for name, node in folder.children.items():
                lines[path + '/' + name] = 'd' if node.data is None else summary(node.data)
                if node.data is None:
                    todo.append((path + '/' + name, node))
        return lines


def from_tool(lines):
    seen = {}
    for line in lines:
        words = line.split(' ')
        if words[0] in ('fault:', 'note'):
            raise SystemExit(line)
        if words[0] != '/':
            seen[decode(words[0])] = 'd' if words[1].startswith('40') else words[4]
    return seen


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
    expected = model.manifest()
    if expected:
        subprocess.run(['mcopy', '-s', '-n', '-i', image, '::', out], env=env, capture_output=True)
    # mtools knows no characters beyond the BMP and loses what two of them would be called alike
    seen = from_folder(out)
    if any(ord(c) > 0xFFFF for p in expected for c in p):
        seen = {p: v for p, v in seen.items() if '__' not in p}
        expected = {p: v for p, v in expected.items() if '__' not in p and not any(ord(c) > 0xFFFF for c in p)}
    compare('mtools', expected, seen, fail)
    shutil.rmtree(out)


def check_exfat(image, free, fail):
    done = subprocess.run(['fsck.exfat', '-n', image], capture_output=True, text=True, errors='replace')
    if done.returncode != 0 or 'clean' not in done.stdout:
        fail('fsck.exfat: ' + done.stdout[-2000:])
    done = subprocess.run(['dump.exfat', image], capture_output=True, text=True, errors='replace')
    theirs = int(re.search(r'Free Clusters:\s*(\d+)', done.stdout).group(1))
    if theirs != free:
        fail(f'dump.exfat counts {theirs} free clusters, dish {free}')


def check_kernel(image, model, fail):
    """The kernel of user-mode Linux mounts the volume and lists it."""
    if not shutil.which('linux.uml'):
        return
    # Its own /dev hides what lies below the host's, /dev/shm too.
    with tempfile.TemporaryDirectory(dir='/var/tmp') as work:
        read_by_kernel(image, work, fail)
        compare('kernel', model.manifest(), from_folder(os.path.join(work, 'kernel')), fail)


def read_by_kernel(image, work, fail):
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
    model = Model(random.Random(f'{name}-{seed}'))
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
        else:
            check_exfat(image, free, fail)
        tool = Tool(image, *flags)
    tool.close()
    # Booting a kernel takes longer than all the rest of a round.
    if LONG and name.startswith('fat') and seed % 10 == 0:
        check_kernel(image, model, fail)
    os.unlink(image)
    print(f'{name}: seed {seed}: {OPS} operations, {len(model.manifest())} files, {model.refused} refused', flush=True)


def main():
    with tempfile.TemporaryDirectory() as work:
        for mix, seed in rounds(MIXES, SHORT, SEEDS):
            run_round(mix, seed, work)


main()
