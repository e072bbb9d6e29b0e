/* Where linear directories may have room: without it every new name would look at all blocks again. */
#include "alloc.h"
#include "dir.h"

#include <stdlib.h>

enum { SLOTS = 256 };

struct slot {
    uint32_t ino;
    uint32_t need;  /* bytes of the smallest entry that was refused */
    uint64_t first; /* blocks before this one have no room for it */
};

struct ext_dirs {
    struct slot slots[SLOTS];
};

static struct slot *slot_of(struct ext_fs *ext, uint32_t ino)
{
    struct error ignored;
    if (!ext->dirs)
        ext->dirs = mem_new(sizeof *ext->dirs, &ignored);
    return ext->dirs ? &ext->dirs->slots[ino % SLOTS] : NULL;
}

uint64_t ext_dirs_first_room(struct ext_fs *ext, uint32_t ino, uint32_t need)
{
    const struct slot *slot = slot_of(ext, ino);
    return slot && slot->ino == ino && need >= slot->need ? slot->first : 0;
}

void ext_dirs_note_full(struct ext_fs *ext, uint32_t ino, uint32_t need, uint64_t block)
{
    struct slot *slot = slot_of(ext, ino);
    if (!slot)
        return;
    if (slot->ino == ino && slot->first == block && slot->need <= need)
        return;
    *slot = (struct slot){ino, need, block};
}

void ext_dirs_note_room(struct ext_fs *ext, uint32_t ino, uint64_t block)
{
    struct slot *slot = slot_of(ext, ino);
    if (slot && slot->ino == ino && block < slot->first)
        slot->first = block;
}

void ext_dirs_forget_one(struct ext_fs *ext, uint32_t ino)
{
    struct slot *slot = slot_of(ext, ino);
    if (slot && slot->ino == ino)
        *slot = (struct slot){0};
}

void ext_dirs_forget(struct ext_fs *ext)
{
    free(ext->dirs);
    ext->dirs = NULL;
}
