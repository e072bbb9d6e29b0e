/*
 * QEMU's byte locks on an image file, so that dish and a running virtual machine exclude each other. A
 * program holds a read lock on byte 100+n when it uses permission n and on byte 200+n when it does not let
 * others use it, and then looks whether somebody else holds the opposite byte. The locks belong to the open
 * file description: two descriptions of one program exclude each other as well. Private to the host file
 * (host_open.c, host_create.c).
 */
#ifndef DISH_HOST_LOCK_H
#define DISH_HOST_LOCK_H

#include "error.h"

/* What the holder does; as qemu-io -r, and as qemu-io. */
enum host_lock_mode { HOST_LOCK_READ, HOST_LOCK_WRITE };

/* Take the bytes of a mode; bytes held already stay. Hosts without such locks are passed over. */
bool host_lock_hold(int fd, enum host_lock_mode mode, struct error *err) DISH_CHECKED;

/* E_LOCKED, saying who it is, when another open file description excludes the mode. */
bool host_lock_probe(int fd, enum host_lock_mode mode, struct error *err) DISH_CHECKED;

/* Give all bytes back. */
void host_lock_drop(int fd);

#endif
