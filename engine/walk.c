/*
 * Invariants: stack[depth-1] is the directory whose entries are being returned; path holds its name followed
 * by the name of the current entry; every directory on the stack is in `seen`, and nothing ever leaves
 * `seen`. Unsorted directories are read in chunks, so a directory of any size needs bounded memory: reading
 * on means reading again and passing over what was had. Each chunk of a directory is twice the one before, up
 * to a bound, so that all these scans together stay in proportion to the directory.
 */
#include "walk.h"

#include "alloc.h"
#include "bytes.h"
#include "id_set.h"
#include "sort.h"

#include <stdlib.h>
#include <sys/stat.h>

/* MANY: attributes of so many are read in the order of the ids, each block of the inode tables then once. */
enum { FIRST_CHUNK = 32768, LAST_CHUNK = 524288, MANY = 8192 };

struct item {
    fs_id id;
    uint32_t name; /* offset into names */
    uint16_t type; /* S_IF* */
    bool fault;    /* why follows the name */
};

struct frame {
    struct walk_entry self; /* as WALK_LEAVE returns it */
    size_t path_len;
    struct item *items;
    size_t count, capacity, at;
    char *names;
    size_t names_len, names_capacity;
    uint64_t passed; /* entries of earlier chunks that are still there */
    size_t chunk;    /* entries of this one at most */
    bool more;       /* the chunk ended before the directory did */
};

struct walk {
    struct volume *volume;
    unsigned flags;
    struct frame *stack;
    size_t depth, stack_capacity;
    char *path;
    size_t path_capacity;
    struct id_set seen;
    struct walk_entry entry;
    fs_entry_fn *wanted; /* NULL: all */
    void *wanted_arg;
    bool started, enter; /* enter: the directory just returned comes next */
};

/* ---- reading a directory ------------------------------------------------------------------------------- */

struct filling {
    const struct walk *walk;
    struct frame *frame;
    uint64_t pass;
    bool sorted, ok;
    struct error *err;
};

static bool keep_text(struct frame *frame, const char *text, struct error *err)
{
    size_t len = strlen(text) + 1;
    if (frame->names_len > UINT32_MAX - len)
        return fail(err, E_TOOBIG, "the directory holds more than 4 GiB of names");
    if (!mem_grow(&frame->names, &frame->names_capacity, frame->names_len + len, 1, err))
        return false;
    memcpy(frame->names + frame->names_len, text, len);
    frame->names_len += len;
    return true;
}

static bool fill_entry(const struct fs_entry *entry, void *arg)
{
    struct filling *filling = arg;
    struct frame *frame = filling->frame;
    if (filling->walk->wanted && !filling->walk->wanted(entry, filling->walk->wanted_arg))
        return true;
    if (filling->pass > 0) {
        filling->pass--;
        return true;
    }
    if (!filling->sorted && frame->count == frame->chunk) {
        frame->more = true;
        return false;
    }
    struct item item = {.id = entry->id,
                        .name = (uint32_t)frame->names_len,
                        .type = (uint16_t)(entry->type & S_IFMT),
                        .fault = entry->fault != NULL};
    filling->ok = mem_grow(&frame->items, &frame->capacity, frame->count + 1, sizeof item, filling->err) &&
                  keep_text(frame, entry->name, filling->err) &&
                  (!entry->fault || keep_text(frame, entry->fault, filling->err));
    if (filling->ok)
        frame->items[frame->count++] = item;
    return filling->ok && ((frame->count & 1023) != 0 || (filling->ok = interrupt_check(filling->err)));
}

static int compare_names(const void *a, const void *b, void *arg)
{
    const char *names = arg;
    return strcmp(names + ((const struct item *)a)->name, names + ((const struct item *)b)->name);
}

static int compare_ids(const void *a, const void *b, void *arg)
{
    const struct item *x = a, *y = b;
    (void)arg;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool fill(struct walk *walk, struct frame *frame, struct error *err)
{
    frame->count = frame->at = frame->names_len = 0;
    frame->more = false;
    struct filling filling = {.walk = walk,
                              .frame = frame,
                              .pass = frame->passed,
                              .sorted = walk->flags & WALK_SORTED,
                              .ok = true,
                              .err = err};
    bool ok = file_readdir(walk->volume, frame->self.id, fill_entry, &filling, err) && filling.ok;
    if (walk->flags & WALK_SORTED)
        sort_items(frame->items, frame->count, sizeof *frame->items, compare_names, frame->names);
    else if ((walk->flags & WALK_ATTR) && frame->count >= MANY)
        sort_items(frame->items, frame->count, sizeof *frame->items, compare_ids, NULL);
    return ok;
}

/* ---- the walk ------------------------------------------------------------------------------------------ */

bool walk_new(struct walk **out, struct volume *volume, const char *path, fs_id id, unsigned flags,
              struct error *err)
{
    struct walk *walk = mem_new(sizeof *walk, err);
    if (!walk)
        return false;
    walk->volume = volume;
    walk->flags = flags;
    walk->entry.id = id;
    if (!mem_grow(&walk->path, &walk->path_capacity, strlen(path) + 1, 1, err)) {
        walk_free(walk);
        return false;
    }
    strcpy(walk->path, path);
    *out = walk;
    return true;
}

void walk_free(struct walk *walk)
{
    if (!walk)
        return;
    for (size_t i = 0; i < walk->stack_capacity; i++) {
        free(walk->stack[i].items);
        free(walk->stack[i].names);
    }
    free(walk->stack);
    free(walk->path);
    id_set_free(&walk->seen);
    free(walk);
}

/* Errors that end the walk; all others belong to one entry. */
static bool is_fatal(enum error_kind kind)
{
    return kind == E_NOMEM || kind == E_INTERRUPTED;
}

static bool entry_fault(struct walk *walk, struct walk_entry **out, struct error *err)
{
    if (is_fatal(err->kind))
        return false;
    walk->entry.event = WALK_FAULT;
    walk->entry.fault = *err;
    *out = &walk->entry;
    return true;
}

/* The entry's id and place are known: find out what it is. */
static bool visit(struct walk *walk, struct walk_entry **out, struct error *err)
{
    struct walk_entry *entry = &walk->entry;
    if ((walk->flags & WALK_ATTR) || !entry->type) {
        if (!file_attr(walk->volume, entry->id, &entry->attr, err))
            return entry_fault(walk, out, err);
        entry->type = entry->attr.mode & S_IFMT;
    }
    entry->event = entry->type == S_IFDIR ? WALK_DIR : WALK_FILE;
    if (entry->event == WALK_DIR) {
        bool fresh;
        if (!id_set_add(&walk->seen, entry->id, &fresh, err))
            return false;
        if (!fresh) {
            fail(err, E_DAMAGED, "this directory is part of the tree in another place already (a loop)");
            return entry_fault(walk, out, err);
        }
        walk->enter = true;
    }
    *out = entry;
    return true;
}

static bool enter(struct walk *walk, struct error *err)
{
    if (!mem_grow(&walk->stack, &walk->stack_capacity, walk->depth + 1, sizeof *walk->stack, err))
        return false;
    struct frame *frame = &walk->stack[walk->depth++];
    frame->self = walk->entry;
    frame->self.event = WALK_LEAVE;
    frame->path_len = strlen(walk->path);
    frame->passed = 0;
    frame->chunk = walk->flags & WALK_ATTR ? LAST_CHUNK : FIRST_CHUNK; /* the table is gone over for each */
    return fill(walk, frame, err);
}

/* The frame's next item becomes the current entry. */
static bool next_item(struct walk *walk, struct frame *frame, struct walk_entry **out, struct error *err)
{
    const struct item *item = &frame->items[frame->at++];
    const char *name = frame->names + item->name;
    size_t at = frame->path_len, len = strlen(name);
    if (!mem_grow(&walk->path, &walk->path_capacity, at + len + 2, 1, err))
        return false;
    if (at == 0 || walk->path[at - 1] != '/')
        walk->path[at++] = '/';
    memcpy(walk->path + at, name, len + 1);
    walk->entry = (struct walk_entry){
        .path = walk->path,
        .name = walk->path + at,
        .depth = (unsigned)walk->depth,
        .dir = frame->self.id,
        .id = item->id,
        .type = item->type,
    };
    if (item->fault) {
        fail(err, E_DAMAGED, "%s", name + len + 1);
        return entry_fault(walk, out, err);
    }
    return visit(walk, out, err);
}

static bool leave(struct walk *walk, struct frame *frame, struct walk_entry **out)
{
    walk->path[frame->path_len] = 0;
    walk->entry = frame->self;
    walk->entry.path = walk->path;
    const char *slash = strrchr(walk->path, '/');
    walk->entry.name = slash && slash[1] ? slash + 1 : walk->path;
    walk->depth--;
    *out = &walk->entry;
    return true;
}

static bool start(struct walk *walk, struct walk_entry **out, struct error *err)
{
    walk->started = true;
    const char *slash = strrchr(walk->path, '/');
    walk->entry.path = walk->path;
    walk->entry.name = slash && slash[1] ? slash + 1 : walk->path;
    return visit(walk, out, err);
}

bool walk_next(struct walk *walk, struct walk_entry **out, struct error *err)
{
    if (!interrupt_check(err))
        return false;
    if (!walk->started)
        return start(walk, out, err);
    if (walk->enter) {
        walk->enter = false;
        if (!enter(walk, err))
            return entry_fault(walk, out, err);
    }
    while (walk->depth > 0) {
        struct frame *frame = &walk->stack[walk->depth - 1];
        if (frame->at < frame->count)
            return next_item(walk, frame, out, err);
        if (!frame->more)
            return leave(walk, frame, out);
        frame->passed += frame->count;
        frame->chunk = MIN_OF(2 * frame->chunk, (size_t)LAST_CHUNK);
        walk->path[frame->path_len] = 0;
        if (!fill(walk, frame, err))
            return entry_fault(walk, out, err);
    }
    walk->entry.event = WALK_END;
    *out = &walk->entry;
    return true;
}

void walk_skip(struct walk *walk)
{
    walk->enter = false;
}

void walk_removed(struct walk *walk)
{
    /* One entry less in front of the place where the next chunk begins. The subtraction may pass zero: the
     * sum with the chunk's count, made when it is used, does not. */
    if (walk->depth > 0)
        walk->stack[walk->depth - 1].passed--;
}

void walk_filter(struct walk *walk, fs_entry_fn *wanted, void *arg)
{
    walk->wanted = wanted;
    walk->wanted_arg = arg;
}

bool walk_is_last(const struct walk *walk)
{
    const struct frame *top = walk->depth ? &walk->stack[walk->depth - 1] : NULL;
    return !top || top->at == top->count;
}

bool walk_is_inside(const struct walk *walk, fs_id dir)
{
    for (size_t i = 0; i < walk->depth; i++)
        if (walk->stack[i].self.id == dir)
            return true;
    return walk->enter && walk->entry.id == dir;
}

bool tree_remove(struct volume *volume, fs_id dir, const char *name, const char *path,
                 void (*removed)(void *arg, const char *path, bool directory), void *arg, struct error *err)
{
    fs_id id;
    struct walk *walk;
    struct walk_entry *entry;
    if (!file_lookup(volume, dir, name, &id, err) || !walk_new(&walk, volume, path, id, 0, err))
        return false;
    bool ok;
    while ((ok = walk_next(walk, &entry, err)) && entry->event != WALK_END) {
        if (entry->event == WALK_DIR) {
            if (removed || file_remove_files(volume, entry->id, entry->path, err))
                continue;
            ok = false;
            break;
        }
        /* A faulty entry is removed as well: that is how to get rid of it. */
        fs_id holder = entry->depth ? entry->dir : dir;
        ok = file_remove(volume, holder, entry->depth ? entry->name : name, err);
        if (!ok) {
            because(err, "%s", entry->path);
            break;
        }
        if (entry->depth)
            walk_removed(walk);
        if (removed)
            removed(arg, entry->path, entry->event == WALK_LEAVE);
    }
    walk_free(walk);
    return ok;
}
