/* fsck of directories and of the files they name. */
#include "check.h"
#include "upcase.h"
#include "utf.h"

#include <stdio.h>

enum { MAX_PATH_SHOWN = 4096 };

/* What is known of the directory being looked at. */
struct tree {
    struct fat_check *c;
    struct pending here;
    uint32_t *names; /* hashes of the short names seen, then of the long ones; open addressing; 0: empty */
    uint32_t name_buckets, name_count;
    bool dot, dotdot;
};

/* ---- repairs of one entry ------------------------------------------------------------------------------ */

static bool put_entry(struct tree *t, const struct fat_item *item)
{
    struct cache_block *block;
    uint8_t *raw;
    struct fat_check *c = t->c;
    if (!check_run_did(&c->run, fat_entry_get(c->fat, item->off / ENTRY_SIZE, &block, &raw, c->run.err)))
        return false;
    memcpy(raw, item->raw, ENTRY_SIZE);
    cache_dirty(c->fat->meta, block, WRITE_UPDATE);
    cache_release(c->fat->meta, block);
    return true;
}

static bool free_slots(struct tree *t, struct fat_dir *dir, uint32_t first, uint32_t last)
{
    struct fat_check *c = t->c;
    for (uint32_t slot = first; slot <= last; slot++) {
        struct cache_block *block;
        uint8_t *raw;
        if (!check_run_did(&c->run, fat_slot_get(c->fat, dir, slot, &block, &raw, c->run.err)))
            return false;
        raw[0] = SLOT_FREE;
        cache_dirty(c->fat->meta, block, WRITE_UPDATE);
        cache_release(c->fat->meta, block);
    }
    return true;
}

static bool remove_entry(struct tree *t, struct fat_dir *dir, struct fat_item *item)
{
    item->kind = ITEM_DELETED;
    return free_slots(t, dir, item->first_slot, item->slot);
}

/* ---- names --------------------------------------------------------------------------------------------- */

static bool grow_names(struct tree *t)
{
    uint32_t buckets = MAX_OF(256, t->name_buckets * 4);
    uint32_t *names = mem_array(buckets, sizeof *names, t->c->run.err);
    if (!check_run_did(&t->c->run, names != NULL))
        return false;
    for (uint32_t i = 0; i < t->name_buckets; i++)
        for (uint32_t at = t->names[i]; t->names[i]; at++)
            if (names[at % buckets] == 0) {
                names[at % buckets] = t->names[i];
                break;
            }
    free(t->names);
    t->names = names;
    t->name_buckets = buckets;
    return true;
}

/* Remember a hash; *again: it was there already (two names, or once in 2^32 two hashes, are equal). */
static bool remember(struct tree *t, uint32_t hash, bool *again)
{
    hash += hash == 0;
    *again = false;
    if (t->name_count * 2 >= t->name_buckets && !grow_names(t))
        return false;
    for (uint32_t at = hash;; at++) {
        uint32_t *bucket = &t->names[at % t->name_buckets];
        if (*bucket == hash)
            *again = true;
        if (*bucket == hash)
            return true;
        if (*bucket == 0) {
            *bucket = hash;
            t->name_count++;
            return true;
        }
    }
}

static uint32_t short_hash(const uint8_t *name)
{
    uint32_t hash = 0x9747B28Cu;
    for (unsigned i = 0; i < SHORT_NAME; i++)
        hash = (hash ^ name[i]) * 16777619u;
    return hash ^ hash >> 13;
}

/* A name that is free so far: the long name goes, the short one becomes FSCKnnnn.REN, or FSCnnnnn.REN when a
 * directory has more than 10000 such ones. */
static bool rename_entry(struct tree *t, struct fat_dir *dir, struct fat_item *item)
{
    char name[16];
    bool again = true;
    if (item->first_slot < item->slot && !free_slots(t, dir, item->first_slot, item->slot - 1))
        return false;
    while (again) {
        unsigned n = t->c->renamed++ % 110000; /* more than a directory has entries */
        snprintf(name, sizeof name, n < 10000 ? "FSCK%04uREN" : "FSC%05uREN", n < 10000 ? n : n - 10000);
        memcpy(item->raw, name, SHORT_NAME);
        if (!remember(t, short_hash(item->raw), &again))
            return false;
    }
    fat_entry_set_DIR_NTRes(item->raw, 0);
    item->first_slot = item->slot;
    item->has_long = false;
    fat_short_decode(t->c->fat, item->raw, &item->name);
    return put_entry(t, item);
}

static bool check_name(struct tree *t, struct fat_dir *dir, struct fat_item *item, const char *path)
{
    struct fat_check *c = t->c;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE), again = false, same = false;
    bool ea = memcmp(item->raw, "EA DATA  SF", SHORT_NAME) == 0 ||
              memcmp(item->raw, "WP ROOT  SF", SHORT_NAME) == 0;
    if (fat_bad_short(item->raw) && !ea) {
        check_run_found(&c->run, FINDING_DAMAGE, "bad-name", item->off, fix,
                        "%s: the short name is not allowed", path);
        return check_run_goes_on(&c->run) && (!fix || rename_entry(t, dir, item));
    }
    uint64_t flags = fat_entry_DIR_NTRes(item->raw);
    if (!item->has_long && (flags & NO_SHORT_NAME)) {
        check_run_found(&c->run, FINDING_DAMAGE, "no-name", item->off + fat_entry_off_DIR_NTRes, fix,
                        "%s: the short name is marked as none, and there is no long one", path);
        fat_entry_set_DIR_NTRes(item->raw, flags & ~(uint64_t)NO_SHORT_NAME);
        if (!check_run_goes_on(&c->run) || (fix && !put_entry(t, item)))
            return false;
    }
    if (!remember(t, short_hash(item->raw), &again) ||
        (item->has_long && !remember(t, upcase_hash(item->name.units, item->name.count), &same)))
        return false;
    if (!again && !same)
        return check_run_goes_on(&c->run);
    check_run_found(&c->run, FINDING_DAMAGE, "duplicate-name", item->off, fix,
                    "%s: the directory has this name twice", path);
    return check_run_goes_on(&c->run) && (!fix || rename_entry(t, dir, item));
}

/* The type and the first cluster of a long entry mean nothing and must be 0. */
static bool check_long(struct tree *t, struct fat_dir *dir, const struct fat_item *item, const char *path)
{
    struct fat_check *c = t->c;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    if (!item->odd_long || !item->has_long)
        return true;
    check_run_found(&c->run, FINDING_DAMAGE, "long-name-field", item->off, fix,
                    "%s: the long name's entries have a type or a first cluster", path);
    for (uint32_t slot = item->first_slot; fix && slot < item->slot; slot++) {
        struct cache_block *block;
        uint8_t *raw;
        if (!check_run_did(&c->run, fat_slot_get(c->fat, dir, slot, &block, &raw, c->run.err)))
            return false;
        fat_long_set_LDIR_Type(raw, 0);
        fat_long_set_LDIR_FstClusLO(raw, 0);
        cache_dirty(c->fat->meta, block, WRITE_UPDATE);
        cache_release(c->fat->meta, block);
    }
    return check_run_goes_on(&c->run);
}

/* ---- contents ------------------------------------------------------------------------------------------ */

/* Cut a chain that goes wrong after `walk->last`; an entry without a sound cluster loses its first one. */
static bool cut_chain(struct tree *t, struct fat_item *item, const struct fat_walk *walk)
{
    struct fat_check *c = t->c;
    if (walk->last)
        return check_run_did(&c->run, fat_set(c->fat, walk->last, CLUSTER_END, c->run.err));
    fat_entry_set_cluster(c->fat, item->raw, 0);
    return true;
}

static bool check_chain(struct tree *t, struct fat_item *item, const char *path, struct fat_walk *walk)
{
    struct fat_check *c = t->c;
    uint32_t first = fat_entry_cluster(c->fat, item->raw);
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    *walk = (struct fat_walk){.clusters = 0};
    if (first == 0)
        return true;
    if (!fat_claim(c, first, walk))
        return false;
    if (!walk->code)
        return true;
    check_run_found(&c->run, FINDING_DAMAGE, walk->code,
                    walk->last ? fat_entry_off(c->fat, walk->last) : item->off + fat_entry_off_DIR_FstClusLO,
                    fix, "%s: after %u clusters the chain comes to cluster %u, which %s", path,
                    walk->clusters, walk->at, walk->why);
    return check_run_goes_on(&c->run) && (!fix || (cut_chain(t, item, walk) && put_entry(t, item)));
}

static bool check_size(struct tree *t, struct fat_item *item, const char *path, const struct fat_walk *walk)
{
    struct fat_check *c = t->c;
    uint64_t size = fat_entry_DIR_FileSize(item->raw),
             room = (uint64_t)walk->clusters << c->fat->g.cluster_shift;
    uint32_t need = fat_clusters_for(c->fat, size), cluster = fat_entry_cluster(c->fat, item->raw), freed;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    if (size > room) {
        check_run_found(&c->run, FINDING_DAMAGE, "size-too-large", item->off + fat_entry_off_DIR_FileSize,
                        fix, "%s: the size is %llu bytes, the chain holds %llu", path,
                        (unsigned long long)size, (unsigned long long)room);
        fat_entry_set_DIR_FileSize(item->raw, room);
        return check_run_goes_on(&c->run) && (!fix || put_entry(t, item));
    }
    if (need >= walk->clusters)
        return true;
    check_run_found(&c->run, FINDING_DAMAGE, "chain-too-long", item->off + fat_entry_off_DIR_FileSize, fix,
                    "%s: the size is %llu bytes, but the chain has %u clusters instead of %u", path,
                    (unsigned long long)size, walk->clusters, need);
    if (!fix || !check_run_goes_on(&c->run))
        return check_run_goes_on(&c->run);
    if (need == 0) {
        fat_entry_set_cluster(c->fat, item->raw, 0);
        return put_entry(t, item) && fat_give_up(c, cluster, &freed);
    }
    uint32_t rest = 0;
    for (uint32_t i = 1; i < need; i++)
        if (!check_run_did(&c->run, fat_next(c->fat, cluster, &cluster, c->run.err)))
            return false;
    return check_run_did(&c->run, fat_next(c->fat, cluster, &rest, c->run.err) &&
                                      fat_set(c->fat, cluster, CLUSTER_END, c->run.err)) &&
           fat_give_up(c, rest, &freed);
}

static bool push(struct tree *t, const struct fat_item *item, const char *path)
{
    struct fat_check *c = t->c;
    if (!check_run_did(&c->run, mem_grow(&c->todo, &c->capacity, c->count + 1, sizeof *c->todo, c->run.err)))
        return false;
    char *copy = mem_string(path, c->run.err);
    if (!check_run_did(&c->run, copy != NULL))
        return false;
    c->todo[c->count++] = (struct pending){.first = fat_entry_cluster(c->fat, item->raw),
                                           .parent = t->here.first,
                                           .id = item->off / ENTRY_SIZE,
                                           .path = copy};
    return true;
}

/* Contents that are no directory's are those of a file, whose attributes went wrong. */
static bool make_file(struct tree *t, struct fat_item *item, const char *path, const struct fat_walk *walk)
{
    struct fat_check *c = t->c;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    uint64_t room = (uint64_t)walk->clusters << c->fat->g.cluster_shift;
    check_run_found(&c->run, FINDING_DAMAGE, "no-directory", item->off + fat_entry_off_DIR_Attr, fix,
                    "%s: the clusters of this directory hold no directory", path);
    fat_entry_set_DIR_Attr(item->raw, fat_entry_DIR_Attr(item->raw) & ~(uint64_t)FAT_DIRECTORY);
    fat_entry_set_DIR_FileSize(item->raw, MIN_OF(room, MAX_FILE_SIZE));
    return check_run_goes_on(&c->run) && (!fix || put_entry(t, item));
}

static bool check_subdir(struct tree *t, struct fat_dir *dir, struct fat_item *item, const char *path)
{
    struct fat_check *c = t->c;
    struct fat_walk walk;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    c->directories++;
    if (fat_entry_DIR_FileSize(item->raw) != 0) {
        check_run_found(&c->run, FINDING_DAMAGE, "directory-size", item->off + fat_entry_off_DIR_FileSize,
                        fix, "%s: a directory's entry must not have a size", path);
        fat_entry_set_DIR_FileSize(item->raw, 0);
        if (!check_run_goes_on(&c->run) || (fix && !put_entry(t, item)))
            return false;
    }
    if (!check_chain(t, item, path, &walk))
        return false;
    bool holds = true;
    if (walk.clusters > 0 && !fat_check_is_dir(c, fat_entry_cluster(c->fat, item->raw), &holds))
        return false;
    if (!holds)
        return make_file(t, item, path, &walk);
    if (walk.clusters > 0)
        return push(t, item, path);
    if (fat_entry_cluster(c->fat, item->raw) == 0 && !walk.code)
        check_run_found(&c->run, FINDING_DAMAGE, "no-cluster", item->off, fix,
                        "%s: the directory has no cluster", path);
    return check_run_goes_on(&c->run) && (!fix || remove_entry(t, dir, item));
}

static bool check_file_item(struct tree *t, struct fat_dir *dir, struct fat_item *item)
{
    struct fat_check *c = t->c;
    struct fat_walk walk;
    char path[MAX_PATH_SHOWN], name[UTF8_SIZE(MAX_NAME)];
    dosname_text(&item->name, name, sizeof name);
    snprintf(path, sizeof path, "%s/%s", t->here.path, name);
    if (!check_name(t, dir, item, path) || !check_long(t, dir, item, path))
        return false;
    if (fat_entry_DIR_Attr(item->raw) & FAT_DIRECTORY)
        return check_subdir(t, dir, item, path);
    c->files++;
    return check_chain(t, item, path, &walk) && check_size(t, item, path, &walk);
}

/* ---- entries that are no files ------------------------------------------------------------------------- */

static bool check_dot(struct tree *t, struct fat_dir *dir, struct fat_item *item)
{
    struct fat_check *c = t->c;
    bool parent = item->raw[1] == '.', fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    uint32_t expected = parent ? t->here.parent : t->here.first;
    if (t->here.id == ROOT_ID) {
        check_run_found(&c->run, FINDING_DAMAGE, "dot-entry", item->off, fix,
                        "/: the root directory has an entry '%s'", parent ? ".." : ".");
        return check_run_goes_on(&c->run) && (!fix || remove_entry(t, dir, item));
    }
    if (parent && expected == c->fat->g.root)
        expected = 0;
    if (item->slot != parent) {
        check_run_found(&c->run, FINDING_DAMAGE, "dot-entry", item->off, fix,
                        "%s: '%s' is not entry %u of the directory", t->here.path, parent ? ".." : ".",
                        parent);
        return check_run_goes_on(&c->run) && (!fix || remove_entry(t, dir, item));
    }
    *(parent ? &t->dotdot : &t->dot) = true;
    if (!(fat_entry_DIR_Attr(item->raw) & FAT_DIRECTORY) || fat_entry_DIR_FileSize(item->raw) != 0) {
        check_run_found(&c->run, FINDING_DAMAGE, "dot-entry", item->off, fix, "%s: '%s' is marked as a file",
                        t->here.path, parent ? ".." : ".");
        fat_entry_set_DIR_Attr(item->raw, FAT_DIRECTORY);
        fat_entry_set_DIR_FileSize(item->raw, 0);
        if (!check_run_goes_on(&c->run) || (fix && !put_entry(t, item)))
            return false;
    }
    if (fat_entry_cluster(c->fat, item->raw) == expected)
        return true;
    check_run_found(&c->run, FINDING_DAMAGE, "dot-entry", item->off, fix,
                    "%s: '%s' leads to cluster %u, not %u", t->here.path, parent ? ".." : ".",
                    fat_entry_cluster(c->fat, item->raw), expected);
    fat_entry_set_cluster(c->fat, item->raw, expected);
    return check_run_goes_on(&c->run) && (!fix || put_entry(t, item));
}

/* A label is a name and nothing else. */
static bool check_label_fields(struct tree *t, struct fat_item *item)
{
    struct fat_check *c = t->c;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    if (fat_entry_DIR_FileSize(item->raw) == 0 && fat_entry_cluster(c->fat, item->raw) == 0)
        return true;
    check_run_found(&c->run, FINDING_DAMAGE, "label-entry", item->off, fix,
                    "/: the volume label has a size or a cluster");
    fat_entry_set_DIR_FileSize(item->raw, 0);
    fat_entry_set_cluster(c->fat, item->raw, 0);
    return check_run_goes_on(&c->run) && (!fix || put_entry(t, item));
}

static bool check_label(struct tree *t, struct fat_dir *dir, struct fat_item *item)
{
    struct fat_check *c = t->c;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    if (!fat_label_valid(item->raw) || (fat_entry_DIR_Attr(item->raw) & FAT_DIRECTORY)) {
        check_run_found(&c->run, FINDING_DAMAGE, "label-name", item->off, fix,
                        "%s: the volume label is not allowed", t->here.path[0] ? t->here.path : "/");
        return check_run_goes_on(&c->run) && (!fix || remove_entry(t, dir, item));
    }
    if (t->here.id == ROOT_ID && !c->has_label) {
        c->has_label = true;
        memcpy(c->label, item->raw, SHORT_NAME);
        return check_label_fields(t, item);
    }
    check_run_found(&c->run, FINDING_DAMAGE, "extra-label", item->off, fix,
                    "%s: there is %s volume label here", t->here.path[0] ? t->here.path : "/",
                    t->here.id == ROOT_ID ? "a second" : "a");
    return check_run_goes_on(&c->run) && (!fix || remove_entry(t, dir, item));
}

static bool check_item(struct fat *fat, struct fat_dir *dir, const struct fat_item *found, void *arg,
                       struct error *err)
{
    struct tree *t = arg;
    struct fat_item item = *found;
    bool fix = check_run_repairs(&t->c->run, FINDING_DAMAGE);
    (void)fat;
    (void)err;
    switch (item.kind) {
    case ITEM_DELETED:
        return true;
    case ITEM_DOT:
        return check_dot(t, dir, &item);
    case ITEM_LABEL:
        return check_label(t, dir, &item);
    case ITEM_ORPHAN:
        check_run_found(&t->c->run, FINDING_DAMAGE, "orphan-long-name", item.off, fix,
                        "%s: %u long name entries belong to no file", t->here.path[0] ? t->here.path : "/",
                        item.slot - item.first_slot + 1);
        return check_run_goes_on(&t->c->run) && (!fix || free_slots(t, dir, item.first_slot, item.slot));
    case ITEM_FILE:
        return check_file_item(t, dir, &item);
    }
    return true;
}

/* ---- the tree ------------------------------------------------------------------------------------------ */

/* Windows stops at the end mark, but Linux does not: nothing may look like an entry behind it. */
static bool check_behind_end(struct tree *t, struct fat_dir *dir)
{
    struct fat_check *c = t->c;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    uint64_t first = 0, off;
    uint32_t count = 0;
    for (uint32_t slot = dir->end; slot < dir->slots; slot++) {
        struct cache_block *block;
        uint8_t *raw;
        if (!check_run_did(&c->run, fat_slot_get(c->fat, dir, slot, &block, &raw, c->run.err)))
            return false;
        if (raw[0] != SLOT_END && raw[0] != SLOT_FREE) {
            if (count++ == 0 && check_run_did(&c->run, fat_slot_off(c->fat, dir, slot, &off, c->run.err)))
                first = off;
            if (fix) {
                memset(raw, 0, ENTRY_SIZE);
                cache_dirty(c->fat->meta, block, WRITE_UPDATE);
            }
        }
        cache_release(c->fat->meta, block);
    }
    if (count)
        check_run_found(&c->run, FINDING_DAMAGE, "behind-end", first, fix,
                        "%s: %u entries stand behind the end of the directory",
                        t->here.path[0] ? t->here.path : "/", count);
    return check_run_goes_on(&c->run);
}

static bool check_dir(struct fat_check *c, struct pending here)
{
    struct tree t = {.c = c, .here = here};
    struct fat_dir *dir;
    uint64_t place = here.first ? fat_cluster_off(c->fat, here.first) : c->fat->g.root_off;
    chain_forget(c->fat->chains, here.first);
    if (!fat_dir_open_cluster(c->fat, here.first, here.id, &dir, c->run.err) ||
        !fat_dir_scan(c->fat, dir, check_item, &t, c->run.err)) {
        free(t.names);
        if (c->run.failed || c->run.err->kind != E_DAMAGED)
            return check_run_did(&c->run, false);
        check_run_found(&c->run, FINDING_DAMAGE, "directory", place, false, "%s: %s", here.path,
                        c->run.err->message);
        return check_run_goes_on(&c->run);
    }
    free(t.names);
    if (check_run_goes_on(&c->run) && !check_behind_end(&t, dir))
        return false;
    if (here.id == ROOT_ID || !check_run_goes_on(&c->run) || (t.dot && t.dotdot))
        return check_run_goes_on(&c->run);
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    check_run_found(&c->run, FINDING_DAMAGE, "dot-missing", place, fix, "%s: the entry '%s' is missing",
                    here.path, t.dot ? ".." : ".");
    return check_run_goes_on(&c->run) && (!fix || fat_check_add_dots(c, here.first, here.parent));
}

/* The chain of a FAT32 root has no entry that could be mended but the boot sector. */
static bool check_root_chain(struct fat_check *c)
{
    struct fat_walk walk;
    uint32_t first = c->fat->g.root;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    if (first == 0)
        return true;
    if (!fat_claim(c, first, &walk))
        return false;
    if (!walk.code)
        return true;
    bool is_free = walk.last == 0 && strcmp(walk.code, "free-cluster") == 0;
    check_run_found(&c->run, FINDING_DAMAGE, walk.code, fat_entry_off(c->fat, walk.last ? walk.last : first),
                    fix && (walk.last || is_free),
                    "/: after %u clusters the root's chain comes to cluster %u, which %s", walk.clusters,
                    walk.at, walk.why);
    if (fix && is_free) { /* which nothing else was given: space.c keeps it */
        walk.last = first;
        check_run_mark(&c->run, first, true);
    }
    if (fix && walk.last)
        return check_run_goes_on(&c->run) &&
               check_run_did(&c->run, fat_set(c->fat, walk.last, CLUSTER_END, c->run.err));
    return check_run_goes_on(&c->run);
}

/* The label is in the root directory and in the boot sector. */
static bool check_boot_label(struct fat_check *c)
{
    struct cache_block *block;
    uint8_t base[1] = {0};
    if (!check_run_did(&c->run, cache_get(c->fat->meta, c->fat->boot_off, &block, c->run.err)))
        return false;
    const uint8_t *boot = fat_boot_label(&c->fat->g, block->data);
    bool none = memcmp(boot, "NO NAME    ", SHORT_NAME) == 0 || memcmp(boot, "           ", SHORT_NAME) == 0;
    bool differs = c->has_label ? memcmp(boot, c->label, SHORT_NAME) != 0 : !none;
    differs = differs && fat_boot_has_label(&c->fat->g, block->data);
    cache_release(c->fat->meta, block);
    if (!differs)
        return true;
    if (!c->has_label)
        memcpy(c->label, "NO NAME    ", SHORT_NAME);
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    uint32_t off = (uint32_t)(fat_boot_label(&c->fat->g, base) - base);
    check_run_found(&c->run, FINDING_DAMAGE, "label", off, fix,
                    "the labels in boot sector and root directory differ");
    return check_run_goes_on(&c->run) &&
           (!fix || check_run_did(&c->run, fat_boot_patch(c->fat, off, c->label, SHORT_NAME, c->run.err)));
}

bool fat_check_tree(struct fat_check *c)
{
    struct pending root = {.first = c->fat->g.root, .id = ROOT_ID, .path = (char[]){""}};
    bool ok = check_root_chain(c) && check_dir(c, root);
    while (ok && c->count > 0) {
        struct pending next = c->todo[--c->count];
        ok = check_dir(c, next);
        free(next.path);
    }
    return ok && check_boot_label(c);
}
