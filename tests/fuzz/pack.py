#!/usr/bin/env python3
"""Packs an image into the fuzz target's sparse form: pack.py IMAGE > INPUT. At most 256 KiB of it are kept."""
import struct
import sys

PIECE, LIMIT = 512, 256 * 1024

with open(sys.argv[1], "rb") as file:
    image = file.read()
out = [struct.pack("<Q", len(image))]
kept = 0
run_start, run = 0, b""
for off in range(0, len(image), PIECE):
    piece = image[off:off + PIECE]
    if piece.count(0) == len(piece) or kept >= LIMIT:
        if run:
            out.append(struct.pack("<QI", run_start, len(run)) + run)
            run = b""
        continue
    if not run:
        run_start = off
    run += piece
    kept += len(piece)
if run:
    out.append(struct.pack("<QI", run_start, len(run)) + run)
sys.stdout.buffer.write(b"".join(out))
