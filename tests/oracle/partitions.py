#!/usr/bin/env python3
"""Partition tables against sgdisk, sfdisk, fdisk and parted.

Generated layouts go through random changes; after every step all tools and dish must agree on every start, size,
type, GUID and name. Tables that the tools write must read back the same in dish, and their damage reports must
agree. $DISH is the program; LONG=1 runs 200 layouts instead of 14. Runs as any user: 4096-byte sectors are judged by
`fdisk -b`, and by all tools over a loop device where there is one.
"""
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

from _dish import DISH, LONG, MiB, blank

SEED = int(os.environ.get("SEED", "20240817"))
GPT_TYPES = ["linux", "esp", "swap", "msdata", "bios-boot", "lvm", "raid", "home", "root-x86-64", "usr-arm64-verity",
             "srv", "xbootldr", "12345678-9abc-def0-1234-56789abcdef0", "8300"]
MBR_TYPES = ["linux", "swap", "fat32", "ntfs", "lvm", "raid", "esp", "0x9f", "da", "39"]
NAMES = ["root", "EFI System", "Übergröße", "漢字の名前", "раздел", "😀 emoji", "ערב", "a\"quote", "x" * 36, "back\\slash",
         "$HOME", "`tick`", "tab-less", "Ångström ½"]
GPT_FLAGS = ["required", "no-block-io", "legacy-boot", "read-only", "hidden", "no-auto", "growfs", "50"]


def run(*command, stdin=None, ok=(0,), env=None):
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, errors="surrogateescape",
                          env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})})
    if ok is not None and done.returncode not in ok:
        raise SystemExit(f"FAIL: {' '.join(map(str, command))} -> {done.returncode}\n{done.stdout}{done.stderr}"
                         f"{stdin or ''}")
    return done


def dish(image, *commands, ok=(0,), options=()):
    """Each call is a session with its own commit; without the syncs, which would only cost time here."""
    words = [w for command in commands for w in ("-c", command)]
    if "-r" not in options:
        words = ["-c", "set durability normal"] + words
    return run(DISH, *options, *words, str(image), ok=ok)


def check(condition, text):
    if not condition:
        raise SystemExit("FAIL: " + text)


def quote(word):
    return "'" + word.replace("'", "'\\''") + "'"


# ---- what each tool says of a table: {number: (start, sectors, type, uuid, name)} ------------------------------

def by_dish(image):
    table = json.loads(dish(image, "partition list", options=("-r", "-j")).stdout)
    parts = {p["number"]: (p["first-sector"], p["sectors"], p["type"], p["uuid"], p.get("name", ""))
             for p in table["partitions"]}
    return table, parts


def canonical_type(text):
    return text.lower() if "-" in text else "0x%02x" % int(text, 16)


def by_sfdisk(device):
    out = run("sfdisk", "-J", device).stdout
    # sfdisk 2.38 leaves bytes that are not ASCII as they are and escapes the rest as JSON does.
    table = json.loads(out)["partitiontable"]
    signature = table["id"][2:] if table["label"] == "dos" else None
    parts = {}
    for p in table.get("partitions", []):
        number = int(re.search(r"(\d+)$", p["node"]).group(1))
        uuid = p.get("uuid", "").lower() or "%s-%02x" % (signature, number)
        parts[number] = (p["start"], p["size"], canonical_type(p["type"]), uuid, p.get("name", ""))
    return parts


def by_fdisk(image):
    """GPT with 4096-byte sectors, without a loop device."""
    out = run("fdisk", "-b", "4096", "-l", "-o", "Device,Start,Sectors,Type-UUID,UUID", image).stdout
    parts = {}
    for line in out.splitlines():
        words = line.split()
        if len(words) == 5 and words[1].isdigit():
            number = int(re.search(r"(\d+)$", words[0]).group(1))
            parts[number] = (int(words[1]), int(words[2]), words[3].lower(), words[4].lower())
    return parts


def by_sgdisk(device, numbers):
    parts = {}
    for number in numbers:
        out = run("sgdisk", "-i", str(number), device).stdout
        get = lambda pattern: re.search(pattern, out).group(1)
        parts[number] = (int(get(r"First sector: (\d+)")), int(get(r"Partition size: (\d+)")),
                         get(r"Partition GUID code: (\S+)").lower(),
                         get(r"Partition unique GUID: (\S+)").lower(), get(r"Partition name: '(.*)'"))
    return parts


def by_parted(device):
    out = run("parted", "-sm", device, "unit", "s", "print").stdout
    parts = {}
    for line in out.splitlines()[2:]:
        words = line.rstrip(";").split(":")
        parts[int(words[0])] = (int(words[1][:-1]), int(words[3][:-1]), words[5])
    return parts


TROUBLE = re.compile(r"CRC|corrupt|[Pp]roblem:|mismatch|Warning|[Oo]verlap|invalid|Identified|ERROR", re.M)


def judge(image, device, gpt, sector):
    """All tools are content, and agree with dish."""
    table, ours = by_dish(image)
    done = dish(image, "partition verify", options=("-r",))
    if device is None:
        out = run("fdisk", "-b", "4096", "-l", image)
        check(not TROUBLE.search(out.stdout + out.stderr), f"fdisk: {out.stdout}{out.stderr}")
        check({n: p[:4] for n, p in ours.items()} == by_fdisk(image), f"fdisk differs: {ours}\n{by_fdisk(image)}")
        return ours
    done = run("sfdisk", "--verify", device)
    check("No errors detected" in done.stdout or (not ours and "No errors" in done.stdout + done.stderr),
          f"sfdisk --verify: {done.stdout}{done.stderr}")
    check(not TROUBLE.search(done.stdout + done.stderr), f"sfdisk --verify: {done.stdout}{done.stderr}")
    check(ours == by_sfdisk(device), f"sfdisk differs:\n dish {ours}\n sfdisk {by_sfdisk(device)}")
    parted = by_parted(device)
    check({n: p[:2] for n, p in ours.items()} == {n: p[:2] for n, p in parted.items()},
          f"parted differs:\n dish {ours}\n parted {parted}")
    if gpt:
        out = run("sgdisk", "-v", device)
        text = out.stdout + out.stderr
        check("No problems found" in text and not TROUBLE.search(text), f"sgdisk -v: {text}")
        # sgdisk prints names beyond the basic plane wrongly: those are left to sfdisk.
        theirs = by_sgdisk(device, ours)
        for number, part in ours.items():
            same = part[:4] == theirs[number][:4] and (part[4] == theirs[number][4] or max(part[4]) > "\uffff")
            check(same, f"sgdisk differs: {part} {theirs[number]}")
            check(part[4] == parted[number][2] or set(part[4]) & set(":;\\\"") or max(part[4]) > "\x7f",
                  f"parted's name: {part} {parted[number]}")
    return ours


# ---- random layouts ---------------------------------------------------------------------------------------------

class Layout:
    def __init__(self, rng, path, index):
        self.rng, self.path = rng, path
        self.gpt = index % 3 != 2
        self.sector = 4096 if self.gpt and index % 4 == 3 else 512
        size = rng.randrange(40, 400) * MiB + rng.randrange(0, 2048) * self.sector
        with open(path, "wb") as file:
            file.truncate(size)
            self.boot = bytes(rng.randrange(1, 255) for _ in range(440))
            file.write(self.boot)
        options = f"sector-size={self.sector}"
        if self.gpt and rng.random() < 0.3:
            options += f",entries={rng.choice([128, 132, 200, 256, 1000])}"
        dish(path, f"partition init {'gpt' if self.gpt else 'mbr'} -o {options}")
        self.device, self.loop = str(path), None
        if self.sector == 4096:
            self.attach()

    def attach(self):
        done = run("losetup", "-b", "4096", "-f", "--show", self.path, ok=None) if shutil.which("losetup") else None
        self.loop = done.stdout.strip() if done and done.returncode == 0 else None
        self.device = self.loop

    def close(self):
        if self.loop:
            run("losetup", "-d", self.loop)
        os.unlink(self.path)

    def pick(self, parts):
        return self.rng.choice(sorted(parts))

    def size_word(self):
        kind = self.rng.random()
        if kind < 0.6:
            return f"{self.rng.randrange(1, 40)}M"
        if kind < 0.8:
            return f"{self.rng.randrange(1, 9000)}s"
        if kind < 0.9:
            return "rest"
        return str(self.rng.randrange(1, 20 * MiB))

    def add(self, parts):
        command = f"partition add {self.size_word()}"
        extended = any(p[2] in ("0x05", "0x0f") for p in parts.values())
        if not self.gpt and not extended and self.rng.random() < 0.4:
            return f"partition add {self.rng.randrange(20, 80)}M extended"
        command += " " + self.rng.choice(GPT_TYPES if self.gpt else MBR_TYPES)
        if self.gpt and self.rng.random() < 0.6:
            command += " " + quote(self.rng.choice(NAMES))
        if extended and self.rng.random() < 0.6:
            command += " --logical"
        if self.rng.random() < 0.3:
            command += f" --align {self.rng.choice(['4K', '64K', '1M', '2M'])}"
        return command

    def change(self, parts):
        if not parts:
            return self.add(parts)
        n = self.pick(parts)
        kinds = ["add"] * 6 + ["delete", "resize", "resize", "move", "type", "sort"]
        kinds += ["name", "uuid", "flag", "disk"] if self.gpt else ["flag", "disk"]
        kind = self.rng.choice(kinds)
        if kind == "add":
            return self.add(parts)
        if kind == "delete":
            return f"partition delete {n}"
        if kind == "resize":
            return f"partition resize {n} {self.rng.choice(['rest', '+1M', '-1M', '3M', '5000s'])}"
        if kind == "move":
            return f"partition move {n} {self.rng.choice(['+1M', '-1M', '+64K', '16M', '40M'])}"
        if kind == "type":
            return f"partition type {n} {self.rng.choice(GPT_TYPES if self.gpt else MBR_TYPES)}"
        if kind == "name":
            return f"partition name {n} {quote(self.rng.choice(NAMES))}"
        if kind == "uuid":
            return f"partition uuid {n} random"
        if kind == "disk":
            return "partition uuid 0 random"
        if kind == "flag":
            flag = self.rng.choice(GPT_FLAGS) if self.gpt else "active"
            return f"partition flag {n} {flag} {self.rng.choice(['on', 'off'])}"
        return "partition sort"

    def mark(self, parts, seed):
        """Write something at both ends of every partition, so that moving it can be followed."""
        with open(self.path, "r+b") as file:
            for number, part in parts.items():
                if part[2] in ("0x05", "0x0f"):
                    continue
                for sector in {part[0], part[0] + part[1] - 1}:
                    file.seek(sector * self.sector)
                    file.write(b"%08d %08d" % (seed, number))

    def marks(self, parts):
        found = {}
        with open(self.path, "rb") as file:
            for number, part in parts.items():
                ends = []
                for sector in (part[0], part[0] + part[1] - 1):
                    file.seek(sector * self.sector)
                    ends.append(file.read(17))
                found[number] = ends
        return found


def random_layouts(directory, rng, count):
    refused = changed = 0
    for index in range(count):
        layout = Layout(rng, os.path.join(directory, f"layout{index}.img"), index)
        before = judge(layout.path, layout.device, layout.gpt, layout.sector)
        for step in range(rng.randrange(6, 14)):
            layout.mark(before, step)
            marks = layout.marks(before)
            command = layout.change(before)
            done = dish(layout.path, command, ok=(0, 1))
            where = f"layout {index}, step {step}: {command}"
            if done.returncode:
                check(by_dish(layout.path)[1] == before, f"{where}: failed, but the table changed\n{done.stderr}")
                refused += 1
                continue
            changed += 1
            try:
                after = judge(layout.path, layout.device, layout.gpt, layout.sector)
            except SystemExit as failure:
                raise SystemExit(f"{failure}\nat {where}")
            if command.startswith("partition move"):
                number = int(command.split()[2])
                check(layout.marks(after)[number] == marks[number], f"{where}: the data did not move along")
            before = after
        with open(layout.path, "rb") as file:
            check(file.read(440) == layout.boot, f"layout {index}: the boot code changed")
        if layout.sector == 512:
            scripts_agree(layout)
        layout.close()
    print(f"{count} layouts: {changed} changes agreed with all tools, {refused} were refused")
    check(changed > 3 * refused, "too few changes were possible")


def scripts_agree(layout):
    ours = dish(layout.path, "partition script", options=("-r",)).stdout
    theirs = run("sfdisk", "-d", layout.path).stdout
    check(ours == theirs, f"scripts differ:\n{ours}\n{theirs}")
    copy = layout.path + ".copy"
    for maker in ("dish", "sfdisk"):
        blank(copy, os.path.getsize(layout.path))
        if maker == "dish":
            run(DISH, copy, "-c", "partition script -", stdin=theirs)
        else:
            done = run("sfdisk", "-q", copy, stdin=ours, ok=None)
            # It wants a MiB in front of each logical partition for its entry, although one sector does.
            if done.returncode and not layout.gpt and re.search("out of range|No free sectors", done.stderr):
                continue
            check(done.returncode == 0, f"sfdisk refuses the script: {done.stderr}\n{ours}")
        made, wanted = by_dish(copy)[1], by_dish(layout.path)[1]
        if maker == "sfdisk":  # it drops names beyond the basic plane when it reads them
            made, wanted = ({n: p if max(p[4] + " ") <= "\uffff" else p[:4] for n, p in parts.items()}
                            for parts in (made, wanted))
            made = {n: p if len(wanted.get(n, ())) == 5 else p[:4] for n, p in made.items()}
        check(made == wanted, f"the script does not make the same table with {maker}:\n{ours}\n{made}")
        os.unlink(copy)


# ---- tables of others -------------------------------------------------------------------------------------------

def compare(path, gpt=True):
    table, ours = by_dish(path)
    check(ours == by_sfdisk(path), f"{path}:\n dish {ours}\n sfdisk {by_sfdisk(path)}")
    check(dish(path, "partition verify", options=("-r",)).returncode == 0, path)
    # Storing what is there changes nothing.
    before = contents(path)
    for part in table["partitions"]:
        dish(path, f"partition type {part['number']} {part['type']}")
    check(contents(path) == before, f"{path}: storing the same table changed bytes")


def contents(path):
    """All that is allocated, by offset; zeros do not count."""
    found = {}
    with open(path, "rb") as file:
        end, at = os.fstat(file.fileno()).st_size, 0
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            for at in range(at // 4096 * 4096, os.lseek(file.fileno(), at, os.SEEK_HOLE), 4096):
                file.seek(at)
                data = file.read(4096)
                if data.strip(b"\0"):
                    found[at] = data
            at += 4096
    return found


def foreign_tables(directory):
    path = os.path.join(directory, "foreign.img")

    def fresh(size=200):
        blank(path, size * MiB)

    fresh()
    run("sgdisk", "-o", "-n", "1:0:+16M", "-t", "1:ef00", "-c", "1:EFI", "-n", "5:0:+20M", "-t", "5:8200", "-n",
        "3:0:0", "-A", "3:set:2", "-A", "3:set:60", "-c", "3:Ärger", path)
    compare(path)
    run("sgdisk", "-h", "1:3", path)  # hybrid
    with open(path, "rb") as file:
        hybrid = file.read(512)
    compare(path)
    dish(path, "partition name 1 other")
    with open(path, "rb") as file:
        check(file.read(512) == hybrid, "the hybrid MBR was not kept")
    fresh()
    run("sgdisk", "-S", "256", "-n", "200:0:+4M", path)
    compare(path)
    fresh()
    run("sfdisk", "-q", path, stdin="label: gpt\nsize=16M,type=U,name=EFI\nsize=30M,type=S\ntype=H\n")
    compare(path)
    fresh()
    run("sfdisk", "-q", path, stdin="label: dos\n,40M,L\n,30M,c,*\n,100M,E\n,20M,83\n,10M,82\n,9M\n,5M,8e\n")
    compare(path)
    run("sfdisk", "-q", "--delete", path, "6")
    compare(path)
    for label in ("gpt", "msdos"):
        fresh()
        names = ["one", "two"] if label == "gpt" else ["primary", "primary"]
        run("parted", "-s", path, "mklabel", label, "mkpart", names[0], "ext4", "1MiB", "41MiB", "mkpart", names[1],
            "linux-swap", "41MiB", "80MiB")
        if label == "msdos":
            run("parted", "-s", path, "mkpart", "extended", "80MiB", "190MiB", "mkpart", "logical", "81MiB", "100MiB",
                "mkpart", "logical", "101MiB", "120MiB", "mkpart", "logical", "130MiB", "150MiB", "set", "2", "boot",
                "on", "rm", "6")
        compare(path)
    for script in ("g\nn\n\n\n+20M\nn\n7\n\n+30M\nt\n7\n19\nw\n",
                   "o\nn\np\n1\n\n+20M\nn\ne\n2\n\n+120M\nn\nl\n\n+10M\nn\nl\n\n+12M\na\n1\nw\n"):
        fresh()
        run("fdisk", path, stdin=script)
        compare(path)
    foreign_maps(path, fresh)
    os.unlink(path)
    print("tables of sgdisk, sfdisk, parted and fdisk read the same")


def foreign_maps(path, fresh):
    """Apple maps and BSD labels: read-only."""
    for label, kind in (("mac", "apm"), ("bsd", "bsd")):
        fresh()
        names = [["one"], ["two"]] if label == "mac" else [[], []]
        run("parted", "-s", path, "mklabel", label, "mkpart", *names[0], "ext2", "1MiB", "41MiB", "mkpart", *names[1],
            "ext2", "50MiB", "80MiB")
        theirs = {n: p[:2] for n, p in by_parted(path).items()}
        table, ours = by_dish_lenient(path)
        check(table["label"] == kind, f"{label} read as {table['label']}")
        check(ours == theirs, f"{label}:\n dish {ours}\n parted {theirs}")
        done = dish(path, "partition delete 2", ok=(1,))
        check("read" in done.stderr, done.stderr)


def by_dish_lenient(path):
    table = json.loads(dish(path, "partition list", options=("-r", "-j")).stdout)
    return table, {p["number"]: (p["first-sector"], p["sectors"]) for p in table["partitions"]}


# ---- superfloppies ----------------------------------------------------------------------------------------------

def superfloppies(directory):
    path = os.path.join(directory, "floppy.img")
    makers = [["mkfs.fat", "-F", "12"], ["mkfs.fat", "-F", "16"], ["mkfs.fat", "-F", "32"], ["mkfs.ext4", "-qF"],
              ["mkfs.exfat"], ["mkfs.ntfs", "-qF"]]
    for maker in makers:
        blank(path, 64 * MiB if maker[-1] != "12" else 4 * MiB)
        run(*maker, path)
        if maker[0] == "mkfs.ext4":  # a boot sector with a signature in front of it
            with open(path, "r+b") as file:
                file.write(b"\xfa\x31\xc0" + b"\x90" * 437)
                file.seek(510)
                file.write(b"\x55\xaa")
        done = dish(path, "partition list", ok=(1,), options=("-r",))
        check("no partition table" in done.stderr, f"{maker}: taken for a table: {done.stdout}")
        # A table over it is a table, for everybody.
        for label in ("mbr", "gpt"):
            dish(path, f"partition init {label}", "partition add 1M linux")
            check(by_dish(path)[0]["label"] == label, f"{maker}, {label}")
            check(by_dish(path)[1] == by_sfdisk(path), f"{maker}, {label}")
    os.unlink(path)
    print("filesystems without a table are told apart")


# ---- damage -----------------------------------------------------------------------------------------------------

def damage(directory, rng, count):
    path = os.path.join(directory, "damage.img")
    blank(path, 64 * MiB)
    dish(path, "partition init gpt", "partition add 10M esp EFI", "partition add 20M linux root",
         "partition add rest home home")
    whole = by_dish(path)[1]
    size = os.path.getsize(path)
    places = [(512, 92), (1024, 3 * 128), (size - 512, 92), (size - 33 * 512, 3 * 128)]
    for _ in range(count):
        start, length = rng.choice(places)
        at, bit = start + rng.randrange(length), 1 << rng.randrange(8)
        flip(path, at, bit)
        dish(path, "partition verify", ok=(4,), options=("-r",))
        text = run("sgdisk", "-v", path, ok=None)
        check(TROUBLE.search(text.stdout + text.stderr), f"sgdisk does not mind a flip at {at}")
        check(by_dish(path)[1] == whole, f"a flipped bit at {at} changed the table")
        dish(path, "partition repair")
        text = run("sgdisk", "-v", path)
        check("No problems found" in text.stdout and not TROUBLE.search(text.stdout + text.stderr),
              f"after repair: {text.stdout}")
        check(by_sfdisk(path) == whole, "the repaired table differs")
    grow(path)
    os.unlink(path)
    print(f"{count} flipped bits were found and repaired")


def flip(path, at, bit):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bit]))


def grow(path):
    with open(path, "r+b") as file:
        file.truncate(100 * MiB)
    dish(path, "partition verify", ok=(4,), options=("-r",))
    dish(path, "partition resize 3 rest")
    table, parts = by_dish(path)
    check(sum(parts[3][:2]) == 100 * MiB // 512 - 33, f"the last partition does not reach the end: {parts}")
    text = run("sgdisk", "-v", path)
    check("No problems found" in text.stdout and not TROUBLE.search(text.stdout + text.stderr), text.stdout)


def conversions(directory):
    path = os.path.join(directory, "convert.img")
    blank(path, 300 * MiB)
    run("sfdisk", "-q", path, stdin="label: dos\n,40M,L\n,30M,c,*\n,150M,E\n,30M,83\n,20M,82\n,10M,8e\n")
    places = {p[:2] for n, p in by_dish(path)[1].items() if p[2] != "0x05"}
    dish(path, "partition convert gpt")
    judge(path, path, True, 512)
    check({p[:2] for p in by_dish(path)[1].values()} == places, "converting to GPT moved something")
    dish(path, "partition convert mbr")
    judge(path, path, False, 512)
    check({p[:2] for p in by_dish(path)[1].values() if p[2] != "0x05"} == places, "converting to MBR moved something")
    os.unlink(path)
    print("conversions keep every place")


def main():
    rng = random.Random(SEED)
    needed = ["sgdisk", "sfdisk", "fdisk", "parted"]
    missing = [tool for tool in needed if not shutil.which(tool)]
    if missing:
        raise SystemExit("missing: " + ", ".join(missing))
    directory = tempfile.mkdtemp()
    try:
        foreign_tables(directory)
        superfloppies(directory)
        conversions(directory)
        damage(directory, rng, 100 if LONG else 12)
        random_layouts(directory, rng, 200 if LONG else 14)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
