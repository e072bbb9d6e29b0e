#include "rm_ask.h"

#include "alloc.h"
#include "walk.h"

#include <stdlib.h>
#include <sys/stat.h>

struct asking {
    struct call *call;
    struct volume *volume;
    struct walk *walk;
    fs_id dir;        /* of the start */
    const char *name; /* in it */
    void (*told)(void *arg, const char *path, bool directory);
    void *arg;
    bool *kept; /* by depth: something in this directory stays, and so does the directory */
    size_t kept_capacity;
};

static bool ask(struct asking *asking, const char *what, const char *type, const char *path, bool *yes,
                struct error *err)
{
    return call_confirm(asking->call, yes, err, "rm: %s %s '%s'? ", what, type, path);
}

static bool nothing_in_it(const struct fs_entry *entry, void *arg)
{
    (void)entry;
    *(bool *)arg = false;
    return false;
}

/* Before what is in a directory. One that is empty is only asked about when it goes. */
static bool enter(struct asking *asking, const struct walk_entry *entry, struct error *err)
{
    bool yes = true, empty = true;
    if (!mem_grow(&asking->kept, &asking->kept_capacity, entry->depth + 1, sizeof *asking->kept, err) ||
        !file_readdir(asking->volume, entry->id, nothing_in_it, &empty, err))
        return false;
    asking->kept[entry->depth] = false;
    if (!empty && !ask(asking, "descend into", "directory", entry->path, &yes, err))
        return false;
    if (!yes) {
        walk_skip(asking->walk);
        for (unsigned i = 0; i < entry->depth; i++)
            asking->kept[i] = true;
    }
    return true;
}

static bool remove_one(struct asking *asking, const struct walk_entry *entry, struct error *err)
{
    bool yes, leaving = entry->event == WALK_LEAVE;
    if (leaving && asking->kept[entry->depth])
        return true;
    const char *type = entry->event == WALK_FAULT                      ? "damaged file"
                       : S_ISREG(entry->type) && entry->attr.size == 0 ? "regular empty file"
                                                                       : file_type_name(entry->type);
    if (!ask(asking, "remove", type, entry->path, &yes, err))
        return false;
    for (unsigned i = 0; !yes && i < entry->depth; i++)
        asking->kept[i] = true;
    if (!yes)
        return true;
    fs_id holder = entry->depth ? entry->dir : asking->dir;
    if (!file_remove(asking->volume, holder, entry->depth ? entry->name : asking->name, err))
        return because(err, "%s", entry->path);
    if (entry->depth)
        walk_removed(asking->walk);
    if (asking->told)
        asking->told(asking->arg, entry->path, leaving);
    return true;
}

bool rm_ask(struct call *call, const struct file_arg *file, fs_id dir, const char *name, bool recursive,
            void (*told)(void *arg, const char *path, bool directory), void *arg, struct error *err)
{
    struct asking asking = {
        .call = call, .volume = file->volume, .dir = dir, .name = name, .told = told, .arg = arg};
    struct walk_entry *entry;
    if (!walk_new(&asking.walk, file->volume, file->typed, file->id, WALK_ATTR | WALK_SORTED, err))
        return false;
    bool ok;
    while ((ok = walk_next(asking.walk, &entry, err)) && entry->event != WALK_END) {
        bool directory = entry->event == WALK_DIR;
        if (directory && !recursive)
            walk_skip(asking.walk);
        ok = directory && recursive ? enter(&asking, entry, err) : remove_one(&asking, entry, err);
        if (!ok)
            break;
    }
    walk_free(asking.walk);
    free(asking.kept);
    return ok;
}
