/*
 * Replay of the log, in the three passes of jbd2: the first finds the last whole transaction, the second
 * collects the blocks that were revoked (freed and perhaps used for contents since), the third writes.
 */
#include "journal.h"

#include "alloc.h"
#include "checksum.h"

#include <stdlib.h>

enum pass { PASS_SCAN, PASS_REVOKE, PASS_REPLAY };
enum { MAX_REVOKED = 8 << 20 };

struct revoked {
    uint64_t block;
    uint32_t tid;
};

struct replay {
    struct ext_journal *j;
    struct device *overlay; /* NULL: in place */
    enum pass pass;
    uint32_t tid, at; /* transaction being read; next block of the ring */
    uint32_t steps;   /* blocks read in this pass; more than the ring has: it is damaged */
    uint32_t crc;     /* of the transaction's blocks (checksums of version 1) */
    struct revoked *revoked;
    size_t revoked_count, revoked_capacity;
    uint8_t *data; /* one block: contents on their way */
};

/* ---- helpers ---- */

/* Transactions are compared around the wrap of their 32 bits. */
static bool tid_after(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

/* The next block of the ring. False in *more: the whole ring was read. */
static bool step(struct replay *r, uint32_t *block, bool *more)
{
    const struct ext_journal *j = r->j;
    *more = r->steps++ < j->end - j->first;
    *block = r->at++;
    if (r->at == j->end)
        r->at = j->first;
    return *more;
}

/* CRC-32 from the high bit down, as version 1 of the checksums has it. */
static uint32_t crc32_be(uint32_t crc, const uint8_t *p, size_t n)
{
    static uint32_t table[256];
    if (table[1] == 0)
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i << 24;
            for (unsigned bit = 0; bit < 8; bit++)
                c = c & 0x80000000u ? c << 1 ^ 0x04C11DB7 : c << 1;
            table[i] = c;
        }
    while (n-- > 0)
        crc = crc << 8 ^ table[crc >> 24 ^ *p++];
    return crc;
}

/* Checksum in the last 4 bytes of descriptor and revoke blocks. */
static bool tail_ok(const struct ext_journal *j, const uint8_t *block)
{
    static const uint8_t zero[JBD_TAIL_SIZE];
    if (j->checksums < 2)
        return true;
    size_t n = j->ext->block_size - JBD_TAIL_SIZE;
    uint32_t crc = crc32c(crc32c(j->seed, block, n), zero, sizeof zero);
    return load_be32(block + n) == crc;
}

/* ---- tags ---- */

struct tag {
    uint64_t block;
    uint32_t flags, checksum;
};

/* The tag at *at of a descriptor block; *at goes behind it. False: there is none. */
static bool next_tag(const struct ext_journal *j, const uint8_t *block, size_t *at, struct tag *tag)
{
    size_t end = j->ext->block_size - (j->checksums > 1 ? JBD_TAIL_SIZE : 0);
    size_t size = j->checksums == 3 ? 16 : (j->wide ? 12 : 8) + (j->checksums == 2 ? 2 : 0);
    const uint8_t *p = block + *at;
    if (*at + size > end)
        return false;
    tag->block = load_be32(p);
    if (j->checksums == 3) {
        tag->flags = load_be32(p + 4);
        tag->block |= (uint64_t)(j->wide ? load_be32(p + 8) : 0) << 32;
        tag->checksum = load_be32(p + 12);
    } else {
        tag->checksum = load_be16(p + 4);
        tag->flags = load_be16(p + 6);
        tag->block |= (uint64_t)(j->wide ? load_be32(p + 8) : 0) << 32;
    }
    *at += size + (tag->flags & JBD_TAG_SAME_UUID ? 0 : 16);
    return true;
}

static bool tag_ok(const struct replay *r, const struct tag *tag)
{
    const struct ext_journal *j = r->j;
    uint8_t tid[4];
    if (j->checksums < 2)
        return true;
    store_be32(tid, r->tid);
    uint32_t crc = crc32c(crc32c(j->seed, tid, sizeof tid), r->data, j->ext->block_size);
    return tag->checksum == (j->checksums == 3 ? crc : (crc & 0xFFFF));
}

/* ---- revoked blocks ---- */

static int by_block(const void *a, const void *b)
{
    const struct revoked *x = a, *y = b;
    return x->block < y->block ? -1 : x->block > y->block;
}

static bool add_revoked(struct replay *r, uint64_t block, struct error *err)
{
    if (r->revoked_count == MAX_REVOKED)
        return fail(err, E_TOOBIG, "more than %d revoked blocks", MAX_REVOKED);
    if (!mem_grow(&r->revoked, &r->revoked_capacity, r->revoked_count + 1, sizeof *r->revoked, err))
        return false;
    r->revoked[r->revoked_count++] = (struct revoked){block, r->tid};
    return true;
}

static bool revoke_block(struct replay *r, struct error *err)
{
    const struct ext_journal *j = r->j;
    const uint8_t *b = j->block;
    size_t size = j->wide ? 8 : 4, used = load_be32(b + JBD_HEADER_SIZE);
    if (!tail_ok(j, b) || used > j->ext->block_size - (j->checksums > 1 ? JBD_TAIL_SIZE : 0)) {
        r->j->damaged = true;
        return true;
    }
    for (size_t at = JBD_REVOKE_HEADER; at + size <= used; at += size)
        if (!add_revoked(r, j->wide ? load_be64(b + at) : load_be32(b + at), err))
            return false;
    return true;
}

/* Sort, and keep of each block the last transaction that revoked it. */
static void settle_revoked(struct replay *r)
{
    size_t kept = 0;
    if (r->revoked_count)
        qsort(r->revoked, r->revoked_count, sizeof *r->revoked, by_block);
    for (size_t i = 0; i < r->revoked_count; i++) {
        struct revoked *last = kept ? &r->revoked[kept - 1] : NULL;
        if (!last || last->block != r->revoked[i].block)
            r->revoked[kept++] = r->revoked[i];
        else if (tid_after(r->revoked[i].tid, last->tid))
            last->tid = r->revoked[i].tid;
    }
    r->revoked_count = kept;
}

static bool is_revoked(const struct replay *r, uint64_t block)
{
    struct revoked key = {block, 0};
    const struct revoked *found =
        r->revoked_count ? bsearch(&key, r->revoked, r->revoked_count, sizeof key, by_block) : NULL;
    return found && !tid_after(r->tid, found->tid);
}

/* ---- blocks of the log ---- */

static bool replay_block(struct replay *r, uint32_t from, const struct tag *tag, struct error *err)
{
    struct ext_journal *j = r->j;
    struct ext_fs *ext = j->ext;
    bool escaped = tag->flags & JBD_TAG_ESCAPED;
    uint64_t source = 0;
    if (is_revoked(r, tag->block))
        return true;
    if (tag->block >= ext->blocks ||
        !range_inside(ext_offset(ext, tag->block), ext->block_size, j->base->size))
        return damaged(err, j->base, 0, "transaction %u writes block %llu, the volume has %llu", r->tid,
                       (unsigned long long)tag->block, (unsigned long long)ext->blocks);
    if (!ext_journal_locate(j, from, &source, err) || !ext_journal_read(j, from, r->data, err))
        return false;
    if (!tag_ok(r, tag)) {
        j->damaged = true;
        return true;
    }
    j->replayed++;
    if (r->overlay && j->log == j->base)
        return ext_overlay_map(r->overlay, tag->block, source, escaped, err);
    if (escaped)
        store_be32(r->data, JBD_MAGIC);
    return device_write(r->overlay ? r->overlay : j->base, ext_offset(ext, tag->block), r->data,
                        ext->block_size, WRITE_UPDATE, err);
}

/* A descriptor block with the blocks behind it. *stop: the log ends here. */
static bool descriptor_block(struct replay *r, bool *stop, struct error *err)
{
    const struct ext_journal *j = r->j;
    struct tag tag = {0};
    size_t at = JBD_HEADER_SIZE;
    if (!tail_ok(j, j->block)) {
        *stop = true;
        return true;
    }
    if (j->checksums == 1 && r->pass == PASS_SCAN)
        r->crc = crc32_be(r->crc, j->block, j->ext->block_size);
    while (!(tag.flags & JBD_TAG_LAST) && next_tag(j, j->block, &at, &tag)) {
        uint32_t from;
        bool more;
        if (!step(r, &from, &more)) {
            *stop = true;
            return true;
        }
        if (r->pass == PASS_REPLAY && !replay_block(r, from, &tag, err))
            return false;
        if (j->checksums == 1 && r->pass == PASS_SCAN) {
            if (!ext_journal_read(j, from, r->data, err))
                return false;
            r->crc = crc32_be(r->crc, r->data, j->ext->block_size);
        }
    }
    return true;
}

/* Whether the transaction that this commit block ends is whole. */
static bool commit_ok(const struct replay *r)
{
    const struct ext_journal *j = r->j;
    const uint8_t *b = j->block;
    uint32_t found = (uint32_t)jbd_commit_h_chksum(b);
    if (j->checksums == 0 || r->pass != PASS_SCAN)
        return true;
    if (j->checksums == 1) {
        unsigned type = (unsigned)jbd_commit_h_chksum_type(b), size = (unsigned)jbd_commit_h_chksum_size(b);
        return (type == 1 && size == 4 && found == r->crc) || (type == 0 && size == 0 && found == 0);
    }
    static const uint8_t zero[4];
    uint32_t crc = crc32c(j->seed, b, jbd_commit_off_h_chksum);
    crc = crc32c(crc, zero, sizeof zero);
    size_t rest = jbd_commit_off_h_chksum + sizeof zero;
    return found == crc32c(crc, b + rest, j->ext->block_size - rest);
}

/* One pass over the log, from its start to the first block that does not continue it. */
static bool run_pass(struct replay *r, enum pass pass, struct error *err)
{
    struct ext_journal *j = r->j;
    bool stop = false, more;
    r->pass = pass;
    r->tid = j->sequence;
    r->at = j->start;
    r->steps = 0;
    r->crc = ~(uint32_t)0;
    while (!stop && (pass == PASS_SCAN || r->tid != j->end_tid)) {
        uint32_t block;
        if (!step(r, &block, &more))
            break;
        if (!interrupt_check(err) || !ext_journal_read(j, block, j->block, err))
            return false;
        if (jbd_header_h_magic(j->block) != JBD_MAGIC || jbd_header_h_sequence(j->block) != r->tid)
            break;
        switch (jbd_header_h_blocktype(j->block)) {
        case JBD_DESCRIPTOR:
            if (!descriptor_block(r, &stop, err))
                return false;
            break;
        case JBD_COMMIT:
            stop = !commit_ok(r);
            if (!stop)
                r->tid++;
            r->crc = ~(uint32_t)0;
            break;
        case JBD_REVOKE:
            if (pass == PASS_REVOKE && !revoke_block(r, err))
                return false;
            break;
        default:
            stop = true;
        }
    }
    if (pass == PASS_SCAN)
        j->end_tid = r->tid;
    return true;
}

bool ext_journal_replay(struct ext_journal *j, struct device *overlay, struct error *err)
{
    struct replay r = {.j = j, .overlay = overlay};
    r.data = mem_new(j->ext->block_size, err);
    bool ok = r.data && run_pass(&r, PASS_SCAN, err) && run_pass(&r, PASS_REVOKE, err);
    settle_revoked(&r);
    ok = ok && run_pass(&r, PASS_REPLAY, err);
    free(r.revoked);
    free(r.data);
    return ok;
}
