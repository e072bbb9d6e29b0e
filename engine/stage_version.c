/* Contents of pages: counted, in memory by age, as what differs
 * from a newer version, or in the spill file. */
#include "alloc.h"
#include "bytes.h"
#include "checksum.h"
#include "stage_patch.h"
#include "stage_private.h"

#include <stdlib.h>

static void unlink_age(struct stage *stage, struct version *version)
{
    *(version->newer ? &version->newer->older : &stage->newest) = version->older;
    *(version->older ? &version->older->newer : &stage->oldest) = version->newer;
    version->newer = version->older = NULL;
}

static void link_newest(struct stage *stage, struct version *version)
{
    version->newer = NULL;
    version->older = stage->newest;
    *(stage->newest ? &stage->newest->newer : &stage->oldest) = version;
    stage->newest = version;
}

static void drop_data(struct stage *stage, struct version *version)
{
    if (!version->data)
        return;
    unlink_age(stage, version);
    if (stage->spare_count < STAGE_SPARE)
        stage->spare[stage->spare_count++] = version->data;
    else
        free(version->data);
    version->data = NULL;
    stage->memory -= STAGE_PAGE;
}

void versions_free_spare(struct stage *stage)
{
    while (stage->spare_count > 0)
        free(stage->spare[--stage->spare_count]);
    while (stage->idle) {
        struct version *version = stage->idle;
        stage->idle = version->older;
        free(version);
    }
    stage->idle_count = 0;
}

/* Versions come and go by the thousand when fresh pages are evicted. */
static void put_aside(struct stage *stage, struct version *version)
{
    if (stage->idle_count == STAGE_SPARE) {
        free(version);
        return;
    }
    version->older = stage->idle;
    stage->idle = version;
    stage->idle_count++;
}

static struct version *take_idle(struct stage *stage, struct error *err)
{
    struct version *version = stage->idle;
    if (!version)
        return mem_new(sizeof *version, err);
    stage->idle = version->older;
    stage->idle_count--;
    *version = (struct version){.references = 0};
    return version;
}

void version_follow(struct version *version, struct version *next)
{
    if (version->next)
        version->next->previous = NULL;
    version->next = next;
    next->previous = version;
}

static void version_free(struct stage *stage, struct version *version)
{
    drop_data(stage, version);
    if (version->spilled)
        spill_release(&stage->spill, version->slot);
    if (version->next)
        version->next->previous = NULL;
    if (version->previous)
        version->previous->next = NULL;
    free(version->patch);
    put_aside(stage, version);
}

/* A version may be all that holds the one it is based on, and so on: no recursion. */
void version_release(struct stage *stage, struct version *version)
{
    while (version && --version->references == 0) {
        struct version *base = version->base;
        version_free(stage, version);
        version = base;
    }
}

struct version *version_new(struct stage *stage, bool zero, struct error *err)
{
    struct version *version = take_idle(stage, err);
    if (!version)
        return NULL;
    version->references = 1;
    version->zero = zero;
    version->generation = stage->mark + 1;
    if (zero)
        return version;
    version->data = stage->spare_count ? stage->spare[--stage->spare_count] : mem_bytes(STAGE_PAGE, err);
    if (!version->data) {
        put_aside(stage, version);
        return NULL;
    }
    link_newest(stage, version);
    stage->memory += STAGE_PAGE;
    return version;
}

void version_touch(struct stage *stage, struct version *version)
{
    if (stage->newest == version)
        return;
    unlink_age(stage, version);
    link_newest(stage, version);
}

/* Bytes that are there as such, in memory or in the spill file. */
static bool read_plain(struct stage *stage, const struct version *version, uint8_t *page, struct error *err)
{
    if (version->zero)
        memset(page, 0, STAGE_PAGE);
    else if (version->data)
        memcpy(page, version->data, STAGE_PAGE);
    else
        return spill_read(&stage->spill, version->slot, version->crc, page, err);
    return true;
}

/* Apply the patches on the way to the plain version, the last first. */
static bool read_patched(struct stage *stage, const struct version *version, uint8_t *page, struct error *err)
{
    size_t count = 0;
    const struct version *plain = version;
    for (; plain->patch; plain = plain->base)
        count++;
    const struct patch **patches = mem_array(count, sizeof *patches, err);
    if (!patches)
        return false;
    for (size_t i = 0; i < count; i++, version = version->base)
        patches[i] = version->patch;
    bool ok = read_plain(stage, plain, page, err);
    for (size_t i = count; ok && i-- > 0;)
        patch_apply(patches[i], page);
    free(patches);
    return ok;
}

bool version_read(struct stage *stage, const struct version *version, size_t at, uint8_t *out, size_t n,
                  struct error *err)
{
    uint8_t page[STAGE_PAGE];
    if (version->zero) {
        memset(out, 0, n);
        return true;
    }
    if (version->data) {
        memcpy(out, version->data + at, n);
        return true;
    }
    bool ok =
        version->patch ? read_patched(stage, version, page, err) : read_plain(stage, version, page, err);
    if (ok)
        memcpy(out, page + at, n);
    return ok;
}

/* Keep only what differs from the next version, when that cannot change any more and is little. */
static bool keep_difference(struct stage *stage, struct version *version)
{
    struct version *next = version->next;
    if (!next || !next->data || next->generation > stage->mark)
        return false;
    version->patch = patch_make(version->data, next->data);
    if (!version->patch)
        return false;
    version->base = next;
    next->references++;
    drop_data(stage, version);
    return true;
}

void version_settle(struct stage *stage, const struct version *version)
{
    if (version->previous && version->previous->data)
        (void)keep_difference(stage, version->previous);
}

enum { BATCH = 256 };

static bool spill_oldest(struct stage *stage, struct error *err)
{
    struct version *versions[BATCH];
    const uint8_t *data[BATCH] = {0};
    uint64_t slots[BATCH];
    size_t n = 0;
    for (struct version *version = stage->oldest, *newer; version && n < BATCH; version = newer) {
        newer = version->newer;
        if (keep_difference(stage, version))
            continue;
        versions[n] = version;
        data[n++] = version->data;
    }
    if (stage->memory <= stage->options.memory)
        return true;
    if (!spill_write(&stage->spill, data, n, slots, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        versions[i]->crc = crc32c(~0u, data[i], STAGE_PAGE);
        versions[i]->slot = slots[i];
        versions[i]->spilled = true;
        drop_data(stage, versions[i]);
    }
    stage->spilled_pages += n;
    return true;
}

bool versions_spill(struct stage *stage, struct error *err)
{
    while (stage->memory > stage->options.memory)
        if (!spill_oldest(stage, err))
            return false;
    return true;
}
