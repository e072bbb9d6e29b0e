#include "map_draw.h"

#include "bytes.h"
#include "grid.h"

#include <inttypes.h>

/* ---- what all pictures say of a part ---- */

const char *map_part_name(const struct usage_part *part, char *text, size_t size)
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

uint64_t map_part_used(const struct usage_part *part)
{
    uint64_t used = 0;
    for (size_t i = 0; i < part->cell_count; i++)
        used += part->known ? part->cells[i].used : part->cells[i].stored;
    return used;
}

unsigned map_percent(uint64_t part, uint64_t whole)
{
    return whole ? (unsigned)((unsigned __int128)part * 100 / whole) : 0;
}

unsigned map_level(const struct usage_part *part, const struct usage_cell *cell)
{
    uint64_t used = part->known ? cell->used : cell->stored;
    if (used == 0 || cell->len == 0)
        return 0;
    return used >= cell->len ? 4 : 1 + map_percent(used, cell->len) / 34;
}

/* ---- terminal ---- */

static void draw_cells(struct output *out, const struct usage_part *part, unsigned width)
{
    static const char *const marks[] = {"·", "░", "▒", "▓", "█"};
    for (size_t i = 0; i < part->cell_count; i++) {
        output_printf(out, "%s", marks[map_level(part, &part->cells[i])]);
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
        human_size(map_part_used(part), used);
        output_printf(out, "\n");
        output_name(out, map_part_name(part, name, sizeof name));
        output_printf(out, ", %s at 0x%" PRIx64 ", %s %s (%u%%)", size, part->start, used,
                      part->known ? "used" : "stored", map_percent(map_part_used(part), part->len));
        if (part->known)
            output_printf(out, ", %" PRIu64 " free runs", part->free_runs);
        output_printf(out, "\n");
        draw_cells(out, part, width);
    }
}
