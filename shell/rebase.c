/* rebase and commit-backing: what an image stands on. */
#include "backing.h"
#include "command.h"
#include "place_arg.h"

static bool run_rebase(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct image *image;
    (void)out;
    if (!call_has(call, "backing"))
        return fail(err, E_USAGE, "name the new backing file with -b FILE; -b '' for none");
    bool safe = !call_has(call, "unsafe");
    return arg_image_to_check(session, call->argc ? call->args[0] : NULL, &image, err) &&
           (!safe || image_usable(image, err)) &&
           image_rebase(image, call_value(call, "backing"), call_value(call, "backing-format"), safe, err);
}

static const struct arg rebase_args[] = {
    {"IMAGE", ARG_IMAGE, ARG_OPTIONAL, "the image; the current one when left out", NULL},
    {0},
};

static const struct flag rebase_flags[] = {
    {'b', "backing", "FILE", ARG_HOST,
     "the new backing file; '' for none: the image then holds everything itself"},
    {'F', "backing-format", "FORMAT", ARG_WORD, "its format"},
    {'u', "unsafe", NULL, ARG_WORD, "change only the name: for a backing file that was moved"},
    {0},
};

const struct command rebase_command = {
    .name = "rebase",
    .group = "Images",
    .summary = "give an image another backing file, or none",
    .details =
        "What the image shows stays the same: where the new chain differs from the old one the data "
        "is copied "
        "into the image. With -u only the name is changed: neither the old nor the new file need be there.",
    .examples = "rebase -b new-base.qcow2 -F qcow2\nrebase -b ''\nrebase -u -b /srv/base.qcow2 -F qcow2",
    .args = rebase_args,
    .flags = rebase_flags,
    .needs = NEEDS_IMAGE | CHANGES | LOOKS,
    .run = run_rebase,
};

static bool run_commit_backing(struct session *session, struct call *call, struct output *out,
                               struct error *err)
{
    struct image *image;
    (void)out;
    return arg_image(session, call->argc ? call->args[0] : NULL, &image, err) &&
           image_commit_backing(image, err);
}

const struct command commit_backing_command = {
    .name = "commit-backing",
    .group = "Images",
    .summary = "write an image's own data into its backing file and empty the image",
    .details =
        "The backing file is changed at once and for good; emptying the image is part of the transaction.",
    .examples = "commit-backing\ncommit",
    .args = rebase_args,
    .needs = NEEDS_IMAGE | CHANGES,
    .run = run_commit_backing,
};
