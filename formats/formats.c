#include "formats.h"

#define CONTAINER(symbol) extern const struct container_driver symbol;
#define TABLE(symbol) extern const struct table_driver symbol;
#define FILESYSTEM(symbol) extern const struct fs_driver symbol;
#include "formats.def"
#undef CONTAINER
#undef TABLE
#undef FILESYSTEM

#define CONTAINER(symbol) &symbol,
#define TABLE(symbol)
#define FILESYSTEM(symbol)
static const struct container_driver *const containers[] = {
#include "formats.def"
    NULL,
};
#undef CONTAINER
#undef TABLE
#undef FILESYSTEM

#define CONTAINER(symbol)
#define TABLE(symbol) &symbol,
#define FILESYSTEM(symbol)
static const struct table_driver *const tables[] = {
#include "formats.def"
    NULL,
};
#undef CONTAINER
#undef TABLE
#undef FILESYSTEM

#define CONTAINER(symbol)
#define TABLE(symbol)
#define FILESYSTEM(symbol) &symbol,
static const struct fs_driver *const filesystems[] = {
#include "formats.def"
    NULL,
};

const struct drivers all_formats = {containers, tables, filesystems, foreign_signatures};
