#!/usr/bin/env python3
"""resizefs, tune, label and uuid of ext volumes: e2fsck finds nothing afterwards, and the files are what they were."""
import hashlib
import os
import random
import shutil
import sys
import tempfile

from _dish import DISH, LONG, MiB, blank, content, fail, finish, run


def make_tree(top, count):
    rng = random.Random(3)
    for d in range(20):
        os.makedirs(f"{top}/dir{d}/sub")
        for i in range(count):
            with open(f"{top}/dir{d}/file{i}", "wb") as f:
                f.write(rng.randbytes(rng.randrange(1, 9000)))
    with open(top + "/big", "wb") as f:
        for _ in range(20):
            f.write(rng.randbytes(100000))
    with open(top + "/sparse", "wb") as f:
        for i in range(100):
            f.seek(i * 30000)
            f.write(b"x" * 2000)
    os.symlink("long/" * 40, top + "/slow")
    os.symlink("fast", top + "/fast")
    os.link(top + "/big", top + "/dir3/sub/linked")


def tree_of(image, folder):
    """Name and contents of everything, read by debugfs."""
    out = folder + "/out"
    shutil.rmtree(out, ignore_errors=True)
    os.mkdir(out)
    run("debugfs", "-R", f"rdump / {out}", image)
    digest = hashlib.sha256()
    for top, dirs, files in sorted(os.walk(out)):
        dirs.sort()
        for name in sorted(files):
            path = os.path.join(top, name)
            digest.update(os.path.relpath(path, out).encode())
            digest.update(os.readlink(path).encode() if os.path.islink(path) else content(path))
    shutil.rmtree(out, ignore_errors=True)
    return digest.hexdigest()


def judge(label, image, folder, before):
    rc, out, err = run("e2fsck", "-fn", image)
    if rc:
        fail(f"{label}: e2fsck: {out[:700]} {err[:200]}")
        return False
    rc, out, err = run(DISH, "-r", image, "-c", "fsck")
    if rc:
        fail(f"{label}: dish fsck: {out[:500]} {err[:500]}")
    if tree_of(image, folder) != before:
        fail(f"{label}: the tree changed")
        return False
    return True


def size_of(image):
    out = run("dumpe2fs", "-h", image)[1]
    values = dict(line.split(":", 1) for line in out.splitlines() if ":" in line)
    return int(values["Block count"]) * int(values["Block size"])


BASES = {
    "ext4": ["-t", "ext4", "-b", "1024"],
    "ext4-4k": ["-t", "ext4", "-b", "4096"],
    "ext2": ["-t", "ext2", "-b", "1024"],
    "ext3": ["-t", "ext3", "-b", "1024", "-I", "128"],
    "meta_bg": ["-t", "ext4", "-b", "1024", "-O", "^resize_inode,meta_bg"],
    "no-resize": ["-t", "ext4", "-b", "1024", "-O", "^resize_inode"],
    "no-flex": ["-t", "ext4", "-b", "1024", "-O", "^flex_bg"],
    "bigalloc": ["-t", "ext4", "-b", "1024", "-C", "4096", "-O", "bigalloc"],
    "sparse2-noflex": ["-t", "ext2", "-b", "1024", "-g", "2048", "-O", "sparse_super2"],
    "sparse2": ["-t", "ext4", "-b", "1024", "-O", "sparse_super2"],
    "inline": ["-t", "ext4", "-b", "1024", "-O", "inline_data,orphan_file,metadata_csum_seed,mmp"],
    "quota": ["-t", "ext4", "-b", "1024", "-O", "quota,project,^metadata_csum,uninit_bg"],
    "packed": ["-t", "ext4", "-b", "1024", "-N", "2000"],
    "ext2-bare": ["-t", "ext2", "-b", "1024", "-g", "512", "-N", "4096", "-O", "^resize_inode"],
    "ext3-4k": ["-t", "ext3", "-b", "4096", "-I", "128"],
    "ext4-128": ["-t", "ext4", "-b", "1024", "-I", "128", "-N", "30000"],
    "nosparse": ["-t", "ext2", "-b", "1024", "-O", "^sparse_super,^resize_inode"],
}


def resize_all(folder, tree):
    for name, options in BASES.items():
        if name in ("nosparse", "ext3-4k", "ext4-128"):
            continue
        image = f"{folder}/{name}.img"
        blank(image, 96 * MiB)
        rc, _, err = run("mke2fs", "-q", "-F", *options, "-d", tree, image)
        if rc:
            fail(f"{name}: mke2fs: {err}")
            continue
        run("e2fsck", "-fyD", image)
        before = tree_of(image, folder)
        steps = [200, 300, 57, 130, "min", 64, 95] if LONG else [230, 61, "min", 100]
        for step in steps:
            label = f"{name} to {step}"
            if step == "min":
                command = "resizefs 0 min"
            else:
                size = step * MiB
                with open(image, "r+b") as f:
                    f.truncate(max(size, os.path.getsize(image)))
                command = f"resizefs 0 {size}"
            rc, out, err = run(DISH, image, "-c", command)
            if rc:
                fail(f"{label}: exit {rc}: {err[:1500]}")
                break
            if not judge(label, image, folder, before):
                break
            now = size_of(image)
            if step != "min" and not 0 <= step * MiB - now < (9 if name != "bigalloc" else 33) * MiB:
                fail(f"{label}: the size is {now}")
            with open(image, "r+b") as f:
                f.truncate(now)
        os.unlink(image)


TUNES = [
    ("ext4", "label 0 hello"), ("ext4", "uuid 0 random"), ("ext4", "uuid 0 clear"),
    ("ext4", "uuid 0 12345678-1234-1234-1234-123456789abc"), ("quota", "uuid 0 random"), ("ext2", "uuid 0 random"),
    ("inline", "uuid 0 random"), ("ext4", "tune 0 reserved=1,errors=panic,max_mount_count=7"),
    ("ext4", "tune 0 ^metadata_csum"), ("ext4", "tune 0 ^has_journal"), ("ext2", "tune 0 has_journal"),
    ("ext4", "tune 0 orphan_file"), ("inline", "tune 0 ^orphan_file"), ("ext4", "tune 0 quota"),
    ("ext4", "tune 0 project,quota"), ("quota", "tune 0 ^quota"), ("ext4", "tune 0 ^resize_inode"),
    ("ext4", "tune 0 mmp"), ("inline", "tune 0 ^mmp"), ("ext4", "tune 0 metadata_csum_seed"),
    ("inline", "tune 0 ^metadata_csum_seed"), ("ext4", "tune 0 fast_commit"), ("ext3", "tune 0 metadata_csum"),
    ("ext2", "tune 0 uninit_bg"), ("quota", "tune 0 metadata_csum"), ("quota", "tune 0 ^uninit_bg"),
    ("ext3", "tune 0 extent,large_dir,ea_inode,huge_file,dir_nlink"), ("ext4-4k", "tune 0 ^metadata_csum,^has_journal"),
    ("bigalloc", "tune 0 ^has_journal"), ("bigalloc", "tune 0 ^resize_inode"), ("ext4", "tune 0 casefold,encrypt,verity"),
    ("ext4", "tune 0 ^dir_index"), ("ext3", "tune 0 ^dir_index; tune 0 dir_index"), ("ext2", "tune 0 ^filetype"),
    ("ext3", "tune 0 ^filetype; tune 0 filetype"), ("inline", "tune 0 ^metadata_csum; tune 0 ^filetype; tune 0 filetype"),
    ("ext4", "tune 0 ^large_file,^huge_file,^dir_nlink,^extra_isize"), ("ext4", "tune 0 casefold; tune 0 ^casefold"),
    ("quota", "tune 0 ^project"), ("ext2", "tune 0 flex_bg; tune 0 ^flex_bg"), ("nosparse", "tune 0 sparse_super"),
    ("ext4", "tune 0 ^64bit"), ("ext4", "tune 0 ^64bit; tune 0 64bit"), ("ext3", "tune 0 extent,64bit"), ("ext2", "tune 0 extent,64bit"),
    ("no-resize", "tune 0 ^64bit"), ("bigalloc", "tune 0 ^64bit"), ("sparse2", "tune 0 ^64bit; tune 0 64bit"),
    ("packed", "tune 0 ^metadata_csum; tune 0 ^64bit; tune 0 metadata_csum"),
    ("meta_bg", "tune 0 ^64bit"), ("meta_bg", "tune 0 ^64bit; tune 0 64bit"), ("meta_bg", "tune 0 ^meta_bg"),
    ("meta_bg", "tune 0 ^meta_bg,resize_inode; tune 0 ^64bit"), ("no-resize", "tune 0 ^64bit; tune 0 64bit"),
    ("no-resize", "tune 0 resize_inode"), ("no-resize", "tune 0 meta_bg"), ("ext2-bare", "tune 0 extent,64bit"),
    ("ext2-bare", "tune 0 resize_inode; tune 0 extent,64bit; tune 0 ^resize_inode"), ("ext2-bare", "tune 0 extent,meta_bg,64bit"),
    ("nosparse", "tune 0 extent,64bit; tune 0 sparse_super; tune 0 resize_inode"), ("ext4", "tune 0 sparse_super2"),
    ("sparse2", "tune 0 ^sparse_super2"), ("no-flex", "tune 0 ^resize_inode,sparse_super2,64bit; tune 0 resize_inode"),
    ("bigalloc", "tune 0 ^resize_inode; tune 0 ^64bit; tune 0 64bit; tune 0 resize_inode"),
    ("bigalloc", "tune 0 sparse_super2"), ("bigalloc", "tune 0 ^resize_inode; tune 0 meta_bg; tune 0 ^64bit; tune 0 ^meta_bg"),
    ("quota", "tune 0 ^resize_inode; tune 0 ^64bit; tune 0 64bit,resize_inode"),
    ("inline", "tune 0 ^resize_inode; tune 0 resize_inode; tune 0 sparse_super2"),
    ("ext3", "tune 0 inode_size=256"), ("ext3-4k", "tune 0 inode_size=1024"), ("ext4-128", "tune 0 inode_size=256,project"),
    ("ext4", "tune 0 inode_size=512"), ("quota", "tune 0 inode_size=1024"), ("bigalloc", "tune 0 inode_size=1024"),
    ("ext2-bare", "tune 0 inode_size=512"), ("meta_bg", "tune 0 inode_size=512"), ("inline", "tune 0 inode_size=512"),
    ("packed", "tune 0 inode_size=512; tune 0 inode_size=1024"), ("no-flex", "tune 0 inode_size=512"),
]


def tune_all(folder, tree):
    for name, command in TUNES:
        image = f"{folder}/tune.img"
        blank(image, 64 * MiB)
        rc, _, err = run("mke2fs", "-q", "-F", *BASES[name], "-d", tree, image)
        if rc:
            fail(f"{name}: mke2fs: {err}")
            continue
        run("e2fsck", "-fyD", image)
        before = tree_of(image, folder)
        rc, out, err = run(DISH, image, "-c", command)
        label = f"{name}: {command}"
        if rc:
            fail(f"{label}: exit {rc}: {err[:1500]}")
            continue
        judge(label, image, folder, before)
        rc, out, err = run(DISH, image, "-c", "mkdir /new; write /new/file text; rm -r /dir1")
        if rc:
            fail(f"{label}: a change afterwards: {err[:600]}")
        rc, out, err = run("e2fsck", "-fn", image)
        if rc:
            fail(f"{label}: after a change e2fsck: {out[:600]}")
        os.unlink(image)


def times_and_attributes(image, paths):
    out = ""
    for path in paths:
        stat = run("debugfs", "-R", f"stat {path}", image)[1]
        out += "".join(line.split(" -- ")[1] for line in stat.splitlines() if "time:" in line and "crtime" not in line)
        out += run("debugfs", "-R", f"ea_list {path}", image)[1]
    return out


def larger_inodes(folder, tree):
    """Times and attributes survive; afterwards inodes hold nanoseconds, and attributes need no block."""
    image, paths = f"{folder}/inodes.img", ["/big", "/fast", "/dir1", "/dir2/file1"]
    blank(image, 64 * MiB)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-I", "128", "-d", tree, image)
    for path in paths:
        run(DISH, image, "-c", f"xattr -h -n trusted.colour -v {path} {path}", "-c", f"touch -h -d 2001-02-03T04:05:06Z {path}")
    before = times_and_attributes(image, paths)
    if "2001" not in before or "trusted.colour" not in before:
        fail("larger inodes: nothing was set")
    rc, _, err = run(DISH, image, "-c", "tune 0 inode_size=512")
    if rc or times_and_attributes(image, paths) != before:
        fail(f"larger inodes: times or attributes changed {err}")
    rc, _, err = run(DISH, image, "-c", "touch -d 2040-02-03T04:05:06.123456789Z /big",
                     "-c", f"xattr -n user.long -v {'v' * 200} /dir3")
    out = run(DISH, "-r", image, "-c", "stat -c '%.9Y' /big")[1]
    if rc or out.split(".")[0] != "2211854706" or "123456789" not in out:
        fail(f"larger inodes: a time of nanoseconds after 2038: {out} {err}")
    if "File ACL: 0" not in run("debugfs", "-R", "stat /dir3", image)[1]:
        fail("larger inodes: an attribute went into a block")
    rc, out, _ = run("e2fsck", "-fn", image)
    if rc:
        fail(f"larger inodes: e2fsck: {out[:600]}")
    os.unlink(image)


def bad_blocks(folder, tree):
    """The list of bad blocks follows: those behind the end leave it, the others stay out of use."""
    image, bad = f"{folder}/bad.img", [*range(20000, 20400), *range(60000, 61000, 3), *range(45000, 45011), 10007]
    with open(f"{folder}/bad", "w") as f:
        f.write("".join(f"{b}\n" for b in bad))
    for options in (["-t", "ext4"], ["-t", "ext2"], ["-t", "ext4", "-O", "bigalloc", "-C", "2048"]):
        blank(image, 64 * MiB)
        rc, _, err = run("mke2fs", "-q", "-F", *options, "-b", "1024", "-l", f"{folder}/bad", "-d", tree, image)
        before = tree_of(image, folder)
        for size in (40, 30, 64):
            rc, _, err = run(DISH, image, "-c", f"resizefs 0 {size}M")
            if rc:
                fail(f"bad blocks, {options}, {size}: {err}")
            judge(f"bad blocks, {options}, {size}", image, folder, before)
            kept = run("dumpe2fs", "-b", image)[1].split()
            if kept != [str(b) for b in sorted(bad) if b <= 20400]:
                fail(f"bad blocks, {options}, {size}: {len(kept)} are in the list")
        os.unlink(image)


def main():
    only = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        make_tree(folder + "/tree", 60 if LONG else 30)
        if only:
            for name in list(BASES):
                if name not in only:
                    del BASES[name]
            TUNES[:] = [t for t in TUNES if t[0] in only]
        resize_all(folder, folder + "/tree")
        tune_all(folder, folder + "/tree")
        if not only:
            larger_inodes(folder, folder + "/tree")
            bad_blocks(folder, folder + "/tree")
    finish()


main()
