"""A terminal for tests: starts a program in a pty, types, and waits for what must appear. No sleeps."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time


class Timeout(AssertionError):
    pass


class Screen:
    """What a vt100 shows after these characters: as much of one as line editors use."""

    SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z@])|\x1b[()][A-Z0-9]|\x1b[=>78]")

    def __init__(self, columns):
        self.columns = columns
        self.lines = [[]]
        self.row = self.column = 0

    def put(self, char):
        line = self.lines[self.row]
        line.extend(" " * (self.column + 1 - len(line)))
        line[self.column] = char
        self.column += 1

    def go(self, row):
        self.row = max(row, 0)
        while len(self.lines) <= self.row:
            self.lines.append([])

    def control(self, argument, letter):
        count = int(argument or 1) if argument.isdigit() or not argument else 1
        line = self.lines[self.row]
        if letter == "C":
            self.column += count
        elif letter == "D":
            self.column = max(self.column - count, 0)
        elif letter == "G":
            self.column = count - 1
        elif letter in "AB":
            self.go(self.row + (count if letter == "B" else -count))
        elif letter == "K":
            del line[self.column:]
        elif letter == "J":
            del line[self.column:]
            del self.lines[self.row + 1:]
        elif letter == "P":
            del line[self.column:self.column + count]
        elif letter == "@":
            line[self.column:self.column] = " " * count

    def show(self, text):
        at = 0
        while at < len(text):
            match = self.SEQUENCE.match(text, at)
            char = text[at]
            at = match.end() if match else at + 1
            if match:
                if match.group(2):
                    self.control(match.group(1), match.group(2))
            elif char == "\r":
                self.column = 0
            elif char == "\n":
                self.go(self.row + 1)
            elif char == "\b":
                self.column = max(self.column - 1, 0)
            elif char >= " ":
                self.put(char)
        return "\n".join("".join(line).rstrip() if i < self.row else "".join(line)
                         for i, line in enumerate(self.lines))


class Terminal:
    def __init__(self, argv, env=None, rows=24, columns=100, cwd=None):
        self.seen = ""     # everything printed so far, for messages
        self.mark = 0      # up to here it was waited for
        self.columns = columns
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            if cwd:
                os.chdir(cwd)
            os.execvpe(argv[0], argv, env or os.environ)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        ready, _, _ = select.select([self.fd], [], [], left)
        if not ready:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        if not data:
            raise Timeout("the program ended; it printed:\n" + self.seen)
        self.seen += data.decode("utf-8", "replace")
        return True

    def expect(self, pattern, timeout=10):
        """Waits for a regular expression after what was waited for before; gives the match."""
        deadline = time.monotonic() + timeout
        while True:
            match = re.compile(pattern, re.S).search(self.seen, self.mark)
            if match:
                self.mark = match.end()
                return match
            if not self._read(deadline):
                raise Timeout("no %r in:\n%r" % (pattern, self.seen[self.mark:]))

    def shown(self, pattern, timeout=10):
        """Waits until the screen matches, from the line of the last expect() on; cursor movements are followed."""
        deadline = time.monotonic() + timeout
        start = self.seen.rfind("\n", 0, self.mark) + 1
        while True:
            screen = Screen(self.columns).show(self.seen[start:])
            match = re.compile(pattern, re.S).search(screen)
            if match:
                return match
            if not self._read(deadline):
                raise Timeout("no %r on the screen:\n%s" % (pattern, screen))

    def send(self, text):
        os.write(self.fd, text.encode() if isinstance(text, str) else text)

    def line(self, text):
        self.send(text + "\n")

    def hang_up(self, timeout=10):
        """The terminal goes away; gives the exit status."""
        os.close(self.fd)
        self.fd = -1
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            select.select([], [], [], 0.01)
        os.kill(self.pid, signal.SIGKILL)
        raise Timeout("the program lives on without its terminal")

    def kill(self):
        if self.fd >= 0:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.fd)
            self.fd = -1

    def wait(self, timeout=10):
        """Reads to the program's end; gives its exit status."""
        deadline = time.monotonic() + timeout
        try:
            while self._read(deadline):
                pass
        except Timeout:
            pass
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                self.fd = -1
                return os.waitstatus_to_exitcode(status)
            select.select([], [], [], 0.01)
        self.kill()
        raise Timeout("the program does not end; it printed:\n" + self.seen)
