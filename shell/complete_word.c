/* Words for Tab that are not files: commands, volumes, types, options, structures, names of snapshots. */
#include "interactive.h"

#include "alloc.h"
#include "bytes.h"
#include "structure.h"

#include <stdio.h>
#include <stdlib.h>

void complete_words(struct candidates *found, const char *values)
{
    while (*values) {
        size_t n = strcspn(values, "|");
        candidate_printf(found, NULL, false, "%.*s", (int)n, values);
        values += n + (values[n] == '|');
    }
}

void complete_commands(struct shell *shell, struct candidates *found)
{
    snprintf(found->help, sizeof found->help, "a command; `help` lists them by group");
    for (const struct command *const *command = command_all(); *command; command++) {
        candidate_add(found, (*command)->name, (*command)->summary, false);
        if (found->typed_len == strlen((*command)->name) && strcmp(found->typed, (*command)->name) == 0)
            snprintf(found->help, sizeof found->help, "%s: %s", (*command)->name, (*command)->summary);
    }
    for (const struct named_text *alias = shell->aliases; alias; alias = alias->next)
        candidate_add(found, alias->name, alias->text, false);
    for (size_t i = 0; found->typed_len > 0 && alias_built_in(i); i++)
        candidate_add(found, alias_built_in(i), alias_find(shell, alias_built_in(i)), false);
}

/* "ext4  root  (47.0 MiB)" */
static void volume_note(struct volume *volume, char *out, size_t size)
{
    const struct fs_driver *driver = NULL;
    struct error err;
    struct fs *fs = NULL;
    const char *name = volume->part ? volume->part->name : "";
    if (volume_probe(volume, &driver, &err) && driver && !volume_fs(volume, &fs, &err))
        fs = NULL;
    snprintf(out, size, "%-8s %s  (%.1f MiB)",
             fs       ? fs->type
             : driver ? driver->head.name
                      : "-",
             fs && fs->label[0] ? fs->label : name, (double)volume->device->size / (double)MiB);
}

static void add_volumes(struct candidates *found, const struct image *image, bool named, const char *after)
{
    for (size_t i = 0; i < image->volume_count; i++) {
        char note[300];
        if (image->volumes[i]->number == 0 && image->table && !*after)
            continue;
        volume_note(image->volumes[i], note, sizeof note);
        candidate_printf(found, note, *after != 0, "%s%s%u%s", named ? image->name : "", named ? ":" : "",
                         image->volumes[i]->number, after);
    }
}

/* Numbers alone where a volume is meant; "2:" where a path may follow. */
static void each_volume(struct shell *shell, struct candidates *found, const char *after)
{
    for (const struct image *image = shell->session->images; image; image = image->next)
        add_volumes(found, image, image != shell->session->image, after);
}

void complete_volumes(struct shell *shell, struct candidates *found)
{
    each_volume(shell, found, ":");
}

static void complete_images(struct shell *shell, struct candidates *found)
{
    for (const struct image *image = shell->session->images; image; image = image->next)
        candidate_add(found, image->name, image->path, false);
}

static void complete_mkfs(struct shell *shell, struct candidates *found)
{
    const struct fs_driver *const *driver = shell->session->drivers.filesystems;
    for (; *driver; driver++)
        for (const char *const *type = (*driver)->types; (*driver)->mkfs && type && *type; type++)
            candidate_add(found, *type, (*driver)->head.title, false);
}

static void complete_part_types(struct shell *shell, struct candidates *found)
{
    const struct image *image = shell->session->image;
    const struct table_driver *const *driver = shell->session->drivers.tables;
    for (; *driver; driver++) {
        if (image && image->table && image->table->driver != *driver)
            continue;
        for (const struct part_type *type = (*driver)->types; type && type->type; type++)
            if (type->name)
                candidate_add(found, type->name, type->title, false);
    }
}

static bool add_snapshot(const struct snapshot_info *snapshot, void *arg)
{
    candidate_add(arg, snapshot->name, snapshot->id, false);
    return true;
}

static bool add_bitmap(const struct bitmap_info *bitmap, void *arg)
{
    candidate_add(arg, bitmap->name, NULL, false);
    return true;
}

/* What a listing cannot read is no business of Tab. */
static void complete_from_image(struct shell *shell, struct candidates *found, bool bitmaps)
{
    const struct image *image = shell->session->image;
    struct error err;
    bool good = true;
    if (image && bitmaps && image->container->bitmaps)
        good = image->container->bitmaps(image->disk, add_bitmap, found, &err);
    else if (image && !bitmaps && image->container->snapshots)
        good = image->container->snapshots(image->disk, add_snapshot, found, &err);
    found->cut |= !good;
}

/* ---- structures -------------------------------------------------------------------------------------- */

struct structure_search {
    struct shell *shell;
    struct candidates *found;
    bool fields;
    size_t prefix; /* of the volume */
};

/* Whether the images that are open hold something of this driver. */
static bool in_stack(const struct shell *shell, const char *name, size_t len)
{
    for (const struct image *image = shell->session->images; image; image = image->next) {
        const char *names[2] = {image->container->head.name,
                                image->table ? image->table->driver->head.name : ""};
        for (size_t i = 0; i < image->volume_count + 2; i++) {
            const struct fs_driver *fs = i < 2 ? NULL : image->volumes[i - 2]->fs_driver;
            const char *driver = i < 2 ? names[i] : fs ? fs->head.name : "";
            if (strlen(driver) == len && memcmp(driver, name, len) == 0)
                return true;
        }
    }
    return !shell->session->images;
}

static bool take_structure(const char *name, const struct layout *layout, void *arg)
{
    struct structure_search *search = arg;
    struct candidates *found = search->found;
    const char *typed = found->typed + search->prefix;
    size_t n = strlen(name), dot = strcspn(name, ".");
    bool wanted = in_stack(search->shell, name, dot) || strncmp(typed, name, dot + 1) == 0;
    int prefix = (int)search->prefix;
    if (!wanted)
        return true;
    if (search->fields && strncmp(typed, name, n) == 0 && typed[n] == '.') {
        for (size_t i = 0; i < layout->field_count; i++)
            candidate_printf(found, layout->fields[i].meaning, false, "%.*s%s.%s", prefix, found->typed, name,
                             layout->fields[i].name);
    } else {
        candidate_printf(found, layout->title, search->fields, "%.*s%s%s", prefix, found->typed, name,
                         search->fields ? "." : "");
    }
    return true;
}

static void complete_structures(struct shell *shell, struct candidates *found, bool fields)
{
    struct structure_search search = {shell, found, fields, place_prefix(shell->session, found->typed)};
    structure_each(&shell->session->drivers, take_structure, &search);
}

/* ---- options of formats ------------------------------------------------------------------------------ */

static void complete_option_keys(struct candidates *found, const struct option *table)
{
    const char *comma = strrchr(found->typed, ',');
    size_t start = comma ? (size_t)(comma - found->typed) + 1 : 0;
    found->shown = MAX_OF(found->shown, start);
    for (; table && table->name; table++) {
        const char *typed = found->typed + start;
        size_t n = strlen(table->name);
        bool value = strncmp(typed, table->name, n) == 0 && typed[n] == '=';
        const char *words = table->type == OPTION_FLAG ? "on|off" : table->values;
        for (const char *word = value && words ? words : ""; *word;
             word += strcspn(word, "|") + (word[strcspn(word, "|")] == '|'))
            candidate_printf(found, NULL, false, "%.*s%s=%.*s", (int)start, found->typed, table->name,
                             (int)strcspn(word, "|"), word);
        if (!value)
            candidate_printf(found, table->help, true, "%.*s%s=", (int)start, found->typed, table->name);
    }
}

/* Of the filesystem or format that the words name; else of all image formats. */
static void complete_make_options(struct shell *shell, struct candidates *found, char *const *words,
                                  size_t count)
{
    const struct drivers *drivers = &shell->session->drivers;
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        const struct fs_driver *fs = session_filesystem(shell->session, words[i]);
        const struct container_driver *container = session_container(shell->session, words[i]);
        const struct table_driver *table = session_table(shell->session, words[i]);
        const struct driver *head = fs          ? &fs->head
                                    : container ? &container->head
                                    : table     ? &table->head
                                                : NULL;
        if (head)
            complete_option_keys(found, head->make_options);
        any |= head != NULL;
    }
    for (size_t i = 0; !any && drivers->containers[i]; i++)
        complete_option_keys(found, drivers->containers[i]->head.make_options);
}

static void complete_containers(struct shell *shell, struct candidates *found)
{
    for (size_t i = 0; shell->session->drivers.containers[i]; i++)
        candidate_add(found, shell->session->drivers.containers[i]->head.name,
                      shell->session->drivers.containers[i]->head.title, false);
}

void complete_type(struct shell *shell, struct candidates *found, enum arg_type type, char *const *words,
                   size_t count)
{
    switch (type) {
    case ARG_PATH:
    case ARG_PATH_NEW:
    case ARG_PLACE:
        complete_image(shell, found, type == ARG_PLACE);
        break;
    case ARG_HOST:
    case ARG_HOST_NEW:
        complete_host(found);
        break;
    case ARG_VOLUME:
        each_volume(shell, found, "");
        break;
    case ARG_IMAGE:
        complete_images(shell, found);
        break;
    case ARG_STRUCTURE:
    case ARG_FIELD:
        complete_structures(shell, found, type == ARG_FIELD);
        break;
    case ARG_MKFS_TYPE:
        complete_mkfs(shell, found);
        break;
    case ARG_PART_TYPE:
        complete_part_types(shell, found);
        break;
    case ARG_SNAPSHOT:
    case ARG_BITMAP:
        complete_from_image(shell, found, type == ARG_BITMAP);
        break;
    case ARG_COMMAND:
        complete_commands(shell, found);
        break;
    case ARG_CONTAINER:
        complete_containers(shell, found);
        break;
    case ARG_OPTIONS:
        complete_make_options(shell, found, words, count);
        break;
    case ARG_SIZE:
    case ARG_NUMBER:
    case ARG_WORD:
        break;
    }
}
