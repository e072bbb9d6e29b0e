#include "archive_lib.h"

#ifdef HAVE_ARCHIVE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

/* The names under which the ABI that the header describes is installed. */
static const char *const file_names[] = {"libarchive.so.13", "libarchive.so"};

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
#define FUNCTION(name) {#name, offsetof(struct archive_lib, name)},
    ARCHIVE_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

locale_t archive_locale_begin(void)
{
    static locale_t utf8;
    if (!utf8)
        utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    return utf8 ? uselocale(utf8) : (locale_t)0;
}

void archive_locale_end(locale_t old)
{
    if (old)
        uselocale(old);
}

const struct archive_lib *archive_lib(struct error *err)
{
    static struct archive_lib lib;
    static bool loaded;
    if (loaded)
        return &lib;
    void *handle = NULL;
    for (size_t i = 0; !handle && i < sizeof file_names / sizeof *file_names; i++)
        handle = dlopen(file_names[i], RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        fail(err, E_UNSUPPORTED, "archives need libarchive, which cannot be loaded: %s", dlerror());
        return NULL;
    }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *function = dlsym(handle, functions[i].name);
        if (!function) {
            fail(err, E_UNSUPPORTED, "this libarchive is too old: it has no %s", functions[i].name);
            dlclose(handle);
            return NULL;
        }
        memcpy((char *)&lib + functions[i].offset, &function, sizeof function);
    }
    loaded = true;
    return &lib;
}
#endif
