/* xattr: extended attributes. */
#include "alloc.h"
#include "files.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

struct xattr_command {
    struct output *out;
    struct report *list;
    const char *name, *value, *remove;
    char encoding; /* 0: text where it is text, else t, h, b */
    bool names_only, any;
};

/* ---- values as text ------------------------------------------------------------------------------------ */

static const char base64_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_base64(struct text *out, const uint8_t *value, size_t len)
{
    for (size_t i = 0; i < len; i += 3) {
        uint32_t group = (uint32_t)value[i] << 16 | (i + 1 < len ? (uint32_t)value[i + 1] << 8 : 0) |
                         (i + 2 < len ? value[i + 2] : 0);
        text_char(out, base64_letters[group >> 18 & 63]);
        text_char(out, base64_letters[group >> 12 & 63]);
        text_char(out, i + 1 < len ? base64_letters[group >> 6 & 63] : '=');
        text_char(out, i + 2 < len ? base64_letters[group & 63] : '=');
    }
}

static bool is_text(const uint8_t *value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((value[i] < ' ' && value[i] != '\t' && value[i] != '\n') || value[i] >= 0x7F)
            return false;
    return true;
}

/* As getfattr writes values: "text", 0xHEX or 0sBASE64. */
static void put_value(struct text *out, const uint8_t *value, size_t len, char encoding)
{
    if (!encoding)
        encoding = is_text(value, len) ? 't' : 'h';
    if (encoding == 'h') {
        text_string(out, "0x");
        for (size_t i = 0; i < len; i++)
            text_printf(out, "%02x", value[i]);
    } else if (encoding == 'b') {
        text_string(out, "0s");
        put_base64(out, value, len);
    } else {
        text_char(out, '"');
        for (size_t i = 0; i < len; i++) {
            if (value[i] == '"' || value[i] == '\\')
                text_char(out, '\\');
            if (value[i] < ' ' || value[i] >= 0x7F)
                text_printf(out, "\\%03o", value[i]);
            else
                text_char(out, (char)value[i]);
        }
        text_char(out, '"');
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool get_hex(const char *text, struct text *out)
{
    for (; *text; text += 2) {
        int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0)
            return false;
        text_char(out, (char)(high << 4 | low));
    }
    return true;
}

static bool get_base64(const char *text, struct text *out)
{
    uint32_t group = 0;
    unsigned bits = 0;
    for (; *text && *text != '='; text++) {
        const char *letter = strchr(base64_letters, *text);
        if (!letter)
            return false;
        group = group << 6 | (uint32_t)(letter - base64_letters);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            text_char(out, (char)(group >> bits));
        }
    }
    return strspn(text, "=") == strlen(text);
}

/* "0x...", "0s...", "quoted" or the text as it is. */
static bool get_value(const char *text, struct text *out, struct error *err)
{
    bool good = true;
    size_t len = strlen(text);
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        good = get_hex(text + 2, out);
    else if (text[0] == '0' && (text[1] == 's' || text[1] == 'S'))
        good = get_base64(text + 2, out);
    else if (len >= 2 && text[0] == '"' && text[len - 1] == '"')
        text_add(out, text + 1, len - 2);
    else
        text_string(out, text);
    return good ? text_ok(out, err)
                : fail(err, E_INVALID, "'%s' is not hexadecimal (0x) or base64 (0s)", text);
}

/* ---- files --------------------------------------------------------------------------------------------- */

struct names {
    char **items;
    size_t count, capacity;
    struct error *err;
    bool ok;
};

static bool take_name(const char *name, void *arg)
{
    struct names *names = arg;
    names->ok = mem_grow(&names->items, &names->capacity, names->count + 1, sizeof *names->items, names->err);
    if (names->ok)
        names->ok = (names->items[names->count] = mem_string(name, names->err)) != NULL;
    names->count += names->ok;
    return names->ok;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool print_one(struct xattr_command *xattr, struct file_arg *arg, const char *name, struct error *err)
{
    void *value;
    size_t len;
    struct text text = {0};
    if (!file_xattr_get(arg->volume, arg->id, name, &value, &len, err))
        return err->kind == E_NOENT ? fail(err, E_NOENT, "%s: no such attribute", name) : false;
    if (!xattr->names_only)
        put_value(&text, value, len, xattr->encoding);
    free(value);
    bool ok = text_ok(&text, err);
    if (ok && xattr->list) {
        report_text(xattr->list, name, text_get(&text));
    } else if (ok) {
        output_name(xattr->out, name);
        if (!xattr->names_only)
            output_printf(xattr->out, "=%s", text_get(&text));
        output_write(xattr->out, "\n", 1);
    }
    text_free(&text);
    return ok;
}

static bool print_all(struct xattr_command *xattr, struct file_arg *arg, struct error *err)
{
    struct names names = {.err = err, .ok = true};
    bool ok = file_xattr_list(arg->volume, arg->id, take_name, &names, err) && names.ok;
    if (ok && names.count)
        qsort(names.items, names.count, sizeof *names.items, compare_names);
    if (ok && xattr->list) {
        report_open(xattr->list, NULL);
        report_text(xattr->list, "path", arg->typed);
        report_open(xattr->list, "attributes");
    } else if (ok && names.count) {
        output_printf(xattr->out, "%s# file: ", xattr->any ? "\n" : "");
        output_name(xattr->out, arg->typed);
        output_write(xattr->out, "\n", 1);
        xattr->any = true;
    }
    for (size_t i = 0; ok && i < names.count; i++)
        ok = print_one(xattr, arg, names.items[i], err);
    if (xattr->list) {
        report_close(xattr->list);
        report_close(xattr->list);
    }
    for (size_t i = 0; i < names.count; i++)
        free(names.items[i]);
    free(names.items);
    return ok;
}

static bool set_one(struct xattr_command *xattr, struct file_arg *arg, struct error *err)
{
    struct text value = {0};
    bool ok = get_value(xattr->value, &value, err) &&
              file_xattr_set(arg->volume, arg->id, xattr->name, text_get(&value), value.len, err) &&
              file_setattr(arg->volume, arg->id, &arg->attr, 0, err);
    text_free(&value);
    return ok;
}

static bool remove_one(struct xattr_command *xattr, struct file_arg *arg, struct error *err)
{
    if (!file_xattr_set(arg->volume, arg->id, xattr->remove, NULL, 0, err))
        return err->kind == E_NOENT ? fail(err, E_NOENT, "%s: no such attribute", xattr->remove) : false;
    return file_setattr(arg->volume, arg->id, &arg->attr, 0, err);
}

static bool xattr_one(struct file_arg *arg, void *opaque, struct error *err)
{
    struct xattr_command *xattr = opaque;
    if (xattr->remove)
        return remove_one(xattr, arg, err);
    if (xattr->value)
        return set_one(xattr, arg, err);
    if (!xattr->name)
        return print_all(xattr, arg, err);
    if (xattr->list)
        report_open(xattr->list, NULL);
    bool ok = print_one(xattr, arg, xattr->name, err);
    if (xattr->list)
        report_close(xattr->list);
    return ok;
}

static bool run_xattr(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct xattr_command xattr = {.out = out,
                                  .name = call_value(call, "n"),
                                  .value = call_value(call, "v"),
                                  .remove = call_value(call, "x"),
                                  .names_only = call_has(call, "l")};
    const char *encoding = call_value(call, "e");
    if (encoding && strcmp(encoding, "text") != 0 && strcmp(encoding, "hex") != 0 &&
        strcmp(encoding, "base64") != 0)
        return fail(err, E_USAGE, "-e %s: text, hex or base64", encoding);
    xattr.encoding = encoding ? encoding[0] : 0;
    if (xattr.value && !xattr.name)
        return fail(err, E_USAGE, "-v needs a name (-n)");
    if (output_json(out) && !xattr.value && !xattr.remove)
        xattr.list = output_report_list(out);
    return each_file(session, call, 0, !call_has(call, "h"), xattr_one, &xattr, err);
}

static const struct arg xattr_args[] = {
    {"FILE", ARG_PATH, ARG_MANY, "files of the image", NULL},
    {0},
};

static const struct flag xattr_flags[] = {
    {'n', "name", "NAME", ARG_WORD, "only this attribute; with -v the one to set"},
    {'v', "value", "VALUE", ARG_WORD, "set it: text, 0xHEX or 0sBASE64"},
    {'x', "remove", "NAME", ARG_WORD, "remove it"},
    {'l', "names", NULL, ARG_WORD, "names without values"},
    {'d', "dump", NULL, ARG_WORD, "names and values, as without it"},
    {'e', "encoding", "E", ARG_WORD, "print values as text, hex or base64"},
    {'h', "no-dereference", NULL, ARG_WORD, "a symbolic link itself"},
    {0},
};

const struct command xattr_command = {
    .name = "xattr",
    .group = "Files",
    .summary = "show and set extended attributes",
    .details = "The options are those of getfattr and setfattr.",
    .examples =
        "xattr /bin/ping\nxattr -n user.comment -v 'a word' /etc/motd\nxattr -x user.comment /etc/motd",
    .args = xattr_args,
    .flags = xattr_flags,
    .needs = NEEDS_IMAGE | CHANGES | ALSO_READS,
    .run = run_xattr,
};
