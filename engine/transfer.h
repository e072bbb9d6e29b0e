/* Moving the guest contents of one device to another: convert, rebase, commit into a backing file, compare.
 */
#ifndef DISH_TRANSFER_H
#define DISH_TRANSFER_H

#include "session.h"

struct transfer {
    const char *what;    /* for the progress display */
    bool target_is_zero; /* the target reads as zeros everywhere: zeros need not be written */
    enum write_class write_class;
    /* Not NULL: each piece of `piece` bytes goes here instead of device_write (compression). */
    bool (*write)(void *arg, uint64_t off, const void *buf, size_t n, struct error *);
    size_t piece;
    void *arg;
};

/*
 * Copy len bytes at off from one device to another at the same place. Holes and zeros stay holes where the
 * target can; runs of zeros of 4 KiB and more inside data become holes, too.
 */
bool transfer_range(struct session *, struct device *from, struct device *to, uint64_t off, uint64_t len,
                    const struct transfer *, struct error *) DISH_CHECKED;

/* Whether a device surely reads as zeros from off on, and for how long (at most len). Never wrong, may be
 * modest. */
bool device_known_zero(struct device *, uint64_t off, uint64_t len, uint64_t *run,
                       struct error *) DISH_CHECKED;

/*
 * The first difference of two devices; what one has beyond the other's end counts as different unless it is
 * zeros. *same is set; when it is false *at is the first byte that differs.
 */
bool transfer_compare(struct session *, struct device *a, struct device *b, bool *same, uint64_t *at,
                      struct error *) DISH_CHECKED;

#endif
