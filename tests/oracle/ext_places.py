#!/usr/bin/env python3
"""Bitmaps and inode tables of ext volumes that lie outside, on other metadata or on files: fsck --repair gives them
other places or takes the right ones from copies, e2fsck agrees, and sound files keep their contents."""
import os
import random
import re
import shutil
import tempfile

from _dish import DISH, LONG, MiB, blank, content, fail, finish, poke, run

BASES = {
    "ext2": ["-t", "ext2", "-b", "1024"],
    "ext3": ["-t", "ext3", "-b", "1024", "-J", "size=1"],
    "ext4": ["-t", "ext4", "-b", "1024", "-J", "size=1", "-G", "2"],
    "far": ["-t", "ext4", "-b", "1024", "-J", "size=1", "-O", "^flex_bg,^resize_inode,meta_bg"],
    "uninit": ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg,^has_journal,^flex_bg"],
    "clusters": ["-t", "ext4", "-b", "1024", "-O", "bigalloc,^has_journal", "-C", "2048"],
    "clusters-plain": ["-t", "ext4", "-b", "1024", "-O", "bigalloc,^has_journal,^metadata_csum,^flex_bg",
                       "-C", "2048"],
}


class Image:
    """A volume of several groups with files in all of them, and where its metadata lies."""

    def __init__(self, path, options, tree):
        self.path = path
        blank(path, (40 if "-C" in options else 24) * MiB)
        code, _, text = run("mke2fs", "-q", "-F", "-N", "600", *options, path)
        if code:
            fail(f"mke2fs {options}: {text}")
        run(DISH, path, "--", "put", "-r", tree, "/tree")
        code, text, _ = run("e2fsck", "-fn", path)
        if code:
            fail(f"{options}: the base is not sound: {text}")
        self.base = content(path)
        text = run("dumpe2fs", path)[1]
        self.block = int(re.search(r"Block size:\s+(\d+)", text).group(1))
        self.blocks = int(re.search(r"Block count:\s+(\d+)", text).group(1))
        self.per_group = int(re.search(r"Inodes per group:\s+(\d+)", text).group(1))
        self.table_blocks = int(re.search(r"Inode blocks per group:\s+(\d+)", text).group(1))
        self.groups, self.copies = [], []
        # One block holds the descriptors of all groups; the first place of it is that of the primary one.
        for part in re.split(r"^Group \d+:", text, flags=re.M)[1:]:
            group = {name: int(re.search(rf"{name.replace('_', ' ')} at (\d+)", part, re.I).group(1))
                     for name in ("block_bitmap", "inode_bitmap", "inode_table")}
            copy = re.search(r"Group descriptors? at (\d+)", part)
            if copy:
                self.copies.append(int(copy.group(1)))
            self.groups.append(group)
        self.descs = self.copies.pop(0)

    def reset(self):
        with open(self.path, "wb") as f:
            f.write(self.base)

    def debugfs(self, *commands):
        run("debugfs", "-w", "-f", "-", self.path, stdin="\n".join(commands).encode() + b"\n")

    def file_blocks(self, path):
        """Data blocks and blocks of the map."""
        text = re.split("BLOCKS:|EXTENTS:", self.stat(path))[1]
        data, nodes = [], []
        for name, first, last in re.findall(r"\(([^)]*)\):(\d+)(?:-(\d+))?", text):
            blocks = range(int(first), int(last or first) + 1)
            (nodes if re.search("ETB|IND", name) else data).extend(blocks)
        return data, nodes

    def stat(self, path):
        return run("debugfs", "-R", f"stat {path}", self.path)[1]

    def set_place(self, group, what, place, keep_copies):
        """The descriptor says `place`; its copies too, unless they are kept."""
        self.debugfs(f"set_bg {group} {what} {place}", f"set_bg {group} checksum calc")
        of = lambda image, block: image[block * self.block:(block + 1) * self.block]
        now = of(content(self.path), self.descs)
        for copy in self.copies:
            poke(self.path, copy * self.block, of(self.base, copy) if keep_copies else now)


def make_tree(top):
    rng = random.Random(5)
    for d in range(8):
        os.makedirs(f"{top}/d{d}")
        for i in range(12):
            with open(f"{top}/d{d}/f{i}", "wb") as f:
                f.write(rng.randbytes(rng.randrange(1, 30000)))
    with open(f"{top}/big", "wb") as f:
        f.write(rng.randbytes(700000))
    with open(f"{top}/pieces", "wb") as f:
        for i in range(60):
            f.seek(i * 40960)
            f.write(rng.randbytes(4096))


def contents(image, top, tree):
    """Paths of the tree whose contents are as they were."""
    out = top + "/out"
    shutil.rmtree(out, ignore_errors=True)
    if os.path.exists(out):
        os.unlink(out)
    run(DISH, "-r", image.path, "--", "get", "-r", "/tree", out)
    same = set()
    for folder, _, names in os.walk(tree):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), tree)
            try:
                if content(f"{out}/{path}") == content(f"{tree}/{path}"):
                    same.add(path)
            except OSError:
                pass
    return same


def may_be_lost(image, group, tree):
    """Files whose inode, or that of their directory, lies in the group: where nothing tells that what is said to
    be its table is none."""
    lost = set()
    own = lambda ino: (ino - 1) // image.per_group == group
    for folder, _, names in os.walk(tree):
        inside = os.path.relpath(folder, tree)
        for name in names:
            path = os.path.normpath(f"{inside}/{name}")
            inodes = [image.inodes["/tree/" + path], image.inodes["/tree/" + inside if inside != "." else "/tree"]]
            if any(own(ino) for ino in inodes):
                lost.add(path)
    return lost


def learn_inodes(image, tree):
    image.inodes = {}
    names = ["/tree"] + ["/tree/" + os.path.relpath(os.path.join(f, n), tree) for f, d, files in os.walk(tree)
                         for n in d + files]
    text = run("debugfs", "-f", "-", image.path, stdin="".join(f"stat {n}\n" for n in names).encode())[1]
    for name, ino in zip(names, re.findall(r"Inode: (\d+)", text)):
        image.inodes[name] = int(ino)


def judge(image, label, top, tree, lost=frozenset()):
    code, out, err = run(DISH, "-r", image.path, "--", "fsck")
    if code != 4 or " group " not in out:
        fail(f"{label}: fsck: {code} {out[:300]}{err[:300]}")
    code, out, err = run(DISH, image.path, "--", "fsck", "--repair")
    if code:
        fail(f"{label}: fsck --repair: {code} {out[:300]}{err[:300]}")
        return
    code, text, _ = run("e2fsck", "-fn", image.path)
    if code:
        fail(f"{label}: e2fsck afterwards: {code} {text[:600]}\n   {out[:500]}")
    everything = {os.path.relpath(os.path.join(f, n), tree) for f, _, names in os.walk(tree) for n in names}
    gone = everything - contents(image, top, tree) - lost
    if gone:
        fail(f"{label}: {len(gone)} files changed: {sorted(gone)[:5]}\n   {out[:500]}")


def cases(image):
    """Label, group, part and place: what a descriptor says."""
    data, nodes = image.file_blocks("/tree/pieces")
    big, _ = image.file_blocks("/tree/big")
    first, last = image.groups[0], len(image.groups) - 1
    journal = image.file_blocks("<8>")[0] if "Type: regular" in image.stat("<8>") else []
    for part in ("block_bitmap", "inode_bitmap"):
        yield f"{part} outside", 1, part, image.blocks + 5
        yield f"{part} on the superblock", 0, part, 1
        yield f"{part} on descriptors", 0, part, 2
        yield f"{part} on its table", 1, part, image.groups[1]["inode_table"] + 2
        yield f"{part} on another bitmap", last, part, image.groups[last]["inode_bitmap"]
        yield f"{part} on a file", 0, part, big[3]
        yield f"{part} on an extent node", 0, part, nodes[0]
        if journal:
            yield f"{part} on the journal", 0, part, journal[9]
    yield "table outside", 1, "inode_table", image.blocks + 5
    yield "table in another group", 1, "inode_table", first["inode_table"]
    yield "table over another's end", 1, "inode_table", first["inode_table"] + image.table_blocks - 1
    yield "table on descriptors", 1, "inode_table", 2
    yield "table on a file", 1, "inode_table", big[100]
    if journal:
        yield "table on the journal", 1, "inode_table", journal[9]


def every_place(top, tree):
    for name, options in BASES.items():
        image = Image(top + "/a.img", options, tree)
        learn_inodes(image, tree)
        for number, (label, group, part, place) in enumerate(cases(image)):
            if image.groups[group][part] == place or (not LONG and (number + len(name)) % 3):
                continue
            loses = may_be_lost(image, group, tree) if label == "table on a file" else frozenset()
            for keep in (True, False) if image.copies else (False,):
                image.reset()
                image.set_place(group, part, place, keep)
                text = f"{name}: {label}" + (", copies sound" if keep else "")
                judge(image, text, top, tree, frozenset() if keep else loses)


def not_in_its_group(top, tree):
    """Tables and bitmaps that lie in the first group of several, on a volume that no longer has flex_bg."""
    image = Image(top + "/a.img", BASES["ext4"], tree)
    image.debugfs("feature -flex_bg")
    judge(image, "without flex_bg", top, tree)


def no_room(top):
    """What cannot be moved is said, and nothing is changed."""
    os.mkdir(top + "/one")
    for name in ("ext2", "ext4"):
        image = Image(top + "/a.img", BASES[name] + ["-m", "0"], top + "/one")
        for size in (1 << 20, 1 << 14, 1 << 10):
            with open(top + "/filler", "wb") as f:
                f.write(b"x" * size)
            for i in range(100):
                code, _, err = run(DISH, image.path, "--", "put", top + "/filler", f"/fill-{size}-{i}")
                if code:
                    break
            if "no free block" not in err:
                fail(f"filling: {err}")
        # A bitmap lies in the middle of what was the table, the only space that is not in use.
        old = image.groups[1]["inode_table"]
        image.set_place(1, "inode_table", image.blocks + 7, False)
        image.set_place(1, "block_bitmap", old + image.table_blocks // 2, False)
        before = content(image.path)
        code, out, err = run(DISH, image.path, "--", "fsck", "--repair")
        if code == 0 or "inode table of group 1 cannot be moved" not in err:
            fail(f"{name}: no room: {code} {out[:300]}{err[:300]}")
        if content(image.path) != before:
            fail(f"{name}: no room: the image has changed")


top = tempfile.mkdtemp()
try:
    make_tree(top + "/tree")
    every_place(top, top + "/tree")
    not_in_its_group(top, top + "/tree")
    no_room(top)
finally:
    shutil.rmtree(top)
finish()
