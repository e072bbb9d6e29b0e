#include "signature.h"

#include <string.h>

/* An offset from the end of a device that is too short for it comes out past the end. */
static uint64_t place(const struct device *device, int64_t off)
{
    return off < 0 ? device->size - (uint64_t)-off : (uint64_t)off;
}

static bool holds(struct device *device, int64_t off, const char *magic, size_t len)
{
    uint8_t bytes[SIGNATURE_MAGIC_MAX];
    struct error ignored = {0};
    uint64_t at = place(device, off);
    bool inside = at <= device->size && len <= device->size - at;
    return inside && device_read(device, at, bytes, len, &ignored) && memcmp(bytes, magic, len) == 0;
}

const struct signature *signature_find(const struct signature *list, struct device *device)
{
    for (; list && list->name; list++)
        if (holds(device, list->off, list->magic, list->len) &&
            (list->second_len == 0 || holds(device, list->second_off, list->second_magic, list->second_len)))
            return list;
    return NULL;
}

bool signatures_wipe(const struct signature *list, struct device *device, struct error *err)
{
    const struct signature *found;
    while ((found = signature_find(list, device)))
        if (!device_zero(device, place(device, found->off), found->len, WRITE_UPDATE, err))
            return false;
    return true;
}
