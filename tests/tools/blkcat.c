/*
 * Raw container operations on an image file, for the tests: what the commands of the shell do, without the
 * shell. blkcat FILE COMMAND [ARG...] [, COMMAND [ARG...]]...      or, with "-", one command a line on
 * standard input Every command is one savepoint; everything is committed at the end. Exit 1 and a message at
 * the first failure.
 */
#include "alloc.h"
#include "bytes.h"
#include "driver.h"
#include "stage.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <zlib.h>

extern const struct container_driver qcow2_driver, raw_driver;

enum { MAX_WORDS = 64, CHUNK = 2 * 1024 * 1024 };

struct tool {
    const char *path;
    struct device *file, *disk, *data;
    const struct container_driver *driver;
    struct container_open open;
    bool read_only;
    uint64_t before; /* savepoint that the last command but undo started from */
};

/* A backing layer: the disk and the file below it go together. */
struct layer {
    struct device dev;
    struct device *file;
    struct container_open open;
    char *path;
};

static bool layer_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    return device_read(dev->below, off, buf, n, err);
}

static void layer_close(struct device *dev)
{
    struct layer *layer = (struct layer *)dev;
    device_close(dev->below);
    device_close(layer->file);
    free(layer->path);
    free(layer);
}

static const struct device_ops layer_ops = {.name = "layer", .read = layer_read, .close = layer_close};

static const struct container_driver *driver_for(struct device *file, const char *format)
{
    bool qcow2 = format ? strcmp(format, "qcow2") == 0 : qcow2_driver.head.probe(file) > 1;
    return qcow2 ? &qcow2_driver : &raw_driver;
}

static bool open_layer(const struct container_open *open, const char *path, const char *format,
                       struct device **out, struct error *err)
{
    struct stage_options options = {.read_only = true};
    enum recovery recovery;
    struct layer *layer = mem_new(sizeof *layer, err);
    if (!layer)
        return false;
    if (!stage_open(path, &options, &layer->file, &recovery, err)) {
        free(layer);
        return false;
    }
    layer->path = mem_string(path, err);
    layer->open = *open;
    layer->open.path = layer->path;
    layer->open.read_only = true;
    layer->open.backing_format = NULL;
    if (!driver_for(layer->file, format)->open(layer->file, &layer->open, &layer->dev.below, err)) {
        layer_close(&layer->dev);
        return false;
    }
    layer->dev.ops = &layer_ops;
    layer->dev.size = layer->dev.below->size;
    layer->dev.read_only = true;
    *out = &layer->dev;
    return true;
}

static bool open_file(const struct container_open *open, const char *path, bool writable, struct device **out,
                      struct error *err)
{
    struct tool *tool = open->arg;
    struct stage_options options = {.read_only = !writable, .durability = DURABILITY_NORMAL};
    enum recovery recovery;
    FILE *made = writable ? fopen(path, "ab") : NULL;
    if (made)
        fclose(made);
    if (!stage_open(path, &options, out, &recovery, err))
        return false;
    if (writable)
        tool->data = *out;
    return true;
}

static void warn(const struct container_open *open, const char *fmt, ...)
{
    va_list args;
    (void)open;
    va_start(args, fmt);
    fprintf(stderr, "warning: ");
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
}

static bool open_image(struct tool *tool, bool check_only, struct error *err)
{
    struct stage_options options = {.read_only = tool->read_only, .durability = DURABILITY_NORMAL};
    enum recovery recovery;
    if (!tool->file && !stage_open(tool->path, &options, &tool->file, &recovery, err))
        return false;
    tool->open.read_only = tool->read_only;
    tool->open.check_only = check_only;
    tool->driver = driver_for(tool->file, NULL);
    return tool->driver->open(tool->file, &tool->open, &tool->disk, err);
}

static void close_image(struct tool *tool)
{
    device_close(tool->disk);
    device_close(tool->data);
    device_close(tool->file);
    tool->disk = tool->data = tool->file = NULL;
}

static bool commit(struct tool *tool, struct error *err)
{
    if (!tool->file)
        return true;
    if (tool->disk && !device_flush(tool->disk, err))
        return false;
    if (!stage_mark(tool->file, err) ||
        (tool->data && (!stage_mark(tool->data, err) || !stage_commit(tool->data, err))) ||
        !stage_commit(tool->file, err))
        return false;
    if (tool->disk)
        device_committed(tool->disk);
    return true;
}

/* ---- commands ---- */

struct call {
    struct tool *tool;
    unsigned count; /* of words, with the command's */
    char **word;
};

static uint64_t number(const struct call *call, unsigned i)
{
    uint64_t value = 0;
    struct error err;
    if (i >= call->count || !size_parse(call->word[i], &value, &err)) {
        fprintf(stderr, "blkcat: %s: argument %u is not a number\n", call->word[0], i);
        exit(2);
    }
    return value;
}

static const char *word(const struct call *call, unsigned i)
{
    return i < call->count ? call->word[i] : NULL;
}

static bool run_create(const struct call *call, struct error *err)
{
    struct tool *tool = call->tool;
    struct stage_options stage = {.durability = DURABILITY_NORMAL};
    struct options options = {0};
    if (word(call, 2) && !options_parse(&options, qcow2_driver.head.make_options, word(call, 2), err))
        return false;
    uint64_t size = strcmp(word(call, 1), "backing") == 0 ? UINT64_MAX : number(call, 1);
    bool ok = stage_create(tool->path, true, &stage, &tool->file, err) &&
              qcow2_driver.create(tool->file, size, &options, &tool->open, err);
    options_free(&options);
    device_close(tool->data);
    tool->data = NULL;
    return ok && commit(tool, err) && open_image(tool, false, err);
}

static bool run_write(const struct call *call, struct error *err)
{
    uint64_t off = number(call, 1), n = number(call, 2);
    uint8_t *buf = malloc(n + 1);
    memset(buf, (int)number(call, 3), n);
    enum write_class class = word(call, 4) ? WRITE_FRESH : WRITE_UPDATE;
    bool ok = device_write(call->tool->disk, off, buf, n, class, err);
    free(buf);
    return ok;
}

/* read OFF LEN BYTE: all bytes must be that. */
static bool run_read(const struct call *call, struct error *err)
{
    uint64_t off = number(call, 1), n = number(call, 2);
    uint8_t *buf = malloc(n + 1), want = (uint8_t)number(call, 3);
    bool ok = device_read(call->tool->disk, off, buf, n, err);
    for (uint64_t i = 0; ok && i < n; i++)
        if (buf[i] != want)
            ok = fail(err, E_FAILED, "byte 0x%" PRIx64 " is 0x%02x, not 0x%02x", off + i, buf[i], want);
    free(buf);
    return ok;
}

/* fetch OFF LEN: prints the CRC-32 of the contents. */
static bool run_fetch(const struct call *call, struct error *err)
{
    uint64_t off = number(call, 1), n = number(call, 2);
    uint8_t *buf = malloc(n + 1);
    bool ok = device_read(call->tool->disk, off, buf, n, err);
    if (ok)
        printf("%08lx\n", crc32(0, buf, (uInt)n));
    free(buf);
    return ok;
}

static bool run_zero(const struct call *call, struct error *err)
{
    return device_zero(call->tool->disk, number(call, 1), number(call, 2), WRITE_UPDATE, err);
}

static bool run_discard(const struct call *call, struct error *err)
{
    return device_discard(call->tool->disk, number(call, 1), number(call, 2), err);
}

static bool run_resize(const struct call *call, struct error *err)
{
    return device_resize(call->tool->disk, number(call, 1), err);
}

/* import FILE [compressed]: holes and zeros are left out. */
static bool run_import(const struct call *call, struct error *err)
{
    struct tool *tool = call->tool;
    FILE *in = fopen(word(call, 1), "rb");
    uint8_t *buf = malloc(CHUNK);
    bool compressed = word(call, 2) != NULL, ok = in != NULL || fail(err, E_NOENT, "no such file");
    size_t n, unit = 4096;
    for (uint64_t off = 0; ok && (n = fread(buf, 1, CHUNK, in)) > 0; off += n) {
        if (compressed) {
            ok = all_zero(buf, n) || tool->driver->write_compressed(tool->disk, off, buf, n, err);
            continue;
        }
        for (size_t at = 0; ok && at < n;) {
            size_t end = at;
            while (end < n && !all_zero(buf + end, MIN_OF(unit, n - end)))
                end += MIN_OF(unit, n - end);
            if (end > at)
                ok = device_write(tool->disk, off + at, buf + at, end - at, WRITE_UPDATE, err);
            at = end + unit;
        }
    }
    if (in)
        fclose(in);
    free(buf);
    return ok;
}

static bool dump(struct device *disk, const char *path, struct error *err)
{
    FILE *out = fopen(path, "wb");
    uint8_t *buf = malloc(CHUNK);
    bool ok = out != NULL;
    for (uint64_t off = 0; ok && off < disk->size; off += CHUNK) {
        size_t n = (size_t)MIN_OF(CHUNK, disk->size - off);
        ok = device_read(disk, off, buf, n, err);
        if (ok)
            fwrite(buf, 1, n, out);
    }
    if (out)
        fclose(out);
    free(buf);
    return ok;
}

static bool run_dump(const struct call *call, struct error *err)
{
    return dump(call->tool->disk, word(call, 1), err);
}

/* reread STEP COUNT: reads of STEP bytes one after the other, for timing. */
static bool run_reread(const struct call *call, struct error *err)
{
    uint64_t step = number(call, 1), count = number(call, 2);
    uint8_t *buf = malloc(step);
    bool ok = true;
    for (uint64_t i = 0; ok && i < count; i++)
        ok = device_read(call->tool->disk, i * step % (call->tool->disk->size - step + 1), buf, step, err);
    free(buf);
    return ok;
}

/* scatter COUNT LEN SEED: random aligned writes, for timing. */
static bool run_scatter(const struct call *call, struct error *err)
{
    uint64_t count = number(call, 1), len = number(call, 2), seed = number(call, 3);
    uint8_t *buf = malloc(len);
    bool ok = true;
    for (uint64_t i = 0; ok && i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        memset(buf, (int)(seed >> 40) | 1, len);
        ok = device_write(call->tool->disk, (seed >> 16) % (call->tool->disk->size / len) * len, buf, len,
                          WRITE_UPDATE, err);
    }
    free(buf);
    return ok;
}

static bool run_map(const struct call *call, struct error *err)
{
    struct device *disk = call->tool->disk;
    for (uint64_t off = 0; off < disk->size;) {
        struct extent e;
        if (!device_map(disk, off, &e, err))
            return false;
        printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "%s%s%s%s%s\n", off, e.len, e.off, e.device ? " place" : "",
               e.flags & EXTENT_HOLE ? " hole" : "", e.flags & EXTENT_ZERO ? " zero" : "",
               e.flags & EXTENT_COMPRESSED ? " compressed" : "", e.flags & EXTENT_BACKING ? " backing" : "");
        off += e.len;
    }
    return true;
}

static bool found(struct check *check, const struct finding *finding)
{
    static const char *const kinds[] = {"note", "leak", "damage", "error"};
    (void)check;
    printf("%s %s 0x%" PRIx64 "%s %s\n", kinds[finding->kind], finding->code, finding->off,
           finding->fixed ? " fixed" : "", finding->text);
    return true;
}

/* check [leaks|all] [data]: prints the findings and "damage leaks errors damage-fixed leaks-fixed". */
static bool run_check(const struct call *call, struct error *err)
{
    struct tool *tool = call->tool;
    struct check check = {.found = found, .data = word(call, 2) != NULL};
    const char *mode = word(call, 1) ? word(call, 1) : "none";
    check.repair = strcmp(mode, "all") == 0     ? REPAIR_ALL
                   : strcmp(mode, "leaks") == 0 ? REPAIR_LEAKS
                                                : REPAIR_NONE;
    if (!tool->driver->check(tool->disk, &check, err))
        return false;
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", check.damage, check.leaks,
           check.errors, check.damage_fixed, check.leaks_fixed);
    return true;
}

static bool print_snapshot(const struct snapshot_info *info, void *arg)
{
    (void)arg;
    printf("%s %s %" PRIu64 " %" PRIu64 "\n", info->id, info->name, info->vm_state_size, info->disk_size);
    return true;
}

static bool run_snapshot(const struct call *call, struct error *err)
{
    struct tool *tool = call->tool;
    const char *verb = word(call, 1), *name = word(call, 2);
    struct device *old;
    if (strcmp(verb, "create") == 0)
        return tool->driver->snapshot_create(tool->disk, name, err);
    if (strcmp(verb, "apply") == 0)
        return tool->driver->snapshot_apply(tool->disk, name, err);
    if (strcmp(verb, "delete") == 0)
        return tool->driver->snapshot_delete(tool->disk, name, err);
    if (strcmp(verb, "list") == 0)
        return tool->driver->snapshots(tool->disk, print_snapshot, NULL, err);
    if (!tool->driver->snapshot_open(tool->disk, name, &old, err))
        return false;
    bool ok = dump(old, word(call, 3), err);
    device_close(old);
    return ok;
}

static bool print_bitmap(const struct bitmap_info *info, void *arg)
{
    (void)arg;
    printf("%s %" PRIu64 " %s%s%s %" PRIu64 "\n", info->name, info->granularity,
           info->enabled ? "auto" : "off", info->in_use ? " in-use" : "",
           info->inconsistent ? " inconsistent" : "", info->dirty_bytes);
    return true;
}

static bool run_bitmap(const struct call *call, struct error *err)
{
    struct tool *tool = call->tool;
    const char *verb = word(call, 1), *name = word(call, 2);
    const struct container_driver *d = tool->driver;
    if (strcmp(verb, "add") == 0)
        return d->bitmap_add(tool->disk, name, word(call, 3) ? number(call, 3) : 0, false, err);
    if (strcmp(verb, "remove") == 0)
        return d->bitmap_remove(tool->disk, name, err);
    if (strcmp(verb, "enable") == 0 || strcmp(verb, "disable") == 0)
        return d->bitmap_enable(tool->disk, name, strcmp(verb, "enable") == 0, err);
    if (strcmp(verb, "clear") == 0)
        return d->bitmap_clear(tool->disk, name, err);
    if (strcmp(verb, "merge") == 0)
        return d->bitmap_merge(tool->disk, name, word(call, 3), err);
    return d->bitmaps(tool->disk, print_bitmap, NULL, err);
}

static bool run_amend(const struct call *call, struct error *err)
{
    struct options options = {0};
    bool ok = options_parse(&options, qcow2_driver.head.make_options, word(call, 1), err) &&
              call->tool->driver->amend(call->tool->disk, &options, err);
    options_free(&options);
    return ok;
}

static bool run_rebase(const struct call *call, struct error *err)
{
    return call->tool->driver->set_backing(call->tool->disk, word(call, 1), word(call, 2), true, err);
}

static bool run_compact(const struct call *call, struct error *err)
{
    uint64_t freed = 0;
    if (!call->tool->driver->compact(call->tool->disk, word(call, 1) == NULL, &freed, err))
        return false;
    printf("%" PRIu64 "\n", freed);
    return true;
}

static bool run_commit(const struct call *call, struct error *err)
{
    return commit(call->tool, err);
}

/* Everything since the last commit goes, as after a failed script. */
static bool run_rollback(const struct call *call, struct error *err)
{
    struct tool *tool = call->tool;
    return stage_rollback(tool->file, err) && (!tool->data || stage_rollback(tool->data, err)) &&
           device_reload(tool->disk, err);
}

static bool run_undo(const struct call *call, struct error *err)
{
    struct tool *tool = call->tool;
    return stage_go(tool->file, tool->before, err) && device_reload(tool->disk, err);
}

static bool run_reopen(const struct call *call, struct error *err)
{
    struct tool *tool = call->tool;
    if (!commit(tool, err))
        return false;
    close_image(tool);
    return open_image(tool, false, err);
}

static bool run_owner(const struct call *call, struct error *err)
{
    struct owner owner;
    if (!call->tool->driver->head.owner(call->tool->disk, number(call, 1), &owner, err))
        return false;
    printf("%d %" PRIu64 " %s\n", owner.kind, owner.file_off, owner.text);
    return true;
}

static const struct {
    const char *name;
    bool (*run)(const struct call *, struct error *);
} commands[] = {
    {"create", run_create},     {"write", run_write},   {"read", run_read},         {"zero", run_zero},
    {"discard", run_discard},   {"resize", run_resize}, {"import", run_import},     {"dump", run_dump},
    {"map", run_map},           {"check", run_check},   {"snapshot", run_snapshot}, {"bitmap", run_bitmap},
    {"amend", run_amend},       {"rebase", run_rebase}, {"compact", run_compact},   {"commit", run_commit},
    {"rollback", run_rollback}, {"undo", run_undo},     {"reopen", run_reopen},     {"owner", run_owner},
    {"fetch", run_fetch},       {"reread", run_reread}, {"scatter", run_scatter},
};

static bool run(const struct call *call, struct error *err)
{
    struct tool *tool = call->tool;
    bool damaged_too = strcmp(call->word[0], "check") == 0;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, call->word[0]) != 0)
            continue;
        if (!tool->disk && strcmp(call->word[0], "create") != 0 && !open_image(tool, damaged_too, err))
            return false;
        if (tool->file && strcmp(call->word[0], "undo") != 0)
            tool->before = stage_generation(tool->file);
        bool ok = commands[i].run(call, err);
        if (ok && tool->disk)
            ok = device_flush(tool->disk, err) && stage_mark(tool->file, err);
        if (!ok && tool->file && tool->disk) {
            struct error second;
            if (!stage_revert(tool->file, &second) || !device_reload(tool->disk, &second))
                fprintf(stderr, "blkcat: revert: %s\n", second.message);
        }
        return ok;
    }
    return fail(err, E_USAGE, "unknown command");
}

static bool run_lines(struct tool *tool, struct error *err)
{
    char line[4096], *words[MAX_WORDS];
    while (fgets(line, sizeof line, stdin)) {
        struct call call = {tool, 0, words};
        for (char *p = strtok(line, " \n"); p && call.count < MAX_WORDS; p = strtok(NULL, " \n"))
            words[call.count++] = p;
        bool may_fail = call.count && words[0][0] == '-';
        words[0] += may_fail;
        if (call.count && !run(&call, err)) {
            if (!may_fail)
                return because(err, "%s", words[0]);
            printf("failed: %s: %s\n", error_kind_name(err->kind), err->message);
        }
        fflush(stdout);
    }
    return true;
}

int main(int argc, char **argv)
{
    struct tool tool = {.path = argc > 1 ? argv[1] : ""};
    struct error err = {0};
    bool ok = true;
    if (argc > 2 && strcmp(argv[1], "-r") == 0) {
        tool.read_only = true;
        tool.path = argv[2];
        argv++;
        argc--;
    }
    if (argc < 3) {
        fprintf(stderr, "usage: blkcat [-r] FILE COMMAND [ARG...] [, COMMAND [ARG...]]... | -\n");
        return 2;
    }
    tool.open = (struct container_open){.path = tool.path,
                                        .allow_data_file = true,
                                        .open_file = open_file,
                                        .open_layer = open_layer,
                                        .warn = warn,
                                        .arg = &tool};
    if (strcmp(argv[2], "-") == 0) {
        ok = run_lines(&tool, &err);
    } else {
        for (int i = 2; ok && i < argc;) {
            struct call call = {&tool, 0, argv + i};
            while (i < argc && strcmp(argv[i], ",") != 0)
                call.count++, i++;
            i++;
            ok = run(&call, &err) || because(&err, "%s", call.word[0]);
        }
    }
    if (ok && !tool.read_only)
        ok = commit(&tool, &err);
    if (!ok)
        fprintf(stderr, "blkcat: %s\n", err.message);
    close_image(&tool);
    return ok ? 0 : 1;
}
