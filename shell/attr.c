/* attr: the flags of files, as lsattr and chattr know them, or DOS attributes. */
#include "files.h"
#include "walk.h"

#include "bytes.h"

#include <string.h>
#include <sys/stat.h>

struct flag_letter {
    char letter;
    uint32_t flag;
    bool fixed; /* shown, but the format decides about it */
    const char *word;
};

/* In the order of lsattr. */
static const struct flag_letter unix_letters[] = {
    {'s', FS_FLAG_SECRM, false, "secure-deletion"},
    {'u', FS_FLAG_UNRM, false, "undelete"},
    {'S', FS_FLAG_SYNC, false, "synchronous"},
    {'D', FS_FLAG_DIRSYNC, false, "synchronous-directory"},
    {'i', FS_FLAG_IMMUTABLE, false, "immutable"},
    {'a', FS_FLAG_APPEND, false, "append-only"},
    {'d', FS_FLAG_NODUMP, false, "no-dump"},
    {'A', FS_FLAG_NOATIME, false, "no-access-time"},
    {'c', FS_FLAG_COMPR, false, "compressed"},
    {'E', FS_FLAG_ENCRYPTED, true, "encrypted"},
    {'j', FS_FLAG_JOURNAL_DATA, false, "journal-data"},
    {'I', FS_FLAG_INDEX, true, "indexed-directory"},
    {'t', FS_FLAG_NOTAIL, false, "no-tail"},
    {'T', FS_FLAG_TOPDIR, false, "top-directory"},
    {'e', FS_FLAG_EXTENTS, true, "extents"},
    {'C', FS_FLAG_NOCOW, false, "no-copy-on-write"},
    {'F', FS_FLAG_CASEFOLD, false, "casefold"},
    {'N', FS_FLAG_INLINE_DATA, true, "inline-data"},
    {'P', FS_FLAG_PROJINHERIT, false, "project-inherit"},
    {'V', FS_FLAG_VERITY, true, "verity"},
    {0},
};

static const struct flag_letter dos_letters[] = {
    {'a', FS_FLAG_DOS_ARCHIVE, false, "archive"},
    {'s', FS_FLAG_DOS_SYSTEM, false, "system"},
    {'h', FS_FLAG_DOS_HIDDEN, false, "hidden"},
    {'r', FS_FLAG_DOS_READONLY, false, "read-only"},
    {0},
};

/* Filesystems without modes are of the DOS kind. */
static const struct flag_letter *letters_of(const struct volume *volume)
{
    return volume->fs->limits->modes ? unix_letters : dos_letters;
}

struct attr_command {
    struct call *call;
    struct output *out;
    struct report *list;
    char how;            /* +, - or =; 0: show */
    const char *letters; /* after it */
    bool recursive;
};

static bool parse_flags(const struct volume *volume, const char *text, uint32_t *flags, struct error *err)
{
    const struct flag_letter *letters = letters_of(volume);
    *flags = 0;
    for (; *text; text++) {
        const struct flag_letter *letter = letters;
        while (letter->letter && letter->letter != *text)
            letter++;
        if (!letter->letter)
            return fail(err, E_INVALID, "%s has no attribute '%c'", volume->fs->type, *text);
        if (letter->fixed)
            return fail(err, E_UNSUPPORTED, "attribute '%c' (%s) cannot be set by hand", *text, letter->word);
        *flags |= letter->flag;
    }
    return true;
}

static bool change(struct attr_command *command, struct volume *volume, const struct fs_attr *old,
                   struct error *err)
{
    uint32_t flags, free_flags = 0;
    struct fs_attr set = *old;
    if (!parse_flags(volume, command->letters, &flags, err))
        return false;
    for (const struct flag_letter *letter = letters_of(volume); letter->letter; letter++)
        free_flags |= letter->fixed ? 0 : letter->flag;
    if (command->how == '+')
        set.flags |= flags;
    else if (command->how == '-')
        set.flags &= ~flags;
    else
        set.flags = (set.flags & ~free_flags) | flags;
    return set.flags == old->flags || file_setattr(volume, old->id, &set, ATTR_FLAGS, err);
}

static void show(struct attr_command *command, struct volume *volume, const char *path,
                 const struct fs_attr *attr)
{
    char text[ARRAY_LEN(unix_letters) + 1];
    size_t n = 0;
    for (const struct flag_letter *letter = letters_of(volume); letter->letter; letter++)
        text[n++] = attr->flags & letter->flag ? letter->letter : '-';
    text[n] = 0;
    if (!command->list) {
        output_printf(command->out, "%s ", text);
        output_name(command->out, path);
        output_write(command->out, "\n", 1);
        return;
    }
    report_open(command->list, NULL);
    report_text(command->list, "path", path);
    report_text(command->list, "letters", text);
    report_open_list(command->list, "attributes");
    for (const struct flag_letter *letter = letters_of(volume); letter->letter; letter++)
        if (attr->flags & letter->flag)
            report_text(command->list, NULL, letter->word);
    report_close(command->list);
    report_close(command->list);
}

static bool one_file(struct attr_command *command, struct volume *volume, const char *path,
                     const struct fs_attr *attr, struct error *err)
{
    if (command->how)
        return change(command, volume, attr, err);
    show(command, volume, path, attr);
    return true;
}

static bool attr_one(struct file_arg *arg, void *opaque, struct error *err)
{
    struct attr_command *command = opaque;
    if (command->how && !file_writable(arg->volume, err))
        return false;
    if (!command->recursive)
        return one_file(command, arg->volume, arg->typed, &arg->attr, err);
    struct walk *walk;
    struct walk_entry *entry;
    if (!walk_new(&walk, arg->volume, arg->typed, arg->id, WALK_ATTR | WALK_SORTED, err))
        return false;
    bool ok;
    while ((ok = walk_next(walk, &entry, err)) && entry->event != WALK_END && !output_closed(command->out)) {
        if (entry->event == WALK_FAULT)
            call_complain(command->call, entry->path, &entry->fault);
        if (entry->event == WALK_FAULT || entry->event == WALK_LEAVE)
            continue;
        ok = one_file(command, arg->volume, entry->path, &entry->attr, err);
        if (!ok)
            break;
    }
    walk_free(walk);
    return ok;
}

static bool is_change(const char *word)
{
    return strcmp(word, "=") == 0 || (strchr("+-=", word[0]) && word[0] && word[1]);
}

static bool run_attr(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct attr_command command = {.call = call, .out = out};
    int kept = 0;
    bool options = true;
    for (int i = 0; i < call->argc; i++) {
        char *word = call->args[i];
        if (options && strcmp(word, "--") == 0) {
            options = false;
        } else if (options && (strcmp(word, "-R") == 0 || strcmp(word, "--recursive") == 0)) {
            command.recursive = true;
        } else if (options && is_change(word)) {
            if (command.how)
                return fail(err, E_USAGE, "one change at a time, such as +ia or -a");
            command.how = word[0];
            command.letters = word + 1;
        } else {
            call->args[kept++] = word;
        }
    }
    if (kept == 0)
        return fail(err, E_USAGE, "missing FILE (usage: attr [-R] [+|-|=LETTERS] FILE...)");
    call->argc = kept;
    call->args[kept] = NULL;
    if (output_json(out) && !command.how)
        command.list = output_report_list(out);
    return each_file(session, call, 0, true, attr_one, &command, err);
}

static const struct arg attr_args[] = {
    {"CHANGE", ARG_PATH, ARG_OPTIONAL, "+LETTERS, -LETTERS or =LETTERS; without it they are shown", NULL},
    {"FILE", ARG_PATH, ARG_MANY, "files of the image; -R: and all below directories", NULL},
    {0},
};

const struct command attr_command = {
    .name = "attr",
    .group = "Files",
    .summary = "show and set file attributes (chattr, DOS attributes)",
    .details = "The letters are those of chattr: i immutable, a append only, d no dump, A no access times, S "
               "synchronous ... On FAT and exFAT: r read-only, h hidden, s system, a archive.",
    .examples = "attr /etc/*\nattr +i /etc/resolv.conf\nattr -R =  /srv\nattr +h 1:/secret.txt",
    .args = attr_args,
    .needs = NEEDS_IMAGE | CHANGES | ALSO_READS | RAW_WORDS,
    .aliases = "lsattr chattr",
    .run = run_attr,
};
