#!/bin/bash
# Output for programs.
. "$(dirname "$0")/_scenario.sh"
make_disk
run 0 "$dish" --json -c 'ls -l /etc' disk.qcow2
is "a name" "$(jq -r '.. | objects | select(.name == "motd") | .name' out)" motd
run 0 "$dish" disk.qcow2 -c "write \$'/odd\\xff\\nname' x"
for command in 'ls -l /' 'ls /' 'find /' 'info' 'status -v' 'volumes' 'df' 'help' 'set' 'images' 'partition list' \
    'show ext.super' 'where /etc/motd' 'stat /etc/motd' 'tree /'; do
    run 0 "$dish" --json disk.qcow2 -c "$command"
    check "valid JSON from $command: $(head -c 200 out)" jq -es 'length == 1' out
done
run 0 "$dish" --json disk.qcow2 -c 'ls /'
check "the name as bytes" python3 - <<'END'
import json, os
data = json.load(open("out"))
names = [item["name"] if isinstance(item, dict) else item for item in (data if isinstance(data, list) else data["entries"])]
assert b"odd\xff\nname" in [os.fsencode(name) for name in names], names
END
run 1 "$dish" --json disk.qcow2 -c 'cat /nope'
is "error" "$(head -1 err | jq -r '.error.kind')" no-entry
is "command" "$(head -1 err | jq -r '.error.command')" cat
is "line" "$(head -1 err | jq -r '.error.line')" 1
check "every line of the errors is JSON" jq -es 'length > 0' err

escape=$(printf '\033')
for color in auto never; do
    run 0 "$dish" --color=$color disk.qcow2 -c 'ls -la /; info; help; show ext.super'
    check "no escape byte with --color=$color in a pipe" sh -c "! grep -q '$escape' out"
done
run 0 script -qec "NO_COLOR=1 '$dish' disk.qcow2 -- ls /" /dev/null
check "no escape byte with NO_COLOR" sh -c "! grep -q '$escape' out"
holds out 'odd\377\nname'
finish
