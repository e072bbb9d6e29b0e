#include "bytes.h"
#include "command.h"
#include "grid.h"
#include "place_arg.h"

#include <inttypes.h>
#include <stdio.h>

enum { CLASSES = 64 };

struct histogram {
    uint64_t runs, bytes, longest;
    struct {
        uint64_t runs, bytes;
    } class[CLASSES]; /* by the power of two at or below the length */
};

static bool count_run(uint64_t off, uint64_t len, void *arg)
{
    struct histogram *histogram = arg;
    unsigned class = 63 - (unsigned)__builtin_clzll(len | 1);
    (void)off;
    histogram->runs++;
    histogram->bytes += len;
    histogram->longest = MAX_OF(histogram->longest, len);
    histogram->class[class].runs++;
    histogram->class[class].bytes += len;
    return true;
}

static const struct column columns[] = {
    {"from", "From", true},
    {"runs", "Free runs", true},
    {"bytes", "Bytes", true},
    {"percent", "%", true},
    {0},
};

static bool print(const struct histogram *histogram, struct output *out, struct error *err)
{
    struct grid *grid = grid_new(out, columns, err);
    if (!grid)
        return false;
    for (unsigned i = 0; i < CLASSES; i++) {
        if (histogram->class[i].runs == 0)
            continue;
        grid_size(grid, (uint64_t)1 << i, true);
        grid_number(grid, histogram->class[i].runs);
        grid_number(grid, histogram->class[i].bytes);
        grid_percent(grid, histogram->class[i].bytes, histogram->bytes);
    }
    if (!grid_end(grid, err))
        return false;
    char longest[32], average[32];
    human_size(histogram->longest, longest);
    human_size(histogram->runs ? histogram->bytes / histogram->runs : 0, average);
    if (!output_json(out))
        output_printf(out, "%" PRIu64 " free runs, the longest %s, on average %s\n", histogram->runs, longest,
                      average);
    return true;
}

static bool run(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct histogram histogram = {0};
    struct volume *volume;
    struct fs *fs;
    if (!arg_volume(session, call->argc ? call->args[0] : NULL, &volume, err) || !volume_fs(volume, &fs, err))
        return false;
    if (!fs->driver->free_runs)
        return fail(err, E_UNSUPPORTED, "%s does not tell its free space", fs->type);
    return fs->driver->free_runs(fs, count_run, &histogram, err) && print(&histogram, out, err);
}

static const struct arg args[] = {
    {"VOLUME", ARG_VOLUME, ARG_OPTIONAL, "number of the volume", NULL},
    {0},
};

const struct command freefrag_command = {
    .name = "freefrag",
    .group = "Filesystems",
    .summary = "show how fragmented the free space is",
    .examples = "freefrag 2",
    .args = args,
    .needs = NEEDS_IMAGE,
    .run = run,
};
