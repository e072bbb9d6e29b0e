#!/bin/bash
# The reverse: whose byte this is. `where` and `what` agree for random bytes.
. "$(dirname "$0")/_scenario.sh"
make_disk
mkdir -p tree/deep
for i in $(seq 40); do head -c $((i * 777)) /dev/urandom >"tree/deep/file$i"; done
run 0 "$dish" disk.qcow2 -c 'put -r tree /'
owner() { # PLACE OFFSET TEXT: the answer names it
    run 0 "$dish" disk.qcow2 -c "what $1 $2"
    holds out "$3"
}
owner 0: 512 'field Signature'
owner 0: 446 'protective MBR'
owner 2: 0x438 's_magic'
owner file: 0 'header, field magic'
owner file: 0x30000 'L1'
run 0 "$dish" --json disk.qcow2 -c 'what 2: 0x438'
is "structure" "$(jq -r '.[0].structure' out)" super

cat >agree.py <<'P'
import json, os, random, subprocess, sys
dish, count = sys.argv[1], int(sys.argv[2])
chooser = random.Random(11)
files = [f"file{i}" for i in range(1, 41)]
def run(commands):
    script = "\n".join(commands)
    done = subprocess.run([dish, "--json", "disk.qcow2"], input=script, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line]
asked = [chooser.choice(files) for _ in range(count)]
places = {name: run([f"where /tree/deep/{name}"])[0] for name in set(asked)}
questions, answers = [], []
for name in asked:
    offset = chooser.randrange(os.path.getsize(f"tree/deep/{name}"))
    extent = next(e for e in places[name]["extents"] if e["file-offset"] <= offset < e["file-offset"] + e["length"])
    questions.append((name, offset, extent["host"]["offset"] + offset - extent["file-offset"]))
for (name, offset, host), answer in zip(questions, run([f"what file: {host}" for _, _, host in questions])):
    if answer[-1].get("path") != f"/tree/deep/{name}" or answer[-1].get("file-offset") != offset:
        sys.exit(f"FAILED: host byte {host} is byte {offset} of {name}, what says {answer[-1]}")
P
check "where and what agree" python3 agree.py "$dish" "$([ -n "${LONG:-}" ] && echo 1000 || echo 200)"
finish
