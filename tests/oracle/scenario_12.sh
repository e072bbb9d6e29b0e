#!/bin/bash
# Changes, rollback, undo.
. "$(dirname "$0")/_scenario.sh"
make_disk
before=$(sum_of disk.qcow2)
run 0 "$dish" disk.qcow2 -c 'mv /etc/motd /etc/motd2' -c diff -c rollback
for text in 'directory entry' motd2 i_ctime checksum '->' '0x'; do holds out "$text"; done
is "rolled back" "$(sum_of disk.qcow2)" "$before"

run 0 "$dish" disk.qcow2 -c 'ls -i /etc' -c 'ls -di /etc'
cp out inodes
run 0 "$dish" disk.qcow2 -c 'rm -r /etc' -c undo -c 'ls -i /etc' -c 'ls -di /etc'
check "the same inode numbers" cmp inodes out
judge disk.qcow2
run 0 "$dish" disk.qcow2 -c 'rm -r /etc' -c 'mkdir /new' -c 'undo 2' -c 'redo' -c 'ls /'
lacks out etc
lacks out new
judge disk.qcow2

make_disk
before=$(sum_of disk.qcow2) when=$(stat -c %y disk.qcow2)
printf 'mkdir /a\nmkdir /b\n' >script
run 0 "$dish" -n disk.qcow2 -f script
holds out 'directory entry'
is "a dry run leaves the bytes" "$(sum_of disk.qcow2)" "$before"
is "and the time" "$(stat -c %y disk.qcow2)" "$when"
finish
