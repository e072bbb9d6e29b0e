/*
 * fsck: boot sector and copy, FSInfo, the copies of the FAT, its entries, all directories and files, clusters
 * that belong to nobody, free count. Repairs keep as much as can be kept: chains are cut where they go wrong,
 * entries that cannot be used are removed, what nobody owns is freed.
 */
#include "check.h"

enum { COMPARE_BYTES = 64 * 1024 };

/* ---- chains -------------------------------------------------------------------------------------------- */

/* What is wrong with a cluster as a part of a chain, by its FAT entry; NULL: nothing. */
static const char *cluster_fault(const struct fat_check *c, uint32_t cluster, uint32_t value,
                                 const char **why)
{
    if (check_run_is_seen(&c->run, cluster)) {
        *why = "belongs to something else already, or the chain runs in a circle";
        return "cross-link";
    }
    if (value == CLUSTER_FREE) {
        *why = "is free";
        return "free-cluster";
    }
    if (value == CLUSTER_BAD) {
        *why = "is marked bad";
        return "bad-cluster";
    }
    return NULL;
}

bool fat_claim(struct fat_check *c, uint32_t first, struct fat_walk *walk)
{
    uint32_t cluster = first, value;
    *walk = (struct fat_walk){.clusters = 0};
    while (cluster != CLUSTER_END || walk->clusters == 0) { /* an entry cannot begin with the end */
        walk->at = cluster;
        if (!fat_valid_cluster(c->fat, cluster)) {
            walk->code = "cluster-range";
            walk->why = "does not exist";
            return true;
        }
        if (!check_run_did(&c->run,
                           interrupt_check(c->run.err) && fat_get(c->fat, cluster, &value, c->run.err)))
            return false;
        walk->code = cluster_fault(c, cluster, value, &walk->why);
        if (walk->code)
            return true;
        check_run_mark(&c->run, cluster, true);
        walk->clusters++;
        walk->last = cluster;
        cluster = value;
    }
    return true;
}

bool fat_give_up(struct fat_check *c, uint32_t first, uint32_t *freed)
{
    uint32_t cluster = first, value;
    for (*freed = 0; fat_valid_cluster(c->fat, cluster); cluster = value, ++*freed) {
        if (!check_run_did(&c->run, fat_get(c->fat, cluster, &value, c->run.err)))
            return false;
        if (value == CLUSTER_FREE || value == CLUSTER_BAD)
            return true;
        if (!check_run_did(&c->run, fat_set(c->fat, cluster, CLUSTER_FREE, c->run.err) &&
                                        ranges_add(&c->fat->space.freed, cluster, 1, c->run.err)))
            return false;
        check_run_mark(&c->run, cluster, false);
    }
    return true;
}

/* ---- boot region --------------------------------------------------------------------------------------- */

/* The copy must repeat the boot sector but for the dirty bit. */
static bool check_backup(struct fat_check *c)
{
    const struct fat_geometry *g = &c->fat->g;
    struct cache_block *boot, *copy;
    if (g->clash) {
        check_run_found(&c->run, FINDING_DAMAGE, "boot", fat_boot32_off_BPB_FSInfo, false,
                        "BPB_FSInfo and BPB_BkBootSec both name sector %u; 'poke' sets them right", g->clash);
        return check_run_goes_on(&c->run);
    }
    if (g->backup == 0)
        return true;
    if (!check_run_did(&c->run, cache_get(c->fat->meta, 0, &boot, c->run.err)))
        return false;
    if (!check_run_did(&c->run,
                       cache_get(c->fat->meta, (uint64_t)g->backup * g->sector_size, &copy, c->run.err))) {
        cache_release(c->fat->meta, boot);
        return false;
    }
    if (c->fat->boot_off) { /* the other way round */
        struct cache_block *damaged_one = boot;
        boot = copy;
        copy = damaged_one;
    }
    uint8_t expected[512];
    memcpy(expected, boot->data, sizeof expected);
    uint8_t *state = &expected[fat_boot32_off_BS_Reserved1];
    *state = (uint8_t)((*state & ~STATE_DIRTY) | (copy->data[fat_boot32_off_BS_Reserved1] & STATE_DIRTY));
    if (memcmp(expected, copy->data, sizeof expected) != 0) {
        bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
        check_run_found(&c->run, FINDING_DAMAGE, c->fat->boot_off ? "boot" : "backup-boot", copy->off, fix,
                        c->fat->boot_off ? "the boot sector is damaged, its copy in sector %u is not"
                                         : "the copy of the boot sector in sector %u differs from it",
                        g->backup);
        if (fix) {
            memcpy(copy->data, expected, sizeof expected);
            cache_dirty(c->fat->meta, copy, WRITE_UPDATE);
            c->fat->boot_off = 0;
            fat_set_change(c->fat);
        }
    }
    cache_release(c->fat->meta, boot);
    cache_release(c->fat->meta, copy);
    return check_run_goes_on(&c->run);
}

static bool check_state(struct fat_check *c)
{
    struct fat *fat = c->fat;
    uint8_t base[1] = {0}, state;
    struct cache_block *block;
    uint32_t entry, clean = fat->g.bits == 16 ? 0x8000 : 0x08000000;
    if (!check_run_did(&c->run, cache_get(fat->meta, fat->boot_off, &block, c->run.err)))
        return false;
    state = *fat_boot_state(&fat->g, block->data);
    cache_release(fat->meta, block);
    if (!check_run_did(&c->run, fat_get_raw(fat, 1, &entry, c->run.err)))
        return false;
    bool dirty = state & STATE_DIRTY, unclean = fat->g.bits != 12 && !(entry & clean);
    if (!dirty && !unclean)
        return true;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    uint32_t off = (uint32_t)(fat_boot_state(&fat->g, base) - base);
    check_run_found(&c->run, FINDING_DAMAGE, "dirty", dirty ? off : fat_entry_off(fat, 1), fix,
                    "the volume was not unmounted cleanly");
    state &= (uint8_t)~STATE_DIRTY;
    return !fix || check_run_did(&c->run, fat_boot_patch(fat, off, &state, 1, c->run.err) &&
                                              (!unclean || fat_set(fat, 1, entry | clean, c->run.err)));
}

static bool check_media(struct fat_check *c)
{
    struct fat *fat = c->fat;
    uint32_t entry, expected = fat->g.bits == 12 ? 0xF00u : fat->g.bits == 16 ? 0xFF00u : 0x0FFFFF00u;
    expected |= fat->g.media;
    if (!check_run_did(&c->run, fat_get_raw(fat, 0, &entry, c->run.err)))
        return false;
    if (entry == expected)
        return true;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    check_run_found(&c->run, FINDING_DAMAGE, "media", fat_entry_off(fat, 0), fix,
                    "FAT entry 0 is 0x%x, but the media byte asks for 0x%x", entry, expected);
    return !fix || check_run_did(&c->run, fat_set(fat, 0, expected, c->run.err));
}

static bool check_fsinfo(struct fat_check *c)
{
    struct fat *fat = c->fat;
    struct cache_block *block;
    if (fat->g.fsinfo == 0)
        return true;
    if (!check_run_did(
            &c->run, cache_get(fat->meta, (uint64_t)fat->g.fsinfo * fat->g.sector_size, &block, c->run.err)))
        return false;
    uint8_t *raw = block->data;
    if (fat_fsinfo_FSI_LeadSig(raw) != 0x41615252 || fat_fsinfo_FSI_StrucSig(raw) != 0x61417272 ||
        fat_fsinfo_FSI_TrailSig(raw) != 0xAA550000) {
        bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
        check_run_found(&c->run, FINDING_DAMAGE, "fsinfo", block->off, fix,
                        "the signatures of FSInfo are wrong");
        if (fix) {
            memset(raw, 0, 512);
            fat_fsinfo_set_FSI_LeadSig(raw, 0x41615252);
            fat_fsinfo_set_FSI_StrucSig(raw, 0x61417272);
            fat_fsinfo_set_FSI_Free_Count(raw, UINT32_MAX);
            fat_fsinfo_set_FSI_Nxt_Free(raw, UINT32_MAX);
            fat_fsinfo_set_FSI_TrailSig(raw, 0xAA550000);
            cache_dirty(fat->meta, block, WRITE_UPDATE);
        }
    }
    cache_release(fat->meta, block);
    return check_run_goes_on(&c->run);
}

/* ---- the FAT ------------------------------------------------------------------------------------------- */

static bool compare_copy(struct fat_check *c, uint32_t copy, uint8_t *a, uint8_t *b)
{
    struct fat *fat = c->fat;
    uint64_t base = fat->g.fat_off + copy * fat->g.fat_len, first = 0, differ = 0;
    uint64_t active = fat->g.fat_off + fat->g.active_fat * fat->g.fat_len;
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    for (uint64_t off = 0; off < fat->g.fat_len; off += COMPARE_BYTES) {
        size_t n = (size_t)MIN_OF(COMPARE_BYTES, fat->g.fat_len - off);
        if (!check_run_did(&c->run, interrupt_check(c->run.err) &&
                                        device_read(fat->fs.device, active + off, a, n, c->run.err) &&
                                        device_read(fat->fs.device, base + off, b, n, c->run.err)))
            return false;
        if (memcmp(a, b, n) == 0)
            continue;
        for (size_t i = 0; i < n; i++)
            if (a[i] != b[i] && differ++ == 0)
                first = base + off + i;
        if (fix &&
            !check_run_did(&c->run, device_write(fat->fs.device, base + off, a, n, WRITE_UPDATE, c->run.err)))
            return false;
    }
    if (differ)
        check_run_found(&c->run, FINDING_DAMAGE, "fat-copy", first, fix,
                        "FAT %u differs from FAT %u in %llu bytes", copy, fat->g.active_fat,
                        (unsigned long long)differ);
    return check_run_goes_on(&c->run);
}

static bool check_copies(struct fat_check *c)
{
    uint8_t *buf = c->fat->g.mirrored && c->fat->g.fats > 1 ? mem_new(2 * COMPARE_BYTES, c->run.err) : NULL;
    if (!c->fat->g.mirrored || c->fat->g.fats < 2)
        return true;
    bool ok = check_run_did(&c->run, buf != NULL);
    for (uint32_t copy = 0; ok && copy < c->fat->g.fats; copy++)
        if (copy != c->fat->g.active_fat)
            ok = compare_copy(c, copy, buf, buf + COMPARE_BYTES);
    free(buf);
    return ok;
}

/* ---- free count ---------------------------------------------------------------------------------------- */

static bool check_free_count(struct fat_check *c)
{
    struct fat *fat = c->fat;
    struct cache_block *block;
    if (fat->g.fsinfo == 0)
        return true;
    uint32_t kept = (uint32_t)(check_run_repairs(&c->run, FINDING_LEAK) ? 0 : c->lost);
    uint32_t expected = fat->g.clusters - (uint32_t)c->used - (uint32_t)c->bad - kept;
    if (c->saved) { /* which may have made the root directory grow */
        if (!check_run_did(&c->run, fat_space_load(fat, c->run.err)))
            return false;
        expected = fat->space.free;
    }
    if (!check_run_did(
            &c->run, cache_get(fat->meta, (uint64_t)fat->g.fsinfo * fat->g.sector_size, &block, c->run.err)))
        return false;
    uint32_t count = (uint32_t)fat_fsinfo_FSI_Free_Count(block->data);
    if (fat_fsinfo_FSI_StrucSig(block->data) == 0x61417272 && count != expected &&
        (count != UINT32_MAX || c->run.changed)) {
        bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
        if (count != UINT32_MAX)
            check_run_found(&c->run, FINDING_DAMAGE, "free-count", block->off + fat_fsinfo_off_FSI_Free_Count,
                            fix, "FSInfo says %u free clusters, there are %u", count, expected);
        if (fix || c->run.changed) {
            fat_fsinfo_set_FSI_Free_Count(block->data, expected);
            cache_dirty(fat->meta, block, WRITE_UPDATE);
        }
    }
    cache_release(fat->meta, block);
    return check_run_goes_on(&c->run);
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static void summarize(const struct fat_check *c)
{
    struct report *report = c->run.check->summary;
    if (!report)
        return;
    report_number(report, "files", c->files);
    report_number(report, "directories", c->directories);
    report_number(report, "clusters", c->fat->g.clusters);
    report_number(report, "used-clusters", c->used);
    report_number(report, "bad-clusters", c->bad);
    report_number(report, "lost-clusters", c->lost);
}

/* What is cached must not outlive repairs made behind its back, nor the check trust it. */
static bool forget_caches(struct fat *fat, struct error *err)
{
    fat_table_unpin(fat);
    fat_dirs_drop(fat);
    chains_drop(fat->chains);
    return cache_flush(fat->table, err) && cache_flush(fat->meta, err);
}

bool fat_check(struct fs *fs, struct check *check, struct error *err)
{
    struct fat *fat = fat_of(fs);
    struct fat_check c = {.fat = fat};
    if (!check_run_begin(&c.run, check, fs->device, fat->g.clusters + 2, err) || !forget_caches(fat, err)) {
        check_run_end(&c.run);
        return false;
    }
    bool ok = check_backup(&c) && check_fsinfo(&c) && check_copies(&c) && check_media(&c) &&
              check_state(&c) && fat_check_tree(&c) && fat_check_lost(&c) && check_free_count(&c);
    if (ok)
        summarize(&c);
    while (c.count > 0)
        free(c.todo[--c.count].path);
    free(c.todo);
    free(c.chains);
    check_run_end(&c.run);
    if (c.run.changed) {
        fat_dirs_drop(fat);
        chains_drop(fat->chains);
        space_drop(&fat->space);
    }
    return !c.run.failed;
}
