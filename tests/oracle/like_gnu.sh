#!/bin/bash
# The commands on files say what the GNU tools say of the same tree: find, grep, head, tail, wc, cat, stat, chmod,
# hexdump, strings, du, the checksums.
. "$(dirname "$0")/_scenario.sh"

mkdir -p tree/d/e/f tree/docs
for i in 1 2 3 4 5 6 7 8; do
    { seq -f "line %g of file $i" $((i * 40)); printf 'root:x:0:0\nhttp 80/tcp www\nHTTPS 443/tcp\n\n\n\tTab\n'; } >"tree/docs/text$i.txt"
    gzip -n -k "tree/docs/text$i.txt"
done
printf 'no newline at the end' >tree/docs/open
: >tree/d/empty
printf 'a\0b\nc\0\0d\n' >tree/docs/binary
head -c 70000 /dev/zero | tr '\0' z >tree/docs/long
ln -s nowhere tree/d/dead
ln -s ../d tree/d/e/loop
printf 'hi\n' >tree/d/hi
ln tree/d/hi tree/d/hi2
chmod 4755 tree/d/hi
chmod 640 tree/docs/text1.txt
chmod 777 tree/docs/text2.txt
truncate -s 3000000 tree/d/e/big
touch -d '3 days ago' tree/d/e/big
touch -d '10 minutes ago' tree/d/empty
touch -d '2001-02-03 04:05:06.123456789' tree/docs/text3.txt
touch "tree/d/we ird*" 'tree/d/back~' tree/d/-rf tree/d/.hidden "tree/d/ünïcode"
run 0 "$dish" -c 'create -f raw disk.img 64M' -c 'mkfs ext4' -c 'put -r -a tree /; mkdir /etc; put /etc/passwd /etc/group /etc'
cd tree || exit 1

# same COMMAND...: its output and status are those of the program of that name, in any order of lines with find.
same() {
    local sorted=cat
    [ "$1" = find ] && sorted=sort
    [ "$1" = ls ] && sorted="sed s/\x1b\[0m\x1b/\x1b/" # GNU ls begins with a reset
    "$dish" ../disk.img -c "cd /tree" -- "$@" 2>/dev/null >../got
    echo "status $?" >>../got
    "$@" 2>/dev/null >../wanted
    echo "status $?" >>../wanted
    $sorted ../got >../got.sorted
    $sorted ../wanted >../wanted.sorted
    if ! cmp -s ../got.sorted ../wanted.sorted; then
        echo "FAILED: $*"
        diff ../wanted.sorted ../got.sorted | head -8 | sed 's/^/    /'
        failures=$((failures + 1))
    fi
}

same find .
same find . -name '*.gz'
same find d docs -iname 'TEXT*.TXT' -type f
same find . -type d -empty
same find . -type f -empty
same find . -type l,f -name 'd*'
same find . -type f -size +1M
same find . -type f -size -2
same find . -size 3c
same find . -type f -size +1k -size -100k
same find . -mtime +2 -mtime -5
same find . -mtime 3
same find . -mmin +5 -mmin -30
same find . -newer d/empty -type f
same find . -perm -4000
same find . -perm 640
same find . -perm /022 -type f
same find . -perm -u+x,g+x -type f
same find . -links 2 -type f
same find . -links +1 -type f -printf '%n %p\n'
same find . -maxdepth 1
same find . -mindepth 2 -maxdepth 2
same find . -name d -prune -o -print
same find . ! -type d -a ! -name '*.gz'
same find . -not -type d -and '(' -name hi -or -name hi2 ')' -print
same find . -type f -printf '%P|%f|%h|%s|%m|%M|%y|%d|%l|%n\n'
same find . -type f -printf '%T@ %TY-%Tm-%Td %TH:%TM:%TS %p\n'
same find . -name 'h*' -printf '%10s|%-8f|%05m\n'
same find . -path '*/e/*'
same find . -lname 'no*' -printf '%l\n'
same find . -samefile d/hi
same find . -newermt '2020-01-01' -type f
same find . -name '.h*' -o -name '-*'
same find . -name 'we ird\*'
same find . -name '?n?code'
same find . -name '[!a-h]*' -type f
same find . -false -o -true -name open
same find -L . -type f
same find -L . -type l
same find -L . -xtype l
same find -L d -maxdepth 2 -printf '%p %y %d\n'
same find -L . -samefile d/hi
same find -H d/e/loop -name 'hi*'
same find -P d/e/loop
same find d/e/loop
same find -H d/dead
same find . -follow -name 'hi*'
same find . -xtype d
same find . -xtype f -name 'text1*'
same find . -xtype l
same find . -printf '%p %y %Y\n'
same find . -daystart -mtime 0 -type f
same find . -daystart -mtime +2
same find . -newermt '@981173106.2' -name 'text3*'
same find . -newermm docs/text3.txt -name 'text1*'
same find . ! -newermm docs/text3.txt -type f
same find . -newermt '2001-02-03 04:05:06' ! -newermt '2001-02-03 04:05:07'
same find . -regex './docs/text[0-3]+.txt' -o -regextype posix-extended -iregex '\./D/(hi|hi2)'
same find . -regextype posix-basic -regex './docs/text\([0-3]\).*'
same find . -regextype posix-extended -regex './docs/text(1|22?)\.txt'
same find . -type f -perm -u=rw,go=r
same find . -perm /a=x -type f
same find . -executable -type f
same find . -type f -size 6 -o -size +5b -name 'text*'
same find . -type f -size -1M
same find . -type d -links +2 -o -links -2 -name open
same find . -uid 0 -gid 0 -name open
same find . -depth -name e
same find d -depth -mindepth 1 -type d
same find . -name docs -prune -o -type f -name 'h*' -print
same find . -maxdepth 1 -name docs -quit
same find . -ilname 'NO*'
same find . '(' -name hi -o -name hi2 ')' , -name open
same find . -name 'no such'
same find nosuch -name x
same find . -name 'h*' -execdir echo {} ';'
same find d docs -maxdepth 1 -name 'text1.txt' -execdir echo found {} +
same find docs -name text1.txt -execdir cat {} ';'
same find / -maxdepth 0 -execdir echo {} ';'

# files FIND-ARGS: what it prints into the files out1 and out2 is what find prints into them.
files() {
    rm -f out1 out2
    "$@" >>/dev/null 2>&1
    cat out1 out2 2>/dev/null | tr '\0' '\n' | sort
}
for expression in '-fprint out1' '-name h* -fprint0 out1' '-type f -fprintf out1 %p|%s\n' '-type f -fprint out1 -o -fprint out2' \
    '-name none -fprint out1' '-type f -fprint out1 -fprintf out1 %m\n' '-fprint /dev/stdout'; do
    set -f
    files find d docs $expression >../wanted
    files "$dish" ../disk.img -c 'cd /tree' -- find d docs $expression >../got
    set +f
    check "find $expression: $(diff ../wanted ../got | head -3)" cmp -s ../wanted ../got
    rm -f out1 out2
done
"$dish" ../disk.img -c 'cd /tree; find docs -name "text[12].txt" -fls /dev/stdout' -c 'find /tree/docs -name "text[12].txt" -ls' |
    sed 's|/tree/||' | sort | uniq -c | grep -vq '^ *2 ' && check "find -fls" false
check "find -fprint: no such directory" eval '! "$dish" ../disk.img -- find / -fprint /nosuch/file 2>/dev/null'
printf 'docs\0d/e\0nosuch' >../starts
printf 'docs\0d/e\0nosuch' | find -files0-from - -name '*[0-3]*' 2>/dev/null | sort >../wanted
for words in "-files0-from ../starts" "-files0-from - < ../starts"; do
    "$dish" ../disk.img -c "cd /tree; find $words -name '*[0-3]*'" 2>/dev/null | sort >../got
    check "find $words" cmp -s ../wanted ../got
done
for answers in 'y\nn\n' 'n\nyes\n' 'Y' '' '\n\n' 'n\n\n'; do
    for action in -ok -okdir; do
        printf "$answers" | find docs/text1.txt docs/text2.txt $action echo {} ';' >../wanted 2>../wanted2
        printf "$answers" | "$dish" ../disk.img -c "cd /tree; find docs/text1.txt docs/text2.txt $action echo {} \\;" >../got 2>../got2
        check "find $action with $answers" cmp -s ../wanted ../got
        check "find $action asks: $(cat ../wanted2 ../got2)" cmp -s ../wanted2 ../got2
    done
done
same find . -name
same find . -nosuchtest

export LC_ALL=C.UTF-8 TABSIZE=0
for options in '' -a -A -F -p -m -x -C -r -X -B -Q -b -N '-C -w 40' '-m -w 30' '-x -w 60' --file-type '-1 --indicator-style=slash' \
    -R -d '-I *.txt' '-1 --sort=size' '-1S' '-1t' '-1tr' '-1 --sort=extension' '-a -1 --group-directories-first' \
    '--color=always -1' '--color=always -F -C' --color=never '--color=auto -F'; do
    same ls $options docs
    same ls $options d
done
same ls -l --time-style=full-iso docs/text3.txt docs/open
same ls -l --time-style=long-iso docs/*
same ls -l --time-style=iso docs/text3.txt
same ls -l --time-style=+%s docs/*
same ls -lh --time-style=+ docs/*
same ls -l --si --time-style=+ docs/*
same ls -ln --time-style=+ docs/*
same ls -lg --time-style=+ docs/*
same ls -lo --time-style=+ docs/*
same ls -lG --time-style=+ docs/*
same ls -goG --time-style=+ docs/*
same ls -l --full-time docs/*
same ls -lF --time-style=+ docs/text1.txt d/hi d/dead
same ls -lc --time-style=+ docs/open
export LS_COLORS='di=01;35:ln=33:or=31:*.txt=36:*.gz=01;36:ex=00:su=00:mh=44;37'
same ls --color=always -1 docs
same ls --color=always -1 d
same ls --color -C d docs
unset LS_COLORS
for file in docs/text1.txt docs/open docs/binary d/empty docs/long; do
    for options in -n -c -v -i -w -o -l -L -q '-n -A2' '-n -B2' '-C1 -n' '-m2' '-b' '-H' '-a -n'; do
        same grep $options '1' "$file"
    done
    same grep -E '^(line|http) ?[0-9]+' "$file"
    same grep -F -x 'line 7 of file 1' "$file"
    same grep -e root -e Tab "$file"
    same grep -on '[0-9]*/tcp' "$file"
    same grep -iw 'https' "$file"
    same grep -c '' "$file"
    for options in '' '-n 3' '-n -3' '-c 10' '-c -10' '-n 0' '-n 1000' '-c 0'; do
        same head $options "$file"
    done
    for options in '' '-n 3' '-n +3' '-c 10' '-c +10' '-n 0' '-n 1' '-n +1' '-c 100000'; do
        same tail $options "$file"
    done
    for options in '' -n -b -s -A -E -T -v; do
        same cat $options "$file"
    done
    for options in '' -l -w -c -m -L; do
        same wc $options "$file"
    done
    same hexdump -C -n 200 "$file"
    same strings "$file"
    same strings -n 2 -t x "$file"
done
same grep -c line docs/text1.txt docs/text2.txt
same grep -rl 'file 3' docs
same grep -r --include='*.txt' -c root docs/text4.txt
same head docs/text1.txt docs/open
same tail -n 2 docs/text1.txt docs/open
same wc docs/text1.txt docs/text8.txt
same stat -c '%a %A %s %h %F %N %.9Y %y|%10s|%-5u|' d/hi docs/text3.txt d/dead d/empty
same stat --printf '%n\t%s\n' docs/text3.txt
same du -b docs/text1.txt
same readlink d/dead
for algorithm in md5 sha1 sha224 sha256 sha384 sha512 b2; do
    "$dish" ../disk.img -c 'cd /tree' -c "sum -a $algorithm docs/text5.txt d/empty docs/binary" >../got
    ${algorithm}sum docs/text5.txt d/empty docs/binary >../wanted
    check "${algorithm}sum" cmp ../got ../wanted
    check "$algorithm checked by the tool" eval "${algorithm}sum --quiet -c ../got"
    check "$algorithm checked by dish" "$dish" ../disk.img -c 'cd /tree' -c "sum -c --quiet $([ $algorithm = b2 ] && echo -a b2) < ../wanted"
done

# Every form of a mode, on a file and on a directory.
for start in 0 644 755 4755 2750 1777 7777; do
    for mode in 600 0755 7777 u+x g-w o= a=r +x -x =rw u=rwx,g=rx,o= ug+rw,o-rwx g=u o=g u+s g+s +t a+X u-s,g-s go= u=g,g=o 2755 00755; do
        for kind in f d; do
            rm -rf ../m && { [ $kind = f ] && : >../m || mkdir ../m; }
            chmod "$start" ../m
            (umask 022 && chmod -- "$mode" ../m 2>/dev/null)
            printf '%s %s %s %s\n' "$kind" "$start" "$mode" "$(stat -c %a ../m)"
        done
    done
done >../modes.wanted
{
    echo 'mkdir /m'
    n=0
    while read -r kind start mode _; do
        n=$((n + 1))
        [ "$kind" = f ] && echo "touch /m/$n" || echo "mkdir /m/$n"
        echo "chmod $start /m/$n"
        echo "chmod -- $mode /m/$n"
        echo "stat -c '$kind $start $mode %a' /m/$n"
    done <../modes.wanted
} >../modes.dish
"$dish" ../disk.img -f ../modes.dish >../modes.got
check "modes: $(diff ../modes.wanted ../modes.got | head -4)" cmp -s ../modes.wanted ../modes.got
cd ..
finish
