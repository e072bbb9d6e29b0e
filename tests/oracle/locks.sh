#!/bin/bash
# QEMU and dish respect each other's locks: readers share, a writer excludes, and the holder is named.
. "$(dirname "$0")/_scenario.sh"
exec </dev/null

# A program that reads commands, run until it has answered the first of them: then it holds its locks.
hold() {
    local ready=$1 first=$2
    shift 2
    mkfifo commands answers
    "$@" <commands >answers 2>&1 &
    holder=$!
    exec 8>commands 9<answers
    echo "$first" >&8
    while read -r -t 20 line <&9; do
        case $line in *$ready*) return ;; esac
    done
    complain "$* did not get ready"
}

release() {
    exec 8>&-
    cat <&9 >/dev/null
    exec 9<&-
    wait "$holder"
    rm -f commands answers
}

printf 'create disk.qcow2 16M\nmkfs ext2\nmkdir /a\n' | "$dish" || complain "making the image"
before=$(sum_of disk.qcow2)

hold "read 512/512" "read 0 512" qemu-io disk.qcow2
run 3 "$dish" disk.qcow2 -- ls /
holds err "another program holds it for writing: qemu-io (pid $holder)"
run 3 "$dish" disk.qcow2 -- mkdir /b
run 0 "$dish" -U disk.qcow2 -- ls /
check "the listing with -U" grep -q "^a" out
run 1 "$dish" -U disk.qcow2 -- mkdir /b
release

hold "read 512/512" "read 0 512" qemu-io -r disk.qcow2
run 0 "$dish" disk.qcow2 -- ls /
run 1 "$dish" disk.qcow2 -- mkdir /b
holds err "qemu-io (pid $holder)"
release
is "image while it was locked" "$(sum_of disk.qcow2)" "$before"

hold lost+found "ls /" "$dish" disk.qcow2
run 0 qemu-img info disk.qcow2
run 0 qemu-io -r -c "read 0 512" disk.qcow2
run 0 qemu-img check disk.qcow2
run 1 qemu-io -c "read 0 512" disk.qcow2
run 0 "$dish" disk.qcow2 -- ls /
run 1 "$dish" disk.qcow2 -- mkdir /b
holds err "(pid $holder)"
release

hold pending "mkdir /c; echo pending" "$dish" disk.qcow2
run 1 qemu-img info disk.qcow2
run 0 qemu-img info -U disk.qcow2
run 1 qemu-io -c "read 0 512" disk.qcow2
run 1 qemu-io -r -c "read 0 512" disk.qcow2
run 3 "$dish" disk.qcow2 -- ls /
holds err "for writing: "
release

run 0 "$dish" disk.qcow2 -- ls /
check "what the last session made" grep -q "^c" out
run 0 qemu-img check disk.qcow2

finish
