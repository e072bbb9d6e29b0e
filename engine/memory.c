/* A sparse device in memory: pages appear when something other than zeros is written. */
#include "alloc.h"
#include "bytes.h"
#include "device.h"

#include <stdlib.h>

enum { PAGE = 4096 };

struct memory {
    struct device dev;
    uint8_t **pages;
    size_t page_capacity;
};

static struct memory *memory_of(struct device *dev)
{
    return (struct memory *)dev;
}

static bool memory_read(struct device *dev, uint64_t off, void *buf, size_t n, struct error *err)
{
    struct memory *mem = memory_of(dev);
    uint8_t *out = buf;
    (void)err;
    while (n > 0) {
        size_t index = (size_t)(off / PAGE), at = (size_t)(off % PAGE), step = MIN_OF(n, PAGE - at);
        const uint8_t *page = index < mem->page_capacity ? mem->pages[index] : NULL;
        if (page)
            memcpy(out, page + at, step);
        else
            memset(out, 0, step);
        out += step;
        off += step;
        n -= step;
    }
    return true;
}

static bool memory_write(struct device *dev, uint64_t off, const void *buf, size_t n, enum write_class class,
                         struct error *err)
{
    struct memory *mem = memory_of(dev);
    const uint8_t *in = buf;
    (void)class;
    while (n > 0) {
        size_t index = (size_t)(off / PAGE), at = (size_t)(off % PAGE), step = MIN_OF(n, PAGE - at);
        if (!mem_grow(&mem->pages, &mem->page_capacity, index + 1, sizeof *mem->pages, err))
            return false;
        if (!mem->pages[index] && !all_zero(in, step)) {
            mem->pages[index] = mem_new(PAGE, err);
            if (!mem->pages[index])
                return false;
        }
        if (mem->pages[index])
            memcpy(mem->pages[index] + at, in, step);
        in += step;
        off += step;
        n -= step;
    }
    return true;
}

static bool memory_resize(struct device *dev, uint64_t size, struct error *err)
{
    if (size < dev->size && !device_zero(dev, size, dev->size - size, WRITE_UPDATE, err))
        return false;
    dev->size = size;
    return true;
}

static void memory_close(struct device *dev)
{
    struct memory *mem = memory_of(dev);
    for (size_t i = 0; i < mem->page_capacity; i++)
        free(mem->pages[i]);
    free(mem->pages);
    free(mem);
}

static const struct device_ops memory_ops = {
    .name = "memory",
    .read = memory_read,
    .write = memory_write,
    .resize = memory_resize,
    .close = memory_close,
};

struct device *memory_device_new(uint64_t size, struct error *err)
{
    struct memory *mem = mem_new(sizeof *mem, err);
    if (!mem)
        return NULL;
    mem->dev = (struct device){.ops = &memory_ops, .size = size, .block_size = 512};
    return &mem->dev;
}
