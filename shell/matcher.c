#include "matcher.h"

#include "alloc.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

struct pattern {
    char *text;
    size_t len;
    bool plain; /* looked for as bytes */
    regex_t regex;
};

struct matcher {
    unsigned flags;
    struct pattern *patterns;
    size_t count, capacity;
};

bool matcher_new(struct matcher **out, unsigned flags, struct error *err)
{
    *out = mem_new(sizeof **out, err);
    if (*out)
        (*out)->flags = flags;
    return *out != NULL;
}

void matcher_free(struct matcher *matcher)
{
    if (!matcher)
        return;
    for (size_t i = 0; i < matcher->count; i++) {
        if (!matcher->patterns[i].plain)
            regfree(&matcher->patterns[i].regex);
        free(matcher->patterns[i].text);
    }
    free(matcher->patterns);
    free(matcher);
}

/* A fixed string as a basic regular expression, for -i. */
static char *quoted(const char *text, struct error *err)
{
    char *out = mem_new(strlen(text) * 2 + 1, err);
    char *to = out;
    for (; out && *text; text++) {
        if (strchr("\\.[*^$", *text))
            *to++ = '\\';
        *to++ = *text;
    }
    return out;
}

static bool compile(struct matcher *matcher, struct pattern *pattern, struct error *err)
{
    unsigned flags = matcher->flags;
    bool special = strpbrk(pattern->text, "\\.[]*^$+?{}()|") != NULL;
    pattern->plain = ((flags & MATCH_FIXED) || !special) && !(flags & MATCH_ICASE);
    if (pattern->plain)
        return true;
    char *text = flags & MATCH_FIXED ? quoted(pattern->text, err) : mem_string(pattern->text, err);
    if (!text)
        return false;
    bool extended = (flags & MATCH_EXTENDED) && !(flags & MATCH_FIXED);
    int rc =
        regcomp(&pattern->regex, text, (extended ? REG_EXTENDED : 0) | (flags & MATCH_ICASE ? REG_ICASE : 0));
    free(text);
    if (rc == 0)
        return true;
    char why[200];
    regerror(rc, &pattern->regex, why, sizeof why);
    pattern->plain = true; /* nothing to free */
    return fail(err, E_INVALID, "pattern '%s': %s", pattern->text, why);
}

bool matcher_add(struct matcher *matcher, const char *patterns, struct error *err)
{
    for (;;) {
        size_t len = strcspn(patterns, "\n");
        if (!mem_grow(&matcher->patterns, &matcher->capacity, matcher->count + 1, sizeof *matcher->patterns,
                      err))
            return false;
        struct pattern *pattern = &matcher->patterns[matcher->count];
        pattern->text = mem_string_n(patterns, len, err);
        pattern->len = len;
        pattern->plain = true;
        if (!pattern->text)
            return false;
        matcher->count++;
        if (!compile(matcher, pattern, err))
            return false;
        if (!patterns[len])
            return true;
        patterns += len + 1;
    }
}

static bool find_one(const struct pattern *pattern, const char *line, size_t len, size_t from, size_t *start,
                     size_t *end)
{
    if (pattern->plain) {
        const char *at =
            pattern->len ? memmem(line + from, len - from, pattern->text, pattern->len) : line + from;
        if (!at)
            return false;
        *start = (size_t)(at - line);
        *end = *start + pattern->len;
        return true;
    }
    /* REG_STARTEND: the line need not end in a NUL, and may hold some. */
    regmatch_t match = {.rm_so = (regoff_t)from, .rm_eo = (regoff_t)len};
    if (regexec(&pattern->regex, line, 1, &match, REG_STARTEND | (from ? REG_NOTBOL : 0)) != 0)
        return false;
    *start = (size_t)match.rm_so;
    *end = (size_t)match.rm_eo;
    return true;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (c & 0x80);
}

static bool fits(const struct matcher *matcher, const char *line, size_t len, size_t start, size_t end)
{
    if ((matcher->flags & MATCH_LINE) && (start != 0 || end != len))
        return false;
    if (!(matcher->flags & MATCH_WORD))
        return true;
    return (start == 0 || !is_word(line[start - 1])) && (end == len || !is_word(line[end]));
}

bool matcher_find(const struct matcher *matcher, const char *line, size_t len, size_t from, size_t *start,
                  size_t *end)
{
    bool found = false;
    for (size_t i = 0; i < matcher->count; i++) {
        size_t s, e;
        for (size_t at = from; at <= len; at = s + 1) {
            if (!find_one(&matcher->patterns[i], line, len, at, &s, &e) || (found && s > *start))
                break;
            if (!fits(matcher, line, len, s, e))
                continue;
            if (!found || s < *start || e > *end) {
                *start = s;
                *end = e;
            }
            found = true;
            break;
        }
    }
    return found;
}
