/*
 * Contents of files. Whole runs go straight between the caller and the device; a block that is new (a hole
 * before, or unwritten) is written whole, zeros around the caller's bytes.
 */
#include "alloc.h"
#include "bytes.h"
#include "xattr.h"

#include <stdlib.h>
#include <sys/stat.h>

static bool is_inline(const struct ext_inode *inode)
{
    return ext_inode_flag(inode->raw, EXT_FL_INLINE_DATA);
}

static uint64_t block_mask(const struct ext_fs *ext)
{
    return ext->block_size - 1;
}

/* ---- reading ---- */

static bool read_inline(struct ext_fs *ext, const struct ext_inode *inode, uint64_t off, void *buf, size_t n,
                        struct error *err)
{
    uint8_t *data;
    size_t len;
    if (!ext_inline_load(ext, inode, &data, &len, err))
        return false;
    size_t have = off < len ? (size_t)MIN_OF(n, len - off) : 0;
    memcpy(buf, data + MIN_OF(off, len), have);
    memset((uint8_t *)buf + have, 0, n - have);
    free(data);
    return true;
}

bool ext_file_read(struct ext_fs *ext, const struct ext_inode *inode, uint64_t off, void *buf, size_t n,
                   struct error *err)
{
    uint8_t *out = buf;
    if (is_inline(inode))
        return read_inline(ext, inode, off, buf, n, err);
    while (n > 0) {
        struct ext_mapping run;
        if (!ext_map(ext, inode, off >> ext->block_bits, &run, err))
            return false;
        uint64_t skip = off & block_mask(ext), have = (run.len << ext->block_bits) - skip;
        size_t step = (size_t)MIN_OF(n, have);
        if (run.start == 0 || run.unwritten)
            memset(out, 0, step);
        else if (!device_read(ext->dev, ext_offset(ext, run.start) + skip, out, step, err))
            return false;
        out += step;
        off += step;
        n -= step;
    }
    return true;
}

/* ---- writing ---- */

/* Write n bytes at `skip` into the new blocks from `start` on, zeros before and behind them. */
static bool write_new(struct ext_fs *ext, uint64_t start, uint64_t skip, const uint8_t *in, uint64_t n,
                      struct error *err)
{
    uint64_t total = round_up(skip + n, ext->block_size), at = ext_offset(ext, start);
    enum write_class class = ext_write_class(ext, start, total >> ext->block_bits);
    if (skip == 0 && n == total)
        return device_write(ext->dev, at, in, n, class, err);
    if (total <= EXT_SCRATCH) {
        memset(ext->scratch, 0, skip);
        memcpy(ext->scratch + skip, in, n);
        memset(ext->scratch + skip + n, 0, total - skip - n);
        return device_write(ext->dev, at, ext->scratch, total, class, err);
    }
    /* Split off the incomplete blocks at both ends. */
    uint64_t head = skip ? ext->block_size - skip : 0, tail = (skip + n) & block_mask(ext);
    uint64_t middle = n - head - tail;
    if (head > 0 && !write_new(ext, start, skip, in, head, err))
        return false;
    uint64_t first = start + (head > 0), last = first + (middle >> ext->block_bits);
    if (!device_write(ext->dev, ext_offset(ext, first), in + head, middle, class, err))
        return false;
    return tail == 0 || write_new(ext, last, 0, in + head + middle, tail, err);
}

/* The blocks to write: mapped, and *is_new when their old contents do not count. */
static bool prepare_run(struct ext_fs *ext, struct ext_inode *inode, uint64_t block, uint64_t want,
                        struct ext_mapping *run, bool *is_new, struct error *err)
{
    if (!ext_map(ext, inode, block, run, err))
        return false;
    *is_new = run->start == 0 || run->unwritten;
    if (run->start == 0)
        return ext_map_fill(ext, inode, block, want, false, run, err);
    run->len = MIN_OF(run->len, want);
    return !run->unwritten || ext_map_written(ext, inode, block, run->len, err);
}

static bool write_blocks(struct ext_fs *ext, struct ext_inode *inode, uint64_t off, const uint8_t *in,
                         size_t n, struct error *err)
{
    while (n > 0) {
        struct ext_mapping run;
        bool is_new;
        uint64_t block = off >> ext->block_bits, skip = off & block_mask(ext);
        uint64_t want = ((off + n - 1) >> ext->block_bits) - block + 1;
        if (!prepare_run(ext, inode, block, want, &run, &is_new, err))
            return false;
        uint64_t step = MIN_OF(n, (run.len << ext->block_bits) - skip);
        bool ok = is_new ? write_new(ext, run.start, skip, in, step, err)
                         : device_write(ext->dev, ext_offset(ext, run.start) + skip, in, step,
                                        ext_write_class(ext, run.start, run.len), err);
        if (!ok)
            return false;
        in += step;
        off += step;
        n -= step;
    }
    return true;
}

/* Zero the bytes from..to of one block where it is mapped and written. */
static bool zero_bytes(struct ext_fs *ext, struct ext_inode *inode, uint64_t from, uint64_t to,
                       struct error *err)
{
    struct ext_mapping run;
    if (from >= to)
        return true;
    if (!ext_map(ext, inode, from >> ext->block_bits, &run, err))
        return false;
    return run.start == 0 || run.unwritten ||
           device_zero(ext->dev, ext_offset(ext, run.start) + (from & block_mask(ext)), to - from,
                       ext_write_class(ext, run.start, 1), err);
}

/* What lies behind the end in its block becomes part of the file: it must be zeros. */
static bool clear_gap(struct ext_fs *ext, struct ext_inode *inode, uint64_t off, struct error *err)
{
    uint64_t size = ext_inode_size(ext, inode->raw);
    if (off <= size || (size & block_mask(ext)) == 0)
        return true;
    return zero_bytes(ext, inode, size, MIN_OF(off, round_up(size, ext->block_size)), err);
}

static bool check_size(struct ext_fs *ext, const struct ext_inode *inode, uint64_t end, struct error *err)
{
    uint64_t blocks = ext_map_max_block(ext, inode);
    if (is_inline(inode))
        blocks = UINT32_MAX;
    if (end <= blocks << ext->block_bits)
        return true;
    return fail(err, E_TOOBIG, "a file here has at most %llu bytes",
                (unsigned long long)(blocks << ext->block_bits));
}

/* ---- inline contents ---- */

/* Change inline contents to `len` bytes, with n of them from `in` at off. */
static bool patch_inline(struct ext_fs *ext, struct ext_inode *inode, uint64_t len, uint64_t off,
                         const void *in, size_t n, struct error *err)
{
    uint8_t *data = mem_new(len + 1, err);
    if (!data)
        return false;
    uint64_t have = MIN_OF(ext_inode_size(ext, inode->raw), len);
    bool ok = !is_inline(inode) || read_inline(ext, inode, 0, data, have, err);
    if (ok && n > 0)
        memcpy(data + off, in, n);
    ok = ok && ext_inline_store(ext, inode, data, len, err);
    free(data);
    return ok;
}

static bool inline_to_blocks(struct ext_fs *ext, struct ext_inode *inode, struct error *err)
{
    uint64_t size = ext_inode_size(ext, inode->raw);
    uint8_t *data;
    size_t len;
    if (!ext_inline_load(ext, inode, &data, &len, err))
        return false;
    bool ok = ext_inline_clear(ext, inode, err) &&
              (size == 0 || write_blocks(ext, inode, 0, data, MIN_OF(size, len), err));
    free(data);
    return ok;
}

/* Whether the contents, of `len` bytes then, are to be kept inside the inode; if not, they are moved out. */
static bool choose_form(struct ext_fs *ext, struct ext_inode *inode, uint64_t len, bool *inside,
                        struct error *err)
{
    *inside = false;
    if (is_inline(inode)) {
        *inside = len <= ext_inline_capacity(ext, inode);
        return *inside || inline_to_blocks(ext, inode, err);
    }
    bool empty = ext_inode_size(ext, inode->raw) == 0 && ext_inode_units(ext, inode->raw) == 0;
    /* e2fsck leaves links with inline data out of the quota: there they get a block. */
    bool counted = ext_inode_is(inode->raw, S_IFLNK) && ext_has(ext, EXT_QUOTA);
    bool small = ext->hint_ino != inode->ino || ext->hint_blocks << ext->block_bits <= ext->block_size;
    *inside = empty && small && !counted && ext_has(ext, EXT_INLINE_DATA) && len > 0 &&
              len < ext->block_size && !ext_inode_flag(inode->raw, EXT_FL_EA_INODE) &&
              len <= ext_inline_capacity(ext, inode);
    return true;
}

bool ext_file_write(struct ext_fs *ext, struct ext_inode *inode, uint64_t off, const void *buf, size_t n,
                    struct error *err)
{
    uint64_t end, size = ext_inode_size(ext, inode->raw);
    bool inside;
    if (!add_u64(off, n, &end) || !check_size(ext, inode, end, err))
        return end >= off ? false : fail(err, E_TOOBIG, "the range ends past the largest offset");
    if (n == 0)
        return true;
    uint64_t after = MAX_OF(size, end);
    if (!choose_form(ext, inode, after, &inside, err))
        return false;
    bool ok = inside ? patch_inline(ext, inode, after, off, buf, n, err)
                     : clear_gap(ext, inode, off, err) && write_blocks(ext, inode, off, buf, n, err);
    if (ok && end > size) {
        ext_inode_set_size(ext, inode->raw, end);
        ext_inode_dirty(ext, inode);
    }
    return ok;
}

bool ext_file_extend(struct ext_fs *ext, struct ext_inode *inode, uint64_t off, uint64_t n,
                     struct extent *out, enum write_class *class, struct error *err)
{
    struct ext_mapping run;
    bool is_new;
    uint64_t want = n >> ext->block_bits, size = ext_inode_size(ext, inode->raw);
    if (want == 0 || off & block_mask(ext) || off < size || is_inline(inode))
        return true;
    if (!check_size(ext, inode, off + (want << ext->block_bits), err) || !clear_gap(ext, inode, off, err) ||
        !prepare_run(ext, inode, off >> ext->block_bits, want, &run, &is_new, err))
        return false;
    if (!is_new)
        return true;
    *out = (struct extent){.off = ext_offset(ext, run.start), .len = run.len << ext->block_bits};
    *class = ext_write_class(ext, run.start, run.len);
    ext_inode_set_size(ext, inode->raw, off + out->len);
    ext_inode_dirty(ext, inode);
    return true;
}

bool ext_file_truncate(struct ext_fs *ext, struct ext_inode *inode, uint64_t size, struct error *err)
{
    uint64_t old = ext_inode_size(ext, inode->raw);
    bool inside = false;
    if (!check_size(ext, inode, size, err))
        return false;
    if (is_inline(inode) && !choose_form(ext, inode, size, &inside, err))
        return false;
    if (inside) {
        if (!patch_inline(ext, inode, size, 0, NULL, 0, err))
            return false;
    } else if (size < old) {
        uint64_t first = div_up(size, ext->block_size);
        if (!ext_map_remove(ext, inode, first, (uint64_t)UINT32_MAX + 1, err) ||
            !zero_bytes(ext, inode, size, round_up(size, ext->block_size), err))
            return false;
    } else if (!clear_gap(ext, inode, size, err)) {
        return false;
    }
    ext_inode_set_size(ext, inode->raw, size);
    ext_inode_dirty(ext, inode);
    return true;
}

/* ---- preallocating and punching ---- */

static bool allocate_hole(struct ext_fs *ext, struct ext_inode *inode, uint64_t block, uint64_t len,
                          uint64_t *done, struct error *err)
{
    struct ext_mapping run;
    bool extents = ext_inode_flag(inode->raw, EXT_FL_EXTENTS);
    if (!ext_map_fill(ext, inode, block, len, extents, &run, err))
        return false;
    *done = run.len;
    return extents || device_zero(ext->dev, ext_offset(ext, run.start), run.len << ext->block_bits,
                                  ext_write_class(ext, run.start, run.len), err);
}

bool ext_file_allocate(struct ext_fs *ext, struct ext_inode *inode, uint64_t off, uint64_t len, unsigned mode,
                       struct error *err)
{
    uint64_t end, size = ext_inode_size(ext, inode->raw);
    if (!add_u64(off, len, &end))
        return fail(err, E_TOOBIG, "the range ends past the largest offset");
    if (!check_size(ext, inode, end, err) || (is_inline(inode) && !inline_to_blocks(ext, inode, err)))
        return false;
    if (mode & FS_ALLOCATE_KEEP_SIZE && end > size && !ext_inode_flag(inode->raw, EXT_FL_EXTENTS))
        return fail(err, E_UNSUPPORTED, "a file with a block map cannot keep blocks past its end");
    uint64_t block = off >> ext->block_bits, stop = div_up(end, ext->block_size);
    while (block < stop) {
        struct ext_mapping run;
        if (!interrupt_check(err) || !ext_map(ext, inode, block, &run, err))
            return false;
        uint64_t done = MIN_OF(run.len, stop - block);
        if (run.start == 0 && !allocate_hole(ext, inode, block, done, &done, err))
            return false;
        block += done;
    }
    if (mode & FS_ALLOCATE_KEEP_SIZE || end <= size)
        return true;
    if (!clear_gap(ext, inode, end, err))
        return false;
    ext_inode_set_size(ext, inode->raw, end);
    ext_inode_dirty(ext, inode);
    return true;
}

static bool punch_inline(struct ext_fs *ext, struct ext_inode *inode, uint64_t off, uint64_t end,
                         struct error *err)
{
    uint8_t *zeros = mem_new(end - off, err);
    bool ok = zeros && patch_inline(ext, inode, ext_inode_size(ext, inode->raw), off, zeros, end - off, err);
    free(zeros);
    return ok;
}

bool ext_file_punch(struct ext_fs *ext, struct ext_inode *inode, uint64_t off, uint64_t len,
                    struct error *err)
{
    uint64_t size = ext_inode_size(ext, inode->raw), end;
    if (!add_u64(off, len, &end) || end > size)
        end = size;
    if (off >= end)
        return true;
    if (is_inline(inode))
        return punch_inline(ext, inode, off, end, err);
    uint64_t first = div_up(off, ext->block_size), last = end >> ext->block_bits;
    if (end == size)
        last = div_up(end, ext->block_size);
    uint64_t head_end = MIN_OF(end, round_up(off, ext->block_size));
    if (!zero_bytes(ext, inode, off, head_end, err))
        return false;
    if (end != size && last >= first && !zero_bytes(ext, inode, last << ext->block_bits, end, err))
        return false;
    return first >= last || ext_map_remove(ext, inode, first, last, err);
}
