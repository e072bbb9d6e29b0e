#!/bin/bash
# Annotated structures: every byte in exactly one row, values as other tools print them, 80 columns of hexdump.
. "$(dirname "$0")/_scenario.sh"
make_disk
run 0 "$dish" disk.qcow2 -c 'show -x ext.super'
check "magic" grep -qE '^00000438  53 ef .*s_magic +0xef53' out
holds out s_checksum

rows() { # STRUCTURE...: offsets and widths of a walk cover every byte once
    run 0 "$dish" --json disk.qcow2 -c "show $*"
    python3 - "$*" <<'P' || failures=$((failures + 1))
import json, sys
shown = json.load(open("out"))
at = 0
for field in shown["fields"]:
    if field["offset"] != at:
        raise SystemExit(f"FAILED: {sys.argv[1]}: byte {at} is in no row or in two ({field})")
    at += field["width"]
if at != shown["size"]:
    raise SystemExit(f"FAILED: {sys.argv[1]}: rows end at {at}, the structure at {shown['size']}")
for field in shown["fields"]:
    if "right" in field and not field["right"]:
        raise SystemExit(f"FAILED: {sys.argv[1]}: checksum {field['name']} is called wrong")
P
}
for structure in ext.super 'ext.inode /etc/motd' 'ext.group 0' mbr gpt.header 'gpt.header backup' 'gpt.entry 2' fat.boot qcow2.header; do
    rows $structure
done

qemu-img convert -O raw disk.qcow2 disk.raw
dumpe2fs -h "disk.raw?offset=$((34816 * 512))" >dump 2>/dev/null
run 0 "$dish" --json disk.qcow2 -c 'show ext.super'
value() { jq ".fields[] | select(.name == \"$1\") | .number" out; }
told() { sed -n "s/^$1: *//p" dump; }
is "inodes" "$(value s_inodes_count)" "$(told 'Inode count')"
is "blocks" "$(value s_blocks_count_lo)" "$(told 'Block count')"
is "free blocks" "$(value s_free_blocks_count_lo)" "$(told 'Free blocks')"
is "free inodes" "$(value s_free_inodes_count)" "$(told 'Free inodes')"
is "checksum" "$(printf '0x%x' "$(value s_checksum)")" "$(printf '0x%x' "$(told Checksum)")"
for feature in has_journal dir_index; do
    check "feature $feature" jq -e ".fields[] | select(.name == \"s_feature_compat\") | .meaning | contains(\"$feature\")" out
done
for feature in extent 64bit flex_bg; do
    check "feature $feature" jq -e ".fields[] | select(.name == \"s_feature_incompat\") | .meaning | contains(\"$feature\")" out
done
finish
