/*
 * The tar format, "pax interchange" of POSIX with the extensions of GNU tar and star that keep everything:
 *
 *   [ 'x' header | records "LEN KEY=VALUE\n" | padding ]  when something does not fit the plain header
 *   [ header, 512 bytes | sparse map, padded | contents, padded ]
 *   ... two blocks of zeros, padded to 10240 bytes
 */
#ifndef DISH_PAX_H
#define DISH_PAX_H

#include "driver.h"

/* A run of data in a file with holes. */
struct pax_run {
    uint64_t off, len;
};

/* One file to be written; zero it, then fill. */
struct pax_entry {
    const char *path; /* of a directory with a slash at its end */
    const struct fs_attr *attr;
    const char *link;     /* target of a symbolic link, or path of the first name */
    bool hard_link;       /* it is a further name */
    struct pax_run *runs; /* data of a sparse file, rising */
    size_t run_count;
    bool sparse;
    /* records, kept between entries: */
    char *records;
    size_t records_len, records_capacity;
};

/* Add a record: an extended attribute, or an ACL as text. Before pax_header(). */
bool pax_xattr(struct pax_entry *, const char *name, const void *value, size_t len,
               struct error *) DISH_CHECKED;
bool pax_acl(struct pax_entry *, bool is_default, const void *value, size_t len, struct error *) DISH_CHECKED;

typedef bool pax_emit_fn(void *arg, const void *bytes, size_t n, struct error *);
/* Writes what stands before the contents; *size is set to the bytes of contents that must follow. */
bool pax_header(struct pax_entry *, pax_emit_fn *emit, void *arg, uint64_t *size,
                struct error *) DISH_CHECKED;
/* What stands behind `size` bytes of contents. */
bool pax_padding(uint64_t size, pax_emit_fn *emit, void *arg, struct error *) DISH_CHECKED;
/* The end of an archive of `written` bytes so far. */
bool pax_end(uint64_t written, pax_emit_fn *emit, void *arg, struct error *) DISH_CHECKED;

#endif
