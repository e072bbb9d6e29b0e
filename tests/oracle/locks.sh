#!/bin/bash
# QEMU and dish respect each other's locks: readers share, a writer excludes, and the holder is named.
set -u
dish=${DISH:?the program to test}
command -v qemu-io >/dev/null || { echo "qemu-io is not here: skipped"; exit 0; }
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
failures=0

complain() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# expect STATUS WHAT COMMAND...: the exit status, output kept in ./out
expect() {
    local want=$1 what=$2 got
    shift 2
    "$@" >out 2>&1 </dev/null
    got=$?
    [ "$got" = "$want" ] || { complain "$what: exit $got instead of $want"; cat out; }
}

says() {
    grep -q -- "$1" out || { complain "$2: expected '$1' in:"; cat out; }
}

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

sum() {
    sha256sum disk.qcow2 | cut -d' ' -f1
}

printf 'create disk.qcow2 16M\nmkfs ext2\nmkdir /a\n' | "$dish" || complain "making the image"
before=$(sum)

hold "read 512/512" "read 0 512" qemu-io disk.qcow2
expect 3 "reading what qemu-io writes" "$dish" disk.qcow2 -- ls /
says "another program holds it for writing: qemu-io (pid $holder)" "the holder's name"
expect 3 "changing what qemu-io writes" "$dish" disk.qcow2 -- mkdir /b
expect 0 "reading with -U" "$dish" -U disk.qcow2 -- ls /
says '^a' "the listing with -U"
expect 1 "changing with -U" "$dish" -U disk.qcow2 -- mkdir /b
release

hold "read 512/512" "read 0 512" qemu-io -r disk.qcow2
expect 0 "reading what qemu-io reads" "$dish" disk.qcow2 -- ls /
expect 1 "changing what qemu-io reads" "$dish" disk.qcow2 -- mkdir /b
says "qemu-io (pid $holder)" "the reader's name"
release
[ "$(sum)" = "$before" ] || complain "the image changed while it was locked"

hold lost+found "ls /" "$dish" disk.qcow2
expect 0 "qemu-img info while dish reads" qemu-img info disk.qcow2
expect 0 "qemu-io -r while dish reads" qemu-io -r -c "read 0 512" disk.qcow2
expect 0 "qemu-img check while dish reads" qemu-img check disk.qcow2
expect 1 "qemu-io for writing while dish reads" qemu-io -c "read 0 512" disk.qcow2
expect 0 "a second dish that reads" "$dish" disk.qcow2 -- ls /
expect 1 "a second dish that writes" "$dish" disk.qcow2 -- mkdir /b
says "(pid $holder)" "the other session"
release

hold pending "mkdir /c; echo pending" "$dish" disk.qcow2
expect 1 "qemu-img info while dish has changes" qemu-img info disk.qcow2
expect 0 "qemu-img info -U while dish has changes" qemu-img info -U disk.qcow2
expect 1 "qemu-io while dish has changes" qemu-io -c "read 0 512" disk.qcow2
expect 1 "qemu-io -r while dish has changes" qemu-io -r -c "read 0 512" disk.qcow2
expect 3 "a second dish while dish has changes" "$dish" disk.qcow2 -- ls /
says "for writing: " "what the other session does"
release

expect 0 "after all" "$dish" disk.qcow2 -- ls /
says '^c' "what the last session made"
expect 0 "qemu-img check at the end" qemu-img check disk.qcow2

[ "$failures" = 0 ] || exit 1
echo "locks: all as QEMU's rules say"
