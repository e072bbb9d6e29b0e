/* acl: access control lists, with the text and the options of getfacl and setfacl. */
#include "acl.h"
#include "alloc.h"
#include "files.h"
#include "owner.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct acl_command {
    struct call *call;
    struct output *out;
    struct report *list;
    bool changes, numeric, any;
};

/* ---- showing ------------------------------------------------------------------------------------------- */

static const char *tag_word(uint16_t tag)
{
    return tag == ACL_USER_OBJ || tag == ACL_USER     ? "user"
           : tag == ACL_GROUP_OBJ || tag == ACL_GROUP ? "group"
           : tag == ACL_MASK                          ? "mask"
                                                      : "other";
}

static void entry_text(const struct acl_command *command, struct owners *owners,
                       const struct acl_entry *entry, char *out, size_t size)
{
    char who[64] = "";
    const char *name = NULL;
    if (entry->tag == ACL_USER)
        name = owner_user(owners, entry->id);
    else if (entry->tag == ACL_GROUP)
        name = owner_group(owners, entry->id);
    if (name && !command->numeric)
        snprintf(who, sizeof who, "%s", name);
    else if (entry->tag == ACL_USER || entry->tag == ACL_GROUP)
        snprintf(who, sizeof who, "%" PRIu32, entry->id);
    snprintf(out, size, "%s:%s:%c%c%c", tag_word(entry->tag), who, entry->perm & 4 ? 'r' : '-',
             entry->perm & 2 ? 'w' : '-', entry->perm & 1 ? 'x' : '-');
}

static void show_list(const struct acl_command *command, struct owners *owners, const struct acl *acl,
                      const char *prefix)
{
    char line[160];
    if (command->list)
        report_open_list(command->list, *prefix ? "default" : "access");
    for (size_t i = 0; i < acl->count; i++) {
        entry_text(command, owners, &acl->entries[i], line, sizeof line);
        if (command->list)
            report_text(command->list, NULL, line);
        else
            output_printf(command->out, "%s%s\n", prefix, line);
    }
    if (command->list)
        report_close(command->list);
}

static bool show(struct acl_command *command, const struct file_arg *arg, struct error *err)
{
    struct acl access = {0}, defaults = {0};
    struct owners *owners = owners_new(arg->volume, err);
    bool ok = owners && acl_read(arg->volume, arg->id, ACL_ACCESS, &access, err) &&
              (!S_ISDIR(arg->attr.mode) || acl_read(arg->volume, arg->id, ACL_DEFAULT, &defaults, err));
    if (ok && command->list) {
        report_open(command->list, NULL);
        report_text(command->list, "path", arg->typed);
        report_number(command->list, "uid", arg->attr.uid);
        report_number(command->list, "gid", arg->attr.gid);
    } else if (ok) {
        const char *user = command->numeric ? NULL : owner_user(owners, arg->attr.uid);
        const char *group = command->numeric ? NULL : owner_group(owners, arg->attr.gid);
        char uid[16], gid[16];
        snprintf(uid, sizeof uid, "%" PRIu32, arg->attr.uid);
        snprintf(gid, sizeof gid, "%" PRIu32, arg->attr.gid);
        output_printf(command->out, "# file: ");
        output_name(command->out, arg->typed);
        output_printf(command->out, "\n# owner: %s\n# group: %s\n", user ? user : uid, group ? group : gid);
    }
    if (ok) {
        show_list(command, owners, &access, "");
        if (defaults.count)
            show_list(command, owners, &defaults, "default:");
        if (command->list)
            report_close(command->list);
        else
            output_write(command->out, "\n", 1);
    }
    acl_free(&access);
    acl_free(&defaults);
    owners_free(owners);
    return ok;
}

/* ---- changing ------------------------------------------------------------------------------------------ */

struct entry_spec {
    struct acl_entry entry;
    bool is_default, has_perm;
};

static bool bad_entry(const char *text, struct error *err)
{
    return fail(err, E_INVALID,
                "'%s' is no entry; an entry is u:NAME:rwx, g:NAME:r, m::rx or o::-, with d: in "
                "front for the default",
                text);
}

static bool parse_tag(const char *word, bool named, uint16_t *tag)
{
    static const struct {
        const char *word;
        uint16_t own, named;
    } tags[] = {{"user", ACL_USER_OBJ, ACL_USER},
                {"group", ACL_GROUP_OBJ, ACL_GROUP},
                {"mask", ACL_MASK, 0},
                {"other", ACL_OTHER, 0}};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (*word && (strcmp(word, tags[i].word) == 0 || (word[0] == tags[i].word[0] && !word[1]))) {
            *tag = named ? tags[i].named : tags[i].own;
            return *tag != 0;
        }
    return false;
}

static bool parse_perm(const char *word, uint16_t *perm)
{
    *perm = 0;
    if (word[0] >= '0' && word[0] <= '7' && !word[1]) {
        *perm = (uint16_t)(word[0] - '0');
        return true;
    }
    for (; *word; word++) {
        const char *letter = strchr("xwr", *word);
        if (*word == '-')
            continue;
        if (!letter)
            return false;
        *perm |= (uint16_t)(1 << (letter - "xwr"));
    }
    return true;
}

static bool find_id(struct volume *volume, uint16_t tag, const char *who, uint32_t *id, struct error *err)
{
    struct owner_spec spec;
    if (tag == ACL_GROUP)
        return owner_parse_group(volume, who, id, err);
    if (!owner_parse(volume, who, &spec, err))
        return false;
    *id = spec.uid;
    return true;
}

/* "[d:]u:NAME:rwx"; for -x without permissions. Changes text. */
static bool parse_entry(struct volume *volume, char *text, struct entry_spec *out, struct error *err)
{
    char shown[100], *fields[4];
    int count = 0;
    snprintf(shown, sizeof shown, "%s", text);
    *out = (struct entry_spec){.entry.id = UINT32_MAX};
    for (char *p = text; p && count < 4; p = strchr(p, ':') ? strchr(p, ':') + 1 : NULL)
        fields[count++] = p;
    for (int i = 1; i < count; i++)
        fields[i][-1] = 0;
    char **field = fields;
    if (strcmp(field[0], "d") == 0 || strcmp(field[0], "default") == 0) {
        out->is_default = true;
        field++;
        count--;
    }
    if (count < 1 || count > 3)
        return bad_entry(shown, err);
    const char *who = count > 1 ? field[1] : "";
    const char *perm = count > 2 ? field[2] : NULL;
    /* m:rx and o:r are written without the empty name, too. */
    uint16_t bits;
    if (count == 2 && *who && (field[0][0] == 'm' || field[0][0] == 'o') && parse_perm(who, &bits)) {
        perm = who;
        who = "";
    }
    if (!parse_tag(field[0], *who, &out->entry.tag) || (perm && !parse_perm(perm, &out->entry.perm)))
        return bad_entry(shown, err);
    out->has_perm = perm != NULL;
    return !*who || find_id(volume, out->entry.tag, who, &out->entry.id, err);
}

struct both {
    struct acl access, defaults;
    bool access_mask, default_mask; /* an entry gave the mask */
    bool access_changed, default_changed;
};

/* A default list needs the three entries that every list has: they come from the mode. */
static bool complete_defaults(struct both *both, struct error *err)
{
    static const uint16_t needed[] = {ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_OTHER};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        const struct acl_entry *own = acl_find(&both->access, needed[i], 0);
        if (!acl_find(&both->defaults, needed[i], 0) && own && !acl_set(&both->defaults, *own, err))
            return false;
    }
    return true;
}

static bool apply_entry(struct both *both, const struct entry_spec *spec, bool removing, const char *text,
                        struct error *err)
{
    struct acl *acl = spec->is_default ? &both->defaults : &both->access;
    *(spec->is_default ? &both->default_changed : &both->access_changed) = true;
    if (removing) {
        if (spec->entry.tag & (ACL_USER_OBJ | ACL_GROUP_OBJ | ACL_OTHER))
            return fail(err, E_INVALID, "%s: this entry cannot be removed", text);
        acl_remove(acl, spec->entry.tag, spec->entry.id);
        return true;
    }
    if (!spec->has_perm)
        return fail(err, E_INVALID, "%s: permissions are missing", text);
    if (spec->entry.tag == ACL_MASK)
        *(spec->is_default ? &both->default_mask : &both->access_mask) = true;
    return acl_set(acl, spec->entry, err) && (!spec->is_default || complete_defaults(both, err));
}

/* Entries separated by commas. */
static bool apply_list(const struct acl_command *command, struct volume *volume, struct both *both,
                       const char *text, bool removing, struct error *err)
{
    bool ok = true;
    while (ok && *text) {
        size_t len = strcspn(text, ",");
        char *entry = mem_string_n(text, len, err);
        struct entry_spec spec;
        ok = entry && parse_entry(volume, entry, &spec, err);
        if (ok && call_has(command->call, "d"))
            spec.is_default = true;
        ok = ok && apply_entry(both, &spec, removing, entry, err);
        free(entry);
        text += len + (text[len] == ',');
    }
    return ok;
}

static bool apply_options(const struct acl_command *command, struct volume *volume, struct both *both,
                          struct error *err)
{
    const struct call *call = command->call;
    for (int i = 0; i < call->given_count; i++) {
        const struct given *given = &call->given[i];
        if (given->flag->letter == 'm' && !apply_list(command, volume, both, given->value, false, err))
            return false;
        if (given->flag->letter == 'x' && !apply_list(command, volume, both, given->value, true, err))
            return false;
        if (given->flag->letter == 'k') {
            both->defaults.count = 0;
            both->default_changed = true;
        }
        if (given->flag->letter == 'b') {
            for (size_t k = both->access.count; k-- > 0;)
                if (both->access.entries[k].tag & (ACL_USER | ACL_GROUP | ACL_MASK))
                    acl_remove(&both->access, both->access.entries[k].tag, both->access.entries[k].id);
            both->defaults.count = 0;
            both->access_changed = both->default_changed = true;
        }
        if (given->flag->name && strcmp(given->flag->name, "set") == 0) {
            both->access.count = 0;
            if (!apply_list(command, volume, both, given->value, false, err))
                return false;
        }
    }
    return true;
}

static bool change(struct acl_command *command, struct file_arg *arg, struct error *err)
{
    struct both both = {0};
    if (!file_writable(arg->volume, err))
        return false;
    bool ok = acl_read(arg->volume, arg->id, ACL_ACCESS, &both.access, err) &&
              acl_read(arg->volume, arg->id, ACL_DEFAULT, &both.defaults, err) &&
              apply_options(command, arg->volume, &both, err);
    if (ok && both.default_changed && both.defaults.count && !S_ISDIR(arg->attr.mode))
        ok = fail(err, E_INVALID, "only directories have a default list");
    bool keep = call_has(command->call, "n");
    if (ok && both.access_changed)
        ok = (both.access_mask || keep || acl_compute_mask(&both.access, err)) &&
             acl_write(arg->volume, arg->id, ACL_ACCESS, &both.access, err);
    if (ok && both.default_changed)
        ok = (both.default_mask || keep || acl_compute_mask(&both.defaults, err)) &&
             acl_write(arg->volume, arg->id, ACL_DEFAULT, &both.defaults, err);
    acl_free(&both.access);
    acl_free(&both.defaults);
    return ok;
}

static bool acl_one(struct file_arg *arg, void *opaque, struct error *err)
{
    struct acl_command *command = opaque;
    return command->changes ? change(command, arg, err) : show(command, arg, err);
}

static bool run_acl(struct session *session, struct call *call, struct output *out, struct error *err)
{
    struct acl_command command = {.call = call, .out = out, .numeric = call_has(call, "numeric")};
    command.changes = call_has(call, "m") || call_has(call, "x") || call_has(call, "b") ||
                      call_has(call, "k") || call_has(call, "set");
    if (output_json(out) && !command.changes)
        command.list = output_report_list(out);
    return each_file(session, call, 0, true, acl_one, &command, err);
}

static const struct arg acl_args[] = {
    {"FILE", ARG_PATH, ARG_MANY, "files of the image", NULL},
    {0},
};

static const struct flag acl_flags[] = {
    {'m', "modify", "ENTRIES", ARG_WORD, "set these entries, as u:1000:rw,g:adm:r,m::rx"},
    {'x', "remove", "ENTRIES", ARG_WORD, "remove these entries, as u:1000"},
    {'b', "remove-all", NULL, ARG_WORD, "remove all but owner, group and others"},
    {'k', "remove-default", NULL, ARG_WORD, "remove the default list"},
    {'d', "default", NULL, ARG_WORD, "entries are meant for the default list"},
    {0, "set", "ENTRIES", ARG_WORD, "these entries instead of all others"},
    {'n', "no-mask", NULL, ARG_WORD, "do not compute the mask anew"},
    {0, "numeric", NULL, ARG_WORD, "numbers for users and groups"},
    {0},
};

const struct command acl_command = {
    .name = "acl",
    .group = "Files",
    .summary = "show and set access control lists",
    .details = "The text is that of getfacl, the options are those of setfacl.",
    .examples = "acl /srv/share\nacl -m u:1000:rwx,g:adm:r /srv/share\nacl -d -m g:adm:rx /srv/share",
    .args = acl_args,
    .flags = acl_flags,
    .needs = NEEDS_IMAGE | CHANGES | ALSO_READS,
    .run = run_acl,
};
