#!/bin/bash
# A root filesystem's archive goes into an image and comes out identical, as GNU tar and bsdtar judge it.
. "$(dirname "$0")/_scenario.sh"
root=false
[ "$(id -u)" = 0 ] && root=true

mkdir -p tree/etc tree/usr/bin "tree/näme"
printf 'one\n' >tree/etc/one
ln tree/etc/one tree/usr/bin/second
ln -s one tree/etc/link
ln -s usr/bin tree/bin
truncate -s 5M tree/sparse
printf data | dd of=tree/sparse bs=1 seek=2000000 conv=notrunc status=none
truncate -s 1M tree/hole
: >"tree/näme/$(printf 'x%.0s' $(seq 200))"
: >"tree/"$'byte\xff'
mkfifo tree/fifo
head -c 100000 /dev/urandom >tree/usr/bin/prog
setfattr -n user.comment -v text tree/etc/one
chmod 755 tree tree/etc tree/usr tree/usr/bin tree/näme
touch -d '2001-02-03 04:05:06.789012345' tree/etc/one tree/usr/bin
touch -d '1965-01-01 00:00:00.5' tree/hole
if $root; then
    mknod tree/null c 1 3
    chown 1000:1001 tree/usr/bin/prog
    chmod 4755 tree/usr/bin/prog
    setcap cap_net_raw+ep tree/usr/bin/prog
    setfacl -m u:1000:rwx tree/etc/one
    setfacl -d -m g:50:rx tree/etc
    chown 3000000:3000000 tree/fifo
fi
tar_options="--xattrs --xattrs-include=* --acls --numeric-owner"
tar $tar_options -S --format=pax -C tree -cf in.tar .

run 0 "$dish" -c 'create -f raw disk.img 64M' -c 'mkfs ext4' -c 'rmdir /lost+found' -c 'tar-in in.tar /'
check e2fsck e2fsck -fn disk.img
run 0 "$dish" disk.img -c 'cmp -a / host:tree'
empty out
if $root && mkdir mnt && mount -o loop,ro disk.img mnt 2>/dev/null; then
    check "tar --compare with what went in" tar $tar_options --compare -f in.tar -C mnt
    umount mnt
fi

run 0 "$dish" disk.img -c 'tar-out / out.tar'
check "tar --compare with what came out" tar $tar_options --compare -f out.tar -C tree
check "no complaint about the form: $(tar tf out.tar 2>&1 >/dev/null)" sh -c '[ -z "$(tar tf out.tar 2>&1 >/dev/null)" ]'
check "holes are not stored" [ "$(stat -c %s out.tar)" -lt 400000 ]
if $root; then
    mkdir extracted
    tar $tar_options -C extracted -xpf out.tar
    run 0 "$dish" disk.img -c 'cmp -a / host:extracted'
    empty out
fi
mkdir other
check "bsdtar reads it" bsdtar -C other -xf out.tar
check "bsdtar reads the sparse file" cmp other/sparse tree/sparse

# Around once more, through a pipe and through each compression that libarchive has.
for ending in .tar.gz .tar.zst .tar.xz .tgz; do
    run 0 "$dish" disk.img -c "tar-out / packed$ending"
    run 0 "$dish" -c "create -f raw again.img 64M" -c 'mkfs ext4' -c 'rmdir /lost+found' -c "tar-in packed$ending /" \
        -c 'open disk.img' -c 'cmp -a again:0:/ disk:0:/'
    empty out
    rm -f again.img
done
check "a pipe" eval '"$dish" disk.img -c "tar-out / -" | tar t | sort | cmp - <(tar tf out.tar | sort)'

run 0 "$dish" -c 'create -f raw piped.img 64M' -c 'mkfs ext4' -c 'mkdir /in' -c 'tar-in - /in < out.tar' -c 'cmp -a /in host:tree'
empty out

# Entries that would lead out are refused and named; the rest of nothing is kept.
python3 - <<'P'
import io, tarfile
t = tarfile.open('evil.tar', 'w')
def add(name, data=b'x', **kw):
    i = tarfile.TarInfo(name)
    i.size = len(data)
    for k, v in kw.items():
        setattr(i, k, v)
    t.addfile(i, io.BytesIO(data))
add('good')
add('../up')
add('a/../../up')
l = tarfile.TarInfo('escape'); l.type = tarfile.SYMTYPE; l.linkname = '/etc'; t.addfile(l)
add('escape/passwd')
h = tarfile.TarInfo('hard'); h.type = tarfile.LNKTYPE; h.linkname = '../../good'; t.addfile(h)
add('/absolute')
t.close()
P
run 1 "$dish" disk.img -c 'mkdir /evil' -c 'tar-in evil.tar /evil'
holds err '../up'
holds err 'escape/passwd'
head -c 3000 in.tar >cut.tar
run 1 "$dish" disk.img -c 'mkdir /cut' -c 'tar-in cut.tar /cut'
run 1 "$dish" disk.img -c 'tar-in nosuch.tar /'
head -c 5000 /dev/urandom >noise
run 1 "$dish" disk.img -c 'tar-in noise /'
run 0 "$dish" disk.img -c 'cmp -a / host:tree'
finish
