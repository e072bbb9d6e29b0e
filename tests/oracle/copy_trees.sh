#!/bin/bash
# Trees go in and out with everything that they have: what debugfs, the kernel (where it may mount) and a copy back
# on the host show is the tree that went in. Then the same through a second image, and what FAT can hold of it.
. "$(dirname "$0")/_scenario.sh"

root=false
[ "$(id -u)" = 0 ] && root=true

# Names, modes, owners, sizes, link counts, times in nanoseconds, targets; of directories neither size nor links.
manifest() {
    (cd "$1" && find . ! -type d -printf '%P\t%y\t%m\t%U\t%G\t%s\t%n\t%T@\t%l\n' -o -printf '%P\t%y\t%m\t%U\t%G\t%T@\n' |
        grep -av '^lost+found' | sort)
    (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
    (cd "$1" && find . ! -path './lost+found*' -print0 | sort -z | xargs -0 getfattr -d -h -m - 2>/dev/null)
}

make_tree() {
    mkdir -p tree/dir/deep/deeper tree/empty "tree/with blank" tree/wide
    printf 'contents\n' >tree/dir/file
    ln tree/dir/file tree/dir/deep/second-name
    ln -s ../file tree/dir/deep/link
    ln -s "$(printf 'long/%.0s' $(seq 40))" tree/longlink
    : >tree/nothing
    head -c 300000 /dev/urandom >tree/dir/large
    head -c 9000001 /dev/urandom >tree/dir/huge
    fallocate -p -o 3000000 -l 2000000 tree/dir/huge 2>/dev/null
    truncate -s 20M tree/sparse
    printf middle | dd of=tree/sparse bs=1 seek=9999999 conv=notrunc status=none
    truncate -s 1M tree/allhole
    chmod 600 tree/dir/file
    chmod 1777 tree/empty
    chmod 751 tree/dir/deep
    touch "tree/with blank/$(printf 'n%.0s' $(seq 255))" "tree/with blank/"$'new\nline' "tree/with blank/"$'byte\xff'
    for i in $(seq 300); do printf '%s' "$i" >"tree/wide/file-$i"; done
    setfattr -n user.small -v value tree/dir/file
    setfattr -n user.large -v "$(head -c 700 /dev/zero | tr '\0' x)" tree/dir
    mkfifo tree/fifo
    if $root; then
        mknod tree/null c 1 3
        mknod tree/disk b 259 1000
        chown 12345:54321 tree/dir/large
        chown -h 7:8 tree/dir/deep/link
        chown 70000:70001 tree/empty
        setfacl -m u:1000:rw,g:50:r tree/dir/file
        setfacl -d -m g:50:rx tree/dir/deep
        setcap cap_net_raw+ep tree/dir/large
        chmod 4755 tree/wide/file-7
    fi
    touch -h -d '2003-02-01 04:05:06.7' tree/longlink
    touch -d '1999-12-31 23:59:59.123456789' tree/dir/file
    touch -d '2038-01-19 03:14:08.5' tree/nothing
    touch -d '1960-06-15 12:00:00.25' tree/allhole
    touch -d '2001-02-03 04:05:06.000000001' tree/dir/deep tree/wide tree
}

same() { # WHAT DIRECTORY
    manifest "$2" >got
    check "$1 differs: $(diff wanted got | head -5)" cmp -s wanted got
}

mounted() { # WHAT IMAGE [OPTION]
    $root || return 0
    mkdir -p mnt
    mount -o "loop,ro${3:-}" "$2" mnt 2>/dev/null || return 0
    same "$1, as the kernel sees it" mnt
    umount mnt
}

make_tree
manifest tree >wanted

for type in 'ext4' 'ext4 -O inline_data=on' 'ext2'; do
    rm -f one.img
    if ! "$dish" -c 'create -f raw one.img 96M' -c "mkfs $type" -c commit >/dev/null 2>&1; then
        echo "mkfs $type is not there: skipped"
        rm -f one.img
        continue
    fi
    run 0 "$dish" one.img -c 'rmdir /lost+found' -c 'put -r -a tree/. /'
    check "e2fsck ($type)" e2fsck -fn one.img
    mounted "$type" one.img
    rm -rf back
    run 0 "$dish" one.img -c 'get -a / back'
    same "$type, copied back" back
    check "holes stay holes on the host" [ "$(du -k back/sparse | cut -f1)" -lt 200 ]
    run 0 "$dish" one.img -c 'cmp -a / host:tree'
    empty out
done

# Where the kernel cannot copy from file to file (a container between, a dry run), the same arrives.
run 0 "$dish" -c 'create -f qcow2 one.qcow2 96M' -c 'mkfs ext4' -c 'rmdir /lost+found' -c commit -c 'put -r -a tree/. /' \
    -c 'cmp -a / host:tree'
run 0 "$dish" one.qcow2 -c 'cmp -a / host:tree'
run 0 "$dish" -n one.img -c 'rm -r /dir' -c 'put -r -a tree/. /' -c 'cmp -a / host:tree'

# A second image, from the first; then into a subdirectory of itself.
run 0 "$dish" -c 'create -f raw two.img 96M' -c 'mkfs ext4' -c 'rmdir /lost+found' -c 'open one.img' \
    -c 'cp -a one:0:/ two:0:/' -c 'cmp -a one:0:/ two:0:/'
check "e2fsck of the second" e2fsck -fn two.img
mounted "the second image" two.img
run 0 "$dish" two.img -c 'mkdir /again' -c 'cp -a /dir /wide /sparse /again' -c 'cmp -a /wide /again/wide' \
    -c 'cmp -a /dir /again/dir'
check "e2fsck of the copy inside" e2fsck -fn two.img

# A large file passes the program by: few requests.
run 0 "$dish" two.img -c 'put tree/dir/huge /huge' -c 'status -v' -c 'get -a /huge back-huge'
check "a large file goes to the host in few requests" [ "$(sed -n 's/.*host writes: *//p' out)" -le 8 ]
check "e2fsck after the large file" e2fsck -fn two.img
check "the large file, copied back" cmp tree/dir/huge back-huge

# Without -a: root's files, plain modes, the time of now, links copied, nothing else.
run 0 env SOURCE_DATE_EPOCH=1700000000 "$dish" -c 'create -f raw plain.img 96M' -c 'mkfs ext4' -c 'put -r tree /' \
    -c "find /tree -type f -not ( -uid 0 -gid 0 ) -or -perm /7000 -or -not -newermt 2023-11-14T22:13:19Z"
empty out

# FAT: refused with the reasons, then with --lossy what it can hold.
rm -rf back plain-names && mkdir plain-names && cp -a tree/dir tree/wide tree/sparse tree/longlink plain-names/
run 1 "$dish" -c 'create -f raw fat.img 96M' -c 'mkfs vfat' -c commit -c 'put -r -a plain-names /'
holds err 'symbolic link'
holds err 'hard link'
holds err -- '--lossy'
run 0 "$dish" fat.img -c 'ls -A /'
empty out
run 0 "$dish" fat.img -c 'put -r -a --lossy plain-names /' -c 'get -r /plain-names back'
check "fsck.vfat" fsck.vfat -n fat.img
rm -rf wanted-fat && cp -r plain-names wanted-fat && find wanted-fat -type l -delete
check "contents on FAT" diff -r wanted-fat back
check "the hard link became a file" cmp plain-names/dir/file back/dir/deep/second-name
finish
