/*
 * The fuzz target without a fuzzer: replays files, and mutates them with a fixed seed.
 *
 *     fuzz_replay [-n MUTATIONS] [-s SEED] FILE...
 *
 * A mutation puts one to four boundary values, or values from elsewhere, where the sparse image's records
 * hold bytes. A case that crashes can be repeated: its number is printed before it runs when -v is given.
 */
#include "bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t state;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void put_value(uint8_t *at, size_t room)
{
    static const uint64_t values[] = {0,          1,          2,          0x7f,        0x80,      0xff,
                                      0x100,      0x7fff,     0x8000,     0xffff,      0x10000,   0x100000,
                                      0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, INT64_MAX, UINT64_MAX};
    size_t width = (size_t)1 << next_random() % 4;
    uint64_t value = values[next_random() % ARRAY_LEN(values)] + next_random() % 3 - 1;
    if (width > room)
        width = 1;
    if (next_random() % 3 == 0)
        *at ^= (uint8_t)(1u << next_random() % 8);
    else if (next_random() % 2)
        store_be(at, (unsigned)width, value);
    else
        store_le(at, (unsigned)width, value);
}

/* What another pointer, count or record says: so that two structures claim the same place. */
static void copy_value(uint8_t *data, size_t size, size_t at)
{
    size_t from = 8 + (size_t)(next_random() % (size - 8)) / 4 * 4, width = (size_t)2 << next_random() % 5;
    memmove(data + at, data + from, MIN_OF(width, size - MAX_OF(at, from)));
}

static void mutate(uint8_t *data, size_t size)
{
    for (uint64_t n = next_random() % 4 + 1; n > 0; n--) {
        size_t at = 8 + (size_t)(next_random() % (size - 8));
        if (next_random() % 2)
            at &= ~(size_t)3;
        if (next_random() % 3 == 0)
            copy_value(data, size, at);
        else
            put_value(data + at, size - at);
    }
}

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*size + 1);
    if (data && fread(data, 1, *size, file) != *size) {
        free(data);
        data = NULL;
    }
    fclose(file);
    return data;
}

static bool replay(const char *path, unsigned long mutations, bool verbose)
{
    size_t size;
    uint8_t *data = read_file(path, &size);
    uint8_t *copy = data && size > 16 ? malloc(size) : NULL;
    if (!copy) {
        fprintf(stderr, "%s: cannot be read\n", path);
        free(data);
        return false;
    }
    LLVMFuzzerTestOneInput(data, size);
    for (unsigned long n = 1; n <= mutations; n++) {
        if (verbose)
            fprintf(stderr, "%s: mutation %lu\n", path, n);
        memcpy(copy, data, size);
        mutate(copy, size);
        LLVMFuzzerTestOneInput(copy, size);
    }
    free(copy);
    free(data);
    return true;
}

int main(int argc, char **argv)
{
    unsigned long mutations = 0;
    bool verbose = false, ok = true;
    state = 88172645463325252u;
    for (int option; (option = getopt(argc, argv, "n:s:v")) != -1;) {
        if (option == 'n')
            mutations = strtoul(optarg, NULL, 10);
        else if (option == 's')
            state = strtoull(optarg, NULL, 10) * 2654435769u + 1;
        else if (option == 'v')
            verbose = true;
        else
            return 2;
    }
    for (int i = optind; i < argc; i++)
        ok = replay(argv[i], mutations, verbose) && ok;
    printf("%d inputs, %lu mutations each\n", argc - optind, mutations);
    return ok ? 0 : 1;
}
