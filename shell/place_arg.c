#include "place_arg.h"

#include "alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool arg_image(struct session *session, const char *text, struct image **out, struct error *err)
{
    return arg_image_to_check(session, text, out, err) && image_usable(*out, err);
}

bool arg_image_to_check(struct session *session, const char *text, struct image **out, struct error *err)
{
    if (!text) {
        *out = session->image;
        return *out ||
               fail(err, E_NOENT,
                    "no image is open; open one with `open FILE` or make one with `create FILE SIZE`");
    }
    size_t n = strlen(text);
    char *name = mem_string_n(text, n > 0 && text[n - 1] == ':' ? n - 1 : n, err);
    if (!name)
        return false;
    *out = session_image(session, name);
    free(name);
    return *out || fail(err, E_NOENT, "no image named %s is open", text);
}

/* The volume that a command means when none is named. */
static bool default_volume(struct session *session, struct volume **out, struct error *err)
{
    struct image *image;
    if (!arg_image(session, NULL, &image, err))
        return false;
    if (session->volume) {
        *out = session->volume;
        return true;
    }
    if (image->volume_count == 1) {
        *out = image->volumes[0];
        return true;
    }
    if (image->volume_count == 2 && image->table) {
        *out = image->volumes[1];
        return true;
    }
    return image_lone_volume(image, out, err);
}

bool arg_volume(struct session *session, const char *text, struct volume **out, struct error *err)
{
    if (!text)
        return default_volume(session, out, err);
    size_t n = strlen(text);
    struct location location = {0};
    char *place = mem_printf(err, n > 0 && text[n - 1] == ':' ? "%s" : "%s:", text);
    bool ok = place && location_parse(session, place, &location, err);
    if (ok && location.kind != LOCATION_VOLUME)
        ok = fail(err, E_INVALID, "'%s' is not a volume: give its number (2) or IMAGE:NUMBER", text);
    if (ok)
        *out = location.volume;
    location_free(&location);
    free(place);
    return ok;
}
