#!/bin/bash
# The pictures of a disk: well-formed, self-contained, and something to be seen in a real browser.
. "$(dirname "$0")/_scenario.sh"
make_disk
run 0 "$dish" disk.qcow2 -c 'map --svg map.svg --html map.html'
check "SVG and page" python3 - map.svg map.html <<'P'
import re, sys
import xml.etree.ElementTree as tree

svg = tree.parse(sys.argv[1]).getroot()
space = "{http://www.w3.org/2000/svg}"
if svg.tag != space + "svg":
    sys.exit("the root is " + svg.tag)
width, height = float(svg.get("width")), float(svg.get("height"))
shapes = list(svg.iter(space + "rect"))
if len(shapes) < 100:
    sys.exit("only %d rectangles" % len(shapes))
for shape in shapes:
    x, y, w, h = (float(shape.get(name)) for name in ("x", "y", "width", "height"))
    if x < 0 or y < 0 or w < 0 or h < 0 or x + w > width or y + h > height:
        sys.exit("a rectangle lies outside of the picture: " + str(shape.attrib))
texts = " ".join("".join(text.itertext()) for text in svg.iter(space + "text"))
for word in ("1: fat16", "2: ext4", "partition table", "used"):
    if word not in texts:
        sys.exit("the picture does not say " + word)
page = open(sys.argv[2], encoding="utf-8").read()
if "<svg" not in page or not page.startswith("<!DOCTYPE html>"):
    sys.exit("the page holds no picture")
if re.search(r"""(src|href)\s*=|url\(|@import|https?://(?!www\.w3\.org/2000/svg)""", page):
    sys.exit("the page refers to something outside of it")
P

# A name that is markup stays text.
cp disk.qcow2 '<b>&"x".qcow2'
run 0 "$dish" 'x=<b>&"x".qcow2' -c 'map --svg odd.svg --html odd.html'
check "odd name" python3 -c 'import sys, xml.etree.ElementTree as t; t.parse("odd.svg"); sys.exit("<b>" in open("odd.html").read())'

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
if [ -z "$browser" ]; then
    echo "no browser is installed: the page was not drawn"
    finish
fi
draw() { # PAGE PNG
    timeout 60 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1050,700 \
        --user-data-dir="$PWD/profile" --screenshot="$PWD/$2" "file://$PWD/$1" >browser.log 2>&1 || cat browser.log
}
draw map.html map.png
check "the page as drawn" python3 - map.png <<'P'
import collections, struct, sys, zlib

data = open(sys.argv[1], "rb").read()
at, packed = 8, b""
while at < len(data):
    length, kind = struct.unpack(">I4s", data[at:at + 8])
    body = data[at + 8:at + 8 + length]
    if kind == b"IHDR":
        width, height, depth, colour = struct.unpack(">IIBB", body[:10])
    elif kind == b"IDAT":
        packed += body
    at += length + 12
size = {2: 3, 6: 4}[colour]
raw, line = zlib.decompress(packed), bytearray(width * size)
colours = collections.Counter()
for row in range(height):
    kind, old = raw[row * (width * size + 1)], line
    line = bytearray(raw[row * (width * size + 1) + 1:(row + 1) * (width * size + 1)])
    for i in range(len(line)):
        left = line[i - size] if i >= size else 0
        up, corner = old[i], old[i - size] if i >= size else 0
        guess = left + up - corner
        nearest = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
        line[i] = (line[i] + (0, left, up, (left + up) // 2, nearest)[kind]) & 255
    colours.update(bytes(line[i:i + 3]) for i in range(0, len(line), size))
for name, colour in (("used", b"\x0d\x47\xa1"), ("free", b"\xec\xef\xf1"), ("paper", b"\xff\xff\xff")):
    if colours[colour] < 500:
        sys.exit("%s: %d pixels" % (name, colours[colour]))
P
finish
