#!/usr/bin/env python3
"""fsck of ext volumes, judged by e2fsck: what e2fsck finds on damaged images dish finds too; what dish repairs,
e2fsck calls clean. The images are made here, small, and damaged with debugfs or by poking bytes."""
import os
import random
import re
import shutil
import struct
import sys
import tempfile

from _dish import DISH, LONG, blank, content, fail, finish, poke, run
from _ext import make_tree

os.environ.update(E2FSPROGS_FAKE_TIME="1600000000", MKE2FS_SKIP_PROGRESS="1")

BASES = {
    "ext4": ["-t", "ext4", "-b", "1024"],
    "ext4-4k": ["-t", "ext4", "-b", "4096"],
    "ext2": ["-t", "ext2", "-b", "1024"],
    "ext3": ["-t", "ext3", "-b", "1024"],
    "inline": ["-t", "ext4", "-b", "1024", "-O", "inline_data"],
    "bigalloc": ["-t", "ext4", "-b", "1024", "-O", "bigalloc"],
    "quota": ["-t", "ext4", "-b", "1024", "-O", "quota,project"],
    "uninit": ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg"],
    "mmp": ["-t", "ext4", "-b", "1024", "-O", "mmp,fast_commit"],
    "metabg": ["-t", "ext4", "-b", "1024", "-O", "^resize_inode,meta_bg,^flex_bg"],
}


class Image:
    def __init__(self, path):
        self.path = path

    def debugfs(self, *commands):
        run("debugfs", "-w", "-f", "-", self.path, stdin="\n".join(commands).encode() + b"\n")

    def ask(self, command):
        return run("debugfs", "-R", command, self.path)[1]

    def ino(self, path):
        return int(re.search(r"Inode: (\d+)", self.ask(f"stat {path}")).group(1))

    def blocks(self, path):
        return [int(b) for b in self.ask(f"blocks {path}").split()]

    def sb(self, name):
        text = run("dumpe2fs", "-h", self.path)[1]
        return re.search(rf"^{name}:\s+(\S+)", text, re.M).group(1)

    def block_size(self):
        return int(self.sb("Block size"))

    def poke(self, offset, data):
        poke(self.path, offset, data)

    def peek(self, offset, n):
        with open(self.path, "rb") as f:
            f.seek(offset)
            return f.read(n)

    def inode_off(self, ino):
        text = self.ask(f"imap <{ino}>")
        found = re.search(r"located at block (\d+), offset (0x[0-9a-f]+)", text)
        return int(found.group(1)) * self.block_size() + int(found.group(2), 16)

    def attribute(self, path, name):
        """The entry of an attribute inside the inode."""
        at = self.inode_off(self.ino(path))
        found = self.peek(at, 256).find(name, 0xA0)
        return at + found - 16 if found > 0 else None

    def has(self, feature):
        return feature in run("dumpe2fs", "-h", self.path)[1].split("features:")[1].split("\n")[0]


def damages():
    """Name and function for each fault; a function may decline (return False) where it does not apply."""
    def sif(path, field, value):
        return lambda i: i.debugfs(f"sif {path} {field} {value}")

    table = {
        "links-high": sif("/big", "links_count", 7),
        "links-zero-in-use": sif("/dir/small", "links_count", 0),
        "dir-links": sif("/dir", "links_count", 9),
        "size-small": sif("/big", "size", 1000),
        "size-dir": sif("/many", "size", 3),
        "blocks-wrong": sif("/big", "blocks", 2),
        "dtime": sif("/big", "dtime", 1234567),
        "mode-bad": sif("/dir/small", "mode", "0xffff"),
        "mode-zero": sif("/big", "mode", 0),
        "generation": sif("/dir", "generation", 77),
        "symlink-size": sif("/fast", "size", 3),
        "symlink-short": sif("/slow", "size", 2),
        "symlink-blocks": sif("/fast", "blocks", 8),
        "file-to-symlink": sif("/dir/small", "mode", "0xa1ff"),
        "fifo-size": sif("/fifo", "size", 3),
        "fifo-immutable": sif("/fifo", "flags", "0x10"),
        "extra-isize-least": lambda i: i.debugfs("ssv min_extra_isize 300"),
        "extra-isize-wanted": lambda i: i.debugfs("ssv want_extra_isize 301"),
        "csum-seed-alone": lambda i: i.debugfs("feature metadata_csum_seed") if not i.has("metadata_csum") else False,
        "orphan-present": lambda i: i.debugfs("feature orphan_present") if not i.has("orphan_file") else False,
        "orphan-inode": lambda i: i.poke(1024 + 0x280, struct.pack("<I", i.ino("/dir")))
        if not i.has("metadata_csum") and not i.has("orphan_file") else False,
        "recovery-alone": lambda i: i.debugfs("feature -has_journal", "feature needs_recovery"),
        "group-0-uninit": lambda i: i.debugfs("set_bg 0 flags 1", "set_bg 0 checksum calc")
        if i.has("metadata_csum") or i.has("uninit_bg") else False,
        "file-acl": sif("/big", "file_acl", 5),
        "file-acl-out": sif("/big", "file_acl", 99999999),
        "flags-index": sif("/big", "flags", "0x81000"),
        "index-linear": lambda i: i.debugfs("sif /dir flags 0x81000")
        if i.has("extent") and not i.has("inline_data") else False,
        "flags-none": sif("/big", "flags", 0),
        "clear-inode": lambda i: i.debugfs("clri /big"),
        "clear-dir": lambda i: i.debugfs("clri /dir"),
        "clear-root": lambda i: i.debugfs("clri <2>"),
        "clear-lost-found": lambda i: i.debugfs("clri /lost+found"),
        "clear-journal": lambda i: i.debugfs("clri <8>") if i.has("has_journal") else False,
        "clear-resize": lambda i: i.debugfs("clri <7>") if i.has("resize_inode") else False,
        "unlink-file": lambda i: i.debugfs("unlink /big"),
        "unlink-dir": lambda i: i.debugfs("unlink /dir/sub"),
        "unlink-empty": lambda i: i.debugfs("unlink /empty"),
        "unlink-lost-found": lambda i: i.debugfs("unlink /lost+found", "unlink /dir/sub"),
        "second-dir-name": lambda i: i.debugfs("ln /dir/sub /other"),
        "name-unused": lambda i: i.debugfs("ln <5000> /ghost"),
        "name-reserved": lambda i: i.debugfs("ln <8> /journal"),
        "block-free": lambda i: i.debugfs(f"freeb {i.blocks('/big')[3]} 4"),
        "block-leak": lambda i: i.debugfs("setb 30000 5" if i.block_size() == 1024 else "setb 7000 5"),
        "inode-free": lambda i: i.debugfs("freei /big"),
        "inode-leak": lambda i: i.debugfs("seti <3000>"),
        "sb-free-blocks": lambda i: i.debugfs("ssv free_blocks_count 5"),
        "sb-free-inodes": lambda i: i.debugfs("ssv free_inodes_count 5"),
        "group-free-blocks": lambda i: i.debugfs("set_bg 0 free_blocks_count 3", "set_bg 0 checksum calc"),
        "group-free-inodes": lambda i: i.debugfs("set_bg 0 free_inodes_count 3", "set_bg 0 checksum calc"),
        "group-dirs": lambda i: i.debugfs("set_bg 0 used_dirs_count 30", "set_bg 0 checksum calc"),
        "group-csum": lambda i: i.debugfs("set_bg 0 checksum 0x1234") if not i.has("ext2") else False,
        "sb-reserved": lambda i: i.debugfs("ssv r_blocks_count 99999999"),
        "orphan-list": lambda i: i.debugfs("ssv last_orphan 99999999"),
    }

    def cross(i):
        a = i.blocks("/big")
        b = i.ino("/sparse")
        if i.has("extent"):
            off = i.inode_off(b) + 0x28
            if i.has("bigalloc") or struct.unpack("<H", i.peek(off, 2))[0] != 0xF30A:
                return False
            depth = struct.unpack("<H", i.peek(off + 6, 2))[0]
            if depth:
                return False
            i.poke(off + 12 + 8, struct.pack("<I", a[2]))
        else:
            i.debugfs(f"sif /sparse block[0] {a[2]}")
        return None
    table["shared-block"] = cross

    def meta(i):
        if i.has("extent"):
            return False
        i.debugfs("sif /big block[1] 3")
    table["block-on-metadata"] = meta

    def far(i):
        if i.has("extent"):
            return False
        i.debugfs("sif /big block[2] 99999999", "sif /big block[IND] 77777777")
    table["block-outside"] = far

    def extent_bytes(at, data):
        def damage(i):
            if not i.has("extent"):
                return False
            off = i.inode_off(i.ino("/big")) + 0x28
            if struct.unpack("<H", i.peek(off, 2))[0] != 0xF30A:
                return False
            i.poke(off + at, data)
        return damage
    table["extent-magic"] = extent_bytes(0, b"\0\0")
    table["extent-entries"] = extent_bytes(2, b"\x09\0")
    table["extent-max"] = extent_bytes(4, b"\x50\0")
    table["extent-depth"] = extent_bytes(6, b"\x02\0")
    table["extent-start"] = extent_bytes(12 + 8, b"\xff\xff\xff\x7f")
    table["extent-zero"] = extent_bytes(12 + 4, b"\0\0")
    table["extent-on-meta"] = extent_bytes(12 + 8, b"\x03\0\0\0")

    def dir_block(path, at, data, which=0):
        def damage(i):
            if "inline_data" in i.ask(f"stat {path}") or "0x10000000" in i.ask(f"stat {path}"):
                return False
            block = int(i.ask(f"bmap {path} {which}") or 0)
            if block == 0:
                return False
            i.poke(block * i.block_size() + at, data)
        return damage
    table["dot-inode"] = dir_block("/dir/sub", 0, struct.pack("<I", 11))
    table["dot-name"] = dir_block("/dir/sub", 8, b"x")
    table["dotdot-inode"] = dir_block("/dir/sub", 12, struct.pack("<I", 2))
    table["dotdot-name"] = dir_block("/dir/sub", 20, b"xx")
    table["rec-len"] = dir_block("/dir", 24 + 4, struct.pack("<H", 7))
    table["rec-len-long"] = dir_block("/dir", 24 + 4, struct.pack("<H", 60000))
    table["name-slash"] = dir_block("/dir", 24 + 8, b"/")
    table["name-len"] = dir_block("/dir", 24 + 6, b"\xff")
    table["file-type"] = dir_block("/dir", 24 + 7, b"\x05")
    table["dir-zero"] = dir_block("/dir", 0, bytes(1024))
    table["dir-garbage"] = dir_block("/many", 100, bytes(range(200)), 2)
    table["htree-hash"] = dir_block("/many", 0x1C, b"\x09")
    table["htree-count"] = dir_block("/many", 0x22, b"\xff\x7f")
    table["htree-block"] = dir_block("/many", 0x24, b"\x77\x07")
    table["htree-order"] = dir_block("/many", 0x28, b"\xfe\xff\xff\xff")

    def bitmap(kind, at, data):
        def damage(i):
            text = run("dumpe2fs", i.path)[1]
            block = int(re.search(rf"{kind} bitmap at (\d+)", text).group(1))
            i.poke(block * i.block_size() + at, data)
        return damage
    table["bitmap-zero"] = bitmap("Block", 0, bytes(1024))
    table["bitmap-ones"] = bitmap("Block", 0, b"\xff" * 1024)
    table["inode-bitmap-zero"] = bitmap("Inode", 0, bytes(200))
    table["inode-bitmap-ones"] = bitmap("Inode", 100, b"\xff" * 50)
    table["bitmap-padding"] = bitmap("Inode", 1000, bytes(10))

    def inode_byte(path, at, data):
        return lambda i: i.poke(i.inode_off(i.ino(path)) + at, data)
    table["inode-csum"] = lambda i: i.poke(i.inode_off(i.ino("/big")) + 0x7C, b"\x12\x34") \
        if i.has("metadata_csum") else False
    table["inode-zero"] = inode_byte("/dir/small", 0, bytes(128))
    table["inode-ones"] = inode_byte("/dir/small", 0, b"\xff" * 128)
    table["extra-isize"] = lambda i: i.poke(i.inode_off(i.ino("/big")) + 0x80, b"\x03\x02")
    table["xattr-magic"] = lambda i: i.poke(i.inode_off(i.ino("/big")) + 0xA0,
                                            struct.pack("<I", 0xEA020000) + b"\x40\x01\xff\xff" + b"\x01" * 30)

    def attribute(name, at, data):
        def damage(i):
            entry = i.attribute("/big", name)
            return False if entry is None else i.poke(entry + at, data)
        return damage
    table["xattr-value"] = attribute(b"two", 2, b"\xff\xff")
    table["xattr-order"] = attribute(b"three", 8, b"\x90\0\0\0")

    def journal_super(i):
        if not i.has("has_journal"):
            return False
        i.poke(i.blocks("<8>")[0] * i.block_size(), bytes(12))
    table["journal-super"] = journal_super
    table["mmp-block"] = lambda i: i.debugfs("ssv mmp_block 99999999") if i.has("mmp") else False
    table["mmp-magic"] = lambda i: i.poke(int(i.sb("MMP block number")) * i.block_size(), b"none") \
        if i.has("mmp") else False

    def loop(i):
        i.debugfs("unlink /dir", f"ln <{i.ino('/dir')}> /dir/sub/up")
    table["dir-loop"] = loop

    def deleted_no_dtime(i):
        i.debugfs("rm /empty")
    table["removed"] = deleted_no_dtime

    def gdt(i):
        size = i.block_size()
        i.poke((2 if size == 1024 else 1) * size, b"\xff" * 24)
    table["descriptor"] = gdt

    def quota(i):
        if not i.has("quota"):
            return False
        i.debugfs("sif /big uid 1000")
    table["quota-owner"] = quota

    def quota_file(i):
        if not i.has("quota"):
            return False
        i.poke(i.blocks("<3>")[0] * i.block_size(), b"\0" * 100)
    table["quota-header"] = quota_file

    def reserved(i):
        size = i.block_size()
        if not i.has("resize_inode"):
            return False
        i.poke(int(re.search(r"Reserved GDT blocks at (\d+)", run("dumpe2fs", i.path)[1]).group(1)) * size,
               b"\x07" * 64)
    table["reserved-gdt"] = reserved
    return table


def kept(name, damage):
    """What a repair must not have taken away: None, or what is missing."""
    i = Image(name)
    if damage.startswith("htree-"):
        if not i.has("dir_index"):
            return None
        flags = int(re.search(r"Flags: (0x[0-9a-f]+)", i.ask("stat /many")).group(1), 16)
        files = run(DISH, "-r", name, "--", "ls", "/many")[1].split()
        return None if flags & 0x1000 and len(files) == 400 else f"the index or files of /many ({len(files)})"
    if damage in ("index-linear", "orphan-inode", "group-0-uninit", "fifo-size", "fifo-immutable", "recovery-alone"):
        small, linked = i.ask("cat /dir/small"), i.ask("cat /dir/sub/linked")
        whole = "small" in small and small == linked and "Type: FIFO" in i.ask("stat /fifo")
        return None if whole else "files of the tree"
    if damage in ("clear-journal", "journal-super"):
        if not i.has("has_journal"):
            return "the journal"
        size = re.search(r"Total journal blocks:\s+(\d+)", run("dumpe2fs", "-h", name)[1])
        return None if size and size.group(1) in ("1024", "4096", "4160") else f"the size of the journal: {size and size.group(1)}"
    if damage in ("mmp-block", "mmp-magic"):
        return None if i.has("mmp") and int(i.sb("MMP block number")) else "the MMP block"
    if damage in ("xattr-value", "xattr-order"):
        found = run(DISH, "-r", name, "--", "xattr", "/big")[1]
        lost = "two" if damage == "xattr-value" else "three"
        rest = [n for n in ("one", "two", "three") if n != lost and f"user.{n}" not in found]
        return f"attributes {rest}: {found}" if rest or f"user.{lost}" in found else None
    return None


def make_base(folder, name, options):
    path = f"{folder}/{name}.base"
    blank(path, 40 << 20)
    rc, _, err = run("mke2fs", "-q", "-F", "-U", "11111111-2222-3333-4444-555555555555", "-E",
                     "lazy_itable_init=0,hash_seed=00112233-4455-6677-8899-aabbccddeeff,root_owner=0:0", *options,
                     "-d", folder + "/tree", path)
    if rc:
        fail(f"{name}: mke2fs: {err}")
        return None
    if "ext2" not in options and "ext3" not in options:
        run(DISH, path, stdin=b"".join(b"xattr -n user.%s -v value /big\n" % name
                                          for name in (b"one", b"two", b"three")))
    run("e2fsck", "-fyD", path)  # indexes, and right quota
    if run("e2fsck", "-fn", path)[0]:
        fail(f"{name}: the base is not clean")
    return path


def judge(folder, base, name, label):
    """The image at `name` is damaged: dish must see it as e2fsck does, and repair it."""
    before = content(name)
    ours, out, err = run(DISH, "-r", name, "-c", "fsck")
    theirs, told, _ = run("e2fsck", "-fn", name)
    if content(name) != before:
        fail(f"{label}: looking changed the image")
    if ours not in (0, 3, 4) or "Sanitizer" in err or "runtime error" in err:
        fail(f"{label}: exit {ours}: {err.strip()[:1500]}")
        return
    noticed = theirs != 0 or re.search(r"wrong|IGNORED|invalid|orphan|Fix\?|Clear\?", told)
    if bool(noticed or label.endswith("/orphan-list")) != (ours != 0):
        fail(f"{label}: e2fsck says {theirs}, dish {ours}: {out.strip()[:300]} {err.strip()[:300]}\n    {told[:600]}")
    if ours == 3:
        return
    rc, out, err = run(DISH, name, "-c", "fsck --repair")
    if rc != 0:
        fail(f"{label}: repair exits {rc}: {out.strip()[-400:]} {err.strip()[:1500]}")
        return
    rc, told, _ = run("e2fsck", "-fn", name)
    if rc:
        fail(f"{label}: after the repair e2fsck says {rc}: {told[:900]}\n    dish: {out[:900]}")
    missing = kept(name, label.split("/")[1])
    if missing:
        fail(f"{label}: the repair took away {missing}")
    rc, out, err = run(DISH, "-r", name, "-c", "fsck")
    if rc:
        fail(f"{label}: after the repair dish still finds: {out[:600]} {err[:300]}")


def main():
    random.seed(7)
    only = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        make_tree(folder + "/tree", files=400, pieces=40)
        blank(folder + "/tree/empty", 0)
        for base_name, options in BASES.items():
            if only and base_name not in only and not any("/" in o and o.startswith(base_name + "/") for o in only):
                continue
            base = make_base(folder, base_name, options)
            if not base:
                continue
            rc, out, err = run(DISH, "-r", base, "-c", "fsck")
            if rc:
                fail(f"{base_name}: clean, but dish says {rc}: {out[:800]} {err[:800]}")
            table = damages()
            for number, (name, damage) in enumerate(table.items()):
                label = f"{base_name}/{name}"
                if only and base_name not in only and label not in only:
                    continue
                if not LONG and not only and base_name != "ext4" and (number + len(base_name)) % 3:
                    continue
                path = f"{folder}/work.img"
                shutil.copyfile(base, path)
                if damage(Image(path)) is False:
                    continue
                judge(folder, base, path, label)
            os.unlink(base)
    finish()


main()
