/* The volumes of an image: number 0 is the whole disk, the others are the table's partitions. */
#include "alloc.h"
#include "bytes.h"
#include "image.h"
#include "names.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void volume_close_fs(struct volume *volume)
{
    names_free(volume);
    if (!volume->fs)
        return;
    volume->fs->driver->close(volume->fs);
    volume->fs = NULL;
    volume->probed = false;
    volume->image->session->name_epoch++;
    /* What the filesystem knew of space freed since the last commit is gone with it. */
    volume->device->no_fresh = true;
}

static void volume_free(struct volume *volume)
{
    if (!volume)
        return;
    struct session *session = volume->image->session;
    if (session->volume == volume)
        session->volume = NULL;
    volume_close_fs(volume);
    device_close(volume->device);
    free(volume->cwd);
    free(volume);
}

void volumes_free(struct image *image)
{
    for (size_t i = 0; i < image->volume_count; i++)
        volume_free(image->volumes[i]);
    free(image->volumes);
    image->volumes = NULL;
    image->volume_count = 0;
}

/* True when the committed host file holds nothing at all where the volume lies. */
static bool nothing_stored(struct volume *volume)
{
    uint64_t off = 0;
    while (off < volume->device->size) {
        struct extent extent;
        struct error ignored = {0};
        if (!device_map_to_bottom(volume->device, off, &extent, &ignored))
            return false;
        bool stored = !(extent.flags & (EXTENT_HOLE | EXTENT_ZERO));
        bool here = extent.device == volume->image->file || extent.device == volume->image->file->below;
        if (stored && !(here && stage_is_hole(volume->image->file, extent.off, extent.len)))
            return false;
        off += extent.len;
    }
    return true;
}

static struct volume *volume_new(struct image *image, unsigned number, uint64_t off, uint64_t len,
                                 struct error *err)
{
    struct volume *volume = mem_new(sizeof *volume, err);
    if (!volume)
        return NULL;
    *volume = (struct volume){.image = image, .number = number, .start = off};
    volume->device = view_new(image->disk, off, len, err);
    if (!volume->device) {
        free(volume);
        return NULL;
    }
    if (image->table && number != 0)
        volume->device->block_size = image->table->sector_size;
    volume->device->no_fresh = image->restructured && !nothing_stored(volume);
    return volume;
}

/*
 * Take over a volume of the same number and place from the old list, or make a new one. The search begins at
 * `first`, where it is when the list did not change.
 */
static struct volume *take_or_make(struct image *image, struct volume **old, size_t old_count, size_t first,
                                   unsigned number, uint64_t off, uint64_t len, struct error *err)
{
    for (size_t i = 0; i < old_count; i++) {
        struct volume *volume = old[(first + i) % old_count];
        if (volume && volume->number == number && volume->start == off && volume->device->size == len) {
            old[(first + i) % old_count] = NULL;
            return volume;
        }
    }
    return volume_new(image, number, off, len, err);
}

/* The part of a partition that lies on the disk; an image cut short still shows what it has. */
static uint64_t length_on_disk(const struct image *image, const struct part *part)
{
    if (part->off >= image->disk->size)
        return 0;
    return MIN_OF(part->len, image->disk->size - part->off);
}

bool volumes_build(struct image *image, struct error *err)
{
    size_t parts = image->table ? image->table->count : 0, old_count = image->volume_count, count = 0;
    struct volume **old = image->volumes, **list = mem_array(parts + 1, sizeof(struct volume *), err);
    if (!list)
        return false;
    bool ok = true;
    list[count] = take_or_make(image, old, old_count, 0, 0, 0, image->disk->size, err);
    ok = list[count] != NULL;
    count += ok;
    for (size_t i = 0; ok && i < parts; i++) {
        const struct part *part = &image->table->parts[i];
        if (part->flags & PART_EXTENDED || part->off >= image->disk->size)
            continue;
        struct volume *volume = take_or_make(image, old, old_count, count, part->number, part->off,
                                             length_on_disk(image, part), err);
        ok = volume != NULL;
        if (ok) {
            volume->part = part;
            list[count++] = volume;
        }
    }
    for (size_t i = 0; i < old_count; i++)
        volume_free(old[i]);
    free(old);
    image->volumes = list;
    image->volume_count = count;
    return ok;
}

bool image_volume(struct image *image, unsigned number, struct volume **out, struct error *err)
{
    char known[200] = "";
    for (size_t i = 0; i < image->volume_count; i++) {
        if (image->volumes[i]->number == number) {
            *out = image->volumes[i];
            return true;
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%u", i ? ", " : "", image->volumes[i]->number);
    }
    return fail(err, E_NOENT, "no partition %u in %s (there are: %s)", number, image->name, known);
}

/* The EFI system partition holds boot loaders: it is nobody's lone filesystem beside another one. */
static bool is_system_partition(const struct volume *volume)
{
    const char *type = volume->part ? volume->part->type : "";
    return strcmp(type, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b") == 0 || strcmp(type, "0xef") == 0;
}

static bool no_filesystem(const struct volume *volume, struct error *err)
{
    char name[40] = "";
    if (volume->number != 0)
        snprintf(name, sizeof name, "volume %u", volume->number);
    const char *subject = volume->number ? name : volume->image->name;
    if (volume->foreign)
        return fail(err, E_UNSUPPORTED, "%s holds %s, which dish cannot open", subject,
                    volume->foreign->title);
    return fail(err, E_NOENT, "%s holds no filesystem that dish knows", subject);
}

/* Remains of a filesystem count when nothing better is there. */
static bool all_remains(const struct image *image)
{
    for (size_t i = 0; i < image->volume_count; i++) {
        struct volume *volume = image->volumes[i];
        const struct fs_driver *driver;
        struct error ignored;
        if ((volume->number != 0 || !image->table) && volume_probe(volume, &driver, &ignored) && driver &&
            !volume->remains)
            return false;
    }
    return true;
}

bool image_lone_volume(struct image *image, struct volume **out, struct error *err)
{
    char found[300] = "";
    size_t count = 0, plain = 0;
    struct volume *plain_one = NULL;
    bool remains = all_remains(image);
    for (size_t i = 0; i < image->volume_count; i++) {
        struct volume *volume = image->volumes[i];
        const struct fs_driver *driver;
        if (volume->number == 0 && image->table)
            continue;
        if (!volume_probe(volume, &driver, err))
            return false;
        if (!driver || (volume->remains && !remains))
            continue;
        size_t used = strlen(found);
        snprintf(found + used, sizeof found - used, "%s%u: (%s)", count ? ", " : "", volume->number,
                 driver->head.name);
        *out = volume;
        count++;
        if (!is_system_partition(volume)) {
            plain_one = volume;
            plain++;
        }
    }
    if (plain == 1)
        *out = plain_one;
    if (count == 1 || plain == 1)
        return true;
    if (count == 0 && image->volume_count == 1)
        return no_filesystem(image->volumes[0], err);
    if (count == 0)
        return fail(err, E_NOENT, "%s holds no filesystem that dish knows", image->name);
    return fail(err, E_INVALID,
                "%s holds several filesystems: %s; say which (2:/path) or choose one with use", image->name,
                found);
}

bool volume_probe(struct volume *volume, const struct fs_driver **out, struct error *err)
{
    if (!volume->probed) {
        unsigned best = 0;
        volume->fs_driver = NULL;
        volume->foreign = NULL;
        for (const struct fs_driver *const *driver = volume->image->session->drivers.filesystems; *driver;
             driver++) {
            unsigned score = (*driver)->head.probe(volume->device);
            if (score == best && score > 0)
                return fail(err, E_DAMAGED, "volume %u looks like %s as much as like %s", volume->number,
                            volume->fs_driver->head.name, (*driver)->head.name);
            if (score > best) {
                best = score;
                volume->fs_driver = *driver;
            }
        }
        if (best <= PROBE_REMAINS)
            volume->foreign = signature_find(volume->image->session->drivers.signatures, volume->device);
        if (volume->foreign) /* remains of something older do not count */
            volume->fs_driver = NULL;
        volume->remains = volume->fs_driver && best == PROBE_REMAINS;
        volume->probed = true;
    }
    *out = volume->fs_driver;
    return true;
}

const struct signature *volume_foreign(struct volume *volume)
{
    const struct fs_driver *driver;
    struct error ignored = {0};
    return volume_probe(volume, &driver, &ignored) ? volume->foreign : NULL;
}

bool volume_find_journal(struct volume *volume, struct error *err)
{
    struct fs *fs = volume->fs;
    bool taken = false;
    if (!fs->wants_journal || !fs->driver->offer_journal)
        return true;
    for (struct image *image = volume->image->session->images; image && !taken; image = image->next)
        for (size_t i = 0; i < image->volume_count && !taken; i++)
            if (image->volumes[i] != volume &&
                !fs->driver->offer_journal(fs, image->volumes[i]->device, &taken, err))
                return false;
    return true;
}

bool volume_fs(struct volume *volume, struct fs **out, struct error *err)
{
    const struct fs_driver *driver;
    if (volume->fs) {
        *out = volume->fs;
        return true;
    }
    if (!volume_probe(volume, &driver, err))
        return false;
    if (!driver)
        return no_filesystem(volume, err);
    if (!driver->open(volume->device, volume->device->read_only, &volume->fs, err)) {
        volume->fs = NULL;
        return false;
    }
    if (!volume_find_journal(volume, err)) {
        volume_close_fs(volume);
        return false;
    }
    if (volume->fs->note[0])
        session_warn(volume->image->session, "volume %u: %s", volume->number, volume->fs->note);
    *out = volume->fs;
    return true;
}

bool volume_fs_copy(struct volume *volume, uint64_t block, struct fs **out, struct error *err)
{
    const struct fs_driver *driver;
    struct error probing = {0};
    if (!volume_release(volume, err))
        return false;
    if (!volume_probe(volume, &driver, &probing) || !driver)
        driver = NULL;
    for (const struct fs_driver *const *next = volume->image->session->drivers.filesystems; !driver && *next;
         next++)
        if ((*next)->open_copy)
            driver = *next;
    if (!driver || !driver->open_copy)
        return fail(err, E_UNSUPPORTED, "%s keeps no copies of its header by block",
                    driver ? driver->head.name : "the volume");
    if (!driver->open_copy(volume->device, volume->device->read_only, block, &volume->fs, err)) {
        volume->fs = NULL;
        return false;
    }
    volume->fs_driver = driver;
    volume->probed = true;
    *out = volume->fs;
    return true;
}

bool volume_release(struct volume *volume, struct error *err)
{
    volume->image->reread = true;
    if (volume->fs && volume->fs->driver->flush && !volume->fs->driver->flush(volume->fs, err))
        return false;
    volume_close_fs(volume);
    volume->probed = false;
    return true;
}

void volume_restructured(struct volume *volume)
{
    if (!volume->image->is_new && !nothing_stored(volume))
        volume->device->no_fresh = true;
    volume->probed = false;
}
