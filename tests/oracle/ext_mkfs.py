#!/usr/bin/env python3
"""mkfs of ext volumes: byte for byte what mke2fs makes with the same time, UUID and hash seed. What may differ: the
counter of KiB written, and the host's and device's name in the MMP block."""
import os
import tempfile

from _dish import DISH, LONG, fail, finish, run

NOW = "1600000000"
UUID = "11111111-2222-3333-4444-555555555555"
SEED = "00112233-4455-6677-8899-aabbccddeeff"
os.environ.update(E2FSPROGS_FAKE_TIME=NOW, SOURCE_DATE_EPOCH=NOW, MKE2FS_SKIP_CHECK_MSG="1")

# size, type, mke2fs options, mke2fs -E, dish -O
CASES = [(size, "ext4", "", "", "") for size in
         ("1M 2M 3M 5000K 8M 9M 12345K 16M 17000K 33M 64M 100M 127M 130M 512M 600M 1G 3G").split()]
CASES += [(size, kind, "", "", "") for size in ("1440K", "20M", "64M", "600M") for kind in ("ext2", "ext3")]
CASES += [
    ("300M", "ext4", "-b 4096", "", "blocksize=4096"),
    ("300M", "ext4", "-b 2048", "", "blocksize=2048"),
    ("600M", "ext4", "-b 8192", "", "blocksize=8K"),
    ("600M", "ext4", "-b 65536", "", "blocksize=64K"),
    ("64M", "ext4", "-O bigalloc", "", "bigalloc"),
    ("600M", "ext4", "-O bigalloc", "", "bigalloc"),
    ("600M", "ext4", "-O bigalloc -C 16384", "", "bigalloc,cluster_size=16K"),
    ("64M", "ext4", "-O bigalloc -b 4096 -C 65536", "", "bigalloc,blocksize=4096"),
    ("600M", "ext4", "-O ^resize_inode,meta_bg", "", "^resize_inode,meta_bg"),
    ("1G", "ext4", "-b 1024 -O ^resize_inode,meta_bg,sparse_super2", "",
     "blocksize=1024,^resize_inode,meta_bg,sparse_super2"),
    ("600M", "ext4", "-O sparse_super2", "", "sparse_super2"),
    ("600M", "ext4", "-O sparse_super2", "num_backup_sb=1", "sparse_super2,num_backup_sb=1"),
    ("64M", "ext4", "-O ^flex_bg", "", "^flex_bg"),
    ("64M", "ext4", "-O ^flex_bg", "stride=8,stripe_width=32", "^flex_bg,stride=8,stripe_width=32"),
    ("64M", "ext4", "-O ^metadata_csum,uninit_bg", "", "^metadata_csum,uninit_bg"),
    ("64M", "ext4", "-O ^metadata_csum", "", "^metadata_csum"),
    ("64M", "ext4", "-O ^64bit", "", "^64bit"),
    ("64M", "ext4", "-O ^extent,^64bit", "", "^extent,^64bit"),
    ("64M", "ext4", "-O inline_data", "", "inline_data"),
    ("600M", "ext4", "-O inline_data", "", "inline_data"),
    ("64M", "ext4", "-O quota,project", "", "quota,project"),
    ("600M", "ext4", "-O quota", "", "quota"),
    ("1G", "ext4", "-O orphan_file,fast_commit", "", "orphan_file,fast_commit"),
    ("64M", "ext4", "-O mmp", "", "mmp"),
    ("64M", "ext4", "-O casefold,encrypt,verity,stable_inodes,large_dir,ea_inode", "",
     "casefold,encrypt,verity,stable_inodes,large_dir,ea_inode"),
    ("64M", "ext4", "-O metadata_csum_seed", "", "metadata_csum_seed"),
    ("64M", "ext4", "-N 1000", "", "inodes=1000"),
    ("64M", "ext4", "-N 60000", "", "inodes=60000"),
    ("700M", "ext4", "-b 1024 -N 300", "", "blocksize=1024,inodes=300"),
    ("64M", "ext4", "-i 65536 -I 128", "", "inode_ratio=64K,inode_size=128"),
    ("64M", "ext4", "-I 512 -m 1.5", "", "inode_size=512,reserved=1.5"),
    ("64M", "ext4", "-J size=8", "", "journal_size=8M"),
    ("64M", "ext2", "-r 0", "", "revision=0"),
    ("64M", "ext4", "-T largefile", "", "usage=largefile"),
    ("64M", "ext4", "-G 4", "", "flex_bg_size=4"),
    ("64M", "ext4", "-g 4096", "", "blocks_per_group=4096"),
    ("64M", "ext4", "-e panic -M /mnt/x", "", "errors=panic,last_mounted=/mnt/x"),
    ("64M", "ext4", "", "resize=262144", "resize=256M"),
    ("64M", "ext4", "", "packed_meta_blocks=1", "packed_meta_blocks"),
    ("64M", "ext4", "", "root_owner=1000:1001", "root_owner=1000:1001"),
    ("64M", "ext2", "-O ^sparse_super,^resize_inode", "", "^sparse_super,^resize_inode"),
    ("64M", "ext4", "-O none,extent", "", "none,extent"),
    ("3M", "ext2", "-T largefile4", "", "usage=largefile4"), ("64M", "ext4", "-i 1024", "", "inode_ratio=1024"),
    ("33M", "ext2", "-i 1024", "", "inode_ratio=1024"), ("64M", "ext2", "-J size=4", "", "journal_size=4M"),
    ("64M", "ext4", "-O bigalloc,^resize_inode,meta_bg -b 1024", "", "bigalloc,^resize_inode,meta_bg,blocksize=1K"),
    ("64M", "ext3", "", "packed_meta_blocks=1", "packed_meta_blocks"),
    ("600M", "ext4", "-O ^large_file -I 128", "", "^large_file,inode_size=128"),
    ("64M", "ext4", "-O ^metadata_csum -I 128", "", "^metadata_csum,inode_size=128"),
    ("600M", "ext4", "-O bigalloc,quota,orphan_file,fast_commit,inline_data,metadata_csum_seed", "",
     "bigalloc,quota,orphan_file,fast_commit,inline_data,metadata_csum_seed"),
]
LONG_CASES = [(f"{n}K", "ext4", "", "", "") for n in range(4096, 300000, 6311)] + [
    ("40G", "ext4", "", "", ""), ("40G", "ext3", "", "", ""), ("5T", "ext4", "-O ^has_journal", "", "^has_journal"),
]


def data_runs(f):
    size, at, runs = os.fstat(f.fileno()).st_size, 0, []
    while at < size:
        try:
            start = os.lseek(f.fileno(), at, os.SEEK_DATA)
        except OSError:
            break
        end = os.lseek(f.fileno(), start, os.SEEK_HOLE)
        runs.append((start, end))
        at = end
    return runs


def differences(a, b, block_size, ignore):
    """Places (block, offset) where the images differ, what may differ left out."""
    found = []
    with open(a, "rb") as fa, open(b, "rb") as fb:
        runs = data_runs(fa) + data_runs(fb)
        points = sorted({p for run in runs for p in run})
        for start, end in zip(points, points[1:]):
            if not any(s <= start and end <= e for s, e in runs):
                continue
            for at in range(start, end, 1 << 20):
                n = min(1 << 20, end - at)
                fa.seek(at)
                fb.seek(at)
                x, y = fa.read(n), fb.read(n)
                if x == y:
                    continue
                for i in range(0, n, 8):
                    if x[i:i + 8] != y[i:i + 8]:
                        place = at + i
                        inside = place - 1024 if 1024 <= place < 2048 else place % block_size
                        if inside in (0x178, 0x3F8) or place // block_size in ignore:
                            continue
                        found.append((place // block_size, place % block_size))
    return found


def compare(folder, case):
    size, kind, options, extended, ours = case
    label = " ".join(w for w in case if w)
    theirs_img, ours_img = folder + "/theirs", folder + "/ours"
    for path in (theirs_img, ours_img):
        if os.path.exists(path):
            os.unlink(path)
        run("truncate", "-s", size, path)
    e = "nodiscard,lazy_itable_init=0,hash_seed=" + SEED + ("," + extended if extended else "")
    rc, _, err = run("mke2fs", "-q", "-F", "-t", kind, "-E", e, "-U", UUID, *options.split(), theirs_img)
    if rc:
        fail(f"{label}: mke2fs: {err}")
        return
    o = "hash_seed=" + SEED + ("," + ours if ours else "")
    rc, out, err = run(DISH, ours_img, "-c", f"mkfs {kind} 0 -U {UUID} -O {o}")
    if rc:
        fail(f"{label}: dish: {err[:500]}")
        return
    rc, out, err = run("e2fsck", "-fn", ours_img)
    if rc:
        fail(f"{label}: e2fsck: {out[:500]}")
    text = run("dumpe2fs", "-h", theirs_img)[1]
    block_size = int(text.split("Block size:")[1].split()[0])
    ignore = set()
    if "MMP block number:" in text:
        ignore.add(int(text.split("MMP block number:")[1].split()[0]))
    found = differences(theirs_img, ours_img, block_size, ignore)
    if found:
        fail(f"{label}: {len(found)} differences, first in block %d at %#x" % found[0])


# What contradicts itself is refused by both.
REFUSED = [("ext2", "-G 32", "", "flex_bg_size=32"), ("ext2", "-O orphan_file", "", "orphan_file"),
           ("ext3", "-O 64bit", "", "64bit"), ("ext4", "-O bigalloc,^extent", "", "bigalloc,^extent"),
           ("ext4", "-O resize_inode,meta_bg", "", "resize_inode,meta_bg"), ("ext4", "-b 512", "", "blocksize=512"),
           ("ext4", "-I 64", "", "inode_size=64"), ("ext4", "-I 8192 -b 4096", "", "inode_size=8192,blocksize=4096"),
           ("ext4", "-g 1001", "", "blocks_per_group=1001"), ("ext4", "-m 51", "", "reserved=51"),
           ("ext4", "-i 512", "", "inode_ratio=512"), ("ext4", "-N 9999999", "", "inodes=9999999"),
           ("ext4", "-J size=1000", "", "journal_size=1000M"), ("ext4", "-C 65536", "", "cluster_size=64K")]


def refused(folder):
    path = folder + "/refused"
    for kind, options, extended, ours in REFUSED:
        run("truncate", "-s", "64M", path)
        if run("mke2fs", "-q", "-F", "-t", kind, *options.split(), path)[0] == 0:
            fail(f"{kind} {options}: mke2fs makes it")
        os.truncate(path, 0)
        os.truncate(path, 64 << 20)
        rc, _, err = run(DISH, path, "-c", f"mkfs {kind} 0 -O {ours}")
        if rc != 1 or any(data_runs(f) for f in [open(path, "rb")]):
            fail(f"{kind} {ours}: {rc} {err}")


def huge(folder):
    """16 TiB in little time, memory and space beyond the copies of its descriptors."""
    path = folder + "/huge"
    try:
        run("truncate", "-s", str((1 << 44) - 4096), path)
        if os.path.getsize(path) < 1 << 43:
            return
    except OSError:
        return
    rc, _, err = run("/usr/bin/time", "-f", "%e %M", DISH, path, "-c", "mkfs ext4")
    if rc:
        fail(f"16T: {err[:500]}")
        return
    words = err.split()[-2:]
    if int(words[1]) > 200000:
        fail(f"16T: {words[0]} s, {words[1]} KiB")
    os.unlink(path)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES + (LONG_CASES if LONG else []):
            compare(folder, case)
        refused(folder)
        huge(folder)
    finish()


main()
