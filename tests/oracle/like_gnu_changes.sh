#!/bin/bash
# cp, mv, ln, rm, chmod, chown, touch and stat -f do to a tree in an image what the GNU tools do to one on the host.
. "$(dirname "$0")/_scenario.sh"
export LC_ALL=C TZ=UTC

mkdir -p start/a/b/c start/d/e start/empty start/chain/deep/er
printf 'one\n' >start/a/one
printf 'two\n' >start/a/b/two
: >start/a/b/nothing
: >start/chain/deep/er/nothing
printf 'x\n' >start/d/one
for i in 1 2 3 4; do printf '%s\n' "$i" >"start/f$i"; done
ln -s ../a/one start/d/link
ln -s b start/a/dirlink
chmod 4711 start/a/one
chmod 750 start/d
touch -d '2011-02-03 04:05:06' start/f1
find start -exec touch -h -d '2020-01-01' {} +
touch -d '2011-02-03 04:05:06' start/f1

# both INPUT COMMAND...: on the host and in an image, from the same start; then the trees are compared.
both() {
    local input=$1
    shift
    rm -rf host && cp -a start host
    (cd host && printf "$input" | "$@" >../said 2>../asked)
    status=$?
    rm -f disk.img
    run 0 "$dish" -c 'create -f raw disk.img 16M' -c 'mkfs ext4' -c 'put -r -a start/. /t'
    printf "$input" | "$dish" disk.img -c "cd /t; $(printf '%q ' "$@")" >said2 2>asked2
    [ $? = $status ] || [ $status != 0 ] || check "status of $*: $(cat asked2)" false
    (cd host && find . -mindepth 1 -printf '%p %y %m %l %U:%G %s\n' | sed -E 's/ (d .*) [0-9]+$/ \1/' | sort) >wanted
    "$dish" disk.img -c 'cd /t' -- find . -mindepth 1 -printf '%p %y %m %l %U:%G %s\n' |
        sed -E 's/ (d .*) [0-9]+$/ \1/' | sort >got
    check "$*: $(diff wanted got | head -5)" cmp -s wanted got
    # Of a directory that something stays in GNU rm asks, too, and fails when it is told to go.
    case $input in *n*) head -c "$(wc -c <asked2)" asked >asked1 && mv asked1 asked ;; esac
    [ "$status" != 0 ] || check "$* asks: $(diff asked asked2)" cmp -s asked asked2
}

both '' cp -t d f1 f2 a/one
both '' cp -r -t empty a d
both '' cp -rT a d
both '' cp -rT a new
both '' cp -T f1 f2
both '' cp -T f1 d
both '' cp -t f1 f2
both '' cp -t nosuch f2
both '' mv -t d f1 f2
both '' mv -T a empty
both '' mv -T f1 f2
both '' mv -T a d
both '' mv -t f1 f2
both '' ln -s -t d ../f1 ../f2
both '' ln -t d f1 f2
both '' ln -sr a/b/two d/e/rel
both '' ln -sr a a/b/c/up
both '' ln -sr a/b/c down
both '' ln -sr a/dirlink/two d/through
both '' ln -sr nosuch d/dead
both '' ln -sr -t d/e f1 a/one
both '' ln -sr . a/b/top
both '' ln -srf f1 f2
both '' chmod --reference=a/one f1 f2 d
both '' chmod -R --reference=f1 a
both '' chmod --reference=nosuch f1
both '' chown 12:34 f1
both '' touch -r f1 f2
both 'y\nn\n' rm -i f1 f2
for answers in n 'y\nn' 'y\ny\nn' 'y\ny\ny\nn' 'y\ny\ny\ny\nn' 'y\ny\ny\ny\ny\nn' 'y\ny\ny\ny\ny\ny\nn' \
    'y\ny\ny\ny\ny\ny\ny'; do
    both "$answers\n" rm -ri chain
done
both 'y\ny\n' rm -ri empty
both 'n\n' rm -ri empty
both 'y\n' rm -I f1 f2 f3 f4
both 'n\n' rm -I f1 f2 f3 f4
both '' rm -I f1 f2 f3
both 'y\n' rm -rI a d
both 'n\n' rm -rI a
both '' rm -if f1 f2
both 'n\n' rm -fi f1
both '' rm -i nosuch

for reference in 7:8 0:99; do # by the image's own numbers
    "$dish" disk.img -c "chown $reference /t/f1; chown --reference=/t/f1 /t/f2; chgrp --reference=/t/f1 /t/f3" \
        -c 'stat -c %u:%g /t/f2 /t/f3' >got
    printf '%s\n0:%s\n' "$reference" "${reference#*:}" >wanted
    check "chown --reference" cmp -s wanted got
done
"$dish" disk.img -c 'touch -r /t/f1 /t/f2; stat -c %Y /t/f2' >got
check "touch -r" grep -qx 1296705906 got

dumpe2fs -h disk.img 2>/dev/null | awk -F': *' '/^Block count/{b=$2} /^Free blocks/{f=$2} /^Reserved block count/{r=$2}
    /^Inode count/{i=$2} /^Free inodes/{n=$2} /^Block size/{s=$2} END{print b, f, f - r, i, n, s}' >wanted
"$dish" disk.img -- stat -f -c '%b %f %a %c %d %s' / | awk '{print}' >got
[ "$(cut -d' ' -f2- wanted)" = "$(cut -d' ' -f2- got)" ] || check "stat -f: $(cat wanted got)" false
"$dish" disk.img -- stat -f / >got
check "stat -f" grep -q 'Type: ext4' got
finish
