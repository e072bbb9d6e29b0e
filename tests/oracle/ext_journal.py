#!/usr/bin/env python3
"""Replay of ext journals: what dish shows (in memory) and leaves behind (after a change) is what e2fsck makes of a copy.
Journals are written with debugfs; where loop mounts are possible, also copied from volumes in use."""
import functools
import os
import shutil
import struct
import tempfile

import _dish
from _dish import DISH, LONG, blank, content, fail, finish, poke

MAGIC = bytes.fromhex("c03b3998")
run = functools.partial(_dish.run, binary=True)


def debugfs(image, *commands):
    return run("debugfs", "-w", "-f", "-", image, stdin="\n".join(commands).encode() + b"\n")[1].decode(errors="replace")


def blocks(image, path):
    return [int(b) for b in run("debugfs", "-R", f"blocks {path}", image)[1].split()]


def tree(image, folder):
    """Names and contents as debugfs reads them."""
    out = folder + "/out"
    shutil.rmtree(out, ignore_errors=True)
    os.mkdir(out)
    run("debugfs", "-R", f"rdump / {out}", image)
    found = {}
    for top, _, files in os.walk(out):
        for name in files:
            path = os.path.join(top, name)
            found[os.path.relpath(path, out)] = content(path) if os.path.isfile(path) else None
        found[os.path.relpath(top, out) + "/"] = None
    return found


def view(image, names):
    """The same contents as dish shows them without changing anything."""
    found = {}
    for name, data in names.items():
        if data is not None:
            rc, out, err = run(DISH, "-r", image, "-c", f"get '/{name}' -")
            found[name] = out if rc == 0 else f"exit {rc}: {err[:300]}"
    return found


def judge(label, image, folder, sample=None):
    theirs, ours = folder + "/theirs", folder + "/ours"
    before = content(image)
    shutil.copyfile(image, theirs)
    shutil.copyfile(image, ours)
    run("e2fsck", "-fy", theirs)
    want = tree(theirs, folder)
    names = want if sample is None else {n: want[n] for n in list(want)[:sample]}
    for name, data in view(image, names).items():
        if data != want[name]:
            fail(f"{label}: {name} in memory: {data[:200]!r}")
            break
    if content(image) != before:
        fail(f"{label}: looking changed the image")
    rc, _, err = run(DISH, ours, "-c", "mkdir /zz; rmdir /zz")
    if rc:
        fail(f"{label}: exit {rc}: {err[:800]}")
        return
    rc, out, _ = run("e2fsck", "-fn", ours)
    if rc:
        fail(f"{label}: e2fsck afterwards: {out.decode()[:800]}")
    have = tree(ours, folder)
    if have != want:
        names = sorted(set(have) ^ set(want)) or [n for n in have if have[n] != want[n]]
        fail(f"{label}: the tree differs from e2fsck's: {names[:5]}")


def written(folder):
    """Transactions written with debugfs: every version of checksums, revoked, escaped and unfinished ones."""
    for features in ("", "^64bit", "^metadata_csum,^64bit"):
        for version in (None, "2", "3"):
            image = folder + "/image"
            blank(image, 32 << 20)
            if os.path.isdir(folder + "/tree"):
                shutil.rmtree(folder + "/tree")
            os.mkdir(folder + "/tree")
            for name in "abcde":
                with open(f"{folder}/tree/{name}", "wb") as f:
                    f.write(name.encode() * 4096)
            run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", *(["-O", features] if features else []), "-d",
                folder + "/tree", image)
            data = {}
            for n in range(6):
                data[n] = folder + f"/new{n}"
                with open(data[n], "wb") as f:
                    f.write((MAGIC if n == 3 else b"") + f"transaction {n} ".encode() * 60)
            where = {n: blocks(image, "/" + n) for n in "abcde"}
            opening = "jo -c" + (f" -v {version}" if version else "")
            commands = [opening,
                        f"jw -b {where['a'][0]} {data[0]}",
                        f"jw -b {where['b'][1]} {data[1]}",
                        f"jw -b {where['c'][0]},{where['c'][2]} {data[2]}",
                        f"jw -b {where['d'][3]} {data[3]}",
                        f"jw -r {where['a'][0]}",
                        f"jw -b {where['b'][1]} {data[4]}",
                        "jc"]
            debugfs(image, *commands)
            if "needs_recovery" not in run("dumpe2fs", "-h", image)[1].decode():
                continue
            label = f"written [{features}] csum {version}"
            judge(label, image, folder)
            unfinished = commands[:-1] + [f"jw -b {where['e'][0]} -c {data[5]}", "jc"]
            run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", *(["-O", features] if features else []), "-d",
                folder + "/tree", image)
            debugfs(image, *unfinished)
            judge(label + " unfinished", image, folder)


def can_mount(folder):
    if os.geteuid() != 0:
        return False
    blank(folder + "/probe", 8 << 20)
    run("mkfs.ext4", "-q", folder + "/probe")
    os.makedirs(folder + "/m", exist_ok=True)
    rc = run("mount", "-o", "loop", folder + "/probe", folder + "/m")[0]
    if rc == 0:
        run("umount", folder + "/m")
    return rc == 0


def busy(m):
    """What fills a journal: many names, renames, removals, a file that begins with the journal's magic."""
    os.mkdir(m + "/d")
    for i in range(150):
        with open(f"{m}/d/file{i}", "w") as f:
            f.write(f"{i}\n" * 20)
    os.sync()
    for i in range(100, 150):
        os.unlink(f"{m}/d/file{i}")
    os.mkdir(m + "/e")
    os.rename(m + "/d/file2", m + "/e/file2")
    with open(m + "/escaped", "wb") as f:
        f.write(MAGIC + b"x" * 3000)
    os.sync()
    shutil.rmtree(m + "/d")
    os.mkdir(m + "/d2")
    for i in range(100):
        with open(f"{m}/d2/name{i}", "w") as f:
            f.write("again")


def fast(m):
    """Changes that are synced one by one: fast commits."""
    def put(name, data, mode="wb"):
        with open(m + "/" + name, mode) as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
    os.sync()
    put("a", b"hello a" * 100)
    put("b", b"b" * 5000)
    os.link(m + "/a", m + "/a2")
    put("a", b"more", "ab")
    os.rename(m + "/b", m + "/c")
    put("c", b"x", "ab")
    os.unlink(m + "/a2")
    put("a", b"y", "ab")
    with open(m + "/c", "r+b") as f:
        f.truncate(1000)
        os.fsync(f.fileno())
    for i in range(20):
        put(f"new{i}", b"n" * (i * 700))


def orphans(m):
    held = []
    for i in range(30):
        f = open(f"{m}/o{i}", "wb")
        f.write(b"x" * 3000 * i)
        f.flush()
        held.append(f)
    os.sync()
    for i in range(0, 30, 2):
        os.unlink(f"{m}/o{i}")
    return held


def mounted(folder):
    cases = [("ext4", "", "", busy), ("csum v1", "-O ^metadata_csum,^64bit", ",journal_checksum", busy),
             ("ext3", "-O ^extent,^64bit,^metadata_csum,^flex_bg", "", busy), ("4k", "-b 4096", "", busy),
             ("data=journal", "", ",data=journal", busy), ("fast", "-O fast_commit", "", fast),
             ("fast no csum", "-O fast_commit,^metadata_csum", "", fast), ("fast 4k", "-O fast_commit -b 4096", "", fast),
             ("fast bigalloc", "-O fast_commit,bigalloc", "", fast), ("orphans", "", "", orphans),
             ("orphan file", "-O orphan_file", "", orphans), ("orphans ext3", "-O ^extent,^64bit,^metadata_csum", "", orphans)]
    for name, options, mount_options, work in cases:
        image, m, copy = folder + "/live", folder + "/m", folder + "/dirty"
        blank(image, 64 << 20)
        run("mkfs.ext4", "-q", "-F", "-b", "1024", *options.split(), image)
        if run("mount", "-o", "loop" + mount_options, image, m)[0]:
            continue
        try:
            held = work(m)
            run("sync", "-f", m)
            shutil.copyfile(image, copy)
            for f in held or []:
                f.close()
        finally:
            run("umount", m)
        judge("mounted " + name, copy, folder, None if LONG else 12)


def loop_device(path):
    rc, out, _ = run("losetup", "-f", "--show", path)
    return out.decode().strip() if rc == 0 else None


def external(folder):
    """A journal on a device of its own is replayed in memory when its image is open beside the volume's."""
    for size in ("1024", "4096"):
        root, journal, m = folder + "/root", folder + "/journal", folder + "/m"
        for path, megabytes in ((root, 64), (journal, 16)):
            blank(path, megabytes << 20)
        run("mke2fs", "-q", "-F", "-b", size, "-O", "journal_dev", journal)
        devices = [loop_device(journal), loop_device(root)]
        try:
            if None in devices or run("mke2fs", "-q", "-F", "-b", size, "-t", "ext4", "-J", "device=" + devices[0],
                                      devices[1])[0] or run("mount", "-o", "journal_path=" + devices[0], devices[1], m)[0]:
                continue
            for i in range(40):
                with open(f"{m}/file{i}", "w") as f:
                    f.write(f"{i}\n" * i)
            os.mkdir(m + "/dir")
            run("sync", "-f", m)
            os.unlink(m + "/file3")
            run("sync", "-f", m)
            shutil.copyfile(root, root + ".dirty")
            shutil.copyfile(journal, journal + ".dirty")
            run("umount", m)
        finally:
            for device in devices:
                if device:
                    run("losetup", "-d", device)
        both = ["r=" + root + ".dirty", "j=" + journal + ".dirty"]
        before = content(root + ".dirty")
        rc, out, err = run(DISH, *both, "-c", "ls r:/; cat r:/file7; fsck r:0")
        lines = out.decode().split("\n")
        names = {line for line in lines if line.startswith("file")}
        if rc or names != {f"file{i}" for i in range(40) if i != 3} or lines.count("7") != 7:
            fail(f"external, {size}: {rc} {sorted(names)} {err}")
        rc, _, err = run(DISH, *both, "-c", "rm r:/file7")
        if rc != 1 or "another device" not in err or content(root + ".dirty") != before:
            fail(f"external, {size}: a change was not refused: {rc} {err}")
        rc, out, err = run(DISH, "-r", root + ".dirty", "-c", "ls /")
        if rc or "another device" not in err:
            fail(f"external, {size}: without its journal: {rc} {err}")
        rc, out, err = run(DISH, root, "-c", "cat /file7; write /new text; fsck")
        if rc or out.decode().split("\n")[:7] != ["7"] * 7:
            fail(f"external, {size}: unmounted: {rc} {err}")


def crc32c(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


def fast_record(tag, data):
    return struct.pack("<HH", tag, len(data)) + data


def hostile(folder):
    """Journals that nobody writes: looked at without a crash, said to be damaged."""
    image = folder + "/hostile"
    head = fast_record(9, struct.pack("<II", 0, 1))
    short_tail = head + fast_record(7, bytes(1024 - 20)) + fast_record(8, b"")
    short_inode = head + fast_record(7, bytes(1024 - 12 - 4 - 9)) + fast_record(6, bytes(5))
    short_inode += struct.pack("<HHI", 8, 8, 1) + struct.pack("<I", crc32c(short_inode + struct.pack("<HHI", 8, 8, 1)))
    for label, area, want in (("a tail without a body", short_tail, ""), ("an inode of 5 bytes", short_inode, "5 bytes"),
                              ("both copies of the journal's inode", None, "depth is more than 5")):
        blank(image, 16 << 20)
        run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", "^metadata_csum,fast_commit", image)
        log = blocks(image, "<8>")
        poke(image, 1024 + 0x60, bytes([content(image)[1024 + 0x60] | 4]))  # needs_recovery
        if area:
            poke(image, log[0] * 1024 + 0x18, struct.pack(">II", 1, 1))  # s_sequence, s_start
            poke(image, log[0] * 1024 + 0x28, struct.pack(">I", 0x20))
            poke(image, log[0] * 1024 + 0x54, bytes(4))
            for at in range(0, len(area), 1024):
                poke(image, log[len(log) - 256 + 1 + at // 1024] * 1024, area[at:at + 1024])
        else:
            debugfs(image, "sif <8> links_count 0")
            poke(image, 1024 + 0x10C + 6, b"\x09")  # eh_depth of the copy
        rc, _, err = run(DISH, "-r", image, "-c", "ls /")
        if rc or want not in err:
            fail(f"{label}: exit {rc}: {err[:2000]}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        written(folder)
        hostile(folder)
        if can_mount(folder):
            mounted(folder)
            external(folder)
    finish()


main()
