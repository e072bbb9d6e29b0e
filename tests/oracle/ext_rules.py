#!/usr/bin/env python3
"""Rules that the kernel follows when files of an ext volume change: default ACLs are inherited, immutable and
append-only files are left alone. The same steps by the kernel, where it can mount, give the same result."""
import os
import shutil
import tempfile

from _dish import DISH, blank, content, expect, fail, finish, run


def make(path, *options):
    blank(path, 16 << 20)
    code, _, err = run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", *options, path)
    if code:
        fail(f"mke2fs: {err}")


LISTS = ("u:1000:rwx,g:2000:rx,m::rwx,u::rwx,g::rx,o::rx", "u::rwx,g::rx,o::-", "u:7:rw,u::rw,g::r,o::r,m::rx")
STEPS = [  # name, dish, a shell in the mounted volume
    ("sub", "mkdir /d/sub", "mkdir d/sub"),
    ("sub/deep/er", "mkdir -p /d/sub/deep/er", "mkdir -p d/sub/deep/er"),
    ("private", "mkdir -m 700 /d/private", "mkdir -m 700 d/private"),
    ("touched", "touch /d/touched", "touch d/touched"),
    ("written", "write /d/written text", "echo text >d/written"),
    ("fifo", "mknod /d/fifo p", "mkfifo d/fifo"),
    ("node", "mknod -m 604 /d/node c 1 3", "mknod -m 604 d/node c 1 3"),
    ("copied", "put HOST/copied /d/copied", "cp HOST/copied d/copied"),
    ("tree", "put -r HOST/tree /d/", "cp -r HOST/tree d/"),
    ("tree/inner", "", ""),
]


def lists_of(top):
    """Mode and ACLs of every file, by name."""
    found = {}
    for name, _, _ in STEPS:
        text = run("getfacl", "-n", "--absolute-names", f"{top}/d/{name}")[1]
        lines = [line for line in text.splitlines() if line and not line.startswith("# file")]
        found[name] = sorted(line.split("\t")[0] for line in lines)
    return found


def mount(image, at):
    os.makedirs(at, exist_ok=True)
    return os.geteuid() == 0 and run("mount", "-o", "loop", image, at)[0] == 0


def inheritance(folder):
    host = folder + "/host"
    os.makedirs(host + "/tree")
    for name, mode in (("copied", 0o640), ("tree/inner", 0o755)):
        with open(f"{host}/{name}", "w") as f:
            f.write(name)
        os.chmod(f"{host}/{name}", mode)
    os.chmod(host + "/tree", 0o750)
    for acl in LISTS:
        ours, theirs = folder + "/ours.img", folder + "/theirs.img"
        make(ours, "-O", "^has_journal")
        defaults = ",".join("d:" + entry for entry in acl.split(","))
        code, _, err = run(DISH, ours, stdin=f"mkdir /d\nacl -m {defaults} /d\n".encode())
        expect(code == 0, f"acl -m {defaults}: {err}")
        shutil.copy(ours, theirs)
        script = "\n".join(step.replace("HOST", host) for _, step, _ in STEPS) + "\n"
        code, _, err = run(DISH, ours, stdin=script.encode())
        expect(code == 0, f"{acl}: {err}")
        code, text, _ = run("e2fsck", "-fn", ours)
        expect(code == 0, f"{acl}: e2fsck: {text}")
        code, text, _ = run(DISH, "-r", ours, "--", "acl", "/d/sub/deep")
        first = acl.split(",")[0].replace("u:", "user:").replace("g:", "group:")
        expect("default:user::" in text, f"{acl}: a directory does not hand it on: {text}")
        expect("u:" not in acl.split(",")[0] or "::" in first or first.split(":")[1] in text, f"{acl}: {text}")
        if not mount(theirs, folder + "/m"):
            continue
        script = "umask 022\n" + "\n".join(step.replace("HOST", host) for _, _, step in STEPS)
        code, _, err = run("sh", "-ec", f"cd {folder}/m; {script}")
        expect(code == 0, f"{acl}: the kernel: {err}")
        right = lists_of(folder + "/m")
        run("umount", folder + "/m")
        if mount(ours, folder + "/m"):
            found = lists_of(folder + "/m")
            run("umount", folder + "/m")
            for name in right:
                expect(found[name] == right[name], f"{acl}: {name}: {found[name]}, the kernel: {right[name]}")
    make(ours, "-O", "^has_journal")  # without a default list all is as ever
    run(DISH, ours, stdin=b"mkdir /d\nmkdir /d/sub\nwrite /d/f x\nmkdir -m 701 /d/m\n")
    _, text, _ = run(DISH, "-r", ours, "--", "stat", "-c", "%a", "/d/sub", "/d/f", "/d/m")
    expect(text.split() == ["755", "644", "701"], f"modes without a list: {text}")


REFUSED = {
    "+i": ["write /d/f new", "write -a /d/f more", "rm /d/f", "mv /d/f /d/g", "ln /d/f /d/g", "chmod 600 /d/f",
           "chown 5 /d/f", "touch /d/f", "truncate -s 0 /d/f", "punch -l 1 /d/f", "xattr -n user.a -v b /d/f",
           "fallocate -l 10K /d/f", "put /etc/passwd /d/f", "mv /other /d/f", "cp /other /d/f", "acl -m u:1:r /d/f"],
    "+a": ["write /d/f new", "rm /d/f", "mv /d/f /d/g", "ln /d/f /d/g", "chmod 600 /d/f", "chown 5 /d/f",
           "truncate -s 0 /d/f", "punch -l 1 /d/f", "xattr -n user.a -v b /d/f", "put /etc/passwd /d/f",
           "touch -d 2001-02-03 /d/f", "touch -t 200102030405 /d/f", "touch -r /other /d/f", "touch -a /d/f",
           "touch -m /d/f"],
    "dir +i": ["write /d/new x", "mkdir /d/new", "rm /d/f", "mv /d/f /other2", "mv /other /d/", "ln /other /d/x",
               "ln -s a /d/x", "mknod /d/x p", "chmod 700 /d", "rm -r /d", "mv /d /e", "touch /d/new"],
    "dir +a": ["rm /d/f", "mv /d/f /other2", "mv /d/f /d/g", "chmod 700 /d", "rm -r /d", "mv /d /e",
               "touch -d 2001-02-03 /d"],
}
ALLOWED = {
    "+i": ["cat /d/f", "attr -i /d/f", "mv /d /e", "write /d/new x"],
    "+a": ["write -a /d/f more", "attr -a /d/f", "touch /d/f", "touch -a -m /d/f"],
    "dir +i": ["write /d/f new", "write -a /d/f more", "chmod 600 /d/f", "attr -i /d", "truncate -s 1 /d/f"],
    "dir +a": ["write /d/new x", "mkdir /d/new", "mv /other /d/", "ln /other /d/x", "attr -a /d", "touch /d"],
}


def guards(image):
    make(image)
    code, _, err = run(DISH, image, stdin=b"mkdir /d\nwrite /d/f text\nwrite /other text\n")
    expect(code == 0, f"setting up: {err}")
    base = image + ".base"
    for flag in REFUSED:
        target = "/d" if flag.startswith("dir") else "/d/f"
        run(DISH, image, "--", "attr", flag.split()[-1], target)
        shutil.copy(image, base)
        before = content(base)
        for step in REFUSED[flag]:
            code, out, err = run(DISH, image, stdin=step.encode() + b"\n")
            expect(code == 1 and "operation not permitted" in err, f"{flag}: {step}: {code} {err}")
            expect(content(image) == before, f"{flag}: {step} changed the image")
        for step in ALLOWED[flag]:
            shutil.copy(base, image)
            code, _, err = run(DISH, image, stdin=step.encode() + b"\n")
            expect(code == 0, f"{flag}: {step} is allowed: {err}")
            expect(run("e2fsck", "-fn", image)[0] == 0, f"{flag}: {step}: e2fsck")
        shutil.copy(base, image)
        run(DISH, image, "--", "attr", flag.split()[-1].replace("+", "-"), target)
    code, _, err = run(DISH, image, stdin=b"rm -r /d\n")
    expect(code == 0, f"without flags: {err}")


def guards_of_the_kernel(image, mounted):
    """What is refused or allowed above to touch is so by the kernel, too."""
    make(image)
    run(DISH, image, stdin=b"mkdir /d\nwrite /d/f text\nwrite /other text\n")
    for flag in REFUSED:
        target = "/d" if flag.startswith("dir") else "/d/f"
        run(DISH, image, "--", "attr", flag.split()[-1], target)
        if not mount(image, mounted):
            return
        for steps, right in ((REFUSED, 1), (ALLOWED, 0)):
            for step in (step for step in steps[flag] if step.startswith("touch ") and "new" not in step):
                words = step.replace(" /", f" {mounted}/").split()
                expect(run(*words)[0] == right, f"{flag}: {step}: the kernel does otherwise")
        run("umount", mounted)
        run(DISH, image, "--", "attr", flag.split()[-1].replace("+", "-"), target)


def shared_values(image):
    """Equal attribute values share one inode, counted right through all that happens to their owners."""
    for options in ("ea_inode", "ea_inode,quota", "ea_inode,^metadata_csum"):
        make(image, "-O", options)
        value, other = "x" * 9000, "y" * 9000
        script = "".join(f"write /f{i} a\nxattr -n user.big -v {value} /f{i}\n" for i in range(20))
        script += f"xattr -x user.big /f1\nxattr -n user.big -v {other} /f2\nxattr -n user.big -v {value} /f1\n"
        script += "rm /f3\nchown 5 /f4\n"
        code, _, err = run(DISH, image, stdin=script.encode())
        expect(code == 0, f"{options}: {err}")
        code, text, _ = run("e2fsck", "-fn", image)
        expect(code == 0 and " 32/" in text, f"{options}: e2fsck: {text}")
        for name, right in (("f1", value), ("f2", other), ("f7", value)):
            _, text, _ = run(DISH, "-r", image, "--", "xattr", "-n", "user.big", f"/{name}")
            expect(right in text, f"{options}: /{name}: {text[:80]}")
        code, _, err = run(DISH, image, stdin=b"".join(b"rm /f%d\n" % i for i in range(20) if i != 3))
        code, text, _ = run("e2fsck", "-fn", image)
        expect(code == 0 and " 11/" in text, f"{options}: all removed: {err} {text}")


with tempfile.TemporaryDirectory() as top:
    inheritance(top)
    guards(top + "/g.img")
    guards_of_the_kernel(top + "/k.img", top + "/m")
    shared_values(top + "/v.img")
finish()
