#include "bytes.h"
#include "check_status.h"
#include "findings.h"
#include "place_arg.h"

#include <stdio.h>

static const struct flag flags[] = {
    {'r', "repair", "leaks|all", ARG_WORD, "mend: only leaked space, or everything"},
    {0, "data", NULL, ARG_WORD, "also read what is compressed or has checksums of its own"},
    {0, "container", NULL, ARG_WORD, "only the container, not what is inside"},
    {0, "qemu-status", NULL, ARG_WORD,
     "only the container, with the words and exit statuses of qemu-img check: 1 it could not be done, "
     "2 errors, 3 only leaks, 63 the format has no check"},
    {0},
};

static const struct flag fsck_flags[] = {
    {'r', "repair", NULL, ARG_WORD, "mend what is damaged"},
    {0, "lost", "save|free", ARG_WORD, "what becomes of clusters that no file owns: files, or free space"},
    {0, "data", NULL, ARG_WORD, "also read what has checksums of its own"},
    {'b', "superblock", "BLOCK", ARG_WORD,
     "begin with the copy of the superblock in this block (ext: 32768)"},
    {0},
};

static const struct arg check_args[] = {
    {"IMAGE", ARG_IMAGE, ARG_OPTIONAL, "the image; the current one when left out", NULL},
    {0},
};

static const struct arg fsck_args[] = {
    {"VOLUME", ARG_VOLUME, ARG_OPTIONAL, "number of the volume", NULL},
    {0},
};

/* A layer that cannot even be checked is a finding of its own; the other layers go on. */
static void could_not(struct findings *findings, const struct error *err)
{
    enum finding_kind kind = err->kind == E_DAMAGED       ? FINDING_DAMAGE
                             : err->kind == E_UNSUPPORTED ? FINDING_NOTE
                                                          : FINDING_ERROR;
    check_found(&findings->check, kind, error_kind_name(err->kind), err->device, err->offset, false, "%s",
                err->message);
}

static bool check_fs(struct findings *findings, struct volume *volume, struct fs *fs, struct error *err)
{
    char layer[80];
    enum repair repair = findings->check.repair;
    if (!fs->driver->check)
        return fail(err, E_UNSUPPORTED, "%s cannot be checked", fs->type);
    if (repair != REPAIR_NONE && fs->change != FS_IN_PLACE && !(fs->mendable && repair == REPAIR_ALL))
        return fail(err, E_READONLY, "volume %u cannot be repaired: %s", volume->number, fs->why);
    if (findings->check.lost != LOST_DEFAULT && !fs->driver->keeps_lost)
        return fail(err, E_UNSUPPORTED, "--lost: a repair of %s has one way with what is lost", fs->type);
    volume->image->reread = volume->image->reread || repair != REPAIR_NONE;
    snprintf(layer, sizeof layer, "%u: %s", volume->number, fs->type);
    findings->layer = layer;
    bool ok = fs->driver->check(fs, &findings->check, err);
    findings->broken |= !ok;
    findings->layer = "";
    return ok;
}

static bool check_volume(struct findings *findings, struct volume *volume, struct error *err)
{
    struct fs *fs;
    return volume_fs(volume, &fs, err) && check_fs(findings, volume, fs, err);
}

/* What is left of a filesystem in a volume that was given to something
 * else must not be brought back unasked. */
static bool check_unasked(struct findings *findings, struct volume *volume, struct error *err)
{
    enum repair repair = findings->check.repair;
    if (volume->remains)
        findings->check.repair = REPAIR_NONE;
    bool ok = check_volume(findings, volume, err);
    findings->check.repair = repair;
    return ok;
}

/* A copy of it: what a repair leaves in memory is not what the image works with. */
static void check_table(struct findings *findings, struct image *image)
{
    struct error err = {0};
    struct table *table;
    findings->layer = "table";
    if (!image_load_table(image, &table, &err)) {
        if (err.kind != E_NOENT)
            could_not(findings, &err);
        return;
    }
    uint64_t fixed = findings->check.damage_fixed;
    findings->layer = table->driver->head.name;
    if (table->driver->verify && !table->driver->verify(table, &findings->check, &err)) {
        findings->broken = true;
        if (err.kind != E_INTERRUPTED)
            could_not(findings, &err);
    }
    table_free(table);
    if (findings->check.damage_fixed != fixed && !image_rescan(image, &err))
        could_not(findings, &err);
}

static void check_inside(struct findings *findings, struct image *image)
{
    struct error err = {0};
    check_table(findings, image);
    for (size_t i = 0; i < image->volume_count; i++) {
        struct volume *volume = image->volumes[i];
        const struct fs_driver *driver = NULL;
        err = (struct error){0};
        if (volume->number == 0 && image->table)
            continue;
        findings->layer = "volume";
        if (volume_probe(volume, &driver, &err) && (!driver || check_unasked(findings, volume, &err)))
            continue;
        could_not(findings, &err);
    }
}

/* The totals under the names that `qemu-img check --output=json` gives them. */
static void report_totals(struct findings *findings, const struct image *image)
{
    const struct check *check = &findings->check;
    if (!findings->report)
        return;
    report_text(findings->report, "filename", image->path);
    report_text(findings->report, "format", image->container->head.name);
    report_number(findings->report, "check-errors", check->errors);
    if (check->damage > check->damage_fixed)
        report_number(findings->report, "corruptions", check->damage - check->damage_fixed);
    if (check->leaks > check->leaks_fixed)
        report_number(findings->report, "leaks", check->leaks - check->leaks_fixed);
    if (check->damage_fixed)
        report_number(findings->report, "corruptions-fixed", check->damage_fixed);
    if (check->leaks_fixed)
        report_number(findings->report, "leaks-fixed", check->leaks_fixed);
}

static bool begin(struct findings *findings, struct session *session, struct call *call, struct output *out,
                  struct error *err)
{
    enum repair repair;
    if (!findings_repair(call, &repair, err))
        return false;
    if (repair != REPAIR_NONE && session->options.read_only)
        return fail(err, E_READONLY, "the session is read-only (-r)");
    findings_begin(findings, out, repair);
    findings->check.data = call_has(call, "data") > 0;
    return true;
}

/* The container alone. An image that is only open to be looked at may be fit for use after a repair. */
static bool check_container(struct findings *findings, struct image *image, struct error *one,
                            struct error *err)
{
    const struct container_driver *driver = image->container;
    struct error why;
    findings->layer = driver->head.name;
    findings->check.summary = findings->report;
    bool ok = !driver->check || driver->check(image->disk, &findings->check, one);
    findings->check.summary = NULL;
    if (!ok && !image_usable(image, &why) && one->kind == E_UNSUPPORTED) {
        *err = why;
        return false;
    }
    if (!ok) {
        findings->broken = true;
        could_not(findings, one);
    }
    if (findings->check.damage_fixed + findings->check.leaks_fixed > 0 && !image_retry(image, err))
        return false;
    if (!image_usable(image, &why))
        check_found(&findings->check, FINDING_NOTE, "refused", NULL, 0, false,
                    "what is inside cannot be checked: %s", why.message);
    return true;
}

static bool run_check(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct findings findings;
    struct image *image;
    if (!arg_image_to_check(session, call->argc ? call->args[0] : NULL, &image, err) ||
        !begin(&findings, session, call, out, err))
        return false;
    struct error one = {0};
    bool as_qemu = call_has(call, "qemu-status");
    if (as_qemu && !findings.report)
        return check_as_qemu(&findings, image, call, err);
    if (!check_container(&findings, image, &one, err))
        return false;
    if (as_qemu)
        check_qemu_status(call, image->container, &findings.check);
    else if (!call_has(call, "container") && one.kind != E_INTERRUPTED && image->refusal.kind == E_OK)
        check_inside(&findings, image);
    if (one.kind == E_INTERRUPTED)
        return fail(err, E_INTERRUPTED, "interrupted");
    report_totals(&findings, image);
    bool sound = findings_end(&findings, "image", err);
    call->keep = !sound && findings_keep(&findings, err);
    return sound;
}

const struct command check_command = {
    .name = "check",
    .group = "Images",
    .summary = "check the image in all its layers, and repair it",
    .details =
        "The container's reference counts and tables, the partition table and every filesystem are looked "
        "at. "
        "The exit status is 4 when damage was found and not repaired; --qemu-status is for scripts that "
        "know qemu-img's. A repair is part of the transaction: `diff` shows it, `undo` takes it back. What "
        "can "
        "be mended stays so although something else cannot: then a script goes on, and its exit status is 4.",
    .examples = "check\ncheck --repair=leaks\ncheck --repair=all --data\ncheck --qemu-status",
    .args = check_args,
    .flags = flags,
    .needs = NEEDS_IMAGE | CHANGES | ALSO_READS | FINDS_DAMAGE | LOOKS,
    .run = run_check,
};

/* A volume that was only looked at by a copy of its header is opened as usual afterwards. */
static bool fsck_volume(struct findings *findings, struct volume *volume, const struct call *call,
                        struct error *err)
{
    const char *text = call_value(call, "superblock");
    uint64_t block;
    struct error ignored = {0};
    struct fs *fs;
    if (!text)
        return check_volume(findings, volume, err);
    if (!size_parse(text, &block, err) || !volume_fs_copy(volume, block, &fs, err))
        return false;
    bool ok = check_fs(findings, volume, fs, err);
    if (findings->check.repair == REPAIR_NONE || !ok)
        return volume_release(volume, ok ? err : &ignored) && ok;
    return true;
}

/* --lost=save or --lost=free. */
static bool lost_flag(const struct call *call, enum lost *lost, struct error *err)
{
    const char *value = call_value(call, "lost");
    *lost = LOST_DEFAULT;
    if (!value)
        return true;
    if (!call_has(call, "repair"))
        return fail(err, E_USAGE, "--lost says what --repair does");
    if (strcmp(value, "save") == 0)
        *lost = LOST_SAVE;
    else if (strcmp(value, "free") == 0)
        *lost = LOST_FREE;
    else
        return fail(err, E_USAGE, "--lost takes save or free, not '%s'", value);
    return true;
}

static bool run_fsck(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct findings findings;
    struct volume *volume;
    if (!arg_volume(session, call->argc ? call->args[0] : NULL, &volume, err) ||
        !begin(&findings, session, call, out, err) || !lost_flag(call, &findings.check.lost, err))
        return false;
    struct error one = {0};
    if (!fsck_volume(&findings, volume, call, &one)) {
        if (one.kind != E_DAMAGED) {
            *err = one;
            return false;
        }
        could_not(&findings, &one);
    }
    bool sound = findings_end(&findings, "filesystem", err);
    call->keep = !sound && findings_keep(&findings, err);
    return sound;
}

const struct command fsck_command = {
    .name = "fsck",
    .group = "Filesystems",
    .summary = "check a filesystem, and repair it",
    .details =
        "The exit status is 4 when damage was found and not repaired. A repair is part of the transaction: "
        "`diff` shows it, `undo` takes it back. What can be mended stays so although something else cannot: "
        "then a script goes on, and its exit status is 4. Chains of clusters that no file owns become "
        "/FSCK0000.REC and so on on FAT, and are freed on exFAT, unless --lost says otherwise.",
    .examples = "fsck 2\nfsck --repair 2\nfsck --repair --lost=free 2\nfsck --repair --superblock=32768 2",
    .args = fsck_args,
    .flags = fsck_flags,
    .needs = NEEDS_IMAGE | CHANGES | ALSO_READS | FINDS_DAMAGE,
    .run = run_fsck,
};
