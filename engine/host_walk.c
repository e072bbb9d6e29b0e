/*
 * Invariants: stack[depth-1] is the directory whose names are being returned; the newest OPEN_DIRS
 * directories of the stack are open, older ones are opened again through ".." when the walk comes back to
 * them.
 */
#include "host_walk.h"

#include "alloc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPEN_DIRS = 48 };

struct frame {
    int fd; /* -1: given up for now */
    size_t path_len;
    unsigned depth;
    struct stat st;
    bool followed;
    char *names; /* one after the other, each with its NUL */
    size_t names_len, names_capacity;
    size_t *at; /* of each name, sorted */
    size_t count, capacity, next;
};

struct host_walk {
    unsigned flags;
    int start_fd; /* what the start's path is relative to */
    struct frame *stack;
    size_t depth, stack_capacity;
    char *path;
    size_t path_capacity;
    struct host_entry entry;
    bool started, enter;
};

bool host_walk_new(struct host_walk **out, int dir_fd, const char *path, unsigned flags, struct error *err)
{
    struct host_walk *walk = mem_new(sizeof *walk, err);
    if (!walk)
        return false;
    walk->flags = flags;
    walk->start_fd = dir_fd;
    walk->entry.fd = -1;
    if (!mem_grow(&walk->path, &walk->path_capacity, strlen(path) + 1, 1, err)) {
        host_walk_free(walk);
        return false;
    }
    strcpy(walk->path, path);
    *out = walk;
    return true;
}

void host_walk_free(struct host_walk *walk)
{
    if (!walk)
        return;
    host_walk_skip(walk);
    for (size_t i = 0; i < walk->depth; i++)
        if (walk->stack[i].fd >= 0)
            close(walk->stack[i].fd);
    for (size_t i = 0; i < walk->stack_capacity; i++) {
        free(walk->stack[i].names);
        free(walk->stack[i].at);
    }
    free(walk->stack);
    free(walk->path);
    free(walk);
}

void host_walk_skip(struct host_walk *walk)
{
    if (walk->enter)
        close(walk->entry.fd);
    walk->enter = false;
}

static bool is_fatal(enum error_kind kind)
{
    return kind == E_NOMEM || kind == E_INTERRUPTED;
}

static bool entry_fault(struct host_walk *walk, struct host_entry **out, struct error *err)
{
    if (is_fatal(err->kind))
        return false;
    walk->entry.event = WALK_FAULT;
    walk->entry.fault = *err;
    *out = &walk->entry;
    return true;
}

/* A directory that is its own ancestor, which following links can make. */
static bool is_on_stack(const struct host_walk *walk, const struct stat *st)
{
    for (size_t i = 0; i < walk->depth; i++)
        if (walk->stack[i].st.st_ino == st->st_ino && walk->stack[i].st.st_dev == st->st_dev)
            return true;
    return false;
}

/* The entry's place and name are known: find out what it is; directories are opened. */
static bool visit(struct host_walk *walk, struct host_entry **out, struct error *err)
{
    struct host_entry *entry = &walk->entry;
    bool follow = (walk->flags & HOST_FOLLOW) || (entry->depth == 0 && (walk->flags & HOST_FOLLOW_START));
    *out = entry;
    if (fstatat(entry->dir_fd, entry->base, &entry->st, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT)
            fail(err, E_NOENT, "no such file or directory");
        else
            fail_errno(err, errno, "cannot look at it");
        return entry_fault(walk, out, err);
    }
    entry->followed = follow;
    entry->event = WALK_FILE;
    if (!S_ISDIR(entry->st.st_mode))
        return true;
    if (is_on_stack(walk, &entry->st)) {
        fail(err, E_LOOP, "symbolic links make a loop here");
        return entry_fault(walk, out, err);
    }
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW);
    entry->fd = openat(entry->dir_fd, entry->base, flags);
    if (entry->fd < 0) {
        fail_errno(err, errno, "cannot open the directory");
        return entry_fault(walk, out, err);
    }
    entry->event = WALK_DIR;
    walk->enter = true;
    return true;
}

static int compare_names(const void *a, const void *b, void *arg)
{
    const char *names = arg;
    return strcmp(names + *(const size_t *)a, names + *(const size_t *)b);
}

static bool add_name(struct frame *frame, const char *name, struct error *err)
{
    size_t len = strlen(name) + 1;
    if (!mem_grow(&frame->names, &frame->names_capacity, frame->names_len + len, 1, err) ||
        !mem_grow(&frame->at, &frame->capacity, frame->count + 1, sizeof *frame->at, err))
        return false;
    memcpy(frame->names + frame->names_len, name, len);
    frame->at[frame->count++] = frame->names_len;
    frame->names_len += len;
    return true;
}

static bool read_names(struct frame *frame, struct error *err)
{
    int fd = dup(frame->fd);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        fail_errno(err, errno, "cannot read the directory");
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool ok = true;
    const struct dirent *entry;
    errno = 0;
    while (ok && (entry = readdir(dir))) {
        const char *name = entry->d_name;
        if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])))
            continue;
        ok = add_name(frame, name, err) && interrupt_check(err);
        errno = 0;
    }
    if (ok && errno)
        ok = fail_errno(err, errno, "cannot read the directory");
    closedir(dir);
    if (frame->count)
        qsort_r(frame->at, frame->count, sizeof *frame->at, compare_names, frame->names);
    return ok;
}

static bool enter(struct host_walk *walk, struct error *err)
{
    if (!mem_grow(&walk->stack, &walk->stack_capacity, walk->depth + 1, sizeof *walk->stack, err)) {
        close(walk->entry.fd);
        return false;
    }
    if (walk->depth >= OPEN_DIRS) {
        struct frame *old = &walk->stack[walk->depth - OPEN_DIRS];
        if (old->fd >= 0)
            close(old->fd);
        old->fd = -1;
    }
    struct frame *frame = &walk->stack[walk->depth++];
    frame->fd = walk->entry.fd;
    frame->st = walk->entry.st;
    frame->depth = walk->entry.depth;
    frame->followed = walk->entry.followed;
    frame->path_len = strlen(walk->path);
    frame->names_len = frame->count = frame->next = 0;
    return read_names(frame, err);
}

static void set_name(struct host_walk *walk)
{
    const char *slash = strrchr(walk->path, '/');
    walk->entry.path = walk->path;
    walk->entry.name = slash && slash[1] ? slash + 1 : walk->path;
}

static bool next_name(struct host_walk *walk, struct frame *frame, struct host_entry **out, struct error *err)
{
    const char *name = frame->names + frame->at[frame->next++];
    size_t at = frame->path_len, len = strlen(name);
    if (!mem_grow(&walk->path, &walk->path_capacity, at + len + 2, 1, err))
        return false;
    if (at == 0 || walk->path[at - 1] != '/')
        walk->path[at++] = '/';
    memcpy(walk->path + at, name, len + 1);
    walk->entry = (struct host_entry){
        .path = walk->path,
        .name = walk->path + at,
        .base = walk->path + at,
        .depth = (unsigned)walk->depth,
        .dir_fd = frame->fd,
        .fd = -1,
    };
    return visit(walk, out, err);
}

int host_reopen_parent(int child_fd, dev_t dev, ino_t ino, struct error *err)
{
    struct stat st;
    int fd = openat(child_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        fail_errno(err, errno, "cannot go back to the directory above");
        return -1;
    }
    if (fstat(fd, &st) == 0 && st.st_dev == dev && st.st_ino == ino)
        return fd;
    close(fd);
    fail(err, E_FAILED, "the directory was moved meanwhile");
    return -1;
}

/* Opens the frame below the top again, if it was given up; links followed on the way may lead elsewhere. */
static bool reopen(struct host_walk *walk, struct frame *frame, int child_fd, struct error *err)
{
    if (frame->fd >= 0)
        return true;
    frame->fd = host_reopen_parent(child_fd, frame->st.st_dev, frame->st.st_ino, err);
    if (frame->fd >= 0)
        return true;
    char keep = walk->path[frame->path_len];
    struct stat st;
    walk->path[frame->path_len] = 0;
    frame->fd = openat(walk->start_fd, walk->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    walk->path[frame->path_len] = keep;
    if (frame->fd < 0)
        return false;
    return (fstat(frame->fd, &st) == 0 && st.st_dev == frame->st.st_dev && st.st_ino == frame->st.st_ino) ||
           fail(err, E_FAILED, "the directory was moved meanwhile");
}

/* The top directory is done: it is returned as WALK_LEAVE, still open until the next step. */
static bool leave(struct host_walk *walk, struct frame *frame, struct host_entry **out, struct error *err)
{
    walk->path[frame->path_len] = 0;
    int fd = frame->fd;
    frame->fd = -1;
    walk->depth--;
    if (walk->depth > 0 && !reopen(walk, &walk->stack[walk->depth - 1], fd, err)) {
        close(fd);
        return false;
    }
    walk->entry = (struct host_entry){
        .event = WALK_LEAVE,
        .depth = frame->depth,
        .dir_fd = walk->depth ? walk->stack[walk->depth - 1].fd : walk->start_fd,
        .fd = -1,
        .st = frame->st,
        .followed = frame->followed,
    };
    close(fd);
    set_name(walk);
    walk->entry.base = walk->entry.depth ? walk->entry.name : walk->path;
    *out = &walk->entry;
    return true;
}

bool host_walk_next(struct host_walk *walk, struct host_entry **out, struct error *err)
{
    if (!interrupt_check(err))
        return false;
    if (!walk->started) {
        walk->started = true;
        set_name(walk);
        walk->entry.base = walk->path;
        walk->entry.dir_fd = walk->start_fd;
        return visit(walk, out, err);
    }
    if (walk->enter) {
        walk->enter = false;
        if (!enter(walk, err))
            return entry_fault(walk, out, err);
    }
    if (walk->depth == 0) {
        walk->entry.event = WALK_END;
        *out = &walk->entry;
        return true;
    }
    struct frame *frame = &walk->stack[walk->depth - 1];
    if (frame->next < frame->count)
        return next_name(walk, frame, out, err);
    return leave(walk, frame, out, err);
}
