/*
 * A filesystem in memory for the tests of what stands above the drivers: names, links, attributes and small
 * contents. Nothing is checked that the engine promises to check, and a tree can be made wrong on purpose.
 */
#ifndef DISH_TEST_MEMFS_H
#define DISH_TEST_MEMFS_H

#include "file.h"
#include "names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct mem_entry {
    char name[256];
    fs_id id; /* 0: unused */
};

struct mem_node {
    struct fs_attr attr;
    char *target;
    uint8_t *data;
    struct mem_entry *entries;
    size_t entry_count;
};

enum { MEM_NODES = 4096 };

struct memfs {
    struct fs fs;
    struct mem_node nodes[MEM_NODES];
    fs_id next;
    unsigned lookups, readdirs; /* calls that reached the driver */
};

static inline struct mem_node *mem_node(struct fs *fs, fs_id id)
{
    return &((struct memfs *)fs)->nodes[id];
}

static inline void mem_insert(struct fs *fs, fs_id dir, const char *name, fs_id id)
{
    struct mem_node *node = mem_node(fs, dir);
    node->entries = realloc(node->entries, (node->entry_count + 1) * sizeof *node->entries);
    struct mem_entry *entry = &node->entries[node->entry_count++];
    snprintf(entry->name, sizeof entry->name, "%s", name);
    entry->id = id;
}

static inline struct mem_entry *mem_find(struct fs *fs, fs_id dir, const char *name)
{
    struct mem_node *node = mem_node(fs, dir);
    for (size_t i = 0; i < node->entry_count; i++)
        if (node->entries[i].id && strcmp(node->entries[i].name, name) == 0)
            return &node->entries[i];
    return NULL;
}

static inline bool mem_lookup(struct fs *fs, fs_id dir, const char *name, fs_id *out, struct error *err)
{
    ((struct memfs *)fs)->lookups++;
    struct mem_entry *entry = mem_find(fs, dir, name);
    if (!entry)
        return fail(err, E_NOENT, "absent");
    *out = entry->id;
    return true;
}

static inline bool mem_getattr(struct fs *fs, fs_id id, struct fs_attr *attr, struct error *err)
{
    (void)err;
    *attr = mem_node(fs, id)->attr;
    return true;
}

static inline bool mem_readdir(struct fs *fs, fs_id dir, fs_entry_fn *emit, void *arg, struct error *err)
{
    (void)err;
    ((struct memfs *)fs)->readdirs++;
    struct mem_node *node = mem_node(fs, dir);
    for (size_t i = 0; i < node->entry_count; i++) {
        struct fs_entry entry = {.name = node->entries[i].name, .id = node->entries[i].id};
        if (entry.id && !emit(&entry, arg))
            return true;
    }
    return true;
}

static inline bool mem_parent(struct fs *fs, fs_id dir, fs_id *out, struct error *err)
{
    for (fs_id id = 1; id < ((struct memfs *)fs)->next; id++)
        for (size_t i = 0; i < mem_node(fs, id)->entry_count; i++)
            if (mem_node(fs, id)->entries[i].id == dir) {
                *out = id;
                return true;
            }
    return fail(err, E_DAMAGED, "no parent");
}

static inline bool mem_readlink(struct fs *fs, fs_id id, char *buf, size_t size, struct error *err)
{
    const char *target = mem_node(fs, id)->target;
    if (strlen(target) >= size)
        return fail(err, E_TOOBIG, "long");
    strcpy(buf, target);
    return true;
}

static inline bool mem_read(struct fs *fs, fs_id id, uint64_t off, void *buf, size_t n, struct error *err)
{
    (void)err;
    memcpy(buf, mem_node(fs, id)->data + off, n);
    return true;
}

static inline bool mem_create(struct fs *fs, fs_id dir, const char *name, const struct fs_attr *attr,
                              const char *target, fs_id *out, struct error *err)
{
    struct memfs *mem = (struct memfs *)fs;
    if (mem->next == MEM_NODES)
        return fail(err, E_NOSPACE, "full");
    *out = mem->next++;
    struct mem_node *node = mem_node(fs, *out);
    node->attr = *attr;
    node->attr.id = *out;
    node->attr.size = 0;
    node->attr.nlink = 1;
    node->target = target ? strdup(target) : NULL;
    mem_insert(fs, dir, name, *out);
    return true;
}

static inline bool mem_link(struct fs *fs, fs_id id, fs_id dir, const char *name, struct error *err)
{
    (void)err;
    mem_node(fs, id)->attr.nlink++;
    mem_insert(fs, dir, name, id);
    return true;
}

static inline bool mem_remove(struct fs *fs, fs_id dir, const char *name, struct error *err)
{
    struct mem_entry *entry = mem_find(fs, dir, name);
    struct mem_node *node = mem_node(fs, entry->id);
    for (size_t i = 0; i < node->entry_count; i++)
        if (node->entries[i].id)
            return fail(err, E_NOTEMPTY, "directory not empty");
    node->attr.nlink--;
    entry->id = 0;
    return true;
}

static inline bool mem_rename(struct fs *fs, fs_id from, const char *name, fs_id to, const char *new_name,
                              fs_id *out, struct error *err)
{
    (void)err;
    struct mem_entry *entry = mem_find(fs, from, name);
    *out = entry->id;
    entry->id = 0;
    mem_insert(fs, to, new_name, *out);
    return true;
}

static inline bool mem_setattr(struct fs *fs, fs_id id, const struct fs_attr *attr, unsigned mask,
                               struct error *err)
{
    (void)err;
    struct fs_attr *mine = &mem_node(fs, id)->attr;
    if (mask & ATTR_MODE)
        mine->mode = (mine->mode & S_IFMT) | (attr->mode & 07777);
    if (mask & ATTR_UID)
        mine->uid = attr->uid;
    if (mask & ATTR_GID)
        mine->gid = attr->gid;
    if (mask & ATTR_MTIME)
        mine->mtime = attr->mtime;
    if (mask & ATTR_CTIME)
        mine->ctime = attr->ctime;
    return true;
}

static inline bool mem_truncate(struct fs *fs, fs_id id, uint64_t size, struct error *err)
{
    (void)err;
    struct mem_node *node = mem_node(fs, id);
    node->data = realloc(node->data, size + 1);
    if (size > node->attr.size)
        memset(node->data + node->attr.size, 0, size - node->attr.size);
    node->attr.size = size;
    return true;
}

static inline bool mem_write(struct fs *fs, fs_id id, uint64_t off, const void *buf, size_t n,
                             struct error *err)
{
    if (off + n > mem_node(fs, id)->attr.size && !mem_truncate(fs, id, off + n, err))
        return false;
    memcpy(mem_node(fs, id)->data + off, buf, n);
    return true;
}

static inline void mem_close(struct fs *fs)
{
    for (fs_id id = 0; id < MEM_NODES; id++) {
        free(mem_node(fs, id)->entries);
        free(mem_node(fs, id)->target);
        free(mem_node(fs, id)->data);
    }
    free(fs);
}

static const struct fs_driver memfs_driver = {
    .head = {.name = "memfs", .type = DRIVER_FILESYSTEM},
    .lookup = mem_lookup,
    .getattr = mem_getattr,
    .readdir = mem_readdir,
    .parent = mem_parent,
    .readlink = mem_readlink,
    .read = mem_read,
    .create = mem_create,
    .link = mem_link,
    .remove = mem_remove,
    .rename = mem_rename,
    .setattr = mem_setattr,
    .truncate = mem_truncate,
    .write = mem_write,
    .close = mem_close,
};

static const struct fs_limits memfs_limits = {
    .max_file_size = 1 << 20,
    .max_name = 255,
    .owners = true,
    .modes = true,
    .hard_links = true,
    .symlinks = true,
    .devices = true,
    .fifos = true,
    .time_ns = 1,
    .time_max = INT64_MAX,
};

/* One volume with an empty memfs and the session around it. */
struct mem_world {
    struct session session;
    struct image image;
    struct device *device;
    struct volume volume;
    struct memfs *mem;
};

static inline void world_open(struct mem_world *world)
{
    struct error err;
    memset(world, 0, sizeof *world);
    world->device = memory_device_new(4096, &err);
    world->image.session = &world->session;
    world->mem = calloc(1, sizeof *world->mem);
    world->mem->next = 2;
    world->mem->nodes[1].attr = (struct fs_attr){.id = 1, .mode = S_IFDIR | 0755, .nlink = 2};
    world->mem->fs = (struct fs){.driver = &memfs_driver,
                                 .device = world->device,
                                 .type = "memfs",
                                 .root = 1,
                                 .limits = &memfs_limits};
    world->volume =
        (struct volume){.image = &world->image, .number = 1, .device = world->device, .fs = &world->mem->fs};
}

static inline void world_close(struct mem_world *world)
{
    names_free(&world->volume);
    mem_close(&world->mem->fs);
    device_close(world->device);
}

/* Makes a file of the type in mode at an absolute path whose directory exists; returns its id. */
static inline fs_id world_make(struct mem_world *world, fs_id dir, const char *name, uint32_t mode,
                               const char *target)
{
    struct error err;
    struct fs_attr attr = {.mode = mode};
    fs_id id = 0;
    if (!file_create(&world->volume, dir, name, &attr, target, &id, &err))
        abort();
    return id;
}

#endif
