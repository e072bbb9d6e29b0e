"""What the cross-checks share: the programs under test, running them and the foreign tools, files of the host, and
what becomes of a test in which something is wrong."""
import os
import subprocess
import sys

os.environ['PATH'] += ':/usr/sbin:/sbin'  # an ordinary user does not have them
DISH = os.path.realpath(os.environ.get('DISH', 'build/dish'))
TOOLS = os.path.realpath(os.environ.get('TOOLS', 'build/tests'))
LONG = os.environ.get('LONG') == '1'
SANITIZED = os.environ.get('SANITIZED') == '1'
MiB = 1 << 20


def run(*words, stdin=None, binary=False, timeout=300):
    """Exit status, standard output and standard error of a program; the output as text unless it is to be binary."""
    try:
        done = subprocess.run(words, capture_output=True, input=stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        return 124, b'' if binary else '', f'{words[0]} did not end within {timeout} seconds'
    out = done.stdout if binary else done.stdout.decode(errors='replace')
    return done.returncode, out, done.stderr.decode(errors='replace')


def fail(*words):
    """Something is wrong; the test goes on."""
    fail.count += 1
    print('FAIL', *words, flush=True)


fail.count = 0


def expect(condition, *words):
    if not condition:
        fail(*words)


def finish():
    """The test's last line, and its exit status."""
    name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    print(f'{name}:', f'{fail.count} failures' if fail.count else 'ok')
    sys.exit(fail.count != 0)


def blank(path, size):
    """A file of nothing but a hole, in place of what was there."""
    with open(path, 'wb') as file:
        file.truncate(size)


def content(path):
    with open(path, 'rb') as file:
        return file.read()


def poke(path, offset, data):
    with open(path, 'r+b') as file:
        file.seek(offset)
        file.write(data)
