/* The journal replayed in memory: a device that shows the volume as it would be after the replay. */
#include "journal.h"

#include "alloc.h"

#include <stdlib.h>

/* What a block reads as: base's block `from`, or a page in memory. */
struct slot {
    uint64_t key; /* block + 1; 0: empty */
    uint64_t from;
    uint8_t *page;
    bool escaped;
};

struct overlay {
    struct device device;
    uint32_t block_size;
    struct slot *slots; /* open addressing; a power of two */
    size_t size, used;
};

static struct overlay *overlay_of(struct device *device)
{
    return (struct overlay *)device;
}

static struct slot *slot_for(const struct overlay *o, uint64_t block)
{
    uint64_t hash = (block + 1) * UINT64_C(0x9E3779B97F4A7C15);
    size_t at = (size_t)(hash >> 20) & (o->size - 1);
    while (o->slots[at].key != 0 && o->slots[at].key != block + 1)
        at = (at + 1) & (o->size - 1);
    return &o->slots[at];
}

static struct slot *slot_find(const struct overlay *o, uint64_t block)
{
    struct slot *slot = o->size ? slot_for(o, block) : NULL;
    return slot && slot->key ? slot : NULL;
}

static bool slot_add(struct overlay *o, uint64_t block, struct slot **out, struct error *err)
{
    if (2 * (o->used + 1) > o->size) {
        struct overlay grown = *o;
        grown.size = o->size ? o->size * 2 : 1024;
        grown.slots = mem_array(grown.size, sizeof *grown.slots, err);
        if (!grown.slots)
            return false;
        for (size_t i = 0; i < o->size; i++)
            if (o->slots[i].key)
                *slot_for(&grown, o->slots[i].key - 1) = o->slots[i];
        free(o->slots);
        *o = grown;
    }
    *out = slot_for(o, block);
    if ((*out)->key == 0) {
        (*out)->key = block + 1;
        o->used++;
    }
    return true;
}

static bool slot_read(struct overlay *o, const struct slot *slot, uint32_t at, void *buf, size_t n,
                      struct error *err)
{
    static const uint8_t magic[4] = {0xC0, 0x3B, 0x39, 0x98};
    if (slot->page) {
        memcpy(buf, slot->page + at, n);
        return true;
    }
    if (!device_read(o->device.below, slot->from * o->block_size + at, buf, n, err))
        return false;
    if (slot->escaped && at < sizeof magic)
        memcpy(buf, magic + at, MIN_OF(n, sizeof magic - at));
    return true;
}

static bool overlay_read(struct device *device, uint64_t off, void *buf, size_t n, struct error *err)
{
    struct overlay *o = overlay_of(device);
    uint8_t *to = buf;
    while (n > 0) {
        uint64_t block = off / o->block_size;
        uint32_t at = (uint32_t)(off % o->block_size);
        size_t piece = MIN_OF(n, o->block_size - at);
        const struct slot *slot = slot_find(o, block);
        while (!slot && piece < n && !slot_find(o, (off + piece) / o->block_size))
            piece += MIN_OF(n - piece, o->block_size);
        if (slot ? !slot_read(o, slot, at, to, piece, err) : !device_read(device->below, off, to, piece, err))
            return false;
        off += piece;
        to += piece;
        n -= piece;
    }
    return true;
}

static bool overlay_write(struct device *device, uint64_t off, const void *buf, size_t n,
                          enum write_class write_class, struct error *err)
{
    (void)write_class; /* it stays in memory */
    struct overlay *o = overlay_of(device);
    const uint8_t *from = buf;
    while (n > 0) {
        uint64_t block = off / o->block_size;
        uint32_t at = (uint32_t)(off % o->block_size);
        size_t piece = MIN_OF(n, o->block_size - at);
        struct slot *slot = slot_find(o, block);
        if (!slot || !slot->page) {
            uint8_t *page = mem_new(o->block_size, err);
            if (!page || !overlay_read(device, block * o->block_size, page, o->block_size, err) ||
                !slot_add(o, block, &slot, err)) {
                free(page);
                return false;
            }
            slot->page = page;
        }
        memcpy(slot->page + at, from, piece);
        off += piece;
        from += piece;
        n -= piece;
    }
    return true;
}

static bool overlay_map(struct device *device, uint64_t off, struct extent *out, struct error *err)
{
    (void)err;
    struct overlay *o = overlay_of(device);
    uint64_t block = off / o->block_size;
    uint32_t at = (uint32_t)(off % o->block_size);
    const struct slot *slot = slot_find(o, block);
    *out = (struct extent){.len = MIN_OF(o->block_size - at, device->size - off), .device = device->below};
    if (slot && slot->page)
        out->device = NULL;
    else
        out->off = (slot ? slot->from : block) * o->block_size + at;
    while (!slot && off + out->len < device->size && out->len < 16 * MiB &&
           !slot_find(o, (off + out->len) / o->block_size))
        out->len = MIN_OF(out->len + o->block_size, device->size - off);
    return true;
}

static void overlay_close(struct device *device)
{
    struct overlay *o = overlay_of(device);
    for (size_t i = 0; i < o->size; i++)
        free(o->slots[i].page);
    free(o->slots);
    free(o);
}

static const struct device_ops overlay_ops = {
    .name = "journal",
    .read = overlay_read,
    .write = overlay_write,
    .map = overlay_map,
    .close = overlay_close,
};

struct device *ext_overlay_new(struct device *base, uint32_t block_size, struct error *err)
{
    struct overlay *o = mem_new(sizeof *o, err);
    if (!o)
        return NULL;
    o->device = (struct device){
        .ops = &overlay_ops, .below = base, .size = base->size, .block_size = base->block_size};
    o->block_size = block_size;
    return &o->device;
}

bool ext_overlay_map(struct device *overlay, uint64_t block, uint64_t from, bool escaped, struct error *err)
{
    struct slot *slot;
    if (!slot_add(overlay_of(overlay), block, &slot, err))
        return false;
    free(slot->page);
    slot->page = NULL;
    slot->from = from;
    slot->escaped = escaped;
    return true;
}
