#include "grid.h"

#include "alloc.h"
#include "bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct grid {
    struct output *out;
    struct report *report; /* JSON; NULL for a table */
    const struct column *columns;
    size_t column_count, next;
    char **cells; /* rows times columns */
    size_t cell_count, cell_capacity;
    bool failed;
    struct error error;
};

struct grid *grid_new(struct output *out, const struct column *columns, struct error *err)
{
    struct grid *grid = mem_new(sizeof *grid, err);
    if (!grid)
        return NULL;
    *grid = (struct grid){.out = out, .columns = columns};
    while (columns[grid->column_count].key)
        grid->column_count++;
    if (output_json(out))
        grid->report = output_report_list(out);
    return grid;
}

/* The column that the next cell belongs to; opens and closes the objects of a JSON list. */
static const struct column *begin_cell(struct grid *grid)
{
    if (grid->report && grid->next == 0)
        report_open(grid->report, NULL);
    return &grid->columns[grid->next];
}

static void end_cell(struct grid *grid)
{
    if (++grid->next < grid->column_count)
        return;
    grid->next = 0;
    if (grid->report)
        report_close(grid->report);
}

static void add_cell(struct grid *grid, const char *text)
{
    if (grid->failed)
        return;
    if (!mem_grow(&grid->cells, &grid->cell_capacity, grid->cell_count + 1, sizeof *grid->cells,
                  &grid->error) ||
        !(grid->cells[grid->cell_count] = mem_string(text, &grid->error))) {
        grid->failed = true;
        return;
    }
    grid->cell_count++;
}

void grid_text(struct grid *grid, const char *text)
{
    const struct column *column = begin_cell(grid);
    if (!grid->report)
        add_cell(grid, text ? text : "");
    else if (text)
        report_text(grid->report, column->key, text);
    else
        report_null(grid->report, column->key);
    end_cell(grid);
}

void grid_number(struct grid *grid, uint64_t value)
{
    const struct column *column = begin_cell(grid);
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    if (grid->report)
        report_number(grid->report, column->key, value);
    else
        add_cell(grid, text);
    end_cell(grid);
}

void human_size(uint64_t bytes, char out[32])
{
    static const char units[] = "BKMGTPE";
    uint64_t unit = 1;
    int power = 0;
    while (bytes / unit >= 1024 && power < 6) {
        unit *= 1024;
        power++;
    }
    uint64_t whole = bytes / unit, rest = bytes % unit;
    if (power == 0)
        snprintf(out, 32, "%" PRIu64, bytes);
    else if (whole < 10 && (whole < 9 || rest <= unit / 10 * 9)) {
        uint64_t tenths = whole * 10 + (uint64_t)(((unsigned __int128)rest * 10 + unit - 1) / unit);
        snprintf(out, 32, "%" PRIu64 ".%" PRIu64 "%c", tenths / 10, tenths % 10, units[power]);
    } else
        snprintf(out, 32, "%" PRIu64 "%c", whole + (rest != 0), units[power]);
}

void grid_size(struct grid *grid, uint64_t bytes, bool human)
{
    char text[32];
    if (!human || grid->report) {
        grid_number(grid, bytes);
        return;
    }
    human_size(bytes, text);
    grid_text(grid, text);
}

void grid_percent(struct grid *grid, uint64_t part, uint64_t whole)
{
    uint64_t percent = whole ? (uint64_t)(((unsigned __int128)part * 100 + whole - 1) / whole) : 0;
    char text[24];
    if (grid->report) {
        grid_number(grid, percent);
        return;
    }
    snprintf(text, sizeof text, "%" PRIu64 "%%", percent);
    grid_text(grid, text);
}

void grid_bool(struct grid *grid, bool value)
{
    const struct column *column = begin_cell(grid);
    if (grid->report)
        report_bool(grid->report, column->key, value);
    else
        add_cell(grid, value ? "yes" : "no");
    end_cell(grid);
}

static void print_padded(struct grid *grid, const char *text, unsigned width, bool right, bool last)
{
    unsigned pad = width - MIN_OF(width, display_width(text));
    output_printf(grid->out, "%*s", right ? (int)pad : 0, "");
    output_name(grid->out, text);
    if (!last)
        output_printf(grid->out, "%*s", right ? 2 : (int)pad + 2, "");
}

/* Nothing stands to the right of it in this row: no blanks are needed. */
static bool is_rightmost(const struct grid *grid, char *const *cells, size_t i)
{
    for (size_t k = i + 1; k < grid->column_count; k++)
        if (grid->columns[k].title && (cells ? cells[k] : grid->columns[k].title)[0])
            return false;
    return true;
}

static void print_row(struct grid *grid, char *const *cells, const unsigned *widths)
{
    for (size_t i = 0; i < grid->column_count; i++) {
        const struct column *column = &grid->columns[i];
        if (!column->title)
            continue;
        bool last = is_rightmost(grid, cells, i);
        print_padded(grid, cells ? cells[i] : column->title, widths[i], column->right, last);
        if (last)
            break;
    }
    output_write(grid->out, "\n", 1);
}

static bool print_table(struct grid *grid, struct error *err)
{
    unsigned *widths = mem_array(grid->column_count, sizeof *widths, err);
    if (!widths)
        return false;
    for (size_t i = 0; i < grid->column_count; i++)
        widths[i] = grid->columns[i].title ? display_width(grid->columns[i].title) : 0;
    for (size_t i = 0; i < grid->cell_count; i++) {
        unsigned *width = &widths[i % grid->column_count], cell = display_width(grid->cells[i]);
        *width = MAX_OF(*width, cell);
    }
    print_row(grid, NULL, widths);
    for (size_t i = 0; i + grid->column_count <= grid->cell_count; i += grid->column_count)
        print_row(grid, grid->cells + i, widths);
    free(widths);
    return true;
}

bool grid_end(struct grid *grid, struct error *err)
{
    bool ok = !grid->failed;
    if (!ok)
        *err = grid->error;
    else if (!grid->report)
        ok = print_table(grid, err);
    for (size_t i = 0; i < grid->cell_count; i++)
        free(grid->cells[i]);
    free(grid->cells);
    free(grid);
    return ok;
}
