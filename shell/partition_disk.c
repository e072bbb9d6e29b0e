/* What is about the table as a whole: making, replacing, checking and removing it. */
#include "bytes.h"
#include "findings.h"
#include "partition.h"
#include "table_script.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_SCRIPT = 16 * 1024 * 1024, SIGNATURE_AREA = 1024 * 1024 };

const struct table_driver *partition_kind(struct partition *partition, const char *name, struct error *err)
{
    const struct table_driver *driver = session_table(partition->session, name);
    if (driver)
        return driver;
    struct text kinds = {0};
    for (const struct table_driver *const *each = partition->session->drivers.tables; *each; each++)
        text_printf(&kinds, "%s%s", kinds.len ? ", " : "", (*each)->head.name);
    fail(err, E_INVALID, "'%s' is not a kind of partition table (%s)", name, text_get(&kinds));
    text_free(&kinds);
    return NULL;
}

const struct table_driver *partition_driver(struct partition *partition, const char *name, struct error *err)
{
    if (strcmp(name, "dos") == 0 || strcmp(name, "msdos") == 0)
        name = "mbr";
    const struct table_driver *driver = partition_kind(partition, name, err);
    if (driver && !driver->init)
        fail(err, E_UNSUPPORTED, "tables of the kind '%s' can only be read", driver->head.title);
    return driver && driver->init ? driver : NULL;
}

/* Whatever is open on the disk is written and closed;
 * a filesystem over the whole disk loses its signatures. */
static bool clear_disk(struct partition *partition, struct error *err)
{
    struct image *image = partition->image;
    const struct fs_driver *whole = NULL;
    struct error ignored = {0};
    for (size_t i = 0; i < image->volume_count; i++)
        if (!volume_release(image->volumes[i], err))
            return false;
    if (image->table || !volume_probe(image->volumes[0], &whole, &ignored) || !whole)
        return true;
    return device_zero(image->disk, 0, MIN_OF(image->disk->size, SIGNATURE_AREA), WRITE_UPDATE, err);
}

bool partition_make(struct partition *partition, const struct table_driver *driver, const char *text,
                    struct error *err)
{
    struct options options = {0};
    bool ok = (!text || options_parse(&options, driver->head.make_options, text, err)) &&
              clear_disk(partition, err) &&
              driver->init(partition->image->disk, &options, &partition->table, err);
    options_free(&options);
    return ok;
}

bool partition_init(struct partition *partition, struct error *err)
{
    const struct table_driver *driver = partition_driver(partition, partition->args[0], err);
    return driver && partition_writable(partition, err) &&
           partition_make(partition, driver, call_value(partition->call, "options"), err) &&
           partition_rescan(partition, err);
}

/* ---- scripts ------------------------------------------------------------------------------------------- */

static void print_text(void *arg, const char *text)
{
    output_write(arg, text, strlen(text));
}

static bool print_script(struct partition *partition, struct error *err)
{
    if (!partition_open(partition, err))
        return false;
    if (output_json(partition->out))
        return fail(err, E_USAGE, "a script is text: use `partition list` for JSON");
    if (partition->table->read_only)
        return fail(err, E_UNSUPPORTED, "sfdisk scripts know gpt and mbr tables, not %s",
                    partition->table->driver->head.title);
    script_print(partition->table, partition->image->path, print_text, partition->out);
    return true;
}

/* The table that a script begins with: of the kind it says, else of the kind there is, else an MBR. */
static bool table_for_script(struct partition *partition, const struct script *script, struct error *err)
{
    const struct table *now = partition->image->table;
    const char *label = script->label[0] ? script->label : now ? now->driver->head.name : "mbr";
    const struct table_driver *driver = partition_driver(partition, label, err);
    char text[160] = "";
    size_t used = 0;
    if (!driver)
        return false;
    if (script->label_id[0])
        used += (size_t)snprintf(text, sizeof text, "%s=%s", driver->primaries ? "signature" : "uuid",
                                 script->label_id);
    if (script->sector_size)
        used += (size_t)snprintf(text + used, sizeof text - used, "%ssector-size=%u", used ? "," : "",
                                 script->sector_size);
    if (script->table_length && !driver->primaries)
        snprintf(text + used, sizeof text - used, "%sentries=%" PRIu64, used ? "," : "",
                 script->table_length);
    return partition_make(partition, driver, text[0] ? text : NULL, err);
}

bool partition_script(struct partition *partition, struct error *err)
{
    struct script script = {0};
    uint8_t *text;
    size_t n;
    if (partition->argc == 0 && !call_has_input(partition->call))
        return print_script(partition, err);
    if (!partition_writable(partition, err) ||
        !partition_read_file(partition, partition->argc ? partition->args[0] : "-", MAX_SCRIPT, &text, &n,
                             err))
        return false;
    bool ok = script_parse(&script, (const char *)text, n, err);
    if (ok && call_has(partition->call, "append"))
        ok = partition_edit(partition, err);
    else
        ok = ok && table_for_script(partition, &script, err);
    ok = ok && script_apply(&script, partition->table, err) && partition_store(partition, err);
    script_free(&script);
    free(text);
    return ok;
}

/* ---- boot code ----------------------------------------------------------------------------------------- */

static bool write_host(const char *path, const void *bytes, size_t n, struct error *err)
{
    FILE *file = fopen(path, "wbe");
    if (!file)
        return fail_errno(err, errno, "%s", path);
    bool ok = fwrite(bytes, 1, n, file) == n;
    ok = fclose(file) == 0 && ok;
    return ok || fail_errno(err, errno, "%s", path);
}

static bool get_boot_code(struct partition *partition, struct error *err)
{
    uint8_t code[4096];
    size_t n = sizeof code, room;
    const char *path = partition->args[1];
    if (!partition_open(partition, err))
        return false;
    const struct table_driver *driver = partition->table->driver;
    if (!driver->boot_code)
        return fail(err, E_UNSUPPORTED, "%s tables have no boot code", driver->head.name);
    if (!driver->boot_code(partition->table, NULL, &n, false, err))
        return false;
    room = MIN_OF(n, sizeof code);
    n = room;
    if (!driver->boot_code(partition->table, code, &n, false, err))
        return false;
    if (strcmp(path, "-") != 0)
        return write_host(path, code, room, err);
    output_write(partition->out, code, room);
    return true;
}

static bool put_boot_code(struct partition *partition, struct error *err)
{
    uint8_t *code;
    size_t n;
    if (!partition_edit(partition, err) ||
        !partition_read_file(partition, partition->args[1], 1024 * 1024, &code, &n, err))
        return false;
    /* The image of a whole first sector is cut to its code; its table stays out. */
    if (n == 512 && code[510] == 0x55 && code[511] == 0xaa)
        n = 440;
    const struct table_driver *driver = partition->table->driver;
    bool ok = driver->boot_code ? driver->boot_code(partition->table, code, &n, true, err)
                                : fail(err, E_UNSUPPORTED, "%s tables have no boot code", driver->head.name);
    free(code);
    return ok && partition_rescan(partition, err);
}

bool partition_boot_code(struct partition *partition, struct error *err)
{
    if (strcmp(partition->args[0], "get") == 0)
        return get_boot_code(partition, err);
    if (strcmp(partition->args[0], "put") == 0)
        return put_boot_code(partition, err);
    return fail(err, E_USAGE, "boot code can be put or got, not '%s'", partition->args[0]);
}

/* ---- damage -------------------------------------------------------------------------------------------- */

static bool check_table(struct partition *partition, enum repair repair, struct error *err)
{
    struct findings findings;
    struct error one = {0};
    if (!partition_open(partition, &one) && one.kind != E_DAMAGED) {
        *err = one;
        return false;
    }
    findings_begin(&findings, partition->out, repair);
    findings.layer = partition->table ? partition->table->driver->head.name : "table";
    if (partition->table && partition->table->driver->verify)
        findings.broken = !partition->table->driver->verify(partition->table, &findings.check, &one);
    if (one.kind == E_INTERRUPTED) {
        *err = one;
        return false;
    }
    if (one.kind != E_OK)
        check_found(&findings.check, one.kind == E_DAMAGED ? FINDING_DAMAGE : FINDING_ERROR,
                    error_kind_name(one.kind), one.device, one.offset, false, "%s", one.message);
    if (findings.check.damage_fixed && !partition_rescan(partition, err))
        return false;
    bool sound = findings_end(&findings, "partition table", err);
    partition->call->keep = !sound && findings_keep(&findings, err);
    return sound;
}

bool partition_verify(struct partition *partition, struct error *err)
{
    if (call_has(partition->call, "repair"))
        return partition_repair(partition, err);
    return check_table(partition, REPAIR_NONE, err);
}

bool partition_repair(struct partition *partition, struct error *err)
{
    return partition_writable(partition, err) && check_table(partition, REPAIR_ALL, err);
}

bool partition_wipe(struct partition *partition, struct error *err)
{
    if (!partition_edit(partition, err))
        return false;
    for (size_t i = 0; i < partition->image->volume_count; i++)
        if (!volume_release(partition->image->volumes[i], err))
            return false;
    return partition->table->driver->wipe(partition->table, err) && partition_rescan(partition, err);
}
