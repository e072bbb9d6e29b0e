#!/usr/bin/env python3
"""Size: directories of many names, files of many extents, full volumes, volumes of many terabytes.

Judged by e2fsck; what is held to bounds is memory, and the work that a session counts. LONG=1: a million names.
"""
import json
import os
import subprocess
import tempfile

from ext_random import LONG, Tool

NAMES = 1000000 if LONG else 60000


def make(image, size, options):
    subprocess.run(['mke2fs', '-q', '-F', *options.split(), image, size], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def check(image, what):
    done = subprocess.run(['e2fsck', '-fn', image], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f'{what}: e2fsck: {done.stdout[-2000:]}{done.stderr[-200:]}')


def ok(tool, line):
    answer, lines = tool.run(line)
    if answer != 'ok':
        raise SystemExit(f'{line}: {answer}')
    return lines


def counts(tool):
    words = ok(tool, 'stat')[0].split()
    return int(words[3]), int(words[7])


def many_names(work):
    """Time for each of ten equal parts: the last is not much more than the first."""
    for options, names in (('-t ext4 -b 4096', NAMES), ('-t ext2 -b 4096 -O ^dir_index', NAMES // 10)):
        image = os.path.join(work, 'names.img')
        make(image, '3G', f'{options} -N {names + 10000}')
        tool = Tool(image)
        before = counts(tool)
        ok(tool, 'mkdir /d 755')
        for what in ('many-create', 'many-lookup', 'many-remove'):
            for part in range(10):
                ok(tool, f'{what} /d {part * names // 10} {names // 10}')
            if what == 'many-create':
                tool.close()
                check(image, what)
                tool = Tool(image)
        ok(tool, 'rm /d')
        if counts(tool) != before:
            raise SystemExit(f'{options}: free counts {counts(tool)}, not {before}')
        tool.close()
        check(image, 'all removed')
        os.unlink(image)
        print(f'{options}: {names} names')


def session(image, script, read=False):
    """Runs commands; what the device below the filesystem was asked for, and the peak of memory in MiB."""
    dish = os.environ.get('DISH')
    with tempfile.NamedTemporaryFile('w+', suffix='.dish') as lines:
        lines.write(script + ('' if read else 'status -v\n'))
        lines.flush()
        with tempfile.TemporaryFile('w+') as out:
            process = subprocess.Popen([dish, '--json', image, '-f', lines.name], stdout=out)
            _, status, usage = os.wait4(process.pid, 0)
            if status != 0:
                raise SystemExit(f'a session failed: {script[:80]}')
            out.seek(0)
            last = out.read().rstrip().splitlines()[-1]
    if read:
        return None, usage.ru_maxrss / 1024
    layer = json.loads(last)[os.path.basename(image).rsplit('.', 1)[0]]['layers'][0]
    return layer['read-bytes'] + layer['write-bytes'], usage.ru_maxrss / 1024


def flat_sessions(work):
    """Work for each name in a small and in a large directory, and memory that does not grow with it."""
    if not os.environ.get('DISH'):
        return
    image = os.path.join(work, 'flat.img')
    few, many = 4000, 1000000 if LONG else 40000
    cost = {}
    for names in (few, many):
        make(image, '6G', f'-t ext4 -b 4096 -I 1024 -N {many + 1000}')
        for what, script in (
                ('create', 'mkdir /d\ncd /d\n' + ''.join(f'touch name{i:07d}\n' for i in range(names))),
                ('look up', 'cd /d\n' + ''.join(f'stat -c %i name{i:07d} > /dev/null\n'
                                               for i in range(0, names, names // 200))),
                ('list', 'ls -l /d > /dev/null\n'),
                ('find', 'find /d -size +1 > /dev/null\n'),
                ('remove', 'rm -rf /d\n')):
            asked, peak = session(image, script)
            cost[what, names] = asked / names
            if peak > 64 and 'SANITIZED' not in os.environ:
                raise SystemExit(f'{names} names: {what}: {peak:.0f} MiB of memory')
            if what == 'create':
                check(image, f'{names} names')
        check(image, f'{names} names removed')
        os.unlink(image)
    for what in ('create', 'look up', 'list', 'find', 'remove'):
        limit = 2.1 if what in ('list', 'find') else 1.5  # inodes are read twice, so as not to hold them
        print(f'{what}: bytes asked for each name: {cost[what, few]:.0f} of {few}, {cost[what, many]:.0f} of {many}')
        if cost[what, many] > limit * cost[what, few]:
            raise SystemExit(f'{what} is not flat')


def many_extents(work):
    for options in ('-t ext4 -b 1024', '-t ext2 -b 1024', '-t ext4 -b 1024 -O bigalloc -C 4096'):
        image = os.path.join(work, 'extents.img')
        n = 30000 if LONG else 8000
        make(image, '256M', options)
        tool = Tool(image)
        before = counts(tool)
        ok(tool, 'create /f 644')
        ok(tool, 'batch')
        for i in range(n):
            ok(tool, f'write /f {i * 7919 % n * 8192} 10 {i % 256}')
        ok(tool, 'batch')
        tool.close()
        check(image, 'many extents')
        tool = Tool(image)
        ok(tool, 'punch /f 8192 %d' % ((n - 2) * 8192))
        lines = ok(tool, 'map /f')
        if len([line for line in lines if line.split()[3] == '0']) != 2:
            raise SystemExit(f'{options}: after the punch the map is {lines}')
        ok(tool, 'rm /f')
        if counts(tool) != before:
            raise SystemExit(f'{options}: free counts {counts(tool)}, not {before}')
        tool.close()
        check(image, 'many extents removed')
        os.unlink(image)
        print(f'{options}: {n} extents')


def full(work):
    """Fill to the last block, then to the last inode; a failed step leaves no trace."""
    for options in ('-t ext2 -b 1024', '-t ext4 -b 1024', '-t ext4 -b 4096 -O bigalloc,inline_data -C 16384',
                    '-t ext4 -b 1024 -O quota'):
        image = os.path.join(work, 'full.img')
        make(image, '24M', f'{options} -N 1500')
        tool = Tool(image)
        before = counts(tool)
        files = 0
        for size in (700000, 40000, 3000):
            while True:
                ok(tool, 'batch')
                tool.run(f'create /f{files} 644 {size}')
                answer, _ = tool.run(f'write /f{files} 0 {size} {files % 256}')
                if answer != 'ok':
                    break
                ok(tool, 'batch')
                files += 1
            if not answer.startswith('err no-space'):
                raise SystemExit(f'{options}: {answer}')
            ok(tool, 'batch')
        tool.close()
        check(image, 'full')
        tool = Tool(image)
        for i in range(files):
            ok(tool, f'rm /f{i}')
        made = 0
        while True:
            answer, _ = tool.run(f'fifo /i{made} 644')
            if answer != 'ok':
                break
            made += 1
        if 'inode' not in answer or counts(tool)[1] != 0:
            raise SystemExit(f'{options}: at the last inode: {answer}, {counts(tool)}')
        for i in range(made):
            ok(tool, f'rm /i{i}')
        after = counts(tool)
        grown = sum(int(line.split()[1]) for line in ok(tool, 'map /')) - 1  # the root directory stays larger
        if after[1] != before[1] or before[0] - after[0] > grown // 1024 + 32:
            raise SystemExit(f'{options}: free counts {after}, not {before}')
        tool.close()
        check(image, 'empty again')
        os.unlink(image)
        print(f'{options}: {files} files filled it, {made} inodes')


def large_volume(work):
    image = os.path.join(work, 'large.img')
    options = '-t ext4 -b 4096 -O ^has_journal,^resize_inode -E lazy_itable_init=1,nodiscard -N 100000'
    try:
        make(image, '12T', options)
    except subprocess.CalledProcessError:
        print('no room for a file of 12 TiB: not looked at')
        return
    tool = Tool(image)
    for i in range(200):
        ok(tool, f'mkdir /d{i} 755')
        ok(tool, f'create /d{i}/f 644')
        ok(tool, f'write /d{i}/f 0 9000 {i}')
    ok(tool, 'create /big 644')
    ok(tool, 'write /big 9000000000000 5000 1')
    ok(tool, 'allocate /big 0 500000000000 0')
    tool.close()
    check(image, 'large volume')
    tool = Tool(image)
    ok(tool, 'rm /big')
    tool.close()
    check(image, 'large volume')
    os.unlink(image)
    print('12 TiB: spread over')


def main():
    with tempfile.TemporaryDirectory() as work:
        many_names(work)
        flat_sessions(work)
        many_extents(work)
        full(work)
        large_volume(work)


if __name__ == '__main__':
    main()
