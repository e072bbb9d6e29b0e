#!/bin/bash
# Globs and names.
. "$(dirname "$0")/_scenario.sh"
make_disk
fresh() {
    printf '%s\n' 'mkdir /w' 'write /w/a.log 1' "write '/w/b c.log' 2" "write '/w/*' 3" 'write /w/-rf 4' 'write /w/keep 5' |
        run 0 "$dish" w.qcow2
}
names() {
    "$dish" w.qcow2 -c 'ls /w' | tr '\n' '|'
}
begin() {
    cp disk.qcow2 w.qcow2
    fresh
}
begin
run 0 "$dish" w.qcow2 -c 'cd /w; rm *.log'
is "two gone" "$(names)" "*|-rf|keep|"
begin
run 0 "$dish" w.qcow2 -c "cd /w; rm '*'"
is "one gone" "$(names)" "-rf|a.log|b c.log|keep|"
begin
run 0 "$dish" w.qcow2 -c 'cd /w; rm -- -rf'
is "one gone" "$(names)" "*|a.log|b c.log|keep|"
run 1 "$dish" w.qcow2 -c 'cd /w; ls *.xyz'
holds err "no match"
run 1 "$dish" w.qcow2 -c 'cd /w; rm *.xyz keep'
is "nothing gone" "$(names)" "*|a.log|b c.log|keep|"
run 0 "$dish" w.qcow2 -c 'cd /w; ls ?.log [ab]*'
is "matched" "$(tr '\n' '|' <out)" "a.log|a.log|b c.log|"
begin
run 0 "$dish" w.qcow2 -c 'cd /w; rm *'
is "all gone, -rf was a name" "$(names)" ""
begin
run 0 "$dish" w.qcow2 -c 'mkdir -p /w/x/y; write /w/x/y/deep.log 6; ls /w/**/*.log'
is "any depth" "$(sort out | tr '\n' '|')" "/w/a.log|/w/b c.log|/w/x/y/deep.log|"

echo one >one.c
echo two >'two 2.c'
run 0 "$dish" w.qcow2 -c 'mkdir /src; put *.c /src/; ls /src'
is "host names" "$(tr '\n' '|' <out)" "one.c|two 2.c|"
run 1 "$dish" w.qcow2 -c 'put *.nothing /src/'
holds err "no match"
begin
run 0 "$dish" w.qcow2 -c "find /w -name '*.log' -print0 | xargs -0 -n1 echo"
is "both" "$(sort out | tr '\n' '|')" "/w/a.log|/w/b c.log|"
finish
