#include "findings.h"

#include "alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_words[] = {
    [FINDING_NOTE] = "note",
    [FINDING_LEAK] = "leak",
    [FINDING_DAMAGE] = "damage",
    [FINDING_ERROR] = "error",
};

/* More than these are counted but not listed in JSON, which is printed at the end. */
enum { MAX_KEPT = 100000 };

struct kept_finding {
    struct finding finding;
    char layer[80];
};

static void keep_finding(struct findings *findings, const struct finding *finding)
{
    struct error ignored = {0};
    if (findings->kept_count == MAX_KEPT ||
        !mem_grow(&findings->kept, &findings->kept_capacity, findings->kept_count + 1, sizeof *findings->kept,
                  &ignored))
        return;
    struct kept_finding *kept = &findings->kept[findings->kept_count++];
    kept->finding = *finding;
    snprintf(kept->layer, sizeof kept->layer, "%s", findings->layer);
}

static void report_kept(struct findings *findings)
{
    struct report *report = findings->report;
    report_open_list(report, "findings");
    for (size_t i = 0; i < findings->kept_count; i++) {
        const struct finding *finding = &findings->kept[i].finding;
        report_open(report, NULL);
        report_text(report, "layer", findings->kept[i].layer);
        report_text(report, "kind", kind_words[finding->kind]);
        report_text(report, "code", finding->code);
        report_text(report, "message", finding->text);
        if (finding->device)
            report_number(report, "offset", finding->off);
        report_bool(report, "fixed", finding->fixed);
        report_close(report);
    }
    report_close(report);
    free(findings->kept);
    findings->kept = NULL;
}

static bool print_finding(struct check *check, const struct finding *finding)
{
    struct findings *findings = check->arg;
    if (findings->report) {
        keep_finding(findings, finding);
        return true;
    }
    output_printf(findings->out, "%s: %s: ", findings->layer, kind_words[finding->kind]);
    output_name(findings->out, finding->text);
    if (finding->device)
        output_printf(findings->out, " (at 0x%" PRIx64 ")", finding->off);
    output_printf(findings->out, "%s\n", finding->fixed ? ": repaired" : "");
    return !output_closed(findings->out);
}

bool findings_repair(const struct call *call, enum repair *repair, struct error *err)
{
    const char *value = call_value(call, "repair");
    *repair = REPAIR_NONE;
    if (!call_has(call, "repair"))
        return true;
    if (!value || strcmp(value, "all") == 0)
        *repair = REPAIR_ALL;
    else if (strcmp(value, "leaks") == 0)
        *repair = REPAIR_LEAKS;
    else
        return fail(err, E_USAGE, "--repair takes leaks or all, not '%s'", value);
    return true;
}

void findings_begin(struct findings *findings, struct output *out, enum repair repair)
{
    *findings = (struct findings){.out = out, .layer = ""};
    findings->check.repair = repair;
    findings->check.found = print_finding;
    findings->check.arg = findings;
    if (output_json(out))
        findings->report = output_report(out);
}

static void print_totals(struct findings *findings, const char *what, uint64_t damage, uint64_t leaks)
{
    const struct check *check = &findings->check;
    struct output *out = findings->out;
    if (check->damage + check->leaks + check->errors == 0)
        output_printf(out, "No errors were found on the %s.\n", what);
    if (check->damage_fixed + check->leaks_fixed > 0)
        output_printf(out, "%" PRIu64 " errors and %" PRIu64 " leaks were repaired.\n", check->damage_fixed,
                      check->leaks_fixed);
    if (damage > 0)
        output_printf(out, "%" PRIu64 " errors were found on the %s.\n", damage, what);
    if (leaks > 0)
        output_printf(out, "%" PRIu64 " leaked clusters were found on the %s.\n", leaks, what);
}

bool findings_end(struct findings *findings, const char *what, struct error *err)
{
    const struct check *check = &findings->check;
    uint64_t damage = check->damage - check->damage_fixed, leaks = check->leaks - check->leaks_fixed;
    if (findings->report)
        report_kept(findings);
    else
        print_totals(findings, what, damage, leaks);
    if (check->errors > 0)
        return fail(err, E_FAILED, "%" PRIu64 " parts of the %s could not be checked", check->errors, what);
    if (damage + leaks > 0)
        return fail(err, E_DAMAGED, "the %s is damaged (%" PRIu64 " errors, %" PRIu64 " leaks)%s", what,
                    damage, leaks, check->repair == REPAIR_NONE ? "; --repair mends what can be mended" : "");
    return true;
}

bool findings_keep(const struct findings *findings, const struct error *err)
{
    const struct check *check = &findings->check;
    return err->kind == E_DAMAGED && !findings->broken && check->damage_fixed + check->leaks_fixed > 0;
}
