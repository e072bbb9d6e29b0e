/* What a new image is to be: the options of create, checked. */
#ifndef DISH_QCOW2_CREATE_H
#define DISH_QCOW2_CREATE_H

#include "qcow2.h"

/* Strings belong to the options. */
struct qcow2_plan {
    unsigned version, cluster_bits, refcount_order, compression;
    bool lazy, extended, raw_data;
    enum qcow2_preallocation preallocation;
    const char *backing, *backing_format, *data_file;
    uint64_t size;
};

/* All but the size. E_INVALID: options that exclude each other or are out of range. */
bool qcow2_plan_read(struct qcow2_plan *, const struct options *, struct error *) DISH_CHECKED;
/* The size, rounded up to sectors. E_TOOBIG: clusters of this size cannot hold it. */
bool qcow2_plan_size(struct qcow2_plan *, uint64_t size, struct error *) DISH_CHECKED;

#endif
