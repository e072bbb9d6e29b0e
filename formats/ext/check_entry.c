/* Pass 2: the entries of a directory block. */
#include "check_dir.h"

#include "alloc.h"
#include "quota.h"

#include <stdlib.h>
#include <sys/stat.h>

static uint64_t entry_off(const struct ext_run_check *r, const uint8_t *entry)
{
    return r->off + (uint64_t)(entry - r->run.base);
}

/* A name as it may be shown in a message. */
static const char *shown(const uint8_t *entry, char *out, size_t size)
{
    size_t len = MIN_OF((size_t)ext_de_name_len(entry), size - 1);
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = entry[EXT_DIRENT_HEADER + i];
        out[i] = byte >= ' ' && byte != 0x7F ? (char)byte : '?';
    }
    out[len] = '\0';
    return out;
}

static void clear_entry(struct ext_run_check *r, uint8_t *entry)
{
    ext_de_set_inode(entry, 0);
    r->changed = true;
}

/* ---- the shape of the run ------------------------------------------------------------------------------ */

/* Why the entry at `at` cannot be walked over; NULL: it can. */
static const char *shape_fault(const struct ext_run_check *r, uint32_t at)
{
    const uint8_t *entry = r->run.base + at;
    uint32_t left = r->run.len - at;
    if (left < EXT_DIRENT_HEADER)
        return "ends in the middle of an entry";
    uint32_t len = ext_rec_len(r->d->c->ext, entry);
    if (len < EXT_DIRENT_HEADER || len % 4 != 0 || len > left)
        return "rec_len is wrong";
    if (len < ext_entry_size(ext_de_name_len(entry)))
        return "name_len is more than rec_len";
    if (len < EXT_DIRENT_MIN)
        return "rec_len is less than 12";
    return NULL;
}

/* What follows a bad entry is given up: one free entry takes the rest. */
static void cut_run(struct ext_run_check *r, uint32_t at, uint8_t *before)
{
    uint32_t left = r->run.len - at;
    if (left < EXT_DIRENT_MIN && before) {
        ext_set_rec_len(before, ext_rec_len(r->d->c->ext, before) + left);
    } else {
        uint8_t *entry = r->run.base + at;
        memset(entry, 0, left);
        if (left >= EXT_DIRENT_HEADER)
            ext_set_rec_len(entry, left);
    }
    r->changed = true;
}

/* ---- `.` and `..` -------------------------------------------------------------------------------------- */

/* What e2fsck asks of `.` and `..` besides: a NUL behind the name, and the type of a directory or none. */
static void check_dot_form(struct ext_run_check *r, uint8_t *entry, const char *name)
{
    struct ext_dir_check *d = r->d;
    uint8_t *end = entry + EXT_DIRENT_HEADER + strlen(name);
    unsigned type = ext_file_type(d->c->ext, S_IFDIR);
    if (*end != '\0' && ext_problem(d->c, "dot", entry_off(r, entry),
                                    "directory %u: no NUL follows the name `%s`", d->dir->ino, name)) {
        *end = '\0';
        r->changed = true;
    }
    if (ext_de_file_type(entry) != type &&
        ext_problem(d->c, "entry-type", entry_off(r, entry) + ext_de_off_file_type,
                    "directory %u: the file type of `%s` is %u, not %u", d->dir->ino, name,
                    (unsigned)ext_de_file_type(entry), type)) {
        ext_de_set_file_type(entry, type);
        r->changed = true;
    }
}

/* The entry becomes NAME for ino; what it held before is lost, but for room that is cut off behind. */
static void set_dot(struct ext_run_check *r, uint8_t *entry, const char *name, uint32_t ino)
{
    const struct ext_fs *ext = r->d->c->ext;
    uint32_t len = ext_rec_len(ext, entry);
    ext_de_set_inode(entry, ino);
    ext_de_set_name_len(entry, strlen(name));
    ext_de_set_file_type(entry, ext_file_type(ext, S_IFDIR));
    memset(entry + EXT_DIRENT_HEADER, 0, 4);
    memcpy(entry + EXT_DIRENT_HEADER, name, strlen(name));
    if (name[1] == '\0' && len >= 24) { /* `..` must follow */
        memset(entry + 12, 0, len - 12);
        ext_set_rec_len(entry, 12);
        ext_set_rec_len(entry + 12, len - 12);
    }
    r->changed = true;
}

static bool is_name(const uint8_t *entry, const char *name)
{
    size_t len = strlen(name);
    return ext_de_inode(entry) != 0 && ext_de_name_len(entry) == len &&
           memcmp(entry + EXT_DIRENT_HEADER, name, len) == 0;
}

static bool check_dot(struct ext_run_check *r, uint8_t *entry, struct error *err)
{
    struct ext_dir_check *d = r->d;
    uint32_t ino = d->dir->ino;
    if (!is_name(entry, ".") || ext_de_inode(entry) != ino) {
        if (!ext_problem(d->c, "dot", entry_off(r, entry),
                         "directory %u: its first entry is not `.` for itself", ino))
            return true;
        if (is_name(entry, ".")) {
            ext_de_set_inode(entry, ino);
            r->changed = true;
        } else {
            set_dot(r, entry, ".", ino);
        }
    }
    check_dot_form(r, entry, ".");
    return ext_check_add_link(d->c, ino, err);
}

/* `.` may have taken the room of `..` besides its own. */
static void split_dot(struct ext_run_check *r)
{
    const struct ext_fs *ext = r->d->c->ext;
    uint8_t *entry = r->run.base;
    uint32_t len = ext_rec_len(ext, entry);
    bool follows = len < r->run.len && !shape_fault(r, len);
    if (follows || len < 2 * EXT_DIRENT_MIN ||
        !ext_problem(r->d->c, "dotdot", entry_off(r, entry), "directory %u: no entry for `..` follows `.`",
                     r->d->dir->ino))
        return;
    memset(entry + EXT_DIRENT_MIN, 0, len - EXT_DIRENT_MIN);
    ext_set_rec_len(entry, EXT_DIRENT_MIN);
    ext_set_rec_len(entry + EXT_DIRENT_MIN, len - EXT_DIRENT_MIN);
    r->changed = true;
}

static bool check_first(struct ext_run_check *r, uint8_t *entry, struct error *err)
{
    bool ok = check_dot(r, entry, err);
    split_dot(r);
    return ok;
}

static bool check_dotdot(struct ext_run_check *r, uint8_t *entry, struct error *err)
{
    struct ext_dir_check *d = r->d;
    if (!is_name(entry, "..")) {
        if (!ext_problem(d->c, "dotdot", entry_off(r, entry), "directory %u: its second entry is not `..`",
                         d->dir->ino))
            return true;
        set_dot(r, entry, "..", EXT_ROOT_INO); /* pass 3 knows the parent */
    }
    check_dot_form(r, entry, "..");
    d->dir->dotdot = (uint32_t)ext_de_inode(entry);
    return ext_check_add_link(d->c, d->dir->dotdot, err);
}

/* ---- other entries ------------------------------------------------------------------------------------- */

/* An inode behind what its group's descriptor calls used, but which is in use: the descriptor is wrong. */
static bool lost_in_table(struct ext_checker *c, uint32_t ino, bool *lost, struct error *err)
{
    struct ext_fs *ext = c->ext;
    struct ext_group group;
    struct ext_inode inode;
    *lost = false;
    if (!ext->group_csum || ino > ext->inodes)
        return true;
    if (!ext_check_group(c, ext_group_of_inode(ext, ino), &group, err))
        return false;
    uint64_t unused = ext_group_itable_unused(ext, group.raw), index = (ino - 1) % ext->inodes_per_group;
    bool outside =
        (ext_desc_bg_flags(group.raw) & EXT_BG_INODE_UNINIT) || index + unused >= ext->inodes_per_group;
    bool ok = true;
    if (outside && (ok = ext_check_inode(c, ino, &inode, err))) {
        *lost = ext_inode_i_links_count(inode.raw) != 0 && ext_inode_csum_ok(ext, ino, inode.raw);
        ext_inode_put(ext, &inode);
    }
    if (ok && *lost &&
        ext_problem(c, "group-unused", ext_check_group_off(&group),
                    "group %u: inode %u is in use, but lies in the part of the table that was never used",
                    group.number, ino)) {
        ext_desc_set_bg_flags(group.raw, ext_desc_bg_flags(group.raw) & ~(uint64_t)EXT_BG_INODE_UNINIT);
        ext_group_set_itable_unused(ext, group.raw, 0);
        ext_group_dirty(ext, &group);
        c->again = true;
    }
    ext_group_put(ext, &group);
    return ok;
}

/* Why an entry cannot name this inode; NULL: it can. */
static const char *target_fault(const struct ext_run_check *r, uint32_t ino)
{
    const struct ext_checker *c = r->d->c;
    const struct ext_fs *ext = c->ext;
    struct ext_check_dir *dir;
    if (ino > ext->inodes || (ino != EXT_ROOT_INO && ino < ext->first_ino) ||
        ino == ext_quota_ino(ext->super, EXT_QUOTA_PROJECT) ||
        ino == ext_super_s_orphan_file_inum(ext->super))
        return "no inode for files";
    if (!ext_check_inode_used(c, ino))
        return "an inode that is not in use";
    if (!ext_check_inode_is_dir(c, ino))
        return NULL;
    if (ino == EXT_ROOT_INO)
        return "the root directory";
    if (ino == r->d->dir->ino)
        return "the directory itself";
    dir = ext_check_find_dir(c, ino);
    return dir && dir->parent ? "a directory that has another name" : NULL;
}

static bool check_target(struct ext_run_check *r, uint8_t *entry, bool *sound, struct error *err)
{
    struct ext_checker *c = r->d->c;
    uint32_t ino = (uint32_t)ext_de_inode(entry);
    char name[80];
    bool lost;
    *sound = false;
    const char *fault = target_fault(r, ino);
    if (fault) {
        if (!ext_check_inode_used(c, ino) && !lost_in_table(c, ino, &lost, err))
            return false;
        if (c->again && c->repair)
            return true;
        if (ext_problem(c, "entry-inode", entry_off(r, entry), "directory %u: '%s' names inode %u, %s",
                        r->d->dir->ino, shown(entry, name, sizeof name), ino, fault))
            clear_entry(r, entry);
        return true;
    }
    struct ext_check_dir *dir = ext_check_find_dir(c, ino);
    if (dir)
        dir->parent = r->d->dir->ino;
    *sound = true;
    return ext_check_add_link(c, ino, err);
}

static bool check_type(struct ext_run_check *r, uint8_t *entry, struct error *err)
{
    struct ext_checker *c = r->d->c;
    struct ext_inode inode;
    char name[80];
    unsigned type = 0;
    if (ext_has(c->ext, EXT_FILETYPE)) {
        if (!ext_check_inode(c, (uint32_t)ext_de_inode(entry), &inode, err))
            return false;
        type = ext_file_type(c->ext, (uint32_t)ext_inode_i_mode(inode.raw));
        ext_inode_put(c->ext, &inode);
    }
    if (type != 0 && ext_de_file_type(entry) == 0) { /* allowed, only slower to read */
        check_found(c->check, FINDING_NOTE, "entry-type", c->ext->dev,
                    entry_off(r, entry) + ext_de_off_file_type, c->repair,
                    "directory %u: '%s' has no file type", r->d->dir->ino, shown(entry, name, sizeof name));
        if (c->repair) {
            ext_de_set_file_type(entry, type);
            r->changed = true;
        }
        return true;
    }
    if (ext_de_file_type(entry) != type &&
        ext_problem(c, "entry-type", entry_off(r, entry) + ext_de_off_file_type,
                    "directory %u: the file type of '%s' is %u, not %u", r->d->dir->ino,
                    shown(entry, name, sizeof name), (unsigned)ext_de_file_type(entry), type)) {
        ext_de_set_file_type(entry, type);
        r->changed = true;
    }
    return true;
}

static void check_name(struct ext_run_check *r, uint8_t *entry)
{
    uint8_t *name = entry + EXT_DIRENT_HEADER;
    uint32_t len = (uint32_t)ext_de_name_len(entry);
    char text[80];
    if (len == 0) {
        if (ext_problem(r->d->c, "entry-name", entry_off(r, entry), "directory %u: an entry has no name",
                        r->d->dir->ino))
            clear_entry(r, entry);
        return;
    }
    if (is_name(entry, ".") || is_name(entry, "..")) {
        if (ext_problem(r->d->c, "entry-name", entry_off(r, entry), "directory %u: a second '%s'",
                        r->d->dir->ino, shown(entry, text, sizeof text)))
            clear_entry(r, entry);
        return;
    }
    bool bad = !r->d->hidden && (memchr(name, '/', len) || memchr(name, '\0', len));
    if (bad &&
        ext_problem(r->d->c, "entry-name", entry_off(r, entry), "directory %u: '%s' holds a slash or NUL",
                    r->d->dir->ino, shown(entry, text, sizeof text))) {
        for (uint32_t i = 0; i < len; i++)
            if (name[i] == '/' || name[i] == '\0')
                name[i] = '.';
        if (is_name(entry, ".") || is_name(entry, ".."))
            name[0] = '_';
        r->changed = true;
    }
}

/* ---- equal names --------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const uint8_t *x = *(uint8_t *const *)a, *y = *(uint8_t *const *)b;
    size_t n = MIN_OF(ext_de_name_len(x), ext_de_name_len(y));
    int order = memcmp(x + EXT_DIRENT_HEADER, y + EXT_DIRENT_HEADER, n);
    if (order == 0)
        order = (int)ext_de_name_len(x) - (int)ext_de_name_len(y);
    return order != 0 ? order : x < y ? -1 : x > y;
}

static bool equal_names(const uint8_t *x, const uint8_t *y)
{
    return ext_de_name_len(x) == ext_de_name_len(y) &&
           memcmp(x + EXT_DIRENT_HEADER, y + EXT_DIRENT_HEADER, ext_de_name_len(x)) == 0;
}

static bool check_equal(struct ext_run_check *r, uint8_t **entries, size_t count, struct error *err)
{
    char name[80];
    if (count > 1)
        qsort(entries, count, sizeof *entries, by_name);
    for (size_t i = 1; i < count && !r->d->c->stop; i++) {
        uint8_t *entry = entries[i];
        if (!equal_names(entries[i - 1], entry))
            continue;
        uint32_t ino = (uint32_t)ext_de_inode(entry);
        if (!ext_problem(r->d->c, "entry-equal", entry_off(r, entry), "directory %u: '%s' is there twice",
                         r->d->dir->ino, shown(entry, name, sizeof name)))
            continue;
        clear_entry(r, entry); /* what loses its only name goes to lost+found */
        ext_check_drop_link(r->d->c, ino);
        struct ext_check_dir *dir = ext_check_find_dir(r->d->c, ino);
        if (dir)
            dir->parent = 0;
        entries[i] = entries[i - 1];
        if (!interrupt_check(err))
            return false;
    }
    return true;
}

/* ---- the run ------------------------------------------------------------------------------------------- */

static bool check_entry(struct ext_run_check *r, uint8_t *entry, bool *sound, struct error *err)
{
    *sound = false;
    if (ext_de_inode(entry) == 0)
        return true;
    check_name(r, entry);
    if (ext_de_inode(entry) == 0)
        return true;
    return check_target(r, entry, sound, err) && (!*sound || check_type(r, entry, err));
}

bool ext_check_entries(struct ext_run_check *r, struct error *err)
{
    struct ext_checker *c = r->d->c;
    uint8_t *before = NULL;
    uint8_t **entries = mem_array(r->run.len / EXT_DIRENT_MIN + 1, sizeof *entries, err);
    size_t count = 0;
    bool ok = entries != NULL;
    unsigned index = 0;
    for (uint32_t at = 0; ok && at < r->run.len && !c->stop; index++) {
        uint8_t *entry = r->run.base + at;
        const char *fault = shape_fault(r, at);
        if (fault) {
            if (!ext_problem(c, "directory-block", r->off + at, "directory %u: %s", r->d->dir->ino, fault))
                break;
            cut_run(r, at, before);
            if (r->run.len - at < EXT_DIRENT_MIN)
                break;
        }
        bool sound = false;
        if (r->first && index == 0)
            ok = check_first(r, entry, err);
        else if (r->first && index == 1)
            ok = check_dotdot(r, entry, err);
        else
            ok = check_entry(r, entry, &sound, err);
        if (sound)
            entries[count++] = entry;
        before = entry;
        at += ext_rec_len(c->ext, entry);
    }
    ok = ok && check_equal(r, entries, count, err);
    free(entries);
    return ok;
}
