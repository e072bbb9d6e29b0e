#include "name_list.h"

#include "alloc.h"

#include <stdlib.h>

bool name_list_add(const char *name, void *arg)
{
    struct name_list *list = arg;
    list->ok = mem_grow(&list->names, &list->capacity, list->count + 1, sizeof *list->names, list->err);
    if (!list->ok)
        return false;
    list->names[list->count] = mem_string(name, list->err);
    list->ok = list->names[list->count] != NULL;
    list->count += list->ok;
    return list->ok;
}

void name_list_free(struct name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
}
