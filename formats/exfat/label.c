/* Volume label (section 7.3), serial number, GUID (section 7.5). */
#include "exfat.h"
#include "random.h"
#include "utf.h"

#include <stdio.h>

bool exfat_label_encode(const char *text, uint8_t entry[ENTRY_SIZE], struct error *err)
{
    uint16_t units[MAX_LABEL];
    size_t count;
    if (!utf8_to_utf16(text, strlen(text), UTF_STRICT, units, MAX_LABEL, &count, err))
        return because(err, "label");
    for (size_t i = 0; i < count; i++)
        if (units[i] < 0x20 || (units[i] < 0x80 && strchr("\"*/:<>?\\|", units[i])))
            return fail(err, E_NAME, "an exFAT label cannot hold the character 0x%02x", units[i]);
    memset(entry, 0, ENTRY_SIZE);
    entry[0] = (uint8_t)(count ? TYPE_LABEL : TYPE_LABEL & ~TYPE_IN_USE);
    exfat_label_set_CharacterCount(entry, count);
    utf16_store_le(exfat_label_VolumeLabel(entry), units, count);
    return true;
}

struct find {
    uint8_t type;
    bool found;
    uint32_t slot;
};

static bool find_type(struct exfat *exfat, struct exfat_dir *dir, const struct exfat_item *item, void *arg,
                      struct error *err)
{
    struct find *find = arg;
    (void)exfat;
    (void)dir;
    (void)err;
    if (item->kind == ITEM_OTHER && item->raw[0] == find->type) {
        find->found = true;
        find->slot = item->slot;
    }
    return !find->found;
}

bool exfat_root_store(struct exfat *exfat, const uint8_t entry[ENTRY_SIZE], struct error *err)
{
    static const uint8_t end_mark[ENTRY_SIZE] = {TYPE_END};
    struct find find = {.type = entry[0] | TYPE_IN_USE};
    struct exfat_dir *dir;
    if (!exfat_dir_index(exfat, ROOT_ID, &dir, err) || !exfat_dir_scan(exfat, dir, find_type, &find, err))
        return false;
    bool used = entry[0] & TYPE_IN_USE;
    if (!find.found) {
        if (!used)
            return true;
        find.slot = slots_find_free(&dir->index, 1);
        if (find.slot >= dir->slots && !exfat_dir_grow(exfat, dir, err))
            return false;
    }
    if (!exfat_slots_write(exfat, dir, find.slot, 1, entry, err) ||
        !slots_mark(&dir->index, find.slot, 1, used, err))
        return false;
    if (find.slot < dir->end)
        return true;
    dir->end = find.slot + 1;
    return dir->end >= dir->slots || exfat_slots_write(exfat, dir, dir->end, 1, end_mark, err);
}

bool exfat_set_label(struct fs *fs, const char *label, struct error *err)
{
    uint8_t entry[ENTRY_SIZE];
    if (!exfat_label_encode(label, entry, err) || !exfat_root_store(exfat_of(fs), entry, err))
        return false;
    snprintf(fs->label, sizeof fs->label, "%s", label);
    return true;
}

bool exfat_set_uuid(struct fs *fs, const char *text, struct error *err)
{
    struct exfat *exfat = exfat_of(fs);
    uint32_t serial = 0;
    uint8_t raw[4];
    if (strcmp(text, "random") == 0)
        serial = random_u32();
    else if (strcmp(text, "clear") != 0 &&
             !dosname_parse_serial(text, "an exFAT serial number", &serial, err))
        return false;
    store_le32(raw, serial);
    if (!exfat_boot_patch(exfat, exfat_boot_off_VolumeSerialNumber, raw, sizeof raw, err))
        return false;
    exfat->g.serial = serial;
    snprintf(fs->uuid, sizeof fs->uuid, "%04X-%04X", serial >> 16, serial & 0xFFFF);
    return true;
}

const struct option exfat_tune_options[] = {
    {"guid", OPTION_TEXT, NULL, "volume GUID: a GUID, random, or none"},
    {NULL, 0, NULL, NULL},
};

bool exfat_tune(struct fs *fs, const struct options *options, struct error *err)
{
    uint8_t entry[ENTRY_SIZE] = {TYPE_GUID};
    const char *text = options_text(options, "guid", NULL);
    struct field field = {"VolumeGuid", exfat_guid_off_VolumeGuid, 16, ORDER_RAW, &kind_guid, ""};
    if (!text)
        return true;
    if (strcmp(text, "none") == 0)
        entry[0] &= (uint8_t)~TYPE_IN_USE;
    else if (strcmp(text, "random") == 0)
        random_bytes(exfat_guid_VolumeGuid(entry), 16);
    else if (!kind_guid.parse(&field, text, exfat_guid_VolumeGuid(entry), err))
        return false;
    exfat_guid_set_SetChecksum(entry, exfat_set_checksum(entry, 1));
    return exfat_root_store(exfat_of(fs), entry, err);
}
