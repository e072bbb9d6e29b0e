#!/bin/bash
# What other programs made and dish cannot open: named as blkid and the makers name it, and never replaced unasked.
. "$(dirname "$0")/_scenario.sh"

# kept NAME IMAGE [COMMAND-LINE-OPTION...]: info names it, mkfs refuses and leaves every byte, --force makes ext4 alone.
kept() {
    local name=$1 image=$2 before
    shift 2
    run 0 "$dish" --json "$@" "$image" -c info
    is "type of $image" "$(jq -r '.volumes[0].type' out)" "$name"
    run 1 "$dish" "$@" "$image" -c 'ls /'
    holds err "which dish cannot open"
    before=$(sum_of "$image")
    run 1 "$dish" "$@" "$image" -c 'mkfs ext4'
    holds err "--force replaces it"
    is "bytes of $image" "$(sum_of "$image")" "$before"
    run 0 "$dish" "$@" "$image" -c 'mkfs ext4 --force'
    is "blkid of $image" "$(blkid -p -o value -s TYPE "$image")" ext4
}

truncate -s 300M xfs.img btrfs.img ntfs.img swap.img
mkfs.xfs -q xfs.img
mkfs.btrfs -q btrfs.img
mkfs.ntfs -q -F -Q ntfs.img >/dev/null 2>&1
mkswap swap.img >/dev/null 2>&1
for name in xfs btrfs ntfs swap; do
    is "maker of $name" "$(blkid -p -o value -s TYPE $name.img)" $name
    kept $name $name.img
done

mkdir tree
echo text >tree/file
bsdtar --format iso9660 -cf cd.iso -C tree .
truncate -s 8M cd.iso
is "maker of the CD" "$(blkid -p -o value -s TYPE cd.iso)" iso9660
kept iso9660 cd.iso
mksquashfs tree squash.img -quiet -no-progress >/dev/null
truncate -s 8M squash.img
kept squashfs squash.img

# An image of another kind, taken for raw bytes.
for format in vmdk vdi vhdx vpc qed; do
    qemu-img create -q -f $format $format.img 64M
    truncate -s '>8M' $format.img
    [ $format != vpc ] || qemu-img create -q -f vpc -o subformat=fixed,force_size vpc.img 64M
    kept $format $format.img
done
finish
