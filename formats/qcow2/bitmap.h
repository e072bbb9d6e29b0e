/* What reading and changing bitmaps share. */
#ifndef DISH_QCOW2_BITMAP_H
#define DISH_QCOW2_BITMAP_H

#include "qcow2.h"

/* Entries that a bitmap of a disk of `size` bytes has in its table. */
uint64_t qcow2_bitmap_table_size(const struct qcow2 *, uint64_t size, unsigned granularity_bits);
/* Has its table the length that disk and granularity demand? (One in use does not count.) */
bool qcow2_bitmap_fits(const struct qcow2 *, const struct qcow2_bitmap *);
/* Must it follow the guest's changes? */
bool qcow2_bitmap_follows(const struct qcow2_bitmap *);
/* Set the bits of guest bytes [off, off + len). */
bool qcow2_bitmap_set(struct qcow2 *, const struct qcow2_bitmap *, uint64_t off, uint64_t len,
                      struct error *) DISH_CHECKED;
/* Fails when the entry at `place` of a bitmap's table cannot be one. */
bool qcow2_bitmap_check_entry(struct qcow2 *, uint64_t place, uint64_t entry, struct error *) DISH_CHECKED;
/* Every run of set bits of a bitmap for a disk of `size` bytes. */
typedef bool qcow2_bits_fn(uint64_t first, uint64_t count, void *arg, struct error *);
bool qcow2_bitmap_each(struct qcow2 *, const struct qcow2_bitmap *, uint64_t size, qcow2_bits_fn *, void *arg,
                       struct error *) DISH_CHECKED;
/* Free the clusters of bits of the table entries from `first` on; the entries stay as they are. */
bool qcow2_bitmap_free_bits(struct qcow2 *, const struct qcow2_bitmap *, uint64_t first,
                            struct error *) DISH_CHECKED;

#endif
