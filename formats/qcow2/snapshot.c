/* The snapshot table. It is read anew for each use, for it is small and rarely asked for. */
#include "alloc.h"
#include "qcow2.h"

#include <inttypes.h>
#include <stdlib.h>

static void free_snapshot(struct qcow2_snapshot *snapshot)
{
    free(snapshot->id);
    free(snapshot->name);
    free(snapshot->extra);
}

void qcow2_snapshots_free(struct qcow2_snapshot_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free_snapshot(&list->items[i]);
    free(list->items);
    *list = (struct qcow2_snapshot_list){0};
}

/* Bytes of the table at *at; the text is owned by the snapshot. */
static bool read_text(struct qcow2 *q, uint64_t *at, uint16_t len, char **out, struct error *err)
{
    *out = mem_new((size_t)len + 1, err);
    if (!*out || !qcow2_meta_read(q, *at, *out, len, err))
        return false;
    *at += len;
    return true;
}

static bool check_snapshot(struct qcow2 *q, const struct qcow2_snapshot *s, struct error *err)
{
    if (s->l1_size > MAX_L1_BYTES / 8)
        return damaged(err, q->file, s->off,
                       "snapshot table entry: an L1 table of %" PRIu32 " entries is too large", s->l1_size);
    if (s->l1_offset % q->cluster_size || s->l1_offset > MAX_HOST_OFFSET - MAX_L1_BYTES)
        return damaged(err, q->file, s->off,
                       "snapshot table entry: L1 table offset 0x%" PRIx64 " is not valid", s->l1_offset);
    return true;
}

static void read_extra(const struct qcow2 *q, struct qcow2_snapshot *s)
{
    s->vm_state_size =
        s->extra_len >= 8 ? qcow2_snapshot_extra_vm_state_size_large(s->extra) : s->vm_state_size32;
    s->disk_size = s->extra_len >= 16 ? qcow2_snapshot_extra_disk_size(s->extra) : q->h.size;
    s->icount = s->extra_len >= SNAPSHOT_EXTRA_ICOUNT ? qcow2_snapshot_extra_icount(s->extra) : UINT64_MAX;
}

static bool read_snapshot(struct qcow2 *q, uint64_t *at, struct qcow2_snapshot *s, struct error *err)
{
    uint8_t raw[SNAPSHOT_SIZE];
    if (!qcow2_meta_read(q, *at, raw, sizeof raw, err))
        return false;
    *s = (struct qcow2_snapshot){
        .off = *at,
        .l1_offset = qcow2_snapshot_l1_table_offset(raw),
        .l1_size = (uint32_t)qcow2_snapshot_l1_size(raw),
        .id_len = (uint16_t)qcow2_snapshot_id_str_size(raw),
        .name_len = (uint16_t)qcow2_snapshot_name_size(raw),
        .date_sec = (uint32_t)qcow2_snapshot_date_sec(raw),
        .date_nsec = (uint32_t)qcow2_snapshot_date_nsec(raw),
        .vm_clock_nsec = qcow2_snapshot_vm_clock_nsec(raw),
        .vm_state_size32 = (uint32_t)qcow2_snapshot_vm_state_size(raw),
        .extra_len = (uint32_t)qcow2_snapshot_extra_data_size(raw),
    };
    if (s->extra_len > MAX_SNAPSHOT_EXTRA)
        return damaged(err, q->file, *at,
                       "snapshot table entry: %" PRIu32 " bytes of extra data are too many (%u)",
                       s->extra_len, MAX_SNAPSHOT_EXTRA);
    *at += SNAPSHOT_SIZE;
    s->extra = mem_new(s->extra_len, err);
    if (!s->extra || !qcow2_meta_read(q, *at, s->extra, s->extra_len, err))
        return false;
    *at += s->extra_len;
    read_extra(q, s);
    if (!read_text(q, at, s->id_len, &s->id, err) || !read_text(q, at, s->name_len, &s->name, err))
        return false;
    *at = round_up(*at, 8);
    return check_snapshot(q, s, err);
}

bool qcow2_snapshots_scan(struct qcow2 *q, struct qcow2_snapshot_list *list, struct error *err)
{
    uint64_t start = q->h.snapshots_offset, at = start, tables = 0;
    *list = (struct qcow2_snapshot_list){0};
    if (q->h.nb_snapshots && start % q->cluster_size)
        return damaged(err, q->file, qcow2_header_off_snapshots_offset,
                       "snapshots_offset: 0x%" PRIx64 " is not a valid offset", start);
    for (uint32_t i = 0; i < q->h.nb_snapshots; i++) {
        struct qcow2_snapshot snapshot = {0};
        bool ok = interrupt_check(err) &&
                  mem_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items, err);
        if (ok && i >= MAX_SNAPSHOTS)
            ok = damaged(err, q->file, qcow2_header_off_nb_snapshots,
                         "nb_snapshots: %" PRIu32 " snapshots are too many (%u at most)", q->h.nb_snapshots,
                         MAX_SNAPSHOTS);
        if (ok && at - start > MAX_SNAPSHOT_TABLE)
            ok = damaged(err, q->file, start, "the snapshot table is too large (64 MiB at most)");
        if (ok && at >= q->file->size)
            ok = damaged(err, q->file, start, "the snapshot table reaches past the end of the file");
        if (!ok || !read_snapshot(q, &at, &snapshot, err)) {
            free_snapshot(&snapshot);
            return because(err, "snapshot %" PRIu32, i);
        }
        /* No two L1 tables share a byte: more of them than file is damage,
         * and reading all would take forever. */
        tables += (uint64_t)snapshot.l1_size * 8;
        if (tables > q->file->size) {
            free_snapshot(&snapshot);
            return damaged(err, q->file, snapshot.off,
                           "snapshot %" PRIu32 ": the L1 tables of the snapshots overlap", i);
        }
        list->items[list->count++] = snapshot;
        list->bytes = at - start;
    }
    return true;
}

bool qcow2_snapshots_load(struct qcow2 *q, struct qcow2_snapshot_list *list, struct error *err)
{
    if (qcow2_snapshots_scan(q, list, err))
        return true;
    qcow2_snapshots_free(list);
    return false;
}

/* ---- writing it ---- */

static uint32_t stored_extra(const struct qcow2 *q, const struct qcow2_snapshot *s)
{
    return q->h.version >= 3 && s->extra_len < SNAPSHOT_EXTRA_V3 ? SNAPSHOT_EXTRA_V3 : s->extra_len;
}

static uint64_t entry_bytes(const struct qcow2 *q, const struct qcow2_snapshot *s)
{
    return round_up((uint64_t)SNAPSHOT_SIZE + stored_extra(q, s) + s->id_len + s->name_len, 8);
}

uint64_t qcow2_snapshots_bytes(const struct qcow2 *q, const struct qcow2_snapshot_list *list)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < list->count; i++)
        bytes += entry_bytes(q, &list->items[i]);
    return bytes;
}

static void put_entry(const struct qcow2 *q, const struct qcow2_snapshot *s, uint8_t *raw)
{
    uint32_t extra = stored_extra(q, s);
    uint8_t *behind = raw + SNAPSHOT_SIZE;
    qcow2_snapshot_set_l1_table_offset(raw, s->l1_offset);
    qcow2_snapshot_set_l1_size(raw, s->l1_size);
    qcow2_snapshot_set_id_str_size(raw, s->id_len);
    qcow2_snapshot_set_name_size(raw, s->name_len);
    qcow2_snapshot_set_date_sec(raw, s->date_sec);
    qcow2_snapshot_set_date_nsec(raw, s->date_nsec);
    qcow2_snapshot_set_vm_clock_nsec(raw, s->vm_clock_nsec);
    qcow2_snapshot_set_vm_state_size(raw, s->vm_state_size32);
    qcow2_snapshot_set_extra_data_size(raw, extra);
    memcpy(behind, s->extra, s->extra_len);
    if (extra > s->extra_len) { /* part of a field says nothing */
        qcow2_snapshot_extra_set_vm_state_size_large(behind, s->vm_state_size);
        qcow2_snapshot_extra_set_disk_size(behind, s->disk_size);
    }
    memcpy(behind + extra, s->id, s->id_len);
    memcpy(behind + extra + s->id_len, s->name, s->name_len);
}

bool qcow2_snapshots_store(struct qcow2 *q, const struct qcow2_snapshot_list *list, uint64_t off,
                           struct error *err)
{
    uint64_t bytes = qcow2_snapshots_bytes(q, list), at = 0;
    if (list->count > MAX_SNAPSHOTS || bytes > MAX_SNAPSHOT_TABLE)
        return fail(err, E_TOOBIG, "the snapshot table would be too large (%zu entries, %" PRIu64 " bytes)",
                    list->count, bytes);
    uint8_t *raw = mem_new(bytes, err);
    if (!raw)
        return false;
    for (size_t i = 0; i < list->count; i++) {
        put_entry(q, &list->items[i], raw + at);
        at += entry_bytes(q, &list->items[i]);
    }
    bool ok = qcow2_meta_write(q, off, raw, bytes, err) &&
              QCOW2_HEADER_PUT(q, nb_snapshots, (uint32_t)list->count, err) &&
              QCOW2_HEADER_PUT(q, snapshots_offset, list->count ? off : 0, err);
    free(raw);
    return ok;
}
