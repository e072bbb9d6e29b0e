"""FAT and exFAT volumes for the cross-checks: made small, taken apart byte by byte, judged by fsck.vfat and
fsck.exfat."""
import json
import struct
import subprocess

from _dish import DISH, content


def dish(image, *commands):
    """Run commands on an image; 4 stands for damage that was found."""
    words = [w for c in commands for w in ('-c', c)]
    done = subprocess.run([DISH, '-j', '-q', *words, image], capture_output=True, text=True, errors='replace')
    if done.returncode not in (0, 4):
        raise AssertionError(f'{commands}: {done.returncode}: {done.stdout[-300:]} {done.stderr[-500:]}')
    return done


def fill(image, make):
    with open(image + '.data', 'wb') as stream:
        stream.write(bytes(range(256)) * 400)
    commands = [make, 'mkdir "/Sub directory one" /B /B/C']
    for i in range(12):
        name = f'"/Sub directory one/File with long name {i}.text"' if i % 2 else f'/F{i}.TXT'
        commands += [f'put {image}.data {name}', f'truncate -s {i * 3000} {name}']
    # two files in pieces, one deep down, one gone
    commands += [f'write -a /F6.TXT {"x" * 9000}', f'write -a /F8.TXT {"y" * 9000}', f'put {image}.data /B/C/deep.txt',
                 'rm /F4.TXT']
    if dish(image, *commands).returncode != 0:
        raise SystemExit('the volume could not be filled')


class Fat:
    def __init__(self, image):
        b = self.b = bytearray(content(image))
        self.sector, self.reserved = struct.unpack_from('<H', b, 11)[0], struct.unpack_from('<H', b, 14)[0]
        self.copies, root, length = b[16], struct.unpack_from('<H', b, 17)[0], struct.unpack_from('<H', b, 22)[0]
        self.wide = length == 0
        if self.wide:
            length = struct.unpack_from('<I', b, 36)[0]
        self.fat, self.length = self.reserved * self.sector, length * self.sector
        self.data = self.fat + self.copies * self.length + root * 32
        total = struct.unpack_from('<H', b, 19)[0] or struct.unpack_from('<I', b, 32)[0]
        self.size = b[13] * self.sector
        self.clusters = (total * self.sector - self.data) // self.size
        self.bits = 32 if self.wide else 12 if self.clusters < 4085 else 16
        self.end = (1 << self.bits) - 1 if self.bits < 32 else 0xFFFFFFF
        self.bad = self.end - 8

    def off(self, cluster):
        return self.data + (cluster - 2) * self.size

    def get(self, n):
        if self.bits == 12:
            value = struct.unpack_from('<H', self.b, self.fat + n + n // 2)[0]
            return value >> 4 if n & 1 else value & 0xFFF
        return struct.unpack_from('<H' if self.bits == 16 else '<I', self.b, self.fat + n * self.bits // 8)[0]

    def set(self, n, value, copies=None):
        for copy in copies or range(self.copies):
            base = self.fat + copy * self.length
            if self.bits == 12:
                at = base + n + n // 2
                both = struct.unpack_from('<H', self.b, at)[0]
                both = both & 0xF | value << 4 if n & 1 else both & 0xF000 | value
                struct.pack_into('<H', self.b, at, both)
            else:
                struct.pack_into('<H' if self.bits == 16 else '<I', self.b, base + n * self.bits // 8, value)

    def find(self, name):
        at = self.b.find(name.encode())
        assert at > 0, name
        return at

    def file(self, i):
        return self.find(f'F{i}'.ljust(8) + 'TXT')

    def first(self, entry):
        high = struct.unpack_from('<H', self.b, entry + 20)[0] << 16 if self.wide else 0
        return struct.unpack_from('<H', self.b, entry + 26)[0] | high

    def set_first(self, entry, cluster):
        struct.pack_into('<H', self.b, entry + 26, cluster & 0xFFFF)
        if self.wide:
            struct.pack_into('<H', self.b, entry + 20, cluster >> 16)

    def set_size(self, entry, size):
        struct.pack_into('<I', self.b, entry + 28, size)

    def free(self, n):
        return [c for c in range(2, self.clusters + 2) if self.get(c) == 0][-n:]


class Exfat:
    def __init__(self, image):
        b = self.b = bytearray(content(image))
        self.sector = 1 << b[108]
        self.size = self.sector << b[109]
        fat, _, heap, self.clusters, self.root = struct.unpack_from('<5I', b, 80)
        self.fat, self.heap = fat * self.sector, heap * self.sector
        self.bits = 64
        self.bitmap = self.heap

    def off(self, cluster):
        return self.heap + (cluster - 2) * self.size

    def find(self, name):
        at = self.heap
        while True:
            at = self.b.index(b'\xc1\x00' + name.encode('utf-16le'), at)
            if self.b[at - 64] == 0x85:
                return at - 64
            at += 1

    def seal(self, at):
        total = 0
        for i in range((1 + self.b[at + 1]) * 32):
            if i not in (2, 3):
                total = ((total << 15 | total >> 1) + self.b[at + i]) & 0xFFFF
        struct.pack_into('<H', self.b, at + 2, total)

    def put(self, name, off, form, value):
        at = self.find(name)
        struct.pack_into(form, self.b, at + off, value)
        self.seal(at)

    def first(self, name):
        return struct.unpack_from('<I', self.b, self.find(name) + 52)[0]

    def get(self, n):
        return struct.unpack_from('<I', self.b, self.fat + 4 * n)[0]

    def set(self, n, value):
        struct.pack_into('<I', self.b, self.fat + 4 * n, value)


def judge(kind, image):
    """True when the foreign checker finds nothing."""
    tool = 'fsck.vfat' if kind == 'fat' else 'fsck.exfat'
    done = subprocess.run([tool, '-n', image], capture_output=True, text=True, errors='replace',
                          stdin=subprocess.DEVNULL)
    if kind == 'fat':
        return done.returncode == 0 and len(done.stdout.strip().split('\n')) == 2, done.stdout
    return done.returncode == 0 and 'clean' in done.stdout and 'ERROR' not in done.stdout, done.stdout


def findings(done):
    return json.loads(done.stdout)['findings'] if done.stdout.strip() else []
