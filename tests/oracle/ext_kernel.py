#!/usr/bin/env python3
"""Trees written by the kernel and by mke2fs -d read back equal; changing them leaves e2fsck nothing to say.

Needs root and loop devices for the kernel's part; without them only mke2fs -d is judged.
"""
import os
import subprocess
import tempfile

from ext_random import LONG, MIXES, Tool, can_mount, compare, from_kernel, from_tool

SHORT = ('ext2-1k', 'ext4', 'ext4-inline', 'ext4-bigalloc-1k', 'ext4-ea-inode', 'ext4-linear')


def populate(top, rich):
    """A tree with one of everything."""
    os.makedirs(f'{top}/many')
    for i in range(1500 if LONG else 400):
        open(f'{top}/many/file with a number {i:05d}', 'w').close()
    os.makedirs(f'{top}/deep/' + '/'.join(f'd{i}' for i in range(30)))
    sizes = [0, 1, 59, 60, 61, 100, 150, 160, 200, 500, 1023, 1024, 1025, 4095, 4096, 4097, 12288, 49152, 65536,
             100000, 300000]
    for size in sizes:
        with open(f'{top}/size{size}', 'wb') as out:
            out.write(bytes((i * 31 + size) & 0xFF for i in range(size)))
    with open(f'{top}/sparse', 'wb') as out:
        for i in range(60):
            out.seek(i * 20000)
            out.write(b'data %d' % i)
        out.truncate(5000000)
    os.link(f'{top}/sparse', f'{top}/sparse2')
    for n in (1, 58, 59, 60, 61, 100, 200, 900):
        os.symlink('t' * n, f'{top}/link{n}')
    os.mkfifo(f'{top}/fifo')
    names = ['é', 'e\u0301', '\U0001F600', 'a b', 'x' * 255, 'semi;colon', "quo'te", 'new\nline']
    for name in names:
        open(f'{top}/{name}', 'w').close()
    with open(os.fsencode(top) + b'/bad\xff\xfeutf', 'w'):
        pass
    for i in range(0, 200, 3):
        os.unlink(f'{top}/many/file with a number {i:05d}')
    if not rich:
        return
    for name, dev in (('null', (1, 3)), ('big', (259, 70000)), ('tty', (4, 255))):
        os.mknod(f'{top}/{name}', 0o20600, os.makedev(*dev))
    with open(f'{top}/prealloc', 'wb') as out:
        try:
            os.posix_fallocate(out.fileno(), 100000, 200000)
        except OSError:
            pass
        os.pwrite(out.fileno(), b'inside', 150000)
    os.chown(f'{top}/size100', 70000, 80000)
    os.chmod(f'{top}/size100', 0o7777)
    for i, when in enumerate((-2**31, -1, 0, 2**31 - 1, 2**31, 2**32 + 5, 2**33)):
        open(f'{top}/time{i}', 'w').close()
        os.utime(f'{top}/time{i}', ns=(10**9 * when + 7, 10**9 * when + 123456789))
    for name in ('size0', 'size100', 'size4096', 'many'):
        for i, n in enumerate((0, 1, 40, 100, 250, 800)):
            try:
                os.setxattr(f'{top}/{name}', f'user.attr{i}', bytes(i + 65 for _ in range(n)))
                os.setxattr(f'{top}/{name}', f'trusted.t{i}', b'v' * n)
            except OSError:
                break
    acl = bytes.fromhex('02000000' '01000600ffffffff' '02000400e8030000' '04000400ffffffff'
                        '10000600ffffffff' '20000400ffffffff')
    for i in range(5):
        try:
            os.setxattr(f'{top}/many/file with a number {i * 3 + 1:05d}', 'system.posix_acl_access', acl)
            os.setxattr(f'{top}/size4096', 'user.large', b'L' * 20000)
        except OSError:
            break


def check(image, name):
    done = subprocess.run(['e2fsck', '-fn', image], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f'{name}: e2fsck: {done.stdout[-2000:]}{done.stderr[-200:]}')


def run_mix(mix, work):
    name, size, options, tune = mix
    image, mount = os.path.join(work, name + '.img'), os.path.join(work, 'mnt')

    def fail(text):
        raise SystemExit(f'{name}: {text}')
    subprocess.run(['mke2fs', '-q', '-F', *options.split(), image, f'{size * 2}k'], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if tune:
        subprocess.run(['tune2fs', '-E', tune, image], check=True, stdout=subprocess.DEVNULL)
    os.makedirs(mount, exist_ok=True)
    if subprocess.run(['mount', '-o', 'loop', image, mount], capture_output=True).returncode != 0:
        print(f'{name}: this kernel does not mount it')
        return
    try:
        populate(mount, True)
    finally:
        subprocess.run(['umount', mount], check=True)
    subprocess.run(['mount', '-o', 'loop,ro', image, mount], check=True)
    try:
        expected = from_kernel(mount)
    finally:
        subprocess.run(['umount', mount], check=True)
    check(image, name + ' as the kernel left it')
    tool = Tool(image)
    _, lines = tool.run('tree /')
    compare('kernel tree', expected, from_tool(lines), fail)
    # Change what the kernel made, in every form.
    for line in ('write /sparse 30000 70000 3', 'truncate /size300000 777', 'write /size150 0 9000 1',
                 'mkdir /many/sub 755', 'many-create /many 0 300', 'many-remove /many 100 150', 'rm /size65536',
                 'mv /deep /many/deeper', 'xattr /size0 user.attr1 90 2', 'rmxattr /size100 user.attr0',
                 'rmxattr /size4096 user.large', 'truncate /prealloc 160000', 'write /prealloc 120000 100 9',
                 'rm /link200', 'rm /null', 'punch /sparse 0 100000', 'write /link1x 0 1 1'):
        answer, _ = tool.run(line)
        if not answer.startswith(('ok', 'err no-entry', 'err no-space')):
            fail(f'{line}: {answer}')
    _, lines = tool.run('tree /')
    tool.close()
    check(image, name)
    subprocess.run(['mount', '-o', 'loop,ro', image, mount], check=True)
    try:
        compare('after changes', from_kernel(mount), from_tool(lines), fail)
    finally:
        subprocess.run(['umount', mount], check=True)
    os.unlink(image)
    print(f'{name}: {len(expected)} files of the kernel, read and changed')


def run_populated(work):
    """mke2fs -d needs no mount."""
    source, image = os.path.join(work, 'src'), os.path.join(work, 'd.img')
    populate(source, False)
    expected = {k: v for k, v in from_kernel(source).items()}
    for options in ('-t ext2 -b 1024', '-t ext4 -b 4096', '-t ext4 -b 1024 -O inline_data -I 256'):
        subprocess.run(['mke2fs', '-q', '-F', *options.split(), '-d', source, image, '64M'], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        tool = Tool(image, '-r')
        _, lines = tool.run('tree /')
        tool.close()

        lost = '/sparse' if 'inline_data' in options else '\n'  # mke2fs 1.47.0 cuts the hole at its end off

        def whole(tree, lost=lost):
            return {k: ' '.join(w.split('.')[0] if i == 4 else w for i, w in enumerate(v.split(' ')))
                    for k, v in tree.items() if not k.startswith(lost)}

        def fail(text, options=options):
            raise SystemExit(f'mke2fs -d {options}: {text}')
        compare('mke2fs -d', whole(expected), whole(from_tool(lines)), fail)
        os.unlink(image)
    print(f'mke2fs -d: {len(expected)} files, three times')


def main():
    chosen = os.environ.get('MIX')
    with tempfile.TemporaryDirectory() as work:
        run_populated(work)
        if not can_mount():
            print('no loop mounts here: the kernel was not asked')
            return
        for mix in MIXES:
            if chosen and mix[0] not in chosen.split(',') or not chosen and not LONG and mix[0] not in SHORT:
                continue
            run_mix(mix, work)


if __name__ == '__main__':
    main()
