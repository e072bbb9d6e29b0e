#!/bin/bash
# Two images: a tree copied between them with everything kept that both can hold.
. "$(dirname "$0")/_scenario.sh"
mkdir -p home/sub
echo content >home/a
ln home/a home/b
ln -s a home/link
mkfifo home/fifo
truncate -s 1G home/sparse
printf x | dd of=home/sparse bs=1 seek=500000000 conv=notrunc status=none
setfattr -n user.colour -v blue home/a 2>/dev/null || : # tmpfs without user xattrs: set inside instead
touch -d '2001-02-03 04:05:06.789012345' home/a
cat >make.dish <<END
create old=old.qcow2 128M
partition init gpt
partition add 16M esp
partition add rest linux
mkfs vfat 1
mkfs ext4 2
put -r -a home 2:/
xattr -n user.shape -v round 2:/home/a
END
run 0 "$dish" -f make.dish
run 0 "$dish" -c 'create new.img 64M' -c 'partition init gpt' -c 'partition add rest linux' -c 'mkfs ext4 1'
run 0 "$dish" old=old.qcow2 new.img -c 'cp -a old:2:/home 1:/' -c 'cmp -r old:2:/home 1:/home'
run 0 "$dish" --json old=old.qcow2 new.img -c 'stat old:2:/home/a' -c 'stat 1:/home/a'
check "nanoseconds, links, mode" python3 - <<'P'
import json
a, b = (json.loads(line) for line in open("out").read().splitlines() if line)
a, b = (x[0] if isinstance(x, list) else x for x in (a, b))
for key in a:
    if key not in ("inode", "id", "device", "ctime", "crtime", "birth", "path", "name", "volume", "image", "blocks", "allocated", "changed"):
        assert a[key] == b[key], (key, a[key], b[key])
P
run 0 "$dish" old=old.qcow2 new.img -c 'xattr -n user.shape 1:/home/a'
holds out round
check "a sparse file stays small" [ "$(du -k new.img | cut -f1)" -lt 1024 ]
dd if=new.img of=part bs=1M skip=1 status=none
truncate -s $((64 * 1024 * 1024 - 1024 * 1024 - 33 * 512)) part
check "e2fsck" e2fsck -fn "new.img?offset=1048576"

before=$(sum_of old.qcow2)
run 1 "$dish" old=old.qcow2 -c 'cp -a old:2:/home/a old:2:/home/link old:1:/'
holds err 'would be lost'
holds err 'symbolic link'
is "refused: nothing changed" "$(sum_of old.qcow2)" "$before"
run 0 "$dish" old=old.qcow2 -c 'cp -a --lossy old:2:/home/a old:2:/home/link old:1:/' -c 'ls old:1:/'
holds out a
holds err 'symbolic link'
finish
