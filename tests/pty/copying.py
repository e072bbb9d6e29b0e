#!/usr/bin/env python3
"""Ctrl-C in a long copy: the command is taken back at once, the session lives, the image stays sound.

$DISH is the program; LONG=1 takes a larger file and more interrupts.
"""
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from terminal import Terminal  # noqa: E402

PROGRAM = os.path.abspath(os.environ.get("DISH", "build/dish"))
LONG = os.environ.get("LONG") == "1"
SIZE = (1500 if LONG else 300) << 20
ROUNDS = 20 if LONG else 5
DIRECTORY = tempfile.mkdtemp(prefix="dish-copy-")
ENVIRONMENT = dict(os.environ, HOME=DIRECTORY, TERM="vt100", LC_ALL="C.UTF-8",
                   PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
ENVIRONMENT.pop("DISH_TEST_DROP_CACHES", None)
ENVIRONMENT["ASAN_OPTIONS"] = "detect_leaks=0"     # libedit keeps the names of its own functions for ever


def dish(*arguments, status=0):
    done = subprocess.run([PROGRAM] + list(arguments), cwd=DIRECTORY, env=ENVIRONMENT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    assert done.returncode == status, (arguments, done.returncode, done.stderr)
    return done.stdout.decode()


def sound():
    done = subprocess.run(["e2fsck", "-fn", "disk.img"], cwd=DIRECTORY, env=ENVIRONMENT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()


def prepare():
    block = random.Random(1).randbytes(1 << 20)
    with open(os.path.join(DIRECTORY, "big.bin"), "wb") as file:
        for i in range(SIZE >> 20):
            file.write(i.to_bytes(8, "little") + block[8:])
    dish("-c", "create -f raw disk.img %d; mkfs ext4 0" % (SIZE + SIZE // 4))


def test_interrupts_at_the_terminal():
    terminal = Terminal([PROGRAM, "disk.img"], env=ENVIRONMENT, cwd=DIRECTORY)
    terminal.expect(r"> ")
    terminal.line("df")
    free = terminal.expect(r"\r\n(0:.*?)\r\n.*> ").group(1)
    chance = random.Random(2)
    taken_back = slowest = 0
    for _ in range(ROUNDS):
        terminal.line("put big.bin /")
        terminal.expect(r"big.bin /\r\n")
        try:
            terminal.expect(r"> $", timeout=chance.random() * (1.0 if LONG else 0.1))
            terminal.line("rm /big.bin")       # it was faster than we were
            terminal.expect(r"> $")
            continue
        except AssertionError:
            pass
        started = time.monotonic()
        terminal.send("\x03")
        answer = terminal.expect(r"([^\r\n]*)\r\n[^\r\n]*> $").group(1)
        slowest = max(slowest, time.monotonic() - started)
        terminal.line("echo =$?")
        status = terminal.expect(r"=(\d+)\r\n.*> $").group(1)
        if status == "0":                       # it ended before it was told to
            terminal.line("rm /big.bin")
            terminal.expect(r"> $")
            continue
        taken_back += 1
        assert "put: interrupted, nothing changed" in answer, answer
        assert status == "130", status
        terminal.line("ls /")
        assert "big.bin" not in terminal.expect(r"ls /\r\n(.*?)> $").group(1)
        terminal.line("df")
        assert terminal.expect(r"\r\n(0:.*?)\r\n.*> ").group(1) == free
    print("%d of %d interrupted, the slowest prompt came after %.3f s" % (taken_back, ROUNDS, slowest))
    assert taken_back > 0
    terminal.line("put big.bin /")
    terminal.expect(r"big.bin /\r\n.*> $", timeout=120)
    terminal.line("quit -c")
    assert terminal.wait(60) == 0
    sound()
    assert dish("disk.img", "--", "ls", "/").split() == ["big.bin", "lost+found"]
    dish("disk.img", "-c", "get /big.bin back.bin")
    subprocess.run(["cmp", "big.bin", "back.bin"], cwd=DIRECTORY, check=True)
    os.unlink(os.path.join(DIRECTORY, "back.bin"))
    dish("disk.img", "--", "rm", "/big.bin")


def test_bar():
    if not LONG:
        return
    terminal = Terminal([PROGRAM, "disk.img"], env=ENVIRONMENT, cwd=DIRECTORY)
    terminal.expect(r"> ")
    terminal.line("put big.bin /")
    terminal.expect(r"\[=*> *\] +\d+% .*/s +\d+:\d\d left")
    terminal.send("\x03")
    terminal.expect(r"put: interrupted, nothing changed\r\n.*> ")
    terminal.send("\x04")
    assert terminal.wait() == 0


def ended_by(number, expected):
    """A script is ended by a signal in mid-copy: when the image has begun to grow."""
    before = dish("disk.img", "--", "ls", "-la", "/")
    image = os.path.join(DIRECTORY, "disk.img")
    blocks = os.stat(image).st_blocks
    process = subprocess.Popen([PROGRAM, "disk.img", "-c", "mkdir /a; put big.bin /; put big.bin /b"], cwd=DIRECTORY,
                               env=ENVIRONMENT, stderr=subprocess.PIPE)
    while process.poll() is None and os.stat(image).st_blocks == blocks:
        pass
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == expected, (process.returncode, errors)
    assert dish("disk.img", "--", "ls", "-la", "/") == before
    sound()
    return errors.decode()


def test_interrupted_script():
    errors = ended_by(signal.SIGINT, 130)
    assert "interrupted" in errors and "nothing was changed" in errors, errors


def test_killed_script():
    ended_by(signal.SIGKILL, -signal.SIGKILL)
    ended_by(signal.SIGTERM, 130)


def main():
    failed = False
    prepare()
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            try:
                test()
                print("ok", name)
            except AssertionError as error:
                failed = True
                print("FAILED %s: %s" % (name, error))
    shutil.rmtree(DIRECTORY)
    sys.exit(1 if failed else 0)


main()
