/*
 * Reports as text: keys and values aligned, lists of objects as tables, what is nested below its key. Keys
 * are shown with blanks for hyphens.
 */
#include "reports.h"

#include "bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum node_type { NODE_VALUE, NODE_NUMBER, NODE_OBJECT, NODE_LIST };

struct text_node {
    struct text_node *next, *first, *last, *parent;
    enum node_type type;
    char *key; /* NULL in a list */
    struct text value;
};

/* ---- building ---------------------------------------------------------------------------------------- */

static void node_free(struct text_node *node)
{
    while (node->first) {
        struct text_node *child = node->first;
        node->first = child->next;
        node_free(child);
    }
    text_free(&node->value);
    free(node->key);
    free(node);
}

/* NULL on lack of memory, which is remembered. */
static struct text_node *add_node(struct text_report *text, const char *key, enum node_type type)
{
    struct text_node *node = text->failed ? NULL : calloc(1, sizeof *node);
    if (node && key)
        node->key = strdup(key);
    if (!node || (key && !node->key)) {
        free(node);
        text->failed = true;
        return NULL;
    }
    node->type = type;
    node->parent = text->at;
    if (text->at && text->at->last)
        text->at->last->next = node;
    else if (text->at)
        text->at->first = node;
    if (text->at)
        text->at->last = node;
    return node;
}

static void open_node(struct report *report, const char *key, enum node_type type)
{
    struct text_report *text = (struct text_report *)report;
    struct text_node *node = add_node(text, key, type);
    if (node)
        text->at = node;
}

static void open_object(struct report *report, const char *key)
{
    open_node(report, key, NODE_OBJECT);
}

static void open_list(struct report *report, const char *key)
{
    open_node(report, key, NODE_LIST);
}

static void close_node(struct report *report)
{
    struct text_report *text = (struct text_report *)report;
    if (!text->failed && text->at->parent)
        text->at = text->at->parent;
}

static struct text *add_value(struct report *report, const char *key, enum node_type type)
{
    static struct text nowhere;
    struct text_node *node = add_node((struct text_report *)report, key, type);
    text_free(&nowhere);
    return node ? &node->value : &nowhere;
}

static void put_text(struct report *report, const char *key, const char *bytes, size_t n)
{
    text_escaped(add_value(report, key, NODE_VALUE), bytes, n);
}

static void put_number(struct report *report, const char *key, uint64_t value)
{
    text_printf(add_value(report, key, NODE_NUMBER), "%" PRIu64, value);
}

static void put_signed(struct report *report, const char *key, int64_t value)
{
    text_printf(add_value(report, key, NODE_NUMBER), "%" PRId64, value);
}

/* "64 MiB (67108864 bytes)"; small or uneven sizes as they are. */
static void put_size(struct report *report, const char *key, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    struct text *value = add_value(report, key, NODE_NUMBER);
    unsigned unit = 0;
    double scaled = (double)bytes;
    for (; scaled >= 1024 && unit + 1 < ARRAY_LEN(units); unit++)
        scaled /= 1024;
    if (unit == 0)
        text_printf(value, "%" PRIu64, bytes);
    else if (bytes % (1ULL << (10 * unit)) == 0)
        text_printf(value, "%.0f %s", scaled, units[unit]);
    else
        text_printf(value, "%.1f %s (%" PRIu64 ")", scaled, units[unit], bytes);
}

static void put_hex(struct report *report, const char *key, uint64_t value)
{
    text_printf(add_value(report, key, NODE_NUMBER), "0x%" PRIx64, value);
}

static void put_boolean(struct report *report, const char *key, bool value)
{
    text_string(add_value(report, key, NODE_VALUE), value ? "yes" : "no");
}

static void put_null(struct report *report, const char *key)
{
    text_string(add_value(report, key, NODE_VALUE), "-");
}

static const struct report_ops text_ops = {
    .open_object = open_object,
    .open_list = open_list,
    .close = close_node,
    .text = put_text,
    .number = put_number,
    .signed_number = put_signed,
    .size = put_size,
    .hex = put_hex,
    .boolean = put_boolean,
    .null = put_null,
};

/* ---- printing ---------------------------------------------------------------------------------------- */

static bool is_leaf(const struct text_node *node)
{
    return node->type == NODE_VALUE || node->type == NODE_NUMBER;
}

static bool all_leaves(const struct text_node *node)
{
    for (const struct text_node *child = node->first; child; child = child->next)
        if (!is_leaf(child))
            return false;
    return true;
}

static void put_padded(struct output *out, const char *text, unsigned width, bool right, bool last)
{
    unsigned have = display_width(text), pad = have < width ? width - have : 0;
    if (right)
        output_printf(out, "%*s", (int)pad, "");
    output_write(out, text, strlen(text));
    if (!right && !last)
        output_printf(out, "%*s", (int)pad, "");
    output_write(out, last ? "\n" : "  ", last ? 1 : 2);
}

static void put_key(struct output *out, const char *key, unsigned width)
{
    char shown[80];
    snprintf(shown, sizeof shown, "%s:", key);
    for (char *c = shown; *c; c++)
        *c = *c == '-' ? ' ' : *c;
    if (width == 0)
        output_printf(out, "%s\n", shown);
    else
        output_printf(out, "%-*s  ", (int)width, shown);
}

static void print_node(struct output *, const struct text_node *, unsigned indent);

/* A list whose items are objects of the same leaf keys is a table. */
static bool is_table(const struct text_node *list)
{
    const struct text_node *model = list->first;
    if (!model || !model->next || model->type != NODE_OBJECT || !model->first)
        return false;
    for (const struct text_node *item = model; item; item = item->next) {
        const struct text_node *a = model->first, *b = item->first;
        if (item->type != NODE_OBJECT || !all_leaves(item))
            return false;
        for (; a && b && strcmp(a->key, b->key) == 0; a = a->next)
            b = b->next;
        if (a || b)
            return false;
    }
    return true;
}

static const struct text_node *cell_at(const struct text_node *row, unsigned column)
{
    const struct text_node *cell = row->first;
    while (column-- > 0)
        cell = cell->next;
    return cell;
}

enum { MAX_COLUMNS = 32 };

/* The widths of the columns; what they take together. */
static unsigned measure_table(const struct text_node *list, unsigned widths[MAX_COLUMNS], unsigned *count)
{
    unsigned columns = 0, total = 0;
    for (const struct text_node *cell = list->first->first; cell && columns < MAX_COLUMNS; cell = cell->next)
        widths[columns++] = display_width(cell->key);
    for (const struct text_node *row = list->first; row; row = row->next) {
        const struct text_node *cell = row->first;
        for (unsigned i = 0; i < columns; i++, cell = cell->next)
            widths[i] = MAX_OF(widths[i], display_width(text_get(&cell->value)));
    }
    for (unsigned i = 0; i < columns; i++)
        total += widths[i] + (i ? 2 : 0);
    *count = columns;
    return total;
}

static void print_table(struct output *out, const struct text_node *list, unsigned indent,
                        const unsigned widths[MAX_COLUMNS], unsigned columns)
{
    output_printf(out, "%*s", (int)indent, "");
    for (unsigned i = 0; i < columns; i++) {
        const struct text_node *cell = cell_at(list->first, i);
        put_padded(out, cell->key, widths[i], cell->type == NODE_NUMBER, i + 1 == columns);
    }
    for (const struct text_node *row = list->first; row; row = row->next) {
        const struct text_node *cell = row->first;
        output_printf(out, "%*s", (int)indent, "");
        for (unsigned i = 0; i < columns; i++, cell = cell->next)
            put_padded(out, text_get(&cell->value), widths[i], cell->type == NODE_NUMBER, i + 1 == columns);
    }
}

static void print_list(struct output *out, const struct text_node *list, unsigned indent)
{
    unsigned widths[MAX_COLUMNS] = {0}, columns;
    /* One too wide is given row by row. */
    if (is_table(list) && indent + measure_table(list, widths, &columns) <= output_width(out)) {
        print_table(out, list, indent, widths, columns);
        return;
    }
    for (const struct text_node *item = list->first; item; item = item->next) {
        if (is_leaf(item)) {
            output_printf(out, "%*s%s\n", (int)indent, "", text_get(&item->value));
            continue;
        }
        print_node(out, item, indent);
        if (item->next)
            output_write(out, "\n", 1);
    }
}

static void print_object(struct output *out, const struct text_node *object, unsigned indent)
{
    unsigned width = 0;
    for (const struct text_node *child = object->first; child; child = child->next)
        if (is_leaf(child))
            width = MAX_OF(width, display_width(child->key) + 1);
    for (const struct text_node *child = object->first; child; child = child->next) {
        output_printf(out, "%*s", (int)indent, "");
        put_key(out, child->key,
                is_leaf(child) ? width
                : child->first ? 0
                               : (unsigned)strlen(child->key) + 1);
        if (is_leaf(child))
            output_printf(out, "%s\n", child->value.len ? text_get(&child->value) : "-");
        else if (!child->first)
            output_printf(out, "none\n");
        else
            print_node(out, child, indent + 2);
    }
}

static void print_node(struct output *out, const struct text_node *node, unsigned indent)
{
    if (node->type == NODE_LIST)
        print_list(out, node, indent);
    else
        print_object(out, node, indent);
}

void text_report_begin(struct text_report *text, struct output *out, bool list)
{
    *text = (struct text_report){.report.ops = &text_ops, .out = out};
    text->root = text->at = add_node(text, NULL, list ? NODE_LIST : NODE_OBJECT);
}

bool text_report_end(struct text_report *text)
{
    if (text->root) {
        print_node(text->out, text->root, 0);
        node_free(text->root);
    }
    return !text->failed;
}
