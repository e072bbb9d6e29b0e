/* What `help TOPIC` and the manual page say beyond single commands. */
#include "shell.h"

const struct topic topics[] = {
    {"places", "naming images, volumes and files",
     "A file is named [IMAGE:][VOLUME:]/PATH:\n"
     "  /etc/fstab         in the current volume, or in the only one with a filesystem\n"
     "  2:/etc/fstab       in partition 2\n"
     "  old:2:/etc/fstab   in the image that was opened as old=FILE\n"
     "A place without a path is the device itself:\n"
     "  2:      partition 2\n"
     "  0:      the whole virtual disk\n"
     "  file:   the image file on the host\n"
     "`use VOLUME` makes a volume the current one; `cd` and `pwd` work in it. Host paths have lcd, lpwd and "
     "lls.\n"
     "An EFI system partition does not count as a filesystem beside another one."},
    {"sizes", "writing sizes and modes",
     "Sizes are bytes, or have a unit: K M G T P (powers of 1024), KB MB GB ... (powers of 1000), s (sectors "
     "of\n"
     "512 bytes); 0x... is hexadecimal. Where it makes sense +SIZE and -SIZE are relative, N% is a part, "
     "and\n"
     "`rest` is all that is left. Modes are octal or symbolic, as for chmod."},
    {"language", "quoting, variables, pipes, scripts",
     "Commands stand one on a line, or are separated by ; or joined by && and ||. # at a word's start begins "
     "a\n"
     "comment; a line that ends in \\ goes on.\n"
     "  'text'  \"text\"  \\x  $'\\n\\x00'  quotes, as in a POSIX shell; pieces join to one word\n"
     "  $NAME  ${NAME}  $?             the environment, `set NAME=VALUE`, the last status; an unset name is "
     "an\n"
     "                                 error. A value is one word: neither split nor searched for globs\n"
     "  *  ?  [abc]  **                globs, in the image or on the host by the kind of argument; no match "
     "is\n"
     "                                 an error. Names that a glob gives are never taken for options\n"
     "  cmd | HOST PIPELINE            the output goes to a shell command of the host\n"
     "  cmd > FILE  >> FILE  < FILE    host files; 2> FILE and 2>&1 for messages\n"
     "  cmd <<WORD ... WORD            the lines between are the command's input; <<'WORD' without "
     "variables\n"
     "  !HOST COMMAND                  a command of the host; it ends at ; && || or the line's end, but for, "
     "while,\n"
     "                                 if, { } and ( ) are kept together\n"
     "  -cmd                           its failure is reported and ignored\n"
     "A file with a syntax error does not run at all. A script stops at its first failing command, unless -k "
     "is\n"
     "given."},
    {"transactions", "commit, rollback, undo",
     "Commands change the session's view of an image. `commit` makes the changes durable, all or none; a "
     "script\n"
     "that reaches its end, and `quit`, commit. `rollback` drops everything since the last commit; a script "
     "that\n"
     "fails is rolled back. Every command by itself is all or nothing, also when it is interrupted. `undo` "
     "and\n"
     "`redo` step through the changing commands since the last commit, `status` lists them, `diff` shows "
     "what\n"
     "they changed on disk. `set autocommit on` commits after every command, `set durability` says what a "
     "commit\n"
     "waits for. A crash leaves an image as before or as after a commit; the next open sees to it."},
    {"exit-status", "what the program returns",
     "0    everything worked\n"
     "1    a command failed, or the commit did\n"
     "2    wrong usage, or a syntax error in a script (nothing was run)\n"
     "3    an image could not be opened or locked\n"
     "4    check, fsck or partition verify found damage that was not repaired\n"
     "130  stopped by an interrupt"},
    {0},
};
