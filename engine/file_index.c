#include "file_index.h"

#include "alloc.h"
#include "bytes.h"
#include "file.h"
#include "walk.h"

#include <stdlib.h>
#include <sys/stat.h>

/* What one look at the changes of an image may cost: some 10 MB, and a moment. */
enum { MAX_FILES = 1 << 17, MAX_RUNS = 1 << 17 };

struct known_file {
    fs_id id;
    char *path;
    bool directory;
};

struct known_run {
    uint64_t off, len, file_off;
    size_t file;
};

struct file_index {
    struct volume *volume;
    struct known_file *files; /* by id */
    size_t file_count, file_capacity;
    struct known_run *runs; /* by off */
    size_t run_count, run_capacity;
};

void file_index_free(struct file_index *index)
{
    if (!index)
        return;
    for (size_t i = 0; i < index->file_count; i++)
        free(index->files[i].path);
    free(index->files);
    free(index->runs);
    free(index);
}

static bool add_file(struct file_index *index, const struct walk_entry *entry, struct error *err)
{
    if (!mem_grow(&index->files, &index->file_capacity, index->file_count + 1, sizeof *index->files, err))
        return false;
    struct known_file *file = &index->files[index->file_count];
    *file = (struct known_file){entry->id, mem_string(entry->path, err), entry->event == WALK_DIR};
    index->file_count += file->path != NULL;
    return file->path != NULL;
}

/* Where the bytes of the file met last lie. Damage ends the list early. */
static bool add_runs(struct file_index *index, fs_id id, struct error *err)
{
    struct fs_attr attr;
    struct error ignored;
    if (!file_attr(index->volume, id, &attr, &ignored))
        return true;
    for (uint64_t off = 0; off < attr.size && index->run_count < MAX_RUNS;) {
        struct extent extent;
        if (!interrupt_check(err))
            return false;
        if (!file_map(index->volume, id, off, &extent, &ignored) || extent.len == 0)
            return true;
        if (extent.device && !(extent.flags & (EXTENT_HOLE | EXTENT_INLINE))) {
            if (!mem_grow(&index->runs, &index->run_capacity, index->run_count + 1, sizeof *index->runs, err))
                return false;
            index->runs[index->run_count++] =
                (struct known_run){extent.off, extent.len, off, index->file_count - 1};
        }
        off += extent.len;
    }
    return true;
}

static bool walk_all(struct file_index *index, struct walk *walk, bool runs, struct error *err)
{
    struct walk_entry *entry;
    while (index->file_count < MAX_FILES) {
        if (!walk_next(walk, &entry, err))
            return false;
        if (entry->event == WALK_END)
            return true;
        if (entry->event != WALK_FILE && entry->event != WALK_DIR)
            continue;
        if (!add_file(index, entry, err) || (runs && !add_runs(index, entry->id, err)))
            return false;
    }
    return true;
}

static int by_id(const void *a, const void *b)
{
    const struct known_file *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int by_off(const void *a, const void *b)
{
    const struct known_run *x = a, *y = b;
    return x->off < y->off ? -1 : x->off > y->off;
}

bool file_index_new(struct file_index **out, struct volume *volume, bool runs, struct error *err)
{
    struct file_index *index = mem_new(sizeof *index, err);
    struct walk *walk = NULL;
    if (!index)
        return false;
    index->volume = volume;
    bool ok = walk_new(&walk, volume, "/", volume->fs->root, 0, err) && walk_all(index, walk, runs, err);
    walk_free(walk);
    if (!ok) {
        file_index_free(index);
        return false;
    }
    /* Runs refer to files by their place in the walk's order: with runs nobody asks by id. */
    if (runs && index->run_count > 0)
        qsort(index->runs, index->run_count, sizeof *index->runs, by_off);
    else if (!runs && index->file_count > 0)
        qsort(index->files, index->file_count, sizeof *index->files, by_id);
    *out = index;
    return true;
}

const char *file_index_path(const struct file_index *index, fs_id id)
{
    const struct known_file key = {.id = id};
    const struct known_file *file = NULL;
    if (index->file_count > 0)
        file = bsearch(&key, index->files, index->file_count, sizeof *index->files, by_id);
    return file ? file->path : NULL;
}

bool file_index_at(const struct file_index *index, uint64_t off, struct file_at *out)
{
    size_t low = 0, high = index->run_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (index->runs[middle].off <= off)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || off - index->runs[low - 1].off >= index->runs[low - 1].len)
        return false;
    const struct known_run *run = &index->runs[low - 1];
    const struct known_file *file = &index->files[run->file];
    *out = (struct file_at){file->path, file->id, file->directory, run->file_off + (off - run->off),
                            run->len - (off - run->off)};
    return true;
}
