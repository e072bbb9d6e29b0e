#!/bin/bash
# Build an image from a heredoc; then the same with 10,000 lines, in bounded memory.
. "$(dirname "$0")/_scenario.sh"

build='create disk.qcow2 64M
partition init gpt
partition add 16M esp EFI
partition add rest linux root
mkfs vfat 1
mkfs ext4 2
mkdir -p 2:/etc
put - 2:/etc/motd <<X
hello from the image
X'
printf '%s\ncheck\n' "$build" >build.dish
run 0 "$dish" -f build.dish
cp out file.out
rm -f disk.qcow2
run 0 "$dish" <build.dish
empty err
check "the same output from a file and from standard input" cmp out file.out
check "no escape bytes" sh -c "! grep -q \"$(printf '\033')\" out"
lacks out 'dish>'
judge disk.qcow2
run 0 "$dish" disk.qcow2 -- cat /etc/motd
is "contents" "$(cat out)" "hello from the image"

rm -f disk.qcow2
{
    echo "$build"
    for i in $(seq 10000); do echo "write 2:/etc/f$i text"; done
} >many.dish
# The peak of its memory in KiB goes to the file peak.
run 0 python3 -c '
import resource, subprocess, sys
done = subprocess.run([sys.argv[1]], stdin=open("many.dish"))
open("peak", "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(done.returncode)' "$dish"
limit=$((64 * 1024))
grep -q __asan_init "$dish" && limit=$((600 * 1024))
check "memory: $(cat peak) KiB" [ "$(cat peak)" -lt $limit ]
empty out
empty err
run 0 "$dish" disk.qcow2 -c 'ls /etc'
is "files" "$(grep -c '^f' out)" 10000
judge disk.qcow2
finish
