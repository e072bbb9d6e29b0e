/*
 * A device is a linear range of bytes; an open image is a stack of them:
 *
 *     partition view -> qcow2 or raw -> stage -> host file
 *
 * A kind of device embeds struct device first in its own struct and fills an ops table. Callers use
 * device_read() and friends, never ops: the wrappers check range and read-only state, count, and look for
 * an interrupt, once for all layers.
 */
#ifndef DISH_DEVICE_H
#define DISH_DEVICE_H

#include "error.h"

#include <stddef.h>

struct report;

/*
 * What the commit must protect. WRITE_FRESH: neither the committed state nor any state before the running
 * command refers to these bytes (they were free then and were allocated by this command); they may go
 * straight to the host. WRITE_FRESH_ONCE: the same, and not written again soon: even small ones do not wait
 * in memory. WRITE_UPDATE: anything else; they go to the overlay. In doubt: WRITE_UPDATE.
 */
enum write_class { WRITE_UPDATE, WRITE_FRESH, WRITE_FRESH_ONCE };

enum extent_flags {
    EXTENT_HOLE = 1,       /* nothing is allocated: reads as zeros */
    EXTENT_ZERO = 2,       /* marked as zeros, allocated below or not */
    EXTENT_COMPRESSED = 4, /* off is the compressed payload's first byte; the bytes are not there as such */
    EXTENT_INLINE = 8,     /* lies inside a metadata structure (inode, directory entry) */
    EXTENT_UNWRITTEN = 16, /* allocated, reads as zeros */
    EXTENT_BACKING = 32,   /* device is (a layer of) the backing chain */
};

/* A run of equal state: len bytes that lie at off in device (which is NULL for holes without a place). */
struct extent {
    uint64_t len;
    struct device *device;
    uint64_t off;
    unsigned flags;
};

struct device_ops {
    const char *name; /* the layer's name in messages: "qcow2", "partition", "stage" ... */
    bool (*read)(struct device *, uint64_t off, void *buf, size_t n, struct error *);
    bool (*write)(struct device *, uint64_t off, const void *buf, size_t n, enum write_class, struct error *);
    /*
     * As write, but the bytes come from a host file, open as fd, without passing through the program. *done
     * may be less than n, even 0: the rest is to be written. NULL: never.
     */
    bool (*copy_in)(struct device *, uint64_t off, int fd, uint64_t fd_off, size_t n, enum write_class,
                    size_t *done, struct error *);
    /* NULL: zeros are written. */
    bool (*zero)(struct device *, uint64_t off, uint64_t n, enum write_class, struct error *);
    /* Contents become undefined and space may be given back. NULL: nothing happens. */
    bool (*discard)(struct device *, uint64_t off, uint64_t n, struct error *);
    /* Reserve space on the host for bytes that read as zeros, `written`:
     * by writing them. NULL: zeros are written. */
    bool (*allocate)(struct device *, uint64_t off, uint64_t n, bool written, struct error *);
    /*
     * A few bytes that must hold whatever becomes of the transaction, durable at once: the mark that an image
     * is corrupt. They become part of the committed state and of all states since. NULL: as write.
     */
    bool (*write_now)(struct device *, uint64_t off, const void *buf, size_t n, struct error *);
    /* NULL: fixed size, refused by name. */
    bool (*resize)(struct device *, uint64_t size, struct error *);
    /* The run that starts at off (off < size); never empty. NULL: the device is one with the device below. */
    bool (*map)(struct device *, uint64_t off, struct extent *, struct error *);
    /* Hand my dirty state to the device below; nothing else. NULL: there is none. */
    bool (*flush)(struct device *, struct error *);
    /* After an undo or a failed command: forget everything cached, read my header again. */
    bool (*reload)(struct device *, struct error *);
    /* The state is durable now: space freed before may be handed out as fresh again. */
    void (*committed)(struct device *);
    /* For `where`: how this layer finds off (table indices, entries, their offsets in the device below). */
    bool (*describe)(struct device *, uint64_t off, struct report *, struct error *);
    void (*close)(struct device *); /* frees the device itself; not the one below */
};

struct device_stats {
    uint64_t reads, read_bytes, writes, write_bytes;
};

struct device {
    const struct device_ops *ops;
    struct device *below; /* NULL at the bottom */
    uint64_t size;        /* bytes */
    uint32_t block_size;  /* logical sector size: 512 or 4096 */
    bool read_only;
    bool no_fresh; /* WRITE_FRESH becomes WRITE_UPDATE: its class rests on a state that is not committed */
    bool written;  /* something was written through it since its owner cleared this */
    struct device_stats stats;
};

bool device_read(struct device *, uint64_t off, void *buf, size_t n, struct error *) DISH_CHECKED;
bool device_write(struct device *, uint64_t off, const void *buf, size_t n, enum write_class,
                  struct error *) DISH_CHECKED;
/* *done less than n: the rest must be read and written; the file may have ended, too. */
bool device_copy_in(struct device *, uint64_t off, int fd, uint64_t fd_off, size_t n, enum write_class,
                    size_t *done, struct error *) DISH_CHECKED;
bool device_zero(struct device *, uint64_t off, uint64_t n, enum write_class, struct error *) DISH_CHECKED;
bool device_discard(struct device *, uint64_t off, uint64_t n, struct error *) DISH_CHECKED;
bool device_allocate(struct device *, uint64_t off, uint64_t n, bool written, struct error *) DISH_CHECKED;
bool device_write_now(struct device *, uint64_t off, const void *buf, size_t n, struct error *) DISH_CHECKED;
bool device_resize(struct device *, uint64_t size, struct error *) DISH_CHECKED;
bool device_map(struct device *, uint64_t off, struct extent *, struct error *) DISH_CHECKED;
bool device_flush(struct device *, struct error *) DISH_CHECKED;
bool device_reload(struct device *, struct error *) DISH_CHECKED;
void device_committed(struct device *);
void device_close(struct device *); /* NULL is fine */

/* Follow map down to the bottom device. The run may be shorter than the top layer's. */
bool device_map_to_bottom(struct device *, uint64_t off, struct extent *, struct error *) DISH_CHECKED;

/* A view of len bytes at off of `below`: a partition. block_size is inherited. Owned by the caller. */
struct device *view_new(struct device *below, uint64_t off, uint64_t len, struct error *) DISH_CHECKED;

/* A device in memory (sparse, grows page by page), for tests and small rebuilt images. */
struct device *memory_device_new(uint64_t size, struct error *) DISH_CHECKED;

#endif
