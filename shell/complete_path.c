/* Files for Tab, on the host and in the image. A huge directory is looked at for a moment only. */
#include "interactive.h"

#include "alloc.h"
#include "bytes.h"
#include "file.h"
#include "path.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

enum { PATIENCE_MS = 150, MAX_LINKS = 50 };

struct patience {
    struct timespec start;
    unsigned calls;
};

static void begin(struct patience *patience)
{
    patience->calls = 0;
    clock_gettime(CLOCK_MONOTONIC, &patience->start);
}

static bool over(struct patience *patience)
{
    struct timespec now;
    if (++patience->calls % 256 != 0)
        return false;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long ms =
        (now.tv_sec - patience->start.tv_sec) * 1000 + (now.tv_nsec - patience->start.tv_nsec) / 1000000;
    return ms > PATIENCE_MS || interrupt_pending();
}

/* The part of the typed word up to its last slash (or prefix); the rest is what names must begin with. */
static size_t directory_length(const struct candidates *found, size_t least)
{
    size_t n = found->typed_len;
    while (n > least && found->typed[n - 1] != '/')
        n--;
    return n;
}

/* A name of the directory that was typed; hidden ones only when a dot was typed. */
static void add_name(struct candidates *found, size_t directory, const char *name, bool is_directory)
{
    bool hidden_wanted = found->typed[directory] == '.';
    if (name[0] == '.' && !hidden_wanted)
        return;
    if (strncmp(name, found->typed + directory, found->typed_len - directory) != 0)
        return;
    struct text text = {0};
    bool looks_like_option = directory == 0 && name[0] == '-' && found->typed_len == 0;
    text_add(&text, found->typed, directory);
    text_string(&text, looks_like_option ? "./" : "");
    text_string(&text, name);
    text_string(&text, is_directory ? "/" : "");
    candidate_add(found, text_get(&text), NULL, is_directory);
    text_free(&text);
}

/* ---- host -------------------------------------------------------------------------------------------- */

static char *host_directory(const struct candidates *found, size_t directory)
{
    struct error err;
    const char *home = getenv("HOME");
    if (directory == 0)
        return mem_string(".", &err);
    if (strncmp(found->typed, "~/", 2) == 0 && home)
        return mem_printf(&err, "%s/%.*s", home, (int)directory - 2, found->typed + 2);
    return mem_string_n(found->typed, directory, &err);
}

static bool host_is_directory(DIR *dir, const struct dirent *entry)
{
    struct stat st;
    if (entry->d_type != DT_UNKNOWN && entry->d_type != DT_LNK)
        return entry->d_type == DT_DIR;
    return fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

void complete_host(struct candidates *found)
{
    size_t directory = directory_length(found, 0);
    char *path = host_directory(found, directory);
    DIR *dir = path ? opendir(path) : NULL;
    struct dirent *entry;
    struct patience patience;
    begin(&patience);
    found->shown = directory;
    while (dir && (entry = readdir(dir)) && !found->cut) {
        found->cut = over(&patience);
        bool candidate = strncmp(entry->d_name, found->typed + directory, found->typed_len - directory) == 0;
        if (candidate && strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            add_name(found, directory, entry->d_name, host_is_directory(dir, entry));
    }
    if (dir)
        closedir(dir);
    free(path);
}

/* ---- image ------------------------------------------------------------------------------------------- */

struct image_listing {
    struct candidates *found;
    size_t directory;
    struct volume *volume;
    const char *path; /* of the directory */
    struct patience patience;
    struct {
        char *name;
    } unsure[MAX_LINKS]; /* links, and entries without a type: asked after the walk */
    size_t unsure_count;
};

static bool take_entry(const struct fs_entry *entry, void *arg)
{
    struct image_listing *listing = arg;
    struct candidates *found = listing->found;
    if (over(&listing->patience))
        found->cut = true;
    bool candidate = !entry->fault && strncmp(entry->name, found->typed + listing->directory,
                                              found->typed_len - listing->directory) == 0;
    bool sure = entry->type != 0 && !S_ISLNK(entry->type);
    if (candidate && !sure && listing->unsure_count < MAX_LINKS)
        listing->unsure[listing->unsure_count++].name = strdup(entry->name);
    else if (candidate)
        add_name(found, listing->directory, entry->name, S_ISDIR(entry->type));
    return !found->cut;
}

static void resolve_unsure(struct image_listing *listing)
{
    for (size_t i = 0; i < listing->unsure_count; i++) {
        char *name = listing->unsure[i].name;
        struct error err;
        struct fs_attr attr = {0};
        fs_id id;
        char *path = name ? mem_printf(&err, "%s/%s", listing->path, name) : NULL;
        bool known = path && path_lookup(listing->volume, path, true, &id, &err) &&
                     file_attr(listing->volume, id, &attr, &err);
        if (name)
            add_name(listing->found, listing->directory, name, known && S_ISDIR(attr.mode));
        free(path);
        free(name);
    }
}

static void list_image(struct shell *shell, struct candidates *found, size_t prefix)
{
    struct image_listing listing = {.found = found, .directory = directory_length(found, prefix)};
    struct error err;
    struct location location = {0};
    fs_id id;
    char *place = mem_string_n(found->typed, listing.directory, &err);
    char *text = place ? mem_printf(&err, "%s.", place) : NULL;
    begin(&listing.patience);
    found->shown = listing.directory;
    if (text && location_parse(shell->session, text, &location, &err) && location.kind == LOCATION_PATH) {
        listing.volume = location.volume;
        listing.path = location.path;
        if (path_lookup(location.volume, location.path, true, &id, &err) &&
            file_readdir(location.volume, id, take_entry, &listing, &err))
            resolve_unsure(&listing);
    }
    location_free(&location);
    free(text);
    free(place);
}

void complete_image(struct shell *shell, struct candidates *found, bool places)
{
    if (!shell->session->image)
        return;
    size_t prefix = place_prefix(shell->session, found->typed);
    list_image(shell, found, prefix);
    if (prefix == found->typed_len && prefix > 0 && !places) { /* "2:" alone: its root is meant */
        for (size_t i = 0; i < found->count; i++)
            free(found->items[i].text);
        found->count = 0;
        candidate_printf(found, NULL, true, "%s/", found->typed);
        return;
    }
    bool several = shell->session->images->next || shell->session->image->volume_count > 2;
    if (!strchr(found->typed, '/') && prefix == 0 && (several || places))
        complete_volumes(shell, found);
}
