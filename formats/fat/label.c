/* The volume label, in the root directory and in the boot sector, and the volume id. */
#include "fat.h"
#include "random.h"

#include <stdio.h>

struct label_search {
    bool found;
    struct fat_item item;
};

static bool find_label(struct fat *fat, struct fat_dir *dir, const struct fat_item *item, void *arg,
                       struct error *err)
{
    struct label_search *search = arg;
    (void)fat;
    (void)dir;
    (void)err;
    if (item->kind == ITEM_LABEL) {
        search->found = true;
        search->item = *item;
    }
    return !search->found;
}

static bool store_root_label(struct fat *fat, const uint8_t label[SHORT_NAME], bool none, struct error *err)
{
    static const uint8_t unused[1] = {SLOT_FREE};
    struct label_search search = {false};
    struct fat_dir *dir;
    uint8_t entry[ENTRY_SIZE] = {0};
    if (!fat_dir_index(fat, ROOT_ID, &dir, err) || !fat_dir_scan(fat, dir, find_label, &search, err))
        return false;
    if (search.found && none) {
        return slots_mark(&dir->index, search.item.slot, 1, false, err) &&
               fat_slot_put(fat, dir, search.item.slot, unused, 1, err);
    }
    if (search.found)
        return fat_slot_put(fat, dir, search.item.slot, label, SHORT_NAME, err);
    if (none)
        return true;
    memcpy(entry, label, SHORT_NAME);
    fat_entry_set_DIR_Attr(entry, FAT_VOLUME);
    fat_entry_set_DIR_WrtDate(entry, 1 << 5 | 1);
    if (!fat_dir_take(fat, dir, 1, &search.item.slot, err))
        return false;
    return fat_slot_put(fat, dir, search.item.slot, entry, ENTRY_SIZE, err) &&
           fat_dir_move_end(fat, dir, search.item.slot + 1, err);
}

bool fat_read_label(struct fat *fat, struct error *err)
{
    struct label_search search = {false};
    struct cache_block *block;
    struct fat_dir *dir;
    if (!fat_dir_open(fat, ROOT_ID, &dir, err) || !fat_dir_scan(fat, dir, find_label, &search, err) ||
        !cache_get(fat->meta, fat->boot_off, &block, err))
        return false;
    uint8_t *label = search.found ? search.item.raw : fat_boot_label(&fat->g, block->data);
    fat->fs.label[0] = '\0';
    if (search.found ||
        (fat_boot_has_label(&fat->g, block->data) && memcmp(label, "NO NAME    ", SHORT_NAME) != 0))
        fat_label_decode(fat->codepage, label, fat->fs.label, sizeof fat->fs.label);
    uint32_t volume_id = load_le32(fat_boot_volume_id(&fat->g, block->data));
    fat->fs.uuid[0] = '\0';
    if (fat_boot_has_label(&fat->g, block->data))
        snprintf(fat->fs.uuid, sizeof fat->fs.uuid, "%04X-%04X", volume_id >> 16, volume_id & 0xFFFF);
    cache_release(fat->meta, block);
    return true;
}

/* Boot sectors before DOS 4 have boot code where later ones have label and id. */
static bool boot_has_label(struct fat *fat, bool *has, struct error *err)
{
    struct cache_block *block;
    if (!cache_get(fat->meta, fat->boot_off, &block, err))
        return false;
    *has = fat_boot_has_label(&fat->g, block->data);
    cache_release(fat->meta, block);
    return true;
}

bool fat_set_label(struct fs *fs, const char *text, struct error *err)
{
    struct fat *fat = fat_of(fs);
    uint8_t label[SHORT_NAME], base[1] = {0};
    bool none = text[0] == '\0', in_boot;
    if (!fat_label_encode(fat->codepage, text, label, err) || !store_root_label(fat, label, none, err))
        return false;
    if (none)
        memcpy(label, "NO NAME    ", SHORT_NAME);
    uint32_t off = (uint32_t)(fat_boot_label(&fat->g, base) - base);
    if (!boot_has_label(fat, &in_boot, err) || (in_boot && !fat_boot_patch(fat, off, label, SHORT_NAME, err)))
        return false;
    return fat_read_label(fat, err);
}

bool fat_set_uuid(struct fs *fs, const char *text, struct error *err)
{
    struct fat *fat = fat_of(fs);
    uint8_t raw[4], base[1] = {0};
    uint32_t id = 0;
    bool has;
    if (strcmp(text, "random") == 0)
        id = random_u32();
    else if (strcmp(text, "clear") != 0 && !dosname_parse_serial(text, "a FAT volume id", &id, err))
        return false;
    if (!boot_has_label(fat, &has, err))
        return false;
    if (!has)
        return fail(err, E_UNSUPPORTED,
                    "the boot sector has no place for a volume id (BS_BootSig is not 0x29)");
    store_le32(raw, id);
    return fat_boot_patch(fat, (uint32_t)(fat_boot_volume_id(&fat->g, base) - base), raw, 4, err) &&
           fat_read_label(fat, err);
}
