#include "command.h"
#include "file.h"
#include "place_arg.h"

static const struct arg label_args[] = {
    {"VOLUME", ARG_VOLUME, ARG_ONE, "number of the volume", NULL},
    {"LABEL", ARG_WORD, ARG_OPTIONAL, "the new label; \"\" takes it away; shown when left out", NULL},
    {0},
};

static bool show(struct call *call, struct output *out, const char *key, const char *value)
{
    (void)call;
    if (output_json(out))
        report_text(output_report(out), key, value);
    else
        output_printf(out, "%s\n", value);
    return true;
}

static bool run_label(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct volume *volume;
    struct fs *fs;
    if (!arg_volume(session, call->args[0], &volume, err) || !volume_fs(volume, &fs, err))
        return false;
    if (call->argc == 1)
        return show(call, out, "label", fs->label);
    if (!fs->driver->set_label)
        return fail(err, E_UNSUPPORTED, "%s has no label that can be set", fs->type);
    return file_begin_change(volume, &fs, err) && fs->driver->set_label(fs, call->args[1], err);
}

const struct command label_command = {
    .name = "label",
    .group = "Filesystems",
    .summary = "show or set a volume's label",
    .examples = "label 2\nlabel 2 root",
    .args = label_args,
    .needs = NEEDS_IMAGE | CHANGES | ALSO_READS,
    .run = run_label,
};

static const struct arg uuid_args[] = {
    {"VOLUME", ARG_VOLUME, ARG_ONE, "number of the volume", NULL},
    {"UUID", ARG_WORD, ARG_OPTIONAL, "the new one, `random` or `clear`; shown when left out", "random|clear"},
    {0},
};

static bool run_uuid(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct volume *volume;
    struct fs *fs;
    if (!arg_volume(session, call->args[0], &volume, err) || !volume_fs(volume, &fs, err))
        return false;
    if (call->argc == 1)
        return show(call, out, "uuid", fs->uuid);
    if (!fs->driver->set_uuid)
        return fail(err, E_UNSUPPORTED, "%s has no UUID that can be set", fs->type);
    return file_begin_change(volume, &fs, err) && fs->driver->set_uuid(fs, call->args[1], err);
}

const struct command uuid_command = {
    .name = "uuid",
    .group = "Filesystems",
    .summary = "show or set a volume's UUID or volume id",
    .examples = "uuid 2\nuuid 2 random\nuuid 1 1234-ABCD",
    .args = uuid_args,
    .needs = NEEDS_IMAGE | CHANGES | ALSO_READS,
    .run = run_uuid,
};

static const struct arg tune_args[] = {
    {"VOLUME", ARG_VOLUME, ARG_ONE, "number of the volume", NULL},
    {"KEY=VALUE", ARG_WORD, ARG_ANY,
     "features (name, ^name) and tunables; what can be set is listed when left out", NULL},
    {0},
};

static void list_tunables(const struct fs *fs, struct output *out)
{
    struct report *report = output_json(out) ? output_report_list(out) : NULL;
    for (const struct option *option = fs->driver->tune_options; option && option->name; option++) {
        if (report) {
            report_open(report, NULL);
            report_text(report, "name", option->name);
            report_text(report, "help", option->help);
            report_close(report);
        } else {
            output_printf(out, "%-24s %s\n", option->name, option->help);
        }
    }
}

static bool run_tune(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct volume *volume;
    struct fs *fs;
    struct options options = {0};
    if (!arg_volume(session, call->args[0], &volume, err) || !volume_fs(volume, &fs, err))
        return false;
    if (!fs->driver->tune)
        return fail(err, E_UNSUPPORTED, "%s has nothing to tune", fs->type);
    if (call->argc == 1) {
        list_tunables(fs, out);
        return true;
    }
    bool ok = file_begin_change(volume, &fs, err);
    for (int i = 1; ok && i < call->argc; i++)
        ok = options_parse(&options, fs->driver->tune_options, call->args[i], err);
    ok = ok && fs->driver->tune(fs, &options, err);
    options_free(&options);
    return ok;
}

const struct command tune_command = {
    .name = "tune",
    .group = "Filesystems",
    .summary = "change features and tunables of a filesystem",
    .examples = "tune 2\ntune 2 ^has_journal\ntune 2 reserved=1",
    .args = tune_args,
    .needs = NEEDS_IMAGE | CHANGES | ALSO_READS,
    .run = run_tune,
};
