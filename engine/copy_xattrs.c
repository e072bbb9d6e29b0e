/* The extended attributes of what is copied, and for a mirror whether they are the same already. */
#include "copy_loop.h"

#include "alloc.h"

#include <stdlib.h>
#include <sys/stat.h>

struct xattr_copy {
    struct copy_target *target;
    bool of_directory, lost;
};

static bool copy_one(void *arg, const char *name, const void *value, size_t len, struct error *err)
{
    struct xattr_copy *xattr = arg;
    if (xattr->target->ops->xattr(xattr->target, xattr->of_directory, name, value, len, err))
        return true;
    if (err->kind == E_NOMEM || err->kind == E_INTERRUPTED || err->kind == E_DAMAGED || err->kind == E_IO)
        return because(err, "extended attribute %s", name);
    xattr->lost = true;
    return true;
}

bool copy_xattrs(struct copy *copy, const struct copy_item *item, struct error *err)
{
    struct xattr_copy xattr = {.target = copy->target, .of_directory = item->event == WALK_LEAVE};
    if (!copy->options->archive || !copy->target->limits->xattrs)
        return true;
    if (!item->attr.no_xattrs && !copy->source->ops->xattrs(copy->source, copy_one, &xattr, err))
        return false;
    if (xattr.lost)
        copy_lost(copy->tally, LOSS_XATTR, item->path);
    return true;
}

/* ---- comparing ---- */

struct held {
    char *name;
    void *value;
    size_t len;
    bool wanted; /* the source has it */
};

struct holding {
    struct held *items;
    size_t count, capacity;
    bool differ;
};

static void holding_free(struct holding *holding)
{
    for (size_t i = 0; i < holding->count; i++) {
        free(holding->items[i].name);
        free(holding->items[i].value);
    }
    free(holding->items);
}

static bool hold(void *arg, const char *name, const void *value, size_t len, struct error *err)
{
    struct holding *holding = arg;
    if (!mem_grow(&holding->items, &holding->capacity, holding->count + 1, sizeof *holding->items, err))
        return false;
    struct held *item = &holding->items[holding->count];
    *item = (struct held){.name = mem_string(name, err), .value = mem_new(len + 1, err), .len = len};
    if (!item->name || !item->value) {
        free(item->name);
        free(item->value);
        return false;
    }
    memcpy(item->value, value, len);
    holding->count++;
    return true;
}

static bool look_for(void *arg, const char *name, const void *value, size_t len, struct error *err)
{
    struct holding *holding = arg;
    (void)err;
    for (size_t i = 0; i < holding->count; i++) {
        struct held *item = &holding->items[i];
        if (strcmp(item->name, name) == 0) {
            item->wanted = true;
            holding->differ |= item->len != len || memcmp(item->value, value, len) != 0;
            return true;
        }
    }
    holding->differ = true;
    return true;
}

/* What the target's file has, and whether the source has the same. */
static bool compare(struct copy *copy, const char *name, struct holding *holding, struct error *err)
{
    struct copy_target *target = copy->target;
    *holding = (struct holding){0};
    bool ok = target->ops->xattrs(target, name, hold, holding, err) &&
              copy->source->ops->xattrs(copy->source, look_for, holding, err);
    for (size_t i = 0; i < holding->count; i++)
        holding->differ |= !holding->items[i].wanted;
    return ok;
}

bool copy_same_xattrs(struct copy *copy, const struct copy_item *item, const char *name, bool *same,
                      struct error *err)
{
    struct holding holding;
    *same = true;
    if (!copy->target->limits->xattrs || S_ISLNK(item->attr.mode))
        return true;
    bool ok = compare(copy, name, &holding, err);
    *same = !holding.differ;
    holding_free(&holding);
    return ok;
}

bool copy_drop_xattrs(struct copy *copy, const char *name, bool of_directory, struct error *err)
{
    struct copy_target *target = copy->target;
    struct holding holding;
    if (!target->limits->xattrs)
        return true;
    bool ok = compare(copy, name, &holding, err);
    for (size_t i = 0; ok && i < holding.count; i++)
        if (!holding.items[i].wanted)
            ok = target->ops->xattr(target, of_directory, holding.items[i].name, NULL, 0, err);
    holding_free(&holding);
    return ok;
}
