#include "partition.h"

#include "alloc.h"
#include "place_arg.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One row a verb: how it is used, how many arguments it takes, which options mean something to it. */
struct verb {
    const char *name, *usage;
    int least, most;
    const char *options; /* long names separated by blanks */
    partition_fn *run;
};

static const struct verb verbs[] = {
    {"list", "", 0, 0, "", partition_list},
    {"init", "gpt|mbr [-o KEY=VALUE,...]", 1, 1, "options", partition_init},
    {"add", "SIZE|rest [TYPE [NAME]]", 1, 3, "start align number uuid flags logical", partition_add},
    {"delete", "N...", 1, 1000000, "", partition_delete},
    {"resize", "N SIZE|rest|+SIZE|-SIZE", 2, 2, "force", partition_resize},
    {"move", "N START|+SIZE|-SIZE", 2, 2, "", partition_move},
    {"type", "N [TYPE]", 1, 2, "", partition_type},
    {"name", "N [NAME]", 1, 2, "", partition_name},
    {"uuid", "N|0 [GUID|random]", 1, 2, "", partition_uuid},
    {"flag", "N [FLAG [on|off]]", 1, 3, "", partition_flag},
    {"free", "", 0, 0, "", partition_free},
    {"sort", "", 0, 0, "", partition_sort},
    {"script", "[FILE|-]", 0, 1, "append", partition_script},
    {"boot-code", "put|get FILE|-", 2, 2, "", partition_boot_code},
    {"verify", "[--repair]", 0, 0, "repair", partition_verify},
    {"repair", "", 0, 0, "", partition_repair},
    {"wipe", "", 0, 0, "", partition_wipe},
    {"convert", "gpt|mbr", 1, 1, "", partition_convert},
    {"types", "[gpt|mbr]", 0, 1, "", partition_types},
};

static const struct arg args[] = {
    {"VERB", ARG_WORD, ARG_OPTIONAL, "what to do; list when left out",
     "list|init|add|delete|resize|move|type|name|uuid|flag|free|sort|script|boot-code|verify|repair|wipe|"
     "convert|types"},
    {"ARGUMENT", ARG_PART_TYPE, ARG_ANY, "see below", NULL},
    {0},
};

static const struct flag flags[] = {
    {'i', "image", "IMAGE", ARG_IMAGE, "the image to work on; the current one when left out"},
    {'s', "start", "START", ARG_SIZE, "add: where to begin, in bytes or sectors (2048s)"},
    {'a', "align", "SIZE", ARG_SIZE, "add: begin at a multiple of this (1M)"},
    {'n', "number", "N", ARG_NUMBER, "add: the partition's number (the lowest that is free)"},
    {'u', "uuid", "GUID", ARG_WORD, "add: the partition's GUID (random)"},
    {0, "flags", "FLAG,...", ARG_WORD, "add: flags to set"},
    {'l', "logical", NULL, ARG_WORD, "add: inside the extended partition of an MBR"},
    {'o', "options", "KEY=VALUE,...", ARG_WORD, "init: options of the table"},
    {0, "append", NULL, ARG_WORD, "script: add to the table that is there"},
    {'r', "repair", NULL, ARG_WORD, "verify: the same as `partition repair`"},
    {'f', "force", NULL, ARG_WORD, "resize: even when the filesystem in it is larger"},
    {0},
};

/* ---- what the verbs share ------------------------------------------------------------------------------ */

bool partition_writable(const struct partition *partition, struct error *err)
{
    if (partition->session->options.read_only || partition->session->options.force_share)
        return fail(err, E_READONLY, "the session is read-only");
    return true;
}

static bool choose_image(struct partition *partition, struct error *err)
{
    if (partition->image)
        return true;
    return arg_image(partition->session, call_value(partition->call, "image"), &partition->image, err);
}

bool partition_open(struct partition *partition, struct error *err)
{
    return choose_image(partition, err) && image_load_table(partition->image, &partition->table, err);
}

bool partition_edit(struct partition *partition, struct error *err)
{
    if (!partition_writable(partition, err) || !partition_open(partition, err))
        return false;
    if (partition->table->read_only)
        return fail(err, E_UNSUPPORTED, "a table of the kind '%s' can only be read",
                    partition->table->driver->head.title);
    return true;
}

bool partition_rescan(struct partition *partition, struct error *err)
{
    partition->image->restructured = !partition->image->is_new;
    return image_rescan(partition->image, err);
}

bool partition_store(struct partition *partition, struct error *err)
{
    return table_store(partition->table, err) && partition_rescan(partition, err);
}

bool partition_number(struct partition *partition, const char *text, unsigned *number, struct error *err)
{
    const char *colon = strrchr(text, ':');
    size_t n = strlen(text);
    char *end;
    if (colon && colon[1] == '\0' && n < 200) { /* "2:" and "old:2:" as everywhere else */
        char shorter[200];
        snprintf(shorter, sizeof shorter, "%.*s", (int)(n - 1), text);
        return partition_number(partition, shorter, number, err);
    }
    if (colon) {
        char *name = mem_string_n(text, (size_t)(colon - text), err);
        bool ok = name && arg_image(partition->session, name, &partition->image, err);
        free(name);
        if (!ok)
            return false;
        text = colon + 1;
    }
    unsigned long value = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || value > 1000000)
        return fail(err, E_USAGE, "'%s' is not the number of a partition", text);
    *number = (unsigned)value;
    return true;
}

bool partition_size(const struct partition *partition, const char *text, uint64_t base, uint64_t *out,
                    struct error *err)
{
    size_t n = strlen(text);
    char bytes[40];
    bool sign = n > 0 && (text[0] == '+' || text[0] == '-');
    if (n < 2 || text[n - 1] != 's' || strspn(text + sign, "0123456789") != n - 1 - sign)
        return call_size(text, base, out, err);
    /* Sectors of this disk. */
    uint64_t value = strtoull(text + sign, NULL, 10);
    if (n > 16)
        return fail(err, E_TOOBIG, "%s is too large", text);
    snprintf(bytes, sizeof bytes, "%.*s%llu", sign ? 1 : 0, text,
             (unsigned long long)(value * partition->table->sector_size));
    return call_size(bytes, base, out, err);
}

bool partition_release(struct partition *partition, unsigned number, struct error *err)
{
    for (size_t i = 0; i < partition->image->volume_count; i++)
        if (partition->image->volumes[i]->number == number)
            return volume_release(partition->image->volumes[i], err);
    return true;
}

static bool read_stream(struct partition *partition, FILE *file, uint8_t *out, size_t n, size_t *got,
                        struct error *err)
{
    if (!file)
        return call_read(partition->call, out, n, got, err);
    *got = fread(out, 1, n, file);
    return !ferror(file) || fail_errno(err, errno, "reading");
}

bool partition_read_file(struct partition *partition, const char *path, size_t most, uint8_t **bytes,
                         size_t *n, struct error *err)
{
    bool input = !path || strcmp(path, "-") == 0;
    FILE *file = input ? NULL : fopen(path, "rbe");
    size_t capacity = 0, got = 1;
    bool ok = true;
    *bytes = NULL;
    *n = 0;
    if (!input && !file)
        return fail_errno(err, errno, "%s", path);
    while (ok && got > 0) {
        ok = mem_grow(bytes, &capacity, *n + 4096 + 1, 1, err) &&
             read_stream(partition, file, *bytes + *n, 4096, &got, err);
        *n += ok ? got : 0;
        if (ok && *n > most)
            ok = fail(err, E_TOOBIG, "%s is longer than %zu bytes", input ? "the input" : path, most);
    }
    if (file)
        fclose(file);
    if (!ok) {
        free(*bytes);
        *bytes = NULL;
    }
    return ok;
}

/* ---- dispatch ------------------------------------------------------------------------------------------ */

static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
            return true;
    return false;
}

static bool check_use(const struct verb *verb, const struct call *call, int argc, struct error *err)
{
    if (argc < verb->least || argc > verb->most)
        return fail(err, E_USAGE, "usage: partition %s%s%s", verb->name, verb->usage[0] ? " " : "",
                    verb->usage);
    for (int i = 0; i < call->given_count; i++) {
        const char *name = call->given[i].flag->name;
        if (strcmp(name, "image") != 0 && !has_word(verb->options, name))
            return fail(err, E_USAGE, "partition %s takes no option --%s", verb->name, name);
    }
    return true;
}

static const struct verb *find_verb(const char *name, struct error *err)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    if (strcmp(name, "rm") == 0 || strcmp(name, "del") == 0)
        return find_verb("delete", err);
    fail(err, E_USAGE,
         "partition has no '%s': it knows list, init, add, delete, resize, move, type, name, uuid, flag, "
         "free, "
         "sort, script, boot-code, verify, repair, wipe, convert and types",
         name);
    return NULL;
}

static bool run(struct session *session, struct call *call, struct output *out, struct error *err)
{
    int first = call->argc > 0;
    const struct verb *verb = find_verb(first ? call->args[0] : "list", err);
    /* guestfish names a device in its part-add and part-init; an image has only one disk. */
    if (call->argc > 1 && strncmp(call->args[1], "/dev/", 5) == 0)
        first++;
    if (!verb || !check_use(verb, call, call->argc - first, err))
        return false;
    struct partition partition = {
        .session = session, .call = call, .out = out, .args = call->args + first, .argc = call->argc - first};
    bool ok = choose_image(&partition, err);
    /* A number with an image in front ("old:2") chooses that one instead. */
    ok = ok && verb->run(&partition, err);
    table_free(partition.table);
    /* Damage is a verdict (exit status 4) of those that were asked for one;
     * for the others it is a failure. */
    bool judges = verb->run == partition_verify || verb->run == partition_repair;
    if (!ok && err->kind == E_DAMAGED && !judges)
        err->kind = E_FAILED;
    return ok;
}

const struct command partition_command = {
    .name = "partition",
    .group = "Partitions",
    .summary = "show and change the partition table",
    .details =
        "list                          the partitions; the same without a verb\n"
        "free                          the gaps between them\n"
        "init gpt|mbr [-o KEY=VALUE]   make a new table (gpt: entries, entry-size, uuid; mbr: signature; "
        "both: "
        "sector-size)\n"
        "add SIZE|rest [TYPE [NAME]]   add a partition in the first gap that has room, at a multiple of 1 "
        "MiB\n"
        "delete N...                   take partitions out of the table\n"
        "resize N SIZE|rest|+SIZE      move the end of a partition; `resizefs` then fits the filesystem\n"
        "move N START                  move a partition with everything in it\n"
        "type N [TYPE], name N [NAME], uuid N [GUID|random], flag N [FLAG [on|off]]\n"
        "                              show or set what the entry says; uuid 0 is the disk's\n"
        "sort                          number the partitions by their place\n"
        "script [FILE|-]               print the table as `sfdisk -d` does, or make it anew from such a "
        "script\n"
        "boot-code put|get FILE        the code in the first sector\n"
        "verify, repair                look for damage; write the damaged copy anew from the good one\n"
        "convert gpt|mbr               another kind of table around the same partitions\n"
        "wipe                          take the table off the disk\n"
        "types [gpt|mbr]               the names of types\n"
        "\n"
        "TYPE is a name (linux, esp, swap, home, root-x86-64 ...), a GUID or an MBR code in hex. Numbers "
        "stay what "
        "they are when other partitions come and go; only the logical ones of an MBR move up.",
    .examples = "partition init gpt\n"
                "partition add 256M esp EFI\n"
                "partition add rest linux root\n"
                "partition flag 1 active on\n"
                "partition resize 2 rest\n"
                "partition script > layout.sfdisk",
    .args = args,
    .flags = flags,
    .needs = NEEDS_IMAGE | CHANGES | ALSO_READS | READS_INPUT | FINDS_DAMAGE,
    .aliases = "part",
    .verbs = partition_verb_args,
    .run = run,
};
