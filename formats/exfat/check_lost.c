/* Lost clusters that become files below /LOST+FOUND, one a run,
 * as fsck.exfat makes them when it is asked to. */
#include "check.h"

#include <stdio.h>
#include <sys/stat.h>

enum { MAX_SAVED = 10000000 }; /* FILE0000000.CHK to FILE9999999.CHK */

bool exfat_saves_lost(const struct exfat_check *c)
{
    return c->run.check->repair == REPAIR_ALL && c->run.check->lost == LOST_SAVE && c->run_count < MAX_SAVED;
}

void exfat_report_lost(struct exfat_check *c, uint32_t start, uint32_t len, bool fixed, const char *saved_as)
{
    uint64_t off = 0;
    if (check_run_did(&c->run, exfat_bitmap_off(c->exfat, start, &off, c->run.err)))
        check_run_found(&c->run, FINDING_LEAK, "lost-clusters", off, fixed,
                        "%u cluster%s from %u on belong%s to no file%s%s", len, len == 1 ? "" : "s", start,
                        len == 1 ? "s" : "", saved_as ? ": saved as " : "", saved_as ? saved_as : "");
}

bool exfat_remember_lost(struct exfat_check *c, uint32_t start, uint32_t len)
{
    if (!check_run_did(&c->run,
                       mem_grow(&c->runs, &c->run_capacity, c->run_count + 1, sizeof *c->runs, c->run.err)))
        return false;
    c->runs[c->run_count++] = (struct lost_run){start, len};
    return true;
}

/* Find a name in a directory, or make it. */
static bool find_or_make(struct exfat *exfat, fs_id dir, const char *name, uint32_t mode, bool *there,
                         fs_id *id, struct error *err)
{
    struct fs_time then = {.sec = exfat->limits.time_min};
    struct fs_attr attr = {.mode = mode, .mtime = then, .atime = then, .ctime = then, .crtime = then};
    *there = exfat_lookup(&exfat->fs, dir, name, id, err);
    return *there || (err->kind == E_NOENT && exfat_create(&exfat->fs, dir, name, &attr, NULL, id, err));
}

/* A file of one run; `number` counts up over names that are taken. */
static bool add_file(struct exfat *exfat, const struct lost_run *run, unsigned *number, char *path,
                     size_t size, struct error *err)
{
    struct exfat_stream s = {.first = run->start, .contiguous = true};
    struct exfat_set set;
    struct fs_attr folder;
    bool there = true;
    fs_id dir, id;
    if (!find_or_make(exfat, ROOT_ID, "LOST+FOUND", S_IFDIR | 0755, &there, &dir, err) ||
        !exfat_getattr(&exfat->fs, dir, &folder, err))
        return false;
    if (!S_ISDIR(folder.mode))
        return fail(err, E_NOSPACE, "/LOST+FOUND is a file");
    for (there = true; there;) {
        if (*number == MAX_SAVED)
            return fail(err, E_NOSPACE, "all names FILEnnnnnnn.CHK are taken");
        snprintf(path, size, "/LOST+FOUND/FILE%07u.CHK", (*number)++);
        if (!find_or_make(exfat, dir, path + strlen("/LOST+FOUND/"), S_IFREG | 0644, &there, &id, err))
            return false;
    }
    s.size = s.valid = (uint64_t)run->len << exfat->g.cluster_shift;
    if (!exfat_set_load(exfat, id, &set, err))
        return false;
    exfat_set_put_stream(set.raw, &s);
    return exfat_set_store(exfat, &set, err);
}

/* Where there is no room for another file the rest is freed. */
bool exfat_save_lost(struct exfat_check *c)
{
    struct exfat *exfat = c->exfat;
    unsigned number = 0;
    bool room = true;
    if (c->run_count == 0)
        return true;
    exfat_dirs_drop(exfat);
    chains_drop(exfat->chains);
    space_drop(&exfat->space);
    for (size_t i = 0; i < c->run_count && check_run_goes_on(&c->run); i++) {
        const struct lost_run *run = &c->runs[i];
        struct exfat_stream s = {
            .first = run->start, .contiguous = true, .size = (uint64_t)run->len << exfat->g.cluster_shift};
        char path[40];
        room = room && add_file(exfat, run, &number, path, sizeof path, c->run.err);
        if (!room && c->run.err->kind != E_NOSPACE && c->run.err->kind != E_DAMAGED)
            return check_run_did(&c->run, false);
        if (!room && !check_run_did(&c->run, exfat_stream_cut(exfat, &s, 0, c->run.err)))
            return false;
        exfat_report_lost(c, run->start, run->len, true, room ? path : NULL);
    }
    return check_run_goes_on(&c->run);
}
