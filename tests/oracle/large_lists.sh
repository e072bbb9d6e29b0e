#!/bin/bash
# Lists of more names than ls holds in full say what GNU ls says of the same directory, and so do those of find.
. "$(dirname "$0")/_scenario.sh"
export LC_ALL=C TZ=UTC TABSIZE=0

mkdir -p tree/many tree/plain
python3 - <<'END'
import os
import random
random.seed(5)
os.chdir('tree/many')
endings = ['', '.c', '.tar.gz', '~', '.txt', '.10', '.9', '-1.2.3.tgz', '.~1~']
names = set()
while len(names) < 9000:
    names.add(random.choice(['file', 'File', 'a b', 'x', '.h', 'longer-name-']) + str(random.randrange(20000)).zfill(
        random.choice([0, 0, 3])) + random.choice(endings))
for i, name in enumerate(sorted(names, key=lambda n: random.random())):
    if i % 50 == 0:
        os.mkdir(name)
        os.close(os.open('../plain/' + name, os.O_CREAT))
    elif i % 51 == 0:
        os.symlink(random.choice(['nowhere', '.', '/etc/passwd']), name)
    else:
        with open(name, 'w') as file:
            file.truncate(random.randrange(1 << random.randrange(30)))
        os.chmod(name, random.choice([0o644, 0o755, 0o4755, 0o600]))
    os.utime(name, ns=(0, random.choice([10 ** 9, 1700000000 * 10 ** 9]) + random.randrange(5 * 10 ** 9)),
             follow_symlinks=False)
    if not os.path.isdir(name):
        os.link(name, '../plain/' + name, follow_symlinks=False)
some = sorted(names)
for i in range(20):
    source = some[i * 7 + 100]
    if os.path.isfile(source) and not os.path.islink(source):
        os.link(source, f'linked{i}')
END
run 0 "$dish" -c 'create -f raw disk.img 1G' -c 'mkfs ext4' -c 'put -r -a tree /; mkdir /etc; put /etc/passwd /etc/group /etc'
cd tree || exit 1

# A directory's own size, and so the total, is a matter of its filesystem.
mask() {
    sed -E 's/^total .*//; s/^(d[^ ]+ +[^ ]+ [^ ]+ +[^ ]+) +[0-9.K]+ /\1 /'
}

# same WORD...: as the GNU program of that name prints it.
same() {
    "$dish" ../disk.img -c "cd /tree" -- "$@" 2>&1 | mask >../got
    "$@" 2>&1 | mask >../wanted
    [ "$1" = ls ] || sort -o ../got ../got
    [ "$1" = ls ] || sort -o ../wanted ../wanted
    if ! diff ../wanted ../got >../differs; then
        echo "FAILED: $*"
        head -8 ../differs | sed 's/^/    /'
        failures=$((failures + 1))
    fi
}

same ls many
same ls -a many
same ls -r many
same ls -l -I linked0 --time-style=full-iso many
same ls -lh --time-style=long-iso many
same ls -ltr --time-style=full-iso many
same ls -t many
same ls -S plain
same ls -Sr plain
same ls -v many
same ls -vr many
same ls -X many
same ls -F many
same ls -C -w 150 many
same ls -x -w 150 many
same ls -m -w 100 many
same ls -l --group-directories-first --time-style=iso many
same ls --group-directories-first -rv many
same ls -Q many
same find many -size +100k
same find many -type l -lname nowhere
same find many -type f -links 3 -printf '%p %s %m %n\n'

# Unsorted: the same lines in any order.
for flags in -U1 -f -lU; do
    "$dish" ../disk.img -c 'cd /tree' -- ls $flags --time-style=full-iso many | mask | sort >../got
    ls $flags --time-style=full-iso many | mask | sort >../wanted
    cmp ../got ../wanted || failures=$((failures + 1))
done
finish
