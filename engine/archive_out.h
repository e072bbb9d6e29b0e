/* What libarchive writes: the compression of a tar, and archives of other formats. Private to tar_out.c. */
#ifndef DISH_ARCHIVE_OUT_H
#define DISH_ARCHIVE_OUT_H

#include "driver.h"

struct archive_out;
typedef bool archive_write_fn(void *arg, const void *bytes, size_t n, struct error *);

/*
 * Format and compression follow from the ending of `name`; only_filter: compression alone, and what is given
 * to archive_out_data() passes through as it is.
 */
bool archive_out_new(struct archive_out **, const char *name, bool only_filter, archive_write_fn *, void *arg,
                     struct error *) DISH_CHECKED;
/* link: target of a symbolic link, or path of the first name of a file that has several. */
bool archive_out_entry(struct archive_out *, const char *path, const struct fs_attr *, const char *link,
                       bool hard_link, struct error *) DISH_CHECKED;
bool archive_out_data(struct archive_out *, const void *bytes, size_t n, struct error *) DISH_CHECKED;
bool archive_out_close(struct archive_out *, struct error *) DISH_CHECKED;
void archive_out_free(struct archive_out *); /* NULL is fine */

#endif
