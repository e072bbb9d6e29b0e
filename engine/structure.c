#include "structure.h"

#include "alloc.h"
#include "bytes.h"
#include "path.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* What the name in front of the dot stands for. */
struct instance {
    const struct driver *driver;
    void *opened;
    struct volume *volume; /* filesystems only: paths among the arguments are looked up here */
};

static bool emit_layouts(const struct driver *head, bool (*emit)(const char *, const struct layout *, void *),
                         void *arg)
{
    char name[120];
    for (const struct layout *const *layout = head->layouts; layout && *layout; layout++) {
        bool plain = strcmp((*layout)->name, head->name) == 0;
        snprintf(name, sizeof name, "%s%s%s", head->name, plain ? "" : ".", plain ? "" : (*layout)->name);
        if (!emit(name, *layout, arg))
            return false;
    }
    return true;
}

bool structure_each(const struct drivers *drivers, bool (*emit)(const char *, const struct layout *, void *),
                    void *arg)
{
    for (const struct container_driver *const *d = drivers->containers; *d; d++)
        if (!emit_layouts(&(*d)->head, emit, arg))
            return false;
    for (const struct table_driver *const *d = drivers->tables; *d; d++)
        if (!emit_layouts(&(*d)->head, emit, arg))
            return false;
    for (const struct fs_driver *const *d = drivers->filesystems; *d; d++)
        if (!emit_layouts(&(*d)->head, emit, arg))
            return false;
    return true;
}

static bool is_fs_of(struct volume *volume, const char *name)
{
    const struct fs_driver *driver;
    struct error ignored = {0};
    return volume_probe(volume, &driver, &ignored) && driver && strcmp(driver->head.name, name) == 0;
}

/* The volume meant when none is named. */
static bool find_volume(struct session *session, struct image *image, const char *name, struct volume **out,
                        struct error *err)
{
    size_t found = 0;
    if (session->volume && session->volume->image == image && is_fs_of(session->volume, name)) {
        *out = session->volume;
        return true;
    }
    for (size_t i = 0; i < image->volume_count; i++) {
        struct volume *volume = image->volumes[i];
        if ((volume->number != 0 || !image->table) && is_fs_of(volume, name)) {
            *out = volume;
            found++;
        }
    }
    if (found == 0)
        return fail(err, E_NOENT, "%s holds no %s filesystem", image->name, name);
    return found == 1 || fail(err, E_INVALID, "%s holds several %s filesystems: say which (2:%s.super)",
                              image->name, name, name);
}

static bool fs_instance(struct volume *volume, struct instance *out, struct error *err)
{
    struct fs *fs;
    if (!volume_fs(volume, &fs, err))
        return false;
    *out = (struct instance){&fs->driver->head, fs, volume};
    return true;
}

static bool is_filesystem(const struct session *session, const char *name)
{
    for (const struct fs_driver *const *d = session->drivers.filesystems; *d; d++)
        if (strcmp((*d)->head.name, name) == 0)
            return true;
    return false;
}

/* A table that is not the disk's own (the MBR under a GPT) is loaded
 * for the occasion and kept by the image. */
static bool table_instance(struct image *image, const struct table_driver *driver, struct instance *out,
                           struct error *err)
{
    if (image->table && image->table->driver == driver) {
        *out = (struct instance){&driver->head, image->table, NULL};
        return true;
    }
    if (image->second_table && image->second_table->driver != driver) {
        table_free(image->second_table);
        image->second_table = NULL;
    }
    if (!image->second_table && !driver->load(image->disk, &image->second_table, err))
        return false;
    *out = (struct instance){&driver->head, image->second_table, NULL};
    return true;
}

static bool find_instance(struct session *session, struct image *image, struct volume *volume,
                          const char *name, struct instance *out, struct error *err)
{
    if (strcmp(image->container->head.name, name) == 0) {
        *out = (struct instance){&image->container->head, image->disk, NULL};
        return true;
    }
    const struct table_driver *table = session_table(session, name);
    if (table)
        return table_instance(image, table, out, err);
    if (session_container(session, name))
        return fail(err, E_INVALID, "%s is a %s image, not %s", image->name, image->container->head.name,
                    name);
    if (!is_filesystem(session, name))
        return fail(err, E_NOENT, "no format is named '%s' (`show` lists the structures)", name);
    if (!volume && !find_volume(session, image, name, &volume, err))
        return false;
    if (!is_fs_of(volume, name))
        return fail(err, E_INVALID, "volume %u holds no %s filesystem", volume->number, name);
    return fs_instance(volume, out, err);
}

/* Paths become "#ID"; anything else stays. A path may name another volume than the structure did. */
static bool resolve_argument(struct session *session, const char *word, struct instance *instance, char **out,
                             struct error *err)
{
    if (!instance->volume || !(strchr(word, '/') || strchr(word, ':'))) {
        *out = mem_string(word, err);
        return *out != NULL;
    }
    struct location location = {0};
    struct volume *current = session->volume;
    session->volume = instance->volume;
    fs_id id = 0;
    bool ok = location_parse(session, word, &location, err) &&
              (location.kind == LOCATION_PATH || fail(err, E_INVALID, "'%s' is not a path", word)) &&
              path_find(&location, false, &id, err) &&
              (location.volume == instance->volume || fs_instance(location.volume, instance, err));
    session->volume = current;
    location_free(&location);
    *out = ok ? mem_printf(err, "#%" PRIu64, id) : NULL;
    return *out != NULL;
}

static bool join_arguments(struct session *session, char *const *words, int count, struct instance *instance,
                           char **out, struct error *err)
{
    char *text = mem_string("", err);
    for (int i = 0; text && i < count; i++) {
        char *word, *joined = NULL;
        if (resolve_argument(session, words[i], instance, &word, err)) {
            joined = mem_printf(err, "%s%s%s", text, i ? " " : "", word);
            free(word);
        }
        free(text);
        text = joined;
    }
    *out = text;
    return text != NULL;
}

/* Splits [IMAGE:][VOLUME:]NAME; *name points into text. */
static bool split_place(struct session *session, const char *text, struct image **image,
                        struct volume **volume, const char **name, struct error *err)
{
    const char *colon = strrchr(text, ':');
    *image = session->image;
    *volume = NULL;
    *name = colon ? colon + 1 : text;
    if (!session->image)
        return fail(err, E_NOENT, "no image is open");
    if (!colon)
        return true;
    char *prefix = mem_string_n(text, (size_t)(colon - text), err);
    if (!prefix)
        return false;
    struct image *named = session_image(session, prefix);
    struct location location = {0};
    bool ok = true;
    if (named) {
        *image = named;
    } else {
        char *place = mem_printf(err, "%s:", prefix);
        ok = place && location_parse(session, place, &location, err) &&
             (location.kind == LOCATION_VOLUME || fail(err, E_INVALID, "'%s' is not a volume", prefix));
        free(place);
        if (ok) {
            *image = location.image;
            *volume = location.volume->number ? location.volume : NULL;
        }
        location_free(&location);
    }
    free(prefix);
    return ok;
}

bool structure_find(struct session *session, char *const *words, int count, struct place *out,
                    struct error *err)
{
    struct image *image;
    struct volume *volume;
    struct instance instance = {0};
    const char *name;
    if (!split_place(session, words[0], &image, &volume, &name, err))
        return false;
    size_t n = strcspn(name, ".");
    char *driver = mem_string_n(name, n, err), *args = NULL;
    bool ok = driver && find_instance(session, image, volume, driver, &instance, err) &&
              join_arguments(session, words + 1, count - 1, &instance, &args, err);
    *out = (struct place){0};
    if (ok && !instance.driver->locate)
        ok = fail(err, E_UNSUPPORTED, "%s has no structures to show", instance.driver->name);
    ok = ok && instance.driver->locate(instance.opened, name[n] ? name + n + 1 : "", args, out, err);
    if (ok && !out->owner)
        out->owner = instance.opened;
    if (ok && out->size == 0)
        out->size = out->layout->size;
    free(driver);
    free(args);
    return ok;
}

bool structure_split_field(const char *text, char **structure, char **field, struct error *err)
{
    const char *dot = strrchr(text, '.');
    if (!dot || dot == text)
        return fail(err, E_USAGE, "'%s' is not STRUCTURE.FIELD", text);
    *structure = mem_string_n(text, (size_t)(dot - text), err);
    *field = *structure ? mem_string(dot + 1, err) : NULL;
    if (*field)
        return true;
    free(*structure);
    return false;
}
