#!/usr/bin/env python3
"""Structures of ext that nobody writes, each made with a foreign tool and changed by hand: a change that would have
to trust them is refused and leaves the image as it was; and what deleting leaves behind is no trap for undelete."""
import struct
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


def main():
    with tempfile.TemporaryDirectory() as folder:
        for case in (overlapping_values, overlapping_in_inode, quota_blocks, undeleted_values,
                     shared_by_directory_and_extents, held_but_free):
            case(folder + '/image')
    finish()


main()
