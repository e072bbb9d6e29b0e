/*
 * The way of find through a tree. With -L a symbolic link to a directory is a directory: it gets a walk of
 * its own within the one that met it, and a link that leads back into one of them is a loop.
 */
#include "find.h"

#include "alloc.h"
#include "path.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_NESTED = 40 };

struct follower {
    struct find *find;
    const struct file_arg *start;
    unsigned flags;
    struct walk *walks[MAX_NESTED];
    unsigned depths[MAX_NESTED]; /* of each walk's start */
    unsigned nested;
};

char *find_absolute_path(const struct find_file *file, struct error *err)
{
    const char *below = file->entry->path + strlen(file->start->typed);
    return mem_printf(err, "%s/%s", file->start->path, below);
}

/* *id is set to what the link leads to; false: nowhere, it stands for itself. */
static bool follow(const struct find_file *file, fs_id *id, struct fs_attr *attr, struct error *err)
{
    struct volume *volume = file->start->volume;
    char *path = find_absolute_path(file, err);
    bool ok = path && path_lookup(volume, path, true, id, err) && file_attr(volume, *id, attr, err);
    free(path);
    return ok;
}

bool find_target_attr(const struct find_file *file, struct fs_attr *attr, struct error *err)
{
    fs_id id;
    if (follow(file, &id, attr, err))
        return true;
    *attr = file->entry->attr;
    return err->kind != E_NOMEM && err->kind != E_INTERRUPTED;
}

/* A directory behind a link is walked as well; *done when the link itself is not to be judged any more. */
static bool enter_link(struct follower *follower, const struct find_file *file, bool *done, struct error *err)
{
    *done = false;
    for (unsigned i = 0; i < follower->nested; i++)
        if (walk_is_inside(follower->walks[i], file->id) || follower->nested == MAX_NESTED) {
            *done = true;
            fail(err, E_LOOP, "symbolic links make a loop here");
            call_complain(follower->find->call, file->entry->path, err);
            return true;
        }
    struct walk **walk = &follower->walks[follower->nested];
    if (!walk_new(walk, file->start->volume, file->entry->path, file->id, follower->flags, err))
        return false;
    follower->depths[follower->nested++] = file->depth;
    *done = true;
    return true;
}

static bool judge(struct follower *follower, const struct walk_entry *entry, struct error *err)
{
    struct find *find = follower->find;
    struct find_file file = {.start = follower->start,
                             .entry = entry,
                             .id = entry->id,
                             .attr = entry->attr,
                             .depth = entry->depth + follower->depths[follower->nested - 1]};
    struct error missing;
    bool done = false;
    if (!(follower->flags & WALK_ATTR))
        file.attr.mode = entry->type;
    file.link = S_ISLNK(entry->type) || (entry->depth == 0 && follower->nested > 1);
    if (find->follow == 'L' && S_ISLNK(entry->type) && follow(&file, &file.id, &file.attr, &missing)) {
        if (S_ISDIR(file.attr.mode) && !enter_link(follower, &file, &done, err))
            return false;
        if (done)
            return true;
    }
    return find_visit(find, follower->walks[follower->nested - 1], &file, err);
}

static bool walk_all(struct follower *follower, struct error *err)
{
    struct find *find = follower->find;
    struct walk_entry *entry;
    while (!find->quit && !output_closed(find->out)) {
        if (!walk_next(follower->walks[follower->nested - 1], &entry, err))
            return false;
        if (entry->event == WALK_END) {
            if (follower->nested == 1)
                return true;
            walk_free(follower->walks[--follower->nested]);
        } else if (entry->event == WALK_FAULT) {
            call_complain(find->call, entry->path, &entry->fault);
        } else if (!judge(follower, entry, err)) {
            return false;
        }
    }
    return true;
}

bool find_walk(struct find *find, const struct file_arg *start, unsigned walk_flags, struct error *err)
{
    struct follower follower = {.find = find, .start = start, .flags = walk_flags};
    if (!walk_new(&follower.walks[0], start->volume, start->typed, start->id, walk_flags, err))
        return false;
    follower.nested = 1;
    bool ok = walk_all(&follower, err);
    while (follower.nested)
        walk_free(follower.walks[--follower.nested]);
    return ok;
}
