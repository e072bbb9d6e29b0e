/* What the parts of the FAT check share. */
#ifndef DISH_FAT_CHECK_H
#define DISH_FAT_CHECK_H

#include "check_run.h"
#include "fat.h"

/* A directory still to be looked into. */
struct pending {
    uint32_t first, parent;
    fs_id id;
    char *path;
};

struct lost_chain {
    uint32_t first, clusters;
};

struct fat_check {
    struct fat *fat;
    struct check_run run;
    struct pending *todo;
    size_t count, capacity;
    uint64_t files, directories, used, bad, lost;
    struct lost_chain *chains; /* to be saved */
    size_t chain_count, chain_capacity;
    uint64_t saved;
    unsigned renamed; /* FSCKnnnn names given so far */
    uint8_t label[SHORT_NAME];
    bool has_label;
};

/* A chain as it is: how many sound clusters it has and why it ends there. */
struct fat_walk {
    uint32_t clusters, last; /* last: the last sound one, 0 when there is none */
    const char *code, *why;  /* NULL: it ends with an end mark */
    uint32_t at;             /* the cluster that is wrong */
};
/* Claim the clusters of a chain for something, as far as they are sound and belong to nobody else. */
bool fat_claim(struct fat_check *, uint32_t first, struct fat_walk *);
/* Give up clusters from `first` on that were claimed or lost, up to the end of the chain. */
bool fat_give_up(struct fat_check *, uint32_t first, uint32_t *freed);

/* Report clusters that nobody reached, and save or free them. */
bool fat_check_lost(struct fat_check *);

/* Make . and .. the first entries of a directory that lacks them; what stands there moves. */
bool fat_check_add_dots(struct fat_check *, uint32_t first, uint32_t parent);

/* Whether the clusters hold a directory: . and .. come first, or most entries could be ones. */
bool fat_check_is_dir(struct fat_check *, uint32_t first, bool *holds);

/* Look into all directories, from the root on. */
bool fat_check_tree(struct fat_check *);

#endif
