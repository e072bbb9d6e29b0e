#!/usr/bin/env python3
"""Random damage to what the structures of FAT and exFAT volumes say, judged by fsck.vfat and fsck.exfat: where they
find something dish does, too; after its repair they find nothing, and neither does dish. Every run is bounded in
time and memory. CASES, SEED and KIND (fat12, fat16, fat32, exfat) choose; LONG=1 runs several hundred."""
import json
import os
import random
import re
import resource
import struct
import subprocess
import tempfile

from _dish import DISH, LONG, SANITIZED, blank, fail, finish
from _fat import Exfat, Fat, fill, judge

CASES = int(os.environ.get('CASES', 250 if LONG else 12))
FIRST = int(os.environ.get('SEED', 0))
SECONDS, MEGABYTES = (60, None) if SANITIZED else (10, 256)  # address space; sanitizers take terabytes of it

BASES = {
    'fat12': (3000, 'mkfs fat12 -L TEST'),
    'fat16': (12000, 'mkfs fat16 -L TEST -O cluster_size=1K'),
    'fat32': (36000, 'mkfs fat32 -L TEST'),
    'exfat': (12000, 'mkfs exfat -L TEST -O cluster_size=2K'),
}
MUTATIONS = {'fat': [], 'exfat': []}


def swap(v, a, b):
    v.b[a:a + 32], v.b[b:b + 32] = v.b[b:b + 32], v.b[a:a + 32]


def mutation(kind):
    def keep(function):
        MUTATIONS[kind].append(function)
        return function
    return keep


# ---- FAT -----------------------------------------------------------------------------------------------------

def entry_value(v, r):
    return r.choice([0, 1, v.bad, v.end, v.clusters + 2, v.clusters + r.randrange(3, 200),
                     r.randrange(2, v.clusters + 2), r.randrange(2, 40)])


def used(v):
    return [c for c in range(2, v.clusters + 2) if v.get(c) & 0xFFFFFFF]


def slots(v):
    """Offsets of all directory entries that are in use: those of the root, and of the folders below."""
    found, todo, seen = [], [], set()
    if v.wide:
        todo.append(struct.unpack_from('<I', v.b, 44)[0])
    else:
        root = v.fat + v.copies * v.length
        todo.append(None)
        spans = [(root, v.data)]
    while todo:
        first = todo.pop()
        if first is not None:
            spans, c = [], first
            while 2 <= c < v.clusters + 2 and c not in seen:
                seen.add(c)
                spans.append((v.off(c), v.off(c) + v.size))
                c = v.get(c) & 0xFFFFFFF
        for begin, end in spans:
            for at in range(begin, end, 32):
                if v.b[at] in (0, 0xE5):
                    continue
                found.append(at)
                if v.b[at + 11] & 0x18 == 0x10 and v.b[at] != ord('.'):
                    todo.append(v.first(at))
    return found


@mutation('fat')
def chain_entry(v, r):
    v.set(r.choice(used(v)), entry_value(v, r))


@mutation('fat')
def free_entry(v, r):
    v.set(r.choice(v.free(200)), r.choice([v.end, v.bad, r.choice(used(v)), r.randrange(2, v.clusters + 2)]))


@mutation('fat')
def one_copy(v, r):
    v.set(r.randrange(2, v.clusters + 2), entry_value(v, r), [r.randrange(v.copies)])


@mutation('fat')
def slot_byte(v, r):
    v.b[r.choice(slots(v)) + r.randrange(32)] = r.randrange(256)


@mutation('fat')
def slot_bit(v, r):
    v.b[r.choice(slots(v)) + r.randrange(32)] ^= 1 << r.randrange(8)


@mutation('fat')
def first_cluster(v, r):
    v.set_first(r.choice(slots(v)), entry_value(v, r))


@mutation('fat')
def file_size(v, r):
    v.set_size(r.choice(slots(v)), r.choice([0, 1, 511, 512, 513, 2**31, 2**32 - 1, r.randrange(60000)]))


@mutation('fat')
def slot_gone(v, r):
    v.b[r.choice(slots(v))] = 0xE5


@mutation('fat')
def slots_swapped(v, r):
    swap(v, r.choice(slots(v)), r.choice(slots(v)))


@mutation('fat')
def slot_copied(v, r):
    a, b = r.choice(slots(v)), r.choice(slots(v))
    v.b[a:a + 32] = v.b[b:b + 32]


@mutation('fat')
def directory_noise(v, r):
    at = r.choice(slots(v))
    v.b[at:at + 16] = r.randbytes(16)


@mutation('fat')
def fsinfo(v, r):
    if v.wide:
        v.b[v.sector + r.choice([0, 484, 488, 489, 492, 508])] ^= 1 << r.randrange(8)


@mutation('fat')
def boot_fields(v, r):
    base = 64 if v.wide else 36
    v.b[r.choice([base + 1, base + 7, base + 12, 200])] ^= 1 << r.randrange(8)


@mutation('fat')
def boot_copy(v, r):
    if v.wide:
        v.b[6 * v.sector + r.randrange(512)] ^= 1 << r.randrange(8)


@mutation('fat')
def fat_head(v, r):
    v.set(r.randrange(2), entry_value(v, r))


# ---- exFAT ---------------------------------------------------------------------------------------------------

def sets(v):
    """Offsets of the entry sets of files."""
    return [at for at in range(v.heap, v.heap + 64 * v.size, 32) if v.b[at] == 0x85 and v.b[at + 32] == 0xC0]


@mutation('exfat')
def bitmap_bit(v, r):
    bit = r.randrange(min(v.clusters, r.choice([64, v.clusters])))
    v.b[v.bitmap + bit // 8] ^= 1 << bit % 8


@mutation('exfat')
def next_cluster(v, r):
    chains = [n for n in range(2, v.clusters + 2) if v.get(n)]
    v.set(r.choice(chains), r.choice([0, 1, 0xFFFFFFF7, 0xFFFFFFFF, v.clusters + 2, r.randrange(2, v.clusters + 2),
                                      r.choice(chains)]))


def change_set(v, r, sealed):
    at = r.choice(sets(v))
    v.b[at + r.randrange((1 + v.b[at + 1]) * 32)] ^= 1 << r.randrange(8)
    if sealed and at + (1 + v.b[at + 1]) * 32 <= len(v.b):
        v.seal(at)


@mutation('exfat')
def set_bit(v, r):
    change_set(v, r, False)


@mutation('exfat')
def set_bit_sealed(v, r):
    change_set(v, r, True)


@mutation('exfat')
def set_place(v, r):
    at = r.choice(sets(v))
    struct.pack_into('<I', v.b, at + 52, r.choice([0, 1, v.clusters + 2, v.root, r.randrange(2, v.clusters + 2)]))
    v.seal(at)


@mutation('exfat')
def set_lengths(v, r):
    at = r.choice(sets(v))
    struct.pack_into('<Q', v.b, at + r.choice([40, 56]), r.choice([0, 1, 2048, 2049, 1 << 40, r.randrange(60000)]))
    v.seal(at)


@mutation('exfat')
def set_flags(v, r):
    at = r.choice(sets(v))
    v.b[at + 33] ^= r.choice([1, 2, 3])
    v.seal(at)


@mutation('exfat')
def set_moved(v, r):
    swap(v, r.choice(sets(v)), r.choice(sets(v)))


@mutation('exfat')
def entry_gone(v, r):
    v.b[r.choice(sets(v)) + 32 * r.randrange(3)] &= 0x7F


@mutation('exfat')
def main_region(v, r):
    v.b[r.randrange(11 * v.sector)] ^= 1 << r.randrange(8)


@mutation('exfat')
def backup_region(v, r):
    v.b[12 * v.sector + r.randrange(12 * v.sector)] ^= 1 << r.randrange(8)


# ---- the rounds ----------------------------------------------------------------------------------------------

def bounded():
    if MEGABYTES:
        resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))


def run(image, command):
    """What dish says, within its bounds."""
    done = subprocess.run([DISH, '-j', '-q', '-c', command, image], capture_output=True, text=True,
                          errors='replace', timeout=SECONDS, preexec_fn=bounded)
    if done.returncode not in (0, 1, 4) or 'Sanitizer' in done.stderr or 'runtime error' in done.stderr:
        raise AssertionError(f'{command}: status {done.returncode}: {done.stderr[-2000:]}')
    found = json.loads(done.stdout)['findings'] if done.returncode != 1 and done.stdout.strip() else []
    return done.returncode, [f['code'] for f in found if f['kind'] != 'note'], done.stderr.strip()


def only_suspects(text):
    """fsck.vfat takes a short name with more than six bytes above 0x7f for a bad one. In the code pages of other
    alphabets such names are common, and dish leaves them alone."""
    names = re.findall(r'Bad short file name \((.*)\)', text)
    rest = re.sub(r'^/.*\n  Bad short file name .*\n  Auto-renaming it\.\n  Renamed to .*\n', '', text, flags=re.M)
    return bool(names) and all(sum(c > '\x7f' for c in name) > 6 for name in names) and \
        len(rest.strip().split('\n')) <= 4


def one(kind, image, tool):
    """Judge one damaged image. None, or what is wrong."""
    clean, text = judge(tool, image)
    status, codes, error = run(image, 'fsck')
    clean = clean or only_suspects(text)
    if not clean and status == 0:
        return 'dish finds nothing: ' + text[-600:]
    if status == 1:
        return 'dish cannot check it: ' + error[-600:]
    if status == 0:
        return None
    status, _, error = run(image, 'fsck --repair')
    if status != 0:
        return f'not repaired ({codes}): {error[-600:]}'
    status, codes, error = run(image, 'fsck')
    if status != 0:
        return f'left over: {codes} {error[-300:]}'
    clean, text = judge(tool, image)
    return None if clean or only_suspects(text) else 'after the repair: ' + text[-800:]


def make_base(kind, path):
    size, make = BASES[kind]
    blank(path, size << 10)
    fill(path, make)
    if not judge('exfat' if kind == 'exfat' else 'fat', path)[0]:
        raise SystemExit(f'{kind}: the volume is not clean before any damage')


def main():
    cases = 0
    with tempfile.TemporaryDirectory() as work:
        for kind in BASES:
            if os.environ.get('KIND', kind) != kind:
                continue
            tool = 'exfat' if kind == 'exfat' else 'fat'
            base, image = os.path.join(work, 'base.img'), os.path.join(work, 'damaged.img')
            make_base(kind, base)
            for seed in range(FIRST, FIRST + CASES):
                r = random.Random(f'{kind}-{seed}')
                volume = (Exfat if tool == 'exfat' else Fat)(base)
                done = []
                for _ in range(r.choice([1, 1, 2, 4])):
                    change = r.choice(MUTATIONS[tool])
                    done.append(change.__name__)
                    change(volume, r)
                with open(image, 'wb') as stream:
                    stream.write(volume.b)
                cases += 1
                try:
                    wrong = one(kind, image, tool)
                except (AssertionError, subprocess.TimeoutExpired) as error:
                    wrong = str(error)
                if wrong:
                    fail(f'{kind} seed {seed} {" ".join(done)}: {wrong}')
    print(f'{cases} damaged volumes')
    finish()


main()
