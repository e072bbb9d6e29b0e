/* Building and taking down the layers of one image; private to the engine. */
#ifndef DISH_IMAGE_H
#define DISH_IMAGE_H

#include "session.h"

/* A host file on the way down a backing chain, so that a loop is found before opening. */
struct backing_link {
    const struct backing_link *above;
    uint64_t device, inode;
};

/* What the callbacks of struct container_open need. */
struct layer_context {
    struct session *session;
    struct image *image;       /* companions are registered here; NULL: read-only layers */
    const struct image *model; /* for an old state: the image whose companions are shown as they were */
    const struct backing_link *chain;
    struct device **made; /* of a layer that is being made: its one companion; else NULL */
};

/* Fills the options a container is opened with; `context` and `path` must outlive the container. */
void layer_open_options(struct container_open *, struct layer_context *, const char *path, bool read_only);

/* The best container driver for a file; format NULL: probed. */
bool container_find(struct session *, struct device *file, const char *format,
                    const struct container_driver **, struct error *) DISH_CHECKED;

/* Container, table and volumes above image->file. */
bool image_build(struct image *, const char *format, struct error *) DISH_CHECKED;
/* Everything above image->file and the companions goes; the files stay. */
void image_take_down(struct image *);
/*
 * Take down and build again, after the chain below changed. Space freed since the last commit is no longer
 * known: until then nothing counts as fresh.
 */
bool image_reopen(struct image *, struct error *err) DISH_CHECKED;
/* The host path and driver of a layer opened by struct container_open's open_layer(). */
const char *layer_path(const struct device *layer, const struct container_driver **);
/* After the bytes below changed (undo, revert): all layers read themselves again. */
bool image_reload(struct image *, struct error *) DISH_CHECKED;
/*
 * The same after the files went back to the state before the running command; what it left alone stays in
 * memory. `below`: bytes of the files had been changed.
 */
bool image_revert(struct image *, bool below, struct error *) DISH_CHECKED;
bool image_flush(struct image *, struct error *) DISH_CHECKED;
/* The command ended, with a savepoint or taken back: what changes from now on is the next one's. */
void image_settled(struct image *);
void image_committed(struct image *);
/* Something of it, or of its companions, is not committed. */
bool image_pending(const struct image *);

/*
 * Everything that is marked, in all images: all or none. *happened: it is committed, even if an error says
 * that some of it could only be finished in its journal.
 */
bool commit_files(struct session *, bool *happened, struct error *) DISH_CHECKED;
void image_free(struct image *);
/* Close an image of the session, whatever is pending in it. */
void session_drop_image(struct session *, struct image *);
/* session_undo.c: nothing can be undone or redone any more. */
void session_forget_undo(struct session *);
/* The same as far as it would concern an image that is being closed. */
void session_forget_undo_of(struct session *, const struct image *);
/* Before the device that an error names is closed: keep the name of its layer and the offset. */
void error_leave_device(struct error *);

bool volumes_build(struct image *, struct error *) DISH_CHECKED;
void volumes_free(struct image *);
void volume_close_fs(struct volume *);
/* A filesystem that wants an external journal finds it among the volumes of all open images. */
bool volume_find_journal(struct volume *, struct error *) DISH_CHECKED;

#endif
