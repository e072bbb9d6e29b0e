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


class Terminal:
    def __init__(self, argv, env=None, rows=24, columns=100, cwd=None):
        self.seen = ""     # everything printed so far, for messages
        self.mark = 0      # up to here it was waited for
        self.status = None
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

    def send(self, text):
        os.write(self.fd, text.encode() if isinstance(text, str) else text)

    def line(self, text):
        self.send(text + "\n")

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
                return os.waitstatus_to_exitcode(status)
            select.select([], [], [], 0.01)
        os.kill(self.pid, signal.SIGKILL)
        raise Timeout("the program does not end; it printed:\n" + self.seen)
