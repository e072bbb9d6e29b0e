/* What unit tests that work on host files share: a scratch directory, whole files, and must(). */
#ifndef DISH_TESTS_UNIT_H
#define DISH_TESTS_UNIT_H

#include "error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <unistd.h>

/* The call worked, or its message is shown. */
#define must(call, err)                                                                                      \
    do {                                                                                                     \
        if (!(call))                                                                                         \
            fail_msg("%s: %s", #call, (err)->message);                                                       \
    } while (0)

static inline void make_scratch(char *dir, size_t size)
{
    const char *base = getenv("TMPDIR");
    snprintf(dir, size, "%s/dish-test-XXXXXX", base && strlen(base) < size - 20 ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
}

static inline void remove_scratch(const char *dir)
{
    DIR *stream = opendir(dir);
    assert_non_null(stream);
    for (struct dirent *entry; (entry = readdir(stream));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(stream), entry->d_name, 0);
    closedir(stream);
    assert_int_equal(rmdir(dir), 0);
}

/* Entries of a directory; with a name: of that name. */
static inline unsigned count_files(const char *dir, const char *name)
{
    unsigned count = 0;
    DIR *stream = opendir(dir);
    assert_non_null(stream);
    for (struct dirent *entry; (entry = readdir(stream));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            (!name || strcmp(entry->d_name, name) == 0))
            count++;
    closedir(stream);
    return count;
}

static inline void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

/* The whole file, malloc'd; NULL when there is none. */
static inline uint8_t *slurp(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    *n = 0;
    if (!file)
        return NULL;
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *n = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*n + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *n, file), *n);
    fclose(file);
    return bytes;
}

static inline bool file_is(const char *path, const void *bytes, size_t n)
{
    size_t have;
    uint8_t *read = slurp(path, &have);
    bool same = read && have == n && memcmp(read, bytes, n) == 0;
    free(read);
    return same;
}

#endif
