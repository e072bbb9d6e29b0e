/* What `show`, `where`, `what` and `info` tell of an exFAT volume. */
#include "exfat.h"

#include <stdio.h>
#include <stdlib.h>

#define EXFAT_FAT(F, T) F(T, 0, 4, LE, next, exfat_kind_next, "what follows this cluster")

static void next_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    uint32_t value = load_le32(raw);
    (void)field;
    snprintf(out, size, "%s",
             value == 0             ? "unused"
             : value == CLUSTER_BAD ? "bad"
             : value >= 0xFFFFFFF8  ? "end of chain"
                                    : "");
}

static const struct kind exfat_kind_next = {"exfat-next", kind_hex_format, kind_number_parse, next_meaning,
                                            NULL};

/* One checksum covers a set, so a set is one structure: the lists of its entries, each moved to its place. */
#define ROW_AT(prefix, at, off, width, order, name, kind, meaning)                                           \
    {prefix #name, (at) + (off), width, ORDER_##order, &kind, meaning},
#define STREAM_ROW(T, off, width, order, name, kind, meaning)                                                \
    ROW_AT("Stream.", 32, off, width, order, name, kind, meaning)
#define NAME_ROW(n, off, width, order, name, kind, meaning)                                                  \
    ROW_AT("Name" #n ".", 32 + 32 * (n), off, width, order, name, kind, meaning)

static const struct field set_fields[] = {
    EXFAT_FILE(LAYOUT_ROW, T) EXFAT_STREAM(STREAM_ROW, T) EXFAT_NAME(NAME_ROW, 1) EXFAT_NAME(NAME_ROW, 2)
        EXFAT_NAME(NAME_ROW, 3) EXFAT_NAME(NAME_ROW, 4) EXFAT_NAME(NAME_ROW, 5) EXFAT_NAME(NAME_ROW, 6)
            EXFAT_NAME(NAME_ROW, 7) EXFAT_NAME(NAME_ROW, 8) EXFAT_NAME(NAME_ROW, 9) EXFAT_NAME(NAME_ROW, 10)
                EXFAT_NAME(NAME_ROW, 11) EXFAT_NAME(NAME_ROW, 12) EXFAT_NAME(NAME_ROW, 13)
                    EXFAT_NAME(NAME_ROW, 14) EXFAT_NAME(NAME_ROW, 15) EXFAT_NAME(NAME_ROW, 16)
                        EXFAT_NAME(NAME_ROW, 17)};
enum { SET_SIZE = 19 * ENTRY_SIZE };

LAYOUT_FIELDS(exfat_file, EXFAT_FILE);
LAYOUT_FIELDS(exfat_bitmap, EXFAT_BITMAP);
LAYOUT_FIELDS(exfat_upcase, EXFAT_UPCASE);
LAYOUT_FIELDS(exfat_label, EXFAT_LABEL);
LAYOUT_FIELDS(exfat_guid, EXFAT_GUID);
static const struct field exfat_fat_fields[] = {EXFAT_FAT(LAYOUT_ROW, T)};

static bool set_check(const struct place *place, const void *raw, struct error *err)
{
    const char *fault = exfat_set_fault(place->owner, raw, place->size / ENTRY_SIZE);
    return !fault || damaged(err, place->device, place->off, "%s", fault);
}

static void set_seal(const struct place *place, void *raw)
{
    exfat_file_set_SetChecksum(raw, exfat_set_checksum(raw, place->size / ENTRY_SIZE));
}

static bool set_computed(const struct place *place, const void *raw, const struct field *field,
                         uint64_t *value)
{
    if (field->off != exfat_file_off_SetChecksum)
        return false;
    *value = exfat_set_checksum(raw, place->size / ENTRY_SIZE);
    return true;
}

static const struct layout set_layout = {.name = "entry",
                                         .title = "exFAT entry set of a file",
                                         .spec = "exFAT 7.4, 7.6, 7.7",
                                         .size = SET_SIZE,
                                         .fields = set_fields,
                                         .field_count = ARRAY_LEN(set_fields),
                                         .check = set_check,
                                         .seal = set_seal,
                                         .computed = set_computed};
static const struct layout file_layout = {.name = "file",
                                          .title = "exFAT file directory entry",
                                          .spec = "exFAT 7.4",
                                          .size = ENTRY_SIZE,
                                          LAYOUT_TABLE(exfat_file)};
static const struct layout bitmap_layout = {.name = "bitmap",
                                            .title = "exFAT allocation bitmap entry",
                                            .spec = "exFAT 7.1",
                                            .size = ENTRY_SIZE,
                                            LAYOUT_TABLE(exfat_bitmap)};
static const struct layout upcase_layout = {.name = "upcase",
                                            .title = "exFAT up-case table entry",
                                            .spec = "exFAT 7.2",
                                            .size = ENTRY_SIZE,
                                            LAYOUT_TABLE(exfat_upcase)};
static const struct layout label_layout = {.name = "label",
                                           .title = "exFAT volume label entry",
                                           .spec = "exFAT 7.3",
                                           .size = ENTRY_SIZE,
                                           LAYOUT_TABLE(exfat_label)};
static const struct layout guid_layout = {.name = "guid",
                                          .title = "exFAT volume GUID entry",
                                          .spec = "exFAT 7.5",
                                          .size = ENTRY_SIZE,
                                          LAYOUT_TABLE(exfat_guid),
                                          .seal = set_seal,
                                          .computed = set_computed};
static const struct layout fat_layout = {
    .name = "fat", .title = "exFAT FAT entry", .spec = "exFAT 4.1", .size = 4, LAYOUT_TABLE(exfat_fat)};

const struct layout *const exfat_layouts[] = {&exfat_boot_layout, &set_layout,    &file_layout,
                                              &bitmap_layout,     &upcase_layout, &label_layout,
                                              &guid_layout,       &fat_layout,    NULL};

/* ---- places -------------------------------------------------------------------------------------------- */

/* The whole set when it lies in one piece, else its first entry. */
static bool set_place(struct exfat *exfat, struct exfat_dir *dir, uint32_t slot, uint32_t count,
                      struct place *place, struct error *err)
{
    uint64_t off, last;
    if (!exfat_slot_off(exfat, dir, slot, &off, err) ||
        !exfat_slot_off(exfat, dir, slot + count - 1, &last, err))
        return false;
    bool whole = last == off + (uint64_t)(count - 1) * ENTRY_SIZE;
    place->layout = whole ? &set_layout : &file_layout;
    place->off = off;
    place->size = whole ? count * ENTRY_SIZE : ENTRY_SIZE;
    place->index = exfat_id(dir->stream.first, slot);
    snprintf(place->title, sizeof place->title, "entry set #%llu%s", (unsigned long long)place->index,
             whole ? "" : ", its first entry");
    return true;
}

static bool locate_entry(struct exfat *exfat, const char *args, struct place *place, struct error *err)
{
    struct exfat_dir *dir;
    uint8_t raw[ENTRY_SIZE];
    uint64_t id;
    if (!place_number(args, &id, err))
        return false;
    if (id == ROOT_ID)
        return fail(err, E_INVALID, "the root directory has no entry");
    uint32_t slot = (uint32_t)(id & 0xFFFFFF);
    if (!exfat_dir_of_cluster(exfat, (uint32_t)(id >> 24), &dir, err) ||
        !exfat_slots_read(exfat, dir, slot, 1, raw, err))
        return false;
    uint32_t count = (raw[0] | TYPE_IN_USE) == TYPE_FILE ? 1u + raw[1] : 1;
    return set_place(exfat, dir, slot, MIN_OF(count, dir->slots - slot), place, err);
}

struct root_search {
    uint8_t type;
    uint64_t off; /* 0: not found */
};

static bool match_type(struct exfat *exfat, struct exfat_dir *dir, const struct exfat_item *item, void *arg,
                       struct error *err)
{
    struct root_search *search = arg;
    (void)exfat;
    (void)dir;
    (void)err;
    if (item->kind == ITEM_OTHER && item->raw[0] == search->type)
        search->off = item->off;
    return search->off == 0;
}

static bool locate_root(struct exfat *exfat, const struct layout *layout, uint8_t type, struct place *place,
                        struct error *err)
{
    struct root_search search = {.type = type};
    struct exfat_dir *dir;
    if (!exfat_dir_open(exfat, ROOT_ID, &dir, err) || !exfat_dir_scan(exfat, dir, match_type, &search, err))
        return false;
    if (search.off == 0)
        return fail(err, E_NOENT, "the volume has no %s", layout->title);
    place->layout = layout;
    place->off = search.off;
    place->size = ENTRY_SIZE;
    snprintf(place->title, sizeof place->title, "%s", layout->title);
    return true;
}

static void boot_place(struct exfat *exfat, bool backup, struct place *place)
{
    place->layout = &exfat_boot_layout;
    place->off = backup ? (uint64_t)BOOT_SECTORS * exfat->g.sector_size : 0;
    place->size = BOOT_SECTORS * exfat->g.sector_size;
    snprintf(place->title, sizeof place->title, "%sboot region", backup ? "backup " : "");
}

static void table_place(struct exfat *exfat, uint32_t n, struct place *place)
{
    place->layout = &fat_layout;
    place->off = exfat->g.fat_off + (uint64_t)n * 4;
    place->size = 4;
    place->index = n;
    snprintf(place->title, sizeof place->title, "FAT entry of cluster %u", n);
}

bool exfat_locate(void *opened, const char *structure, const char *args, struct place *place,
                  struct error *err)
{
    static const struct {
        const struct layout *layout;
        uint8_t type;
    } root_entries[] = {{&bitmap_layout, TYPE_BITMAP},
                        {&upcase_layout, TYPE_UPCASE},
                        {&label_layout, TYPE_LABEL},
                        {&guid_layout, TYPE_GUID}};
    struct exfat *exfat = opened;
    uint64_t n;
    *place = (struct place){.device = exfat->fs.device, .owner = exfat};
    if (strcmp(structure, "boot") == 0) {
        boot_place(exfat, strcmp(args, "backup") == 0, place);
        return args[0] == '\0' || strcmp(args, "#1") == 0 || strcmp(args, "backup") == 0 ||
               fail(err, E_NOENT, "there is no boot region '%s'", args);
    }
    if (strcmp(structure, "entry") == 0 || strcmp(structure, "file") == 0)
        return locate_entry(exfat, args, place, err);
    if (strcmp(structure, "fat") == 0) {
        if (!place_number(args, &n, err))
            return false;
        if (n >= (uint64_t)exfat->g.clusters + 2)
            return fail(err, E_NOENT, "there is no cluster %llu; clusters are 2 to %u", (unsigned long long)n,
                        exfat->g.clusters + 1);
        table_place(exfat, (uint32_t)n, place);
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(root_entries); i++)
        if (strcmp(structure, root_entries[i].layout->name) == 0)
            return locate_root(exfat, root_entries[i].layout, root_entries[i].type, place, err);
    return fail(err, E_USAGE, "there is no structure exfat.%s", structure);
}

/* ---- what ---------------------------------------------------------------------------------------------- */

static void head_owner(struct exfat *exfat, uint64_t off, struct owner *owner)
{
    uint64_t region = (uint64_t)BOOT_SECTORS * exfat->g.sector_size;
    uint64_t fat_end = exfat->g.fat_off + exfat->g.fat_len;
    owner->place = (struct place){.device = exfat->fs.device, .owner = exfat};
    if (off < 2 * region) {
        boot_place(exfat, off >= region, &owner->place);
        owner_set(owner, OWNER_STRUCTURE, region - off % region, owner->place.title);
        return;
    }
    uint64_t n = off < exfat->g.fat_off ? 0 : (off - exfat->g.fat_off) / 4;
    if (off >= exfat->g.fat_off && off < fat_end && n < (uint64_t)exfat->g.clusters + 2) {
        table_place(exfat, (uint32_t)n, &owner->place);
        owner_set(owner, OWNER_STRUCTURE, 4 - (off - exfat->g.fat_off) % 4, owner->place.title);
        return;
    }
    owner->place.layout = NULL;
    if (off < exfat->g.fat_off)
        owner_set(owner, OWNER_RESERVED, exfat->g.fat_off - off, "gap before the FAT");
    else
        owner_set(owner, OWNER_RESERVED, (off < fat_end ? fat_end : exfat->g.heap_off) - off,
                  off < fat_end ? "end of the FAT, unused" : "gap before the clusters");
}

bool exfat_owner(void *opened, uint64_t off, struct owner *owner, struct error *err)
{
    struct exfat *exfat = opened;
    uint64_t end = exfat_cluster_off(exfat, exfat->g.clusters + 2);
    uint32_t at = 0, len = 0;
    *owner = (struct owner){.kind = OWNER_UNKNOWN, .len = 1};
    if (off < exfat->g.heap_off) {
        head_owner(exfat, off, owner);
        return true;
    }
    if (off >= end) {
        owner_set(owner, OWNER_RESERVED, exfat->fs.device->size - off, "behind the last cluster");
        return true;
    }
    if (!exfat_space_load(exfat, err))
        return false;
    uint32_t cluster = (uint32_t)((off - exfat->g.heap_off) >> exfat->g.cluster_shift) + 2;
    uint64_t run = exfat_cluster_off(exfat, cluster + 1) - off;
    for (uint32_t i = 0; exfat_stream_map(exfat, &exfat->bitmap, i, &at, &len, err) && len > 0; i += len)
        if (cluster >= at && cluster - at < len) {
            owner_set(owner, OWNER_STRUCTURE, run, "allocation bitmap");
            return true;
        }
    bool is_free = space_is_free(&exfat->space, cluster);
    owner_set(owner, is_free ? OWNER_FREE : OWNER_DATA, run, "");
    snprintf(owner->text, sizeof owner->text, "%scluster %u", is_free ? "free " : "", cluster);
    return true;
}

/* The set that the entry at `off` is of; false: of none that begins in this cluster. */
static bool find_set(struct exfat *exfat, const uint8_t *cluster, uint64_t off, uint64_t *start,
                     uint32_t *count)
{
    uint64_t slot = (off - exfat->g.heap_off) % exfat->g.cluster_size / ENTRY_SIZE;
    uint64_t slots = exfat->g.cluster_size / ENTRY_SIZE;
    for (uint64_t back = 0; back <= slot && back < SET_SIZE / ENTRY_SIZE; back++) {
        const uint8_t *raw = cluster + (slot - back) * ENTRY_SIZE;
        if ((raw[0] | TYPE_IN_USE) != TYPE_FILE)
            continue;
        *start = off - off % ENTRY_SIZE - back * ENTRY_SIZE;
        *count = 1u + raw[1];
        return back < *count && slot - back + *count <= slots && *count <= SET_SIZE / ENTRY_SIZE;
    }
    return false;
}

bool exfat_dir_owner(struct fs *fs, uint64_t off, struct owner *owner, struct error *err)
{
    static const struct {
        uint8_t type;
        const struct layout *layout;
    } others[] = {{TYPE_BITMAP, &bitmap_layout},
                  {TYPE_UPCASE, &upcase_layout},
                  {TYPE_LABEL, &label_layout},
                  {TYPE_GUID, &guid_layout}};
    struct exfat *exfat = exfat_of(fs);
    uint64_t inside = (off - exfat->g.heap_off) % exfat->g.cluster_size;
    uint8_t *cluster = mem_new(exfat->g.cluster_size, err);
    uint32_t count;
    if (!cluster || !device_read(fs->device, off - inside, cluster, exfat->g.cluster_size, err)) {
        free(cluster);
        return false;
    }
    struct place *place = &owner->place;
    *place = (struct place){.device = fs->device, .owner = exfat, .size = ENTRY_SIZE};
    place->off = off - inside % ENTRY_SIZE;
    snprintf(place->title, sizeof place->title, "directory entry");
    uint8_t type = cluster[inside - inside % ENTRY_SIZE];
    if (find_set(exfat, cluster, off, &place->off, &count)) {
        place->layout = &set_layout;
        place->size = count * ENTRY_SIZE;
        snprintf(place->title, sizeof place->title, "entry set");
    }
    for (size_t i = 0; !place->layout && i < ARRAY_LEN(others); i++)
        if ((type | TYPE_IN_USE) == others[i].type) {
            place->layout = others[i].layout;
            snprintf(place->title, sizeof place->title, "%s", place->layout->title);
        }
    free(cluster);
    owner_set(owner, OWNER_STRUCTURE, place->off + place->size - off, place->title);
    return true;
}

/* ---- where, info --------------------------------------------------------------------------------------- */

bool exfat_describe(struct fs *fs, fs_id id, uint64_t off, struct report *report, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    struct exfat_stream s = {.first = exfat->g.root};
    struct exfat_set set;
    uint64_t entry;
    uint32_t cluster, len, index = (uint32_t)(off >> exfat->g.cluster_shift);
    if (id != ROOT_ID) {
        if (!exfat_set_load(exfat, id, &set, err) || !exfat_slot_off(exfat, set.dir, set.slot, &entry, err))
            return false;
        exfat_set_stream(set.raw, &s);
        report_hex(report, "directory-entry", entry);
    }
    report_number(report, "first-cluster", s.first);
    report_bool(report, "no-fat-chain", s.contiguous);
    if (!exfat_stream_map(exfat, &s, index, &cluster, &len, err))
        return false;
    report_number(report, "cluster-index", index);
    if (len == 0)
        return true;
    report_number(report, "cluster", cluster);
    if (!s.contiguous)
        report_hex(report, "fat-entry", exfat->g.fat_off + (uint64_t)cluster * 4);
    if (!exfat_bitmap_off(exfat, cluster, &entry, err))
        return false;
    report_hex(report, "bitmap-byte", entry);
    report_hex(report, "cluster-offset", exfat_cluster_off(exfat, cluster));
    return true;
}

bool exfat_info(struct fs *fs, bool verbose, struct report *report, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    const struct exfat_geometry *g = &exfat->g;
    struct place place;
    struct error none;
    char guid[40];
    if (!exfat_space_load(exfat, err))
        return false;
    report_size(report, "sector-size", g->sector_size);
    report_size(report, "cluster-size", g->cluster_size);
    report_number(report, "clusters", g->clusters);
    report_number(report, "free-clusters", exfat->space.free);
    if (!verbose)
        return true;
    report_size(report, "fat-offset", g->fat_off);
    report_size(report, "fat-length", g->fat_len);
    report_size(report, "data-offset", g->heap_off);
    report_number(report, "root-cluster", g->root);
    report_number(report, "bitmap-cluster", exfat->bitmap.first);
    report_hex(report, "volume-flags", g->flags);
    if (locate_root(exfat, &guid_layout, TYPE_GUID, &place, &none)) {
        uint8_t raw[ENTRY_SIZE];
        if (!device_read(fs->device, place.off, raw, sizeof raw, err))
            return false;
        kind_guid.format(layout_field(&guid_layout, "VolumeGuid"), exfat_guid_VolumeGuid(raw), guid,
                         sizeof guid);
        report_text(report, "guid", guid);
    }
    return true;
}
