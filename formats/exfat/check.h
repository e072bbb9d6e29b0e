/* What the parts of the exFAT check share. */
#ifndef DISH_EXFAT_CHECK_H
#define DISH_EXFAT_CHECK_H

#include "check_run.h"
#include "exfat.h"

/* A directory still to be looked into. */
struct pending {
    struct exfat_stream stream;
    fs_id id, parent;
    char *path;
};

struct lost_run {
    uint32_t start, len;
};

struct exfat_check {
    struct exfat *exfat;
    struct check_run run;
    struct pending *todo;
    size_t count, capacity;
    bool has_bitmap, has_upcase;
    uint64_t upcase_off; /* bytes in the volume of the up-case table's entry, and what that says; 0: none */
    struct exfat_stream upcase;
    uint64_t files, directories, used, lost;
    struct lost_run *runs; /* to be saved */
    size_t run_count, run_capacity;
};

/* How far a stream's clusters are sound and belong to nobody else. */
struct exfat_walk {
    uint32_t clusters, last; /* last: the last sound one, 0 when there is none */
    const char *code, *why;  /* NULL: nothing is wrong */
    uint32_t at;             /* the cluster that is wrong */
};
/* Claim the clusters of a stream: of a run as many as its size needs, of a chain all. */
bool exfat_claim(struct exfat_check *, const struct exfat_stream *, struct exfat_walk *);
/* Take the claim back from cluster `keep` of a stream on. */
bool exfat_unclaim(struct exfat_check *, const struct exfat_stream *, uint32_t keep);

/* Lost clusters: freed unless they are to be saved, which is done when all are known. */
bool exfat_saves_lost(const struct exfat_check *);
void exfat_report_lost(struct exfat_check *, uint32_t start, uint32_t len, bool fixed, const char *saved_as);
bool exfat_remember_lost(struct exfat_check *, uint32_t start, uint32_t len);
bool exfat_save_lost(struct exfat_check *);

/* Look into all directories, from the root on. */
bool exfat_check_tree(struct exfat_check *);

#endif
