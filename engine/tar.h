/* Archives into images and images into archives, through libarchive: a root filesystem without being root. */
#ifndef DISH_TAR_H
#define DISH_TAR_H

#include "copy.h"

/*
 * Unpacks an archive (tar in any form and compression, cpio, zip ...) below the directory `dest` of the
 * volume, with owners, modes, times, links, devices, extended attributes, ACLs and holes. host: the archive's
 * path, or NULL: read() delivers it. Entries that would lead out of dest are refused and complained about.
 */
bool tar_in(struct session *, const char *host,
            bool (*read)(void *arg, void *buf, size_t n, size_t *got, struct error *), void *read_arg,
            const struct copy_end *dest, const struct copy_options *, struct copy_tally *,
            struct error *) DISH_CHECKED;

/*
 * Packs sources: a single directory as what is in it ("./..."), several things under their last names. The
 * format follows from the name's ending (".tar.gz", ".tar.zst", ".cpio" ...), else it is a pax tar.
 */
bool tar_out(struct session *, const struct copy_end *sources, size_t count, const char *name,
             bool (*write)(void *arg, const void *buf, size_t n, struct error *), void *write_arg,
             const struct copy_options *, struct copy_tally *, struct error *) DISH_CHECKED;

#endif
