/* Contents of pages: counted, in memory by age, or in the spill file. */
#include "alloc.h"
#include "bytes.h"
#include "checksum.h"
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
    free(version->data);
    version->data = NULL;
    stage->memory -= STAGE_PAGE;
}

void version_release(struct stage *stage, struct version *version)
{
    if (!version || --version->references > 0)
        return;
    drop_data(stage, version);
    if (version->spilled)
        spill_release(&stage->spill, version->slot);
    free(version);
}

struct version *version_new(struct stage *stage, bool zero, struct error *err)
{
    struct version *version = mem_new(sizeof *version, err);
    if (!version)
        return NULL;
    version->references = 1;
    version->zero = zero;
    if (zero)
        return version;
    version->data = mem_bytes(STAGE_PAGE, err);
    if (!version->data) {
        free(version);
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
    if (!spill_read(&stage->spill, version->slot, version->crc, page, err))
        return false;
    memcpy(out, page + at, n);
    return true;
}

enum { BATCH = 256 };

static bool spill_oldest(struct stage *stage, struct error *err)
{
    struct version *versions[BATCH];
    const uint8_t *data[BATCH] = {0};
    uint64_t slots[BATCH];
    size_t n = 0;
    for (struct version *version = stage->oldest; version && n < BATCH; version = version->newer) {
        versions[n] = version;
        data[n++] = version->data;
    }
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
