#include "check_status.h"

#include <inttypes.h>

/* The exit statuses of `qemu-img check`. */
enum { STATUS_ERRORS = 1, STATUS_DAMAGE = 2, STATUS_LEAKS = 3, STATUS_NO_CHECK = 63 };

/* The totals that a driver reports, as numbers. */
struct totals {
    struct report report;
    uint64_t end, total, allocated, fragmented, compressed;
};

static void take_number(struct report *report, const char *key, uint64_t value)
{
    struct totals *totals = (struct totals *)report;
    const struct {
        const char *key;
        uint64_t *value;
    } known[] = {
        {"image-end-offset", &totals->end},           {"total-clusters", &totals->total},
        {"allocated-clusters", &totals->allocated},   {"fragmented-clusters", &totals->fragmented},
        {"compressed-clusters", &totals->compressed},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].key, key) == 0)
            *known[i].value = value;
}

static const struct report_ops totals_ops = {.number = take_number};

static bool print_finding(struct check *check, const struct finding *finding)
{
    static const char *const words[] = {
        [FINDING_LEAK] = "Leaked ", [FINDING_DAMAGE] = "ERROR ", [FINDING_ERROR] = "ERROR "};
    struct findings *findings = check->arg;
    if (finding->kind == FINDING_NOTE)
        return true;
    output_printf(findings->out, "%s%s", finding->fixed ? "Repairing " : "",
                  finding->fixed ? "" : words[finding->kind]);
    output_name(findings->out, finding->text);
    output_printf(findings->out, "\n");
    return !output_closed(findings->out);
}

static void print_repaired(struct output *out, const struct check *check)
{
    if (check->damage_fixed + check->leaks_fixed == 0)
        return;
    output_printf(out,
                  "The following inconsistencies were found and repaired:\n\n    %" PRIu64
                  " leaked clusters\n    %" PRIu64 " corruptions\n\n",
                  check->leaks_fixed, check->damage_fixed);
}

static void print_verdict(struct output *out, const struct check *check, uint64_t damage, uint64_t leaks)
{
    if (damage + leaks + check->errors == 0)
        output_printf(out, "No errors were found on the image.\n");
    if (damage > 0)
        output_printf(out,
                      "\n%" PRIu64 " errors were found on the image.\n"
                      "Data may be corrupted, or further writes to the image may corrupt it.\n",
                      damage);
    if (leaks > 0)
        output_printf(out,
                      "\n%" PRIu64 " leaked clusters were found on the image.\n"
                      "This means waste of disk space, but no harm to data.\n",
                      leaks);
    if (check->errors > 0)
        output_printf(out, "\n%" PRIu64 " internal errors have occurred during the check.\n", check->errors);
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void print_totals(struct output *out, const struct totals *totals)
{
    if (totals->total > 0 && totals->allocated > 0)
        output_printf(
            out,
            "%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
            totals->allocated, totals->total, percent(totals->allocated, totals->total),
            percent(totals->fragmented, totals->allocated), percent(totals->compressed, totals->allocated));
    if (totals->end > 0)
        output_printf(out, "Image end offset: %" PRIu64 "\n", totals->end);
}

void check_qemu_status(struct call *call, const struct container_driver *driver, const struct check *check)
{
    call_exit_status(call, !driver->check                        ? STATUS_NO_CHECK
                           : check->errors                       ? STATUS_ERRORS
                           : check->damage > check->damage_fixed ? STATUS_DAMAGE
                                                                 : STATUS_LEAKS);
}

bool check_as_qemu(struct findings *findings, struct image *image, struct call *call, struct error *err)
{
    const struct container_driver *driver = image->container;
    struct check *check = &findings->check;
    struct totals totals = {.report.ops = &totals_ops};
    struct error why = {0};
    if (!driver->check) {
        check_qemu_status(call, driver, check);
        return fail(err, E_UNSUPPORTED, "This image format does not support checks");
    }
    check->found = print_finding;
    check->summary = &totals.report;
    if (!driver->check(image->disk, check, &why)) {
        call_exit_status(call, STATUS_ERRORS);
        *err = why;
        return false;
    }
    uint64_t damage = check->damage - check->damage_fixed, leaks = check->leaks - check->leaks_fixed;
    print_repaired(findings->out, check);
    print_verdict(findings->out, check, damage, leaks);
    print_totals(findings->out, &totals);
    if (damage + leaks + check->errors == 0)
        return image_retry(image, err);
    check_qemu_status(call, driver, check);
    bool sound = fail(err, E_DAMAGED, "%s", "");
    call->keep = findings_keep(findings, err);
    return sound;
}
