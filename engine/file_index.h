/*
 * Whose bytes are whose on one volume, found by one walk through its tree: the names of files by their ids,
 * and (for formats whose drivers cannot say it) which file each byte belongs to. Bounded: on a volume with
 * very many files some are not known here.
 */
#ifndef DISH_FILE_INDEX_H
#define DISH_FILE_INDEX_H

#include "session.h"

struct file_index;

struct file_at {
    const char *path; /* lives as long as the index */
    fs_id id;
    bool directory;
    uint64_t file_off;
    uint64_t len; /* from there on it is the same */
};

/* runs: where the files' bytes lie is wanted too. The volume stays as it is as long as the index lives. */
bool file_index_new(struct file_index **, struct volume *, bool runs, struct error *) DISH_CHECKED;
void file_index_free(struct file_index *); /* NULL is fine */

/* The path of a file; NULL: not known. */
const char *file_index_path(const struct file_index *, fs_id);
/* The file that the volume's byte at off belongs to; false: not known. */
bool file_index_at(const struct file_index *, uint64_t off, struct file_at *);

#endif
