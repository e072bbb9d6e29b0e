/* Contents of files. FAT has no holes: a gap is written as zeros. Neighbouring clusters go in one request. */
#include "fat.h"

bool fat_map(struct fs *fs, fs_id id, uint64_t off, struct extent *extent, struct error *err)
{
    struct fat *fat = fat_of(fs);
    struct chain *chain;
    uint8_t entry[ENTRY_SIZE];
    uint32_t cluster, len;
    if (!fat_entry_load(fat, id, entry, err))
        return false;
    bool directory = fat_entry_DIR_Attr(entry) & FAT_DIRECTORY;
    uint32_t first = fat_entry_cluster(fat, entry);
    *extent = (struct extent){.device = fs->device};
    if (directory && first == 0) {
        extent->off = fat->g.root_off + off;
        extent->len = fat->g.root_len - off;
        return true;
    }
    if (first == 0)
        return fail(err, E_INVALID, "the file is empty");
    if (!fat_chain_open(fat, first, &chain, err) ||
        !fat_chain_map(fat, chain, (uint32_t)(off >> fat->g.cluster_shift), &cluster, &len, err))
        return false;
    if (len == 0)
        return damaged(err, fs->device, id * ENTRY_SIZE + fat_entry_off_DIR_FileSize,
                       "the file has %llu bytes, but its chain ends after %u clusters of %u bytes",
                       (unsigned long long)fat_entry_DIR_FileSize(entry), chain->walked, fat->g.cluster_size);
    uint64_t inside = off & (fat->g.cluster_size - 1);
    extent->off = fat_cluster_off(fat, cluster) + inside;
    extent->len = ((uint64_t)len << fat->g.cluster_shift) - inside;
    uint64_t size = directory ? UINT64_MAX : fat_entry_DIR_FileSize(entry);
    if (off < size)
        extent->len = MIN_OF(extent->len, size - off);
    return true;
}

bool fat_read(struct fs *fs, fs_id id, uint64_t off, void *buf, size_t n, struct error *err)
{
    uint8_t *out = buf;
    while (n > 0) {
        struct extent extent;
        if (!fat_map(fs, id, off, &extent, err))
            return false;
        size_t step = (size_t)MIN_OF(extent.len, n);
        if (!device_read(extent.device, extent.off, out, step, err))
            return false;
        out += step;
        off += step;
        n -= step;
    }
    return true;
}

/* Write, or with buf NULL zero, bytes that have their clusters already. */
static bool store(struct fat *fat, uint32_t first, uint64_t off, const uint8_t *buf, uint64_t n,
                  struct error *err)
{
    struct chain *chain;
    if (n == 0)
        return true;
    if (!fat_chain_open(fat, first, &chain, err))
        return false;
    while (n > 0) {
        uint32_t cluster, len, inside = (uint32_t)(off & (fat->g.cluster_size - 1));
        if (!interrupt_check(err) ||
            !fat_chain_map(fat, chain, (uint32_t)(off >> fat->g.cluster_shift), &cluster, &len, err))
            return false;
        if (len == 0)
            return fail(err, E_DAMAGED, "the file's chain is shorter than its size");
        uint64_t step = MIN_OF(((uint64_t)len << fat->g.cluster_shift) - inside, n);
        uint32_t count = fat_clusters_for(fat, inside + step);
        enum write_class class = space_write_piece(&fat->space, cluster, &count);
        step = MIN_OF(step, ((uint64_t)count << fat->g.cluster_shift) - inside);
        uint64_t at = fat_cluster_off(fat, cluster) + inside;
        if (buf ? !device_write(fat->fs.device, at, buf, (size_t)step, class, err)
                : !device_zero(fat->fs.device, at, step, class, err))
            return false;
        buf = buf ? buf + step : NULL;
        off += step;
        n -= step;
    }
    return true;
}

static bool check_file(const uint8_t *entry, uint64_t off, uint64_t n, struct error *err)
{
    if (fat_entry_DIR_Attr(entry) & FAT_DIRECTORY)
        return fail(err, E_ISDIR, "is a directory");
    if (off > MAX_FILE_SIZE || n > MAX_FILE_SIZE - off)
        return fail(err, E_TOOBIG, "a file on FAT has at most 4294967295 bytes (4 GiB less one)");
    return true;
}

/* Give the file clusters for `size` bytes and zero what lies between its old end and `off`. */
static bool lengthen(struct fat *fat, fs_id id, uint8_t *entry, uint64_t off, uint64_t size,
                     struct error *err)
{
    uint64_t old = fat_entry_DIR_FileSize(entry);
    uint32_t first = fat_entry_cluster(fat, entry), likely = fat->hint_id == id ? fat->hint_clusters : 0;
    if (size <= old)
        return true;
    if (!fat_chain_grow(fat, &first, fat_clusters_for(fat, size), likely, err))
        return false;
    fat_entry_set_cluster(fat, entry, first);
    fat_entry_set_DIR_FileSize(entry, size);
    return (off <= old || store(fat, first, old, NULL, off - old, err)) &&
           fat_entry_store(fat, id, entry, err);
}

bool fat_write(struct fs *fs, fs_id id, uint64_t off, const void *buf, size_t n, struct error *err)
{
    struct fat *fat = fat_of(fs);
    uint8_t entry[ENTRY_SIZE];
    if (!fat_entry_load(fat, id, entry, err) || !check_file(entry, off, n, err))
        return false;
    if (n == 0)
        return true;
    return lengthen(fat, id, entry, off, off + n, err) &&
           store(fat, fat_entry_cluster(fat, entry), off, buf, n, err);
}

bool fat_extend(struct fs *fs, fs_id id, uint64_t off, uint64_t n, struct extent *out,
                enum write_class *class, struct error *err)
{
    struct fat *fat = fat_of(fs);
    struct chain *chain;
    uint8_t entry[ENTRY_SIZE];
    uint32_t want = (uint32_t)(n >> fat->g.cluster_shift), start, len;
    if (!fat_entry_load(fat, id, entry, err) || !check_file(entry, off, n, err))
        return false;
    if (want == 0 || off != fat_entry_DIR_FileSize(entry) || off & (fat->g.cluster_size - 1))
        return true;
    uint32_t have = (uint32_t)(off >> fat->g.cluster_shift);
    if (!fat_chain_to_grow(fat, fat_entry_cluster(fat, entry), have + want, &chain, err))
        return false;
    if ((chain ? chain->walked : 0) != have)
        return true; /* somebody left clusters behind the end */
    if (!fat_chain_add(fat, &chain, want, fat->hint_id == id ? fat->hint_clusters : 0, &start, &len, err))
        return false;
    *out = (struct extent){.off = fat_cluster_off(fat, start), .len = (uint64_t)len << fat->g.cluster_shift};
    *class = space_write_class(&fat->space, start, len);
    fat_entry_set_cluster(fat, entry, chain->first);
    fat_entry_set_DIR_FileSize(entry, off + out->len);
    return fat_entry_store(fat, id, entry, err);
}

bool fat_truncate(struct fs *fs, fs_id id, uint64_t size, struct error *err)
{
    struct fat *fat = fat_of(fs);
    uint8_t entry[ENTRY_SIZE];
    if (!fat_entry_load(fat, id, entry, err) || !check_file(entry, 0, size, err))
        return false;
    if (size >= fat_entry_DIR_FileSize(entry))
        return lengthen(fat, id, entry, size, size, err);
    uint32_t first = fat_entry_cluster(fat, entry);
    if (!fat_chain_cut(fat, &first, fat_clusters_for(fat, size), err))
        return false;
    fat_entry_set_cluster(fat, entry, first);
    fat_entry_set_DIR_FileSize(entry, size);
    return fat_entry_store(fat, id, entry, err);
}

bool fat_allocate(struct fs *fs, fs_id id, uint64_t off, uint64_t len, unsigned mode, struct error *err)
{
    struct fat *fat = fat_of(fs);
    uint8_t entry[ENTRY_SIZE];
    if (!fat_entry_load(fat, id, entry, err) || !check_file(entry, off, len, err))
        return false;
    if ((mode & FS_ALLOCATE_KEEP_SIZE) && off + len > fat_entry_DIR_FileSize(entry))
        return fail(err, E_UNSUPPORTED, "FAT cannot keep clusters past the end of a file");
    return lengthen(fat, id, entry, off + len, off + len, err);
}
