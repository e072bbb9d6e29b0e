#!/bin/bash
# An error in the middle of a script.
. "$(dirname "$0")/_scenario.sh"
make_disk
before=$(sum_of disk.qcow2)

printf 'mkdir /a\nrm /nope\nmkdir /b\n' >s.dish
run 1 "$dish" disk.qcow2 <s.dish
is "first line" "$(head -1 err)" "dish: stdin:2: rm: 2:/nope: no such file or directory"
holds err "nothing was changed"
empty out
is "image" "$(sum_of disk.qcow2)" "$before"

run 1 "$dish" -f s.dish disk.qcow2
is "first line" "$(head -1 err)" "dish: s.dish:2: rm: 2:/nope: no such file or directory"
is "image" "$(sum_of disk.qcow2)" "$before"

# The message when the output goes to a file, too, and through a pipe that is still open.
run 1 sh -c '(cat s.dish; sleep 0.3) | "$0" disk.qcow2' "$dish"
holds err "dish: stdin:2: rm:"
is "image" "$(sum_of disk.qcow2)" "$before"

run 1 "$dish" -k disk.qcow2 <s.dish
run 0 "$dish" disk.qcow2 -- ls /
holds out a
holds out b
judge disk.qcow2

make_disk
sed 's/^rm/-rm/' s.dish >ignored.dish
run 0 "$dish" disk.qcow2 <ignored.dish
holds err "dish: stdin:2: rm: 2:/nope: no such file or directory"
run 0 "$dish" disk.qcow2 -- ls /
holds out a
holds out b
judge disk.qcow2

make_disk
printf 'mkdir /a\ncommit\nmkdir /c\nrm /nope\nmkdir /b\n' | run 1 "$dish" disk.qcow2
holds err "stdin:4: rm:"
holds err "last commit"
run 0 "$dish" disk.qcow2 -- ls /
is "what stands" "$(tr '\n' ' ' <out)" "a etc lost+found "
judge disk.qcow2

# Unknown words and wrong options carry file and line, too.
printf 'echo fine\nfrobnicate\n' >unknown.dish
run 1 "$dish" -f unknown.dish disk.qcow2
holds err "dish: unknown.dish:2: frobnicate: unknown command"
printf 'echo fine\n\nls --no-such-option /\n' | run 1 "$dish" disk.qcow2
holds err "dish: stdin:3: ls: unknown option --no-such-option"
printf 'rm /nope || echo none\n' | run 0 "$dish" disk.qcow2
is "alternative" "$(cat out)" none
printf 'rm /nope && echo never\necho never\n' | run 1 "$dish" disk.qcow2
empty out
finish
