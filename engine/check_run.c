#include "check_run.h"

#include "alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool check_run_begin(struct check_run *run, struct check *check, const struct device *device, uint32_t end,
                     struct error *err)
{
    *run = (struct check_run){.check = check, .err = err, .device = device};
    run->seen = mem_array(end / 64 + 1, sizeof *run->seen, err);
    return run->seen != NULL;
}

void check_run_end(struct check_run *run)
{
    free(run->seen);
    run->seen = NULL;
}

void check_run_found(struct check_run *run, enum finding_kind kind, const char *code, uint64_t off,
                     bool fixed, const char *fmt, ...)
{
    char text[320];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    run->changed = run->changed || fixed;
    if (!check_found(run->check, kind, code, run->device, off, fixed, "%s", text))
        run->stop = true;
}

bool check_run_did(struct check_run *run, bool ok)
{
    run->failed = run->failed || !ok;
    return ok;
}

void check_run_mark(struct check_run *run, uint32_t unit, bool seen)
{
    uint64_t bit = (uint64_t)1 << (unit % 64);
    if (seen)
        run->seen[unit / 64] |= bit;
    else
        run->seen[unit / 64] &= ~bit;
}
