# What the shell scripts of this folder share. $DISH is the program; they work in a scratch directory.
set -u
export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C.UTF-8 TZ=UTC
unset NO_COLOR DISH_TEST_DROP_CACHES XDG_STATE_HOME
dish=$(realpath "${DISH:-build/dish}")
scratch=$(mktemp -d "${TMPDIR:-/tmp}/dish-scenario-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
HOME=$scratch
failures=0

complain() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# check WHAT COMMAND...: the command must succeed.
check() {
    local what=$1
    shift
    if ! "$@" >check.out 2>&1; then
        complain "$what: $*"
        sed 's/^/    /' check.out
    fi
}

# run STATUS COMMAND...: runs with standard output and error in out and err; the exit status must be this.
run() {
    local want=$1 got
    shift
    "$@" >out 2>err
    got=$?
    if [ "$got" != "$want" ]; then
        complain "exit status $got, not $want: $*"
        sed 's/^/    /' out err
    fi
}

is() { # WHAT GOT WANTED
    check "$1: '$2' is not '$3'" [ "$2" = "$3" ]
}

empty() { # FILE
    check "$1 is not empty: $(head -c 200 "$1")" [ ! -s "$1" ]
}

holds() { # FILE TEXT
    check "no '$2' in: $(head -c 400 "$1")" grep -qF -- "$2" "$1"
}

lacks() { # FILE TEXT
    check "'$2' in: $(head -c 400 "$1")" sh -c '! grep -qF -- "$2" "$1"' sh "$1" "$2"
}

sum_of() {
    sha256sum "$1" | cut -d' ' -f1
}

# disk.qcow2 of the scenarios, made by other programs: 64 MiB, GPT, a vfat ESP, ext4 with 1 KiB blocks from LBA 34816
# that holds /etc/motd.
make_disk() {
    rm -rf disk.raw disk.qcow2 esp.img root.img tree
    mkdir -p tree/etc
    printf 'hello from the image\n' >tree/etc/motd
    truncate -s 64M disk.raw
    truncate -s 16M esp.img
    truncate -s $((64 * 1024 * 1024 - 34816 * 512 - 1024 * 1024)) root.img
    sgdisk -n 1:2048:34815 -t 1:ef00 -n 2:34816:$((131072 - 2048 - 1)) -t 2:8300 disk.raw >/dev/null
    mkfs.vfat esp.img >/dev/null
    mke2fs -q -t ext4 -b 1024 -d tree root.img
    dd if=esp.img of=disk.raw bs=1M seek=1 conv=notrunc status=none
    dd if=root.img of=disk.raw bs=1M seek=17 conv=notrunc status=none
    qemu-img convert -O qcow2 disk.raw disk.qcow2
    rm -rf disk.raw esp.img root.img tree
}

# Everybody who can judge an image finds nothing wrong with it.
judge() { # IMAGE
    check "qemu-img check" qemu-img check -q "$1"
    qemu-img convert -O raw "$1" judged.raw
    check "sgdisk -v" eval 'sgdisk -v judged.raw | grep -q "No problems found"'
    check "e2fsck" e2fsck -fn "judged.raw?offset=$((34816 * 512))"
    dd if=judged.raw of=judged.esp bs=1M skip=1 count=16 status=none
    check "fsck.vfat" fsck.vfat -n judged.esp
    rm -f judged.raw judged.esp
}

finish() {
    [ "$failures" = 0 ] || echo "$failures failed"
    [ "$failures" = 0 ]
    exit
}
