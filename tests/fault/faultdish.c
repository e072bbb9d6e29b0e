/*
 * dish, with one planned failure:
 *
 *     faultdish SORT N SEED RESULT -- DISH ARGUMENT...
 *
 * SORT is none, eio, enospc, cut, loss, mixed (see fault.h; N counts operations on host files) or memory (N
 * counts allocations). RESULT is a file that gets "operations N happened 0|1". The exit status is dish's.
 */
#include "alloc.h"
#include "fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* main() of shell/main.c, renamed by the build. */
int dish_main(int argc, char **argv);

static const char *const sorts[] = {
    [FAULT_NONE] = "none",     [FAULT_EIO] = "eio",         [FAULT_ENOSPC] = "enospc",
    [FAULT_POWER_CUT] = "cut", [FAULT_POWER_LOSS] = "loss", [FAULT_POWER_MIXED] = "mixed",
};

int main(int argc, char **argv)
{
    struct fault_plan plan = {0};
    struct error err = {0};
    uint64_t operations = 0;
    if (argc < 6 || strcmp(argv[5], "--") != 0)
        return 99;
    bool memory = strcmp(argv[1], "memory") == 0;
    for (unsigned i = 0; i < sizeof sorts / sizeof sorts[0]; i++)
        if (strcmp(argv[1], sorts[i]) == 0)
            plan.sort = (enum fault_sort)i;
    plan.at = strtoull(argv[2], NULL, 10);
    plan.seed = strtoull(argv[3], NULL, 10);
    fault_start(&plan);
    if (memory)
        mem_fail_at(plan.at);
    argv[5] = argv[0];
    int status = dish_main(argc - 5, argv + 5);
    bool happened = memory ? mem_failed() : fault_happened();
    if (!fault_stop(&operations, &err)) {
        fprintf(stderr, "faultdish: %s\n", err.message);
        return 98;
    }
    FILE *result = fopen(argv[4], "w");
    if (!result || fprintf(result, "%llu %d\n", (unsigned long long)operations, happened) < 0 ||
        fclose(result) != 0)
        return 97;
    return status;
}
