#compdef dish
# zsh completion for dish; printed by `dish --print=zsh`
_dish() {
    local -a commands
    commands=(
        'create:make a new image and open it'
        'open:open image files'
        'close:close an image'
        'images:list the open images'
        'info:show the stack\: container, partition table, filesystems'
        'qcow2-info:show header, features, tables and counts of a qcow2 image'
        'convert:write an image anew in another format or with other options'
        'resize:change the size of the virtual disk'
        'snapshot:list, create, apply, delete and copy out internal snapshots'
        'bitmap:list and change persistent dirty bitmaps'
        'amend:change options of the image'\''s format'
        'compact:give free space back to the host'
        'rebase:give an image another backing file, or none'
        'commit-backing:write an image'\''s own data into its backing file and empty the image'
        'check:check the image in all its layers, and repair it'
        'compare:compare the contents of two images'
        'map:draw how the disk'\''s space is used'
        'measure:tell how much space an image would take'
        'commit:make the changes durable, all or none'
        'rollback:drop everything since the last commit'
        'undo:take back the last changing commands'
        'redo:bring back what undo took'
        'status:list the commands that wait for a commit'
        'diff:list what changed on disk since the last commit, or compare two trees'
        'partition:show and change the partition table'
        'use:make a volume the current one'
        'mkfs:make a filesystem on a volume'
        'fsck:check a filesystem, and repair it'
        'df:show the free space of the filesystems'
        'freefrag:show how fragmented the free space is'
        'label:show or set a volume'\''s label'
        'uuid:show or set a volume'\''s UUID or volume id'
        'tune:change features and tunables of a filesystem'
        'resizefs:grow or shrink a filesystem inside its volume'
        'volumes:list the volumes and their filesystems'
        'ls:list directories'
        'cd:change the current directory'
        'pwd:print the current directory'
        'tree:draw a directory tree'
        'find:find files by name, type, size, time, owner and more'
        'stat:print the attributes of files'
        'cat:print files'
        'head:print the beginning of files'
        'tail:print the end of files'
        'wc:count lines, words and bytes'
        'hexdump:print bytes in hexadecimal'
        'strings:print the text in files'
        'grep:print lines that match a pattern'
        'sum:print or check checksums'
        'cmp:compare files, devices and trees'
        'du:print how much space trees take'
        'put:copy files from the host into an image'
        'get:copy files from an image to the host'
        'cp:copy files within and between images'
        'mirror:make a directory like another, between host and image'
        'tar-in:unpack an archive into an image'
        'tar-out:pack files of an image into an archive'
        'mv:rename and move files'
        'rm:remove files'
        'mkdir:make directories'
        'rmdir:remove empty directories'
        'ln:give files second names; make symbolic links'
        'touch:set times; make empty files'
        'truncate:set the size of files'
        'fallocate:allocate space for a file ahead'
        'punch:make a hole in a file'
        'write:write text to a file'
        'edit:edit a file'
        'chmod:change permissions'
        'chown:change owners'
        'chgrp:change groups'
        'xattr:show and set extended attributes'
        'attr:show and set file attributes (chattr, DOS attributes)'
        'acl:show and set access control lists'
        'mknod:make a device node, fifo or socket'
        'readlink:print what a symbolic link points to'
        'realpath:print a path without symbolic links, dots and double slashes'
        'symlink:make a symbolic link, named first as in debugfs'
        'show:print an on-disk structure field by field'
        'explain:say what a structure or field means'
        'poke:change one field of an on-disk structure'
        'where:follow a file'\''s bytes through every layer'
        'what:say whose byte this is, layer by layer'
        'trace:tell after each command what it changed on disk'
        'cache:show what is cached, or forget it'
        'lsdel:list deleted files that can still be seen'
        'undel:bring a deleted file back under a new name'
        'help:explain commands'
        'history:list the commands typed'
        'set:show or change settings and variables'
        'alias:give commands other names'
        'echo:print words'
        'source:run the commands of a file, or those that a host command prints'
        'time:run a command and tell its time'
        'lcd:change the host'\''s current directory'
        'lpwd:print the host'\''s current directory'
        'lls:list files on the host'
        '!:run a command on the host'
        'quit:commit and leave'
    )
    local at=${words[(i)--]}
    if (( at == CURRENT - 1 )); then
        _describe command commands
    elif (( at < CURRENT )); then
        _files
    else
        _arguments -s \
            '*'{-r,--read-only}'[never write to an image]' \
            '*'{-U,--force-share}'[read an image although another process holds it for writing; implies -r]' \
            '*'{-c+,--command=}'[run TEXT (repeatable), then exit]:TEXT:' \
            '*'{-f+,--file=}'[run the commands of FILE (- is standard input), then exit]:FILE:_files' \
            '*'{-k,--keep-going}'[go on after a failing command]' \
            '*'{-n,--dry-run}'[run everything, print what would change, commit nothing]' \
            '*'{-x,--echo}'[print each command before it runs]' \
            '*'{-j,--json}'[print data, and errors, as JSON]' \
            '*'{-q,--quiet}'[no progress, no summaries]' \
            '*'{-v,--verbose}'[say more]' \
            '--format=[do not probe the format of the images]:FMT:(raw qcow2)' \
            '--no-backing[do not open backing files]' \
            '--allow-data-file[open external data files]' \
            '--sector-size=[bytes of a sector of the disks (512, or what is found)]:N:(512 4096)' \
            '--tz=[zone of times that are stored without one\: utc, +02\:00 ...]:OFFSET:' \
            '--codepage=[code page of FAT'\''s short names (437)]:N:' \
            '--color=[whether to print colours]:WHEN:(auto always never)' \
            '*'{-h,--help}'[print this and exit]' \
            '*'{-V,--version}'[print the version and exit]' \
            '*:image:_files'
    fi
}
_dish "$@"
