#!/bin/bash
# A syntax error in a script file is found before anything runs; long words arrive whole.
. "$(dirname "$0")/_scenario.sh"
make_disk
before=$(sum_of disk.qcow2)
{
    for i in 1 2 3 4 5 6; do echo "mkdir /d$i"; done
    echo 'write /f x "open'
    echo "echo 'later'"
} >s.dish
run 2 "$dish" -f s.dish disk.qcow2
is "message" "$(head -1 err)" 'dish: s.dish:7:12: a quotation with " is not closed'
is "line" "$(sed -n 2p err)" 'write /f x "open'
is "caret" "$(sed -n 3p err)" '           ^'
empty out
is "image" "$(sum_of disk.qcow2)" "$before"
run 2 "$dish" disk.qcow2 <s.dish
holds err 'dish: stdin:7:12:'
is "image" "$(sum_of disk.qcow2)" "$before"
run 2 sh -c 'cat s.dish | "$0" disk.qcow2' "$dish"
holds err 'dish: stdin:7:12:'
is "image" "$(sum_of disk.qcow2)" "$before"
run 2 "$dish" disk.qcow2 -c 'mkdir /a' -c 'echo "b'
holds err 'dish: -c:1:6:'
is "image" "$(sum_of disk.qcow2)" "$before"

# A script that a script reads is checked as a whole, too.
printf 'source s.dish\n' >outer.dish
run 1 "$dish" -f outer.dish disk.qcow2
holds err 'dish: s.dish:7:12:'
is "image" "$(sum_of disk.qcow2)" "$before"

word=$(head -c 100000 /dev/zero | tr '\0' x)
printf 'write /long %s\n' "$word" >long.dish
run 0 "$dish" -f long.dish disk.qcow2
run 0 "$dish" disk.qcow2 -- cat /long
is "length" "$(tr -d '\n' <out | wc -c)" 100000

# Lines of every sort: CR LF, a first line for the kernel, no newline at the end.
printf '#!%s -f\necho ran\r\necho "a b"\r\necho end' "$dish" >lines.dish
chmod +x lines.dish
run 0 ./lines.dish
is "output" "$(tr '\n' '|' <out)" "ran|a b|end|"
finish
