# bash completion for dish; printed by `dish --print=bash`
_dish()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i command=
    [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD-2]}
    [[ $cur == = ]] && cur=
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then command=${COMP_WORDS[i+1]}; break; fi
    done
    if ((i + 1 == COMP_CWORD)); then
        COMPREPLY=($(compgen -W 'create open close images info qcow2-info convert resize snapshot bitmap amend compact rebase commit-backing check compare map measure commit rollback undo redo status diff partition use mkfs fsck df freefrag label uuid tune resizefs volumes ls cd pwd tree find stat cat head tail wc hexdump strings grep sum cmp du put get cp mirror tar-in tar-out mv rm mkdir rmdir ln touch truncate fallocate punch write edit chmod chown chgrp xattr attr acl mknod readlink realpath symlink show explain poke where what trace cache lsdel undel help history set alias echo source time lcd lpwd lls quit' -- "$cur"))
        return
    fi
    if ((i < COMP_CWORD)) && [[ $cur == -* ]]; then
        case $command in
        create) COMPREPLY=($(compgen -W '--format --backing --backing-format --options' -- "$cur"));;
        open) COMPREPLY=($(compgen -W '--format --check' -- "$cur"));;
        close) COMPREPLY=($(compgen -W '--discard' -- "$cur"));;
        info) COMPREPLY=($(compgen -W '--verbose' -- "$cur"));;
        qcow2-info) COMPREPLY=($(compgen -W '--verbose' -- "$cur"));;
        convert) COMPREPLY=($(compgen -W '--format --source-format --compress --options --backing --backing-format --snapshot --no-create --sparse-size --threads --force' -- "$cur"));;
        resize) COMPREPLY=($(compgen -W '--shrink' -- "$cur"));;
        bitmap) COMPREPLY=($(compgen -W '--granularity --disabled' -- "$cur"));;
        amend) COMPREPLY=($(compgen -W '--options' -- "$cur"));;
        compact) COMPREPLY=($(compgen -W '--punch' -- "$cur"));;
        rebase) COMPREPLY=($(compgen -W '--backing --backing-format --unsafe' -- "$cur"));;
        check) COMPREPLY=($(compgen -W '--repair --data --container --qemu-status' -- "$cur"));;
        compare) COMPREPLY=($(compgen -W '--strict' -- "$cur"));;
        map) COMPREPLY=($(compgen -W '--svg --html' -- "$cur"));;
        measure) COMPREPLY=($(compgen -W '--format --source-format --options --snapshot' -- "$cur"));;
        status) COMPREPLY=($(compgen -W '--verbose' -- "$cur"));;
        diff) COMPREPLY=($(compgen -W '--last --recursive --unified --brief --attributes' -- "$cur"));;
        partition) COMPREPLY=($(compgen -W '--image --start --align --number --uuid --flags --logical --options --append --repair --force' -- "$cur"));;
        mkfs) COMPREPLY=($(compgen -W '--label --uuid --options --directory --force' -- "$cur"));;
        fsck) COMPREPLY=($(compgen -W '--repair --lost --data --superblock' -- "$cur"));;
        df) COMPREPLY=($(compgen -W '--human-readable --inodes --print-type' -- "$cur"));;
        ls) COMPREPLY=($(compgen -W '--all --almost-all --recursive --human-readable --inode --reverse --numeric-uid-gid --directory --classify --size --no-group --quote-name --escape --hide-control-chars --literal --ignore-backups --ignore --kibibytes --width --dereference --si --file-type --indicator-style --color --time --sort --full-time --time-style --group-directories-first' -- "$cur"));;
        tree) COMPREPLY=($(compgen -W '--all --level --ascii --pattern' -- "$cur"));;
        stat) COMPREPLY=($(compgen -W '--dereference --file-system --id --format --printf' -- "$cur"));;
        cat) COMPREPLY=($(compgen -W '--number --number-nonblank --squeeze-blank --show-all --show-ends --show-tabs --show-nonprinting' -- "$cur"));;
        head) COMPREPLY=($(compgen -W '--lines --bytes --quiet --verbose' -- "$cur"));;
        tail) COMPREPLY=($(compgen -W '--lines --bytes --quiet --verbose' -- "$cur"));;
        wc) COMPREPLY=($(compgen -W '--lines --words --bytes --chars --max-line-length' -- "$cur"));;
        hexdump) COMPREPLY=($(compgen -W '--skip --length --no-squeezing --canonical' -- "$cur"));;
        strings) COMPREPLY=($(compgen -W '--bytes --radix --encoding --print-file-name --all' -- "$cur"));;
        grep) COMPREPLY=($(compgen -W '--recursive --ignore-case --line-number --files-with-matches --files-without-match --invert-match --count --extended-regexp --basic-regexp --fixed-strings --text --quiet --no-messages --word-regexp --line-regexp --only-matching --byte-offset --no-filename --with-filename --null --regexp --file --max-count --after-context --before-context --context --include --exclude --exclude-dir' -- "$cur"));;
        sum) COMPREPLY=($(compgen -W '--algorithm --check --tag --binary --text --ignore-missing --strict --quiet --status' -- "$cur"));;
        cmp) COMPREPLY=($(compgen -W '--recursive --attributes --silent --verbose --print-bytes --bytes --ignore-initial' -- "$cur"));;
        du) COMPREPLY=($(compgen -W '--summarize --human-readable --all --total --max-depth --bytes --apparent-size --block-size --count-links --dereference-args --one-file-system --exclude' -- "$cur"));;
        put) COMPREPLY=($(compgen -W '--recursive --archive --dereference --preserve --update --no-clobber --verbose --force --owner --mode --lossy --at --length' -- "$cur"));;
        get) COMPREPLY=($(compgen -W '--recursive --archive --dereference --preserve --update --no-clobber --verbose --force --at --length' -- "$cur"));;
        cp) COMPREPLY=($(compgen -W '--recursive --archive --dereference --preserve --update --no-clobber --verbose --force --owner --mode --lossy --target-directory --no-target-directory' -- "$cur"));;
        mirror) COMPREPLY=($(compgen -W '--dry-run --delete --verbose --lossy' -- "$cur"));;
        tar-in) COMPREPLY=($(compgen -W '--owner --mode --lossy' -- "$cur"));;
        tar-out) COMPREPLY=($(compgen -W '--format' -- "$cur"));;
        mv) COMPREPLY=($(compgen -W '--no-clobber --force --no-target-directory --target-directory --verbose --lossy' -- "$cur"));;
        rm) COMPREPLY=($(compgen -W '--recursive --force --dir --verbose' -- "$cur"));;
        mkdir) COMPREPLY=($(compgen -W '--parents --mode --verbose' -- "$cur"));;
        rmdir) COMPREPLY=($(compgen -W '--parents' -- "$cur"));;
        ln) COMPREPLY=($(compgen -W '--symbolic --force --no-dereference --no-target-directory --target-directory --relative --logical --verbose' -- "$cur"));;
        touch) COMPREPLY=($(compgen -W '--no-create --no-dereference --date --reference' -- "$cur"));;
        truncate) COMPREPLY=($(compgen -W '--size --reference --no-create' -- "$cur"));;
        fallocate) COMPREPLY=($(compgen -W '--length --offset --keep-size --punch-hole --zero-range' -- "$cur"));;
        punch) COMPREPLY=($(compgen -W '--length --offset --zero' -- "$cur"));;
        write) COMPREPLY=($(compgen -W '--append --mode --at --fill --length' -- "$cur"));;
        chown) COMPREPLY=($(compgen -W '--recursive --no-dereference --reference' -- "$cur"));;
        chgrp) COMPREPLY=($(compgen -W '--recursive --no-dereference --reference' -- "$cur"));;
        xattr) COMPREPLY=($(compgen -W '--name --value --remove --names --dump --encoding --no-dereference' -- "$cur"));;
        acl) COMPREPLY=($(compgen -W '--modify --remove --remove-all --remove-default --default --set --no-mask --numeric' -- "$cur"));;
        mknod) COMPREPLY=($(compgen -W '--mode' -- "$cur"));;
        readlink) COMPREPLY=($(compgen -W '--canonicalize --canonicalize-existing --no-newline --zero' -- "$cur"));;
        realpath) COMPREPLY=($(compgen -W '--canonicalize-existing --zero' -- "$cur"));;
        show) COMPREPLY=($(compgen -W '--hex' -- "$cur"));;
        poke) COMPREPLY=($(compgen -W '--raw' -- "$cur"));;
        help) COMPREPLY=($(compgen -W '--keyword' -- "$cur"));;
        history) COMPREPLY=($(compgen -W '--clear' -- "$cur"));;
        set) COMPREPLY=($(compgen -W '--unset' -- "$cur"));;
        alias) COMPREPLY=($(compgen -W '--delete' -- "$cur"));;
        quit) COMPREPLY=($(compgen -W '--commit --discard' -- "$cur"));;
        esac
        return
    fi
    case $prev in
    --format) COMPREPLY=($(compgen -W 'raw qcow2' -- "$cur")); return;;
    --sector-size) COMPREPLY=($(compgen -W '512 4096' -- "$cur")); return;;
    --color) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return;;
    esac
    if ((i >= COMP_CWORD)) && [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W '-r --read-only -U --force-share -c --command= -f --file= -k --keep-going -n --dry-run -x --echo -j --json -q --quiet -v --verbose --format= --no-backing --allow-data-file --sector-size= --tz= --codepage= --color= -h --help -V --version ' -- "$cur"))
    else
        COMPREPLY=($(compgen -f -- "$cur"))
    fi
}
complete -o filenames -o bashdefault -F _dish dish
