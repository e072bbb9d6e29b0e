/*
 * libarchive, loaded when it is first needed: linking it would make every start of the program wait for the
 * libraries that it brings along.
 */
#ifndef DISH_ARCHIVE_LIB_H
#define DISH_ARCHIVE_LIB_H

#include "error.h"

#ifdef HAVE_ARCHIVE
#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#define ARCHIVE_FUNCTIONS(F)                                                                                 \
    F(archive_read_new)                                                                                      \
    F(archive_read_support_filter_all)                                                                       \
    F(archive_read_support_format_all)                                                                       \
    F(archive_read_open)                                                                                     \
    F(archive_read_open_filename)                                                                            \
    F(archive_read_next_header)                                                                              \
    F(archive_read_data_block)                                                                               \
    F(archive_format)                                                                                        \
    F(archive_filter_bytes)                                                                                  \
    F(archive_read_free)                                                                                     \
    F(archive_write_set_format_raw)                                                                          \
    F(archive_write_new)                                                                                     \
    F(archive_write_set_format_filter_by_ext_def)                                                            \
    F(archive_write_open)                                                                                    \
    F(archive_write_header)                                                                                  \
    F(archive_write_data)                                                                                    \
    F(archive_write_close)                                                                                   \
    F(archive_write_free)                                                                                    \
    F(archive_error_string)                                                                                  \
    F(archive_set_error)                                                                                     \
    F(archive_entry_new)                                                                                     \
    F(archive_entry_clear)                                                                                   \
    F(archive_entry_free)                                                                                    \
    F(archive_entry_pathname)                                                                                \
    F(archive_entry_set_pathname)                                                                            \
    F(archive_entry_hardlink)                                                                                \
    F(archive_entry_set_hardlink)                                                                            \
    F(archive_entry_symlink)                                                                                 \
    F(archive_entry_set_symlink)                                                                             \
    F(archive_entry_mode)                                                                                    \
    F(archive_entry_set_mode)                                                                                \
    F(archive_entry_size)                                                                                    \
    F(archive_entry_set_size)                                                                                \
    F(archive_entry_uid)                                                                                     \
    F(archive_entry_set_uid)                                                                                 \
    F(archive_entry_gid)                                                                                     \
    F(archive_entry_set_gid)                                                                                 \
    F(archive_entry_mtime)                                                                                   \
    F(archive_entry_mtime_nsec)                                                                              \
    F(archive_entry_mtime_is_set)                                                                            \
    F(archive_entry_set_mtime)                                                                               \
    F(archive_entry_atime)                                                                                   \
    F(archive_entry_atime_nsec)                                                                              \
    F(archive_entry_atime_is_set)                                                                            \
    F(archive_entry_rdevmajor)                                                                               \
    F(archive_entry_rdevminor)                                                                               \
    F(archive_entry_set_rdevmajor)                                                                           \
    F(archive_entry_set_rdevminor)                                                                           \
    F(archive_entry_sparse_count)                                                                            \
    F(archive_entry_xattr_reset)                                                                             \
    F(archive_entry_xattr_next)                                                                              \
    F(archive_entry_acl_reset)                                                                               \
    F(archive_entry_acl_next)                                                                                \
    F(archive_entry_acl_types)

struct archive_lib {
#define FUNCTION(name) __typeof__(name) *name;
    ARCHIVE_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

/*
 * The library converts names by the locale. Between these two it is one of UTF-8, whatever the program's is;
 * then every name that is UTF-8 stays as it is, and others are kept as bytes.
 */
locale_t archive_locale_begin(void);
void archive_locale_end(locale_t);

/* NULL with E_UNSUPPORTED when the library is not installed. */
const struct archive_lib *archive_lib(struct error *) DISH_CHECKED;

#endif
#endif
