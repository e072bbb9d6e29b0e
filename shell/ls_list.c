/*
 * The entries of one listing. Invariant: all of them are in `entries` (a short list), or all are records (a
 * long one): a directory of a million names must fit in little memory. Attributes of a long list are read
 * twice, the first time in the order of the inodes, for the widths of the columns and what the order needs.
 */
#include "ls.h"

#include "acl.h"
#include "alloc.h"
#include "bytes.h"
#include "path.h"
#include "sort.h"
#include "version_order.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    SHORT_LIST = 8192,   /* entries of a list that is kept in full */
    BLOCK_WORDS = 32768, /* of 8 bytes: a block of records */
};

enum record_flag {
    HAS_ATTR = 1,
    FAULTY = 2,
    HAS_ACL = 4,
    TARGET_MISSING = 8,
    MORE_LINKS = 16,
    TARGET_DIRECTORY = 32
};

/* With -S and -t the word before it is the value that they order by. */
struct record {
    fs_id id;
    uint16_t mode; /* S_IF* and what is known of the permissions */
    uint8_t flags;
    char name[];
};

/* ---- what is known of an entry ------------------------------------------------------------------------- */

static bool is_acl(const char *name, void *arg)
{
    struct ls_entry *entry = arg;
    entry->acl |= strcmp(name, ACL_ACCESS) == 0 || strcmp(name, ACL_DEFAULT) == 0;
    return !entry->acl;
}

static bool find_acl(struct volume *volume, struct ls_entry *entry, struct error *err)
{
    return !volume->fs->limits->xattrs || entry->attr.no_xattrs ||
           file_xattr_list(volume, entry->id, is_acl, entry, err);
}

static bool take_attr(struct volume *volume, struct ls_entry *entry, struct error *err)
{
    entry->has_attr = file_attr(volume, entry->id, &entry->attr, err);
    if (entry->has_attr)
        entry->type = entry->attr.mode & S_IFMT;
    return entry->has_attr;
}

static bool shows_details(const struct ls *ls)
{
    return ls->layout == LONG || ls->report;
}

/* What needs no path, which is nearly all. False: ls_complete() does it, and complains. */
static bool complete_fast(struct ls *ls, struct volume *volume, struct ls_entry *entry)
{
    struct error again;
    return ls->needs_attr && take_attr(volume, entry, &again) && entry->type != S_IFLNK &&
           (!shows_details(ls) || find_acl(volume, entry, &again));
}

void ls_complete(struct ls *ls, struct volume *volume, struct ls_entry *entry, const char *path)
{
    struct error err;
    bool type_matters = ls->classify || ls->groups_first || ls->recursive || output_colored(ls->out);
    bool wants = ls->needs_attr || (!entry->type && type_matters);
    bool executable = entry->type == S_IFREG && (ls->classify == 'F' || output_colored(ls->out));
    if (!entry->has_attr && (wants || executable) && !take_attr(volume, entry, &err)) {
        entry->faulty = true;
        call_complain(ls->call, path, &err);
        return;
    }
    if (entry->has_attr && entry->type != S_IFLNK && shows_details(ls) && !find_acl(volume, entry, &err)) {
        call_complain(ls->call, path, &err);
        return;
    }
    if (entry->type == S_IFLNK && shows_details(ls) && !entry->target)
        if (!file_readlink(volume, entry->id, &entry->target, &err))
            call_complain(ls->call, path, &err);
    fs_id id;
    struct fs_attr target;
    if (entry->type == S_IFLNK && (output_colored(ls->out) || ls->groups_first)) {
        entry->target_missing = !path_lookup(volume, path, true, &id, &err);
        entry->target_directory =
            !entry->target_missing && file_attr(volume, id, &target, &err) && S_ISDIR(target.mode);
    }
}

/* The value that -S or -t orders by; times keep their order down to the nanosecond for 500 years. */
static uint64_t value_of(const struct ls *ls, const struct ls_entry *entry)
{
    if (ls->sort == SORT_SIZE)
        return entry->attr.size;
    if (ls->sort != SORT_TIME)
        return 0;
    const int64_t reach = INT64_C(1) << 33;
    struct fs_time time = ls_time(ls, &entry->attr);
    if (time.sec < -reach)
        return 0;
    return time.sec >= reach ? UINT64_MAX : (uint64_t)(time.sec + reach) << 30 | time.nsec;
}

/* ---- records ------------------------------------------------------------------------------------------- */

static struct record *record_at(const struct ls_list *list, uint32_t at)
{
    return (struct record *)(list->blocks[at / BLOCK_WORDS] + at % BLOCK_WORDS);
}

static bool orders_by_value(const struct ls *ls)
{
    return ls->sort == SORT_SIZE || ls->sort == SORT_TIME;
}

static void update_record(const struct ls *ls, struct record *record, const struct ls_entry *entry)
{
    if (orders_by_value(ls))
        ((uint64_t *)record)[-1] = value_of(ls, entry);
    record->id = entry->id;
    record->mode = (uint16_t)(entry->type | (entry->attr.mode & 07777));
    record->flags = (uint8_t)((entry->has_attr ? HAS_ATTR : 0) | (entry->faulty ? FAULTY : 0) |
                              (entry->acl ? HAS_ACL : 0) | (entry->target_missing ? TARGET_MISSING : 0) |
                              (entry->target_directory ? TARGET_DIRECTORY : 0) |
                              (entry->has_attr && entry->attr.nlink > 1 ? MORE_LINKS : 0));
}

static bool add_record(struct ls_list *list, const struct ls_entry *entry, uint32_t *at, struct error *err)
{
    size_t len = strlen(entry->name) + 1, before = orders_by_value(list->ls);
    size_t words = before + div_up(offsetof(struct record, name) + len, 8);
    if (list->block_count == 0 || list->block_used + words > BLOCK_WORDS) {
        if (list->block_count == UINT32_MAX / BLOCK_WORDS || words > BLOCK_WORDS)
            return fail(err, E_TOOBIG, "too many names to put them into an order");
        if (!mem_grow(&list->blocks, &list->block_capacity, list->block_count + 1, sizeof *list->blocks,
                      err) ||
            !(list->blocks[list->block_count] = mem_bytes(BLOCK_WORDS * sizeof(uint64_t), err)))
            return false;
        list->block_count++;
        list->block_used = 0;
    }
    *at = (uint32_t)((list->block_count - 1) * BLOCK_WORDS + list->block_used + before);
    list->block_used += words;
    struct record *record = record_at(list, *at);
    update_record(list->ls, record, entry);
    memcpy(record->name, entry->name, len);
    return true;
}

static void free_entries(struct ls_list *list)
{
    for (size_t i = 0; list->entries && i < list->count; i++) {
        free(list->entries[i].name);
        free(list->entries[i].target);
    }
    free(list->entries);
    list->entries = NULL;
    list->entry_capacity = 0;
}

void ls_list_free(struct ls_list *list)
{
    free_entries(list);
    for (size_t i = 0; i < list->block_count; i++)
        free(list->blocks[i]);
    free(list->blocks);
    free(list->items);
    free(list->current.target);
    *list = (struct ls_list){.ls = list->ls};
}

/* The entries become records. */
static bool lengthen(struct ls_list *list, struct error *err)
{
    for (size_t i = 0; i < list->count; i++)
        if (!add_record(list, &list->entries[i], &list->items[i].at, err))
            return false;
    free_entries(list);
    list->is_long = true;
    return true;
}

bool ls_list_add(struct ls_list *list, const struct ls_entry *entry, struct error *err)
{
    if (list->path && !list->is_long && list->count == SHORT_LIST && !lengthen(list, err))
        return false;
    if (!mem_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items, err))
        return false;
    struct ls_item *item = &list->items[list->count];
    if (list->is_long) {
        if (!add_record(list, entry, &item->at, err))
            return false;
    } else {
        if (!mem_grow(&list->entries, &list->entry_capacity, list->count + 1, sizeof *list->entries, err))
            return false;
        struct ls_entry *copy = &list->entries[list->count];
        *copy = *entry;
        copy->name = mem_string(entry->name, err);
        if (!copy->name)
            return false;
        item->at = (uint32_t)list->count;
    }
    list->count++;
    return true;
}

/* As much as the record says. */
static struct ls_entry *unpack(struct ls_list *list, uint32_t at)
{
    struct ls_entry *entry = &list->current;
    struct record *record = record_at(list, at);
    free(entry->target);
    *entry = (struct ls_entry){.name = record->name,
                               .id = record->id,
                               .type = record->mode & S_IFMT,
                               .attr.mode = record->mode,
                               .attr.nlink = record->flags & MORE_LINKS ? 2 : 1,
                               .target_missing = record->flags & TARGET_MISSING,
                               .target_directory = record->flags & TARGET_DIRECTORY,
                               .faulty = record->flags & FAULTY,
                               .acl = record->flags & HAS_ACL};
    return entry;
}

const struct ls_entry *ls_list_entry(struct ls_list *list, size_t i)
{
    uint32_t at = list->items[i].at;
    if (!list->is_long)
        return &list->entries[at];
    struct ls_entry *entry = unpack(list, at);
    struct error told; /* when it was read for the first time */
    if (list->ls->needs_attr && (record_at(list, at)->flags & HAS_ATTR))
        (void)!take_attr(list->volume, entry, &told);
    if (entry->type == S_IFLNK && shows_details(list->ls))
        (void)!file_readlink(list->volume, entry->id, &entry->target, &told);
    return entry;
}

/* What the order and the recursion need to know. */
static struct ls_face face_at(const struct ls_list *list, uint32_t at)
{
    if (list->is_long) {
        const struct record *record = record_at(list, at);
        return (struct ls_face){.name = record->name,
                                .id = record->id,
                                .type = record->mode & S_IFMT,
                                .directory =
                                    (record->mode & S_IFMT) == S_IFDIR || record->flags & TARGET_DIRECTORY,
                                .value = orders_by_value(list->ls) ? ((const uint64_t *)record)[-1] : 0,
                                .faulty = record->flags & FAULTY};
    }
    const struct ls_entry *entry = &list->entries[at];
    return (struct ls_face){.name = entry->name,
                            .id = entry->id,
                            .type = entry->type,
                            .directory = entry->type == S_IFDIR || entry->target_directory,
                            .value = value_of(list->ls, entry),
                            .faulty = entry->faulty};
}

struct ls_face ls_list_face(const struct ls_list *list, size_t i)
{
    return face_at(list, list->items[i].at);
}

/* ---- order --------------------------------------------------------------------------------------------- */

static const char *extension(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && dot != name ? dot : "";
}

/* Of entries that their keys do not tell apart. */
static int compare_faces(const struct ls *ls, const struct ls_face *x, const struct ls_face *y)
{
    int order = 0;
    if (orders_by_value(ls))
        order = x->value < y->value ? 1 : x->value > y->value ? -1 : 0;
    else if (ls->sort == SORT_EXTENSION)
        order = strcmp(extension(x->name), extension(y->name));
    else if (ls->sort == SORT_VERSION)
        order = version_compare(x->name, y->name);
    return order ? order : strcmp(x->name, y->name);
}

static int compare_items(const void *a, const void *b, void *arg)
{
    const struct ls_list *list = arg;
    const struct ls_item *x = a, *y = b;
    int order = x->key < y->key ? -1 : x->key > y->key;
    if (order == 0) {
        struct ls_face one = face_at(list, x->at), other = face_at(list, y->at);
        if (list->ls->groups_first && one.directory != other.directory)
            return one.directory ? -1 : 1;
        order = compare_faces(list->ls, &one, &other);
    }
    return list->ls->reverse ? -order : order;
}

static int compare_keys(const void *a, const void *b, void *arg)
{
    const struct ls_item *x = a, *y = b;
    (void)arg;
    return x->key < y->key ? -1 : x->key > y->key;
}

/* How many bytes all names begin with. */
static size_t common_prefix(const struct ls_list *list)
{
    const char *first = face_at(list, list->items[0].at).name;
    size_t common = strlen(first);
    for (size_t i = 1; i < list->count && common > 0; i++) {
        const char *name = face_at(list, list->items[i].at).name;
        size_t same = 0;
        while (same < common && name[same] == first[same])
            same++;
        common = same;
    }
    return common;
}

static uint32_t key_of_name(const char *name)
{
    uint32_t key = 0;
    for (int i = 0; i < 4; i++) {
        key = key << 8 | (uint8_t)*name;
        name += *name != 0;
    }
    return key;
}

/* The highest bits that are in use; by_id: of the id, not of the value. */
static void set_number_keys(struct ls_list *list, bool by_id)
{
    uint64_t all = 0;
    unsigned shift = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct ls_face face = face_at(list, list->items[i].at);
        all |= by_id ? face.id : face.value;
    }
    while (all >> shift > UINT32_MAX)
        shift++;
    for (size_t i = 0; i < list->count; i++) {
        struct ls_face face = face_at(list, list->items[i].at);
        list->items[i].key = (uint32_t)(by_id ? face.id >> shift : ~(face.value >> shift));
    }
}

static void set_keys(struct ls_list *list)
{
    const struct ls *ls = list->ls;
    size_t common = ls->sort == SORT_NAME ? common_prefix(list) : 0;
    if (!ls->groups_first && orders_by_value(ls)) {
        set_number_keys(list, false);
        return;
    }
    bool by_name = !ls->groups_first && ls->sort == SORT_NAME;
    for (size_t i = 0; i < list->count; i++)
        list->items[i].key = by_name ? key_of_name(face_at(list, list->items[i].at).name + common) : 0;
}

static int compare_places(const void *a, const void *b, void *arg)
{
    const struct ls_item *x = a, *y = b;
    const bool *reverse = arg;
    int order = x->at < y->at ? -1 : x->at > y->at;
    return *reverse ? -order : order;
}

void ls_list_sort(struct ls_list *list)
{
    if (list->count == 0)
        return;
    if (list->ls->sort == SORT_NONE) {
        sort_items(list->items, list->count, sizeof *list->items, compare_places, &list->ls->reverse);
        return;
    }
    set_keys(list);
    sort_items(list->items, list->count, sizeof *list->items, compare_items, list);
}

/* ---- all entries --------------------------------------------------------------------------------------- */

static bool complete_one(struct ls_list *list, struct ls_entry *entry, struct error *err)
{
    struct ls *ls = list->ls;
    bool wanted = entry->type == S_IFLNK || entry->type == 0 || ls->needs_attr || ls->classify ||
                  output_colored(ls->out);
    if (entry->faulty || !wanted || complete_fast(ls, list->volume, entry))
        return true;
    bool root = strcmp(list->path, "/") == 0;
    char *path = mem_printf(err, "%s/%s", root ? "" : list->path, entry->name);
    if (path)
        ls_complete(ls, list->volume, entry, path);
    free(path);
    return path != NULL;
}

bool ls_list_complete(struct ls_list *list, struct error *err)
{
    const struct ls *ls = list->ls;
    bool names_alone = !ls->needs_attr && !ls->classify && !ls->inodes && !ls->groups_first &&
                       !output_colored(ls->out) && !ls->recursive;
    if (names_alone)
        return true;
    if (list->is_long && (ls->needs_attr || ls->classify == 'F' || output_colored(ls->out))) {
        set_number_keys(list, true);
        sort_items(list->items, list->count, sizeof *list->items, compare_keys, NULL);
    }
    for (size_t i = 0; i < list->count; i++) {
        uint32_t at = list->items[i].at;
        struct ls_entry *entry = list->is_long ? unpack(list, at) : &list->entries[at];
        if (((i & 255) == 0 && !interrupt_check(err)) || !complete_one(list, entry, err))
            return false;
        ls_measure(list, entry);
        if (list->is_long)
            update_record(ls, record_at(list, at), entry);
    }
    return true;
}
