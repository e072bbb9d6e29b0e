/* The order of names that hold numbers: file2 before file10. */
#ifndef DISH_VERSION_ORDER_H
#define DISH_VERSION_ORDER_H

/*
 * As `ls -v` and `sort -V` order file names: names with leading dots first, endings (.tar.gz, ~) only when
 * the rest is equal, digits by their value, letters before other characters, ~ before everything. 0: only for
 * equal names.
 */
int version_compare(const char *a, const char *b);

#endif
