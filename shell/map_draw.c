#include "map_draw.h"

#include "bytes.h"
#include "grid.h"

#include <inttypes.h>

/* ---- what both pictures say of a part ---- */

static const char *part_name(const struct usage_part *part, char *text, size_t size)
{
    const struct volume *volume = part->volume;
    if (!volume)
        snprintf(text, size, "%s", part->start == 0 ? "partition table and gap" : "gap");
    else if (volume->fs)
        snprintf(text, size, "%u: %s%s%s", volume->number, volume->fs->type, volume->fs->label[0] ? " " : "",
                 volume->fs->label);
    else
        snprintf(text, size, "%u: no filesystem", volume->number);
    return text;
}

static uint64_t used_of(const struct usage_part *part)
{
    uint64_t used = 0;
    for (size_t i = 0; i < part->cell_count; i++)
        used += part->known ? part->cells[i].used : part->cells[i].stored;
    return used;
}

static unsigned percent(uint64_t part, uint64_t whole)
{
    return whole ? (unsigned)((unsigned __int128)part * 100 / whole) : 0;
}

/* 0: empty, 4: full; anything between zero and all is never shown as either. */
static unsigned level_of(const struct usage_part *part, const struct usage_cell *cell)
{
    uint64_t used = part->known ? cell->used : cell->stored;
    if (used == 0 || cell->len == 0)
        return 0;
    return used >= cell->len ? 4 : 1 + percent(used, cell->len) / 34;
}

/* ---- terminal ---- */

static void draw_cells(struct output *out, const struct usage_part *part, unsigned width)
{
    static const char *const marks[] = {"·", "░", "▒", "▓", "█"};
    for (size_t i = 0; i < part->cell_count; i++) {
        output_printf(out, "%s", marks[level_of(part, &part->cells[i])]);
        if ((i + 1) % width == 0 || i + 1 == part->cell_count)
            output_printf(out, "\n");
    }
}

void map_draw_text(struct output *out, const struct image *image, const struct usage *usage, unsigned width)
{
    char size[32], name[200], used[32];
    human_size(image->disk->size, size);
    output_name(out, image->path);
    output_printf(out, ": %s of %s   · empty  ░ ▒ ▓ partly used  █ full\n", image->container->head.name,
                  size);
    for (size_t i = 0; i < usage->count; i++) {
        const struct usage_part *part = &usage->parts[i];
        human_size(part->len, size);
        human_size(used_of(part), used);
        output_printf(out, "\n");
        output_name(out, part_name(part, name, sizeof name));
        output_printf(out, ", %s at 0x%" PRIx64 ", %s %s (%u%%)", size, part->start, used,
                      part->known ? "used" : "stored", percent(used_of(part), part->len));
        if (part->known)
            output_printf(out, ", %" PRIu64 " free runs", part->free_runs);
        output_printf(out, "\n");
        draw_cells(out, part, width);
    }
}

/* ---- SVG and HTML ---- */

enum { CELL = 9, PITCH = 10, COLUMNS = 96, HEAD = 26, MARGIN = 12 };

static void put_escaped(FILE *file, const char *text)
{
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (strchr("<>&\"'", byte) || byte < 0x20)
            fprintf(file, "&#%u;", byte < 0x20 ? '?' : byte);
        else
            fputc(byte, file);
    }
}

static unsigned rows_of(const struct usage_part *part)
{
    return (unsigned)div_up(part->cell_count, COLUMNS);
}

static unsigned picture_height(const struct usage *usage)
{
    unsigned height = MARGIN;
    for (size_t i = 0; i < usage->count; i++)
        height += HEAD + rows_of(&usage->parts[i]) * PITCH + MARGIN;
    return height;
}

static void draw_part(FILE *file, const struct usage_part *part, unsigned top)
{
    static const char *const known[] = {"#eceff1", "#bbdefb", "#64b5f6", "#1e88e5", "#0d47a1"};
    static const char *const unknown[] = {"#eceff1", "#e0e0e0", "#bdbdbd", "#9e9e9e", "#616161"};
    char name[200], size[32];
    human_size(part->len, size);
    fprintf(file, "<text x='%d' y='%u'>", MARGIN, top + HEAD - 9);
    put_escaped(file, part_name(part, name, sizeof name));
    fprintf(file, " — %s, %u%% %s</text>\n", size, percent(used_of(part), part->len),
            part->known ? "used" : "stored");
    for (size_t i = 0; i < part->cell_count; i++) {
        unsigned level = level_of(part, &part->cells[i]);
        uint64_t start = part->start + (uint64_t)((unsigned __int128)part->len * i / part->cell_count);
        fprintf(file,
                "<rect x='%u' y='%u' width='%d' height='%d' fill='%s'><title>0x%" PRIx64 ": %" PRIu64
                " of %" PRIu64 " bytes</title></rect>\n",
                (unsigned)(MARGIN + i % COLUMNS * PITCH), (unsigned)(top + HEAD + i / COLUMNS * PITCH), CELL,
                CELL, (part->known ? known : unknown)[level], start,
                part->known ? part->cells[i].used : part->cells[i].stored, part->cells[i].len);
    }
}

void map_draw_svg(FILE *file, const struct image *image, const struct usage *usage, bool page)
{
    unsigned width = COLUMNS * PITCH + 2 * MARGIN, top = MARGIN;
    if (page) {
        fprintf(file, "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>");
        put_escaped(file, image->path);
        fprintf(file, "</title><style>body{font-family:sans-serif;margin:24px;color:#263238}</style></"
                      "head>\n<body><h1>");
        put_escaped(file, image->path);
        fprintf(file,
                "</h1>\n<p>%s image, %" PRIu64
                " bytes. One square is one stretch of the disk, darker where more of it is used; "
                "point at it for its offset.</p>\n",
                image->container->head.name, image->disk->size);
    }
    fprintf(file,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%u' height='%u' font-family='sans-serif' "
            "font-size='13'>\n",
            width, picture_height(usage));
    for (size_t i = 0; i < usage->count; i++) {
        draw_part(file, &usage->parts[i], top);
        top += HEAD + rows_of(&usage->parts[i]) * PITCH + MARGIN;
    }
    fprintf(file, "</svg>\n%s", page ? "</body></html>\n" : "");
}
