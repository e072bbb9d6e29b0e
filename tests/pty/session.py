#!/usr/bin/env python3
"""The session at a terminal: prompt, history, completion, interrupts, leaving. $DISH is the program."""
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from terminal import Terminal  # noqa: E402

PROGRAM = os.path.abspath(os.environ.get("DISH", "build/dish"))
DIRECTORY = tempfile.mkdtemp(prefix="dish-pty-")
HOME = os.path.join(DIRECTORY, "home")
ENVIRONMENT = dict(os.environ, HOME=HOME, TERM="vt100", LC_ALL="C.UTF-8", PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
for NAME in ("XDG_STATE_HOME", "NO_COLOR", "EDITOR", "DISH_TEST_DROP_CACHES"):
    ENVIRONMENT.pop(NAME, None)
ENVIRONMENT["ASAN_OPTIONS"] = "detect_leaks=0"     # libedit keeps the names of its own functions for ever
HISTORY = os.path.join(HOME, ".local/state/dish/history")


STARTED = []


def start(*arguments, shell=None):
    command = [PROGRAM] + list(arguments)
    if shell:
        command = ["sh", "-c", "exec \"$0\" \"$@\" " + shell] + command
    terminal = Terminal(command, env=ENVIRONMENT, cwd=DIRECTORY)
    STARTED.append(terminal)
    return terminal


def session(*arguments):
    terminal = start(*arguments)
    terminal.expect(r"> ")
    return terminal


def kill_all():
    """After a failed test: its session must not hold the image's lock."""
    for terminal in STARTED:
        terminal.kill()


def ask(terminal, line, answer):
    """Types a command; the answer must appear between its line and the next prompt."""
    terminal.line(line)
    return terminal.expect(answer + r".*?> ")


def erase(terminal):
    """Empties the line being typed."""
    terminal.send("\x03")
    terminal.expect(r"\^C\r\n.*?> ")


def make_image():
    image = os.path.join(DIRECTORY, "disk.img")
    content = os.path.join(DIRECTORY, "content")
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    with open(content, "w") as file:
        file.write("hello\n")
    subprocess.run(["mkfs.vfat", "-F", "32", "-n", "LABEL", image], check=True, stdout=subprocess.DEVNULL,
                   env=ENVIRONMENT)
    subprocess.run(["mmd", "-i", image, "::/etc", "::/My Docs", "::/\u00e4rger"], check=True, env=ENVIRONMENT)
    with open(os.path.join(DIRECTORY, "big.log"), "w") as file:
        file.write("".join("%d\n" % i for i in range(200000)))
    subprocess.run(["mcopy", "-i", image, os.path.join(DIRECTORY, "big.log"), "::/big.log"], check=True, env=ENVIRONMENT)
    os.rename(os.path.join(DIRECTORY, "big.log"), os.path.join(DIRECTORY, "bigfile"))
    subprocess.run([PROGRAM, "-c", "create -f raw parts.img 64M; partition init gpt; partition add 16M esp;"
                    "partition add rest linux; mkfs vfat 1 -L ESPLABEL; mkfs ext4 2 -L rootlabel"],
                   check=True, cwd=DIRECTORY, env=ENVIRONMENT)
    for name in ("etc/motd", "My Docs/a'b.txt", "\u00e4rger/\u00f6l.txt"):
        subprocess.run(["mcopy", "-i", image, content, "::/" + name], check=True, env=ENVIRONMENT)


def test_prompt_and_status():
    terminal = start("disk.img")
    terminal.expect(r"dish [0-9.]+.*disk:0:/.*?> ")
    ask(terminal, "nosuch", "unknown command")
    ask(terminal, "echo =$?", "=1")
    terminal.line("label 0 OTHER")
    terminal.expect(r"disk:0:/.*\*> ")     # the mark of pending changes
    terminal.line("rollback")
    terminal.expect(r"disk:0:/[^*\r\n]*> ")
    terminal.send("\x04")
    assert terminal.wait() == 0


def test_interrupt_at_the_prompt():
    terminal = session("disk.img")
    terminal.send("abc")
    terminal.expect("abc")
    erase(terminal)
    ask(terminal, "echo alive", r"\r\nalive\r\n")
    terminal.send("echo \"open\n")
    terminal.expect(r"\r\n> ")
    erase(terminal)
    ask(terminal, "echo $?", "130")
    terminal.send("\x04")
    assert terminal.wait() == 0


def test_leaving_with_changes():
    def label():
        return subprocess.run([PROGRAM, "disk.img", "--", "label", "0"], cwd=DIRECTORY, check=True,
                              stdout=subprocess.PIPE, env=ENVIRONMENT).stdout.decode().strip()
    before = label()
    terminal = session("disk.img")
    terminal.line("label 0 CHANGED")
    terminal.expect(r"\*> ")
    terminal.send("\x04")
    terminal.expect(r"[Cc]ommit, discard or stay.*\] ")
    terminal.line("s")
    terminal.expect(r"\*> ")
    terminal.line("quit")
    terminal.expect(r"[Cc]ommit, discard or stay.*\] ")
    terminal.line("d")
    assert terminal.wait() == 0
    assert label() == before
    terminal = session("disk.img")
    terminal.line("label 0 CHANGED")
    terminal.expect(r"\*> ")
    terminal.send("\x04")
    terminal.expect(r"[Cc]ommit, discard or stay.*\] ")
    terminal.line("c")
    assert terminal.wait() == 0
    assert label() == "CHANGED"


def test_hang_up():
    """The terminal goes away with changes pending: they are not committed."""
    terminal = session("parts.img")
    terminal.line("mkdir 2:/unwanted")
    terminal.expect(r"\*> ")
    terminal.hang_up()
    listed = subprocess.run([PROGRAM, "parts.img", "--", "ls", "2:/"], cwd=DIRECTORY, check=True,
                            stdout=subprocess.PIPE, env=ENVIRONMENT).stdout.decode()
    assert "unwanted" not in listed, listed


def test_redirected_output():
    """Only what commands print goes to a file; the prompt stays at the terminal."""
    terminal = start("-q", "disk.img", shell="> printed")
    terminal.expect(r"> ")
    terminal.line("echo to the file")
    terminal.expect(r"file\r\n.*> ")
    terminal.send("\x04")
    assert terminal.wait() == 0
    with open(os.path.join(DIRECTORY, "printed")) as file:
        assert file.read() == "to the file\n"


def test_history():
    if os.path.exists(HISTORY):
        os.unlink(HISTORY)
    terminal = session()
    for line in ("echo first", "echo second", "echo first", " echo secret"):
        ask(terminal, line, r"\r\n(first|second|secret)\r\n")
    terminal.send("\x1b[A")
    terminal.expect("echo first")
    terminal.send("\n")
    terminal.expect(r"\r\nfirst\r\n.*> ")
    terminal.send("\x04")
    assert terminal.wait() == 0
    assert stat.S_IMODE(os.stat(HISTORY).st_mode) == 0o600
    terminal = session()
    listed = ask(terminal, "history", r"\d+  history\r\n").group(0)
    typed = re.findall(r"\d+  (.*?)\r\n", terminal.seen)
    assert typed == ["echo second", "echo first", "history"], (typed, listed)
    terminal.send("\x04")
    assert terminal.wait() == 0


def test_completion_of_commands():
    terminal = session("disk.img")
    terminal.send("qcow2-\t")
    terminal.shown(r"qcow2-info ")
    erase(terminal)
    terminal.send("mk\t\t")
    terminal.shown(r"mkfs.*make a filesystem")
    erase(terminal)
    terminal.send("mkfs ex\t\t")
    terminal.shown(r"ext2.*ext3.*ext4")
    erase(terminal)
    terminal.send("mkfs \t\t")
    terminal.shown(r"TYPE: ")
    erase(terminal)
    terminal.send("df --in\t")
    terminal.shown(r"--inodes ")
    erase(terminal)
    terminal.send("show fat.fs\t")
    terminal.shown(r"fat\.fsinfo ")
    erase(terminal)
    terminal.send("use \t")
    terminal.shown(r"use .*0")
    erase(terminal)
    terminal.send("create -o clu\t")
    terminal.shown(r"cluster_size=")
    erase(terminal)
    terminal.send("set dura\t")
    terminal.shown(r"durability ")
    terminal.send("no\t")
    terminal.shown(r"normal ")
    erase(terminal)
    terminal.send("\x04")
    assert terminal.wait() == 0


def test_completion_of_files():
    terminal = session("disk.img")
    terminal.send("cat My\t")
    terminal.shown(r"My.*\\ Docs/")
    terminal.send("\t")
    terminal.shown(r"a\\'b\.txt ")
    erase(terminal)
    terminal.send("cat \"My\t")
    terminal.shown(r"\"My.* Docs/")
    terminal.send("\t")
    terminal.shown(r"a'b\.txt\" ")
    erase(terminal)
    terminal.send("cat 'My Docs/a\t")
    terminal.shown(r"'\\''b\.txt' ")
    erase(terminal)
    terminal.send("cat \u00e4\t")
    terminal.shown("rger/")
    terminal.send("\u00f6\t")
    terminal.shown(r"l\.txt ")
    erase(terminal)
    terminal.send("cat etc/mo x\x1b[D\x1b[D\t")  # in mid-line
    terminal.shown(r"td")
    terminal.send("\n")
    terminal.expect(r"\r\n.*> ")
    terminal.send("put big\t")     # on the host, then in the image
    terminal.shown(r"put bigfile ")
    terminal.send("et\t")
    terminal.shown(r"put bigfile etc/")
    erase(terminal)
    terminal.send("source cont\t")
    terminal.shown("content ")
    erase(terminal)
    terminal.send("echo x > cont\t")
    terminal.shown("content ")
    erase(terminal)
    terminal.send("\x04")
    assert terminal.wait() == 0


def test_completion_of_partitions():
    terminal = start("parts.img")
    terminal.expect(r"> ")
    terminal.send("use \t")
    terminal.shown(r"1 +fat16 +ESPLABEL.*2 +ext4 +rootlabel")
    erase(terminal)
    terminal.send("partition add rest li\t")
    terminal.shown(r"linux")
    erase(terminal)
    terminal.send("partition ty\t\t")
    terminal.shown(r"type.*types")
    erase(terminal)
    terminal.send("show ext.su\t")
    terminal.shown(r"ext\.super ")
    erase(terminal)
    terminal.send("explain ext.super.s_mag\t")
    terminal.shown(r"s_magic ")
    erase(terminal)
    terminal.send("ls 1\t")
    terminal.shown(r"ls 1:")
    erase(terminal)
    terminal.send("ls --r\t")
    terminal.shown(r"--re.*--reverse")
    erase(terminal)
    terminal.send("\x04")
    assert terminal.wait() == 0


def test_huge_directory():
    """Tab gives up on a directory that takes long; what it knows it shows."""
    terminal = session("disk.img")
    os.makedirs(os.path.join(DIRECTORY, "many"), exist_ok=True)
    for i in range(3000):
        with open(os.path.join(DIRECTORY, "many", "name%d" % i), "w"):
            pass
    terminal.send("source many/na\t")
    terminal.shown(r"many/name")
    terminal.send("\t")
    terminal.shown(r"\.\.\. and more")
    erase(terminal)
    terminal.send("\x04")
    assert terminal.wait() == 0


def test_search_in_history():
    terminal = session()
    for line in ("echo needle", "echo hay"):
        ask(terminal, line, r"\r\n(needle|hay)\r\n")
    terminal.send("\x12need")
    terminal.shown(r"echo needle")
    terminal.send("\n")
    terminal.expect(r"\r\nneedle\r\n.*> ")
    terminal.send("\x04")
    assert terminal.wait() == 0


def test_control_characters():
    """Names from an image cannot play with the terminal."""
    subprocess.run([PROGRAM, "parts.img", "-c", "write $'2:/\\x1b[31mred' x"], cwd=DIRECTORY, check=True,
                   env=ENVIRONMENT)
    terminal = start("parts.img")
    terminal.expect(r"> ")
    terminal.line("ls /")
    screen = terminal.expect(r"ls /\r\n(.*?)> ").group(1)
    assert "\\033[31mred" in screen and "\x1b[31mred" not in screen, repr(screen)
    terminal.line("cat /*red/x")
    answer = terminal.expect(r"x\r\n(.*?)> ").group(1)
    assert "\x1b[31m" not in answer, repr(answer)
    terminal.send("\x04")
    assert terminal.wait() == 0


def test_pager():
    terminal = session("disk.img")
    for line in ("help | less", "cat big.log | less"):
        terminal.line(line)
        terminal.expect(r"(Images|\r\n2\r\n).*:")
        terminal.send("q")
        terminal.expect(r"> ")
        ask(terminal, "echo status $?", r"status 0\r\n")
    children = subprocess.run(["ps", "--ppid", str(terminal.pid), "-o", "comm="], stdout=subprocess.PIPE).stdout
    assert not children.strip(), children
    terminal.send("\x04")
    assert terminal.wait() == 0


def test_vi_keys():
    terminal = session()
    ask(terminal, "set editor vi", "")
    terminal.send("echo wrog\x1bin\n")
    terminal.expect(r"\r\nwrong\r\n")
    terminal.expect(r"> ")
    terminal.send("\x04")
    assert terminal.wait() == 0


def main():
    os.makedirs(HOME)
    make_image()
    failed = False
    for name, test in list(globals().items()):
        if not name.startswith("test_") or (sys.argv[1:] and name not in sys.argv[1:]):
            continue
        try:
            test()
            print("ok", name)
        except AssertionError as error:
            failed = True
            kill_all()
            print("FAILED %s: %s" % (name, error))
    shutil.rmtree(DIRECTORY)
    sys.exit(1 if failed else 0)


main()
