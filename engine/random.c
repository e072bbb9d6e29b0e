#include "random.h"

#include "bytes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

/* SplitMix64: for tests, and when the kernel gives nothing. */
static uint64_t next_word(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void fill(uint64_t *state, uint8_t *out, size_t n)
{
    while (n > 0) {
        uint8_t word[8];
        size_t step = MIN_OF(n, sizeof word);
        store_le64(word, next_word(state));
        memcpy(out, word, step);
        out += step;
        n -= step;
    }
}

static bool from_kernel(uint8_t *out, size_t n)
{
    while (n > 0) {
        ssize_t got = getrandom(out, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        out += got;
        n -= (size_t)got;
    }
    return true;
}

void random_bytes(void *buf, size_t n)
{
    static uint64_t state;
    static bool seeded;
    const char *seed = getenv("DISH_SEED");
    if (!seed && from_kernel(buf, n))
        return;
    if (!seeded) {
        struct timespec now = {0};
        if (!seed)
            clock_gettime(CLOCK_REALTIME, &now);
        state = (uint64_t)now.tv_sec * 1000000007 + (uint64_t)now.tv_nsec;
        for (; seed && *seed; seed++)
            state = (state ^ (uint8_t)*seed) * 0x100000001b3;
        seeded = true;
    }
    fill(&state, buf, n);
}

uint32_t random_u32(void)
{
    uint8_t raw[4];
    random_bytes(raw, sizeof raw);
    return load_le32(raw);
}
