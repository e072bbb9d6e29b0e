#!/usr/bin/env python3
"""Random damage in the metadata of small ext volumes: dish finds something wrong exactly when e2fsck does, and what
dish repairs e2fsck calls sound. ext_corpus.py [FIRST [COUNT [BASE]]] runs the seeds from FIRST on."""
import os
import random
import re
import shutil
import struct
import sys
import tempfile

from _dish import DISH, LONG, MiB, blank, fail, finish, run
from _ext import make_tree

KEEP = os.environ.get("KEEP")  # a directory for the images of failures
os.environ.update(E2FSPROGS_FAKE_TIME="1600000000", MKE2FS_SKIP_PROGRESS="1")

BASES = {
    "ext2": ["-t", "ext2", "-b", "1024"],
    "ext3": ["-t", "ext3", "-b", "1024", "-J", "size=1"],
    "ext4": ["-t", "ext4", "-b", "1024", "-J", "size=1"],
    "ext4-plain": ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^has_journal,ea_inode"],
    "ext4-4k": ["-t", "ext4", "-b", "4096", "-O", "^metadata_csum", "-J", "size=4"],
    "inline": ["-t", "ext4", "-b", "1024", "-O", "inline_data,^metadata_csum,^has_journal"],
    "bigalloc": ["-t", "ext4", "-b", "1024", "-O", "bigalloc,^metadata_csum,^has_journal", "-C", "4096"],
    "uninit": ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg,^has_journal", "-g", "2048"],
    "quota": ["-t", "ext4", "-b", "1024", "-O", "quota,project,^has_journal", "-I", "256"],
    "orphans": ["-t", "ext4", "-b", "1024", "-O", "orphan_file,mmp,^metadata_csum", "-J", "size=1"],
}


# Seeds that stay because of what they have shown once.
KEPT = {"uninit": (274,), "ext4-4k": (9024,)}  # hidden_in_bitmap(); data on a block of attributes


def make_base(name, path, tree):
    blank(path, 6 * MiB)
    code, _, text = run("mke2fs", "-q", "-F", "-N", "400", "-E", "lazy_itable_init=1",
                        "-U", "6a3c1f2e-0000-4000-8000-000000000002", "-d", tree, *BASES[name], path)
    attributes = f"xattr -n user.one -v 1 /big\nxattr -n user.two -v 2 /dir\nxattr -n user.long -v {'v' * 300} /big\n"
    if name == "ext4-plain":
        attributes += f"xattr -n user.huge -v {'w' * 3000} /sparse\n"
    if run(DISH, path, stdin=attributes.encode())[0]:
        fail(f"{name}: setting attributes")
    run("e2fsck", "-fyD", path)
    code, text, _ = run("e2fsck", "-fn", path)
    if code:
        fail(f"{name}: the base is not sound: {text}")


class Volume:
    """Where the metadata of a sound volume lies."""

    def __init__(self, path):
        self.data = open(path, "rb").read()
        u32 = lambda at: struct.unpack_from("<I", self.data, at)[0]
        u16 = lambda at: struct.unpack_from("<H", self.data, at)[0]
        self.block = 1024 << u32(1024 + 24)
        self.blocks = u32(1024 + 4)
        self.inode_size = u16(1024 + 88)
        per_group = u32(1024 + 40)
        first, group_blocks = u32(1024 + 20), u32(1024 + 32)
        groups = -(-(self.blocks - first) // group_blocks)
        incompat = u32(1024 + 96)
        width = u16(1024 + 254) if incompat & 0x80 else 32
        at = (first + 1) * self.block if self.block > 1024 else 2048
        self.areas = {"super": [(1024, 1024)], "desc": [], "bitmap": [], "inode": [], "block": []}
        used = []
        for group in range(groups):
            desc = at + group * width
            self.areas["desc"].append((desc, width))
            for i in (0, 4):
                self.areas["bitmap"].append((u32(desc + i) * self.block, min(self.block, 64)))
            for i in range(per_group):
                off = u32(desc + 8) * self.block + i * self.inode_size
                mode, links = u16(off), u16(off + 26)
                number = group * per_group + i + 1
                if links and (number > 10 or number == 2 or number in (3, 4, 7, 8)):
                    self.areas["inode"].append((off, self.inode_size))
                    used.append((off, mode, number))
        for off, mode, number in used:
            self.add_blocks(off, mode, number, u32, u16)

    def add_blocks(self, off, mode, number, u32, u16):
        directory = mode & 0xF000 == 0x4000
        own = self.areas["block"]
        acl = u32(off + 104)
        if acl:
            own.append((acl * self.block, self.block))
        flags, i_block = u32(off + 32), off + 40
        if flags & 0x10000000 or mode & 0xF000 not in (0x4000, 0x8000):
            return
        if flags & 0x80000:
            self.add_extents(i_block, directory or number < 11, u32, u16, 0)
        elif directory or number in (7, 8):
            own.extend((u32(i_block + 4 * i) * self.block, self.block) for i in range(12) if u32(i_block + 4 * i))
        if not flags & 0x80000 and u32(i_block + 48):
            own.append((u32(i_block + 48) * self.block, self.block))

    def add_extents(self, node, data, u32, u16, level):
        for i in range(u16(node + 2)):
            entry = node + 12 + 12 * i
            if u16(node + 6):
                child = u32(entry + 4) * self.block
                self.areas["block"].append((child, self.block))
                self.add_extents(child, data, u32, u16, level + 1)
            elif data:
                for b in range(min(u16(entry + 4), 40)):
                    self.areas["block"].append(((u32(entry + 8) + b) * self.block, self.block))


def damage(volume, rng):
    """A few changed bytes; the text says which."""
    data, told = bytearray(volume.data), []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.choice(("super", "desc", "bitmap", "inode", "inode", "inode", "block", "block", "block"))
        off, length = rng.choice(volume.areas[kind])
        if kind == "super":
            length = rng.choice((64, 256, 1024))
        elif kind == "inode":
            length = rng.choice((128, 128, volume.inode_size))
        elif kind == "block":
            length = rng.choice((32, 64, 256, length))
        width = rng.choice((1, 2, 4))
        at = off + rng.randrange(length // width) * width
        old = bytes(data[at:at + width])
        new = rng.choice((
            bytes(width), b"\xff" * width, rng.randbytes(width),
            bytes([old[0] ^ 1 << rng.randrange(8)]) + old[1:],
            rng.randrange(1, 256 if width == 1 else min(volume.blocks, 60000)).to_bytes(width, "little"),
            ((int.from_bytes(old, "little") + rng.choice((-1, 1))) % (1 << 8 * width)).to_bytes(width, "little")))
        data[at:at + width] = new
        told.append(f"{kind} {off:#x}+{at - off:#x}: {old.hex()} -> {new.hex()}")
    return bytes(data), "; ".join(told)


def first_findings(text, n=3):
    return " | ".join(line.strip()[:130] for line in text.splitlines()[:n])


def e2fsck_words(text):
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("Pass ", "e2fsck "))]
    return " | ".join(line.strip()[:120] for line in lines[:5])


# What e2fsck passes over, but the kernel does not.
STRICTER = re.compile(r"header is none of version|eh_depth is|list of orphans leads|flag of an attribute value|inode \d+: its size is \d+, not 60")


def only_stricter(text):
    damage = [line for line in text.splitlines() if ": damage: " in line]
    return bool(damage) and bool(STRICTER.search(damage[0]))


def hidden_in_bitmap(path, text):
    """Bits that the bitmap lacks, but that e2fsck's library sets in what it reads: those of the bitmaps and tables
    of groups that have no block bitmap yet (BLOCK_UNINIT), although they lie in a group that has one (flex_bg). So
    e2fsck never sees them missing. The kernel does: it calls such a volume corrupt once it looks for space there."""
    damage = [line for line in text.splitlines() if ": damage: " in line]
    own = set()
    for part in re.split(r"^Group \d+:", run("dumpe2fs", path)[1], flags=re.M)[1:]:
        if "BLOCK_UNINIT" in part.splitlines()[0]:
            places = re.findall(r"(?:bitmap|table) at (\d+)(?:-(\d+))?", part)
            own |= {b for first, last in places for b in range(int(first), int(last or first) + 1)}
    missing = [re.search(r"(\d+) blocks in use are free in the bitmap, first (\d+)-(\d+)", line) for line in damage]
    return bool(missing) and all(
        m and int(m.group(1)) == int(m.group(3)) - int(m.group(2)) + 1 and
        set(range(int(m.group(2)), int(m.group(3)) + 1)) <= own for m in missing)


def one(name, volume, seed, path):
    rng = random.Random(f"{name}-{seed}")
    data, told = damage(volume, rng)
    if data == volume.data:
        return
    with open(path, "wb") as f:
        f.write(data)
    shutil.copy(path, path + ".judge")
    label = f"{name} {seed}: {told}"
    bad = fail.count
    judge, judge_text, _ = run("e2fsck", "-fn", path + ".judge")
    code, out, err = run(DISH, path, "--", "fsck")
    # Some faults that it leaves alone do not change its status; clocks are nobody's damage.
    sound = judge == 0 and "? no" not in re.sub(r"is in the future\.\s+Fix\? no|Optimize\? no", "", judge_text)
    if judge & 8:
        # Not opened, or given up: dish may do better, but must not call it sound and must not crash.
        if code not in (1, 3, 4):
            fail(f"{label}\n     e2fsck gives up ({e2fsck_words(judge_text)}), dish says {code}: {first_findings(out + err)}")
        return
    if sound and only_stricter(out):
        return
    if sound and hidden_in_bitmap(path, out):
        sound = False
    if sound != (code == 0) or code not in (0, 4):
        fail(f"{label}\n     e2fsck {judge}: {e2fsck_words(judge_text)}\n     dish {code}: {first_findings(out + err)}")
    code, out, err = run(DISH, path, "--", "fsck", "--repair")
    if code != 0:
        mended = run("e2fsck", "-fy", path + ".judge")[0]
        if run("e2fsck", "-fn", path + ".judge")[0] == 0:
            fail(f"{label}\n     e2fsck -fy mends it ({mended}), dish does not: {code} {first_findings(err)}")
    else:
        judge, judge_text, _ = run("e2fsck", "-fn", path)
        if judge:
            fail(f"{label}\n     after the repair e2fsck {judge}: {e2fsck_words(judge_text)}")
    if fail.count > bad and KEEP:
        with open(f"{KEEP}/{name}-{seed}.img", "wb") as f:
            f.write(data)


def main():
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    count = int(sys.argv[2]) if len(sys.argv) > 2 else (60 if LONG else 6)
    names = sys.argv[3:] or list(BASES)
    with tempfile.TemporaryDirectory() as top:
        make_tree(top + "/tree", files=250, pieces=30)
        for name in names:
            make_base(name, top + "/base.img", top + "/tree")
            volume = Volume(top + "/base.img")
            for seed in [*range(first, first + count), *KEPT.get(name, ())]:
                one(name, volume, seed, top + "/a.img")
    finish()


main()
