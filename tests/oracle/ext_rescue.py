#!/usr/bin/env python3
"""ext volumes whose primary superblock or descriptors are gone: read through the copies, restored by fsck, and
e2fsck agrees. What was given to something else since is left alone."""
import os
import shutil
import tempfile

from _dish import DISH, MiB, blank, content, expect, fail, finish, poke, run


def make(path, size, *options):
    blank(path, size)
    code, _, text = run("mke2fs", "-q", "-F", "-t", "ext4", "-N", "256", *options, path)
    if code:
        fail(f"mke2fs {options}: {text}")
    run("debugfs", "-w", "-f", "-", path, stdin=b"mkdir dir\nwrite /etc/passwd dir/file\n")


def zero(path, offset, n):
    poke(path, offset, bytes(n))


def rescued(path, name, *fsck_options, place=None):
    """The volume can be looked at but not changed, is found damaged, and is sound after the repair."""
    before = os.stat(path).st_mtime_ns
    code, out, err = run(DISH, "-r", path, "--", "cat", "/dir/file")
    if not fsck_options:
        expect(code == 0 and out == open("/etc/passwd").read(), f"{name}: reading: {code} {err}")
        code, _, err = run(DISH, path, "--", "rm", "/dir/file")
        expect(code == 1 and "fsck" in err, f"{name}: changing was not refused: {code} {err}")
    code, out, err = run(DISH, path, "--", "fsck", *fsck_options)
    expect(code == 4 and "damage: " in out, f"{name}: fsck: {code} {out}{err}")
    expect(not place or place in out, f"{name}: the place {place} is not named: {out[:300]}")
    expect(os.stat(path).st_mtime_ns == before, f"{name}: looking changed the image")
    code, out, err = run(DISH, path, "--", "fsck", "--repair", *fsck_options)
    expect(code == 0, f"{name}: fsck --repair: {code} {out}{err}")
    code, out, err = run("e2fsck", "-fn", path)
    expect(code == 0, f"{name}: e2fsck: {code} {out}{err}")
    code, out, err = run(DISH, path, "--", "cat", "/dir/file")
    expect(code == 0 and out == open("/etc/passwd").read() and not err, f"{name}: after: {code} {err}")


def every_block_size(path):
    for bits in range(10, 17):
        size, group = 1 << bits, min(8 << bits, 65528)
        make(path, (group + 4096) * size, "-b", str(size), "-O", "^has_journal,^resize_inode")
        zero(path, 1024, 1024)
        rescued(path, f"superblock, blocks of {size}", place=f"block {group + (size == 1024)} ")
    make(path, 160 * MiB, "-b", "1024", "-O", "bigalloc", "-C", "16384")
    zero(path, 1024, 1024)
    rescued(path, "superblock, clusters", place="block 131072 ")


def layouts(path):
    for features in ("^metadata_csum,^64bit,^flex_bg,^extent", "sparse_super2", "meta_bg,^resize_inode",
                     "uninit_bg,^metadata_csum", "metadata_csum_seed", "^sparse_super,^resize_inode"):
        for what in ("superblock", "descriptors", "both"):
            make(path, 40 * MiB, "-b", "1024", "-O", features)
            if what != "descriptors":
                zero(path, 1024, 1024)
            if what != "superblock":
                zero(path, 2048, 2048)
            rescued(path, f"{what}, {features}")


def damaged_fields(path):
    """One damaged field is enough, where the checksum or plain sense tells."""
    for name, offset, data in (("magic", 0x38, b"\0\0"), ("blocks", 4, b"\1\2\3\4"), ("feature", 0x63, b"\x40"),
                               ("inode size", 0x58, b"\7"), ("uuid", 0x68, b"\x5a\xa5")):
        make(path, 40 * MiB, "-b", "1024")
        poke(path, 1024 + offset, data)
        rescued(path, name)
    make(path, 40 * MiB, "-b", "1024", "-g", "4096")
    zero(path, 1024, 1024)
    code, _, err = run(DISH, path, "--", "ls", "/")
    expect(code == 1, f"odd groups: found without being told: {err}")
    code, _, err = run(DISH, path, "--", "fsck", "--superblock=4096")
    expect(code != 0 and "no copy" in err + _, f"a wrong block: {code} {err}")
    rescued(path, "odd groups", "--superblock=4097", place="block 4097")
    make(path, 40 * MiB, "-b", "1024", "-g", "4096")
    poke(path, 1024 + 4, b"\1\2\3\4")
    rescued(path, "odd groups that the damaged superblock tells", place="block 4097")


def given_away(path):
    """Remains do not stand in the way, and nothing but fsck of the volume itself brings them back."""
    make(path, 40 * MiB, "-b", "1024")
    poke(path, 1024 + 0x38, b"\0\0")
    code, out, _ = run(DISH, "--json", path, "--", "info")
    expect(code == 0 and '"ext4"' in out and "copy in block 8193" in out, f"info: {out}")
    code, out, err = run(DISH, path, "--", "check", "--repair=all")
    with open(path, "rb") as f:
        expect(code == 4 and f.read(2048)[1080:1082] == b"\0\0", f"check --repair=all brought remains back: {code}")
    shutil.copy(path, path + ".copy")
    code, _, err = run(DISH, path, "--", "mkfs", "vfat")
    expect(code == 0, f"mkfs over remains: {err}")
    code, out, _ = run(DISH, path, "--", "ls", "/")
    expect(code == 0 and out == "", f"the new filesystem: {out}")
    os.replace(path + ".copy", path)
    code, _, err = run(DISH, path, "--", "partition", "init", "gpt")
    expect(code == 0, f"partition init over remains: {err}")
    for offset, signature in ((0, b"LUKS\xba\xbe"), (0, b"XFSB"), (4086, b"SWAPSPACE2"),
                              (512, b"LABELONE" + bytes(16) + b"LVM2 001")):
        make(path, 40 * MiB, "-b", "1024")
        zero(path, 0, 2048)
        poke(path, offset, signature)
        code, out, err = run(DISH, path, "--", "fsck", "--repair")
        expect(code == 1 and "cannot open" in err, f"{signature}: {code} {out}{err}")
    make(path, 40 * MiB, "-b", "1024")
    zero(path, 0, 4 * MiB)  # the root directory is gone: it is for a person to say that this is an ext volume
    code, out, err = run(DISH, path, "--", "ls", "/")
    expect(code == 1 and "no filesystem" in err, f"without a root: {code} {err}")


def undo(path):
    """A repair is a change like others."""
    make(path, 40 * MiB, "-b", "1024")
    zero(path, 1024, 3072)
    script = b"fsck --repair\nrm /dir/file\nundo 2\n"
    before = content(path)
    code, out, err = run(DISH, path, stdin=script)
    expect(code == 0, f"undo: {code} {out}{err}")
    expect(content(path) == before, "undo: the image is not as it was")
    code, out, err = run(DISH, path, stdin=b"fsck --repair\nrm /dir/file\n")
    expect(code == 0 and run("e2fsck", "-fn", path)[0] == 0, f"a change after the repair: {err}")


def dirty_journal(path, top):
    """The log of an unclean volume is replayed, although no copy of the superblock says that it must be."""
    make(path, 64 * MiB, "-b", "1024")
    if os.geteuid() != 0:
        return
    mounted = top + "/m"
    os.makedirs(mounted, exist_ok=True)
    if run("mount", "-o", "loop", path, mounted)[0] != 0:
        return
    dirty = top + "/dirty.img"
    try:
        for i in range(20):
            with open(f"{mounted}/new{i}", "w") as f:
                f.write(f"{i}\n")
        run("sync", "-f", mounted)
        shutil.copy(path, dirty)
    finally:
        run("umount", mounted)
    zero(dirty, 1024, 1024)
    code, out, err = run(DISH, "-r", dirty, "--", "cat", "/new7")
    expect(code == 0 and out == "7\n", f"dirty journal: {code} {out}{err}")
    code, out, err = run(DISH, dirty, "--", "fsck", "--repair")
    expect(code == 0, f"dirty journal: fsck --repair: {code} {out}{err}")
    code, out, _ = run("e2fsck", "-fn", dirty)
    expect(code == 0, f"dirty journal: e2fsck: {out}")
    code, out, _ = run(DISH, dirty, "--", "cat", "/new19")
    expect(out == "19\n", f"dirty journal: a file is gone: {out}")


with tempfile.TemporaryDirectory() as top:
    image = top + "/a.img"
    every_block_size(image)
    layouts(image)
    damaged_fields(image)
    given_away(image)
    undo(image)
    dirty_journal(image, top)
finish()
