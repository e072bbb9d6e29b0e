#include "read_ahead.h"

#include "alloc.h"
#include "bytes.h"
#include "transfer.h"

#include <pthread.h>
#include <stdlib.h>

/* One is being written, one is ready, one is being read. */
enum { SLOTS = 3 };

struct slot {
    struct piece piece;
    uint8_t *buf;
    bool ok;
    struct error err;
};

struct read_ahead {
    struct device *from;
    uint64_t off, end; /* what is still to be read; the thread's once it runs */
    size_t size, align;
    struct slot slots[SLOTS];
    unsigned head; /* the slot to be given out next */
    bool held;     /* it is given out */
    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    unsigned filled; /* slots from head on */
    bool quit, done;
};

static bool read_padded(struct device *dev, uint64_t off, uint8_t *buf, size_t n, struct error *err)
{
    size_t there = off >= dev->size ? 0 : (size_t)MIN_OF(n, dev->size - off);
    memset(buf + there, 0, n - there);
    return there == 0 || device_read(dev, off, buf, there, err);
}

static bool fill_slot(struct read_ahead *ahead, struct slot *slot)
{
    uint64_t run;
    bool zero;
    slot->piece = (struct piece){.off = ahead->off};
    slot->ok = device_look(ahead->from, ahead->off, ahead->end - ahead->off, &zero, &run, &slot->err);
    if (!slot->ok)
        return false;
    if (zero && ahead->off + run < ahead->end)
        run = round_down(run, ahead->align);
    if (zero && run > 0) {
        slot->piece.len = run;
    } else {
        slot->piece.len = MIN_OF(ahead->end - ahead->off, ahead->size - ahead->off % ahead->size);
        slot->piece.buf = slot->buf;
        slot->ok = read_padded(ahead->from, ahead->off, slot->buf, (size_t)slot->piece.len, &slot->err);
    }
    ahead->off += slot->piece.len;
    return slot->ok;
}

static void *work(void *arg)
{
    struct read_ahead *ahead = arg;
    bool ok = true;
    pthread_mutex_lock(&ahead->lock);
    for (unsigned i = 0; ok && ahead->off < ahead->end; i = (i + 1) % SLOTS) {
        while (ahead->filled == SLOTS && !ahead->quit)
            pthread_cond_wait(&ahead->changed, &ahead->lock);
        if (ahead->quit)
            break;
        pthread_mutex_unlock(&ahead->lock);
        ok = fill_slot(ahead, &ahead->slots[i]);
        pthread_mutex_lock(&ahead->lock);
        ahead->filled++;
        pthread_cond_signal(&ahead->changed);
    }
    ahead->done = true;
    pthread_cond_signal(&ahead->changed);
    pthread_mutex_unlock(&ahead->lock);
    return NULL;
}

struct read_ahead *read_ahead_new(struct device *from, uint64_t off, uint64_t end, size_t size, size_t align,
                                  struct error *err)
{
    struct read_ahead *ahead = mem_new(sizeof *ahead, err);
    if (!ahead)
        return NULL;
    ahead->from = from;
    ahead->off = off;
    ahead->end = end;
    ahead->size = size;
    ahead->align = align;
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->changed, NULL);
    for (size_t i = 0; i < SLOTS; i++)
        if (!(ahead->slots[i].buf = mem_new(size, err))) {
            read_ahead_free(ahead);
            return NULL;
        }
    /* Little is read faster without; and without a thread it works, too. */
    ahead->threaded = end - off > size && pthread_create(&ahead->thread, NULL, work, ahead) == 0;
    return ahead;
}

/* The filled slot that comes next; false: there is none any more. */
static bool take_slot(struct read_ahead *ahead)
{
    pthread_mutex_lock(&ahead->lock);
    if (ahead->held) {
        ahead->filled--;
        ahead->head = (ahead->head + 1) % SLOTS;
        pthread_cond_signal(&ahead->changed);
    }
    while (ahead->filled == 0 && !ahead->done)
        pthread_cond_wait(&ahead->changed, &ahead->lock);
    ahead->held = ahead->filled > 0;
    pthread_mutex_unlock(&ahead->lock);
    return ahead->held;
}

bool read_ahead_next(struct read_ahead *ahead, struct piece *piece, struct error *err)
{
    struct slot *slot = &ahead->slots[0];
    *piece = (struct piece){0};
    if (ahead->threaded) {
        if (!take_slot(ahead))
            return true;
        slot = &ahead->slots[ahead->head];
    } else if (ahead->off < ahead->end) {
        fill_slot(ahead, slot);
    } else {
        return true;
    }
    if (!slot->ok) {
        *err = slot->err;
        return false;
    }
    *piece = slot->piece;
    return true;
}

void read_ahead_free(struct read_ahead *ahead)
{
    if (!ahead)
        return;
    if (ahead->threaded) {
        pthread_mutex_lock(&ahead->lock);
        ahead->quit = true;
        pthread_cond_signal(&ahead->changed);
        pthread_mutex_unlock(&ahead->lock);
        pthread_join(ahead->thread, NULL);
    }
    for (size_t i = 0; i < SLOTS; i++)
        free(ahead->slots[i].buf);
    pthread_cond_destroy(&ahead->changed);
    pthread_mutex_destroy(&ahead->lock);
    free(ahead);
}
