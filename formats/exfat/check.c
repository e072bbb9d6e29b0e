/*
 * fsck: boot regions, FAT head, bitmap and up-case table, all directories and files, the bitmap against what
 * was reached. Repairs keep as much as can be kept: chains are cut where they go wrong, sets that cannot be
 * used are deleted, bits of clusters that nobody owns are cleared.
 */
#include "check.h"

/* ---- clusters ------------------------------------------------------------------------------------------ */

static const char *claim_one(struct exfat_check *c, uint32_t cluster, const char **why)
{
    if (!exfat_valid_cluster(c->exfat, cluster)) {
        *why = "does not exist";
        return "cluster-range";
    }
    if (check_run_is_seen(&c->run, cluster)) {
        *why = "belongs to something else already, or the chain runs in a circle";
        return "cross-link";
    }
    check_run_mark(&c->run, cluster, true);
    return NULL;
}

bool exfat_claim(struct exfat_check *c, const struct exfat_stream *s, struct exfat_walk *walk)
{
    uint32_t total = s->contiguous ? exfat_clusters_for(c->exfat, s->size) : UINT32_MAX, cluster = s->first;
    *walk = (struct exfat_walk){.clusters = 0};
    while (s->first && walk->clusters < total && cluster != CLUSTER_END) {
        walk->at = cluster;
        if (cluster == CLUSTER_BAD) {
            walk->code = "bad-cluster";
            walk->why = "marks a bad one";
            return true;
        }
        walk->code = claim_one(c, cluster, &walk->why);
        if (walk->code)
            return true;
        walk->clusters++;
        walk->last = cluster++;
        if (!check_run_did(&c->run, walk->clusters % 65536 != 0 || interrupt_check(c->run.err)) ||
            (!s->contiguous &&
             !check_run_did(&c->run, exfat_fat_get(c->exfat, walk->last, &cluster, c->run.err))))
            return false;
    }
    return true;
}

bool exfat_unclaim(struct exfat_check *c, const struct exfat_stream *s, uint32_t keep)
{
    uint32_t cluster = s->first, total = s->contiguous ? exfat_clusters_for(c->exfat, s->size) : UINT32_MAX;
    for (uint32_t i = 0;
         i < total && exfat_valid_cluster(c->exfat, cluster) && check_run_is_seen(&c->run, cluster); i++) {
        uint32_t next = cluster + 1;
        if (!s->contiguous && !check_run_did(&c->run, exfat_fat_get(c->exfat, cluster, &next, c->run.err)))
            return false;
        if (i >= keep)
            check_run_mark(&c->run, cluster, false);
        cluster = next;
    }
    return true;
}

/* ---- boot regions -------------------------------------------------------------------------------------- */

static bool read_region(struct exfat_check *c, uint32_t first, uint8_t *region)
{
    uint32_t ss = c->exfat->g.sector_size;
    return check_run_did(&c->run, device_read(c->exfat->fs.device, (uint64_t)first * ss, region,
                                              (size_t)ss * BOOT_SECTORS, c->run.err));
}

/* The backup repeats the main region but for flags and percentage. */
static bool backup_right(const uint8_t *region, const uint8_t *backup, uint32_t ss)
{
    return memcmp(region, backup, 106) == 0 && memcmp(region + 108, backup + 108, 4) == 0 &&
           memcmp(region + 113, backup + 113, (size_t)ss * (BOOT_SECTORS - 1) - 113) == 0 &&
           exfat_boot_sealed(backup, ss);
}

/* Judge the region in use, then the other one by it; region ends up with what both should be. */
static bool judge_regions(struct exfat_check *c, uint8_t *region, uint8_t *other, bool *patch)
{
    uint32_t ss = c->exfat->g.sector_size;
    size_t size = (size_t)ss * BOOT_SECTORS;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    if (!exfat_boot_sealed(region, ss)) {
        check_run_found(&c->run, FINDING_DAMAGE, "boot-checksum", c->exfat->boot_off + 11 * (uint64_t)ss, fix,
                        "the checksum of the boot region is wrong");
        *patch = true;
        for (uint32_t i = 0, sum = exfat_boot_checksum(region, ss); i < ss; i += 4)
            store_le32(region + size - ss + i, sum);
    }
    if (!backup_right(region, other, ss)) {
        check_run_found(&c->run, FINDING_DAMAGE, c->exfat->boot_off ? "boot" : "backup-boot",
                        c->exfat->boot_off ? 0 : size, fix,
                        c->exfat->boot_off ? "the boot region is damaged, its backup is not"
                                           : "the backup boot region differs from the main one");
        *patch = true;
    }
    return check_run_goes_on(&c->run);
}

static bool check_regions(struct exfat_check *c)
{
    uint32_t ss = c->exfat->g.sector_size;
    size_t size = (size_t)ss * BOOT_SECTORS;
    uint8_t *region = mem_new(2 * size, c->run.err);
    bool backup = c->exfat->boot_off != 0, patch = false;
    bool ok = check_run_did(&c->run, region != NULL) && read_region(c, backup ? BOOT_SECTORS : 0, region) &&
              read_region(c, backup ? 0 : BOOT_SECTORS, region + size) &&
              judge_regions(c, region, region + size, &patch);
    if (ok && patch && check_run_repairs(&c->run, FINDING_DAMAGE)) {
        memcpy(region + size, region, size);
        for (uint32_t i = 0; i < 2 * BOOT_SECTORS; i++)
            cache_forget(c->exfat->meta, (uint64_t)i * ss);
        ok = check_run_did(&c->run,
                           device_write(c->exfat->fs.device, 0, region, 2 * size, WRITE_UPDATE, c->run.err));
        c->exfat->boot_off = 0;
        c->exfat->boot_sealed = true;
        exfat_set_change(c->exfat);
    }
    free(region);
    return ok;
}

static bool check_flags(struct exfat_check *c)
{
    struct cache_block *block;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    if (!(c->exfat->g.flags & VOLUME_DIRTY))
        return true;
    check_run_found(&c->run, FINDING_DAMAGE, "dirty", exfat_boot_off_VolumeFlags, fix,
                    "the volume was not unmounted cleanly");
    if (!fix)
        return check_run_goes_on(&c->run);
    if (!check_run_did(&c->run, cache_get(c->exfat->meta, c->exfat->boot_off, &block, c->run.err)))
        return false;
    c->exfat->g.flags &= ~(unsigned)VOLUME_DIRTY;
    exfat_boot_set_VolumeFlags(block->data, c->exfat->g.flags);
    cache_dirty(c->exfat->meta, block, WRITE_UPDATE);
    cache_release(c->exfat->meta, block);
    return check_run_goes_on(&c->run);
}

static bool check_fat_head(struct exfat_check *c)
{
    static const uint32_t expected[2] = {0xFFFFFFF8, 0xFFFFFFFF};
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    for (uint32_t n = 0; n < 2; n++) {
        uint32_t value;
        if (!check_run_did(&c->run, exfat_fat_get(c->exfat, n, &value, c->run.err)))
            return false;
        if (value == expected[n])
            continue;
        check_run_found(&c->run, FINDING_DAMAGE, "fat-head", c->exfat->g.fat_off + 4 * n, fix,
                        "FAT entry %u is 0x%08x, not 0x%08x", n, value, expected[n]);
        if (fix && !check_run_did(&c->run, exfat_fat_set(c->exfat, n, expected[n], c->run.err)))
            return false;
    }
    return check_run_goes_on(&c->run);
}

/* ---- the bitmap ---------------------------------------------------------------------------------------- */

/* A run of bits that say one thing while the tree says the other. */
static bool wrong_run(struct exfat_check *c, uint32_t start, uint32_t len, bool used)
{
    enum finding_kind kind = used ? FINDING_DAMAGE : FINDING_LEAK;
    bool fix = check_run_repairs(&c->run, kind);
    uint64_t off = 0;
    if (!check_run_did(&c->run, exfat_bitmap_off(c->exfat, start, &off, c->run.err)))
        return false;
    if (used) {
        check_run_found(&c->run, kind, "used-but-free", off, fix,
                        "%u cluster%s from %u on are in use, but free in the bitmap", len,
                        len == 1 ? "" : "s", start);
    } else {
        c->lost += len;
        if (fix && exfat_saves_lost(c))
            return exfat_remember_lost(c, start, len);
        exfat_report_lost(c, start, len, fix, NULL);
    }
    if (!fix)
        return check_run_goes_on(&c->run);
    return check_run_did(&c->run, exfat_bitmap_mark(c->exfat, start, len, used, c->run.err) &&
                                      (used || ranges_add(&c->exfat->space.freed, start, len, c->run.err))) &&
           check_run_goes_on(&c->run);
}

static bool compare_bits(struct exfat *exfat, const uint8_t *buf, uint32_t first, uint32_t count, void *arg,
                         struct error *err)
{
    struct exfat_check *c = arg;
    uint32_t start = 0, len = 0;
    bool used = false;
    (void)exfat;
    (void)err;
    for (uint32_t i = 0; i <= count; i++) {
        bool seen = i < count && check_run_is_seen(&c->run, first + i),
             set = i < count && (buf[i / 8] >> (i % 8) & 1);
        c->used += seen;
        if (len > 0 && (seen == set || seen != used)) {
            if (!wrong_run(c, start, len, used))
                return false;
            len = 0;
        }
        if (seen == set)
            continue;
        if (len++ == 0)
            start = first + i;
        used = seen;
    }
    return true;
}

static bool check_bitmap(struct exfat_check *c)
{
    if (exfat_bitmap_each(c->exfat, compare_bits, c, c->run.err))
        return check_run_goes_on(&c->run) && exfat_save_lost(c);
    return c->run.stop && !c->run.failed ? false : check_run_did(&c->run, false);
}

/* Bitmap or up-case table: where the chain is damaged they lie in one row, as everybody makes them. */
static bool mend_table(struct exfat_check *c, const struct exfat_item *item, const struct exfat_stream *s)
{
    uint32_t count = exfat_clusters_for(c->exfat, s->size);
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    check_run_found(&c->run, FINDING_DAMAGE, "table-chain", item->off, fix,
                    "the chain of the %s of %llu bytes is damaged",
                    item->raw[0] == TYPE_BITMAP ? "allocation bitmap" : "up-case table",
                    (unsigned long long)s->size);
    for (uint32_t i = 0; fix && i < count; i++)
        if (!check_run_did(&c->run,
                           exfat_fat_set(c->exfat, s->first + i,
                                         i + 1 < count ? s->first + i + 1 : CLUSTER_END, c->run.err)))
            return false;
    return check_run_goes_on(&c->run);
}

/* A bitmap with a length that its chain does not have is read as far as it is needed. */
static bool mend_bitmap_size(struct exfat_check *c, struct exfat_dir *dir, const struct exfat_item *item,
                             uint64_t size)
{
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    uint8_t raw[ENTRY_SIZE];
    memcpy(raw, item->raw, sizeof raw);
    if (exfat_bitmap_DataLength(raw) == size)
        return true;
    check_run_found(&c->run, FINDING_DAMAGE, "bitmap-size", item->off + exfat_bitmap_off_DataLength, fix,
                    "the allocation bitmap's length is %llu bytes, its clusters hold %llu that are needed",
                    (unsigned long long)exfat_bitmap_DataLength(raw), (unsigned long long)size);
    exfat_bitmap_set_DataLength(raw, size);
    return check_run_goes_on(&c->run) &&
           (!fix || check_run_did(&c->run, exfat_slots_write(c->exfat, dir, item->slot, 1, raw, c->run.err)));
}

static bool extra_table(struct exfat_check *c, struct exfat_dir *dir, const struct exfat_item *item)
{
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    uint8_t raw[ENTRY_SIZE];
    check_run_found(&c->run, FINDING_DAMAGE, "extra-table", item->off, fix, "/: there is another %s",
                    item->raw[0] == TYPE_BITMAP ? "allocation bitmap" : "up-case table");
    memcpy(raw, item->raw, sizeof raw);
    raw[0] &= (uint8_t)~TYPE_IN_USE;
    return check_run_goes_on(&c->run) &&
           (!fix || check_run_did(&c->run, exfat_slots_write(c->exfat, dir, item->slot, 1, raw, c->run.err)));
}

/* They were sound enough for the volume to be opened; here they claim their clusters. */
static bool claim_table(struct exfat *exfat, struct exfat_dir *dir, const struct exfat_item *item, void *arg,
                        struct error *err)
{
    struct exfat_check *c = arg;
    struct exfat_walk walk;
    (void)err;
    if (item->kind != ITEM_OTHER || (item->raw[0] != TYPE_BITMAP && item->raw[0] != TYPE_UPCASE))
        return true;
    uint32_t first = load_le32(item->raw + 20);
    uint64_t size = load_le64(item->raw + 24);
    struct exfat_stream s;
    bool bitmap = item->raw[0] == TYPE_BITMAP, *seen = bitmap ? &c->has_bitmap : &c->has_upcase;
    if (*seen || (bitmap && (first != exfat->bitmap.first || size < exfat_bitmap_size(exfat))))
        return extra_table(c, dir, item);
    *seen = true;
    bool sound =
        bitmap ? exfat_bitmap_stream(exfat, first, size, &s) : exfat_table_stream(exfat, first, size, &s);
    if (item->raw[0] == TYPE_UPCASE && exfat->upcase_fault[0]) {
        c->upcase_off = item->off;
        c->upcase = sound && !s.contiguous ? s : (struct exfat_stream){.first = 0};
        return true;
    }
    if (!sound)
        return true; /* the volume would not have been opened */
    if ((bitmap && !mend_bitmap_size(c, dir, item, s.size)) || (s.contiguous && !mend_table(c, item, &s)) ||
        !exfat_claim(c, &s, &walk))
        return false;
    if (walk.code)
        check_run_found(&c->run, FINDING_DAMAGE, walk.code, item->off, false, "the %s: cluster %u %s",
                        bitmap ? "allocation bitmap" : "up-case table", walk.at, walk.why);
    return check_run_goes_on(&c->run);
}

static bool claim_tables(struct exfat_check *c)
{
    struct exfat_dir *root;
    return check_run_did(&c->run, exfat_dir_open(c->exfat, ROOT_ID, &root, c->run.err) &&
                                      exfat_dir_scan(c->exfat, root, claim_table, c, c->run.err)) &&
           check_run_goes_on(&c->run);
}

/* ---- the up-case table --------------------------------------------------------------------------------- */

/* An up-case table that cannot be used keeps its clusters if no file has one of them. */
static bool claim_bad_upcase(struct exfat_check *c)
{
    uint32_t cluster = c->upcase.first;
    struct exfat_walk walk;
    while (exfat_valid_cluster(c->exfat, cluster)) {
        if (check_run_is_seen(&c->run, cluster))
            c->upcase.first = 0;
        if (!check_run_did(&c->run, exfat_fat_get(c->exfat, cluster, &cluster, c->run.err)))
            return false;
    }
    return exfat_claim(c, &c->upcase, &walk);
}

static bool check_upcase(struct exfat_check *c)
{
    struct exfat *exfat = c->exfat;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    char fault[sizeof exfat->upcase_fault];
    if (!exfat->upcase_fault[0])
        return true;
    memcpy(fault, exfat->upcase_fault, sizeof fault);
    exfat_dirs_drop(exfat);
    chains_drop(exfat->chains);
    space_drop(&exfat->space);
    if (fix && !exfat_upcase_restore(exfat, &c->upcase, c->run.err)) {
        fix = false;
        if (!check_run_did(&c->run, c->run.err->kind == E_NOSPACE))
            return false;
    }
    check_run_found(&c->run, FINDING_DAMAGE, "upcase-table",
                    c->upcase_off ? c->upcase_off : exfat_cluster_off(exfat, exfat->g.root), fix, "%s%s",
                    fault, fix ? ": the recommended one is written" : "");
    exfat_set_change(exfat);
    return check_run_goes_on(&c->run);
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static void summarize(const struct exfat_check *c)
{
    struct report *report = c->run.check->summary;
    if (!report)
        return;
    report_number(report, "files", c->files);
    report_number(report, "directories", c->directories);
    report_number(report, "clusters", c->exfat->g.clusters);
    report_number(report, "used-clusters", c->used);
    report_number(report, "lost-clusters", c->lost);
}

static bool forget_caches(struct exfat *exfat, struct error *err)
{
    exfat_table_unpin(exfat);
    exfat_dirs_drop(exfat);
    chains_drop(exfat->chains);
    return cache_flush(exfat->table, err) && cache_flush(exfat->meta, err);
}

bool exfat_check(struct fs *fs, struct check *check, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    struct exfat_check c = {.exfat = exfat};
    if (!check_run_begin(&c.run, check, fs->device, exfat->g.clusters + 2, err) ||
        !forget_caches(exfat, err)) {
        check_run_end(&c.run);
        return false;
    }
    bool ok = check_regions(&c) && check_flags(&c) && check_fat_head(&c) && claim_tables(&c) &&
              exfat_check_tree(&c) && claim_bad_upcase(&c) && check_bitmap(&c) && check_upcase(&c);
    if (ok)
        summarize(&c);
    while (c.count > 0)
        free(c.todo[--c.count].path);
    free(c.todo);
    free(c.runs);
    check_run_end(&c.run);
    if (c.run.changed) {
        exfat_dirs_drop(exfat);
        chains_drop(exfat->chains);
        space_drop(&exfat->space);
        if (!c.run.failed && exfat_space_load(exfat, err))
            exfat->space.changed = true; /* the percentage follows at the next flush */
    }
    return !c.run.failed;
}
