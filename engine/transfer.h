/* Moving the guest contents of one device to another:
 * convert, rebase, commit into a backing file, compare. */
#ifndef DISH_TRANSFER_H
#define DISH_TRANSFER_H

#include "session.h"

struct transfer {
    const char *what;    /* for the progress display */
    bool target_is_zero; /* the target reads as zeros everywhere: zeros need not be written */
    bool keep_zeros;     /* zeros are written as any other data: the target is allocated from end to end */
    enum write_class write_class;
    /* Not NULL: whole grains go here, many at once, instead of device_write (compression). */
    bool (*write)(void *arg, uint64_t off, const void *buf, size_t n, struct error *);
    size_t sparse; /* so many zero bytes inside data become a hole; 0: a grain of them */
    size_t grain;  /* the unit in which data and zeros are told apart, a power of two; 0: 4 KiB */
    void *arg;
};

/*
 * Copy len bytes at off from one device to another at the same place. Holes and zeros stay holes where the
 * target can; runs of zeros of 4 KiB and more inside data become holes, too.
 */
bool transfer_range(struct session *, struct device *from, struct device *to, uint64_t off, uint64_t len,
                    const struct transfer *, struct error *) DISH_CHECKED;

/*
 * Make `to` show what `from` shows where it shows `below` now: only grains that differ are written. Past the
 * end of a device there are zeros; below NULL: all zeros. `from` and `to` may be the same.
 */
bool transfer_differences(struct session *, struct device *from, struct device *below, struct device *to,
                          uint64_t off, uint64_t len, const struct transfer *, struct error *) DISH_CHECKED;

/*
 * Without reading data: a run from off on, at most max bytes, that surely reads as zeros (*zero), or of
 * which nothing is known. Past the device's end there are zeros.
 */
bool device_look(struct device *, uint64_t off, uint64_t max, bool *zero, uint64_t *len,
                 struct error *) DISH_CHECKED;

/*
 * Down the backing chain to the layer that decides about the byte, but not below it: what the images say,
 * not the host's file. *depth: 0 for the top. The extent's run may be shorter than it could be.
 */
bool device_map_chain(struct device *, uint64_t off, struct extent *, unsigned *depth,
                      struct error *) DISH_CHECKED;

/*
 * The first difference of two devices; what one has beyond the other's end counts as different unless it is
 * zeros. *same is set; when it is false *at is the first byte that differs.
 */
bool transfer_compare(struct session *, struct device *a, struct device *b, bool *same, uint64_t *at,
                      struct error *) DISH_CHECKED;

#endif
