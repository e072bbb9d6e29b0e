"""What the cross-checks of qcow2 images share: programs that end as they must, and what qemu-img says of an image.
Such a test ends with the first thing that is wrong."""
import json
import os
import subprocess

from _dish import TOOLS

BLKCAT = os.path.join(TOOLS, 'blkcat')


def run(*args, status=0, stdin=None, text=True, env=None):
    """A program that must end with this exit status, or with any where it is None."""
    stdin = stdin or ('' if text else b'')
    done = subprocess.run(args, capture_output=True, input=stdin, text=text, env=env, errors='replace' if text else None)
    if status is not None and done.returncode != status:
        said = stdin[-2000:] + done.stdout[-2000:] + done.stderr[-2000:]
        raise SystemExit(f'{args}: exit status {done.returncode}\n{said if text else said.decode(errors="replace")}')
    return done


def expect(condition, what):
    if not condition:
        raise SystemExit(what)


def clean(image, what=''):
    found = run('qemu-img', 'check', image, status=None)
    expect(found.returncode == 0, f'{what}: qemu-img check of {image}: {found.returncode}\n{found.stdout}{found.stderr}')


def same(a, b, what):
    """The disks of both images hold the same bytes."""
    found = run('qemu-img', 'compare', a, b, status=None)
    expect(found.stdout == 'Images are identical.\n', f'{what}: {found.stdout}{found.stderr}')


def described(image):
    """What a twin made by qemu-img with the same options has in common with the image."""
    report = json.loads(run('qemu-img', 'info', '--output=json', image).stdout)
    return {key: report.get(key) for key in ('virtual-size', 'cluster-size', 'format-specific')}
