/* The header area written anew: header, extensions in their old order, the backing file's name at the end. */
#include "alloc.h"
#include "qcow2.h"

#include <inttypes.h>
#include <stdlib.h>

/* An area being laid out. */
struct builder {
    uint8_t *area;
    uint64_t at, size;
    bool full;
};

static void put(struct builder *b, const void *bytes, uint64_t n)
{
    if (n > b->size - b->at) {
        b->full = true;
        return;
    }
    if (n > 0)
        memcpy(b->area + b->at, bytes, n);
    b->at += n;
}

static void put_extension(struct builder *b, uint32_t type, const void *data, uint64_t n)
{
    static const uint8_t zeros[8];
    uint8_t head[EXTENSION_HEAD];
    qcow2_extension_set_type(head, type);
    qcow2_extension_set_length(head, n);
    put(b, head, sizeof head);
    put(b, data, n);
    put(b, zeros, round_up(n, 8) - n);
}

static void put_text(struct builder *b, uint32_t type, const char *text)
{
    if (text && *text)
        put_extension(b, type, text, strlen(text));
}

static void put_bitmaps(struct builder *b, const struct qcow2_bitmaps *bitmaps)
{
    uint8_t raw[BITMAPS_SIZE] = {0};
    if (!bitmaps->present)
        return;
    qcow2_bitmaps_set_nb_bitmaps(raw, bitmaps->count);
    qcow2_bitmaps_set_bitmap_directory_size(raw, bitmaps->directory_size);
    qcow2_bitmaps_set_bitmap_directory_offset(raw, bitmaps->directory_offset);
    put_extension(b, EXT_BITMAPS, raw, sizeof raw);
}

/* Names for those who will not know the features of today. */
static void put_feature_names(struct builder *b)
{
    static const struct {
        uint8_t type, bit;
    } features[] = {{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}, {1, 0}, {2, 0}, {2, 1}};
    uint8_t raw[ARRAY_LEN(features) * FEATURE_NAME_SIZE] = {0};
    for (size_t i = 0; i < ARRAY_LEN(features); i++) {
        uint8_t *entry = raw + i * FEATURE_NAME_SIZE;
        qcow2_feature_name_set_type(entry, features[i].type);
        qcow2_feature_name_set_bit(entry, features[i].bit);
        qcow2_feature_name(NULL, features[i].type, features[i].bit, (char *)qcow2_feature_name_name(entry),
                           qcow2_feature_name_width_name);
    }
    put_extension(b, EXT_FEATURE_NAMES, raw, sizeof raw);
}

static void put_known(struct builder *b, uint32_t type, const struct qcow2_area *to)
{
    switch (type) {
    case EXT_BACKING_FORMAT:
        put_text(b, type, to->backing_name ? to->backing_format : NULL);
        break;
    case EXT_DATA_FILE:
        put_text(b, type, to->data_name);
        break;
    case EXT_BITMAPS:
        put_bitmaps(b, &to->bitmaps);
        break;
    }
}

static bool has_extension(const struct qcow2 *q, uint32_t type)
{
    for (size_t i = 0; i < q->extension_count; i++)
        if (q->extensions[i].type == type)
            return true;
    return false;
}

static void put_extensions(struct builder *b, const struct qcow2 *q, const struct qcow2_area *to,
                           uint32_t version)
{
    static const uint32_t written[] = {EXT_BACKING_FORMAT, EXT_DATA_FILE, EXT_BITMAPS};
    for (size_t i = 0; i < q->extension_count; i++) {
        const struct qcow2_extension *ext = &q->extensions[i];
        bool mine = false;
        for (size_t k = 0; k < ARRAY_LEN(written); k++)
            mine = mine || ext->type == written[k];
        if (mine)
            put_known(b, ext->type, to);
        else
            put_extension(b, ext->type, q->header_area + ext->off, ext->length);
    }
    for (size_t k = 0; k < ARRAY_LEN(written); k++)
        if (!has_extension(q, written[k]))
            put_known(b, written[k], to);
    if (version >= 3 && q->cluster_size > 4096 && !has_extension(q, EXT_FEATURE_NAMES))
        put_feature_names(b);
    put_extension(b, EXT_END, NULL, 0);
}

void qcow2_area_current(const struct qcow2 *q, struct qcow2_area *area)
{
    *area = (struct qcow2_area){q->backing_name, q->backing_format, q->data_name, q->bitmaps};
}

/* The header itself keeps every byte that is not known here; version 3 gets its full length. */
static void put_header(struct builder *b, const struct qcow2 *q, uint32_t version)
{
    uint8_t raw[HEADER_V3_SIZE] = {0};
    uint32_t length = q->h.header_length;
    memcpy(raw, q->header_area, MIN_OF(length, sizeof raw));
    qcow2_header_set_version(raw, version);
    if (version < 3) {
        put(b, raw, HEADER_V2_SIZE);
        return;
    }
    length = (uint32_t)round_up(MAX_OF(length, HEADER_V3_SIZE), 8);
    qcow2_header_set_header_length(raw, length);
    qcow2_header_set_refcount_order(raw, q->h.refcount_order);
    put(b, raw, sizeof raw);
    if (length > sizeof raw)
        put(b, q->header_area + sizeof raw, MIN_OF(length, q->cluster_size) - sizeof raw);
}

static bool store_area(struct qcow2 *q, const uint8_t *area, struct error *err)
{
    for (uint64_t at = 0; at < q->cluster_size; at += q->block_size)
        if (memcmp(area + at, q->header_area + at, q->block_size) != 0 &&
            !qcow2_meta_write(q, at, area + at, q->block_size, err))
            return false;
    return true;
}

bool qcow2_area_convert(struct qcow2 *q, const struct qcow2_area *to, uint32_t version, struct error *err)
{
    struct builder b = {.area = mem_new(q->cluster_size, err), .size = q->cluster_size};
    if (!b.area)
        return false;
    put_header(&b, q, version);
    put_extensions(&b, q, to, version);
    size_t name_len = to->backing_name ? strlen(to->backing_name) : 0;
    qcow2_header_set_backing_file_offset(b.area, name_len ? b.at : 0);
    qcow2_header_set_backing_file_size(b.area, name_len);
    put(&b, to->backing_name, name_len);
    bool ok = name_len <= MAX_NAME ||
              fail(err, E_TOOBIG, "the backing file's name is longer than %u bytes", MAX_NAME);
    if (ok && b.full)
        ok =
            fail(err, E_NOSPACE, "header extensions and backing file name do not fit into the first cluster");
    if (!ok || !store_area(q, b.area, err)) {
        free(b.area);
        return false;
    }
    return qcow2_header_adopt(q, b.area, err);
}

bool qcow2_area_write(struct qcow2 *q, const struct qcow2_area *to, struct error *err)
{
    return qcow2_area_convert(q, to, q->h.version, err);
}
