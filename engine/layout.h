/*
 * On-disk structures are described once. An X-macro list of fields yields both the accessors that a format's
 * code uses and the table behind `show`, `poke`, `diff`, `explain`, JSON output and the fuzzers:
 *
 *     #define EXT_INODE(F, T)                                                            \
 *         F(T, 0x00, 2, LE,  i_mode,  kind_oct,   "file type and permissions")           \
 *         F(T, 0x28, 60, RAW, i_block, kind_bytes, "block map, extent tree or inline data")
 *     LAYOUT_ACCESSORS(ext_inode, EXT_INODE)                  in the format's private header:
 *                                                             ext_inode_i_mode(p), ext_inode_set_i_mode(p,
 * v), ext_inode_i_block(p) (a pointer), ext_inode_off_i_mode const struct layout ext_inode_layout =
 * LAYOUT("inode", "title", 128, EXT_INODE fields, ...);   see LAYOUT_TABLE
 *
 * Fields are named as in the format's specification. Fields need not be in order and may leave gaps; the walk
 * reports gaps as rows of their own, so every byte appears exactly once. Overlapping fields are not allowed:
 * give a union its own layout.
 */
#ifndef DISH_LAYOUT_H
#define DISH_LAYOUT_H

#include "bytes.h"
#include "device.h"

enum byte_order { ORDER_LE, ORDER_BE, ORDER_RAW };

struct field;
struct layout;

/* Where one structure lies. `owner` is the opened container, table or filesystem that found it. */
struct place {
    const struct layout *layout;
    struct device *device;
    uint64_t off;    /* bytes in device */
    uint32_t size;   /* bytes; layout->size unless the structure is longer or shorter */
    void *owner;     /* struct device *, struct table * or struct fs * by the kind of driver */
    uint64_t index;  /* which one: inode number, group, entry ...; meaning is the layout's */
    char title[120]; /* "inode 12", "L2 table 3 of L1 entry 0" */
};

struct kind_name {
    uint64_t value; /* the value, or for flags the mask */
    const char *name;
};

/* One sort of value: how it is written for a person and read back. */
struct kind {
    const char *name;
    /* The value as text: what poke accepts ("0xef53", "1337", "\"root\""). */
    void (*format)(const struct field *, const void *raw, char *out, size_t size);
    /* Text to value; the inverse of format. NULL: cannot be poked. */
    bool (*parse)(const struct field *, const char *text, void *raw, struct error *);
    /* More for a person: names of flags, a date, a size. NULL: nothing. */
    void (*meaning)(const struct field *, const void *raw, char *out, size_t size);
    const struct kind_name *names; /* ends with name NULL; for enumerations and flags */
};

struct field {
    const char *name;
    uint32_t off, width;
    enum byte_order order;
    const struct kind *kind;
    const char *meaning;
};

typedef bool place_fn(const struct place *, void *arg, struct error *);

struct layout {
    const char *name;  /* what follows the dot: "super", "inode" (qualified by the driver's name) */
    const char *title; /* "ext superblock" */
    const char *spec;  /* section of the specification */
    uint32_t size;
    const struct field *fields;
    size_t field_count;
    /* Judges magic, limits and checksum of the raw bytes. NULL: anything goes. */
    bool (*check)(const struct place *, const void *raw, struct error *);
    /* Sets the checksum(s) in the raw bytes. NULL: there are none. */
    void (*seal)(const struct place *, void *raw);
    /* For a field that holds a checksum: the value it should have. NULL or false: not a checksum. */
    bool (*computed)(const struct place *, const void *raw, const struct field *, uint64_t *value);
    /* After a sealed change was written: sets checksums elsewhere that cover these bytes.
     * NULL: there are none. */
    bool (*settle)(const struct place *, struct error *err);
    /* Structures inside or behind this one (extents, directory entries, attributes). NULL: none. */
    bool (*parts)(const struct place *, const void *raw, place_fn *emit, void *arg, struct error *);
};

/* The standard kinds. Formats add their own with KIND_ENUM and KIND_FLAGS. */
extern const struct kind kind_dec, kind_hex, kind_oct, kind_size, kind_bytes, kind_text, kind_utf16le,
    kind_uuid, kind_guid, kind_time, kind_checksum, kind_reserved;

void kind_enum_format(const struct field *, const void *raw, char *out, size_t size);
void kind_enum_meaning(const struct field *, const void *raw, char *out, size_t size);
void kind_flags_meaning(const struct field *, const void *raw, char *out, size_t size);
void kind_hex_format(const struct field *, const void *raw, char *out, size_t size);
bool kind_number_parse(const struct field *, const char *text, void *raw, struct error *);

/* KIND_ENUM(kind_os, {0, "Linux"}, {1, "Hurd"}); poke accepts the number or the name. */
#define KIND_ENUM(id, ...)                                                                                   \
    static const struct kind_name id##_names[] = {__VA_ARGS__, {0, NULL}};                                   \
    static const struct kind id = {"enum", kind_enum_format, kind_number_parse, kind_enum_meaning, id##_names}

/* KIND_FLAGS(kind_compat, {0x1, "dir_prealloc"}, ...); poke accepts a number or names joined by commas. */
#define KIND_FLAGS(id, ...)                                                                                  \
    static const struct kind_name id##_names[] = {__VA_ARGS__, {0, NULL}};                                   \
    static const struct kind id = {"flags", kind_hex_format, kind_number_parse, kind_flags_meaning,          \
                                   id##_names}

static inline uint64_t field_load_LE(const void *p, unsigned width)
{
    switch (width) {
    case 1:
        return *(const uint8_t *)p;
    case 2:
        return load_le16(p);
    case 4:
        return load_le32(p);
    case 8:
        return load_le64(p);
    default:
        return load_le(p, width);
    }
}

static inline uint64_t field_load_BE(const void *p, unsigned width)
{
    switch (width) {
    case 1:
        return *(const uint8_t *)p;
    case 2:
        return load_be16(p);
    case 4:
        return load_be32(p);
    case 8:
        return load_be64(p);
    default:
        return load_be(p, width);
    }
}

#define LAYOUT_ACCESS_LE(T, off, width, name)                                                                \
    static inline uint64_t T##_##name(const void *p)                                                         \
    {                                                                                                        \
        return field_load_LE((const uint8_t *)p + (off), width);                                             \
    }                                                                                                        \
    static inline void T##_set_##name(void *p, uint64_t v)                                                   \
    {                                                                                                        \
        store_le((uint8_t *)p + (off), width, v);                                                            \
    }
#define LAYOUT_ACCESS_BE(T, off, width, name)                                                                \
    static inline uint64_t T##_##name(const void *p)                                                         \
    {                                                                                                        \
        return field_load_BE((const uint8_t *)p + (off), width);                                             \
    }                                                                                                        \
    static inline void T##_set_##name(void *p, uint64_t v)                                                   \
    {                                                                                                        \
        store_be((uint8_t *)p + (off), width, v);                                                            \
    }
#define LAYOUT_ACCESS_RAW(T, off, width, name)                                                               \
    static inline uint8_t *T##_##name(const void *p)                                                         \
    {                                                                                                        \
        return (uint8_t *)(uintptr_t)p + (off);                                                              \
    }
#define LAYOUT_ACCESS(T, off, width, order, name, kind, meaning)                                             \
    enum { T##_off_##name = (off), T##_width_##name = (width) };                                             \
    LAYOUT_ACCESS_##order(T, off, width, name)
#define LAYOUT_ROW(T, off, width, order, name, kind, meaning)                                                \
    {#name, off, width, ORDER_##order, &kind, meaning},

/* Accessors of a field list; in the format's private header. */
#define LAYOUT_ACCESSORS(T, LIST) LIST(LAYOUT_ACCESS, T)

/* The table of a field list: `LAYOUT_FIELDS(ext_inode, EXT_INODE)`
 * defines ext_inode_fields[]; in one .c file. */
#define LAYOUT_FIELDS(T, LIST) static const struct field T##_fields[] = {LIST(LAYOUT_ROW, T)}

/* Initialises .fields and .field_count of a struct layout. */
#define LAYOUT_TABLE(T) .fields = T##_fields, .field_count = ARRAY_LEN(T##_fields)

/* One row of a walk: a field, or a gap (field NULL) of bytes that no field describes. */
struct row {
    const struct field *field;
    uint32_t off, width; /* bytes in the structure */
    const uint8_t *raw;
    char value[200], meaning[300];
    bool has_computed, computed_ok; /* for checksums */
    uint64_t computed;
};
typedef bool row_fn(const struct row *, void *arg, struct error *);

/* Read the structure and emit its rows by rising offset, every byte exactly once. */
bool place_walk(const struct place *, row_fn *emit, void *arg, struct error *) DISH_CHECKED;

/* The same over bytes in hand (place->size of them). */
bool place_walk_raw(const struct place *, const void *raw, row_fn *emit, void *arg,
                    struct error *) DISH_CHECKED;

/* Change one field. POKE_SEALED sets the checksums anew and refuses what check() refuses;
 * POKE_RAW does neither. */
enum poke_mode { POKE_SEALED, POKE_RAW };
bool place_poke(const struct place *, const char *field, const char *value, enum poke_mode,
                struct error *) DISH_CHECKED;

/* The argument that says which one of a sort of structure is meant: a number, "#12" or "12". E_USAGE. */
bool place_number(const char *args, uint64_t *number, struct error *) DISH_CHECKED;

const struct field *layout_field(const struct layout *, const char *name);

#endif
