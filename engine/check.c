#include "driver.h"

#include <stdarg.h>
#include <stdio.h>

bool check_found(struct check *check, enum finding_kind kind, const char *code, const struct device *device,
                 uint64_t off, bool fixed, const char *fmt, ...)
{
    struct finding finding = {.kind = kind, .code = code, .device = device, .off = off, .fixed = fixed};
    va_list args;
    va_start(args, fmt);
    vsnprintf(finding.text, sizeof finding.text, fmt, args);
    va_end(args);
    check->damage += kind == FINDING_DAMAGE;
    check->leaks += kind == FINDING_LEAK;
    check->errors += kind == FINDING_ERROR;
    check->damage_fixed += kind == FINDING_DAMAGE && fixed;
    check->leaks_fixed += kind == FINDING_LEAK && fixed;
    return !check->found || check->found(check, &finding);
}
