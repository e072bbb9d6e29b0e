#include "spill.h"

#include "alloc.h"
#include "bytes.h"
#include "checksum.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

void spill_init(struct spill *spill)
{
    *spill = (struct spill){.fd = -1};
}

static bool open_file(struct spill *spill, struct error *err)
{
    const char *dir = getenv("TMPDIR");
    if (!dir || !dir[0])
        dir = "/var/tmp";
    spill->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (spill->fd < 0) {
        char *name = mem_printf(err, "%s/dish-spill-XXXXXX", dir);
        if (!name)
            return false;
        spill->fd = mkostemp(name, O_CLOEXEC);
        if (spill->fd >= 0)
            unlink(name);
        free(name);
    }
    return spill->fd >= 0 || fail_errno(err, errno, "cannot make a temporary file in %s", dir);
}

static bool write_slot(struct spill *spill, uint64_t slot, const uint8_t *page, struct error *err)
{
    for (size_t done = 0; done < SPILL_SLOT;) {
        ssize_t n = pwrite(spill->fd, page + done, SPILL_SLOT - done, (off_t)(slot * SPILL_SLOT + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail_errno(err, n < 0 ? errno : ENOSPC, "writing the temporary file for pending changes");
        done += (size_t)n;
    }
    return true;
}

/* Pages for fresh slots at the end of the file, in one request when the host takes it whole. */
static bool write_run(struct spill *spill, uint64_t slot, const uint8_t *const *pages, size_t count,
                      struct error *err)
{
    struct iovec vector[64];
    for (size_t i = 0; i < count; i++)
        vector[i] = (struct iovec){(void *)(uintptr_t)pages[i], SPILL_SLOT};
    ssize_t n = pwritev(spill->fd, vector, (int)count, (off_t)(slot * SPILL_SLOT));
    if (n == (ssize_t)(count * SPILL_SLOT))
        return true;
    for (size_t i = 0; i < count; i++)
        if (!write_slot(spill, slot + i, pages[i], err))
            return false;
    return true;
}

bool spill_write(struct spill *spill, const uint8_t *const *pages, size_t count, uint64_t *slots,
                 struct error *err)
{
    if (spill->fd < 0 && !open_file(spill, err))
        return false;
    size_t done = 0;
    for (; done < count && spill->free_count > 0; done++) {
        uint64_t slot = spill->free_list[spill->free_count - 1];
        if (!write_slot(spill, slot, pages[done], err))
            return false;
        spill->free_count--;
        slots[done] = slot;
    }
    while (done < count) {
        size_t n = MIN_OF(count - done, 64);
        if (!write_run(spill, spill->slots, pages + done, n, err))
            return false;
        for (size_t i = 0; i < n; i++)
            slots[done + i] = spill->slots++;
        done += n;
    }
    return true;
}

bool spill_read(struct spill *spill, uint64_t slot, uint32_t crc, uint8_t *page, struct error *err)
{
    for (size_t done = 0; done < SPILL_SLOT;) {
        ssize_t n = pread(spill->fd, page + done, SPILL_SLOT - done, (off_t)(slot * SPILL_SLOT + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail_errno(err, n < 0 ? errno : EIO, "reading the temporary file for pending changes");
        done += (size_t)n;
    }
    if (crc32c(~0u, page, SPILL_SLOT) != crc)
        return fail(err, E_IO, "the temporary file for pending changes gave back other bytes than it got");
    return true;
}

void spill_release(struct spill *spill, uint64_t slot)
{
    struct error ignored = {0};
    /* Without memory for the list the slot is lost until the file is closed; nothing else depends on it. */
    if (mem_grow(&spill->free_list, &spill->free_capacity, spill->free_count + 1, sizeof *spill->free_list,
                 &ignored))
        spill->free_list[spill->free_count++] = slot;
}

void spill_close(struct spill *spill)
{
    if (spill->fd >= 0)
        close(spill->fd);
    free(spill->free_list);
    spill_init(spill);
}
