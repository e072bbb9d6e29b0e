#include "version_order.h"

#include <stdbool.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The length without endings: dots that are followed by a letter or ~, and by letters, digits and ~ then. */
static size_t length_of_stem(const char *name)
{
    size_t stem = 0, n = strlen(name);
    for (size_t i = 0; i < n;) {
        i++;
        stem = i;
        while (i + 1 < n && name[i] == '.' && (is_letter(name[i + 1]) || name[i + 1] == '~'))
            for (i += 2; i < n && (is_letter(name[i]) || is_digit(name[i]) || name[i] == '~');)
                i++;
    }
    return stem;
}

/* Where a character that is no digit stands in the order; the end is before all but ~. */
static int rank(const char *text, size_t at, size_t n)
{
    if (at >= n)
        return -1;
    if (is_digit(text[at]))
        return 0;
    if (is_letter(text[at]))
        return (unsigned char)text[at];
    return text[at] == '~' ? -2 : (unsigned char)text[at] + 256;
}

/* The numbers at *i and *j, which are passed. */
static int compare_numbers(const char *a, size_t *i, size_t an, const char *b, size_t *j, size_t bn)
{
    int first = 0; /* the first digits that differ decide between numbers of one length */
    while (*i < an && a[*i] == '0')
        ++*i;
    while (*j < bn && b[*j] == '0')
        ++*j;
    for (; *i < an && *j < bn && is_digit(a[*i]) && is_digit(b[*j]); ++*i, ++*j)
        if (first == 0)
            first = a[*i] - b[*j];
    if (*i < an && is_digit(a[*i]))
        return 1;
    return *j < bn && is_digit(b[*j]) ? -1 : first;
}

static int compare_parts(const char *a, size_t an, const char *b, size_t bn)
{
    size_t i = 0, j = 0;
    while (i < an || j < bn) {
        while ((i < an && !is_digit(a[i])) || (j < bn && !is_digit(b[j]))) {
            int order = rank(a, i, an) - rank(b, j, bn);
            if (order)
                return order;
            i++, j++;
        }
        int order = compare_numbers(a, &i, an, b, &j, bn);
        if (order)
            return order;
    }
    return 0;
}

/* The empty name, ".", ".." and hidden names come first, in this order. */
static int class_of(const char *name)
{
    if (!name[0])
        return 0;
    if (name[0] != '.')
        return 4;
    return !name[1] ? 1 : name[1] == '.' && !name[2] ? 2 : 3;
}

int version_compare(const char *a, const char *b)
{
    int order = class_of(a) - class_of(b);
    if (order)
        return order;
    size_t an = strlen(a), bn = strlen(b), a_stem = length_of_stem(a), b_stem = length_of_stem(b);
    order = compare_parts(a, a_stem, b, b_stem);
    if (order == 0 && (a_stem < an || b_stem < bn))
        order = compare_parts(a, an, b, bn);
    return order ? order : strcmp(a, b);
}
