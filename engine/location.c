/* Places as a person writes them: [IMAGE:][VOLUME:]/PATH, and 2:, 0:, file: for devices. */
#include "alloc.h"
#include "bytes.h"
#include "path.h"
#include "session.h"

#include <stdlib.h>

/* The word before the first colon, when there is one before any slash;
 * NULL otherwise. Owned by the caller. */
static char *prefix_of(const char *text, struct error *err)
{
    size_t n = strcspn(text, ":/");
    return text[n] == ':' ? mem_string_n(text, n, err) : NULL;
}

static bool is_number(const char *word)
{
    return word[0] && strspn(word, "0123456789") == strlen(word) && strlen(word) < 10;
}

static bool current_volume(struct session *session, struct image *image, struct volume **out,
                           struct error *err)
{
    if (session->volume && session->volume->image == image) {
        *out = session->volume;
        return true;
    }
    return image_lone_volume(image, out, err);
}

static bool set_path(struct location *location, const char *path, struct error *err)
{
    const char *cwd = location->volume->cwd ? location->volume->cwd : "/";
    location->kind = LOCATION_PATH;
    location->path = path_absolute(cwd, path, err);
    return location->path != NULL;
}

/* What follows the image: "file:", "N:", "N:/path" or a path. */
static bool parse_in_image(struct session *session, const char *text, struct location *location,
                           struct error *err)
{
    char *prefix = prefix_of(text, err);
    bool ok;
    if (prefix && strcmp(prefix, "file") == 0 && text[strlen("file:")] == '\0') {
        location->kind = LOCATION_FILE;
        ok = true;
    } else if (!image_usable(location->image, err)) {
        ok = false;
    } else if (prefix && is_number(prefix)) {
        const char *rest = text + strlen(prefix) + 1;
        ok = image_volume(location->image, (unsigned)strtoul(prefix, NULL, 10), &location->volume, err);
        if (ok && *rest)
            ok = set_path(location, rest, err);
        else
            location->kind = LOCATION_VOLUME;
    } else {
        ok =
            current_volume(session, location->image, &location->volume, err) && set_path(location, text, err);
    }
    free(prefix);
    return ok;
}

bool location_parse(struct session *session, const char *text, struct location *out, struct error *err)
{
    *out = (struct location){.image = session->image};
    if (!session->image)
        return fail(err, E_NOENT,
                    "no image is open; open one with `open FILE` or make one with `create FILE SIZE`");
    char *prefix = prefix_of(text, err);
    struct image *named = prefix ? session_image(session, prefix) : NULL;
    const char *rest = text;
    if (named) {
        out->image = named;
        rest += strlen(prefix) + 1;
    }
    free(prefix);
    if (named && !*rest)
        return fail(err, E_INVALID, "%s what? (%s/path, %s2:, %sfile:)", text, text, text, text);
    return parse_in_image(session, rest, out, err);
}

void location_free(struct location *location)
{
    free(location->path);
    location->path = NULL;
}

struct device *location_device(const struct location *location)
{
    return location->kind == LOCATION_FILE ? location->image->file : location->volume->device;
}

char *location_text(const struct location *location, struct error *err)
{
    const struct session *session = location->image->session;
    bool several = session->images && session->images->next;
    const char *image = several ? location->image->name : "", *colon = several ? ":" : "";
    if (location->kind == LOCATION_FILE)
        return mem_printf(err, "%s%sfile:", image, colon);
    return mem_printf(err, "%s%s%u:%s", image, colon, location->volume->number,
                      location->path ? location->path : "");
}
