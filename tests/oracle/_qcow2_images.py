"""Random valid qcow2 images, the list of their on-disk fields, and mutations of these; for qcow2_fuzz.py."""
import json
import os
import subprocess

ENTRY_OFFSET = 0x00fffffffffffe00
COPIED, COMPRESSED = 1 << 63, 1 << 62


def run(*args, data=None, expect=0):
    done = subprocess.run(args, input=data, capture_output=True, text=True, errors='replace')
    if expect is not None and done.returncode != expect:
        raise SystemExit(f'{args}: exit status {done.returncode}\n{done.stdout}{done.stderr}')
    return done


# ---- valid images ----

class Image:
    """A valid image in a folder of its own, with its backing or data file beside it."""

    def __init__(self, rng, folder, tools):
        self.rng, self.folder, (self.dish, self.blkcat) = rng, folder, tools
        self.path = os.path.join(folder, 'image.qcow2')
        bits = rng.choice([9, 9, 10, 11, 12, 12, 13, 14, 15, 16, 16, 16, 17, 18, 21])
        self.cluster = 1 << bits
        self.v2 = rng.random() < 0.15
        self.extended = not self.v2 and bits >= 14 and rng.random() < 0.35
        self.external = not self.v2 and rng.random() < 0.1
        self.backed = not self.external and rng.random() < 0.3
        clusters = rng.randrange(2, max(3, min(200, (4 << 20) >> bits)))
        self.size = clusters * self.cluster + 512 * rng.choice([0, 0, 0, 1, rng.randrange(self.cluster // 512)])
        self.options = self.choose_options(bits)
        self.steps = []
        self.make()

    def choose_options(self, bits):
        rng, options = self.rng, [f'cluster_size={1 << bits}']
        if self.v2:
            options.append('compat=0.10')
        else:
            options.append(f'refcount_bits={rng.choice([1, 2, 4, 8, 16, 16, 16, 32, 64])}')
            options += ['extended_l2=on'] * self.extended + ['lazy_refcounts=on'] * (rng.random() < 0.15)
            options += ['compression_type=zstd'] * (rng.random() < 0.3)
        if self.external:
            options += ['data_file=data.raw'] + ['data_file_raw=on'] * (rng.random() < 0.3)
        if (not self.backed or self.extended) and rng.random() < 0.1:
            options.append('preallocation=metadata')
        return ','.join(options)

    def step(self, *args, expect=0):
        self.steps.append(' '.join(args))
        return run(*args, expect=expect)

    def make(self):
        os.chdir(self.folder)
        name, options = 'image.qcow2', self.options
        if self.backed:
            with open('base.raw', 'wb') as file:
                file.write(self.rng.randbytes(self.rng.randrange(1, self.size + 3000)))
            options += ',backing_file=base.raw,backing_fmt=raw'
        if self.rng.random() < 0.5:
            self.step('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, name, str(self.size))
        else:
            self.step(self.dish, '-q', '--', 'create', '-o', options, name, str(self.size))
        self.snapshots = 0
        for _ in range(self.rng.choice([1, 1, 1, 2, 3])):
            self.write()
            if self.rng.random() < 0.5:
                self.add_snapshot()
            if not self.v2 and self.rng.random() < 0.3:
                self.add_bitmap()
        self.write()

    def change(self, compressible):
        """One line for qemu-io, and the same for blkcat where that has it."""
        rng = self.rng
        off = rng.randrange(self.size // 512) * 512
        length = min(self.size - off, rng.choice([512, 4096, self.cluster, self.cluster, 3 * self.cluster]))
        kind = rng.random()
        if kind < 0.25 and compressible:
            off -= off % self.cluster
            length = min(self.size - off, self.cluster)
            return f'write -c -P {rng.randrange(1, 256)} {off} {length}', None
        if kind < 0.7:
            byte = rng.randrange(1, 256)
            return f'write -P {byte} {off} {length}', f'write {off} {length} {byte}'
        if kind < 0.85:
            return f'write -z {off} {length}', f'zero {off} {length}'
        return f'discard {off} {length}', f'discard {off} {length}'

    def write(self):
        compressible = not self.external
        changes = [self.change(compressible) for _ in range(self.rng.randrange(3, 10))]
        if not self.external and self.rng.random() < 0.5:
            lines = [line for _, line in changes if line]
            self.steps.append('blkcat: ' + '; '.join(lines))
            run(self.blkcat, 'image.qcow2', '-', data='\n'.join(lines) + '\n')
        else:
            # Writing into a compressed cluster with -c again is refused; that is no fault of the image.
            self.step('qemu-io', '-f', 'qcow2', *[word for line, _ in changes for word in ('-c', line)],
                      'image.qcow2', expect=None)

    def add_snapshot(self):
        name = self.rng.choice(['a', 'second', 'x' * 200, '%s%n%999d']) + str(self.snapshots)
        if self.external or 'refcount_bits=1,' in self.options + ',':
            return
        wide = not any(f'refcount_bits={bits},' in self.options + ',' for bits in (2, 4))
        if wide and self.rng.random() < 0.5:  # QEMU leaks clusters when the counts become too large
            done = self.step('qemu-img', 'snapshot', '-c', name, 'image.qcow2', expect=None)
        else:
            done = self.step(self.dish, '-q', 'image.qcow2', '--', 'snapshot', 'create', name, expect=None)
        self.snapshots += done.returncode == 0

    def add_bitmap(self):
        name, grain = f'bitmap{self.rng.randrange(1000)}', str(512 << self.rng.randrange(8))
        if self.rng.random() < 0.5:
            self.step('qemu-img', 'bitmap', '--add', '-g', grain, '-f', 'qcow2', 'image.qcow2', name, expect=None)
        else:
            self.step(self.dish, '-q', 'image.qcow2', '--', 'bitmap', 'add', name, '-g', grain, expect=None)

    # ---- its fields ----

    def fields(self):
        """(structure, offset in the file, width, name) of all fields, as the program's own layouts say."""
        commands = ['header', 'bitmaps', 'crypto', 'l1', 'reftable', 'feature']
        commands += [f'extension {i}' for i in range(6)] + [f'l2 {i}' for i in range(4)]
        commands += [f'refcount {i}' for i in range(0, 40, 3)]
        commands += [f'{kind} {i}' for i in range(4)
                     for kind in ('snapshot', 'snapshot-extra', 'bitmap', 'bitmap-table')]
        script = ''.join(f'show qcow2.{command}\n' for command in commands)
        out = run(self.dish, '-k', '-j', '-r', '--allow-data-file', self.path, data=script, expect=None).stdout
        found, decoder, at = [], json.JSONDecoder(), 0
        while at < len(out):
            document, at = decoder.raw_decode(out, at)
            collect(document, found, self.rng)
            while at < len(out) and out[at].isspace():
                at += 1
        return found + self.snapshot_tables(found)

    def snapshot_tables(self, fields):
        """The L1 and L2 tables of snapshots, which no structure shows."""
        found = []
        with open(self.path, 'rb') as file:
            def number(off, width):
                file.seek(off)
                return int.from_bytes(file.read(width), 'big')
            sizes = [number(off, width) for name, off, width, field in fields
                     if name == 'snapshot' and field == 'l1_size']
            tables = [number(off, width) for name, off, width, field in fields
                      if name == 'snapshot' and field == 'l1_table_offset']
            for table, size in zip(tables, sizes):
                for i in range(min(size, 4)):
                    found.append(('snapshot l1', table + 8 * i, 8, 'entry'))
                    l2 = number(table + 8 * i, 8) & ENTRY_OFFSET
                    found += [('snapshot l2', l2 + 8 * k, 8, 'entry') for k in range(8) if l2]
        return found


def collect(document, found, rng):
    """All fields of a document of `show` and of its parts; of tables also some entries that are 0."""
    name, base, size = document['structure'], document['offset'], document['size']
    for field in document['fields']:
        if field['name'] not in (None, 'magic') and field['width'] <= 4096:
            found.append((name, base + field['offset'], field['width'], field['name']))
    for part in document.get('parts', []):
        collect(part, found, rng)
    if 'parts' in document and size >= 8:
        for _ in range(4):
            found.append((name, base + 8 * rng.randrange(size // 8), 8, 'any entry'))


# ---- mutations ----

def boundary_values(width):
    top = 1 << 8 * width
    values = [0, 1, 2, 0x100, 0x200, 0x1000, 1 << 16, 1 << 20, top // 4, top // 2 - 1, top // 2, top // 2 + 1,
              top - 2, top - 1]
    return [value for value in values if value < top]


def pointer(rng, fields, cluster, length):
    """An entry that points to something: another structure, data, the end of the file, or into their middle."""
    target = rng.choice([rng.choice(fields)[1], rng.randrange(length), length, length - cluster, 0, 1 << 55, 1 << 40])
    target = max(0, target)
    if rng.random() < 0.8:
        target -= target % cluster
    target += rng.choice([0] * 8 + [1, 8, 512, cluster, -cluster])
    return target | rng.choice([0, COPIED, COPIED, COPIED, COMPRESSED, COMPRESSED | rng.randrange(16) << 58, 1])


def mutate_number(rng, old, width, fields, cluster, length):
    kind = rng.random()
    if kind < 0.3:
        value = rng.choice(boundary_values(width))
    elif kind < 0.45:
        value = old ^ (1 << rng.randrange(8 * width))
    elif kind < 0.6:
        value = old + rng.choice([1, -1, 8, -8, 512, cluster, -cluster, old])
    elif kind < 0.9 and width == 8:
        value = pointer(rng, fields, cluster, length)
    else:
        value = rng.getrandbits(8 * width)
    return (value % (1 << 8 * width)).to_bytes(width, 'big')


def mutate_text(rng, old):
    pattern = rng.choice([b'%s%n%999d', b'\0', b'\xff', b'../', b'image.qcow2\0', rng.randbytes(9)])
    return (pattern * (len(old) // len(pattern) + 1))[:len(old)]


def mutate(rng, path, fields, cluster):
    """Change some fields of the image; returns what was done."""
    structures = sorted({field[0] for field in fields})
    done = []
    with open(path, 'r+b') as file:
        length = os.path.getsize(path)
        for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 5])):
            chosen = rng.choice(structures)
            name, off, width, field = rng.choice([field for field in fields if field[0] == chosen])
            file.seek(off)
            old = file.read(width).ljust(width, b'\0')
            if width > 8:
                new = mutate_text(rng, old)
            else:
                new = mutate_number(rng, int.from_bytes(old, 'big'), width, fields, cluster, length)
            if (name, field) == ('bitmap', 'flags'):  # QEMU refuses bit 2, which the specification allows
                new = new[:3] + bytes([new[3] & ~4])
            file.seek(off)
            file.write(new)
            done.append(f'{name}.{field} at {off:#x}: {old[:16].hex()} -> {new[:16].hex()}')
        kind = rng.random()
        if kind < 0.06:
            length = rng.randrange(max(1, length - 4 * cluster), length)
        elif kind < 0.1:
            length = rng.choice([length + cluster, length + 511, 1 << 36, 1 << 42])
        if kind < 0.1:
            file.truncate(length)
            done.append(f'the file is {length} bytes long')
    return done
