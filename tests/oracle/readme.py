#!/usr/bin/env python3
"""Every line of the README's table of formats is true: what it says can be made is made, changed, read and checked,
and what it says cannot be changed is refused. An unknown line fails."""
import os
import re
import subprocess
import sys
import tempfile

from _dish import DISH, fail, finish

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../README.md")


def dish(script, *arguments, status=0):
    done = subprocess.run([DISH, *arguments], input=script, capture_output=True, text=True)
    if done.returncode != status:
        fail(f"exit status {done.returncode}, not {status}:\n{script}{done.stdout}{done.stderr}")
    return done.stdout


def container(name):
    dish(f"create -f {name} a.{name} 64M\nmkfs vfat\nwrite /f made\ncheck\n")
    if dish("write /f changed\ncat /f\n", f"a.{name}") != "changed":
        fail(f"{name}: the change is not there")
    dish("check --repair all\n", f"a.{name}")


def table(name):
    dish(f"create t-{name}.img 64M\npartition init {name}\npartition add 8M linux\npartition add rest linux\n"
         "partition verify\n")
    dish("partition delete 1\npartition repair\npartition verify\n", f"t-{name}.img")
    if '"number":2' not in dish("partition list\n", "--json", f"t-{name}.img").replace(" ", ""):
        fail(f"{name}: partition 2 is not there")


def read_only_table(make):
    with open("ro.img", "wb") as file:
        file.truncate(16 << 20)
        make(file)
    dish("partition list\n", "ro.img")
    dish("partition delete 1\n", "ro.img", status=1)


def apple(file):
    block = bytearray(512)
    block[0:4] = b"ER\x02\x00"
    block[4:8] = (16 << 11).to_bytes(4, "big")
    file.seek(0)
    file.write(block)
    for index, (start, count, kind) in enumerate(((1, 63, b"Apple_partition_map"), (64, 1000, b"Apple_HFS"))):
        entry = bytearray(512)
        entry[0:2] = b"PM"
        entry[4:16] = (2).to_bytes(4, "big") + start.to_bytes(4, "big") + count.to_bytes(4, "big")
        entry[48:48 + len(kind)] = kind
        file.seek(512 * (index + 1))
        file.write(entry)


def filesystem(*types):
    for kind in types:
        size = "64M" if kind == "fat32" else "1440K" if kind == "fat12" else "32M"
        if os.path.exists("f.img"):
            os.unlink("f.img")
        dish(f"create f.img {size}\nmkfs {kind}\nmkdir /d\nwrite /d/f made\nfsck\n")
        if dish("write /d/f changed\nmv /d/f /g\ncat /g\nfsck --repair\n", "f.img").split("\n")[0][:7] != "changed":
            fail(f"{kind}: the change is not there")


LINES = {
    "raw files and block devices": lambda: container("raw"),
    "qcow2 v2, v3": lambda: container("qcow2"),
    "GPT": lambda: table("gpt"),
    "MBR with logical partitions": lambda: table("mbr"),
    "Apple partition map": lambda: read_only_table(apple),
    "ext2, ext3, ext4": lambda: filesystem("ext2", "ext3", "ext4"),
    "FAT12, FAT16, FAT32": lambda: filesystem("fat12", "fat16", "fat32"),
    "exFAT": lambda: filesystem("exfat"),
}

with open(README) as readme:
    text = readme.read()
rows = re.findall(r"^\| ([^|]+) \| yes \|", text, re.M)
if not rows:
    sys.exit("the README's table is not found")
with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    for row in rows:
        if row.strip() not in LINES and row.strip() != "BSD disklabel":
            fail(f"no test for the line '{row}'")
        elif row.strip() in LINES:
            LINES[row.strip()]()
    os.chdir("/")
finish()
