/*
 * Operations on the one filesystem of a raw image file through its driver, for the tests:
 *
 *     fsop [-r] [-k] IMAGE < OPERATIONS
 *
 * One operation a line; words are separated by blanks, %xx stands for any byte. Every operation answers one
 * line, "ok ..." or "err KIND MESSAGE"; one that fails is taken back. -k forgets all caches after each. The
 * end of the input commits. `batch` begins and ends a row of operations that are one change.
 */
#include "alloc.h"
#include "bytes.h"
#include "driver.h"
#include "stage.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <zlib.h>

#define CONTAINER(symbol)
#define TABLE(symbol)
#define FILESYSTEM(symbol) extern const struct fs_driver symbol;
#include "formats.def"
#undef FILESYSTEM
#define FILESYSTEM(symbol) &symbol,
static const struct fs_driver *const drivers[] = {
#include "formats.def"
};

enum { MAX_WORDS = 16, CHUNK = 1 << 20, PATTERN = 251, PATH_BYTES = 8192 };

struct tool {
    struct device *dev;
    struct fs *fs;
    const struct fs_driver *driver;
    char *words[MAX_WORDS];
    int count;
    uint8_t *buffer;
    bool batch;    /* all operations until the next `batch` are one change */
    bool flushing; /* the operation itself is done: what fails now is its flush */
};

/* ---- words ---- */

static void decode(char *word)
{
    char *out = word;
    for (; *word; word++) {
        unsigned value;
        if (*word == '%' && sscanf(word + 1, "%2x", &value) == 1) {
            *out++ = (char)value;
            word += 2;
        } else {
            *out++ = *word;
        }
    }
    *out = '\0';
}

static void split_words(struct tool *tool, char *line)
{
    tool->count = 0;
    for (char *word = strtok(line, " \n"); word && tool->count < MAX_WORDS; word = strtok(NULL, " \n"))
        tool->words[tool->count++] = word;
    for (int i = 0; i < tool->count; i++)
        decode(tool->words[i]);
}

static uint64_t number(const struct tool *tool, int at)
{
    return at < tool->count ? strtoull(tool->words[at], NULL, 0) : 0;
}

static void print_encoded(const char *text)
{
    for (; *text; text++)
        if (isalnum((unsigned char)*text) || strchr("/._-+=,@:", *text))
            putchar(*text);
        else
            printf("%%%02x", (unsigned char)*text);
}

/* ---- paths ---- */

/* The directory of a path and its last name. */
static bool walk(struct tool *tool, const char *path, fs_id *dir, char *name, struct error *err)
{
    char rest[PATH_BYTES];
    fs_id at = tool->fs->root;
    snprintf(rest, sizeof rest, "%s", path);
    name[0] = '\0';
    *dir = at;
    for (char *word = strtok(rest, "/"); word; word = strtok(NULL, "/")) {
        if (name[0] && !tool->driver->lookup(tool->fs, *dir, name, &at, err))
            return false;
        *dir = at;
        snprintf(name, 1024, "%s", word);
    }
    return true;
}

static bool find(struct tool *tool, const char *path, fs_id *id, struct error *err)
{
    char name[1024];
    fs_id dir;
    if (!walk(tool, path, &dir, name, err))
        return false;
    *id = dir;
    return !name[0] || tool->driver->lookup(tool->fs, dir, name, id, err);
}

/* ---- changes ---- */

static bool create(struct tool *tool, const char *path, const struct fs_attr *attr, const char *target,
                   fs_id *id, struct error *err)
{
    char name[1024];
    fs_id dir;
    if (!walk(tool, path, &dir, name, err))
        return false;
    if (tool->driver->lookup(tool->fs, dir, name, id, err))
        return fail(err, E_EXIST, "it exists");
    return err->kind == E_NOENT && tool->driver->create(tool->fs, dir, name, attr, target, id, err);
}

/* TYPE PATH MODE [SIZE-HINT | MAJOR MINOR | TARGET] */
static bool op_make(struct tool *tool, uint32_t type, struct error *err)
{
    fs_id id;
    struct fs_attr attr = {.mode =
                               type | (uint32_t)strtoul(tool->count > 2 ? tool->words[2] : "644", NULL, 8)};
    attr.atime = attr.mtime = attr.ctime = (struct fs_time){1600000000, 123456789};
    attr.size = S_ISREG(type) ? number(tool, 3) : 0;
    attr.rdev_major = S_ISCHR(type) || S_ISBLK(type) ? (uint32_t)number(tool, 3) : 0;
    attr.rdev_minor = S_ISCHR(type) || S_ISBLK(type) ? (uint32_t)number(tool, 4) : 0;
    return create(tool, tool->words[1], &attr, S_ISLNK(type) ? tool->words[3] : NULL, &id, err);
}

/* write PATH OFF LEN SEED: bytes of a pattern of 251. */
static bool op_write(struct tool *tool, struct error *err)
{
    fs_id id;
    uint64_t off = number(tool, 2), len = number(tool, 3), seed = number(tool, 4), done = 0;
    if (!find(tool, tool->words[1], &id, err))
        return false;
    for (size_t i = 0; i < MIN_OF(len, CHUNK) + PATTERN; i++) {
        uint64_t at = i % PATTERN;
        tool->buffer[i] = (uint8_t)(seed * 7 + at * at + (at * seed >> 3));
    }
    while (done < len) {
        size_t step = (size_t)MIN_OF(len - done, CHUNK);
        if (!tool->driver->write(tool->fs, id, off + done, tool->buffer + done % PATTERN, step, err))
            return false;
        done += step;
    }
    return true;
}

/* put HOST PATH */
static bool op_put(struct tool *tool, struct error *err)
{
    struct stat host;
    fs_id id;
    FILE *in = fopen(tool->words[1], "rb");
    if (!in || fstat(fileno(in), &host) != 0)
        return fail(err, E_NOENT, "cannot read %s", tool->words[1]);
    struct fs_attr attr = {.mode = host.st_mode, .size = (uint64_t)host.st_size};
    attr.mtime = (struct fs_time){host.st_mtime, (uint32_t)host.st_mtim.tv_nsec};
    bool ok = create(tool, tool->words[2], &attr, NULL, &id, err);
    uint64_t off = 0;
    for (size_t n; ok && (n = fread(tool->buffer, 1, CHUNK, in)) > 0; off += n)
        ok = tool->driver->write(tool->fs, id, off, tool->buffer, n, err);
    fclose(in);
    return ok;
}

static bool op_remove(struct tool *tool, struct error *err)
{
    char name[1024];
    fs_id dir;
    return walk(tool, tool->words[1], &dir, name, err) && tool->driver->remove(tool->fs, dir, name, err);
}

static bool op_link(struct tool *tool, struct error *err)
{
    char name[1024];
    fs_id id, dir;
    return find(tool, tool->words[1], &id, err) && walk(tool, tool->words[2], &dir, name, err) &&
           tool->driver->link(tool->fs, id, dir, name, err);
}

static bool op_rename(struct tool *tool, struct error *err)
{
    char from[1024], to[1024];
    fs_id dir, new_dir, id;
    return walk(tool, tool->words[1], &dir, from, err) && walk(tool, tool->words[2], &new_dir, to, err) &&
           tool->driver->rename(tool->fs, dir, from, new_dir, to, &id, err);
}

/* Set the member that KEY names; times are SEC.NSEC with nine digits. False: there is no such key. */
static bool set_member(struct fs_attr *attr, const char *key, const char *value, unsigned *mask)
{
    const struct {
        const char *key;
        unsigned mask;
        uint32_t *number;
        struct fs_time *time;
    } keys[] = {{"mode", ATTR_MODE, &attr->mode, NULL},      {"uid", ATTR_UID, &attr->uid, NULL},
                {"gid", ATTR_GID, &attr->gid, NULL},         {"project", ATTR_PROJECT, &attr->project, NULL},
                {"flags", ATTR_FLAGS, &attr->flags, NULL},   {"atime", ATTR_ATIME, NULL, &attr->atime},
                {"mtime", ATTR_MTIME, NULL, &attr->mtime},   {"ctime", ATTR_CTIME, NULL, &attr->ctime},
                {"crtime", ATTR_CRTIME, NULL, &attr->crtime}};
    for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
        if (strcmp(keys[k].key, key) != 0)
            continue;
        const char *point = strchr(value, '.');
        *mask |= keys[k].mask;
        if (keys[k].number)
            *keys[k].number = (uint32_t)strtoul(value, NULL, keys[k].mask == ATTR_MODE ? 8 : 0);
        else
            *keys[k].time = (struct fs_time){strtoll(value, NULL, 10),
                                             point ? (uint32_t)strtoul(point + 1, NULL, 10) : 0};
        return true;
    }
    return false;
}

/* attr PATH KEY=VALUE... */
static bool op_attr(struct tool *tool, struct error *err)
{
    struct fs_attr attr;
    fs_id id;
    unsigned mask = 0;
    if (!find(tool, tool->words[1], &id, err) || !tool->driver->getattr(tool->fs, id, &attr, err))
        return false;
    for (int i = 2; i < tool->count; i++) {
        char *value = strchr(tool->words[i], '=');
        if (!value)
            return fail(err, E_USAGE, "KEY=VALUE");
        *value++ = '\0';
        if (!set_member(&attr, tool->words[i], value, &mask))
            return fail(err, E_USAGE, "there is no attribute '%s'", tool->words[i]);
    }
    return tool->driver->setattr(tool->fs, id, &attr, mask, err);
}

/* xattr PATH NAME LEN SEED; rmxattr PATH NAME; acl values as hex: xattrhex PATH NAME HEX */
static bool op_xattr(struct tool *tool, bool hex, struct error *err)
{
    fs_id id;
    size_t len = (size_t)number(tool, 3);
    uint64_t seed = number(tool, 4);
    if (!find(tool, tool->words[1], &id, err))
        return false;
    if (hex)
        for (len = 0; tool->words[3][2 * len]; len++) {
            unsigned value;
            sscanf(tool->words[3] + 2 * len, "%2x", &value);
            tool->buffer[len] = (uint8_t)value;
        }
    else
        for (size_t i = 0; i < len; i++)
            tool->buffer[i] =
                (uint8_t)(seed * 7 + (i % PATTERN) * (i % PATTERN) + ((i % PATTERN) * seed >> 3));
    return tool->driver->xattr_set(tool->fs, id, tool->words[2], tool->buffer, len, err);
}

static bool op_sized(struct tool *tool, const char *what, struct error *err)
{
    fs_id id;
    if (!find(tool, tool->words[1], &id, err))
        return false;
    if (strcmp(what, "truncate") == 0)
        return tool->driver->truncate(tool->fs, id, number(tool, 2), err);
    if (strcmp(what, "punch") == 0)
        return tool->driver->punch(tool->fs, id, number(tool, 2), number(tool, 3), err);
    return tool->driver->allocate(tool->fs, id, number(tool, 2), number(tool, 3), (unsigned)number(tool, 4),
                                  err);
}

/* ---- looking ---- */

static bool crc_contents(struct tool *tool, const struct fs_attr *attr, uint32_t *crc, struct error *err)
{
    *crc = 0;
    if (attr->size >> 32) /* more would take its time: not looked at */
        return true;
    for (uint64_t off = 0; off < attr->size; off += CHUNK) {
        size_t n = (size_t)MIN_OF(attr->size - off, CHUNK);
        if (!interrupt_check(err) || !tool->driver->read(tool->fs, attr->id, off, tool->buffer, n, err))
            return false;
        *crc = (uint32_t)crc32(*crc, tool->buffer, (unsigned)n);
    }
    return true;
}

struct names {
    char **names;
    size_t count, capacity;
};

static bool add_name(const char *name, void *arg)
{
    struct names *names = arg;
    struct error err;
    if (!mem_grow(&names->names, &names->capacity, names->count + 1, sizeof *names->names, &err))
        return false;
    names->names[names->count++] = mem_string(name, &err);
    return true;
}

static bool add_entry(const struct fs_entry *entry, void *arg)
{
    if (entry->fault) {
        printf(" fault: %s: %s\n", entry->name, entry->fault);
        return true;
    }
    return add_name(entry->name, arg);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
}

static bool print_xattrs(struct tool *tool, fs_id id, struct error *err)
{
    struct names names = {0};
    bool ok = !tool->driver->xattr_list || tool->driver->xattr_list(tool->fs, id, add_name, &names, err);
    if (names.count > 0)
        qsort(names.names, names.count, sizeof *names.names, by_name);
    for (size_t i = 0; ok && i < names.count; i++) {
        void *value;
        size_t len;
        ok = tool->driver->xattr_get(tool->fs, id, names.names[i], &value, &len, err);
        if (!ok)
            break;
        printf(" ");
        print_encoded(names.names[i]);
        printf("=%zu:%08lx", len, crc32(0, value, (unsigned)len));
        free(value);
    }
    free_names(&names);
    return ok;
}

/* One line: path, type and mode, links, owner, size or device, mtime, contents, attributes. */
static bool print_file(struct tool *tool, const char *path, fs_id id, struct fs_attr *attr, struct error *err)
{
    char target[65536];
    uint32_t crc;
    if (!tool->driver->getattr(tool->fs, id, attr, err))
        return false;
    printf(" ");
    print_encoded(*path ? path : "/");
    printf(" %o %" PRIu64 " %u:%u", attr->mode, S_ISDIR(attr->mode) ? 0 : attr->nlink, attr->uid, attr->gid);
    if (S_ISREG(attr->mode)) {
        if (!crc_contents(tool, attr, &crc, err))
            return false;
        printf(" %" PRIu64 ":%08x", attr->size, crc);
    } else if (S_ISLNK(attr->mode)) {
        if (!tool->driver->readlink(tool->fs, id, target, sizeof target, err))
            return false;
        printf(" ");
        print_encoded(target);
    } else {
        printf(" %u:%u", attr->rdev_major, attr->rdev_minor);
    }
    printf(" %" PRId64 ".%09u", attr->mtime.sec, attr->mtime.nsec);
    bool ok = print_xattrs(tool, id, err);
    printf("\n");
    return ok;
}

static bool print_tree(struct tool *tool, const char *path, fs_id id, int depth, struct error *err)
{
    struct fs_attr attr;
    struct names names = {0};
    if (!print_file(tool, path, id, &attr, err))
        return false;
    if (!S_ISDIR(attr.mode) || depth > 200)
        return true;
    bool ok = tool->driver->readdir(tool->fs, id, add_entry, &names, err);
    if (names.count > 0)
        qsort(names.names, names.count, sizeof *names.names, by_name);
    for (size_t i = 0; ok && i < names.count; i++) {
        char below[PATH_BYTES];
        fs_id child;
        snprintf(below, sizeof below, "%s/%s", path, names.names[i]);
        struct error one;
        if (!tool->driver->lookup(tool->fs, id, names.names[i], &child, &one) ||
            !print_tree(tool, below, child, depth + 1, &one)) {
            printf(" fault: ");
            print_encoded(below);
            printf(": %s\n", one.message);
        }
    }
    free_names(&names);
    return ok;
}

static bool op_tree(struct tool *tool, struct error *err)
{
    fs_id id;
    const char *path = tool->count > 1 && strcmp(tool->words[1], "/") != 0 ? tool->words[1] : "";
    return find(tool, path, &id, err) && print_tree(tool, path, id, 0, err);
}

static bool op_cat(struct tool *tool, struct error *err)
{
    struct fs_attr attr;
    fs_id id;
    if (!find(tool, tool->words[1], &id, err) || !tool->driver->getattr(tool->fs, id, &attr, err))
        return false;
    for (uint64_t off = 0; off < attr.size; off += CHUNK) {
        size_t n = (size_t)MIN_OF(attr.size - off, CHUNK);
        if (!tool->driver->read(tool->fs, id, off, tool->buffer, n, err))
            return false;
        fwrite(tool->buffer, 1, n, stdout);
    }
    return true;
}

/* Runs of a file: "off len at flags". */
static bool op_map(struct tool *tool, struct error *err)
{
    struct fs_attr attr;
    fs_id id;
    if (!find(tool, tool->words[1], &id, err) || !tool->driver->getattr(tool->fs, id, &attr, err))
        return false;
    for (uint64_t off = 0; off < attr.size;) {
        struct extent run;
        if (!tool->driver->map(tool->fs, id, off, &run, err))
            return false;
        printf(" %" PRIu64 " %" PRIu64 " %" PRIu64 " %u\n", off, run.len, run.off, run.flags);
        off += run.len;
    }
    return true;
}

static bool op_stat(struct tool *tool, struct error *err)
{
    struct fs_stat stat;
    if (!tool->driver->statfs(tool->fs, &stat, err))
        return false;
    printf(" blocks %" PRIu64 " free %" PRIu64 " inodes %" PRIu64 " free %" PRIu64 " type %s change %s\n",
           stat.blocks, stat.free_blocks, stat.inodes, stat.free_inodes, tool->fs->type,
           tool->fs->change == FS_IN_PLACE ? "yes" : tool->fs->why);
    return true;
}

/* many-mkdir PATH FIRST COUNT, many-create, many-remove, many-lookup: names n0000001 ... in one directory */
static bool op_many(struct tool *tool, const char *what, struct error *err)
{
    fs_id dir, id;
    uint64_t first = number(tool, 2), count = number(tool, 3);
    bool make_dir = strcmp(what, "many-mkdir") == 0;
    struct fs_attr attr = {.mode = make_dir ? S_IFDIR | 0755 : S_IFREG | 0644};
    if (!find(tool, tool->words[1], &dir, err))
        return false;
    for (uint64_t i = first; i < first + count; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%07" PRIu64, i);
        bool ok;
        if (strcmp(what, "many-remove") == 0)
            ok = tool->driver->remove(tool->fs, dir, name, err);
        else if (strcmp(what, "many-lookup") == 0)
            ok = tool->driver->lookup(tool->fs, dir, name, &id, err);
        else
            ok = tool->driver->create(tool->fs, dir, name, &attr, NULL, &id, err);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- running ---- */

static bool run_change(struct tool *tool, const char *what, struct error *err)
{
    if (strcmp(what, "mkdir") == 0)
        return op_make(tool, S_IFDIR, err);
    if (strcmp(what, "create") == 0)
        return op_make(tool, S_IFREG, err);
    if (strcmp(what, "symlink") == 0)
        return op_make(tool, S_IFLNK, err);
    if (strcmp(what, "chr") == 0)
        return op_make(tool, S_IFCHR, err);
    if (strcmp(what, "blk") == 0)
        return op_make(tool, S_IFBLK, err);
    if (strcmp(what, "fifo") == 0)
        return op_make(tool, S_IFIFO, err);
    if (strcmp(what, "sock") == 0)
        return op_make(tool, S_IFSOCK, err);
    if (strcmp(what, "write") == 0)
        return op_write(tool, err);
    if (strcmp(what, "put") == 0)
        return op_put(tool, err);
    if (strcmp(what, "rm") == 0)
        return op_remove(tool, err);
    if (strcmp(what, "ln") == 0)
        return op_link(tool, err);
    if (strcmp(what, "mv") == 0)
        return op_rename(tool, err);
    if (strcmp(what, "attr") == 0)
        return op_attr(tool, err);
    if (strcmp(what, "xattr") == 0 || strcmp(what, "xattrhex") == 0)
        return op_xattr(tool, what[5] == 'h', err);
    if (strcmp(what, "rmxattr") == 0) {
        fs_id id;
        return find(tool, tool->words[1], &id, err) &&
               tool->driver->xattr_set(tool->fs, id, tool->words[2], NULL, 0, err);
    }
    if (strncmp(what, "many-", 5) == 0)
        return op_many(tool, what, err);
    return op_sized(tool, what, err);
}

static bool run_line(struct tool *tool, struct error *err)
{
    const char *what = tool->words[0];
    if (strcmp(what, "tree") == 0)
        return op_tree(tool, err);
    if (strcmp(what, "cat") == 0)
        return op_cat(tool, err);
    if (strcmp(what, "map") == 0)
        return op_map(tool, err);
    if (strcmp(what, "stat") == 0)
        return op_stat(tool, err);
    if (strcmp(what, "commit") == 0) {
        if (!stage_commit(tool->dev, err))
            return false;
        tool->driver->committed(tool->fs);
        return true;
    }
    if (strcmp(what, "batch") == 0)
        tool->batch = !tool->batch;
    else if (!run_change(tool, what, err))
        return false;
    tool->flushing = !tool->batch;
    return tool->batch || (tool->driver->flush(tool->fs, err) && stage_mark(tool->dev, err));
}

static bool open_volume(struct tool *tool, const char *path, bool read_only, struct error *err)
{
    const struct stage_options options = {.read_only = read_only, .durability = DURABILITY_OFF};
    enum recovery recovery;
    unsigned best = 0;
    if (!stage_open(path, &options, &tool->dev, &recovery, err))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        unsigned score = drivers[i]->head.probe(tool->dev);
        if (score > best) {
            best = score;
            tool->driver = drivers[i];
        }
    }
    return tool->driver ? tool->driver->open(tool->dev, read_only, &tool->fs, err)
                        : fail(err, E_UNSUPPORTED, "no filesystem");
}

static void take_back(struct tool *tool)
{
    const struct fs_driver *driver = tool->driver;
    struct error err;
    bool revert = driver->revert && !tool->flushing && !tool->batch;
    if (!stage_revert(tool->dev, &err) ||
        !(revert ? driver->revert(tool->fs, &err) : driver->reload(tool->fs, &err))) {
        fprintf(stderr, "fsop: cannot take back: %s\n", err.message);
        exit(3);
    }
}

int main(int argc, char **argv)
{
    struct tool tool = {.buffer = malloc(CHUNK + PATTERN)};
    struct error err = {0};
    bool read_only = false, forget = false;
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        read_only |= argv[at][1] == 'r';
        forget |= argv[at][1] == 'k';
    }
    if (at >= argc || !tool.buffer || !open_volume(&tool, argv[at], read_only, &err)) {
        printf("err %s %s\n", error_kind_name(err.kind), err.message);
        device_close(tool.dev);
        free(tool.buffer);
        return 1;
    }
    if (tool.fs->note[0])
        printf("note %s\n", tool.fs->note);
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, stdin) > 0) {
        split_words(&tool, line);
        if (tool.count == 0)
            continue;
        tool.flushing = false;
        if (run_line(&tool, &err)) {
            printf("ok\n");
        } else {
            printf("err %s %s\n", error_kind_name(err.kind), err.message);
            if (!read_only)
                take_back(&tool);
        }
        if (forget && !tool.driver->reload(tool.fs, &err)) {
            printf("err %s reload: %s\n", error_kind_name(err.kind), err.message);
            return 1;
        }
        fflush(stdout);
    }
    free(line);
    bool ok = read_only || stage_commit(tool.dev, &err);
    if (!ok)
        printf("err %s %s\n", error_kind_name(err.kind), err.message);
    tool.driver->close(tool.fs);
    device_close(tool.dev);
    free(tool.buffer);
    return ok ? 0 : 1;
}
