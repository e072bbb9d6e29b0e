#include "copying.h"

#include "alloc.h"
#include "mode.h"
#include "owner.h"

#include <stdlib.h>
#include <string.h>

static void complain(void *arg, const char *object, const struct error *err)
{
    struct copying *copying = arg;
    call_complain(copying->call, object, err);
}

static void note(void *arg, const char *text)
{
    struct copying *copying = arg;
    call_note(copying->call, "%s", text);
}

static void did(void *arg, enum copy_action action, const char *path)
{
    static const struct {
        char mark;
        const char *word;
    } actions[] = {{'+', "created"}, {'*', "changed"}, {'-', "removed"}};
    struct copying *copying = arg;
    if (!copying->list) {
        output_printf(copying->out, "%c ", actions[action].mark);
        output_name(copying->out, path);
        output_write(copying->out, "\n", 1);
        return;
    }
    report_open(copying->list, NULL);
    report_text(copying->list, "action", actions[action].word);
    report_text(copying->list, "path", path);
    report_close(copying->list);
}

static bool set_owner(struct copying *copying, struct volume *volume, const char *text, struct error *err)
{
    struct owner_spec spec;
    if (!owner_parse(volume, text, &spec, err))
        return because(err, "-o");
    copying->options.set_uid = spec.has_uid;
    copying->options.set_gid = spec.has_gid;
    copying->options.uid = spec.uid;
    copying->options.gid = spec.gid;
    return true;
}

void copying_tell_all(struct copying *copying)
{
    copying->options.did = did;
    if (output_json(copying->out))
        copying->list = output_report_list(copying->out);
}

bool copying_begin(struct copying *copying, struct session *session, struct call *call, struct output *out,
                   struct volume *volume, struct error *err)
{
    *copying = (struct copying){.session = session, .call = call, .out = out};
    struct copy_options *options = &copying->options;
    options->archive = call_has(call, "a");
    options->recursive = options->archive || call_has(call, "r") || call_has(call, "R");
    options->follow = call_has(call, "L");
    options->lossy = call_has(call, "lossy");
    options->no_clobber = call_has(call, "n");
    options->preserve = call_has(call, "p");
    options->update = call_has(call, "u");
    options->mode = call_value(call, "m");
    options->complain = complain;
    options->note = note;
    options->arg = copying;
    uint32_t unused;
    if (options->mode && !mode_apply(options->mode, 0644, false, 0, &unused, err))
        return because(err, "-m");
    if (call_has(call, "v"))
        copying_tell_all(copying);
    const char *owner = call_value(call, "o");
    return !owner || set_owner(copying, volume, owner, err);
}

/* "dir/." and "..": what is in it. */
static bool means_contents(const char *text)
{
    const char *slash = strrchr(text, '/'), *colon = strrchr(text, ':');
    const char *last = slash ? slash + 1 : colon ? colon + 1 : text;
    return strcmp(last, ".") == 0 || strcmp(last, "..") == 0;
}

bool copying_image_sources(struct copying *copying, int from, int to, struct error *err)
{
    copying->sources = mem_array((size_t)(to - from), sizeof *copying->sources, err);
    copying->places = mem_array((size_t)(to - from), sizeof *copying->places, err);
    if (!copying->sources || !copying->places)
        return false;
    for (int i = from; i < to; i++) {
        struct file_arg *place = &copying->places[copying->source_count];
        if (!file_arg_parse(copying->session, copying->call->args[i], place, err))
            return false;
        copying->sources[copying->source_count++] =
            (struct copy_end){.volume = place->volume,
                              .path = place->path,
                              .shown = place->shown,
                              .contents = means_contents(copying->call->args[i])};
    }
    return true;
}

bool copying_host_sources(struct copying *copying, int from, int to, struct error *err)
{
    copying->sources = mem_array((size_t)(to - from), sizeof *copying->sources, err);
    if (!copying->sources)
        return false;
    for (int i = from; i < to; i++) {
        const char *path = copying->call->args[i];
        copying->sources[copying->source_count++] =
            (struct copy_end){.host = path, .contents = means_contents(path)};
    }
    return true;
}

bool copying_run(struct copying *copying, const struct copy_end *dest, struct error *err)
{
    return copy_run(copying->session, copying->sources, (size_t)copying->source_count, dest,
                    &copying->options, &copying->tally, err) &&
           call_result(copying->call, err);
}

void copying_end(struct copying *copying)
{
    for (int i = 0; copying->places && i < copying->source_count; i++)
        file_arg_close(&copying->places[i]);
    free(copying->places);
    free(copying->sources);
    file_arg_close(&copying->dest);
}

/* ---- either side --------------------------------------------------------------------------------------- */

static const char host_prefix[] = "host:";

bool tree_end_is_host(const char *text)
{
    return strncmp(text, host_prefix, sizeof host_prefix - 1) == 0;
}

bool tree_end_has_volume(const struct session *session, const char *text)
{
    size_t n = strcspn(text, ":/");
    char name[256];
    if (text[n] != ':' || n == 0 || n >= sizeof name)
        return false;
    memcpy(name, text, n);
    name[n] = 0;
    return strspn(text, "0123456789") == n || session_image(session, name);
}

bool tree_end_open(struct session *session, const char *text, bool on_host, struct tree_end *out,
                   struct error *err)
{
    *out = (struct tree_end){0};
    bool said = tree_end_is_host(text) && !session_image(session, "host");
    if (said || on_host) {
        out->end.host = said ? text + sizeof host_prefix - 1 : text;
        return *out->end.host || fail(err, E_USAGE, "%s: a path is missing", text);
    }
    if (!file_arg_parse(session, text, &out->place, err))
        return false;
    out->end =
        (struct copy_end){.volume = out->place.volume, .path = out->place.path, .shown = out->place.shown};
    return true;
}

void tree_end_close(struct tree_end *end)
{
    file_arg_close(&end->place);
}
