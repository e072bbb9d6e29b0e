#!/usr/bin/env python3
"""Casefolded directories of ext: names are found in any case, entered once, and hashed so that e2fsck (whose tables
are those of the kernel) finds nothing to say; what might fold differently there is refused."""
import ctypes
import ctypes.util
import os
import random
import tempfile

from _dish import DISH, LONG, blank, expect, finish, run


def make(path, *options):
    blank(path, 16 << 20)
    features = ",".join(("casefold",) + options)
    code, _, err = run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-N", "4000", "-O", features, path)
    expect(code == 0, f"mke2fs: {err}")


def dish(path, script):
    return run(DISH, path, stdin=script.encode())


def sound(path, what):
    code, text, _ = run("e2fsck", "-fn", path)
    expect(code == 0, f"{what}: e2fsck: {text}")
    code, text, err = run(DISH, "-r", path, "--", "fsck")
    expect(code == 0, f"{what}: fsck: {text}{err}")


def names(path, directory):
    return sorted(run(DISH, "-r", path, "--", "ls", directory)[1].split("\n")[:-1])


def rules(path):
    for options in ((), ("inline_data",), ("^dir_index",), ("^metadata_csum",)):
        make(path, *options)
        code, _, err = dish(path, "mkdir /d\nattr +F /d\nwrite /d/Foo one,\nmkdir /d/Sub\nwrite /d/Sub/Ärger two\n")
        expect(code == 0, f"{options}: making: {err}")
        _, text, err = dish(path, "cat /d/fOO\ncat /D/foo || echo no\ncat '/d/SUB/äRGER'\n")
        expect(text.split() == ["one,no", "two"], f"{options}: looking: {text} {err}")
        for step in ("mkdir /d/FOO", "ln /d/Sub/Ärger /d/foo", "attr -F /d", "attr +F /d/Foo",
                     "write /d/$'\\xff' x", "write /d/\uA7C7 x", "write /d/a\u0301 x", "write /d/a\u200Db x"):
            code, _, err = dish(path, step + "\n")
            expect(code == 1, f"{options}: {step} was not refused")
        code, _, err = dish(path, "write -a /d/FOO more\nmv /d/foo /d/FOO\n")
        expect(code == 0 and names(path, "/d") == ["FOO", "Sub"], f"{options}: {names(path, '/d')} {err}")
        code, _, err = dish(path, "mv /d/sub/ärger /d/fOO\nmv /d/SUB /d/x\nmv /d/x /d/sub\nrm /d/Foo\n")
        expect(code == 0 and names(path, "/d") == ["sub"], f"{options}: {names(path, '/d')} {err}")
        sound(path, options)
        code, _, err = dish(path, "rm -r /d/SUB\nattr -F /d\nwrite /d/a x\nwrite /d/A x\n")
        expect(code == 0 and names(path, "/d") == ["A", "a"], f"{options}: {names(path, '/d')} {err}")
        sound(path, f"{options}, no longer folding")
    make(path)
    with tempfile.TemporaryDirectory() as host:
        for name in ("x", "X", "y"):
            open(f"{host}/{name}", "w").close()
        code, _, err = dish(path, f"mkdir /d\nattr +F /d\nput -r {host}/. /d\n")
        expect(names(path, "/d") in (["x", "y"], ["X", "y"], []), f"two names that fold to one: {names(path, '/d')} {err}")
    sound(path, "two names that fold to one")


ALPHABETS = ["abcXYZ019-_. ", "ÄÖÜäöüßẞéÈñÑçÇ", "ΑΒΓαβγΣσςΐΰ", "ЖжЁёйЙ", "İıIiǅǆŉǰ", "Ａｂ한글カガ", 
             "ﬁﬀﬅ", "\u1E9B\u1E69", "\u3042\u30AC\u4E2D", "🙂𐐀𐐨"]


def many(path):
    """An index over names of many alphabets, made, changed and rebuilt."""
    rng = random.Random(5)
    for options in (("^metadata_csum",), ()):
        make(path, *options)
        there, script = {}, ["mkdir /d", "attr +F /d"]
        for i in range(3000 if LONG else 400):
            name = f"{i}-" + "".join(rng.choice(ALPHABETS[rng.randrange(len(ALPHABETS))]) for _ in range(rng.randrange(1, 30)))
            name = name.rstrip()
            there[name] = i
            script.append(f"ln -s {i} '/d/{name}'")
        code, _, err = dish(path, "\n".join(script) + "\n")
        expect(code == 0, f"{options}: many: {err[:500]}")
        sound(path, f"{options}, many")
        expect(names(path, "/d") == sorted(there), f"{options}: many: the names are others")
        some = rng.sample(sorted(there), 100)
        _, text, err = dish(path, "".join(f"readlink '/d/{name.upper() if name.isascii() else name.swapcase()}' || echo gone\n"
                                          for name in some if name.isascii()))
        expect(text.split() == [str(there[name]) for name in some if name.isascii()], f"{options}: in other case: {text[:200]} {err[:300]}")
        code, _, err = dish(path, "".join(f"rm '/d/{name}'\n" for name in some))
        expect(code == 0, f"{options}: removing: {err[:300]}")
        sound(path, f"{options}, some removed")
        block = int(run("debugfs", "-R", "bmap /d 0", path)[1])
        with open(path, "r+b") as f:
            f.seek(block * 1024 + 0x28)
            f.write(b"\xfe\xff\xff\xff")
        code, text, err = run(DISH, path, "--", "fsck", "--repair")
        expect(code == 0 and "index is damaged" in text, f"{options}: rebuilding: {text} {err}")
        sound(path, f"{options}, rebuilt")


def refused_table():
    """utf8proc and the tables of libext2fs fold every character alike that dish does not refuse."""
    try:
        lib, up = ctypes.CDLL("libext2fs.so.2"), ctypes.CDLL(ctypes.util.find_library("utf8proc"))
        lib.ext2fs_load_nls_table.restype = ctypes.POINTER(ctypes.c_void_p)
    except (OSError, AttributeError, TypeError):
        return
    table = lib.ext2fs_load_nls_table(1)
    fold = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p,
                            ctypes.c_size_t)(ctypes.cast(table[1], ctypes.POINTER(ctypes.c_void_p))[0])
    up.utf8proc_map.argtypes = [ctypes.c_char_p, ctypes.c_ssize_t, ctypes.POINTER(ctypes.c_void_p), ctypes.c_int]
    up.utf8proc_map.restype = ctypes.c_ssize_t
    free = ctypes.CDLL(None).free
    free.argtypes = [ctypes.c_void_p]
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../formats/ext/fold.c")
    text = open(source).read().split("later[] = {")[1].split("};")[0]
    numbers = [int(word, 16) for word in text.replace("{", " ").replace("}", " ").replace(",", " ").split()]
    later = list(zip(numbers[::2], numbers[1::2]))
    buffer, out, others = ctypes.create_string_buffer(256), ctypes.c_void_p(), []
    for c in range(1, 0x30000 if LONG else 0x12000):
        if 0xD800 <= c < 0xE000 or any(a <= c <= b for a, b in later):
            continue
        name = chr(c).encode()
        n = fold(table, name, len(name), buffer, 255)
        m = up.utf8proc_map(name, len(name), ctypes.byref(out), 1 << 1 | 1 << 4 | 1 << 5 | 1 << 10)
        ours = ctypes.string_at(out, m) if m >= 0 else None
        free(out)
        if (buffer.raw[:n] if n >= 0 else None) != ours:
            others.append(hex(c))
    expect(not others, f"fold differently: {others}")


with tempfile.TemporaryDirectory() as top:
    rules(top + "/a.img")
    many(top + "/b.img")
    refused_table()
finish()
