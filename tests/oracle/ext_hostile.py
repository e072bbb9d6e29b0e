#!/usr/bin/env python3
"""Structures of ext that nobody writes, each made with a foreign tool and changed by hand: a change that would have
to trust them is refused and leaves the image as it was; and what deleting leaves behind is no trap for undelete."""
import os
import struct
import subprocess
import tempfile

from _dish import DISH, blank, content, expect, finish, poke, run

BLOCK = 1024


def make(image, *options):
    blank(image, 8 << 20)
    run('mke2fs', '-q', '-F', '-b', str(BLOCK), *options, image)


def dish(image, *commands):
    return run(DISH, image, *(word for line in commands for word in ('-c', line)))


def stat(image, path, label):
    """A number that debugfs shows behind a label."""
    text = run('debugfs', '-R', f'stat {path}', image)[1]
    return int(text.split(label)[1].split()[0])


def inode_at(image, path):
    """Byte of an inode."""
    block, offset = run('debugfs', '-R', f'imap {path}', image)[1].split('located at block ')[1].split(', offset ')
    return int(block) * BLOCK + int(offset, 16)


def refused(what, image, command, why):
    before = content(image)
    rc, _, err = dish(image, command)
    expect(rc == 1 and why in err, what, command, rc, err[:2000])
    expect(content(image) == before, what, 'the image changed')


def overlapping_values(image):
    """Three attributes of one block that all claim the same 800 bytes: written anew they need more than a block."""
    make(image, '-t', 'ext4', '-I', '128', '-O', '^metadata_csum')
    dish(image, 'write /f x', 'xattr -n user.a -v ' + 'a' * 200 + ' /f', 'xattr -n user.b -v b /f',
         'xattr -n user.c -v c /f')
    block = stat(image, '/f', 'File ACL:')
    entry = block * BLOCK + 32
    for _ in range(3):
        poke(image, entry + 2, struct.pack('<H', 200))  # e_value_offs
        poke(image, entry + 8, struct.pack('<I', 800))  # e_value_size
        entry += 20
    refused('overlapping values', image, 'xattr -x user.a /f', 'overlap')
    refused('overlapping values', image, 'xattr -n user.d -v d /f', 'overlap')


def overlapping_in_inode(image):
    make(image, '-t', 'ext4', '-I', '256', '-O', '^metadata_csum')
    dish(image, 'write /f x', 'xattr -n user.a -v ' + 'a' * 20 + ' /f', 'xattr -n user.b -v b /f')
    inode = inode_at(image, '/f')
    entry = inode + 128 + struct.unpack_from('<H', content(image), inode + 128)[0] + 4
    for _ in range(2):
        poke(image, entry + 2, struct.pack('<H', 44))
        poke(image, entry + 8, struct.pack('<I', 44))
        entry += 20
    refused('overlapping values in the inode', image, 'xattr -x user.a /f', 'overlap')


def quota_blocks(image):
    """The list of free blocks leads to the root of the tree, or far behind the file's end."""
    for field, value in ((0x18, 1), (0x14, 1 << 30)):  # dqi_free_blk, dqi_blocks
        make(image, '-t', 'ext4', '-O', 'quota,^metadata_csum')
        first = int(run('debugfs', '-R', 'blocks <3>', image)[1].split()[0])
        poke(image, first * BLOCK + field, struct.pack('<I', value))
        refused('quota blocks', image, 'write /f x; chown 70000 /f', 'cannot be a free one')


def undeleted_values(image):
    """A value in an inode of its own goes with its file; the file comes back without it."""
    make(image, '-t', 'ext4', '-O', 'ea_inode')
    value = ''.join(chr(97 + i * i % 26) for i in range(5000))
    dish(image, 'write /f text', f'xattr -n user.big -v {value} /f', 'xattr -n user.small -v 1 /f')
    ino = stat(image, '/f', 'Inode:')
    rc, out, err = dish(image, 'rm /f', f'undel {ino} /g', 'cat /g', 'xattr /g')
    expect(rc == 0 and out.startswith('text') and 'user.small="1"' in out and 'user.big' not in out,
           'undeleted values', rc, out[:300], err)
    rc, out, _ = run('e2fsck', '-fn', image)
    expect(rc == 0, 'undeleted values', out)


def shared_by_directory_and_extents(image):
    """One block that is both: sound as a directory, and then an extent node with 60,000 entries."""
    make(image, '-t', 'ext4', '-O', '^metadata_csum')
    dish(image, 'mkdir /d', 'write /f x', *(f'write --at {4 * BLOCK * n} /f x' for n in range(1, 9)))
    block = int(run('debugfs', '-R', 'blocks /d', image)[1].split()[0])
    header = struct.pack('<HHHHI', 0xF30A, 60000, BLOCK, 0, 0)  # as an entry: inode, rec_len BLOCK, no name
    poke(image, block * BLOCK, header + bytes(BLOCK - len(header)))
    root = inode_at(image, '/f') + 0x28
    expect(content(image)[root + 6] == 1, 'the extent tree of /f has no node of its own')
    poke(image, root + 12 + 4, struct.pack('<I', block))  # ei_leaf_lo
    rc, _, err = run(DISH, '-k', image, '-c', 'ls /d', '-c', 'cat /f')
    expect(rc == 1 and 'eh_max' in err, 'shared by a directory and extents', rc, err[:2000])


def held_but_free(image):
    """A full extent node that the bitmap has as free is handed out to the split of that very node."""
    make(image, '-t', 'ext4', '-O', '^metadata_csum,^has_journal,^resize_inode', '-I', '128')
    count = (BLOCK - 12 - 4) // 12
    dish(image, *(f'write --at {2 * BLOCK * n} /f x' for n in range(count)))
    raw = content(image)
    root = inode_at(image, '/f') + 0x28
    node = struct.unpack_from('<I', raw, root + 16)[0]
    entries = struct.unpack_from('<H', raw, node * BLOCK + 2)[0]
    expect(entries == count, 'the node has', entries, 'entries')
    data = 8000
    desc = 2 * BLOCK
    bitmap = struct.unpack_from('<I', raw, desc)[0] * BLOCK
    bits = bytearray(b'\xff' * BLOCK)
    for free in (node, data):
        bits[(free - 1) // 8] &= ~(1 << (free - 1) % 8)
    poke(image, bitmap, bytes(bits))
    poke(image, desc + 12, struct.pack('<H', 2))
    refused('held but free', image, f'write --at {2 * BLOCK * count} /f x', 'marked as free')


def repaired(what, image, *lines):
    """A repair ends, e2fsck finds nothing after it, and the files are what they were."""
    rc, out, err = dish(image, 'fsck --repair')
    expect(rc == 0, what, rc, out[-300:], err[:2000])
    rc, out, _ = run('e2fsck', '-fn', image)
    expect(rc == 0, what, out)
    for command, output in lines:
        rc, out, err = dish(image, command)
        expect(rc == 0 and out == output, what, command, out[:200], err)


def journal_number(image):
    """The superblock says that the journal is the root directory, or a file: these are left alone."""
    for path in ('/', '/a'):
        make(image, '-t', 'ext4', '-O', '^metadata_csum')
        dish(image, 'write /a A', 'mkdir /d', 'write /d/b B')
        poke(image, 1024 + 0xE0, struct.pack('<I', stat(image, path, 'Inode:')))  # s_journal_inum
        repaired('journal number', image, ('cat /a /d/b', 'AB'))


def no_room_for_dotdot(image):
    """`.` takes all of a directory's block, or leaves 8 bytes, too few for `..`."""
    for rest in (0, 8):
        make(image, '-t', 'ext4', '-O', '^metadata_csum,^dir_index')
        dish(image, 'mkdir /d', 'write /d/b B')
        first = int(run('debugfs', '-R', 'blocks /d', image)[1].split()[0])
        block = struct.pack('<IHBB4s', stat(image, '/d', 'Inode:'), BLOCK - rest, 1, 2, b'.')
        poke(image, first * BLOCK, block.ljust(BLOCK - rest, b'\0') + struct.pack('<IHBB', 0, 8, 0, 0)[:rest])
        repaired('no room for ..', image, ('ls /d', ''), ('cat /lost+found/*', 'B'))


def short_inline_part(image):
    """The second part of an inline directory has 4 bytes at the very end of a block."""
    make(image, '-t', 'ext4', '-O', '^metadata_csum,inline_data', '-I', '256')
    dish(image, 'write /a A', 'mkdir /c /d', *(f'write /d/a-rather-long-name-{i} {i}' for i in range(3)))
    inode = inode_at(image, '/d')
    entry = inode + 128 + struct.unpack_from('<H', content(image), inode + 128)[0] + 4
    poke(image, entry + 2, struct.pack('<H', inode + 256 - entry - 4))  # e_value_offs
    poke(image, entry + 8, struct.pack('<II', 4, 0))  # e_value_size, e_hash
    behind = content(image)[inode + 256:inode + 512]
    rc, _, err = dish(image, 'fsck --repair')
    expect(rc in (0, 4), 'short inline part', rc, err[:2000])
    if (inode + 256) % BLOCK:
        expect(content(image)[inode + 256:inode + 512] == behind, 'short inline part', 'the next inode was changed')
    expect(dish(image, 'cat /a')[1] == 'A', 'short inline part', 'a file is lost')


def repeated_pointers(image):
    """Three blocks of pointers, all of them the same: a map of 2^24 blocks. Looking at it ends."""
    make(image, '-t', 'ext2')
    dish(image, 'write /a A', 'write /b B')
    for level in range(3):
        poke(image, (6000 + level) * BLOCK, struct.pack('<256I', *[6001 + level] * 256))
    poke(image, inode_at(image, '/a') + 40 + 14 * 4, struct.pack('<I', 6000))
    rc, out, err = run(DISH, image, '-c', 'fsck', timeout=30)
    expect(rc == 4, 'repeated pointers', rc, out[-300:], err[:2000])


def shared_pieces(image):
    """A file owns the blocks of another one in reverse order: more pieces than are copied at once."""
    make(image, '-t', 'ext2')
    dish(image, 'write /a ' + 'a' * 100 * BLOCK, 'write /b ' + 'b' * 100 * BLOCK)
    maps = [[int(n) for n in run('debugfs', '-R', f'blocks {path}', image)[1].split()] for path in ('/a', '/b')]
    index = maps[1][12]  # the indirect block follows the direct ones
    poke(image, index * BLOCK, struct.pack('<88I', *reversed(maps[0][13:])))
    repaired('shared pieces', image, ('cat /a', 'a' * 100 * BLOCK))


def names_at_a_terminal(image):
    """No name can steer the terminal that it is shown at."""
    make(image, '-t', 'ext4')
    dish(image, "mkdir $'/d\\x1b[31m'", "ln -s $'t\\x1b[2J' $'/d\\x1b[31m/l\\x1b[7m'")
    for command in ('ls -lR /', 'find /', 'find / -ls', "find / -printf '%p|%P|%f|%h|%l|%10f|'", 'tree /', 'du -a /'):
        master, slave = os.openpty()
        subprocess.run([DISH, '--color', 'never', image, '-c', command], stdout=slave, stderr=slave, timeout=60)
        shown = os.read(master, 65536)
        os.close(slave)
        os.close(master)
        expect(b'033[' in shown and b'\x1b' not in shown, 'names at a terminal', command, shown)


def too_many_reserved(image):
    """More blocks reserved for descriptors than inode 7 could hold: the superblock is not believed."""
    blank(image, 24 << 20)
    run('mke2fs', '-q', '-F', '-t', 'ext4', '-b', str(BLOCK), '-O', '^metadata_csum', image)
    dish(image, 'write /f text')
    poke(image, 1024 + 0xCE, b'\xff\x7f')
    rc, out, err = dish(image, 'cat /f')
    expect(rc == 0 and out == 'text' and 'copy' in err, 'too many reserved blocks', rc, out, err)
    dish(image, 'fsck --repair')
    rc, out, _ = run('e2fsck', '-fn', image)
    expect(rc == 0 and content(image)[1024 + 0xCE:1024 + 0xD0] != b'\xff\x7f', 'too many reserved blocks', out)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for case in (overlapping_values, overlapping_in_inode, quota_blocks, undeleted_values,
                     shared_by_directory_and_extents, held_but_free, journal_number, no_room_for_dotdot,
                     short_inline_part, repeated_pointers, shared_pieces, names_at_a_terminal,
                     too_many_reserved):
            case(folder + '/image')
    finish()


main()
