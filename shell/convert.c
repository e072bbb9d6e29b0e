/* convert and compare: whole images, outside the session's transaction. */
#include "alloc.h"
#include "bytes.h"
#include "command.h"
#include "disk_arg.h"
#include "transfer.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- convert ---- */

static const struct arg convert_args[] = {
    {"SRC", ARG_HOST, ARG_ONE, "a host file, or NAME: for an open image", NULL},
    {"DEST", ARG_HOST_NEW, ARG_ONE, "the new file", NULL},
    {0},
};

static const struct flag convert_flags[] = {
    {'f', "format", "FORMAT", ARG_CONTAINER, "format of DEST (by its extension when left out)"},
    {'F', "source-format", "FORMAT", ARG_CONTAINER, "format of SRC: do not probe"},
    {'O', NULL, "FORMAT", ARG_CONTAINER, "the same as -f, for those who know qemu-img"},
    {'c', "compress", NULL, ARG_WORD, "compress the clusters"},
    {'o', "options", "KEY=VALUE,...", ARG_OPTIONS, "options of DEST's format"},
    {'B', "backing", "FILE", ARG_HOST, "DEST holds only what differs from this file"},
    {'b', NULL, "FILE", ARG_HOST, "the same"},
    {0, "backing-format", "FORMAT", ARG_CONTAINER, "format of the backing file"},
    {'l', "snapshot", "SNAPSHOT", ARG_SNAPSHOT, "the contents of an internal snapshot of SRC"},
    {'n', "no-create", NULL, ARG_WORD, "DEST exists: only its contents are changed, where they differ"},
    {'S', "sparse-size", "SIZE", ARG_SIZE,
     "so many zero bytes in a row become a hole (4K); 0: none do, DEST is fully allocated"},
    {'m', "threads", "N", ARG_NUMBER, "how many threads compress (as many as there are processors)"},
    {'W', NULL, NULL, ARG_WORD, "accepted: threads compress out of order anyway, the file stays in order"},
    {0, "force", NULL, ARG_WORD, "replace DEST when it exists"},
    {0},
};

struct target {
    const struct container_driver *driver;
    struct device *disk;
    struct options options;
    bool existing;
    uint64_t sparse_size;
};

static bool write_compressed(void *arg, uint64_t off, const void *buf, size_t n, struct error *err)
{
    struct target *target = arg;
    return target->driver->write_compressed(target->disk->below, off, buf, n, err);
}

static bool call_sparse_size(const struct call *call, uint64_t *size, struct error *err)
{
    const char *text = call_value(call, "sparse-size");
    *size = 4 * KiB;
    return !text || (size_parse(text, size, err) &&
                     ((*size % 512 == 0 && *size <= 2 * MiB) ||
                      fail(err, E_INVALID, "-S %s: a multiple of 512 up to 2M is possible", text)));
}

static bool fill(struct session *session, struct target *target, struct device *from, bool compress,
                 struct error *err)
{
    const struct container_driver *driver = target->driver;
    struct device *container = target->disk->below;
    struct device *backing = driver->backing ? driver->backing(container) : NULL;
    struct transfer transfer = {.what = "convert",
                                .target_is_zero = !target->existing,
                                .grain = (size_t)MIN_OF(target->sparse_size, 4 * KiB),
                                .sparse = (size_t)target->sparse_size,
                                .keep_zeros = target->sparse_size == 0,
                                .write_class = target->existing ? WRITE_UPDATE : WRITE_FRESH};
    if (compress) {
        if (!driver->write_compressed)
            return fail(err, E_UNSUPPORTED, "%s images cannot be compressed", driver->head.name);
        if (backing)
            return fail(err, E_UNSUPPORTED, "what differs from a backing file cannot be compressed");
        transfer.write = write_compressed;
        transfer.arg = target;
    }
    if (compress || backing)
        transfer.grain = (size_t)driver->unit(container);
    /* What is there already need not be written again. */
    if (target->existing && !compress && !transfer.keep_zeros)
        backing = target->disk;
    bool ok = backing && !transfer.keep_zeros
                  ? transfer_differences(session, from, backing, target->disk, 0, from->size, &transfer, err)
                  : transfer_range(session, from, target->disk, 0, from->size, &transfer, err);
    return ok && session_publish_disk(target->disk, err);
}

/* -o, and -B by the names of these options. */
static bool gather_options(struct call *call, struct target *target, struct error *err)
{
    const char *backing = call_value(call, "backing"), *format = call_value(call, "backing-format");
    if (!backing)
        backing = call_value(call, "b");
    const struct option *table = target->driver->head.make_options;
    return call_options(call, 'o', table, &target->options, err) &&
           (!backing || call_add_option(&target->options, table, "backing_file", backing, err)) &&
           (!format || call_add_option(&target->options, table, "backing_fmt", format, err));
}

static bool open_existing(struct session *session, struct call *call, struct device *from,
                          struct target *target, const char *format, struct error *err)
{
    struct device *container;
    if (target->options.count || call_has(call, "force"))
        return fail(err, E_USAGE,
                    "-n changes only contents: options of a new image and --force do not go with it");
    if (!session_open_target(session, call->args[1], format, &target->disk, err))
        return false;
    target->driver = session_disk_container(target->disk, &container);
    return target->disk->size >= from->size ||
           fail(err, E_NOSPACE, "%s has %" PRIu64 " bytes, fewer than the source's %" PRIu64, call->args[1],
                target->disk->size, from->size);
}

static bool convert(struct session *session, struct call *call, struct device *from, struct error *err)
{
    const char *format = call_value(call, "format");
    if (!format)
        format = call_value(call, "O");
    struct target target = {.driver = format ? session_container(session, format)
                                             : session_container_for(session, call->args[1]),
                            .existing = call_has(call, "no-create") > 0};
    if (!target.driver || !target.driver->create)
        return fail(err, E_INVALID, "cannot make images of format '%s'", format);
    if (!call_sparse_size(call, &target.sparse_size, err))
        return false;
    bool ok = gather_options(call, &target, err) &&
              (target.existing
                   ? open_existing(session, call, from, &target, format, err)
                   : session_make_disk(session, call->args[1], call_has(call, "force"), target.driver,
                                       round_up(from->size, 512), &target.options, &target.disk, err)) &&
              fill(session, &target, from, call_has(call, "compress"), err);
    session_close_disk(target.disk);
    options_free(&target.options);
    return ok;
}

static bool convert_threads(struct call *call, unsigned *threads, struct error *err)
{
    const char *text = call_value(call, "threads");
    uint64_t value = 0;
    if (text && (!size_parse(text, &value, err) || value < 1 || value > 16))
        return fail(err, E_INVALID, "-m %s: from 1 to 16 threads are possible", text);
    *threads = (unsigned)value;
    return true;
}

static const char *const prefixes[] = {"snapshot.id=", "snapshot.name="};

static bool run_convert(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct disk_arg source;
    unsigned before = session->options.threads, threads = 0;
    const char *snapshot = call_value(call, "snapshot");
    (void)out;
    if (!convert_threads(call, &threads, err))
        return false;
    /* qemu-img's long form, too. */
    for (size_t i = 0; snapshot && i < ARRAY_LEN(prefixes); i++)
        if (strncmp(snapshot, prefixes[i], strlen(prefixes[i])) == 0)
            snapshot += strlen(prefixes[i]);
    if (session->options.dry_run)
        return fail(err, E_READONLY, "convert writes a host file; a dry run does not");
    if (!disk_arg_open(session, call->args[0], call_value(call, "source-format"), snapshot, &source, err))
        return false;
    session->options.threads = threads;
    bool ok = convert(session, call, source.disk, err);
    session->options.threads = before;
    disk_arg_close(&source);
    return ok;
}

const struct command convert_command = {
    .name = "convert",
    .group = "Images",
    .summary = "write an image anew in another format or with other options",
    .details = "DEST appears when it is complete. Backing files are flattened; holes and zeros stay holes. "
               "With -B FILE --backing-format FORMAT (or -o backing_file=FILE,backing_fmt=FORMAT) only what "
               "differs from that file is stored. With -n DEST is changed as one transaction.",
    .examples =
        "convert disk.qcow2 disk.raw -f raw\nconvert -c -o compression_type=zstd disk.raw small.qcow2\n"
        "convert -n disk.qcow2 /dev/sdb -f raw",
    .args = convert_args,
    .flags = convert_flags,
    .run = run_convert,
};

/* ---- compare ---- */

static const struct arg compare_args[] = {
    {"A", ARG_HOST, ARG_ONE, "a host file, or NAME: for an open image", NULL},
    {"B", ARG_HOST, ARG_ONE, "the other", NULL},
    {0},
};

static const struct flag compare_flags[] = {
    {'s', "strict", NULL, ARG_WORD, "different sizes count as different"},
    {0},
};

static void print_result(struct output *out, bool same, uint64_t at, uint64_t size_a, uint64_t size_b)
{
    if (output_json(out)) {
        struct report *report = output_report(out);
        report_bool(report, "identical", same);
        if (!same)
            report_number(report, "offset", at);
        report_number(report, "size-a", size_a);
        report_number(report, "size-b", size_b);
    } else if (same) {
        output_printf(out, "Images are identical.\n");
    } else {
        output_printf(out, "Content mismatch at offset %" PRIu64 "!\n", at);
    }
}

static bool run_compare(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct disk_arg a, b;
    bool same = false;
    uint64_t at = 0;
    if (!disk_arg_open(session, call->args[0], NULL, NULL, &a, err))
        return false;
    if (!disk_arg_open(session, call->args[1], NULL, NULL, &b, err)) {
        disk_arg_close(&a);
        return false;
    }
    bool ok = transfer_compare(session, a.disk, b.disk, &same, &at, err);
    if (ok && same && call_has(call, "strict") && a.disk->size != b.disk->size) {
        same = false;
        at = MIN_OF(a.disk->size, b.disk->size);
    }
    if (ok)
        print_result(out, same, at, a.disk->size, b.disk->size);
    disk_arg_close(&a);
    disk_arg_close(&b);
    return ok && (same || fail(err, E_FAILED, "the images differ at offset %" PRIu64, at));
}

const struct command compare_command = {
    .name = "compare",
    .group = "Images",
    .summary = "compare the contents of two images",
    .details = "Formats do not matter; what one has beyond the end of the other must be zeros.",
    .examples = "compare disk.qcow2 disk.raw\ncompare old: new:",
    .args = compare_args,
    .flags = compare_flags,
    .run = run_compare,
};
