/* What a target cannot keep: found per file, counted by kind, told once. */
#include "copy_ends.h"

#include "bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

static const struct {
    const char *one, *many;
} loss_names[LOSS_KINDS] = {
    [LOSS_OWNER] = {"owner", "owners"},
    [LOSS_MODE] = {"mode", "modes"},
    [LOSS_TIME] = {"exact time", "exact times"},
    [LOSS_SYMLINK] = {"symbolic link", "symbolic links"},
    [LOSS_HARD_LINK] = {"hard link", "hard links"},
    [LOSS_DEVICE] = {"device node", "device nodes"},
    [LOSS_FIFO] = {"fifo or socket", "fifos and sockets"},
    [LOSS_XATTR] = {"file's extended attributes", "files' extended attributes"},
    [LOSS_NAME] = {"file with an impossible name", "files with impossible names"},
    [LOSS_HOLE] = {"sparse file's holes", "sparse files' holes"},
};

void copy_lost(struct copy_tally *tally, enum copy_loss kind, const char *path)
{
    if (tally->lost[kind]++ == 0)
        snprintf(tally->examples[kind], sizeof tally->examples[kind], "%s", *path ? path : ".");
}

uint64_t copy_losses(const struct copy_tally *tally)
{
    uint64_t sum = 0;
    for (int kind = 0; kind < LOSS_KINDS; kind++)
        sum += tally->lost[kind];
    return sum;
}

bool copy_may_lose(const struct fs_limits *limits)
{
    return !limits->owners || !limits->modes || !limits->hard_links || !limits->symlinks ||
           !limits->devices || !limits->fifos || !limits->xattrs || !limits->sparse || limits->time_ns > 1;
}

bool copy_type_fits(const struct fs_limits *limits, uint32_t mode, enum copy_loss *loss)
{
    switch (mode & S_IFMT) {
    case S_IFLNK:
        *loss = LOSS_SYMLINK;
        return limits->symlinks;
    case S_IFCHR:
    case S_IFBLK:
        *loss = LOSS_DEVICE;
        return limits->devices;
    case S_IFIFO:
    case S_IFSOCK:
        *loss = LOSS_FIFO;
        return limits->fifos;
    default:
        return true;
    }
}

static bool time_fits(const struct fs_limits *limits, struct fs_time time)
{
    if (time.sec < limits->time_min || time.sec > limits->time_max)
        return false;
    if (limits->time_ns > 1000000000)
        return time.nsec == 0 && time.sec % (limits->time_ns / 1000000000) == 0;
    return limits->time_ns == 0 || time.nsec % limits->time_ns == 0;
}

/* Where modes are not held, every file looks like this; what looks so anyway loses nothing. */
static bool is_plain_mode(uint32_t mode)
{
    mode &= 07777;
    return mode == 0755 || mode == 0644;
}

static bool found_one(void *arg, const char *name, const void *value, size_t len, struct error *err)
{
    (void)name;
    (void)value;
    (void)len;
    (void)err;
    *(bool *)arg = true;
    return true;
}

void copy_count_losses(const struct fs_limits *limits, const struct fs_attr *attr, const char *path,
                       bool has_xattrs, struct copy_tally *tally)
{
    enum copy_loss type;
    if (!copy_type_fits(limits, attr->mode, &type)) {
        copy_lost(tally, type, path);
        return;
    }
    if (!limits->owners && (attr->uid || attr->gid))
        copy_lost(tally, LOSS_OWNER, path);
    if (!limits->modes && !S_ISLNK(attr->mode) && !is_plain_mode(attr->mode))
        copy_lost(tally, LOSS_MODE, path);
    if (!time_fits(limits, attr->mtime))
        copy_lost(tally, LOSS_TIME, path);
    if (!limits->sparse && S_ISREG(attr->mode) && attr->allocated < attr->size)
        copy_lost(tally, LOSS_HOLE, path);
    if (!limits->xattrs && has_xattrs)
        copy_lost(tally, LOSS_XATTR, path);
}

bool copy_find_losses(const struct fs_limits *limits, struct copy_source *source,
                      const struct copy_item *item, struct copy_tally *tally, struct error *err)
{
    bool has_xattrs = false;
    if (!limits->xattrs && !source->ops->xattrs(source, found_one, &has_xattrs, err))
        return false;
    copy_count_losses(limits, &item->attr, item->path, has_xattrs, tally);
    return true;
}

/* "3 owners (/a/b, ...)"; returns the length. */
static size_t loss_text(const struct copy_tally *tally, int kind, char *text, size_t size)
{
    uint64_t count = tally->lost[kind];
    int n = snprintf(text, size, "%" PRIu64 " %s (%s%s)", count,
                     count == 1 ? loss_names[kind].one : loss_names[kind].many, tally->examples[kind],
                     count == 1 ? "" : ", ...");
    return n < 0 ? 0 : MIN_OF((size_t)n, size - 1);
}

void copy_tell_losses(const struct copy_tally *tally, const struct copy_options *options, const char *intro)
{
    char text[240], line[320];
    for (int kind = 0; options->note && kind < LOSS_KINDS; kind++) {
        if (!tally->lost[kind])
            continue;
        loss_text(tally, kind, text, sizeof text);
        snprintf(line, sizeof line, "%s: %s", intro, text);
        options->note(options->arg, line);
    }
}

bool copy_judge_losses(const struct copy_tally *tally, const struct copy_options *options, const char *type,
                       struct error *err)
{
    char intro[80];
    if (!copy_losses(tally))
        return true;
    bool refused = options->archive && !options->lossy;
    snprintf(intro, sizeof intro, refused ? "would be lost" : "%s cannot hold; left out", type);
    copy_tell_losses(tally, options, intro);
    return !refused ||
           fail(err, E_LOSSY, "%s cannot keep all of it; nothing was copied (--lossy copies without)", type);
}
