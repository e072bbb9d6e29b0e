#include "owner.h"

#include "alloc.h"
#include "file.h"
#include "path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* More than any real file of the kind; a larger one is read up to here. */
enum { MAX_FILE = 4 << 20 };

struct entry {
    uint32_t number, group;
    const char *name; /* inside the table's text */
};

struct id_table {
    const char *path;
    bool loaded;
    char *text;
    struct entry *entries;
    size_t count, capacity;
};

struct owners {
    struct volume *volume;
    struct id_table users, groups;
};

struct owners *owners_new(struct volume *volume, struct error *err)
{
    struct owners *owners = mem_new(sizeof *owners, err);
    if (!owners)
        return NULL;
    owners->volume = volume;
    owners->users.path = "/etc/passwd";
    owners->groups.path = "/etc/group";
    return owners;
}

static void id_table_free(struct id_table *table)
{
    free(table->text);
    free(table->entries);
}

void owners_free(struct owners *owners)
{
    if (!owners)
        return;
    id_table_free(&owners->users);
    id_table_free(&owners->groups);
    free(owners);
}

/* Cuts a field off at ':'; NULL when there is none left. */
static char *next_field(char **line)
{
    char *field = *line;
    if (field) {
        char *colon = strchr(field, ':');
        if (colon)
            *colon = 0;
        *line = colon ? colon + 1 : NULL;
    }
    return field;
}

static bool parse_number(const char *text, uint32_t *out)
{
    char *end;
    if (!text || text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (*end || errno || value > UINT32_MAX)
        return false;
    *out = (uint32_t)value;
    return true;
}

/* name:password:number[:group...] */
static void add_line(struct id_table *table, char *line)
{
    struct entry entry = {.name = next_field(&line)};
    struct error ignored;
    (void)next_field(&line);
    if (!*entry.name || !parse_number(next_field(&line), &entry.number))
        return;
    (void)parse_number(next_field(&line), &entry.group);
    if (mem_grow(&table->entries, &table->capacity, table->count + 1, sizeof entry, &ignored))
        table->entries[table->count++] = entry;
}

/* An image without the file, or with a broken one, has only numbers. */
static void id_table_load(struct owners *owners, struct id_table *table)
{
    struct error ignored;
    struct fs_attr attr;
    fs_id id;
    size_t got = 0;
    table->loaded = true;
    if (!path_lookup(owners->volume, table->path, true, &id, &ignored) ||
        !file_attr(owners->volume, id, &attr, &ignored) || !S_ISREG(attr.mode))
        return;
    size_t size = attr.size < MAX_FILE ? (size_t)attr.size : MAX_FILE;
    table->text = mem_new(size + 1, &ignored);
    if (!table->text || !file_read(owners->volume, id, 0, table->text, size, &got, &ignored))
        return;
    table->text[got] = 0;
    for (char *line = table->text; line && *line;) {
        char *end = strchr(line, '\n');
        if (end)
            *end++ = 0;
        add_line(table, line);
        line = end;
    }
}

static const struct id_table *loaded(struct owners *owners, struct id_table *table)
{
    if (!table->loaded)
        id_table_load(owners, table);
    return table;
}

static const char *name_of(const struct id_table *table, uint32_t number)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->entries[i].number == number)
            return table->entries[i].name;
    return NULL;
}

const char *owner_user(struct owners *owners, uint32_t uid)
{
    return name_of(loaded(owners, &owners->users), uid);
}

const char *owner_group(struct owners *owners, uint32_t gid)
{
    return name_of(loaded(owners, &owners->groups), gid);
}

static const struct entry *entry_of(const struct id_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->entries[i].name, name) == 0)
            return &table->entries[i];
    return NULL;
}

/* root is 0 everywhere, also where no file says so. */
static bool find_owner(const struct id_table *table, const char *name, uint32_t *number, uint32_t *group,
                       struct error *err)
{
    if (parse_number(name, number))
        return true;
    const struct entry *entry = entry_of(table, name);
    if (entry) {
        *number = entry->number;
        *group = entry->group;
        return true;
    }
    *number = *group = 0;
    return strcmp(name, "root") == 0 || fail(err, E_INVALID, "%s has no '%s'", table->path, name);
}

bool owner_parse(struct volume *volume, const char *text, struct owner_spec *out, struct error *err)
{
    *out = (struct owner_spec){0};
    struct owners *owners = owners_new(volume, err);
    char *user = owners ? mem_string(text, err) : NULL;
    bool ok = user != NULL;
    char *group = ok ? strchr(user, ':') : NULL;
    if (group)
        *group++ = 0;
    uint32_t own_group = 0, unused = 0;
    if (ok && *user) {
        out->has_uid = true;
        ok = find_owner(loaded(owners, &owners->users), user, &out->uid, &own_group, err);
    }
    if (ok && group && (*group || out->has_uid)) {
        out->has_gid = true;
        out->gid = own_group;
        ok = !*group || find_owner(loaded(owners, &owners->groups), group, &out->gid, &unused, err);
    }
    if (ok && !out->has_uid && !out->has_gid)
        ok = fail(err, E_INVALID, "'%s' is no owner; give USER, USER:GROUP or :GROUP", text);
    free(user);
    owners_free(owners);
    return ok;
}

bool owner_parse_group(struct volume *volume, const char *text, uint32_t *gid, struct error *err)
{
    struct owners *owners = owners_new(volume, err);
    uint32_t unused;
    bool ok = owners && find_owner(loaded(owners, &owners->groups), text, gid, &unused, err);
    owners_free(owners);
    return ok;
}
