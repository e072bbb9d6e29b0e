/* mirror: a directory made like another one. */
#include "copying.h"

#include <string.h>

/*
 * Which side is on the host: the one that says so with "host:"; else, when one of the two has a volume in
 * front ("2:/srv"), the other; else the source, as with put.
 */
static bool open_ends(struct copying *copying, struct tree_end *source, struct tree_end *dest,
                      struct error *err)
{
    struct session *session = copying->session;
    const char *from = copying->call->args[0], *to = copying->call->args[1];
    bool from_image = tree_end_has_volume(session, from), to_image = tree_end_has_volume(session, to);
    bool from_host = !from_image && !tree_end_is_host(to);
    bool to_host = !to_image && from_image;
    return tree_end_open(session, from, from_host, source, err) &&
           tree_end_open(session, to, to_host, dest, err);
}

static bool run_mirror(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct copying copying;
    struct tree_end source = {0}, dest = {0};
    bool ok =
        copying_begin(&copying, session, call, out, NULL, err) && open_ends(&copying, &source, &dest, err);
    struct copy_options *options = &copying.options;
    options->archive = options->recursive = options->mirror = true;
    options->dry_run = call_has(call, "n");
    options->no_clobber = false;
    options->remove_extra = call_has(call, "delete");
    if (ok && source.end.host && dest.end.host)
        ok = fail(err, E_USAGE, "both directories are on the host");
    if (ok && (options->dry_run || call_has(call, "v")))
        copying_tell_all(&copying);
    ok = ok && copy_run(session, &source.end, 1, &dest.end, options, &copying.tally, err) &&
         call_result(call, err);
    copying_end(&copying);
    tree_end_close(&source);
    tree_end_close(&dest);
    return ok;
}

static const struct arg mirror_args[] = {
    {"SRC", ARG_PLACE, ARG_ONE, "the directory to be like", NULL},
    {"DEST", ARG_PLACE, ARG_ONE, "the directory that becomes like it", NULL},
    {0},
};

static const struct flag mirror_flags[] = {
    {'n', "dry-run", NULL, ARG_WORD, "only say what would be done"},
    {0, "delete", NULL, ARG_WORD, "remove from DEST what SRC does not have"},
    {'v', "verbose", NULL, ARG_WORD, "say what is done: + made, * changed, - removed"},
    {0, "lossy", NULL, ARG_WORD, "go on although the filesystem cannot keep everything"},
    {0},
};

const struct command mirror_command = {
    .name = "mirror",
    .group = "Files",
    .summary = "make a directory like another, between host and image",
    .details =
        "The contents of SRC go into DEST with owner, mode, times, links and extended attributes. Files "
        "of the same type, size and time are taken for equal and left alone.\n"
        "One side may be on the host: write it host:PATH. Without that word a side that has a volume in "
        "front (2:/srv) is in the image and the other one on the host; when neither has, SRC is on the "
        "host and DEST in the image.",
    .examples =
        "mirror --delete /srv/www 2:/srv/www\nmirror 2:/home /backup/home\nmirror -n old:2:/etc 2:/etc",
    .args = mirror_args,
    .flags = mirror_flags,
    .needs = NEEDS_IMAGE | CHANGES | ALSO_READS,
    .run = run_mirror,
};
