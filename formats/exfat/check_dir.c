/* fsck of entry sets: structure, checksum, name, clusters, size. */
#include "check.h"
#include "utf.h"

#include <stdio.h>

enum { MAX_PATH_SHOWN = 4096 };

/* What is known of the directory being looked at. */
struct tree {
    struct exfat_check *c;
    struct pending here;
    struct slots names; /* of the files seen so far */
    struct exfat_dir *dir;
    const struct exfat_item *item;
    struct dosname name;               /* the item's, mended */
    uint8_t raw[MAX_SET * ENTRY_SIZE]; /* the set, with repairs */
    bool repaired;                     /* raw is to be written */
    bool deleted;
    unsigned renamed; /* counts over the new names, so that none is tried twice */
    char path[MAX_PATH_SHOWN];
};

/* Report something about the set at hand; true when it is to be repaired. */
static bool report(struct tree *t, const char *code, uint32_t at, const char *text)
{
    bool fix = check_run_repairs(&t->c->run, FINDING_DAMAGE);
    check_run_found(&t->c->run, FINDING_DAMAGE, code, t->item->off + at, fix, "%s: %s", t->path, text);
    t->repaired = t->repaired || fix;
    return fix;
}

static void delete_set(struct tree *t)
{
    t->deleted = t->repaired = true;
    for (uint32_t i = 0; i < t->item->count; i++)
        t->raw[i * ENTRY_SIZE] &= (uint8_t)~TYPE_IN_USE;
}

/* All units of the name entries up to the first zero, however many NameLength says. */
static void whole_name(const struct tree *t, struct dosname *name)
{
    name->count = 0;
    for (uint32_t i = 2; i < t->item->count && t->raw[i * ENTRY_SIZE] == TYPE_NAME; i++) {
        uint16_t units[NAME_UNITS];
        utf16_load_le(t->raw + i * ENTRY_SIZE + exfat_name_off_FileName, units, NAME_UNITS);
        unsigned n = (unsigned)utf16_length(units, NAME_UNITS);
        n = MIN_OF(n, MAX_NAME - name->count);
        memcpy(name->units + name->count, units, n * sizeof *units);
        name->count += n;
        if (n < NAME_UNITS)
            return;
    }
}

/* What follows the name in its entries must be zeros;
 * where the hash fits the longer name the length is wrong. */
static void check_padding(struct tree *t)
{
    const struct exfat *exfat = t->c->exfat;
    unsigned length = (unsigned)exfat_stream_NameLength(t->raw + ENTRY_SIZE);
    uint64_t hash = exfat_stream_NameHash(t->raw + ENTRY_SIZE);
    struct dosname whole;
    whole_name(t, &whole);
    if (whole.count <= length)
        return;
    if (hash == exfat_name_hash(exfat, &whole) && hash != exfat_name_hash(exfat, &t->name)) {
        if (report(t, "name-length", ENTRY_SIZE + exfat_stream_off_NameLength, "NameLength is too small"))
            exfat_stream_set_NameLength(t->raw + ENTRY_SIZE, whole.count);
        t->name = whole;
        return;
    }
    if (!report(t, "name-padding", 2 * ENTRY_SIZE, "the name's entries hold more than the name"))
        return;
    for (uint32_t i = 2, at = 0; i < t->item->count && t->raw[i * ENTRY_SIZE] == TYPE_NAME; i++)
        for (unsigned unit = 0; unit < NAME_UNITS; unit++, at++)
            if (at >= length)
                store_le16(t->raw + i * ENTRY_SIZE + exfat_name_off_FileName + 2 * unit, 0);
}

/* Structure and checksum. False: the set cannot be used (and was deleted when repairing). */
static bool check_structure(struct tree *t)
{
    const uint8_t *raw = t->raw;
    uint32_t count = t->item->count;
    if (count != 1u + raw[1] || count < 3 || raw[ENTRY_SIZE] != TYPE_STREAM ||
        raw[2 * ENTRY_SIZE] != TYPE_NAME || t->item->name.count == 0 ||
        t->item->name.count != exfat_stream_NameLength(raw + ENTRY_SIZE)) {
        if (report(t, "entry-set", 0, "the entry set is not whole"))
            delete_set(t);
        return false;
    }
    bool sum = exfat_set_checksum(raw, count) == exfat_file_SetChecksum(raw);
    check_padding(t);
    bool hash = exfat_stream_NameHash(raw + ENTRY_SIZE) == exfat_name_hash(t->c->exfat, &t->name);
    if (!sum) {
        /* When the name still fits its hash only the sum is taken to be wrong. */
        if (report(t, "set-checksum", exfat_file_off_SetChecksum, "the entry set's checksum is wrong") &&
            !hash)
            delete_set(t);
        return hash;
    }
    if (!hash &&
        report(t, "name-hash", ENTRY_SIZE + exfat_stream_off_NameHash, "the hash of the name is wrong"))
        exfat_stream_set_NameHash(t->raw + ENTRY_SIZE, exfat_name_hash(t->c->exfat, &t->name));
    return true;
}

/* ---- names --------------------------------------------------------------------------------------------- */

static bool name_taken(struct tree *t, const struct dosname *name)
{
    uint32_t cursor = 0, hash = exfat_name_hash(t->c->exfat, name);
    const struct slot_ref *ref;
    while ((ref = slots_find(&t->names, hash, &cursor))) {
        uint8_t raw[MAX_SET * ENTRY_SIZE];
        struct dosname other;
        struct error ignored;
        if (!exfat_slots_read(t->c->exfat, t->dir, ref->first, ref->last - ref->first + 1, raw, &ignored))
            continue;
        exfat_set_name(raw, ref->last - ref->first + 1, &other);
        if (exfat_name_equal(t->c->exfat, name, &other))
            return true;
    }
    return false;
}

static void put_name(struct tree *t, const struct dosname *name)
{
    for (unsigned i = 0; i < name->count; i++)
        store_le16(t->raw + (2 + i / NAME_UNITS) * ENTRY_SIZE + 2 + 2 * (i % NAME_UNITS), name->units[i]);
    exfat_stream_set_NameHash(t->raw + ENTRY_SIZE, exfat_name_hash(t->c->exfat, name));
}

/* Another name of the same length: units that are not allowed become '_', the last ones count up. */
static void rename_set(struct tree *t, struct dosname *name)
{
    for (unsigned i = 0; i < name->count; i++)
        if (!dosname_allows(name->units[i]))
            name->units[i] = '_';
    unsigned digits = MIN_OF(name->count, 4u);
    for (unsigned n = 0; n < 1u << (4 * digits) && (dosname_fault(name) || name_taken(t, name)); n++) {
        for (unsigned i = 0; i < digits; i++)
            name->units[name->count - 1 - i] = (uint16_t) "0123456789abcdef"[t->renamed >> (4 * i) & 15];
        t->renamed++;
    }
    put_name(t, name);
}

static bool check_name(struct tree *t)
{
    struct dosname name = t->name;
    bool bad = dosname_fault(&name) != NULL;
    for (unsigned i = 0; i < name.count; i++)
        bad = bad || !dosname_allows(name.units[i]);
    if (bad && report(t, "bad-name", 2 * ENTRY_SIZE, "the name is not allowed"))
        rename_set(t, &name);
    if (name_taken(t, &name) &&
        report(t, "duplicate-name", 2 * ENTRY_SIZE, "the directory has this name twice"))
        rename_set(t, &name);
    return check_run_did(&t->c->run, slots_add(&t->names, exfat_name_hash(t->c->exfat, &name), t->item->slot,
                                               t->item->slot + t->item->count - 1, t->c->run.err));
}

/* ---- clusters and sizes -------------------------------------------------------------------------------- */

static void check_lengths(struct tree *t, struct exfat_stream *s)
{
    const struct exfat *exfat = t->c->exfat;
    uint32_t at = ENTRY_SIZE + exfat_stream_off_DataLength;
    uint64_t room = (uint64_t)exfat->g.clusters << exfat->g.cluster_shift;
    if (s->first && exfat_valid_cluster(exfat, s->first) && s->contiguous)
        room = (uint64_t)(exfat->g.clusters - (s->first - 2)) << exfat->g.cluster_shift;
    if (s->first && !exfat_valid_cluster(exfat, s->first)) {
        report(t, "cluster-range", ENTRY_SIZE + exfat_stream_off_FirstCluster,
               "the first cluster does not exist");
        *s = (struct exfat_stream){.first = 0};
    } else if (s->first == 0 && s->size > 0) {
        report(t, "no-cluster", at, "there are bytes but no first cluster");
        *s = (struct exfat_stream){.first = 0};
    } else if (s->first && s->size == 0) {
        report(t, "empty-chain", at, "there is a first cluster but no bytes");
        s->first = 0;
    } else if (s->size > room) {
        report(t, "size-too-large", at, "the size is larger than the volume has room for");
        s->size = room; /* and of a chain what it holds */
    }
    if (s->first == 0 && s->contiguous) {
        report(t, "empty-chain", ENTRY_SIZE + exfat_stream_off_GeneralSecondaryFlags,
               "there are no clusters, but the flag says that they lie in a row");
        s->contiguous = false;
    }
    if (s->valid > s->size) {
        report(t, "valid-length", ENTRY_SIZE + exfat_stream_off_ValidDataLength,
               "ValidDataLength is larger than DataLength");
        s->valid = s->size;
    }
}

/* End a chain after `keep` clusters; those behind them are lost from now on. */
static bool cut_chain(struct tree *t, const struct exfat_stream *s, uint32_t keep)
{
    struct exfat_check *c = t->c;
    uint32_t last = s->first;
    for (uint32_t i = 1; i < keep; i++)
        if (!check_run_did(&c->run, exfat_fat_get(c->exfat, last, &last, c->run.err)))
            return false;
    return exfat_unclaim(c, s, keep) &&
           check_run_did(&c->run, exfat_fat_set(c->exfat, last, CLUSTER_END, c->run.err));
}

static bool check_clusters(struct tree *t, struct exfat_stream *s)
{
    struct exfat_check *c = t->c;
    struct exfat_walk walk;
    char text[200];
    uint32_t need = exfat_clusters_for(c->exfat, s->size), at = ENTRY_SIZE + exfat_stream_off_DataLength;
    if (s->first == 0)
        return true;
    if (!exfat_claim(c, s, &walk))
        return false;
    if (walk.code) {
        snprintf(text, sizeof text, "after %u clusters it comes to cluster %u, which %s", walk.clusters,
                 walk.at, walk.why);
        if (report(t, walk.code, ENTRY_SIZE + exfat_stream_off_FirstCluster, text) && walk.last &&
            !s->contiguous &&
            (!check_run_did(&c->run, exfat_fat_set(c->exfat, walk.last, CLUSTER_END, c->run.err)) ||
             (walk.clusters > need && !cut_chain(t, s, need))))
            return false;
    } else if (walk.clusters > need) {
        snprintf(text, sizeof text, "the chain has %u clusters, the size needs %u", walk.clusters, need);
        if (report(t, "chain-too-long", at, text) && !cut_chain(t, s, need))
            return false;
    }
    if (walk.clusters < need) {
        if (!walk.code)
            report(t, "chain-too-short", at, "the chain ends before the size does");
        s->size = (uint64_t)walk.clusters << c->exfat->g.cluster_shift;
        s->valid = MIN_OF(s->valid, s->size);
        s->first = walk.clusters ? s->first : 0;
    }
    return true;
}

/* Vendor allocations hold clusters that are not lost. */
static bool claim_vendor(struct tree *t)
{
    for (uint32_t i = 2; i < t->item->count; i++) {
        const uint8_t *entry = t->raw + i * ENTRY_SIZE;
        struct exfat_stream s = {.first = load_le32(entry + 20),
                                 .contiguous = entry[1] & FLAG_NO_FAT_CHAIN,
                                 .size = load_le64(entry + 24)};
        struct exfat_walk walk;
        if (entry[0] != 0xE1 || !(entry[1] & FLAG_ALLOCATION) || s.size == 0 || s.first == 0)
            continue;
        if (!exfat_claim(t->c, &s, &walk))
            return false;
        if (walk.code)
            check_run_found(&t->c->run, FINDING_DAMAGE, walk.code, t->item->off + i * ENTRY_SIZE, false,
                            "%s: a vendor's clusters: cluster %u %s", t->path, walk.at, walk.why);
    }
    return true;
}

static bool push(struct tree *t, const struct exfat_stream *s)
{
    struct exfat_check *c = t->c;
    if (!check_run_did(&c->run, mem_grow(&c->todo, &c->capacity, c->count + 1, sizeof *c->todo, c->run.err)))
        return false;
    char *copy = mem_string(t->path, c->run.err);
    if (!check_run_did(&c->run, copy != NULL))
        return false;
    c->todo[c->count++] =
        (struct pending){.stream = *s, .id = t->item->id, .parent = t->here.id, .path = copy};
    return true;
}

static bool check_contents(struct tree *t)
{
    struct exfat_check *c = t->c;
    bool directory = exfat_file_FileAttributes(t->raw) & EXFAT_DIRECTORY;
    struct exfat_stream s, before;
    exfat_set_stream(t->raw, &s);
    before = s;
    check_lengths(t, &s);
    if (!check_clusters(t, &s) || !claim_vendor(t))
        return false;
    if (directory && s.first && s.size % c->exfat->g.cluster_size != 0) {
        report(t, "directory-size", ENTRY_SIZE + exfat_stream_off_DataLength,
               "the directory's length is not whole clusters");
        s.size = s.valid = round_up(s.size, c->exfat->g.cluster_size);
    }
    if (directory && s.first == 0) {
        if (before.first == 0 && report(t, "no-cluster", ENTRY_SIZE, "the directory has no cluster"))
            t->repaired = true;
        if (check_run_repairs(&c->run, FINDING_DAMAGE))
            delete_set(t);
        return true;
    }
    if (!exfat_stream_equal(&before, &s))
        exfat_set_put_stream(t->raw, &s);
    return !directory || push(t, &s);
}

static bool check_set(struct tree *t)
{
    struct exfat_check *c = t->c;
    bool directory = exfat_file_FileAttributes(t->raw) & EXFAT_DIRECTORY;
    if (check_structure(t)) {
        *(directory ? &c->directories : &c->files) += 1;
        if (!check_name(t) || !check_contents(t))
            return false;
    }
    if (!t->repaired)
        return check_run_goes_on(&c->run);
    if (!t->deleted)
        exfat_file_set_SetChecksum(t->raw, exfat_set_checksum(t->raw, t->item->count));
    return check_run_did(&c->run, exfat_slots_write(c->exfat, t->dir, t->item->slot, t->item->count, t->raw,
                                                    c->run.err)) &&
           check_run_goes_on(&c->run);
}

static bool check_item(struct exfat *exfat, struct exfat_dir *dir, const struct exfat_item *item, void *arg,
                       struct error *err)
{
    struct tree *t = arg;
    struct exfat_check *c = t->c;
    char name[UTF8_SIZE(MAX_NAME)];
    (void)exfat;
    (void)err;
    if (item->kind == ITEM_DELETED || item->kind == ITEM_OTHER)
        return true;
    dosname_text(&item->name, name, sizeof name);
    t->dir = dir;
    t->item = item;
    t->name = item->name;
    t->repaired = t->deleted = false;
    memcpy(t->raw, item->raw, (size_t)item->count * ENTRY_SIZE);
    if (item->kind == ITEM_FILE) {
        snprintf(t->path, sizeof t->path, "%s/%s", t->here.path, name);
        return check_set(t);
    }
    bool fix = check_run_repairs(&c->run, FINDING_DAMAGE);
    check_run_found(&c->run, FINDING_DAMAGE, "orphan-entry", item->off, fix,
                    "%s: an entry of type 0x%02x belongs to no file", t->here.path[0] ? t->here.path : "/",
                    item->raw[0]);
    if (!fix)
        return check_run_goes_on(&c->run);
    t->raw[0] &= (uint8_t)~TYPE_IN_USE;
    return check_run_did(&c->run, exfat_slots_write(c->exfat, dir, item->slot, 1, t->raw, c->run.err)) &&
           check_run_goes_on(&c->run);
}

static bool check_dir(struct exfat_check *c, struct pending here)
{
    struct tree *t = mem_new(sizeof *t, c->run.err);
    struct exfat_dir *dir;
    if (!check_run_did(&c->run, t != NULL))
        return false;
    t->c = c;
    t->here = here;
    chain_forget(c->exfat->chains, here.stream.first);
    bool ok = exfat_dir_at(c->exfat, &here.stream, here.id, here.parent, &dir, c->run.err) &&
              exfat_dir_scan(c->exfat, dir, check_item, t, c->run.err);
    slots_clear(&t->names);
    free(t);
    if (ok || (c->run.stop && !c->run.failed))
        return check_run_goes_on(&c->run);
    if (c->run.failed || c->run.err->kind != E_DAMAGED)
        return check_run_did(&c->run, false);
    check_run_found(&c->run, FINDING_DAMAGE, "directory", exfat_cluster_off(c->exfat, here.stream.first),
                    false, "%s: %s", here.path, c->run.err->message);
    return check_run_goes_on(&c->run);
}

bool exfat_check_tree(struct exfat_check *c)
{
    struct pending root = {
        .stream = {.first = c->exfat->g.root}, .id = ROOT_ID, .parent = ROOT_ID, .path = (char[]){""}};
    struct exfat_walk walk;
    if (!exfat_claim(c, &root.stream, &walk))
        return false;
    if (walk.code) {
        bool fix = check_run_repairs(&c->run, FINDING_DAMAGE) && walk.last;
        check_run_found(&c->run, FINDING_DAMAGE, walk.code,
                        c->exfat->g.fat_off + 4 * (uint64_t)(walk.last ? walk.last : 2), fix,
                        "/: after %u clusters the root's chain comes to cluster %u, which %s", walk.clusters,
                        walk.at, walk.why);
        if (fix && !check_run_did(&c->run, exfat_fat_set(c->exfat, walk.last, CLUSTER_END, c->run.err)))
            return false;
        exfat_dir_forget(c->exfat, root.stream.first);
    }
    bool ok = check_run_goes_on(&c->run) && check_dir(c, root);
    while (ok && c->count > 0) {
        struct pending next = c->todo[--c->count];
        ok = check_dir(c, next);
        free(next.path);
    }
    return ok;
}
