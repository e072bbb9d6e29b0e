/*
 * fsck: boot sector and copy, FSInfo, the copies of the FAT, its entries, all directories and files, clusters
 * that belong to nobody, free count. Repairs keep as much as can be kept: chains are cut where they go wrong,
 * entries that cannot be used are removed, what nobody owns is freed.
 */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>

enum { COMPARE_BYTES = 64 * 1024 };

void fat_found(struct fat_check *c, enum finding_kind kind, const char *code, uint64_t off, bool fixed,
               const char *fmt, ...)
{
    char text[320];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    c->changed = c->changed || fixed;
    if (!check_found(c->check, kind, code, c->fat->fs.device, off, fixed, "%s", text))
        c->stop = true;
}

bool fat_did(struct fat_check *c, bool ok)
{
    c->failed = c->failed || !ok;
    return ok;
}

/* ---- chains ----------------------------------------------------------------------------------------------
 */

bool fat_is_seen(const struct fat_check *c, uint32_t cluster)
{
    return c->seen[cluster / 64] >> (cluster % 64) & 1;
}

void fat_mark_seen(struct fat_check *c, uint32_t cluster, bool seen)
{
    uint64_t bit = (uint64_t)1 << (cluster % 64);
    if (seen)
        c->seen[cluster / 64] |= bit;
    else
        c->seen[cluster / 64] &= ~bit;
}

/* What is wrong with a cluster as a part of a chain, by its FAT entry; NULL: nothing. */
static const char *cluster_fault(const struct fat_check *c, uint32_t cluster, uint32_t value,
                                 const char **why)
{
    if (fat_is_seen(c, cluster)) {
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
        if (!fat_did(c, interrupt_check(c->err) && fat_get(c->fat, cluster, &value, c->err)))
            return false;
        walk->code = cluster_fault(c, cluster, value, &walk->why);
        if (walk->code)
            return true;
        fat_mark_seen(c, cluster, true);
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
        if (!fat_did(c, fat_get(c->fat, cluster, &value, c->err)))
            return false;
        if (value == CLUSTER_FREE || value == CLUSTER_BAD)
            return true;
        if (!fat_did(c, fat_set(c->fat, cluster, CLUSTER_FREE, c->err) &&
                            ranges_add(&c->fat->space.freed, cluster, 1, c->err)))
            return false;
        fat_mark_seen(c, cluster, false);
    }
    return true;
}

/* ---- boot region -----------------------------------------------------------------------------------------
 */

/* The copy must repeat the boot sector but for the dirty bit. */
static bool check_backup(struct fat_check *c)
{
    const struct fat_geometry *g = &c->fat->g;
    struct cache_block *boot, *copy;
    if (g->backup == 0)
        return true;
    if (!fat_did(c, cache_get(c->fat->meta, 0, &boot, c->err)))
        return false;
    if (!fat_did(c, cache_get(c->fat->meta, (uint64_t)g->backup * g->sector_size, &copy, c->err))) {
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
        bool fix = fat_repairs(c, FINDING_DAMAGE);
        fat_found(c, FINDING_DAMAGE, c->fat->boot_off ? "boot" : "backup-boot", copy->off, fix,
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
    return fat_goes_on(c);
}

static bool check_state(struct fat_check *c)
{
    struct fat *fat = c->fat;
    uint8_t base[1] = {0}, state;
    struct cache_block *block;
    uint32_t entry, clean = fat->g.bits == 16 ? 0x8000 : 0x08000000;
    if (!fat_did(c, cache_get(fat->meta, fat->boot_off, &block, c->err)))
        return false;
    state = *fat_boot_state(&fat->g, block->data);
    cache_release(fat->meta, block);
    if (!fat_did(c, fat_get_raw(fat, 1, &entry, c->err)))
        return false;
    bool dirty = state & STATE_DIRTY, unclean = fat->g.bits != 12 && !(entry & clean);
    if (!dirty && !unclean)
        return true;
    bool fix = fat_repairs(c, FINDING_DAMAGE);
    uint32_t off = (uint32_t)(fat_boot_state(&fat->g, base) - base);
    fat_found(c, FINDING_DAMAGE, "dirty", dirty ? off : fat_entry_off(fat, 1), fix,
              "the volume was not unmounted cleanly");
    state &= (uint8_t)~STATE_DIRTY;
    return !fix || fat_did(c, fat_boot_patch(fat, off, &state, 1, c->err) &&
                                  (!unclean || fat_set(fat, 1, entry | clean, c->err)));
}

static bool check_media(struct fat_check *c)
{
    struct fat *fat = c->fat;
    uint32_t entry, expected = fat->g.bits == 12 ? 0xF00u : fat->g.bits == 16 ? 0xFF00u : 0x0FFFFF00u;
    expected |= fat->g.media;
    if (!fat_did(c, fat_get_raw(fat, 0, &entry, c->err)))
        return false;
    if (entry == expected)
        return true;
    bool fix = fat_repairs(c, FINDING_DAMAGE);
    fat_found(c, FINDING_DAMAGE, "media", fat_entry_off(fat, 0), fix,
              "FAT entry 0 is 0x%x, but the media byte asks for 0x%x", entry, expected);
    return !fix || fat_did(c, fat_set(fat, 0, expected, c->err));
}

static bool check_fsinfo(struct fat_check *c)
{
    struct fat *fat = c->fat;
    struct cache_block *block;
    if (fat->g.fsinfo == 0)
        return true;
    if (!fat_did(c, cache_get(fat->meta, (uint64_t)fat->g.fsinfo * fat->g.sector_size, &block, c->err)))
        return false;
    uint8_t *raw = block->data;
    if (fat_fsinfo_FSI_LeadSig(raw) != 0x41615252 || fat_fsinfo_FSI_StrucSig(raw) != 0x61417272 ||
        fat_fsinfo_FSI_TrailSig(raw) != 0xAA550000) {
        bool fix = fat_repairs(c, FINDING_DAMAGE);
        fat_found(c, FINDING_DAMAGE, "fsinfo", block->off, fix, "the signatures of FSInfo are wrong");
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
    return fat_goes_on(c);
}

/* ---- the FAT ---------------------------------------------------------------------------------------------
 */

static bool compare_copy(struct fat_check *c, uint32_t copy, uint8_t *a, uint8_t *b)
{
    struct fat *fat = c->fat;
    uint64_t base = fat->g.fat_off + copy * fat->g.fat_len, first = 0, differ = 0;
    uint64_t active = fat->g.fat_off + fat->g.active_fat * fat->g.fat_len;
    bool fix = fat_repairs(c, FINDING_DAMAGE);
    for (uint64_t off = 0; off < fat->g.fat_len; off += COMPARE_BYTES) {
        size_t n = (size_t)MIN_OF(COMPARE_BYTES, fat->g.fat_len - off);
        if (!fat_did(c, interrupt_check(c->err) && device_read(fat->fs.device, active + off, a, n, c->err) &&
                            device_read(fat->fs.device, base + off, b, n, c->err)))
            return false;
        if (memcmp(a, b, n) == 0)
            continue;
        for (size_t i = 0; i < n; i++)
            if (a[i] != b[i] && differ++ == 0)
                first = base + off + i;
        if (fix && !fat_did(c, device_write(fat->fs.device, base + off, a, n, WRITE_UPDATE, c->err)))
            return false;
    }
    if (differ)
        fat_found(c, FINDING_DAMAGE, "fat-copy", first, fix, "FAT %u differs from FAT %u in %llu bytes", copy,
                  fat->g.active_fat, (unsigned long long)differ);
    return fat_goes_on(c);
}

static bool check_copies(struct fat_check *c)
{
    uint8_t *buf = c->fat->g.mirrored && c->fat->g.fats > 1 ? mem_new(2 * COMPARE_BYTES, c->err) : NULL;
    if (!c->fat->g.mirrored || c->fat->g.fats < 2)
        return true;
    bool ok = fat_did(c, buf != NULL);
    for (uint32_t copy = 0; ok && copy < c->fat->g.fats; copy++)
        if (copy != c->fat->g.active_fat)
            ok = compare_copy(c, copy, buf, buf + COMPARE_BYTES);
    free(buf);
    return ok;
}

/* ---- free count -------------------------------------------------------------------------------------------
 */

static bool check_free_count(struct fat_check *c)
{
    struct fat *fat = c->fat;
    struct cache_block *block;
    if (fat->g.fsinfo == 0)
        return true;
    uint32_t kept = (uint32_t)(fat_repairs(c, FINDING_LEAK) ? 0 : c->lost);
    uint32_t expected = fat->g.clusters - (uint32_t)c->used - (uint32_t)c->bad - kept;
    if (c->saved) { /* which may have made the root directory grow */
        if (!fat_did(c, fat_space_load(fat, c->err)))
            return false;
        expected = fat->space.free;
    }
    if (!fat_did(c, cache_get(fat->meta, (uint64_t)fat->g.fsinfo * fat->g.sector_size, &block, c->err)))
        return false;
    uint32_t count = (uint32_t)fat_fsinfo_FSI_Free_Count(block->data);
    if (fat_fsinfo_FSI_StrucSig(block->data) == 0x61417272 && count != expected &&
        (count != UINT32_MAX || c->changed)) {
        bool fix = fat_repairs(c, FINDING_DAMAGE);
        if (count != UINT32_MAX)
            fat_found(c, FINDING_DAMAGE, "free-count", block->off + fat_fsinfo_off_FSI_Free_Count, fix,
                      "FSInfo says %u free clusters, there are %u", count, expected);
        if (fix || c->changed) {
            fat_fsinfo_set_FSI_Free_Count(block->data, expected);
            cache_dirty(fat->meta, block, WRITE_UPDATE);
        }
    }
    cache_release(fat->meta, block);
    return fat_goes_on(c);
}

/* ---- all of it -------------------------------------------------------------------------------------------
 */

static void summarize(const struct fat_check *c)
{
    struct report *report = c->check->summary;
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
    struct fat_check c = {.fat = fat, .check = check, .err = err};
    c.seen = mem_array(fat->g.clusters / 64 + 2, sizeof *c.seen, err);
    if (!c.seen || !forget_caches(fat, err)) {
        free(c.seen);
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
    free(c.seen);
    if (c.changed) {
        fat_dirs_drop(fat);
        chains_drop(fat->chains);
        space_drop(&fat->space);
    }
    return !c.failed;
}
