#include "reader.h"

#include "alloc.h"
#include "bytes.h"
#include "copying.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool open_device(struct reader *reader, struct error *err)
{
    reader->device = location_device(&reader->place);
    reader->size = reader->device->size;
    reader->shown = location_text(&reader->place, err);
    return reader->shown != NULL;
}

static bool open_file(struct session *session, const char *text, struct reader *reader, struct error *err)
{
    if (!file_arg_open(session, text, true, &reader->file, err))
        return false;
    uint32_t mode = reader->file.attr.mode;
    if (S_ISDIR(mode))
        return fail(err, E_ISDIR, "%s: is a directory", reader->file.shown);
    if (!S_ISREG(mode))
        return fail(err, E_INVALID, "%s: is a %s, which has no contents in an image", reader->file.shown,
                    file_type_name(mode));
    reader->size = reader->file.attr.size;
    reader->modified = reader->file.attr.mtime;
    reader->shown = mem_string(reader->file.shown, err);
    return reader->shown != NULL;
}

static bool open_on_host(const char *text, struct reader *reader, struct error *err)
{
    const char *path = strchr(text, ':') + 1;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        fail_errno(err, errno, "%s", text);
        if (fd >= 0)
            close(fd);
        return false;
    }
    reader->host = fd;
    reader->shown = mem_string(text, err);
    if (S_ISREG(st.st_mode))
        reader->size = (uint64_t)st.st_size;
    reader->modified = (struct fs_time){st.st_mtim.tv_sec, (uint32_t)st.st_mtim.tv_nsec};
    return reader->shown && (!S_ISDIR(st.st_mode) || fail(err, E_ISDIR, "%s: is a directory", text));
}

static bool read_host(struct reader *reader, uint64_t off, char *buf, size_t n, size_t *got,
                      struct error *err)
{
    for (*got = 0; *got < n;) {
        ssize_t done = reader->size == UINT64_MAX
                           ? read(reader->host, buf + *got, n - *got)
                           : pread(reader->host, buf + *got, n - *got, (off_t)(off + *got));
        if (done < 0 && errno != EINTR)
            return fail_errno(err, errno, "%s", reader->shown);
        if (done == 0)
            return true;
        *got += done > 0 ? (size_t)done : 0;
    }
    return true;
}

bool reader_open(struct session *session, struct call *call, const char *text, struct reader *reader,
                 struct error *err)
{
    *reader = (struct reader){.size = UINT64_MAX, .typed = text};
    if (strcmp(text, "-") == 0) {
        reader->input = call;
        reader->shown = mem_string("-", err);
        return reader->shown != NULL;
    }
    if (tree_end_is_host(text) && !session_image(session, "host"))
        return open_on_host(text, reader, err);
    if (!location_parse(session, text, &reader->place, err))
        return because(err, "%s", text);
    if (reader->place.kind == LOCATION_PATH)
        return open_file(session, text, reader, err);
    return open_device(reader, err);
}

bool reader_read(struct reader *reader, uint64_t off, void *buf, size_t n, size_t *got, struct error *err)
{
    if (reader->input) {
        char *at = buf;
        size_t part = 1;
        for (*got = 0; *got < n && part; *got += part)
            if (!call_read(reader->input, at + *got, n - *got, &part, err))
                return false;
        return true;
    }
    if (reader->host)
        return interrupt_check(err) && read_host(reader, off, buf, n, got, err);
    *got = off < reader->size ? (size_t)MIN_OF(reader->size - off, (uint64_t)n) : 0;
    if (!interrupt_check(err))
        return false;
    if (reader->device)
        return *got == 0 || device_read(reader->device, off, buf, *got, err);
    return file_read_inside(reader->file.volume, reader->file.id, off, buf, *got, err);
}

void reader_close(struct reader *reader)
{
    file_arg_close(&reader->file);
    location_free(&reader->place);
    free(reader->shown);
    if (reader->host)
        close(reader->host);
    reader->host = 0;
    reader->shown = NULL;
}

bool each_reader(struct session *session, struct call *call, int from,
                 bool (*fn)(struct reader *, void *arg, struct error *), void *arg, struct error *err)
{
    static const char input[] = "-";
    if (call->argc <= from && !call_has_input(call))
        return fail(err, E_USAGE, "missing FILE (- is the input)");
    int count = MAX_OF(call->argc - from, 1);
    for (int i = 0; i < count; i++) {
        struct reader reader;
        bool ok = reader_open(session, call, call->argc > from ? call->args[from + i] : input, &reader, err);
        if (ok && !fn(&reader, arg, err))
            ok = err->kind == E_INTERRUPTED ? false : because(err, "%s", reader.shown);
        reader_close(&reader);
        if (ok)
            continue;
        if (err->kind == E_INTERRUPTED || err->kind == E_NOMEM)
            return false;
        call_complain(call, NULL, err);
    }
    return call_result(call, err);
}
