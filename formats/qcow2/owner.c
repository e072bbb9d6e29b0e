/* `what file: OFFSET`: whose a byte of the image file is. */
#include "qcow2.h"

#include <inttypes.h>
#include <stdio.h>

/* The search through all L2 tables for the user of a host cluster. */
struct search {
    uint64_t off;     /* host byte asked for */
    uint64_t cluster; /* its cluster's offset */
    bool found;
    struct owner *out;
};

static void found_data(struct search *search, uint64_t guest, uint64_t from, uint64_t len, const char *what)
{
    search->found = true;
    search->out->kind = OWNER_DATA;
    search->out->file_off = guest;
    search->out->len = from + len - search->off;
    snprintf(search->out->text, sizeof search->out->text, "%s of guest offset 0x%" PRIx64, what, guest);
}

static void look_at_entry(const struct qcow2 *q, struct search *search, uint64_t entry, uint64_t guest)
{
    if (entry & ENTRY_COMPRESSED) {
        uint64_t off, len;
        qcow2_compressed_place(q, entry, &off, &len);
        if (search->off >= off && search->off - off < len)
            found_data(search, guest, off, len, "compressed cluster");
    } else if ((entry & ENTRY_OFFSET) == search->cluster && search->cluster != 0) {
        uint64_t in = search->off - search->cluster;
        found_data(search, guest + in, search->cluster, q->cluster_size, "data");
    }
}

static bool look_in_table(struct qcow2 *q, uint64_t index, uint64_t l1_entry, void *arg, struct error *err)
{
    struct search *search = arg;
    uint64_t guest = index * q->l2_entries << q->cluster_bits, table = l1_entry & ENTRY_OFFSET;
    uint8_t raw[4096];
    if (table == 0 || table % q->cluster_size)
        return true;
    for (uint64_t at = 0; !search->found && at < q->cluster_size; at += sizeof raw) {
        size_t n = (size_t)MIN_OF(sizeof raw, q->cluster_size - at);
        if (!interrupt_check(err) || !qcow2_file_read(q, table + at, raw, n, err))
            return false;
        for (size_t i = 0; !search->found && i < n; i += q->entry_size, guest += q->cluster_size)
            look_at_entry(q, search, load_be64(raw + i), guest);
    }
    return true;
}

static bool search_l1(struct qcow2 *q, uint64_t l1, uint32_t entries, struct search *search,
                      struct error *err)
{
    return search->found || qcow2_each_entry(q, l1, entries, look_in_table, search, err);
}

static bool search_snapshots(struct qcow2 *q, struct search *search, struct error *err)
{
    struct qcow2_snapshot_list list;
    if (search->found || q->h.nb_snapshots == 0)
        return true;
    if (!qcow2_snapshots_load(q, &list, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && !search->found && i < list.count; i++) {
        ok = search_l1(q, list.items[i].l1_offset, list.items[i].l1_size, search, err);
        if (ok && search->found) {
            size_t used = strlen(search->out->text);
            snprintf(search->out->text + used, sizeof search->out->text - used, " in snapshot '%.60s'",
                     list.items[i].name);
        }
    }
    qcow2_snapshots_free(&list);
    return ok;
}

/* The cluster that the refcount at off counts; blocks that the table does not name count none. */
static bool counted_cluster(struct qcow2 *q, uint64_t off, uint64_t *cluster, bool *found, struct error *err)
{
    uint64_t entry = 0, block = round_down(off, q->cluster_size);
    if (!qcow2_index_block(q, block, &entry, found, err))
        return false;
    *cluster = entry * q->rb_entries + ((off - block) * 8 >> q->h.refcount_order);
    return true;
}

static bool own_refcount(struct qcow2 *q, uint64_t off, struct owner *out, struct error *err)
{
    uint64_t cluster = 0;
    bool found;
    char number[24];
    if (!counted_cluster(q, off, &cluster, &found, err))
        return false;
    if (!found)
        return true;
    snprintf(number, sizeof number, "%" PRIu64, cluster);
    snprintf(out->text, sizeof out->text, "refcount of cluster %" PRIu64, cluster);
    if (!qcow2_locate(&q->dev, "refcount", number, &out->place, err))
        return false;
    out->len = out->place.off + out->place.size - off;
    return true;
}

/* The metadata structure at off, where a layout describes it byte by byte. */
static bool own_structure(struct qcow2 *q, unsigned kinds, uint64_t off, struct owner *out, struct error *err)
{
    struct place *place = &out->place;
    bool ok = true;
    out->kind = OWNER_STRUCTURE;
    snprintf(out->text, sizeof out->text, "%s", kinds & KIND_HEADER ? "header" : qcow2_kind_name(kinds));
    if (kinds & KIND_HEADER) {
        uint64_t end = q->h.backing_file_offset + q->h.backing_file_size;
        if (off < q->h.header_length)
            return qcow2_locate(&q->dev, "header", "", place, err);
        if (q->backing_name && off >= q->h.backing_file_offset && off < end)
            snprintf(out->text, sizeof out->text, "name of the backing file");
        for (size_t i = 0; ok && i < q->extension_count; i++) {
            const struct qcow2_extension *ext = &q->extensions[i];
            char number[24];
            if (off < ext->off - EXTENSION_HEAD || off >= (uint64_t)ext->off + ext->length)
                continue;
            snprintf(number, sizeof number, "%zu", i);
            snprintf(out->text, sizeof out->text, "header extension %zu", i);
            ok = qcow2_locate(&q->dev, "extension", number, place, err);
        }
    } else if (kinds & KIND_L1) {
        uint64_t i = (off - q->h.l1_table_offset) / 8;
        char number[24];
        snprintf(number, sizeof number, "%" PRIu64, i);
        if (i < q->h.l1_size) {
            snprintf(out->text, sizeof out->text, "active L1 table, entry %" PRIu64, i);
            ok = qcow2_locate(&q->dev, "l1", number, place, err);
        }
        out->len = 8 - off % 8;
    } else if (kinds & (KIND_L2 | KIND_INACTIVE_L2)) {
        const struct layout *layout = q->extended ? &qcow2_l2_extended_layout : &qcow2_l2_layout;
        *place = (struct place){.layout = layout,
                                .device = q->file,
                                .off = round_down(off, q->entry_size),
                                .size = q->entry_size,
                                .owner = &q->dev,
                                .index = off % q->cluster_size / q->entry_size};
        snprintf(place->title, sizeof place->title, "L2 entry %" PRIu64, place->index);
        snprintf(out->text, sizeof out->text, "%s, entry %" PRIu64, qcow2_kind_name(kinds), place->index);
        out->len = q->entry_size - off % q->entry_size;
    } else if (kinds & KIND_REFTABLE) {
        char number[24];
        snprintf(number, sizeof number, "%" PRIu64, (off - q->h.refcount_table_offset) / 8);
        ok = qcow2_locate(&q->dev, "reftable", number, place, err);
        out->len = 8 - off % 8;
    } else if (kinds & KIND_REFBLOCK) {
        ok = own_refcount(q, off, out, err);
    }
    return ok;
}

bool qcow2_owner(void *opened, uint64_t off, struct owner *out, struct error *err)
{
    struct qcow2 *q = qcow2_of(opened);
    uint64_t cluster = round_down(off, q->cluster_size), refs;
    *out = (struct owner){.kind = OWNER_UNKNOWN, .len = cluster + q->cluster_size - off};
    if (!q->index && !qcow2_index_build(q, err))
        return false;
    unsigned kinds = qcow2_index_kinds(q, off);
    if (kinds)
        return own_structure(q, kinds, off, out, err);
    struct search search = {.off = off, .cluster = cluster, .out = out};
    if (!search_l1(q, q->active.l1_offset, q->active.l1_size, &search, err) ||
        !search_snapshots(q, &search, err))
        return false;
    if (search.found)
        return true;
    if (!qcow2_refcount_get(q, off >> q->cluster_bits, &refs, err))
        return false;
    out->kind = refs ? OWNER_UNKNOWN : OWNER_FREE;
    snprintf(out->text, sizeof out->text,
             refs ? "a cluster that nothing refers to (refcount %" PRIu64 ")" : "free cluster", refs);
    return true;
}
