/* Clusters that nobody reached: chains that become files in the root directory,
 * as fsck.fat makes them, or go. */
#include "check.h"

#include <stdio.h>

enum { MAX_SAVED = 10000 }; /* FSCK0000.REC to FSCK9999.REC */

/* Mark in `inner` every lost cluster that another lost one leads to:
 * those left are the chains' first ones. */
static bool find_inner(struct fat_check *c, uint64_t *inner)
{
    for (uint32_t cluster = 2; cluster < c->fat->g.clusters + 2; cluster++) {
        uint32_t value;
        if (check_run_is_seen(&c->run, cluster)) {
            c->used++;
            continue;
        }
        if (!check_run_did(&c->run, (cluster % 65536 != 0 || interrupt_check(c->run.err)) &&
                                        fat_get(c->fat, cluster, &value, c->run.err)))
            return false;
        if (value == CLUSTER_BAD)
            c->bad++;
        else if (value != CLUSTER_FREE && fat_valid_cluster(c->fat, value) &&
                 !check_run_is_seen(&c->run, value))
            inner[value / 64] |= (uint64_t)1 << (value % 64);
    }
    return true;
}

static void report(struct fat_check *c, const struct lost_chain *chain, bool fixed, const char *saved_as)
{
    check_run_found(&c->run, FINDING_LEAK, "lost-chain", fat_entry_off(c->fat, chain->first), fixed,
                    "%u cluster%s from cluster %u on belong%s to no file%s%s", chain->clusters,
                    chain->clusters == 1 ? "" : "s", chain->first, chain->clusters == 1 ? "s" : "",
                    saved_as ? ": saved as /" : "", saved_as ? saved_as : "");
}

static bool can_save(const struct fat_check *c, uint32_t clusters)
{
    return c->run.check->repair == REPAIR_ALL && c->run.check->lost != LOST_FREE &&
           c->chain_count < MAX_SAVED &&
           (uint64_t)clusters << c->fat->g.cluster_shift <= (uint64_t)MAX_FILE_SIZE + 1;
}

/* Follow a lost chain, claiming it so that it is reported once. */
static bool lost_chain(struct fat_check *c, uint32_t first)
{
    struct fat_walk walk;
    uint32_t freed;
    bool fix = check_run_repairs(&c->run, FINDING_LEAK);
    if (!fat_claim(c, first, &walk))
        return false;
    struct lost_chain chain = {first, walk.clusters};
    c->lost += walk.clusters;
    /* Cut first, so that no cluster of another chain is freed with it. */
    if (fix && !check_run_did(&c->run, fat_set(c->fat, walk.last, CLUSTER_END, c->run.err)))
        return false;
    if (fix && can_save(c, walk.clusters)) {
        if (!check_run_did(&c->run, mem_grow(&c->chains, &c->chain_capacity, c->chain_count + 1,
                                             sizeof *c->chains, c->run.err)))
            return false;
        c->chains[c->chain_count++] = chain;
        return true;
    }
    report(c, &chain, fix, NULL);
    return !fix || fat_give_up(c, first, &freed);
}

/* ---- saving -------------------------------------------------------------------------------------------- */

/* An entry FSCKnnnn.REC for a chain; `number` counts up over names that are taken. */
static bool add_file(struct fat *fat, const struct lost_chain *chain, unsigned *number, char *text,
                     size_t size, struct error *err)
{
    uint8_t entry[ENTRY_SIZE] = {0};
    struct dosname name;
    struct fat_item item;
    struct fat_dir *dir;
    struct error missing;
    fs_id id;
    if (!fat_dir_index(fat, ROOT_ID, &dir, err))
        return false;
    do {
        if (*number == MAX_SAVED)
            return fail(err, E_NOSPACE, "all names FSCKnnnn.REC are taken");
        snprintf(text, size, "FSCK%04u.REC", (*number)++);
        if (!dosname_parse(text, "FAT", &name, err))
            return false;
    } while (fat_dir_find(fat, dir, &name, &item, &missing));
    fat_entry_set_DIR_Attr(entry, FAT_ARCHIVE);
    fat_entry_set_DIR_WrtDate(entry, 1 << 5 | 1);
    fat_entry_set_DIR_FileSize(entry,
                               MIN_OF((uint64_t)chain->clusters << fat->g.cluster_shift, MAX_FILE_SIZE));
    fat_entry_set_cluster(fat, entry, chain->first);
    return fat_dir_add(fat, dir, &name, entry, &id, err);
}

/* Where there is no room for another entry the rest is freed. */
static bool save_chains(struct fat_check *c)
{
    struct fat *fat = c->fat;
    unsigned number = 0;
    bool room = true;
    if (c->chain_count == 0)
        return true;
    fat_dirs_drop(fat);
    chains_drop(fat->chains);
    space_drop(&fat->space);
    for (size_t i = 0; i < c->chain_count && check_run_goes_on(&c->run); i++) {
        char name[16];
        room = room && add_file(fat, &c->chains[i], &number, name, sizeof name, c->run.err);
        if (!room && c->run.err->kind != E_NOSPACE && c->run.err->kind != E_DAMAGED)
            return check_run_did(&c->run, false);
        if (!room && !check_run_did(&c->run, fat_chain_free(fat, c->chains[i].first, c->run.err)))
            return false;
        c->saved += room;
        report(c, &c->chains[i], true, room ? name : NULL);
    }
    return check_run_goes_on(&c->run);
}

bool fat_check_lost(struct fat_check *c)
{
    uint32_t end = c->fat->g.clusters + 2, value;
    uint64_t *inner = mem_array(end / 64 + 1, sizeof *inner, c->run.err);
    bool ok = check_run_did(&c->run, inner != NULL) && find_inner(c, inner);
    /* First the chains with a beginning, then what runs in circles. */
    for (unsigned pass = 0; ok && pass < 2; pass++)
        for (uint32_t cluster = 2; ok && check_run_goes_on(&c->run) && cluster < end; cluster++) {
            if (check_run_is_seen(&c->run, cluster) ||
                (pass == 0 && (inner[cluster / 64] >> (cluster % 64) & 1)))
                continue;
            ok = check_run_did(&c->run, fat_get(c->fat, cluster, &value, c->run.err));
            if (ok && value != CLUSTER_FREE && value != CLUSTER_BAD)
                ok = lost_chain(c, cluster);
        }
    free(inner);
    return ok && check_run_goes_on(&c->run) && save_chains(c);
}
