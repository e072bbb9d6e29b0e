#!/usr/bin/env python3
"""Random operations on ext volumes of many feature mixes, made by mke2fs, against a model in memory.

After each round: the driver's own view equals the model, e2fsck -fn finds nothing, and the kernel shows the same
tree, or debugfs does where the kernel cannot mount the volume. LONG=1 runs all mixes with more operations; SEED, MIX and OPS choose.
"""
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile

from _dish import LONG
from _fsop import Tool, compare, encode, from_folder, pattern, rounds, summary

OPS = int(os.environ.get('OPS', 3000 if LONG else 350))
SEEDS = int(os.environ.get('SEEDS', 3 if LONG else 1))

# name, size in KiB, options of mke2fs, a tune2fs command or None
MIXES = [
    ('ext2-1k', 12288, '-t ext2 -b 1024', None),
    ('ext2-4k', 24576, '-t ext2 -b 4096 -I 256', None),
    ('ext2-rev0', 12288, '-t ext2 -r 0 -b 1024', None),
    ('ext2-nofiletype', 12288, '-t ext2 -b 1024 -O ^filetype,^dir_index,^sparse_super,^resize_inode', None),
    ('ext2-hurd', 12288, '-t ext2 -b 4096 -o hurd -I 128', None),
    ('ext3-1k', 16384, '-t ext3 -b 1024 -J size=1', None),
    ('ext3-tea', 16384, '-t ext3 -b 2048 -J size=2', 'hash_alg=tea'),
    ('ext4', 32768, '-t ext4 -b 4096', None),
    ('ext4-1k', 16384, '-t ext4 -b 1024 -g 2048', None),
    ('ext4-nocsum', 16384, '-t ext4 -b 1024 -O ^metadata_csum,uninit_bg', 'hash_alg=legacy'),
    ('ext4-noextent', 24576, '-t ext4 -b 1024 -O ^extent,^flex_bg,^64bit', None),
    ('ext4-linear', 16384, '-t ext4 -b 1024 -O ^dir_index,^has_journal', None),
    ('ext4-inline', 16384, '-t ext4 -b 1024 -I 512 -O inline_data', None),
    ('ext4-inline-4k', 32768, '-t ext4 -b 4096 -I 256 -O inline_data,ea_inode', None),
    ('ext4-ea-inode', 16384, '-t ext4 -b 1024 -O ea_inode', None),
    ('ext4-bigalloc', 65536, '-t ext4 -b 4096 -O bigalloc -C 65536', None),
    ('ext4-bigalloc-1k', 32768, '-t ext4 -b 1024 -O bigalloc,inline_data -C 16384', None),
    ('ext4-meta-bg', 24576, '-t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode', None),
    ('ext4-super2', 16384, '-t ext4 -b 1024 -O sparse_super2,^resize_inode,large_dir', None),
    ('ext4-quota', 16384, '-t ext4 -b 1024 -O quota,project', None),
    ('ext4-quota-ea', 16384, '-t ext4 -b 1024 -O quota,project,ea_inode,inline_data', None),
    ('ext4-128', 16384, '-t ext4 -b 1024 -I 128 -O ^extra_isize,^huge_file,^dir_nlink', None),
    ('ext4-seed-mmp', 16384, '-t ext4 -b 2048 -O metadata_csum_seed,mmp,verity,encrypt', None),
    ('ext4-casefold', 16384, '-t ext4 -b 1024 -O casefold', None),
    ('ext4-orphan-file', 16384, '-t ext4 -b 1024 -O orphan_file,fast_commit,stable_inodes', None),
    ('ext4-64k', 262144, '-t ext4 -b 65536 -O bigalloc,inline_data -C 131072 -J size=64 -N 2048', None),
]
SHORT = ('ext2-1k', 'ext4', 'ext4-inline', 'ext4-bigalloc-1k', 'ext4-noextent', 'ext4-quota')


class Node:
    parent, name = None, b''  # of a directory

    def __init__(self, kind, mode):
        self.kind, self.mode = kind, mode
        self.uid = self.gid = 0
        self.links = 1
        self.mtime = (1600000000, 123456789)
        self.data = bytearray()
        self.target = b''
        self.dev = (0, 0)
        self.xattrs = {}
        self.children = {}


class Model:
    """The tree as it should be, and the random choice of what to do next."""

    def __init__(self, rng, narrow_times, max_xattr):
        self.rng, self.narrow, self.max_xattr = rng, narrow_times, max_xattr
        self.root = Node('d', 0o755)
        self.entries, self.places = [], {}  # every name, to choose from
        self.refused = 0

    def path_of(self, directory):
        names = []
        while directory.parent:
            names.append(directory.name)
            directory = directory.parent
        return b''.join(b'/' + name for name in reversed(names))

    def add(self, parent, name, node):
        parent.children[name] = node
        self.places[parent, name] = len(self.entries)
        self.entries.append((parent, name, node))
        if node.kind == 'd':
            node.parent, node.name = parent, name

    def take(self, parent, name):
        del parent.children[name]
        at, last = self.places.pop((parent, name)), self.entries.pop()
        if at < len(self.entries):
            self.entries[at] = last
            self.places[last[0], last[1]] = at

    def walk(self):
        return [(self.path_of(parent) + b'/' + name, node) for parent, name, node in self.entries]

    def pick(self, kinds=None):
        if not self.entries:
            return None
        for _ in range(50):
            parent, name, node = self.rng.choice(self.entries)
            if kinds is None or node.kind in kinds:
                return self.path_of(parent) + b'/' + name, node, parent, name
        return None

    def pick_dir(self):
        """The root from time to time, else any directory that is not too deep."""
        for _ in range(20):
            _, _, node = self.rng.choice(self.entries) if self.entries else (None, None, self.root)
            if node.kind == 'd':
                path = self.path_of(node)
                if path.count(b'/') <= 7:
                    return path, node
        return b'', self.root

    def new_name(self, parent):
        rng = self.rng
        while True:
            n = rng.choice([1, 3, 8, 8, 8, 12, 20, 60, 255])
            if rng.random() < 0.9:
                name = bytes(rng.choice(b'abcdefghijklmnopqrstuvwxyzABC0123456789._-') for _ in range(n))
            else:
                name = bytes(rng.choice([c for c in range(1, 256) if c not in b'/']) for _ in range(n))
            if name not in parent.children and name not in (b'.', b'..', b'lost+found'):
                return name

    def time(self):
        if self.narrow:
            return (self.rng.randrange(-2**31, 2**31), 0)
        return (self.rng.randrange(-2**31, 2**33), self.rng.randrange(10**9))

    # Each step returns the line for the tool, what to do with the model when it worked, and the nodes it rests on.
    def step_create(self):
        path, parent = self.pick_dir()
        name, node = self.new_name(parent), Node('f', 0o644)

        def done():
            self.add(parent, name, node)
        hint = self.rng.choice([0, 0, 100, 50000])
        return f'create {encode(path + b"/" + name)} 644 {hint}', done, (parent,)

    def step_mkdir(self):
        path, parent = self.pick_dir()
        name, node = self.new_name(parent), Node('d', 0o755)

        def done():
            self.add(parent, name, node)
        return f'mkdir {encode(path + b"/" + name)} 755', done, (parent,)

    def step_special(self):
        path, parent = self.pick_dir()
        name = self.new_name(parent)
        what = self.rng.choice(['chr', 'blk', 'fifo', 'sock', 'symlink', 'symlink'])
        node = Node({'chr': 'c', 'blk': 'b', 'fifo': 'p', 'sock': 's', 'symlink': 'l'}[what], 0o777)
        line = f'{what} {encode(path + b"/" + name)} 777'
        if what in ('chr', 'blk'):
            node.dev = self.rng.choice([(1, 3), (8, 255), (259, 70000), (4095, 1048575)])
            line += ' %d %d' % node.dev
        elif what == 'symlink':
            n = self.rng.choice([1, 10, 59, 60, 61, 150, 300, 1000])
            node.target = bytes(self.rng.choice(b'abcdef/.') for _ in range(n))
            line += ' ' + encode(node.target)

        def done():
            self.add(parent, name, node)
        return line, done, (parent,)

    def step_write(self):
        chosen = self.pick('f')
        if not chosen:
            return None
        path, node, _, _ = chosen
        rng = self.rng
        off = rng.choice([0, len(node.data), rng.randrange(0, 3000), rng.randrange(0, 300000)])
        n = rng.choice([1, 50, rng.randrange(1, 200), rng.randrange(1, 5000), rng.randrange(1, 60000)])
        seed = rng.randrange(256)

        def done():
            if len(node.data) < off + n:
                node.data.extend(bytes(off + n - len(node.data)))
            node.data[off:off + n] = pattern(seed, n)
        return f'write {encode(path)} {off} {n} {seed}', done, (node,)

    def step_truncate(self):
        chosen = self.pick('f')
        if not chosen:
            return None
        path, node, _, _ = chosen
        size = self.rng.choice([0, len(node.data) // 2, self.rng.randrange(0, 100000), 60, 61])

        def done():
            if size < len(node.data):
                del node.data[size:]
            else:
                node.data.extend(bytes(size - len(node.data)))
        return f'truncate {encode(path)} {size}', done, (node,)

    def step_allocate(self):
        chosen = self.pick('f')
        if not chosen:
            return None
        path, node, _, _ = chosen
        off, n = self.rng.randrange(0, 100000), self.rng.randrange(1, 60000)
        keep = self.rng.randrange(2)

        def done():
            if not keep and len(node.data) < off + n:
                node.data.extend(bytes(off + n - len(node.data)))
        return f'allocate {encode(path)} {off} {n} {keep}', done, (node,)

    def step_punch(self):
        chosen = self.pick('f')
        if not chosen:
            return None
        path, node, _, _ = chosen
        off, n = self.rng.randrange(0, max(len(node.data), 1)), self.rng.randrange(1, 60000)

        def done():
            end = min(off + n, len(node.data))
            if end > off:
                node.data[off:end] = bytes(end - off)
        return f'punch {encode(path)} {off} {n}', done, (node,)

    def step_remove(self):
        chosen = self.pick()
        if not chosen:
            return None
        path, node, parent, name = chosen
        if node.kind == 'd' and node.children:
            return f'rm {encode(path)}', 'not-empty', (node,)

        def done():
            self.take(parent, name)
            node.links -= 1
        return f'rm {encode(path)}', done, (node, parent)

    def step_link(self):
        chosen = self.pick('fcbsp')
        if not chosen:
            return None
        path, node, _, _ = chosen
        new_path, parent = self.pick_dir()
        name = self.new_name(parent)

        def done():
            self.add(parent, name, node)
            node.links += 1
        return f'ln {encode(path)} {encode(new_path + b"/" + name)}', done, (node, parent)

    def step_rename(self):
        chosen = self.pick()
        if not chosen:
            return None
        path, node, parent, name = chosen
        new_path, new_parent = self.pick_dir()
        if node.kind == 'd' and (new_path + b'/').startswith(path + b'/'):
            return None
        new_name = self.new_name(new_parent)

        def done():
            self.take(parent, name)
            self.add(new_parent, new_name, node)
        return f'mv {encode(path)} {encode(new_path + b"/" + new_name)}', done, (node, parent, new_parent)

    def step_attr(self):
        chosen = self.pick()
        if not chosen:
            return None
        path, node, _, _ = chosen
        mode, uid, gid = self.rng.randrange(0o10000), self.rng.choice([0, 1000, 70000]), self.rng.choice([0, 80000])
        mtime = self.time()

        def done():
            node.mode, node.uid, node.gid, node.mtime = mode, uid, gid, mtime
        return f'attr {encode(path)} mode={mode:o} uid={uid} gid={gid} mtime={mtime[0]}.{mtime[1]:09d}', done, (node,)

    def step_xattr(self):
        chosen = self.pick('fd')
        if not chosen:
            return None
        path, node, _, _ = chosen
        rng = self.rng
        name = b'system.'
        if node.xattrs and rng.random() < 0.4:
            name = rng.choice(sorted(node.xattrs))
            if rng.random() < 0.6:
                def gone():
                    del node.xattrs[name]
                return f'rmxattr {encode(path)} {encode(name)}', gone, (node,)
        if not node.xattrs or name.startswith(b'system.'):
            name = rng.choice([b'user.', b'trusted.', b'security.']) + b'n%d' % rng.randrange(30)
            if rng.random() < 0.1:
                name += b'x' * rng.randrange(100)
        n, seed = rng.choice([0, 1, 10, 40, 100, 300, 900, self.max_xattr]), rng.randrange(40)

        def done():
            node.xattrs[name] = pattern(seed, n)
        return f'xattr {encode(path)} {encode(name)} {n} {seed}', done, (node,)

    def step_acl(self):
        chosen = self.pick('f')
        if not chosen:
            return None
        path, node, _, _ = chosen
        uid = self.rng.randrange(1000, 1004)
        none = 'ffffffff'
        value = '02000000' + f'01000600{none}' + '02000400' + uid.to_bytes(4, 'little').hex() + f'04000400{none}' \
            + f'10000600{none}' + f'20000400{none}'

        def done():
            node.xattrs[b'system.posix_acl_access'] = bytes.fromhex(value)
        return f'xattrhex {encode(path)} system.posix_acl_access {value}', done, (node,)

    def step(self):
        weights = [('create', 14), ('mkdir', 6), ('special', 5), ('write', 22), ('truncate', 6), ('allocate', 4),
                   ('punch', 5), ('remove', 12), ('link', 4), ('rename', 6), ('attr', 5), ('xattr', 9), ('acl', 2)]
        while True:
            kind = self.rng.choices([w[0] for w in weights], [w[1] for w in weights])[0]
            made = getattr(self, 'step_' + kind)()
            if made:
                return made

    def row(self, most):
        """Steps of which none rests on what another changes: they can be sent before the first is answered."""
        steps, touched = [], set()
        while len(steps) < most:
            step = self.step()
            if not touched.isdisjoint(step[2]):
                return steps
            steps.append(step)
            touched.update(step[2])
            if step[0].startswith('mv ') and step[2][0].kind == 'd':
                return steps  # paths below it change
        return steps

    def manifest(self):
        lines = {}
        for path, node in self.walk():
            lines[encode(path)] = self.describe(node)
        return lines

    @staticmethod
    def describe(node):
        kind = {'d': stat.S_IFDIR, 'f': stat.S_IFREG, 'c': stat.S_IFCHR, 'b': stat.S_IFBLK, 'l': stat.S_IFLNK,
                's': stat.S_IFSOCK, 'p': stat.S_IFIFO}[node.kind]
        if node.kind == 'f':
            what = summary(node.data)
        elif node.kind == 'l':
            what = encode(node.target)
        else:
            what = '%d:%d' % node.dev
        links = 0 if node.kind == 'd' else node.links
        time = '' if node.kind == 'd' else '%d.%09d' % node.mtime
        xattrs = ' '.join(f'{encode(k)}={summary(v)}' for k, v in sorted(node.xattrs.items()))
        return f'{kind | node.mode:o} {links} {node.uid}:{node.gid} {what} {time} {xattrs}'.strip()


def from_tool(lines):
    seen = {}
    for line in lines:
        words = line.split(' ')
        if words[0] == '/' or words[0].startswith('/lost%2bfound') or words[0] == '/lost+found':
            continue
        if words[0].startswith('fault'):
            raise SystemExit('fault reported: ' + line)
        if stat.S_ISDIR(int(words[1], 8)):
            words[5] = ''
        seen[words[0]] = ' '.join(words[1:]).strip()
    return seen


def from_kernel(mount):
    seen = {}
    top = os.fsencode(mount)
    for folder, dirs, files in os.walk(top):
        for name in dirs + files:
            full = os.path.join(folder, name)
            path = full[len(top):]
            if path == b'/lost+found':
                continue
            st = os.lstat(full)
            xattrs = {}
            if stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode):
                for key in os.listxattr(full, follow_symlinks=False):
                    xattrs[os.fsencode(key)] = os.getxattr(full, key, follow_symlinks=False)
            if stat.S_ISREG(st.st_mode):
                with open(full, 'rb') as stream:
                    what = summary(stream.read())
            elif stat.S_ISLNK(st.st_mode):
                what = encode(os.readlink(full))
            else:
                what = f'{os.major(st.st_rdev)}:{os.minor(st.st_rdev)}'
            is_dir = stat.S_ISDIR(st.st_mode)
            time = '' if is_dir else '%d.%09d' % (st.st_mtime_ns // 10**9, st.st_mtime_ns % 10**9)
            texts = ' '.join(f'{encode(k)}={summary(v)}' for k, v in sorted(xattrs.items()))
            links = 0 if is_dir else st.st_nlink
            seen[encode(path)] = f'{st.st_mode:o} {links} {st.st_uid}:{st.st_gid} {what} {time} {texts}'.strip()
    return seen


def can_mount():
    return os.geteuid() == 0 and subprocess.run(['losetup', '-f'], capture_output=True).returncode == 0


def check_kernel(image, work, model, fail):
    mount = os.path.join(work, 'mnt')
    os.makedirs(mount, exist_ok=True)
    done = subprocess.run(['mount', '-o', 'loop,ro', image, mount], capture_output=True, text=True)
    if done.returncode != 0:
        return False  # this kernel does not mount the mix (64 KiB blocks, casefold)
    try:
        compare('kernel', model.manifest(), from_kernel(mount), fail)
    finally:
        subprocess.run(['umount', mount], check=True)
    return True


def check_debugfs(image, work, model, fail):
    """The contents of what debugfs copies out: folders, files and symbolic links."""
    out = os.path.join(work, 'dump')
    os.makedirs(out)
    subprocess.run(['debugfs', '-R', f'rdump / {out}', image], capture_output=True, check=True)
    seen = from_folder(out)
    seen.pop('/lost+found', None)
    expected = {}
    for path, node in model.walk():
        path = os.fsdecode(path)
        if node.kind == 'd':
            expected[path] = 'd'
        elif node.kind == 'l':
            expected[path] = encode(node.target)
        elif node.kind == 'f':
            expected[path] = summary(node.data)
            # libext2fs reads inline data to the end of its room in the inode.
            if seen.get(path) == summary(node.data.ljust(60, b'\0')):
                seen[path] = expected[path]
    compare('debugfs', expected, seen, fail)
    shutil.rmtree(out)


def apply(line, done, answer, model, fail):
    """What the tool answered to a step, for the model."""
    if answer == 'ok':
        if done == 'not-empty':
            fail('a full directory was removed: ' + line)
        done()
    elif done == 'not-empty' and answer.startswith('err not-empty'):
        pass
    elif answer.startswith(('err no-space', 'err too-big')) or \
            (answer.startswith('err unsupported') and line.startswith('allocate')):
        model.refused += 1
    else:
        fail(f'{line[:200]}: {answer}')


def run_round(mix, seed, work):
    name, size, options, tune = mix
    image = os.path.join(work, name + '.img')
    rng = random.Random(f'{name}-{seed}')
    subprocess.run(['mke2fs', '-q', '-F', *options.split(), image, str(size) + 'k'], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if tune:
        subprocess.run(['tune2fs', '-E', tune, image], check=True, stdout=subprocess.DEVNULL)
    header = subprocess.run(['dumpe2fs', '-h', image], capture_output=True, text=True).stdout
    narrow = not any(line.split() == ['Inode', 'size:', '256'] or line.split() == ['Inode', 'size:', '512']
                     for line in header.splitlines())
    model = Model(rng, narrow, 20000 if 'ea_inode' in options else 1500)
    tool = Tool(image, *(['-k'] if seed % 3 == 2 else []))

    def fail(text):
        with open(os.path.join(tempfile.gettempdir(), f'ext_random-{name}-{seed}.log'), 'w') as out:
            out.write('\n'.join(tool.log))
        raise SystemExit(f'{name}, seed {seed}: {text}')

    rounds = 3
    for part in range(rounds):
        left = OPS // rounds
        while left > 0:
            steps = model.row(min(left, 50))
            left -= len(steps)
            tool.send([line for line, _, _ in steps])
            for line, done, _ in steps:
                apply(line, done, tool.answer()[0], model, fail)
        answer, lines = tool.run('tree /')
        compare('driver', adjust(model.manifest(), narrow), from_tool(lines), fail)
        tool.close()
        check = subprocess.run(['e2fsck', '-fn', image], capture_output=True, text=True)
        if check.returncode != 0:
            fail('e2fsck: ' + check.stdout[-3000:] + check.stderr[-300:])
        if narrow:
            for _, node in model.walk():
                node.mtime = (node.mtime[0], 0)
        if not can_mount() or not check_kernel(image, work, model, fail):
            check_debugfs(image, work, model, fail)
        tool = Tool(image, *(['-k'] if seed % 3 == 2 else []))
    tool.close()
    os.unlink(image)
    print(f'{name}: seed {seed}: {OPS} operations, {len(model.walk())} files, {model.refused} refused')


def adjust(lines, narrow):
    if not narrow:
        return lines
    out = {}
    for path, text in lines.items():
        words = text.split(' ')
        words = [w[:-9] + '000000000' if i == 4 and '.' in w else w for i, w in enumerate(words)]
        out[path] = ' '.join(words)
    return out


def main():
    with tempfile.TemporaryDirectory() as work:
        for mix, seed in rounds(MIXES, SHORT, SEEDS):
            run_round(mix, seed, work)
            sys.stdout.flush()


if __name__ == '__main__':
    main()
