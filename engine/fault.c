#include "fault.h"

#include "bytes.h"
#include "checksum.h"
#include "host_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512 };

/* What a file held before an operation that has not been made durable. Newest first. */
struct memory_of_file {
    struct memory_of_file *older;
    enum host_operation operation;
    char *path;
    bool existed;   /* the name, before the operation */
    bool temporary; /* happened to a created file before it was published; path is the name it got */
    uint64_t size;  /* of the file before */
    uint64_t off, len;
    uint64_t touched; /* len and what the operation reaches past the end */
    uint8_t *data;    /* len bytes that lay at off */
};

static struct fault_plan plan;
static uint64_t seen;
static bool happened;
static struct memory_of_file *newest;

bool fault_happened(void)
{
    return happened;
}

static bool is_cut(void)
{
    return plan.sort == FAULT_POWER_CUT || plan.sort == FAULT_POWER_LOSS || plan.sort == FAULT_POWER_MIXED;
}

static void forget(struct memory_of_file *memory)
{
    free(memory->path);
    free(memory->data);
    free(memory);
}

/* A name belongs to its directory's sync, contents to the file's own. */
static bool made_durable_by(const struct memory_of_file *memory, const char *synced)
{
    bool name = memory->operation == HOST_UNLINK || memory->operation == HOST_PUBLISH ||
                (memory->operation == HOST_WRITE && !memory->existed);
    if (!name)
        return strcmp(memory->path, synced) == 0;
    size_t dir = (size_t)(strrchr(memory->path, '/') - memory->path);
    return strncmp(memory->path, synced, dir) == 0 && synced[dir] == '\0';
}

static void forget_synced(const char *synced)
{
    for (struct memory_of_file **link = &newest; *link;) {
        struct memory_of_file *memory = *link;
        if (made_durable_by(memory, synced)) {
            *link = memory->older;
            forget(memory);
        } else {
            link = &memory->older;
        }
    }
}

/* The part of the file that the operation will change. */
static void affected(struct memory_of_file *memory, uint64_t off, uint64_t len)
{
    switch (memory->operation) {
    case HOST_UNLINK:
    case HOST_PUBLISH:
        off = 0;
        len = memory->size;
        break;
    case HOST_RESIZE:
        len = memory->size > off ? memory->size - off : 0;
        break;
    default:
        /* Whole sectors: they are lost or kept as such. */
        len = round_up(off + len, SECTOR) - round_down(off, SECTOR);
        off = round_down(off, SECTOR);
        break;
    }
    memory->off = off;
    memory->touched = len;
    memory->len = off < memory->size ? MIN_OF(len, memory->size - off) : 0;
}

static bool remember(enum host_operation operation, const char *path, uint64_t off, uint64_t len,
                     struct error *err)
{
    struct stat st;
    struct memory_of_file *memory = calloc(1, sizeof *memory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = memory && (memory->path = strdup(path));
    if (ok) {
        memory->operation = operation;
        memory->existed = fd >= 0;
        memory->size = fd >= 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
        affected(memory, off, len);
        memory->data = malloc(memory->len + 1);
        ok = memory->data && (memory->len == 0 || pread(fd, memory->data, memory->len, (off_t)memory->off) ==
                                                      (ssize_t)memory->len);
    }
    if (fd >= 0)
        close(fd);
    if (!ok) {
        if (memory)
            forget(memory);
        return fail(err, E_NOMEM, "cannot remember what %s held", path);
    }
    memory->older = newest;
    newest = memory;
    return true;
}

/* What happened to the temporary name is from now on a matter of the file's name. */
static void rename_memories(const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    for (struct memory_of_file *memory = newest; memory; memory = memory->older) {
        const char *temp = strrchr(memory->path, '/') + 1;
        size_t n = strlen(name);
        if (strncmp(memory->path, path, (size_t)(name - path)) != 0 || temp - memory->path != name - path ||
            temp[0] != '.' || strncmp(temp + 1, name, n) != 0 || strncmp(temp + 1 + n, ".dish-", 6) != 0)
            continue;
        char *renamed = strdup(path);
        if (!renamed)
            continue;
        free(memory->path);
        memory->path = renamed;
        memory->temporary = true;
    }
}

static bool fails_now(enum host_operation operation)
{
    if (plan.sort == FAULT_NONE || plan.at == 0)
        return false;
    if (happened && (is_cut() || plan.sticky))
        return is_cut() || plan.sort == FAULT_EIO || operation == HOST_WRITE || operation == HOST_RESIZE;
    if (happened || seen < plan.at)
        return false;
    /* A full host does not fail a sync or a removal: the next fitting operation is the one. */
    return plan.sort != FAULT_ENOSPC || operation == HOST_WRITE || operation == HOST_RESIZE ||
           operation == HOST_PUBLISH;
}

static bool fault_hook(enum host_operation operation, const char *path, uint64_t off, uint64_t len,
                       struct error *err)
{
    seen++;
    if (fails_now(operation)) {
        happened = true;
        if (plan.sort == FAULT_ENOSPC)
            return fail_errno(err, ENOSPC, "%s (injected)", path);
        return fail_errno(err, EIO, "%s (injected)", path);
    }
    if (plan.sort != FAULT_POWER_LOSS && plan.sort != FAULT_POWER_MIXED)
        return true;
    if (operation == HOST_SYNC) {
        forget_synced(path);
        return true;
    }
    if (operation == HOST_PUBLISH)
        rename_memories(path);
    return remember(operation, path, off, len, err);
}

void fault_start(const struct fault_plan *new_plan)
{
    plan = *new_plan;
    seen = 0;
    happened = false;
    host_file_set_hook(fault_hook);
}

/* The same answer for all memories of one sector, size or name of one file. */
static bool is_lost(const struct memory_of_file *memory, uint64_t item)
{
    if (plan.sort == FAULT_POWER_LOSS)
        return true;
    uint8_t key[16];
    store_le64(key, plan.seed);
    store_le64(key + 8, item);
    uint32_t hash = crc32c(crc32c(~0u, key, sizeof key), memory->path, strlen(memory->path));
    return (hash * 2654435761u) >> 31;
}

static const uint64_t item_name = UINT64_MAX, item_size = UINT64_MAX - 1;

static bool put_back(int fd, const struct memory_of_file *memory, uint64_t at, uint64_t n)
{
    return pwrite(fd, memory->data + at, n, (off_t)(memory->off + at)) == (ssize_t)n;
}

/* Bytes past the old end were zeros, where the new size is kept. */
static bool clear_beyond(int fd, const struct memory_of_file *memory, uint64_t off)
{
    static const uint8_t zeros[SECTOR];
    struct stat st;
    uint64_t from = MAX_OF(off, memory->size);
    if (fstat(fd, &st) < 0 || from >= off + SECTOR || from >= (uint64_t)st.st_size)
        return true;
    uint64_t n = MIN_OF(off + SECTOR, (uint64_t)st.st_size) - from;
    return pwrite(fd, zeros, n, (off_t)from) == (ssize_t)n;
}

static bool restore_contents(int fd, const struct memory_of_file *memory)
{
    bool ok = true, size_lost = is_lost(memory, item_size);
    if (memory->operation == HOST_RESIZE) {
        if (size_lost)
            ok = ftruncate(fd, (off_t)memory->size) == 0 && put_back(fd, memory, 0, memory->len);
        return ok;
    }
    for (uint64_t at = 0; ok && at < memory->touched; at += SECTOR) {
        if (!is_lost(memory, (memory->off + at) / SECTOR))
            continue;
        if (at < memory->len)
            ok = put_back(fd, memory, at, MIN_OF(memory->len - at, (uint64_t)SECTOR));
        ok = ok && clear_beyond(fd, memory, memory->off + at);
    }
    struct stat st;
    if (ok && size_lost && fstat(fd, &st) == 0 && (uint64_t)st.st_size > memory->size)
        ok = ftruncate(fd, (off_t)memory->size) == 0;
    return ok;
}

static bool restore(const struct memory_of_file *memory)
{
    bool is_name = memory->operation == HOST_UNLINK || memory->operation == HOST_PUBLISH || !memory->existed;
    if (is_name && !is_lost(memory, item_name))
        return true;
    if (is_name && !memory->existed)
        return unlink(memory->path) == 0 || errno == ENOENT;
    int fd = open(memory->path, O_RDWR | O_CLOEXEC | (is_name ? O_CREAT | O_TRUNC : 0), 0666);
    if (fd < 0)
        return errno == ENOENT; /* removed later, and that was durable */
    bool ok = is_name ? put_back(fd, memory, 0, memory->len) : restore_contents(fd, memory);
    close(fd);
    return ok;
}

/* A name that was never given: what lies behind it now is not what these memories tell of. */
static void forget_temporaries(const char *path)
{
    for (struct memory_of_file **link = &newest; *link;) {
        struct memory_of_file *memory = *link;
        if (memory->temporary && strcmp(memory->path, path) == 0) {
            *link = memory->older;
            forget(memory);
        } else {
            link = &memory->older;
        }
    }
}

bool fault_stop(uint64_t *operations, struct error *err)
{
    bool ok = true;
    host_file_set_hook(NULL);
    if (operations)
        *operations = seen;
    while (newest) {
        struct memory_of_file *memory = newest;
        newest = memory->older;
        if (happened && ok && !restore(memory))
            ok = fail_errno(err, errno, "cannot bring %s into its state after a power cut", memory->path);
        if (memory->operation == HOST_PUBLISH && is_lost(memory, item_name))
            forget_temporaries(memory->path);
        forget(memory);
    }
    return ok;
}
