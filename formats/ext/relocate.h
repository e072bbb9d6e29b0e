/*
 * Room for the volume's own blocks where something else lies: files make way, and bitmaps and tables go to
 * new places. First all is planned, then the files move, then bitmaps and tables; descriptors follow.
 */
#ifndef EXT_RELOCATE_H
#define EXT_RELOCATE_H

#include "backup.h"

enum ext_part { EXT_PART_BLOCK_BITMAP, EXT_PART_INODE_BITMAP, EXT_PART_TABLE, EXT_PARTS };

struct ext_relocation {
    struct ext_fs *ext;
    uint32_t table_blocks; /* of an inode table at a new place */
    uint32_t groups;       /* that stay; parts of others are not asked for */
    struct ranges need;    /* blocks that are emptied and marked as in use */
    struct ranges gone;    /* blocks that are emptied, bad ones too: the volume will end before them */
    struct ranges fixed;   /* blocks nothing can be planned for: the volume's own, bad ones, `need`, `gone` */
    struct ranges bad;     /* bad blocks */
    struct ext_new_places {
        uint64_t part[EXT_PARTS]; /* block; 0: the part stays */
    } * places;                   /* by group */
};

/* Start a plan; release it with ext_relocation_end(), also after a failure, or one of zeros. */
bool ext_relocation_begin(struct ext_fs *, struct ext_relocation *, struct error *) DISH_CHECKED;
void ext_relocation_end(struct ext_relocation *);
/* These blocks must be emptied. E_UNSUPPORTED names a bad block among them, E_NOSPACE the volume's end. */
bool ext_relocation_need(struct ext_relocation *, uint64_t start, uint64_t len, struct error *) DISH_CHECKED;
/* The volume is to have only so many groups and blocks. */
bool ext_relocation_cut(struct ext_relocation *, uint32_t groups, uint64_t blocks,
                        struct error *) DISH_CHECKED;
/* Plan new places for bitmaps and tables that lie in blocks to be emptied. */
bool ext_relocation_plan(struct ext_relocation *, struct error *) DISH_CHECKED;
/* A new place for one part, as near to the group as can be: inside it without flex_bg. E_NOSPACE. */
bool ext_relocation_place(struct ext_relocation *, uint32_t group, enum ext_part,
                          struct error *) DISH_CHECKED;
/* The first n blocks from `from` on that can be planned for and end before `end`. False: there are none. */
bool ext_relocation_gap(const struct ext_relocation *, uint64_t from, uint64_t end, uint64_t n, uint64_t *at);
/* Enter a place that was found. */
bool ext_relocation_put(struct ext_relocation *, uint32_t group, enum ext_part, uint64_t at,
                        struct error *) DISH_CHECKED;
/* Carry the plan out, but for tables of another size: files move, then bitmaps and tables; flushed. */
bool ext_relocation_run(struct ext_relocation *, struct error *) DISH_CHECKED;
/* Free what was the volume's own (`old`), but for what it needs by now. */
bool ext_relocation_free(struct ext_relocation *, const struct ranges *old, struct error *) DISH_CHECKED;

/* Where a part of a group lies, and its length. */
struct ext_run ext_part_of(const struct ext_fs *, const uint8_t *desc, enum ext_part);
void ext_part_set(const struct ext_fs *, uint8_t *desc, enum ext_part, uint64_t block);

#endif
