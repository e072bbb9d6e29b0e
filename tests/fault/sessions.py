#!/usr/bin/env python3
"""Sessions that meet a failure at every possible place: the image is in the old state or in the new one.

Each session runs once undisturbed, which gives the new state and the number of operations on host files and of
allocations. Then it runs again for each of them, on a fresh copy of the image, with that one failing: the host
reports an error or is full, the power is cut (with all, some or none of what was not synced lost), or there is
no memory. Afterwards the image is opened again and judged by foreign programs; the states are compared by what
a foreign program reads from them.

LONG=1 tries every place; otherwise at most a number of places that are evenly spread, other ones with another
SEED. ONLY=NAME runs one session.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile

FAULTDISH = os.environ["FAULTDISH"]
LONG = os.environ.get("LONG") == "1"
SEED = int(os.environ.get("SEED", "1"))
ONLY = os.environ.get("ONLY")
HOST_PLACES = 10**9 if LONG else 9
MEMORY_PLACES = 3000 if LONG else 10
ENVIRONMENT = dict(os.environ, SOURCE_DATE_EPOCH="1700000000", LC_ALL="C.UTF-8", ASAN_OPTIONS="exitcode=77")

os.environ["PATH"] += ":/usr/sbin:/sbin"
ENVIRONMENT["PATH"] = os.environ["PATH"]


def command(*words, ok=(0,), text_in=None):
    """Run a program; its output, or an exception when the exit status is not one of `ok`."""
    done = subprocess.run(words, input=text_in, capture_output=True, text=True, errors="replace", env=ENVIRONMENT)
    if done.returncode not in ok:
        raise AssertionError(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def digest_of_tree(folder):
    sums = []
    for base, folders, files in sorted(os.walk(folder)):
        for name in sorted(folders + files):
            path = os.path.join(base, name)
            if os.path.islink(path):
                what = os.readlink(path)
            elif os.path.isdir(path):
                what = "directory"
            else:
                with open(path, "rb") as file:
                    what = hashlib.sha256(file.read()).hexdigest()
            sums.append(f"{os.path.relpath(path, folder)} {what}")
    return "\n".join(sums)


class Image:
    """A raw image with one filesystem or none, or a qcow2 one that holds such a thing."""

    def __init__(self, name, fs=None, qcow2=False, offset=0):
        self.name, self.fs, self.qcow2, self.offset = name, fs, qcow2, offset

    def raw(self, path):
        if not self.qcow2:
            return path
        command("qemu-img", "check", "-q", path)
        command("qemu-img", "convert", "-O", "raw", path, path + ".raw")
        return path + ".raw"

    def volume(self, path):
        raw = self.raw(path)
        if self.offset == 0:
            return raw
        with open(raw, "rb") as file, open(path + ".volume", "wb") as out:
            file.seek(self.offset)
            shutil.copyfileobj(file, out)
        return path + ".volume"

    def state(self, path):
        """What a foreign program finds in the image, which is without damage."""
        extra = ""
        if not os.path.exists(path):
            return "there is none"
        if self.qcow2:
            extra = command("qemu-img", "snapshot", "-l", path)
        if self.fs is None:
            # Identifiers are drawn at random; all else of the table counts.
            table = command("sfdisk", "--dump", self.raw(path))
            table = re.sub(r"uuid=[0-9A-F-]*|^label-id:.*|^device:.*|\S*disk.img", "", table, flags=re.M)
            return f"{os.path.getsize(self.raw(path))} {table} {extra}"
        volume = self.volume(path)
        size = os.path.getsize(volume)
        with tempfile.TemporaryDirectory(dir=os.path.dirname(path)) as folder:
            if self.fs == "ext":
                command("e2fsck", "-fn", volume)
                command("debugfs", "-R", f'rdump / "{folder}"', volume)
            else:
                command("fsck.vfat", "-n", volume)
                command("mcopy", "-s", "-n", "-i", volume, "::/", folder)
            return f"{size} {digest_of_tree(folder)} {extra}"


class Session:
    """Commands on a first image (make None: one that they create), and on others that the script opens."""

    def __init__(self, name, image, make, script, others=()):
        self.name, self.image, self.make, self.script = name, image, make, script
        self.others = others


def make_ext(path):
    command("truncate", "-s", "4M", path)
    command("mkfs.ext4", "-q", "-F", "-b", "1024", "-O", "^has_journal", path)
    content(path, "ext")


def make_fat(path):
    command("mkfs.vfat", "-C", path, "4096")
    content(path, "fat")


def content(path, fs):
    source = path + ".content"
    with open(source, "wb") as file:
        file.write(b"old contents\n" * 9000)
    for name in ("one", "two", "three"):
        if fs == "ext":
            command("debugfs", "-w", "-R", f"write {source} {name}", path)
        else:
            command("mcopy", "-i", path, source, f"::/{name}")
    os.unlink(source)


def make_qcow2(path):
    make_ext(path + ".fs")
    command("qemu-img", "convert", "-O", "qcow2", "-o", "cluster_size=4096", path + ".fs", path)
    os.unlink(path + ".fs")


def make_disk(path):
    command("truncate", "-s", "8M", path)
    command("sfdisk", "-q", path, text_in="label: gpt\nstart=2048, size=8192\n")
    make_ext(path + ".fs")
    with open(path + ".fs", "rb") as file, open(path, "r+b") as out:
        out.seek(1 << 20)
        out.write(file.read())
    os.unlink(path + ".fs")


FILES = """
put big.bin /new
write /motd 'hello'
rm /one
mkdir /dir
mv /two /dir/second
"""

SESSIONS = [
    Session("ext", Image("disk.img", "ext"), make_ext, FILES + "truncate -s 5 /three\n"),
    Session("fat", Image("disk.img", "fat"), make_fat, FILES + "truncate -s 5 /three\n"),
    Session("qcow2", Image("disk.qcow2", "ext", qcow2=True), make_qcow2, FILES),
    Session("undo", Image("disk.img", "ext"), make_ext,
            "put big.bin /new\nmkdir /a\nundo 2\nmkdir /b\nput big.bin /c\nundo\nredo\n-rm /nothing\n"),
    Session("partitions", Image("disk.img", None), make_disk,
            "resize +2M\npartition add 1M linux\npartition name 2 tail\n"),
    Session("snapshots", Image("disk.qcow2", "ext", qcow2=True), make_qcow2,
            "snapshot create first\nput big.bin /new\nrm /one\nsnapshot create second\nsnapshot apply first\n"
            "mkdir /after\n"),
    Session("compact", Image("disk.qcow2", "ext", qcow2=True), make_qcow2,
            "rm /one\nsnapshot create first\nrm /two\ncompact\nput big.bin /new\n"),
    Session("images", Image("disk.img", "ext"), make_ext,
            "open other=other.img\nmv --lossy /one other:/moved\nopen third=third.qcow2\ncp other:/two third:/copied\n"
            "mv third:/three /came\n",
            [(Image("other.img", "fat"), make_fat), (Image("third.qcow2", "ext", qcow2=True), make_qcow2)]),
    Session("create", Image("disk.qcow2", "ext", qcow2=True), None,
            "create disk.qcow2 8M\nmkfs ext4\n" + FILES.replace("rm /one", "mkdir /one").replace("mv /two", "mv /one")),
    Session("partition", Image("disk.img", "ext", offset=1 << 20), make_disk, FILES),
]


class Runner:
    def __init__(self, scratch, session):
        self.session = session
        self.folder = os.path.join(scratch, session.name)
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, session.image.name)
        self.result = os.path.join(scratch, "result")
        self.script = os.path.join(scratch, "script")
        with open(self.script, "w", encoding="utf-8") as file:
            file.write(session.script)
        self.originals = os.path.join(scratch, session.name + ".originals")
        os.mkdir(self.originals)
        for image, make in self.images():
            if make:
                make(os.path.join(self.originals, image.name))
        self.clean()
        self.old = self.state()

    def images(self):
        return [(self.session.image, self.session.make), *self.session.others]

    def state(self):
        return "\n".join(image.state(os.path.join(self.folder, image.name)) for image, _ in self.images())

    def clean(self):
        """The original image alone."""
        shutil.rmtree(self.folder)
        os.mkdir(self.folder)
        for name in os.listdir(self.originals):
            command("cp", "--sparse=always", os.path.join(self.originals, name), self.folder)
        with open(os.path.join(self.folder, "big.bin"), "wb") as file:
            file.write(b"new contents " * 20000)

    def run(self, sort, place, seed):
        """Exit status, messages, operations seen, and whether the failure happened."""
        if os.path.exists(self.result):
            os.unlink(self.result)
        image = [self.path] if self.session.make else []
        done = subprocess.run(
            [FAULTDISH, sort, str(place), str(seed), self.result, "--", "-q", "-f", self.script, *image],
            cwd=self.folder, capture_output=True, text=True, errors="replace", env=ENVIRONMENT, timeout=120)
        if not os.path.exists(self.result):
            raise AssertionError(f"died: status {done.returncode}\n{done.stdout}{done.stderr}")
        if done.returncode not in (0, 1, 2, 3):
            raise AssertionError(f"exit status {done.returncode}\n{done.stdout}{done.stderr}")
        with open(self.result, encoding="ascii") as file:
            operations, happened = (int(word) for word in file.read().split())
        return done.returncode, done.stderr, operations, bool(happened)

    def leftovers(self):
        known = {"big.bin"} | {image.name for image, _ in self.images()}
        return [name for name in os.listdir(self.folder) if name not in known]

    def reopen(self):
        """The next session finishes or discards what was interrupted."""
        for image, _ in reversed(self.images()):
            if not os.path.exists(os.path.join(self.folder, image.name)):
                continue
            done = subprocess.run(
                [FAULTDISH, "none", "0", "0", self.result, "--", "-q", image.name, "--", "volumes"],
                cwd=self.folder, capture_output=True, text=True, errors="replace", env=ENVIRONMENT)
            if done.returncode != 0:
                raise AssertionError(f"cannot be opened again: {done.stderr}")

    def judge(self, sort, status, messages, happened):
        self.reopen()
        state = self.state()
        if state not in (self.old, self.new):
            raise AssertionError(f"neither the old nor the new state; said: {messages}")
        if not happened and status != 0:
            raise AssertionError(f"failed without a failure: {messages}")
        if status == 0 and state != self.new:
            raise AssertionError("reported success, and the image is in the old state")
        unfinished = "safe in its journal" in messages
        if status != 0 and sort in ("eio", "enospc", "memory") and state != self.old and not unfinished:
            raise AssertionError(f"reported a failure, and the image is in the new state: {messages}")
        for name in os.listdir(self.folder):
            if name.endswith((".raw", ".volume")):
                os.unlink(os.path.join(self.folder, name))
        # After a power cut the temporary name of a new file may stay; nothing of a commit.
        if [name for name in self.leftovers() if sort in ("eio", "enospc", "memory") or "journal" in name or "commit" in name]:
            raise AssertionError(f"left behind: {self.leftovers()}")

    def places(self, count, limit):
        """At most `limit` of 1..count, the last ones (the commit) denser."""
        if count <= limit:
            return list(range(1, count + 1))
        step = count / limit
        chosen = {1 + int((i + (SEED * 0.37) % 1) * step) for i in range(limit)}
        return sorted(place for place in chosen if place <= count)

    def all_places(self):
        self.clean()
        status, messages, operations, _ = self.run("none", 0, 0)
        if status != 0:
            raise AssertionError(f"the undisturbed session fails: {messages}")
        self.reopen()
        self.new = self.state()
        if self.new == self.old:
            raise AssertionError("the session changes nothing")
        for sort in ("eio", "enospc", "cut", "loss", "mixed"):
            for place in self.places(operations, HOST_PLACES):
                yield sort, place
        allocations = self.count_allocations()
        for place in self.places(allocations, MEMORY_PLACES):
            yield "memory", place

    def count_allocations(self):
        """How many there are: the first place where nothing fails any more, by bisection."""
        low, high = 0, 1 << 22
        while high - low > max(1, low // 50):
            middle = (low + high) // 2
            self.clean()
            if self.run("memory", middle, 0)[3]:
                low = middle
            else:
                high = middle
        return low

    def test(self):
        failures = cases = 0
        for sort, place in self.all_places():
            cases += 1
            self.clean()
            try:
                status, messages, _, happened = self.run(sort, place, SEED + place)
                self.judge(sort, status, messages, happened)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                failures += 1
                print(f"FAILED {self.session.name}: {sort} {place}: {error}")
        print(f"{self.session.name}: {cases} cases, {failures} failures", flush=True)
        return failures == 0


def main():
    missing = [tool for tool in ("e2fsck", "debugfs", "mkfs.vfat", "mcopy", "qemu-img", "sfdisk")
               if not shutil.which(tool, path=ENVIRONMENT["PATH"])]
    if missing:
        print(f"skipped: {', '.join(missing)} not here")
        return 0
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    good = True
    with tempfile.TemporaryDirectory(dir=base) as scratch:
        for session in SESSIONS:
            if ONLY in (None, session.name):
                good = Runner(scratch, session).test() and good
    return 0 if good else 1


sys.exit(main())
