/* time: how long a command takes and how much it moves. */
#include "command.h"
#include "shell.h"

#include <inttypes.h>
#include <sys/resource.h>
#include <time.h>

struct usage_at {
    double wall, user, system;
    uint64_t read, written;
};

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static struct usage_at measure_now(const struct session *session)
{
    struct timespec now;
    struct rusage own, children;
    clock_gettime(CLOCK_MONOTONIC, &now);
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    struct usage_at measure = {
        .wall = (double)now.tv_sec + (double)now.tv_nsec / 1e9,
        .user = seconds(own.ru_utime) + seconds(children.ru_utime),
        .system = seconds(own.ru_stime) + seconds(children.ru_stime),
    };
    for (const struct image *image = session->images; image; image = image->next) {
        measure.read += image->file->stats.read_bytes;
        measure.written += image->file->stats.write_bytes;
    }
    return measure;
}

static bool run_time(struct session *session, struct call *call, struct output *out, struct error *err)
{
    if (call->rest_count == 0)
        return fail(err, E_USAGE, "missing COMMAND");
    struct usage_at before = measure_now(session);
    bool good = shell_run_rest(call, out, err);
    struct usage_at after = measure_now(session);
    uint64_t read = after.read >= before.read ? after.read - before.read : after.read;
    uint64_t written = after.written >= before.written ? after.written - before.written : after.written;
    output_flush(out);
    shell_say(call->shell,
              "time: %.3f s wall, %.3f s user, %.3f s system; %" PRIu64 " bytes read, %" PRIu64
              " bytes written in images",
              after.wall - before.wall, after.user - before.user, after.system - before.system, read,
              written);
    return good;
}

static const struct arg time_args[] = {
    {"COMMAND", ARG_COMMAND, ARG_MANY, "the command, with its arguments", NULL}, {0}};

const struct command time_command = {
    .name = "time",
    .group = "Session",
    .summary = "run a command and tell its time",
    .details = "Wall and CPU time and the bytes moved in image files go to standard error.",
    .examples = "time put -r src /",
    .args = time_args,
    .needs = RAW_WORDS | PREFIX,
    .run = run_time,
};
