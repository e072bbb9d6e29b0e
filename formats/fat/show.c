/* What `show`, `where`, `what` and `info` tell of a FAT volume. */
#include "fat.h"

#include <stdio.h>

#define FAT_FAT16(F, T) F(T, 0, 2, LE, next, fat_kind_next16, "what follows this cluster")
#define FAT_FAT32(F, T) F(T, 0, 4, LE, next, fat_kind_next32, "what follows this cluster (28 bits)")
#define FAT_FAT12(F, T)                                                                                      \
    F(T, 0, 3, RAW, pair, fat_kind_pair, "what follows an even cluster and the odd one after it")

static const char *next_meaning(uint32_t value, uint32_t bad)
{
    return value == 0     ? "free"
           : value == 1   ? "reserved"
           : value == bad ? "bad"
           : value > bad  ? "end of chain"
                          : "";
}

static void next16_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    (void)field;
    snprintf(out, size, "%s", next_meaning(load_le16(raw), 0xFFF7));
}

static void next32_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    (void)field;
    snprintf(out, size, "%s", next_meaning(load_le32(raw) & 0x0FFFFFFF, CLUSTER_BAD));
}

static void pair_format(const struct field *field, const void *raw, char *out, size_t size)
{
    uint32_t both = (uint32_t)load_le(raw, 3);
    (void)field;
    snprintf(out, size, "0x%03x,0x%03x", both & 0xFFF, both >> 12);
}

static bool pair_parse(const struct field *field, const char *text, void *raw, struct error *err)
{
    char *end;
    unsigned long even = strtoul(text, &end, 0), odd = *end == ',' ? strtoul(end + 1, &end, 0) : 0x1000;
    if (*end || even > 0xFFF || odd > 0xFFF)
        return fail(err, E_INVALID, "'%s' is not a value for %s: two numbers up to 0xfff, as in 0x003,0xfff",
                    text, field->name);
    store_le(raw, 3, even | odd << 12);
    return true;
}

static void one_of_pair(uint32_t value, char *out, size_t size)
{
    const char *meaning = next_meaning(value, 0xFF7);
    if (meaning[0])
        snprintf(out, size, "%s", meaning);
    else
        snprintf(out, size, "cluster %u", value);
}

static void pair_meaning(const struct field *field, const void *raw, char *out, size_t size)
{
    uint32_t both = (uint32_t)load_le(raw, 3);
    char even[32], odd[32];
    (void)field;
    one_of_pair(both & 0xFFF, even, sizeof even);
    one_of_pair(both >> 12, odd, sizeof odd);
    snprintf(out, size, "%s; %s", even, odd);
}

static const struct kind fat_kind_next16 = {"fat-next", kind_hex_format, kind_number_parse, next16_meaning,
                                            NULL};
static const struct kind fat_kind_next32 = {"fat-next", kind_hex_format, kind_number_parse, next32_meaning,
                                            NULL};
static const struct kind fat_kind_pair = {"fat-pair", pair_format, pair_parse, pair_meaning, NULL};

LAYOUT_FIELDS(fat_entry, FAT_ENTRY);
LAYOUT_FIELDS(fat_long, FAT_LONG);
static const struct field fat_fat12_fields[] = {FAT_FAT12(LAYOUT_ROW, T)};
static const struct field fat_fat16_fields[] = {FAT_FAT16(LAYOUT_ROW, T)};
static const struct field fat_fat32_fields[] = {FAT_FAT32(LAYOUT_ROW, T)};

static const struct layout entry_layout = {.name = "entry",
                                           .title = "FAT directory entry",
                                           .spec = "FATGEN: FAT Directory Structure",
                                           .size = ENTRY_SIZE,
                                           LAYOUT_TABLE(fat_entry)};
static const struct layout long_layout = {.name = "long",
                                          .title = "FAT long name entry",
                                          .spec = "FATGEN: Long Directory Entries",
                                          .size = ENTRY_SIZE,
                                          LAYOUT_TABLE(fat_long)};
static const struct layout fat12_layout = {.name = "fat12",
                                           .title = "two entries of a 12-bit FAT",
                                           .spec = "FATGEN: FAT Data Structure",
                                           .size = 3,
                                           LAYOUT_TABLE(fat_fat12)};
static const struct layout fat16_layout = {.name = "fat16",
                                           .title = "entry of a 16-bit FAT",
                                           .spec = "FATGEN: FAT Data Structure",
                                           .size = 2,
                                           LAYOUT_TABLE(fat_fat16)};
static const struct layout fat32_layout = {.name = "fat",
                                           .title = "entry of a 32-bit FAT",
                                           .spec = "FATGEN: FAT Data Structure",
                                           .size = 4,
                                           LAYOUT_TABLE(fat_fat32)};

const struct layout *const fat_layouts[] = {&fat_boot16_layout, &fat_boot32_layout, &fat_fsinfo_layout,
                                            &entry_layout,      &long_layout,       &fat32_layout,
                                            &fat16_layout,      &fat12_layout,      NULL};

/* ---- places -------------------------------------------------------------------------------------------- */

static void boot_place(struct fat *fat, uint32_t sector, struct place *place)
{
    place->layout = fat->g.bits == 32 ? &fat_boot32_layout : &fat_boot16_layout;
    place->off = (uint64_t)sector * fat->g.sector_size;
    place->size = 512;
    snprintf(place->title, sizeof place->title, "FAT%u boot sector%s", fat->g.bits, sector ? " (copy)" : "");
}

static void table_place(struct fat *fat, uint32_t n, struct place *place)
{
    place->layout = fat->g.bits == 32 ? &fat32_layout : fat->g.bits == 16 ? &fat16_layout : &fat12_layout;
    place->size = place->layout->size;
    place->off = fat_entry_off(fat, fat->g.bits == 12 ? n & ~1u : n);
    place->index = n;
    snprintf(place->title, sizeof place->title, "FAT entry of cluster %u", n);
}

static void entry_place(fs_id id, const struct layout *layout, struct place *place)
{
    place->layout = layout;
    place->off = id * ENTRY_SIZE;
    place->size = ENTRY_SIZE;
    place->index = id;
    snprintf(place->title, sizeof place->title, "%s #%llu",
             layout == &entry_layout ? "directory entry" : "long name entry", (unsigned long long)id);
}

static bool locate_entry(struct fat *fat, const char *args, const struct layout *layout, struct place *place,
                         struct error *err)
{
    struct cache_block *block;
    uint8_t *raw;
    uint64_t id;
    if (!place_number(args, &id, err))
        return false;
    if (id == ROOT_ID)
        return fail(err, E_INVALID, "the root directory has no entry");
    if (!fat_entry_get(fat, id, &block, &raw, err))
        return false;
    cache_release(fat->meta, block);
    entry_place(id, layout, place);
    return true;
}

bool fat_locate(void *opened, const char *structure, const char *args, struct place *place, struct error *err)
{
    struct fat *fat = opened;
    uint64_t n;
    *place = (struct place){.device = fat->fs.device, .owner = fat};
    if (strcmp(structure, "boot") == 0 || strcmp(structure, "boot32") == 0) {
        bool backup = strcmp(args, "backup") == 0;
        boot_place(fat, backup ? fat->g.backup : 0, place);
        return args[0] == '\0' || strcmp(args, "#1") == 0 || (backup && fat->g.backup) ||
               fail(err, E_NOENT, "there is no boot sector '%s'", args);
    }
    if (strcmp(structure, "fsinfo") == 0) {
        if (fat->g.fsinfo == 0)
            return fail(err, E_NOENT, "%s has no FSInfo", fat->fs.type);
        place->layout = &fat_fsinfo_layout;
        place->off = (uint64_t)fat->g.fsinfo * fat->g.sector_size;
        place->size = 512;
        snprintf(place->title, sizeof place->title, "FSInfo");
        return true;
    }
    if (strcmp(structure, "entry") == 0)
        return locate_entry(fat, args, &entry_layout, place, err);
    if (strcmp(structure, "long") == 0)
        return locate_entry(fat, args, &long_layout, place, err);
    if (structure[0] == '\0' || strncmp(structure, "fat", 3) == 0) {
        if (!place_number(args, &n, err))
            return false;
        if (n >= fat->g.clusters + 2)
            return fail(err, E_NOENT, "there is no cluster %llu; clusters are 2 to %u", (unsigned long long)n,
                        fat->g.clusters + 1);
        table_place(fat, (uint32_t)n, place);
        return true;
    }
    return fail(err, E_USAGE, "there is no structure fat.%s", structure);
}

/* ---- what ---------------------------------------------------------------------------------------------- */

static void reserved_owner(struct fat *fat, uint64_t off, struct owner *owner)
{
    uint32_t ss = fat->g.sector_size, sector = (uint32_t)(off / ss), inside = (uint32_t)(off % ss);
    bool boot = sector == 0 || (fat->g.backup && sector == fat->g.backup);
    owner_set(owner, OWNER_RESERVED, ss - inside, "reserved sector before the FAT");
    if (inside >= 512 || !(boot || (fat->g.fsinfo && sector == fat->g.fsinfo)))
        return;
    owner->place = (struct place){.device = fat->fs.device, .owner = fat};
    if (boot) {
        boot_place(fat, sector, &owner->place);
    } else {
        owner->place.layout = &fat_fsinfo_layout;
        owner->place.off = off - inside;
        owner->place.size = 512;
        snprintf(owner->place.title, sizeof owner->place.title, "FSInfo");
    }
    owner_set(owner, OWNER_STRUCTURE, 512 - inside, owner->place.title);
}

static void table_owner(struct fat *fat, uint64_t off, struct owner *owner)
{
    uint64_t pos = (off - fat->g.fat_off) % fat->g.fat_len;
    uint32_t copy = (uint32_t)((off - fat->g.fat_off) / fat->g.fat_len), bits = fat->g.bits;
    uint64_t n = bits == 12 ? pos / 3 * 2 : pos / (bits / 8);
    if (n >= fat->g.clusters + 2) {
        owner_set(owner, OWNER_RESERVED, fat->g.fat_len - pos, "end of the FAT, unused");
        return;
    }
    owner->place = (struct place){.device = fat->fs.device, .owner = fat};
    table_place(fat, (uint32_t)n, &owner->place);
    uint64_t inside = bits == 12 ? pos % 3 : pos % (bits / 8);
    owner->place.off = off - inside;
    owner_set(owner, OWNER_STRUCTURE, owner->place.size - inside, owner->place.title);
    snprintf(owner->text, sizeof owner->text, "FAT %u, entry of cluster %llu", copy, (unsigned long long)n);
    if (copy > 0)
        snprintf(owner->place.title, sizeof owner->place.title, "FAT entry of cluster %llu, copy %u",
                 (unsigned long long)n, copy);
}

bool fat_dir_owner(struct fs *fs, uint64_t off, struct owner *owner, struct error *err)
{
    struct fat *fat = fat_of(fs);
    uint8_t raw[ENTRY_SIZE];
    uint64_t inside = off % ENTRY_SIZE;
    if (!device_read(fat->fs.device, off - inside, raw, sizeof raw, err))
        return false;
    bool is_long = (fat_entry_DIR_Attr(raw) & FAT_LONG_MASK) == FAT_LONG_NAME;
    owner->place = (struct place){.device = fat->fs.device, .owner = fat};
    entry_place(off / ENTRY_SIZE, is_long ? &long_layout : &entry_layout, &owner->place);
    owner_set(owner, OWNER_STRUCTURE, ENTRY_SIZE - inside, owner->place.title);
    return true;
}

static bool root_owner(struct fat *fat, uint64_t off, struct owner *owner, struct error *err)
{
    if (off < fat->g.root_off + fat->g.root_len)
        return fat_dir_owner(&fat->fs, off, owner, err);
    owner_set(owner, OWNER_RESERVED, fat->g.data_off - off, "padding behind the root directory");
    return true;
}

bool fat_owner(void *opened, uint64_t off, struct owner *owner, struct error *err)
{
    struct fat *fat = opened;
    uint64_t end = fat_cluster_off(fat, fat->g.clusters + 2);
    *owner = (struct owner){.kind = OWNER_UNKNOWN, .len = 1};
    if (off < fat->g.fat_off) {
        reserved_owner(fat, off, owner);
    } else if (off < fat->g.root_off) {
        table_owner(fat, off, owner);
    } else if (off < fat->g.data_off) {
        return root_owner(fat, off, owner, err);
    } else if (off >= end) {
        owner_set(owner, OWNER_RESERVED, fat->fs.device->size - off, "behind the last cluster");
    } else {
        uint32_t cluster = (uint32_t)((off - fat->g.data_off) >> fat->g.cluster_shift) + 2, value;
        if (!fat_get(fat, cluster, &value, err))
            return false;
        uint64_t len = fat_cluster_off(fat, cluster + 1) - off;
        owner_set(owner,
                  value == CLUSTER_FREE  ? OWNER_FREE
                  : value == CLUSTER_BAD ? OWNER_RESERVED
                                         : OWNER_DATA,
                  len, value == CLUSTER_BAD ? "cluster marked bad" : "");
        if (!owner->text[0])
            snprintf(owner->text, sizeof owner->text, "%scluster %u", value == CLUSTER_FREE ? "free " : "",
                     cluster);
    }
    return true;
}

/* ---- where, info --------------------------------------------------------------------------------------- */

bool fat_describe(struct fs *fs, fs_id id, uint64_t off, struct report *report, struct error *err)
{
    struct fat *fat = fat_of(fs);
    struct chain *chain;
    uint8_t entry[ENTRY_SIZE];
    uint32_t cluster, len, index = (uint32_t)(off >> fat->g.cluster_shift);
    if (!fat_entry_load(fat, id, entry, err))
        return false;
    uint32_t first = fat_entry_cluster(fat, entry);
    if (id != ROOT_ID)
        report_hex(report, "directory-entry", id * ENTRY_SIZE);
    report_number(report, "first-cluster", first);
    if (first == 0)
        return true;
    if (!fat_chain_open(fat, first, &chain, err) || !fat_chain_map(fat, chain, index, &cluster, &len, err))
        return false;
    report_number(report, "cluster-index", index);
    if (len == 0)
        return true;
    report_number(report, "cluster", cluster);
    report_hex(report, "fat-entry", fat_entry_off(fat, cluster));
    report_hex(report, "cluster-offset", fat_cluster_off(fat, cluster));
    return true;
}

bool fat_info(struct fs *fs, bool verbose, struct report *report, struct error *err)
{
    struct fat *fat = fat_of(fs);
    const struct fat_geometry *g = &fat->g;
    if (!fat_space_load(fat, err))
        return false;
    report_number(report, "fat-bits", g->bits);
    report_size(report, "sector-size", g->sector_size);
    report_size(report, "cluster-size", g->cluster_size);
    report_number(report, "clusters", g->clusters);
    report_number(report, "free-clusters", fat->space.free);
    if (!verbose)
        return true;
    report_number(report, "bad-clusters", fat->bad_clusters);
    report_number(report, "reserved-sectors", g->reserved);
    report_number(report, "fats", g->fats);
    report_number(report, "fat-sectors", g->fat_sectors);
    if (g->bits == 32)
        report_number(report, "root-cluster", g->root);
    else
        report_number(report, "root-entries", g->root_entries);
    report_hex(report, "media", g->media);
    report_size(report, "data-offset", g->data_off);
    report_number(report, "codepage", fat->codepage->number);
    return true;
}
