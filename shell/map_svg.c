/* The picture of a disk as SVG, and as a page around it:
 * a bar of the whole disk, and a grid for each part. */
#include "bytes.h"
#include "grid.h"
#include "map_draw.h"

#include <inttypes.h>
#include <string.h>

enum {
    CELL = 9,
    PITCH = 10,
    COLUMNS = 96,
    MARGIN = 12,
    WIDTH = COLUMNS * PITCH,
    BAR = 40,
    LEGEND = 40,
    HEAD = 46
};

static const char *const known_colours[] = {"#eceff1", "#bbdefb", "#64b5f6", "#1e88e5", "#0d47a1"};
static const char *const unknown_colours[] = {"#eceff1", "#cfd8dc", "#b0bec5", "#90a4ae", "#607d8b"};
static const char left_over[] = "#ffcc80"; /* free, and yet the container stores something there */

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
    unsigned height = MARGIN + BAR + LEGEND;
    for (size_t i = 0; i < usage->count; i++)
        height += HEAD + rows_of(&usage->parts[i]) * PITCH + MARGIN;
    return height;
}

static const char *cell_colour(const struct usage_part *part, const struct usage_cell *cell)
{
    if (part->known && cell->used == 0 && cell->stored > 0)
        return left_over;
    return (part->known ? known_colours : unknown_colours)[map_level(part, cell)];
}

/* ---- the whole disk ---- */

static double bar_x(const struct image *image, uint64_t off)
{
    return MARGIN + (double)off / (double)image->disk->size * WIDTH;
}

/* Each volume to scale, as dark as it is full, with its name where there is room. */
static void draw_bar(FILE *file, const struct image *image, const struct usage *usage)
{
    char name[200];
    fprintf(file, "<rect x='%d' y='%d' width='%d' height='%d' fill='#eceff1'/>\n", MARGIN, MARGIN, WIDTH,
            BAR - 12);
    for (size_t i = 0; i < usage->count; i++) {
        const struct usage_part *part = &usage->parts[i];
        double x = bar_x(image, part->start), width = bar_x(image, part->start + part->len) - x;
        double used = (double)map_part_used(part) / (double)part->len * width;
        if (!part->volume)
            continue;
        map_part_name(part, name, sizeof name);
        fprintf(file, "<g><title>");
        put_escaped(file, name);
        fprintf(file, "</title><rect x='%.1f' y='%d' width='%.1f' height='%d' fill='%s'/>", x, MARGIN,
                MAX_OF(width - 1, 1.0), BAR - 12, part->known ? "#bbdefb" : "#cfd8dc");
        fprintf(file, "<rect x='%.1f' y='%d' width='%.1f' height='%d' fill='%s'/>", x, MARGIN + BAR - 18,
                MAX_OF(used - 1, 0.0), 6, part->known ? "#0d47a1" : "#607d8b");
        if (width > 7.0 * (double)strlen(name) + 12) {
            fprintf(file, "<text x='%.1f' y='%d'>", x + 6, MARGIN + 15);
            put_escaped(file, name);
            fprintf(file, "</text>");
        }
        fprintf(file, "</g>\n");
    }
}

static void draw_legend(FILE *file)
{
    static const struct {
        const char *colour, *text;
        unsigned x;
    } items[] = {
        {"#eceff1", "free", 0},
        {"#64b5f6", "partly used", 64},
        {"#0d47a1", "used", 170},
        {left_over, "free, but the image file still stores it", 240},
        {"#90a4ae", "stored, no filesystem", 530},
    };
    unsigned y = MARGIN + BAR;
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        fprintf(file,
                "<rect x='%u' y='%u' width='11' height='11' fill='%s'/><text x='%u' y='%u' fill='#546e7a'>%s"
                "</text>\n",
                MARGIN + items[i].x, y, items[i].colour, MARGIN + items[i].x + 17, y + 10, items[i].text);
}

/* ---- its parts ---- */

static void draw_head(FILE *file, const struct usage_part *part, unsigned top)
{
    char name[200], size[32], used[32];
    human_size(part->len, size);
    human_size(map_part_used(part), used);
    fprintf(file, "<text x='%d' y='%u' font-weight='bold' font-size='14'>", MARGIN, top + 17);
    put_escaped(file, map_part_name(part, name, sizeof name));
    fprintf(file, "</text>\n<text x='%d' y='%u' fill='#546e7a'>%s from 0x%" PRIx64 ", %s %s (%u%%)", MARGIN,
            top + 36, size, part->start, used, part->known ? "used" : "stored",
            map_percent(map_part_used(part), part->len));
    if (part->known)
        fprintf(file, ", free space in %" PRIu64 " run%s", part->free_runs, part->free_runs == 1 ? "" : "s");
    fprintf(file, "</text>\n");
}

static void draw_part(FILE *file, const struct usage_part *part, unsigned top)
{
    draw_head(file, part, top);
    for (size_t i = 0; i < part->cell_count; i++) {
        const struct usage_cell *cell = &part->cells[i];
        uint64_t start = part->start + (uint64_t)((unsigned __int128)part->len * i / part->cell_count);
        fprintf(file,
                "<rect x='%u' y='%u' width='%d' height='%d' fill='%s'><title>0x%" PRIx64 ": %" PRIu64
                " bytes",
                (unsigned)(MARGIN + i % COLUMNS * PITCH), (unsigned)(top + HEAD + i / COLUMNS * PITCH), CELL,
                CELL, cell_colour(part, cell), start, cell->len);
        if (part->known)
            fprintf(file, ", %" PRIu64 " used", cell->used);
        fprintf(file, ", %" PRIu64 " stored</title></rect>\n", cell->stored);
    }
}

static void draw_picture(FILE *file, const struct image *image, const struct usage *usage)
{
    unsigned top = MARGIN + BAR + LEGEND;
    fprintf(file,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%u' height='%u' font-family='sans-serif' "
            "font-size='13' fill='#263238'>\n",
            WIDTH + 2 * MARGIN, picture_height(usage));
    draw_bar(file, image, usage);
    draw_legend(file);
    for (size_t i = 0; i < usage->count; i++) {
        draw_part(file, &usage->parts[i], top);
        top += HEAD + rows_of(&usage->parts[i]) * PITCH + MARGIN;
    }
    fprintf(file, "</svg>\n");
}

void map_draw_svg(FILE *file, const struct image *image, const struct usage *usage, bool page)
{
    char size[32];
    if (!page) {
        draw_picture(file, image, usage);
        return;
    }
    human_size(image->disk->size, size);
    fprintf(file, "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>");
    put_escaped(file, image->path);
    fprintf(file,
            "</title><style>body{font-family:sans-serif;margin:24px auto;max-width:%dpx;color:#263238}"
            "h1,p{margin:8px %dpx}rect:hover{stroke:#263238}</style></head>\n<body><h1>",
            WIDTH + 2 * MARGIN, MARGIN);
    put_escaped(file, image->path);
    fprintf(
        file,
        "</h1>\n<p>A %s disk in a %s image. A square is one stretch of it: point at one for its offset and "
        "what it holds.</p>\n",
        size, image->container->head.name);
    draw_picture(file, image, usage);
    fprintf(file, "</body></html>\n");
}
