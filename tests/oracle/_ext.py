"""What the cross-checks of damaged ext volumes share: a tree with a little of everything."""
import os
import random


def make_tree(top, files, pieces):
    """With a directory of so many files, and a sparse file of so many pieces."""
    os.makedirs(top + "/dir/sub/deep")
    os.makedirs(top + "/many")
    for i in range(files):
        with open(f"{top}/many/file-number-{i:04d}", "w") as f:
            f.write(f"{i}\n" * (i % 3))
    with open(top + "/big", "wb") as f:
        f.write(random.Random(1).randbytes(300000))
    with open(top + "/sparse", "wb") as f:
        for i in range(pieces):
            f.seek(i * 20000)
            f.write(b"x" * 3000)
    with open(top + "/dir/small", "w") as f:
        f.write("small\n")
    os.link(top + "/dir/small", top + "/dir/sub/linked")
    os.symlink("dir/small", top + "/fast")
    os.symlink("/" + "long/" * 30, top + "/slow")
    os.mkfifo(top + "/fifo")
