#!/usr/bin/env python3
"""Damages fields of valid images and compares what the program makes of them with QEMU.

No command may die, run for more than five seconds of CPU time, use more than 256 MiB or, when it only reads, change the
file. What QEMU reads the program reads alike or refuses by naming the damage; what qemu-img check passes it passes,
but for what QEMU is known to miss; what it repairs qemu-img check passes, and what could be read reads the same.

    qcow2_fuzz.py [SEED [FIRST [COUNT]]]      LONG=1: 3,000 cases; KEEP=FOLDER: images of failing cases are left there
"""
import collections
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zlib

import _qcow2_images as images

from _dish import DISH, LONG, SANITIZED
from _qcow2 import BLKCAT

CASES = 3000 if LONG else 40
PER_IMAGE = 8  # mutations of one valid image
SECONDS, MEMORY, SPACE = 5, 256 << 20, 512 << 20
LIMIT = 20  # seconds after which a program is stopped
BUDGET = 15  # seconds that the short form may take
BAD_OUTPUT = re.compile(r'AddressSanitizer|LeakSanitizer|runtime error|SUMMARY: |Assertion')


# Why QEMU's check does not even begin: it keeps a counter for each cluster of a hole, needs the key, the data file
# and its name, and knows no format with a longer name.
NOT_CHECKED = "File too large|encrypt.key-secret|'data-file' is required|No such file or directory|ext_backing_format: len" \
    "|Missing CRYPTO header"


def missed_by_qemu(finding, length):
    """Is this one of the faults that QEMU's check does not look for?"""
    if finding['code'] == 'leaked-cluster':
        return finding['offset'] >= length  # a count of a cluster past the end
    # Tables and compressed clusters may begin up to a cluster behind the end for QEMU.
    extended = re.match(r'L2 entry 0x(\w+) .*reserved bits are set', finding['message'])
    if extended:  # bit 0 of an extended entry
        return int(extended[1], 16) & 0x3f000000000001fe == 0
    return finding['code'] == 'cut-off' or any(text in finding['message'] for text in (
        'past the end of the file', '(there are no snapshots)', 'the offset in the external data file differs',
        'a zero cluster in an image of version 2'))


class Failure(Exception):
    pass


def start(args, script):
    """Exit status, standard output, all output, and what it used."""
    with tempfile.TemporaryFile('w+') as stdin, tempfile.TemporaryFile('w+', errors='replace') as out, \
            tempfile.TemporaryFile('w+', errors='replace') as errors:
        stdin.write(script or '')
        stdin.seek(0)
        process = subprocess.Popen(args, stdin=stdin, stdout=out, stderr=errors,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 1)))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        text = out.read()
        return process.returncode, text, text + errors.read(), usage


def program(*args, script=None):
    """Exit status, standard output and all output; raises when a rule of conduct is broken."""
    status, out, text, usage = start(args, script)
    shown = ' '.join(os.path.basename(word) for word in args) + (f' [{script.strip()}]' if script else '')
    if status < 0 or status > 128 or BAD_OUTPUT.search(text):
        raise Failure(f'{shown}: status {status}\n{text[-6000:]}')
    if usage.ru_utime + usage.ru_stime > SECONDS:
        raise Failure(f'{shown}: {usage.ru_utime + usage.ru_stime:.1f} s')
    if not SANITIZED and usage.ru_maxrss * 1024 > MEMORY:
        raise Failure(f'{shown}: {usage.ru_maxrss // 1024} MiB')
    return status, out, text


def qemu(*args):
    """Exit status (None when QEMU dies or takes too long) and output."""
    status, _, text, _ = start(args, None)
    return (status, text) if status >= 0 else (None, text)


# ---- files ----

def extents(path):
    """The pieces of a file that are not holes."""
    with open(path, 'rb') as file:
        end, at = os.fstat(file.fileno()).st_size, 0
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            stop = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            file.seek(at)
            yield at, file.read(stop - at)
            at = stop


def fingerprint(path):
    """Contents, size and time of the last change."""
    state = os.stat(path)
    crc = 0
    for at, data in extents(path):
        crc = zlib.crc32(data.rstrip(b'\0'), crc ^ at % (1 << 32)) if data.strip(b'\0') else crc
    return state.st_size, state.st_mtime_ns, crc


def copy(source, target):
    with open(target, 'wb') as file:
        for at, data in extents(source):
            file.seek(at)
            file.write(data)
        file.truncate(os.stat(source).st_size)


# ---- guest contents ----

def units(size, cluster):
    """Pieces of the guest disk that are read one by one; not all of a large one."""
    step = max(min(cluster, 65536), 512)
    places = list(range(0, size, step))
    if len(places) > 300:
        places = places[:100] + places[100::len(places) // 200 + 1]
    return [(off, min(step, size - off)) for off in places]


def ours(path, pieces):
    """For each piece the checksum, or the text of the error."""
    script = ''.join(f'-fetch {off} {n}\n' for off, n in pieces)
    _, out, text = program(BLKCAT, '-r', path, '-', script=script)
    lines = [line for line in out.splitlines() if re.match(r'[0-9a-f]{8}$|failed: ', line)]
    if len(lines) != len(pieces):
        raise Failure(f'{len(lines)} answers for {len(pieces)} reads\n{text[-2000:]}')
    return [line if line.startswith('failed') else int(line, 16) for line in lines]


def theirs(path, pieces):
    """The same by QEMU, None for what it cannot read; and None for all when it does not open the image."""
    if os.path.exists('qemu.raw'):
        os.unlink('qemu.raw')
    status, text = qemu('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', path, 'qemu.raw')
    readable = [True] * len(pieces)
    if status != 0:
        commands = [word for off, n in pieces for word in ('-c', f'read {off} {n}')]
        status, text = qemu('qemu-io', '-r', '-f', 'qcow2', *commands, path)
        answers = re.findall(r'^(read failed|read \d+/\d+ bytes)', text, re.M)
        if len(answers) != len(pieces):
            return None
        readable = [answer != 'read failed' for answer in answers]
        if not any(readable):
            return [None] * len(pieces)
        status, text = qemu('qemu-img', 'convert', '--salvage', '-f', 'qcow2', '-O', 'raw', path, 'qemu.raw')
        if status != 0:
            return None
    with open('qemu.raw', 'rb') as file:
        def checksum(off, n):
            file.seek(off)
            return zlib.crc32(file.read(n).ljust(n, b'\0'))
        return [checksum(*piece) if ok else None for piece, ok in zip(pieces, readable)]


# ---- one case ----

class Case:
    def __init__(self, image, rng, stats):
        self.image, self.rng, self.stats = image, rng, stats
        self.path = 'case.qcow2'

    def note(self, what):
        self.stats[re.sub(r'0x[0-9a-f]+|\d+', 'N', what)] += 1

    def run(self, mutations):
        self.mutations = mutations
        size = self.guest_size()
        self.pieces = units(size, self.image.cluster)
        before = fingerprint(self.path)
        self.look()
        reads = self.compare_reads()
        clean = self.compare_checks()
        if fingerprint(self.path) != before:
            raise Failure('commands that only read changed the file')
        if reads is not None:
            self.repair(reads)
        self.change(clean)
        space = sum(os.stat(name).st_blocks * 512 for name in os.listdir('.'))
        if space > SPACE:
            raise Failure(f'the files take {space >> 20} MiB')

    def guest_size(self):
        """As the header has it now, or the size before when that is beyond reason."""
        with open(self.path, 'rb') as file:
            file.seek(24)
            size = int.from_bytes(file.read(8), 'big') // 512 * 512
        return size if 0 < size < (64 << 20) else self.image.size // 512 * 512

    def look(self):
        """Commands that only read."""
        rng, length = self.rng, os.path.getsize(self.path)
        lines = ['info', 'qcow2-info -v', 'check --container --data', 'map', 'snapshot', 'bitmap', 'measure',
                 'show qcow2.header', 'show qcow2.l1', 'show qcow2.reftable', 'status -v']
        for i in range(3):
            lines += [f'show qcow2.l2 {i}', f'show qcow2.extension {i}', f'show -x qcow2.snapshot {i}',
                      f'show qcow2.snapshot-extra {i}', f'show qcow2.bitmap {i}', f'show qcow2.bitmap-table {i}',
                      f'show qcow2.refcount {rng.randrange(200)}', f'what file: {rng.randrange(length)}',
                      f'where 0: {rng.randrange(self.image.size)}', f'what 0: {rng.randrange(self.image.size)}']
        rng.shuffle(lines)
        options = ['-k', '-r', '--allow-data-file'] + ['-j'] * (rng.random() < 0.3)
        program(DISH, '--format=qcow2', *options, self.path, script='\n'.join(lines) + '\n')

    def compare_reads(self):
        mine, other = ours(self.path, self.pieces), theirs(self.path, self.pieces)
        if other is None:
            self.note('QEMU: does not open it')
            return mine
        for (off, n), own, foreign in zip(self.pieces, mine, other):
            if foreign is None:
                continue
            if isinstance(own, str):
                self.note(f'QEMU reads, we: {own}')
                if not re.match(r'failed: (damaged|unsupported): ', own):
                    raise Failure(f'QEMU reads {n} bytes at {off:#x}, we: {own}')
            elif own != foreign:
                raise Failure(f'guest offset {off:#x}, {n} bytes: QEMU reads other bytes')
        return mine

    def check(self, *options):
        """Exit status, the report if there is one, all output."""
        status, out, text = program(DISH, '--format=qcow2', '-q', '-j', '--allow-data-file', self.path, '--', 'check',
                                    '--container', *options)
        return status, json.loads(out) if out.strip() else None, text

    def compare_checks(self):
        """True when both find nothing."""
        theirs, answer = qemu('qemu-img', 'check', '-q', '-f', 'qcow2', '--output=json', self.path)
        status, report, text = self.check()
        findings = report['findings'] if report else []
        wrong = [finding for finding in findings if finding['kind'] in ('damage', 'leak', 'error')]
        if theirs == 0:
            for finding in wrong:
                self.note(f'only we find: {finding["kind"]} {finding["message"]}')
                if not missed_by_qemu(finding, os.path.getsize(self.path)):
                    raise Failure(f'qemu-img check finds nothing, we: {finding["message"]}')
            if not report:
                self.note(f'only we refuse to check: {text}')
        elif theirs in (2, 3) and not wrong and status == 0:
            raise Failure(f'qemu-img check says {theirs}, we find nothing\n{answer[-2000:]}')
        return theirs == 0 and status == 0 and not findings

    def repair(self, reads):
        copy(self.path, 'repaired.qcow2')
        self.path, original = 'repaired.qcow2', self.path
        status, report, text = self.check('--repair=all', '--data')
        if status != 0:
            self.note(f'no repair: {text[-300:]}')
            if fingerprint(self.path)[2] != fingerprint(original)[2]:
                raise Failure(f'the repair failed, but changed the file\n{text[-3000:]}')
        else:
            self.judge_repair(reads, report, text)
        self.path = original

    def judge_repair(self, reads, report, text):
        found, answer = qemu('qemu-img', 'check', '-f', 'qcow2', self.path)
        if re.search(NOT_CHECKED, answer):
            self.note('QEMU cannot check it')
        elif found != 0:
            raise Failure(f'after our repair qemu-img check says {found}\n{answer[-1500:]}\n{text[-3000:]}')
        status, _, again = self.check()
        if status != 0:
            raise Failure(f'after our repair our check says {status}\n{again[-1500:]}\n{text[-3000:]}')
        # An L1 entry that names other metadata as its L2 table read garbage before: that is gone, and said so.
        lost = [finding['message'] for finding in report['findings'] if ' is the ' in finding['message']]
        after, foreign = ours(self.path, self.pieces), theirs(self.path, self.pieces)
        span = self.image.cluster ** 2 // (16 if self.image.extended else 8)
        gone = {int(index) for text in lost for index in re.findall(r'L1 entry (\d+)', text)}
        for i, (off, _) in enumerate(self.pieces):
            if isinstance(after[i], str) and not re.search('encrypted|does not name it|external data file', after[i]):
                raise Failure(f'guest offset {off:#x} cannot be read after the repair: {after[i]}')
            if not isinstance(reads[i], str) and reads[i] != after[i] and off // span not in gone:
                raise Failure(f'the repair changed guest offset {off:#x}\n{text[-3000:]}')
            if found == 0 and (foreign is None or foreign[i] != after[i]):
                raise Failure(f'after the repair QEMU reads other bytes at {off:#x}\n{text[-3000:]}')

    def change(self, clean):
        """Commands that write; nothing is asked of a damaged image but that it ends well."""
        copy(self.path, 'changed.qcow2')
        rng, size = self.rng, self.image.size // 512 * 512
        lines = []
        for _ in range(8):
            off, n = rng.randrange(size // 512) * 512, rng.choice([512, 4096, 3 * self.image.cluster])
            n = min(n, size - off)
            lines.append(rng.choice([f'-write {off} {n} {rng.randrange(256)}', f'-zero {off} {n}',
                                     f'-discard {off} {n}', '-commit', '-undo', '-snapshot create s', '-bitmap add b', '-compact']))
        program(BLKCAT, 'changed.qcow2', '-', script='\n'.join(lines) + '\n')
        with open('host.raw', 'wb') as file:
            file.write(rng.randbytes(self.image.cluster + 700))
        commands = ['resize +1M', 'resize --shrink 512', 'snapshot create t', 'snapshot apply t', 'snapshot delete t',
                    'snapshot apply 1', 'snapshot delete 1', 'bitmap add c', 'bitmap clear c', 'bitmap merge c bitmap1',
                    'amend lazy_refcounts=on', 'amend refcount_bits=32', 'compact', 'commit', 'undo', 'rollback',
                    'partition init gpt', 'mkfs ext2 0', f'write --at={off} --fill=7 --length={n} 0:',
                    'put --at=512 host.raw 0:', f'punch -o {off} -l {n} 0:', 'put host.raw 0:/',
                    'check --container --repair=leaks',
                    'poke --raw qcow2.header.nb_snapshots 3', 'convert -f raw --force changed.qcow2 out.raw',
                    'convert -c -f qcow2 --force changed.qcow2 out.qcow2', 'diff']
        script = '\n'.join(rng.sample(commands, 10)) + '\n'
        program(DISH, '--format=qcow2', '-k', '-q', '--allow-data-file', 'changed.qcow2', script=script)
        if clean and 'poke' not in script:
            found, answer = qemu('qemu-img', 'check', '-f', 'qcow2', 'changed.qcow2')
            if found != 0:
                raise Failure(f'after our changes qemu-img check says {found}\n{answer[-2000:]}\n{lines}\n{script}')


def cases(seed, first, count, folder, stats):
    """Runs the cases; yields (number, description, failure or None)."""
    image = None
    for number in range(first, first + count):
        rng = random.Random(f'{seed}/{number}')
        if image is None or number % PER_IMAGE == 0:
            group = number // PER_IMAGE
            shutil.rmtree(folder)
            os.mkdir(folder)
            image = images.Image(random.Random(f'{seed}/image/{group}'), folder, (DISH, BLKCAT))
            unclean, text = qemu('qemu-img', 'check', '-f', 'qcow2', 'image.qcow2')
            if unclean:
                yield number, '\n'.join(image.steps), f'the image is not clean\n{text}'
            fields = image.fields()
        copy('image.qcow2', 'case.qcow2')
        mutations = [] if number % PER_IMAGE == 0 else images.mutate(rng, 'case.qcow2', fields, image.cluster)
        failure = None
        try:
            Case(image, rng, stats).run(mutations)
        except Failure as caught:
            failure = str(caught)
        yield number, f'{image.options} size={image.size} backed={image.backed}: ' + '; '.join(mutations), failure


def main():
    seed, first, count = [int(word) for word in sys.argv[1:4]] + [1, 0, CASES][len(sys.argv[1:4]):]
    stats, failures, begin, done = collections.Counter(), 0, time.monotonic(), 0
    with tempfile.TemporaryDirectory() as work:
        folder = os.path.join(work, 'case')
        os.mkdir(folder)
        for number, what, failure in cases(seed, first, count, folder, stats):
            done += 1
            if failure:
                failures += 1
                print(f'seed {seed} case {number}: {what}\n    {failure}\n', flush=True)
                if os.environ.get('KEEP'):
                    shutil.copytree(folder, os.path.join(os.environ['KEEP'], f'{seed}-{number}'), dirs_exist_ok=True,
                                    copy_function=copy)
            if LONG and done % 100 == 0:
                print(f'{done} cases', flush=True)
            if not LONG and len(sys.argv) < 4 and time.monotonic() - begin > BUDGET:
                break
        os.chdir('/')
    for what, times in stats.most_common() if LONG else []:
        print(f'{times:6} {what[:200]}')
    print(f'{done} cases, {failures} failures')
    sys.exit(failures > 0)


if __name__ == '__main__':
    main()
