#!/bin/bash
# A hostile image, and a private history.
. "$(dirname "$0")/_scenario.sh"
truncate -s 8M evil.img
mkdir -p tree/loop
echo good >tree/good.txt
echo pwn >tree/AAAAAAAA
echo pwn >tree/BBBBBBBBBBBB
echo esc >tree/CCCCC
echo big >tree/huge
echo far >tree/far
ln -s /tmp tree/out
mke2fs -q -t ext4 -b 1024 -O ^metadata_csum,^dir_index -d tree evil.img
python3 - <<'P'
image = bytearray(open("evil.img", "rb").read())
for old, new in ((b"AAAAAAAA", b"../../pw"), (b"BBBBBBBBBBBB", b"/etc/evilxxx"), (b"CCCCC", b"\x1b[31m")):
    at = image.find(old)
    assert at > 0, old
    image[at:at + len(old)] = new
open("evil.img", "wb").write(image)
P
debugfs -w -R 'set_inode_field /huge size 0x7fffffffffffffff' evil.img 2>/dev/null
debugfs -w -R 'set_inode_field /far block[5] 0x7fffffff' evil.img 2>/dev/null
debugfs -w -R 'link / /loop/back' evil.img 2>/dev/null
cp evil.img before.img
ls -A >listing
run 1 timeout 60 "$dish" evil.img -c "get -r / $scratch/fetched"
check "good files came" grep -q good fetched/good.txt
holds err 'pw'
rm -rf fetched
ls -A | grep -vE '^(out|err|check.out|listing|after)$' >after
grep -vE '^(out|err|check.out|listing|after)$' listing | diff - after || { echo "FAILED: get wrote outside"; failures=$((failures + 1)); }
check "nothing in /etc" [ ! -e /etc/evilxxx ]
run 4 timeout 60 "$dish" evil.img -c check
holds out 0x
run 0 timeout 60 "$dish" evil.img -c 'ls /'
check "the image is untouched" cmp evil.img before.img

printf 'echo one\nquit\n' >keys
export XDG_STATE_HOME=$scratch/state
python3 - "$dish" <<'P'
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1]])
os.write(fd, b"echo one\nquit\n")
try:
    while os.read(fd, 4096):
        pass
except OSError:
    pass
os.waitpid(pid, 0)
P
is "the history is private" "$(stat -c %a "$XDG_STATE_HOME/dish/history")" 600
finish
