/*
 * What the session holds: the images that are open, by name, and the drivers they are opened with. Commands
 * as transactions over them are in session_undo.c.
 */
#include "session.h"

#include "alloc.h"
#include "image.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool session_new(struct session **out, const struct drivers *drivers, const struct session_options *options,
                 struct error *err)
{
    struct session *session = mem_new(sizeof *session, err);
    if (!session)
        return false;
    session->drivers = *drivers;
    session->options = *options;
    *out = session;
    return true;
}

void session_free(struct session *session)
{
    if (!session)
        return;
    session_forget_undo(session);
    while (session->images) {
        struct image *image = session->images;
        session->images = image->next;
        image_free(image);
    }
    free(session);
}

void session_warn(const struct session *session, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    if (!session->options.warn)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    session->options.warn(session->options.arg, text);
}

void session_progress(const struct session *session, const char *what, uint64_t done, uint64_t total)
{
    if (session->options.progress)
        session->options.progress(session->options.arg, what, done, total);
}

bool session_usable(const struct session *session, struct error *err)
{
    return !session->broken[0] ||
           fail(err, E_FAILED, "the session cannot go on: %s; close the image", session->broken);
}

/* ---- images ---- */

struct image *session_image(const struct session *session, const char *name)
{
    for (struct image *image = session->images; image; image = image->next)
        if (strcmp(image->name, name) == 0)
            return image;
    return NULL;
}

const struct container_driver *session_container(const struct session *session, const char *name)
{
    for (const struct container_driver *const *driver = session->drivers.containers; *driver; driver++)
        if (strcmp((*driver)->head.name, name) == 0)
            return *driver;
    return NULL;
}

/* "img|raw" holds "raw". */
static bool has_word(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = words; at; at = strchr(at, '|')) {
        at += *at == '|';
        if (strncmp(at, word, len) == 0 && (at[len] == '|' || at[len] == '\0'))
            return len > 0;
    }
    return false;
}

const struct container_driver *session_container_for(const struct session *session, const char *path)
{
    const struct container_driver *preferred = session->drivers.containers[0];
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    for (const struct container_driver *const *driver = session->drivers.containers; *driver; driver++) {
        if (dot && (*driver)->suffixes && has_word((*driver)->suffixes, dot + 1))
            return *driver;
        if ((*driver)->preferred)
            preferred = *driver;
    }
    return preferred;
}

const struct table_driver *session_table(const struct session *session, const char *name)
{
    for (const struct table_driver *const *driver = session->drivers.tables; *driver; driver++)
        if (strcmp((*driver)->head.name, name) == 0)
            return *driver;
    return NULL;
}

const struct fs_driver *session_filesystem(const struct session *session, const char *type)
{
    for (const struct fs_driver *const *driver = session->drivers.filesystems; *driver; driver++)
        for (const char *const *word = (*driver)->types; word && *word; word++)
            if (strcmp(*word, type) == 0)
                return *driver;
    return NULL;
}

/* The file's name without folders and extension, made unique; never a number or "file". */
static char *name_from_path(const struct session *session, const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    char *stem = mem_string_n(base, dot && dot > base ? (size_t)(dot - base) : strlen(base), err);
    if (!stem)
        return NULL;
    for (char *p = stem; *p; p++)
        if (*p == ':')
            *p = '_';
    bool plain = stem[0] && strspn(stem, "0123456789") != strlen(stem) && strcmp(stem, "file") != 0;
    char *name = mem_printf(err, plain ? "%s" : "image%s", stem);
    for (unsigned n = 2; name && session_image(session, name); n++) {
        free(name);
        name = mem_printf(err, "%s%s-%u", plain ? "" : "image", stem, n);
    }
    free(stem);
    return name;
}

static bool check_name(const struct session *session, const char *name, struct error *err)
{
    if (!name[0] || strpbrk(name, ":/") || strspn(name, "0123456789") == strlen(name) ||
        strcmp(name, "file") == 0)
        return fail(err, E_INVALID, "'%s' cannot be the name of an image", name);
    if (session_image(session, name))
        return fail(err, E_EXIST, "an image named %s is open already", name);
    return true;
}

static bool image_new(struct session *session, const char *name, const char *path, struct image **out,
                      struct error *err)
{
    if (!session_usable(session, err) || (name && !check_name(session, name, err)))
        return false;
    struct image *image = mem_new(sizeof *image, err);
    if (!image)
        return false;
    image->session = session;
    image->named = name != NULL;
    image->path = mem_string(path, err);
    image->name = name ? mem_string(name, err) : name_from_path(session, path, err);
    if (!image->path || !image->name) {
        image_free(image);
        return false;
    }
    *out = image;
    return true;
}

static void add_image(struct session *session, struct image *image)
{
    struct image **hook = &session->images;
    while (*hook)
        hook = &(*hook)->next;
    *hook = image;
    /* The image that needs no name is the first one that got none. */
    bool better = session->image && session->image->named && !image->named && !session->image_chosen;
    if (!session->image || better)
        session->image = image;
    if (better)
        session->volume = NULL;
}

static struct stage_options stage_options_of(const struct session *session)
{
    return (struct stage_options){.read_only = session->options.read_only || session->options.force_share,
                                  .force_share = session->options.force_share,
                                  .dry_run = session->options.dry_run,
                                  .durability = session->options.durability,
                                  .sector_size = session->options.sector_size};
}

static void tell_recovery(const struct session *session, const char *path, enum recovery recovery)
{
    static const char *const texts[] = {
        [RECOVERY_REPLAYED] = "an interrupted commit was completed",
        [RECOVERY_DISCARDED] = "an interrupted commit was discarded; the image is as before it",
        [RECOVERY_REPLAYED_IN_MEMORY] =
            "an interrupted commit was completed in memory; the file is unchanged",
    };
    if (recovery != RECOVERY_NONE)
        session_warn(session, "%s: %s", path, texts[recovery]);
}

static bool open_image(struct session *session, const char *name, const char *path, const char *format,
                       bool to_check, struct image **out, struct error *err)
{
    struct image *image;
    if (!image_new(session, name, path, &image, err))
        return false;
    image->to_check = to_check;
    struct stage_options options = stage_options_of(session);
    enum recovery recovery = RECOVERY_NONE;
    if (!stage_open(path, &options, &image->file, &recovery, err) ||
        !image_build(image, format ? format : session->options.format, err)) {
        error_leave_device(err);
        image_free(image);
        return false;
    }
    tell_recovery(session, path, recovery);
    add_image(session, image);
    *out = image;
    return true;
}

bool session_open(struct session *session, const char *name, const char *path, const char *format,
                  struct image **out, struct error *err)
{
    return open_image(session, name, path, format, false, out, err);
}

bool session_open_to_check(struct session *session, const char *name, const char *path, const char *format,
                           struct image **out, struct error *err)
{
    return open_image(session, name, path, format, true, out, err);
}

bool image_usable(const struct image *image, struct error *err)
{
    if (image->refusal.kind == E_OK)
        return true;
    *err = image->refusal;
    err->kind = E_REFUSED;
    return strstr(err->message, image->path) ? false : because(err, "%s", image->path);
}

bool session_create(struct session *session, const char *name, const char *path,
                    const struct container_driver *driver, uint64_t size, const struct options *make,
                    struct image **out, struct error *err)
{
    struct image *image;
    if (session->options.read_only)
        return fail(err, E_READONLY, "the session is read-only (-r)");
    if (!driver->create)
        return fail(err, E_UNSUPPORTED, "%s images cannot be created", driver->head.name);
    if (!image_new(session, name, path, &image, err))
        return false;
    struct stage_options options = stage_options_of(session);
    struct layer_context context = {.session = session, .image = image};
    struct container_open open;
    image->is_new = true;
    layer_open_options(&open, &context, image->path, false);
    bool ok = stage_create(path, false, &options, &image->file, err) || because(err, "%s", path);
    if (!ok || !driver->create(image->file, size, make, &open, err) ||
        !image_build(image, driver->head.name, err) || !image_flush(image, err) ||
        !stage_mark(image->file, err)) {
        error_leave_device(err);
        image_free(image);
        return false;
    }
    add_image(session, image);
    *out = image;
    return true;
}

void session_drop_image(struct session *session, struct image *image)
{
    session_forget_undo_of(session, image);
    struct image **hook = &session->images;
    while (*hook != image)
        hook = &(*hook)->next;
    *hook = image->next;
    image_free(image);
    if (session->image == image) {
        session->image = session->images;
        session->volume = NULL;
    }
    session->broken[0] = '\0';
}

bool session_close(struct session *session, struct image *image, bool discard, struct error *err)
{
    if (image_pending(image) && !discard)
        return fail(err, E_BUSY, "%s has uncommitted changes: commit or rollback first", image->name);
    session_drop_image(session, image);
    return true;
}
