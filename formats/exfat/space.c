/* The FAT (section 4.1) and the allocation bitmap (section 7.1). */
#include "exfat.h"

enum { TABLE_BYTES = 16 * 1024 * 1024, SCAN_BYTES = 256 * 1024 };

bool exfat_table_open(struct exfat *exfat, struct error *err)
{
    exfat->table_device = view_new(exfat->fs.device, exfat->g.fat_off, exfat->g.fat_len, err);
    if (!exfat->table_device)
        return false;
    for (exfat->table_block = 4096; exfat->g.fat_len % exfat->table_block != 0;)
        exfat->table_block /= 2;
    exfat->table = cache_new(exfat->table_device, exfat->table_block, TABLE_BYTES, NULL, NULL, err);
    return exfat->table != NULL;
}

void exfat_table_unpin(struct exfat *exfat)
{
    cache_release(exfat->table, exfat->window);
    exfat->window = NULL;
}

void exfat_table_close(struct exfat *exfat)
{
    if (exfat->table)
        exfat_table_unpin(exfat);
    cache_free(exfat->table);
    device_close(exfat->table_device);
    exfat->table = NULL;
    exfat->table_device = NULL;
}

bool exfat_fat_get(struct exfat *exfat, uint32_t n, uint32_t *value, struct error *err)
{
    uint8_t *at;
    if (!cache_view(exfat->table, &exfat->window, (uint64_t)n * 4, &at, err))
        return false;
    *value = load_le32(at);
    return true;
}

bool exfat_fat_set(struct exfat *exfat, uint32_t n, uint32_t value, struct error *err)
{
    uint8_t *at;
    if (!cache_view(exfat->table, &exfat->window, (uint64_t)n * 4, &at, err))
        return false;
    if (load_le32(at) != value) {
        store_le32(at, value);
        cache_dirty(exfat->table, exfat->window, WRITE_UPDATE);
    }
    return true;
}

bool exfat_chain_step(void *arg, uint32_t cluster, uint32_t *next, struct error *err)
{
    struct exfat *exfat = arg;
    if (!exfat_fat_get(exfat, cluster, next, err))
        return false;
    if (*next == CLUSTER_END) {
        *next = CHAIN_END;
        return true;
    }
    return exfat_valid_cluster(exfat, *next) ||
           damaged(err, exfat->fs.device, exfat->g.fat_off + (uint64_t)cluster * 4,
                   "cluster %u is followed by %u; clusters are 2 to %u", cluster, *next,
                   exfat->g.clusters + 1);
}

static bool chain_whole(struct exfat *exfat, uint32_t cluster, uint32_t left)
{
    struct error ignored;
    for (; left > 0; left--)
        if (!exfat_valid_cluster(exfat, cluster) || !exfat_fat_get(exfat, cluster, &cluster, &ignored))
            return false;
    return cluster == CLUSTER_END;
}

bool exfat_table_stream(struct exfat *exfat, uint32_t first, uint64_t size, struct exfat_stream *s)
{
    uint64_t need = div_up(size, exfat->g.cluster_size);
    *s = (struct exfat_stream){.first = first, .size = size, .valid = size};
    if (!exfat_valid_cluster(exfat, first) || need == 0 || need > exfat->g.clusters)
        return false;
    s->contiguous = !chain_whole(exfat, first, (uint32_t)need);
    return !s->contiguous || need <= exfat->g.clusters - (first - 2);
}

uint64_t exfat_bitmap_size(const struct exfat *exfat)
{
    return div_up(exfat->g.clusters, 8);
}

bool exfat_bitmap_stream(struct exfat *exfat, uint32_t first, uint64_t size, struct exfat_stream *s)
{
    return size >= exfat_bitmap_size(exfat) &&
           ((exfat_table_stream(exfat, first, size, s) && !s->contiguous) ||
            exfat_table_stream(exfat, first, exfat_bitmap_size(exfat), s));
}

bool exfat_bitmap_off(struct exfat *exfat, uint32_t cluster, uint64_t *off, struct error *err)
{
    uint64_t byte = (cluster - 2) / 8;
    uint32_t at, len;
    *off = 0;
    if (!exfat_stream_map(exfat, &exfat->bitmap, (uint32_t)(byte >> exfat->g.cluster_shift), &at, &len, err))
        return false;
    if (len == 0)
        return fail(err, E_DAMAGED, "the allocation bitmap is shorter than its length says");
    *off = exfat_cluster_off(exfat, at) + (byte & (exfat->g.cluster_size - 1));
    return true;
}

bool exfat_bitmap_mark(struct exfat *exfat, uint32_t start, uint32_t len, bool used, struct error *err)
{
    exfat->space.touched = true;
    for (uint32_t cluster = start; cluster < start + len;) {
        struct cache_block *block;
        uint64_t off;
        if (!exfat_bitmap_off(exfat, cluster, &off, err) ||
            !cache_get(exfat->meta, round_down(off, exfat->g.sector_size), &block, err))
            return false;
        uint32_t at = (uint32_t)(off & (exfat->g.sector_size - 1));
        for (; cluster < start + len && at < exfat->g.sector_size; cluster++) {
            uint8_t bit = (uint8_t)(1u << ((cluster - 2) % 8));
            block->data[at] = (uint8_t)(used ? block->data[at] | bit : block->data[at] & ~bit);
            at += (cluster - 2) % 8 == 7;
        }
        cache_dirty(exfat->meta, block, WRITE_UPDATE);
        cache_release(exfat->meta, block);
    }
    return true;
}

static bool use_bits(struct exfat *exfat, const uint8_t *buf, uint32_t first, uint32_t count, void *arg,
                     struct error *err)
{
    (void)arg;
    (void)err;
    for (uint32_t i = 0; i < count;) {
        uint32_t run = 0;
        while (i + run < count && (buf[(i + run) / 8] >> ((i + run) % 8) & 1))
            run++;
        if (run)
            space_use(&exfat->space, first + i, run);
        i += run;
        while (i < count && !(buf[i / 8] >> (i % 8) & 1))
            i += i % 8 == 0 && buf[i / 8] == 0 ? 8 : 1;
    }
    return true;
}

bool exfat_bitmap_each(struct exfat *exfat, exfat_bits_fn *visit, void *arg, struct error *err)
{
    uint64_t end = exfat_bitmap_size(exfat);
    uint8_t *buf = mem_new(SCAN_BYTES, err);
    bool ok = buf && cache_flush(exfat->meta, err);
    for (uint64_t byte = 0; ok && byte < end;) {
        uint32_t cluster, len, inside = (uint32_t)(byte & (exfat->g.cluster_size - 1));
        ok = interrupt_check(err) &&
             exfat_stream_map(exfat, &exfat->bitmap, (uint32_t)(byte >> exfat->g.cluster_shift), &cluster,
                              &len, err);
        if (ok && len == 0)
            ok = fail(err, E_DAMAGED, "the allocation bitmap is shorter than its length says");
        if (!ok)
            break;
        uint64_t n =
            MIN_OF(((uint64_t)len << exfat->g.cluster_shift) - inside, MIN_OF(SCAN_BYTES, end - byte));
        ok = device_read(exfat->fs.device, exfat_cluster_off(exfat, cluster) + inside, buf, (size_t)n, err) &&
             visit(exfat, buf, (uint32_t)(byte * 8) + 2,
                   (uint32_t)MIN_OF(n * 8, exfat->g.clusters - byte * 8), arg, err);
        byte += n;
    }
    free(buf);
    return ok;
}

/* What the volume cannot do without keeps its clusters, whatever the bitmap says. */
static void use_stream(struct exfat *exfat, const struct exfat_stream *s)
{
    struct error ignored;
    uint32_t cluster, len, max = MAX_DIR_BYTES >> exfat->g.cluster_shift;
    for (uint32_t i = 0; i <= max && exfat_stream_map(exfat, s, i, &cluster, &len, &ignored) && len > 0;
         i += len)
        space_use(&exfat->space, cluster, len);
}

bool exfat_space_load(struct exfat *exfat, struct error *err)
{
    struct exfat_stream root = {.first = exfat->g.root};
    if (exfat->space.loaded)
        return true;
    if (space_load(&exfat->space, 2, exfat->g.clusters + 2, err) &&
        exfat_bitmap_each(exfat, use_bits, NULL, err)) {
        use_stream(exfat, &exfat->bitmap);
        use_stream(exfat, &exfat->upcase_place);
        use_stream(exfat, &root);
        return space_loaded(&exfat->space, 2, err);
    }
    space_drop(&exfat->space);
    return false;
}
