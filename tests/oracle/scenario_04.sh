#!/bin/bash
# Careful with what is not ours: reading leaves no trace, and locks are QEMU's.
. "$(dirname "$0")/_scenario.sh"
make_disk
before=$(sum_of disk.qcow2)
run 1 "$dish" -r disk.qcow2 -- rm /etc/motd
holds err "read-only"
is "image" "$(sum_of disk.qcow2)" "$before"
run 3 "$dish" nosuch.img
holds err "nosuch.img"

touch -d '2020-01-02 03:04:05' disk.qcow2
stamp=$(stat -c '%y' disk.qcow2)
for i in $(seq 10); do printf 'ls -l /etc\ninfo\nvolumes\nshow ext.super\nwhere /etc/motd\n'; done >reading.dish
run 0 "$dish" disk.qcow2 <reading.dish
is "image" "$(sum_of disk.qcow2)" "$before"
is "mtime" "$(stat -c '%y' disk.qcow2)" "$stamp"

# Another program holds the image for writing.
mkfifo hold
qemu-io disk.qcow2 <hold >qemu.out 2>&1 &
holder=$!
exec 9>hold
echo 'read 0 512' >&9
for _ in $(seq 200); do
    grep -q 'read 512' qemu.out && break
    read -r -t 0.05 _ <> <(:) || true
done
holds qemu.out "read 512"
"$dish" disk.qcow2 -- mkdir /x >out 2>err
status=$?
check "changing is refused (exit status $status)" [ $status = 3 -o $status = 1 ]
check "and says who holds it: $(cat err)" grep -Eqi 'qemu|another program|lock' err
echo quit >&9
exec 9>&-
wait $holder
is "image" "$(sum_of disk.qcow2)" "$before"

# While changes are pending, QEMU refuses to open the image for writing.
run 0 "$dish" disk.qcow2 -c 'mkdir /x; !qemu-io -c "write 0 512" disk.qcow2 >inner.out 2>&1 || echo refused; rollback'
holds out refused
check "qemu's words: $(cat inner.out)" grep -qi lock inner.out
is "image" "$(sum_of disk.qcow2)" "$before"
finish
