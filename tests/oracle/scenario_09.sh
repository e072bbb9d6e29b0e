#!/bin/bash
# Where are the bytes: a file's bytes through every layer, and where the host says they are.
. "$(dirname "$0")/_scenario.sh"
make_disk
last_offset() { # of the last "offset:" line in the JSON of `where`
    jq '.extents[0].host.offset' out
}
run 0 "$dish" disk.qcow2 --json -c 'where /etc/motd'
is "host offset" "$(last_offset)" "$(grep -abo 'hello from the image' disk.qcow2 | head -1 | cut -d: -f1)"
is "file bytes" "$(jq '.size' out)" 21
is "partition" "$(jq '.extents[0].partition' out)" 2
is "partition offset and disk offset" "$(jq '.extents[0].qcow2.offset - .extents[0].volume.offset' out)" $((34816 * 512))
run 0 "$dish" disk.qcow2 -c 'where /etc/motd'
at=$(grep -abo 'hello from the image' disk.qcow2 | head -1 | cut -d: -f1)
for word in 'file bytes 0–20' inode 'table block' 'logical block 0' 'fs block' 'partition 2' 'LBA' 'L1 index' 'L2 index' \
    "host offset $at" "offset in cluster"; do
    holds out "$word"; done

# Holes, inline data, compressed clusters, backing files and fragmented chains get honest lines.
run 0 "$dish" disk.qcow2 -c 'truncate -s 100K /hole; where /hole'
holds out hole
mke2fs -q -t ext4 -O inline_data inline.img 4M >/dev/null
echo tiny >tiny
run 0 "$dish" inline.img -c 'put tiny /' -c 'where /tiny'
holds out inline
qemu-img convert -c -O qcow2 disk.qcow2 packed.qcow2
run 0 "$dish" packed.qcow2 -c 'where /etc/motd'
holds out compressed
qemu-img create -q -f qcow2 -b disk.qcow2 -F qcow2 over.qcow2
run 0 "$dish" over.qcow2 --json -c 'where /etc/motd'
is "in the backing file" "$(jq -r '.extents[0].host.file' out)" disk.qcow2
truncate -s 4M fat.img
mkfs.vfat -S 512 -s 1 fat.img >/dev/null
printf '%s\n' 'write /a 1' 'write /b 2' "put chain /c" 'rm /a' 'put chain /d' >script
head -c 3000 /dev/urandom >chain
run 0 "$dish" fat.img -f script
run 0 "$dish" fat.img --json -c 'where /d'
check "every extent has a place" jq -e 'all(.extents[]; .host.offset != null)' out
python3 - <<'P' || failures=$((failures + 1))
import json
image, want, got = open("fat.img", "rb").read(), open("chain", "rb").read(), b""
for extent in json.load(open("out"))["extents"]:
    at = extent["host"]["offset"]
    got += image[at:at + extent["length"]]
if got != want:
    raise SystemExit("FAILED: the bytes at the places told are not the file's")
P
finish
