#!/bin/bash
# An image made to harm: `get` writes nothing outside its target, names what it refuses, and ends.
. "$(dirname "$0")/_scenario.sh"

# Names are patched into directory blocks afterwards, so the directories have no checksums.
mke2fs -q -F -t ext4 -O ^metadata_csum,^has_journal,^dir_index img.raw 16M || exit 1
outside=$scratch/abs-outside
mkdir outside-dir
printf 'payload\n' >payload
absolute=$(printf '%s' "$outside" | sed 's/./A/g')
cat >commands <<X
write payload XXpwn1
write payload $absolute
write payload sound
mkdir dir
mkdir dir/deep
write payload dir/deep/file
mkdir loop
symlink linkout $scratch/outside-dir
mkdir linkouT
write payload linkouT/through
write payload huge
write payload past
write payload esc-Q31mred
mkdir dots
write payload dots/YY
X
debugfs -w -f commands img.raw >/dev/null 2>&1
# A directory inside itself, a size near 2^63, a block past the end of the volume.
loop=$(debugfs -R 'stat loop' img.raw 2>/dev/null | sed -n 's/^Inode: \([0-9]*\).*/\1/p')
debugfs -w -R "ln <$loop> loop/again" img.raw >/dev/null 2>&1
debugfs -w -R "sif huge size 0x7fffffffffffffff" img.raw >/dev/null 2>&1
debugfs -w -R "sif past block[5] 0x7ffffff0" img.raw >/dev/null 2>&1
python3 - "$absolute" "$outside" <<'X' || exit 1
import sys
absolute, outside = sys.argv[1].encode(), sys.argv[2].encode()
data = bytearray(open('img.raw', 'rb').read())
def patch(old, new):
    at = data.find(old)
    assert at > 0 and data.find(old, at + 1) < 0, old
    data[at:at + len(old)] = new
patch(b'XXpwn1', b'../pwn')
patch(absolute, outside)
patch(b'linkouT', b'linkout')  # now a link and a directory have one name
patch(b'esc-Q31mred', b'esc-\x1b31mred')
patch(b'YY', b'..')
open('img.raw', 'wb').write(data)
X

mkdir out
timeout 60 "$dish" img.raw -- get -r / out >stdout 2>stderr
status=$?
[ $status -eq 1 ] || complain "status $status, not 1"
[ -e pwn ] && complain "../pwn was written"
[ -e "$outside" ] && complain "the absolute name was written"
[ -n "$(ls -A outside-dir)" ] && complain "a file was written through a link"
[ "$(cat out/sound 2>/dev/null)" = payload ] || complain "the sound file is missing"
[ "$(cat out/dir/deep/file 2>/dev/null)" = payload ] || complain "the sound directory is missing"
for name in '\.\./pwn' 'abs-outside' 'loop/again' 'huge' 'past'; do
    grep -q "$name" stderr || complain "the refused entry $name is not named"
done
[ -e out/huge ] && complain "a part of the impossible file stayed"

# The same through every way that walks the tree: each ends, none crashes.
for command in 'ls -lR /' 'find /' 'du /' 'tree /' 'grep -r payload /' 'tar-out / out.tar' 'cp -r /dir /copy'; do
    timeout 60 "$dish" img.raw -c "$command" >stdout 2>stderr </dev/null
    status=$?
    [ $status -le 1 ] || complain "$command: status $status"
done
[ -e pwn ] && complain "../pwn was written later"
timeout 60 "$dish" img.raw -c 'rm -r /loop' >stdout 2>stderr
[ $? -le 1 ] || complain "rm -r of a loop"

finish
