#!/bin/bash
# Pipes and host commands in scripts; the pager at a terminal is in tests/pty.
. "$(dirname "$0")/_scenario.sh"
make_disk
seq 300000 >big.log
run 0 "$dish" disk.qcow2 -c 'put big.log /big.log'
run 0 "$dish" disk.qcow2 -c 'cat /etc/motd | wc -c'
is "count" "$(tr -d ' ' <out)" 21
run 0 "$dish" disk.qcow2 -c 'cat /etc/motd | sed s/hello/bye/ > out.txt'
is "edited" "$(cat out.txt)" "bye from the image"
run 0 "$dish" disk.qcow2 -c 'cat /etc/motd > copy.txt; cat /etc/motd >> copy.txt'
is "twice" "$(wc -c <copy.txt)" 42
before=$(sum_of disk.qcow2)
printf 'mkdir /a\ncat /etc/motd | false\nmkdir /b\n' | run 1 "$dish" disk.qcow2
holds err "stdin:2:"
is "image" "$(sum_of disk.qcow2)" "$before"
printf 'mkdir /a\n!false\nmkdir /b\n' | run 1 "$dish" disk.qcow2
holds err "stdin:2:"
is "image" "$(sum_of disk.qcow2)" "$before"
printf 'cat /big.log | head -1\nmkdir /b\n' | run 0 "$dish" disk.qcow2
is "first line" "$(cat out)" 1
empty err
run 0 "$dish" disk.qcow2 -- ls /b
run 0 sh -c '"$0" disk.qcow2 -- cat /big.log | head -1' "$dish"
is "first line" "$(cat out)" 1
empty err
printf 'write /typed < big.log\nsum -a sha256 /typed\n' | run 0 "$dish" disk.qcow2
is "input from a file" "$(cut -d' ' -f1 out)" "$(sum_of big.log)"
# A host command does not eat the script.
printf '!cat\necho after\n' | run 0 "$dish"
is "rest of the script" "$(cat out)" after
run 1 "$dish" disk.qcow2 -c 'cat /big.log > /dev/full'
holds err "No space left"
finish
