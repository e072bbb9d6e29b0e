#include "stage_patch.h"

#include "alloc.h"
#include "bytes.h"
#include "stage_private.h"

#include <stdlib.h>

enum {
    MAX_BYTES = 512, /* beyond this a whole page is kept */
    HEAD = 4,
    GAP = 8, /* equal bytes between differences that are cheaper to keep than another head */
};

/* The first offset from `at` on where the pages differ; STAGE_PAGE when there is none. */
static size_t next_difference(const uint8_t *a, const uint8_t *b, size_t at)
{
    while (at < STAGE_PAGE) {
        if (at % 512 == 0 && memcmp(a + at, b + at, 512) == 0)
            at += 512;
        else if (at % 64 == 0 && memcmp(a + at, b + at, 64) == 0)
            at += 64;
        else if (at % 8 == 0 && memcmp(a + at, b + at, 8) == 0)
            at += 8;
        else if (a[at] == b[at])
            at++;
        else
            break;
    }
    return at;
}

/* The end of the run of differences that begins at `at`; short equal stretches belong to it. */
static size_t run_end(const uint8_t *a, const uint8_t *b, size_t at)
{
    size_t end = at + 1;
    for (size_t i = end; i < STAGE_PAGE && i - end <= GAP; i++)
        if (a[i] != b[i])
            end = i + 1;
    return end;
}

static size_t put_segment(uint8_t *code, size_t len, size_t off, const uint8_t *bytes, size_t n)
{
    store_le16(code + len, (uint16_t)off);
    store_le16(code + len + 2, (uint16_t)n);
    memcpy(code + len + HEAD, bytes, n);
    return len + HEAD + n;
}

struct patch *patch_make(const uint8_t *before, const uint8_t *now)
{
    uint8_t code[MAX_BYTES];
    struct error ignored = {0};
    size_t len = 0;
    for (size_t at = next_difference(before, now, 0); at < STAGE_PAGE;) {
        size_t end = run_end(before, now, at);
        if (len + HEAD + (end - at) > MAX_BYTES)
            return NULL;
        len = put_segment(code, len, at, before + at, end - at);
        at = next_difference(before, now, end);
    }
    struct patch *patch = mem_bytes(sizeof *patch + len, &ignored);
    if (patch) {
        patch->len = len;
        memcpy(patch->code, code, len);
    }
    return patch;
}

void patch_apply(const struct patch *patch, uint8_t *page)
{
    for (size_t at = 0; at < patch->len;) {
        size_t off = load_le16(patch->code + at), n = load_le16(patch->code + at + 2);
        memcpy(page + off, patch->code + at + HEAD, n);
        at += HEAD + n;
    }
}
