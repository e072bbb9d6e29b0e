/* chmod, chown and chgrp. */
#include "files.h"

#include "acl.h"
#include "mode.h"
#include "owner.h"
#include "walk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Calls fn for the file, or with -R for everything below it as well; links on the way are not followed. */
static bool change_tree(struct file_arg *arg, bool recursive,
                        bool (*fn)(struct volume *, fs_id, const struct fs_attr *, void *, struct error *),
                        void *opaque, struct error *err)
{
    if (!file_writable(arg->volume, err))
        return false;
    if (!recursive || !S_ISDIR(arg->attr.mode))
        return fn(arg->volume, arg->id, &arg->attr, opaque, err);
    struct walk *walk;
    struct walk_entry *entry;
    if (!walk_new(&walk, arg->volume, arg->shown, arg->id, WALK_ATTR, err))
        return false;
    arg->told = true;
    bool ok;
    while ((ok = walk_next(walk, &entry, err)) && entry->event != WALK_END) {
        if (entry->event == WALK_LEAVE)
            continue;
        if (entry->event == WALK_FAULT) {
            *err = entry->fault;
            ok = false;
        } else {
            ok = fn(arg->volume, entry->id, &entry->attr, opaque, err);
        }
        if (!ok) {
            because(err, "%s", entry->path);
            break;
        }
    }
    walk_free(walk);
    return ok;
}

/* ---- chmod ---- */

struct chmod {
    const char *mode, *reference;
    uint32_t bits; /* of the reference */
    bool recursive;
};

static bool set_mode(struct volume *volume, fs_id id, const struct fs_attr *attr, void *opaque,
                     struct error *err)
{
    const struct chmod *change = opaque;
    struct fs_attr set = *attr;
    uint32_t bits;
    if (S_ISLNK(attr->mode))
        return true; /* the mode of a link means nothing */
    if (change->reference)
        bits = change->bits;
    else if (!mode_apply(change->mode, attr->mode, S_ISDIR(attr->mode), 022, &bits, err))
        return false;
    set.mode = (attr->mode & S_IFMT) | bits;
    return set.mode == attr->mode ||
           (file_setattr(volume, id, &set, ATTR_MODE, err) && acl_follow_mode(volume, id, set.mode, err));
}

static bool chmod_one(struct file_arg *arg, void *opaque, struct error *err)
{
    return change_tree(arg, ((struct chmod *)opaque)->recursive, set_mode, opaque, err);
}

/* A mode such as -x or u-w,-r stands where options do: the dispatcher leaves these words to us. */
static bool looks_like_mode(const char *word)
{
    return word[0] == '-' && word[1] && strspn(word + 1, "rwxXst,ugoa=+-01234567") == strlen(word + 1);
}

static const char chmod_usage[] = "(usage: chmod [-R] MODE FILE..., or chmod [-R] --reference=FILE FILE...)";

/* Takes options and the mode out of the arguments. */
static bool sort_chmod_words(struct call *call, struct chmod *change, struct error *err)
{
    static const char reference[] = "--reference";
    size_t n = sizeof reference - 1;
    int kept = 0;
    bool options = true;
    for (int i = 0; i < call->argc; i++) {
        char *word = call->args[i];
        if (options && strncmp(word, reference, n) == 0 &&
            (word[n] == '=' || (!word[n] && i + 1 < call->argc))) {
            change->reference = word[n] ? word + n + 1 : call->args[++i];
            continue;
        }
        if (options && strcmp(word, "--") == 0)
            options = false;
        else if (options && (strcmp(word, "-R") == 0 || strcmp(word, "--recursive") == 0))
            change->recursive = true;
        else if (options && word[0] == '-' && word[1] &&
                 (change->mode || change->reference || !looks_like_mode(word)))
            return fail(err, E_USAGE, "unknown option %s %s", word, chmod_usage);
        else if (!change->mode && !change->reference)
            change->mode = word;
        else
            call->args[kept++] = word;
    }
    if (change->mode && change->reference)
        return fail(err, E_USAGE, "the mode is either given or that of a file %s", chmod_usage);
    if ((!change->mode && !change->reference) || kept == 0)
        return fail(err, E_USAGE, "missing %s %s", change->mode || change->reference ? "FILE" : "MODE",
                    chmod_usage);
    call->argc = kept;
    call->args[kept] = NULL;
    return true;
}

static bool run_chmod(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)out;
    struct chmod change = {0};
    struct fs_attr attr;
    uint32_t unused;
    if (!sort_chmod_words(call, &change, err))
        return false;
    if (change.reference) {
        if (!file_arg_attr(session, change.reference, &attr, err))
            return false;
        change.bits = attr.mode & 07777;
    } else if (!mode_apply(change.mode, 0, false, 022, &unused, err)) {
        return false;
    }
    return each_file(session, call, 0, true, chmod_one, &change, err);
}

static const struct arg chmod_args[] = {
    {"MODE", ARG_PATH, ARG_ONE, "octal (644) or symbolic (u+rwX,go-w)", NULL},
    {"FILE", ARG_PATH, ARG_MANY, "files and directories", NULL},
    {0},
};

const struct command chmod_command = {
    .name = "chmod",
    .group = "Files",
    .summary = "change permissions",
    .details = "With -R for everything below directories, too. Symbolic links within are left alone. "
               "--reference=FILE instead of MODE: the permissions of this file.",
    .examples = "chmod 600 /etc/shadow\nchmod -R u+rwX,go-w /srv\nchmod --reference=/etc/passwd /etc/group",
    .args = chmod_args,
    .needs = NEEDS_IMAGE | CHANGES | RAW_WORDS,
    .run = run_chmod,
};

/* ---- chown, chgrp ---- */

struct chown {
    struct call *call;
    struct owner_spec spec;
    const char *text;
    bool group_only, recursive;
};

static bool set_owner(struct volume *volume, fs_id id, const struct fs_attr *attr, void *opaque,
                      struct error *err)
{
    const struct chown *change = opaque;
    struct fs_attr set = *attr;
    unsigned mask = 0;
    if (change->spec.has_uid)
        mask |= ATTR_UID;
    if (change->spec.has_gid)
        mask |= ATTR_GID;
    set.uid = change->spec.uid;
    set.gid = change->spec.gid;
    /* As the kernel does: a set-id program must not change hands and stay one. */
    if (S_ISREG(attr->mode) && (attr->mode & 0111) && (attr->mode & (S_ISUID | S_ISGID)) &&
        volume->fs->limits->modes) {
        set.mode = attr->mode & ~(uint32_t)(S_ISUID | (attr->mode & 0010 ? S_ISGID : 0));
        mask |= ATTR_MODE;
    }
    return file_setattr(volume, id, &set, mask, err);
}

static bool chown_one(struct file_arg *arg, void *opaque, struct error *err)
{
    struct chown *change = opaque;
    if (!change->text) /* they are those of the reference */
        return change_tree(arg, change->recursive, set_owner, change, err);
    if (change->group_only) {
        change->spec.has_gid = true;
        if (!owner_parse_group(arg->volume, change->text, &change->spec.gid, err))
            return false;
    } else if (!owner_parse(arg->volume, change->text, &change->spec, err)) {
        return false;
    }
    return change_tree(arg, change->recursive, set_owner, change, err);
}

static bool run_chown(struct session *session, struct call *call, struct output *out, struct error *err)
{
    (void)out;
    struct chown change = {.call = call,
                           .group_only = strcmp(call->command->name, "chgrp") == 0,
                           .recursive = call_has(call, "R")};
    const char *reference = call_value(call, "reference");
    struct fs_attr attr;
    if (!reference)
        change.text = call->args[0];
    else if (file_arg_attr(session, reference, &attr, err))
        change.spec = (struct owner_spec){
            .has_uid = !change.group_only, .has_gid = true, .uid = attr.uid, .gid = attr.gid};
    else
        return false;
    return each_file(session, call, reference ? 0 : 1, !call_has(call, "h") && !change.recursive, chown_one,
                     &change, err);
}

static const struct arg chown_args[] = {
    {"OWNER", ARG_WORD, ARG_ONE, "USER, USER:GROUP or :GROUP, numbers or names of the image", NULL},
    {"FILE", ARG_PATH, ARG_MANY, "files and directories", NULL},
    {0},
};

static const struct arg chgrp_args[] = {
    {"GROUP", ARG_WORD, ARG_ONE, "a number, or a name of the image", NULL},
    {"FILE", ARG_PATH, ARG_MANY, "files and directories", NULL},
    {0},
};

static const struct flag chown_flags[] = {
    {'R', "recursive", NULL, ARG_WORD, "and everything below directories"},
    {'h', "no-dereference", NULL, ARG_WORD, "a symbolic link itself"},
    {0, "reference", "FILE", ARG_PATH, "what this file of the image has, in place of the first argument"},
    {0},
};

const struct command chown_command = {
    .name = "chown",
    .group = "Files",
    .summary = "change owners",
    .examples =
        "chown 1000:1000 /home/me\nchown -R www-data: /srv/www\nchown --reference=/home/me /home/me/new",
    .instead = "reference",
    .args = chown_args,
    .flags = chown_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_chown,
};

const struct command chgrp_command = {
    .name = "chgrp",
    .group = "Files",
    .summary = "change groups",
    .examples = "chgrp adm /var/log/*",
    .instead = "reference",
    .args = chgrp_args,
    .flags = chown_flags,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_chown,
};
