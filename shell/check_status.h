/* `check --qemu-status`: the verdict on a container in the words and exit statuses of `qemu-img check`. */
#ifndef DISH_CHECK_STATUS_H
#define DISH_CHECK_STATUS_H

#include "findings.h"

/* Check (and repair, as findings->check says) the container alone; text. */
bool check_as_qemu(struct findings *, struct image *, struct call *, struct error *) DISH_CHECKED;
/* Only the exit status, for what a check of the container has found. */
void check_qemu_status(struct call *, const struct container_driver *, const struct check *);

#endif
