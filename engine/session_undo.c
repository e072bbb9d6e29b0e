/*
 * Commands as transactions over all open images. Invariants:
 *  1. Between commands no layer above a stage is dirty: session_savepoint() or session_revert() ended the
 *     command.
 *  2. Every undo record names, for each image it changed, the stage generations before and after its command.
 *  3. After any step back, all layers of the touched images have read themselves again; when one cannot, the
 *     session is broken and refuses everything but closing.
 */
#include "session.h"

#include "alloc.h"
#include "image.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct undo_step {
    struct device *file; /* a stage: the image's or a companion's */
    uint64_t before, after;
};

/* Between once and twice so many commands are remembered, however long a script is. */
enum { COMMANDS_KEPT = 10000 };

struct undo_record {
    struct undo_record *next;
    uint64_t number; /* of the command since the last commit, from 1 */
    char *command;
    struct undo_step *steps;
    size_t step_count;
};

static void free_records(struct undo_record **list)
{
    while (*list) {
        struct undo_record *record = *list;
        *list = record->next;
        free(record->command);
        free(record->steps);
        free(record);
    }
}

void session_forget_undo(struct session *session)
{
    free_records(&session->undo);
    free_records(&session->redo);
}

static bool record_names(const struct undo_record *record, const struct image *image)
{
    for (size_t i = 0; i < record->step_count; i++) {
        if (record->steps[i].file == image->file)
            return true;
        for (size_t k = 0; k < image->companion_count; k++)
            if (record->steps[i].file == image->companions[k])
                return true;
    }
    return false;
}

/* Undo across the closing of an image cannot be kept: records that name it, and all older ones, go. */
static void forget_records(struct undo_record **list, const struct image *image)
{
    for (struct undo_record **hook = list; *hook; hook = &(*hook)->next)
        if (record_names(*hook, image)) {
            free_records(hook);
            return;
        }
}

void session_forget_undo_of(struct session *session, const struct image *image)
{
    forget_records(&session->undo, image);
    forget_records(&session->redo, image);
}

static size_t count_files(const struct session *session)
{
    size_t count = 0;
    for (const struct image *image = session->images; image; image = image->next)
        count += 1 + image->companion_count;
    return count;
}

/* Every host file that the session may write: the image's companions before the image. */
static bool each_file(struct session *session, bool (*visit)(struct device *, void *, struct error *),
                      void *arg, struct error *err)
{
    for (struct image *image = session->images; image; image = image->next) {
        for (size_t i = 0; i < image->companion_count; i++)
            if (!visit(image->companions[i], arg, err))
                return false;
        if (!visit(image->file, arg, err))
            return false;
    }
    return true;
}

static bool prepare_mark(struct device *file, void *arg, struct error *err)
{
    (void)arg;
    return stage_prepare_mark(file, err);
}

static bool mark_file(struct device *file, void *arg, struct error *err)
{
    struct undo_record *record = arg;
    if (!stage_dirty(file))
        return true;
    struct undo_step step = {.file = file, .before = stage_generation(file)};
    if (!stage_mark(file, err))
        return false;
    step.after = stage_generation(file);
    record->steps[record->step_count++] = step;
    return true;
}

static struct undo_record *record_new(const struct session *session, const char *command, struct error *err)
{
    struct undo_record *record = mem_new(sizeof *record, err);
    if (!record)
        return NULL;
    record->command = mem_string(command, err);
    record->steps = mem_array(count_files(session), sizeof *record->steps, err);
    if (record->command && record->steps)
        return record;
    free_records(&record);
    return NULL;
}

static bool image_dirty(const struct image *image)
{
    bool dirty = stage_dirty(image->file);
    for (size_t i = 0; i < image->companion_count; i++)
        dirty = dirty || stage_dirty(image->companions[i]);
    return dirty;
}

static bool any_dirty(const struct session *session)
{
    bool dirty = false;
    for (const struct image *image = session->images; image; image = image->next)
        dirty = dirty || image_dirty(image);
    return dirty;
}

/* The changes stay, of course; only taking them back one by one goes no further. */
static void forget_old_records(struct undo_record *newest)
{
    for (size_t i = 1; newest && i < COMMANDS_KEPT; i++)
        newest = newest->next;
    if (newest)
        free_records(&newest->next);
}

bool session_savepoint(struct session *session, const char *command, struct error *err)
{
    if (!session_usable(session, err))
        return false;
    for (struct image *image = session->images; image; image = image->next)
        if (!image->file->read_only && !image_flush(image, err))
            return false;
    if (any_dirty(session)) {
        struct undo_record *record = record_new(session, command, err);
        if (!record)
            return false;
        /* All files are marked or none: what is prepared cannot fail. */
        if (!each_file(session, prepare_mark, NULL, err) || !each_file(session, mark_file, record, err)) {
            free_records(&record);
            return false;
        }
        record->next = session->undo;
        record->number = session->undo ? session->undo->number + 1 : 1;
        session->undo = record;
        free_records(&session->redo);
        if (record->number % COMMANDS_KEPT == 0)
            forget_old_records(record);
    }
    for (struct image *image = session->images; image; image = image->next)
        image_settled(image);
    return !session->options.drop_caches || session_drop_caches(session, err);
}

/* An image that could not be read again is of no use, and neither is the session. */
static bool break_session(struct session *session, const struct image *image, struct error *err)
{
    because(err, "%s", image->name);
    snprintf(session->broken, sizeof session->broken, "%s", err->message);
    return false;
}

/* All layers of an image read themselves again. */
static bool reload(struct session *session, struct image *image, struct error *err)
{
    session->name_epoch++;
    return image_reload(image, err) || break_session(session, image, err);
}

/* Take back what the running command did to an image. */
static bool revert_image(struct session *session, struct image *image, struct error *err)
{
    bool dirty = image_dirty(image), ok = stage_revert(image->file, err);
    for (size_t i = 0; i < image->companion_count; i++)
        ok = stage_revert(image->companions[i], err) && ok;
    session->name_epoch++;
    ok = (image_revert(image, dirty, err) || break_session(session, image, err)) && ok;
    image_settled(image);
    return ok;
}

/* A command that failed after an undo may have ended redo in the stages:
 * then the session's list ends, too. */
static void check_redo(struct session *session)
{
    for (const struct undo_record *record = session->redo; record; record = record->next)
        for (size_t i = 0; i < record->step_count; i++)
            if (!stage_reaches(record->steps[i].file, record->steps[i].after)) {
                free_records(&session->redo);
                return;
            }
}

bool session_revert(struct session *session, struct error *err)
{
    bool ok = true;
    interrupt_hold();
    for (struct image *image = session->images; image; image = image->next)
        ok = (image->file->read_only || revert_image(session, image, err)) && ok;
    check_redo(session);
    interrupt_release();
    return ok;
}

static bool go_files(const struct undo_record *record, bool back, struct error *err)
{
    for (size_t i = 0; i < record->step_count; i++) {
        const struct undo_step *step = &record->steps[i];
        if (stage_go(step->file, back ? step->before : step->after, err))
            continue;
        struct error ignored;
        while (i-- > 0) /* back to where they were, so that the images still belong together */
            (void)!stage_go(record->steps[i].file, back ? record->steps[i].after : record->steps[i].before,
                            &ignored);
        return false;
    }
    return true;
}

/* Go to the before or after state of a record. */
static bool go(struct session *session, const struct undo_record *record, bool back, struct error *err)
{
    if (!go_files(record, back, err))
        return false;
    bool ok = true;
    interrupt_hold();
    for (struct image *image = session->images; image; image = image->next)
        ok = (!record_names(record, image) || reload(session, image, err)) && ok;
    interrupt_release();
    return ok;
}

static bool step_records(struct session *session, struct undo_record **from, struct undo_record **to,
                         unsigned count, bool back, struct error *err)
{
    if (!session_usable(session, err))
        return false;
    unsigned available = 0;
    for (const struct undo_record *record = *from; record; record = record->next)
        available++;
    if (available == 0)
        return fail(err, E_NOENT, back ? "nothing to undo since the last commit" : "nothing to redo");
    if (count > available)
        return fail(err, E_NOENT, "only %u command%s can be taken %s", available, available == 1 ? "" : "s",
                    back ? "back" : "forward again");
    for (; count > 0; count--) {
        struct undo_record *record = *from;
        if (!go(session, record, back, err))
            return false;
        *from = record->next;
        record->next = *to;
        *to = record;
    }
    return true;
}

bool session_undo(struct session *session, unsigned count, struct error *err)
{
    return step_records(session, &session->undo, &session->redo, count, true, err);
}

bool session_redo(struct session *session, unsigned count, struct error *err)
{
    return step_records(session, &session->redo, &session->undo, count, false, err);
}

bool session_pending(const struct session *session)
{
    for (const struct image *image = session->images; image; image = image->next)
        if (image_pending(image) || image->is_new)
            return true;
    return false;
}

bool session_each_pending(const struct session *session, bool (*emit)(const char *command, void *arg),
                          void *arg)
{
    uint64_t earlier = 0;
    for (const struct undo_record *record = session->undo; record; record = record->next) {
        if (!emit(record->command, arg))
            return false;
        earlier = record->number - 1;
    }
    char text[60];
    snprintf(text, sizeof text, "(%" PRIu64 " earlier commands)", earlier);
    return earlier == 0 || emit(text, arg);
}

bool session_commit(struct session *session, struct error *err)
{
    if (!session_usable(session, err) || !session_savepoint(session, "commit", err))
        return false;
    if (session->options.dry_run)
        return true;
    bool happened, ok = commit_files(session, &happened, err);
    if (happened)
        session_forget_undo(session);
    return ok;
}

/* An image that was never committed does not exist on the host: taking everything back closes it. */
static void drop_new_images(struct session *session)
{
    for (struct image *image = session->images, *next; image; image = next) {
        next = image->next;
        if (image->is_new)
            session_drop_image(session, image);
    }
}

bool session_rollback(struct session *session, struct error *err)
{
    bool ok = true;
    interrupt_hold();
    session_forget_undo(session);
    drop_new_images(session);
    for (struct image *image = session->images; image; image = image->next) {
        if (image->file->read_only)
            continue;
        ok = stage_rollback(image->file, err) && ok;
        for (size_t i = 0; i < image->companion_count; i++)
            ok = stage_rollback(image->companions[i], err) && ok;
        image->restructured = false;
        ok = reload(session, image, err) && ok;
        if (ok)
            image_committed(image);
    }
    if (ok)
        session->broken[0] = '\0';
    interrupt_release();
    return ok;
}

bool session_drop_caches(struct session *session, struct error *err)
{
    for (struct image *image = session->images; image; image = image->next)
        if (!reload(session, image, err))
            return false;
    return true;
}

/* ---- old states ---- */

static uint64_t generation_before(const struct session *session, const struct image *image)
{
    const struct undo_record *record = session->undo;
    for (size_t i = 0; record && i < record->step_count; i++)
        if (record->steps[i].file == image->file)
            return record->steps[i].before;
    return stage_generation(image->file);
}

bool session_open_old(struct session *session, struct image *image, bool last_command, struct image **out,
                      struct error *err)
{
    struct image *old = mem_new(sizeof *old, err);
    if (!old)
        return false;
    *old = (struct image){.session = session, .model = image, .to_check = image->to_check};
    uint64_t generation =
        last_command ? generation_before(session, image) : stage_committed_generation(image->file);
    old->generation = generation;
    old->name = mem_string(image->name, err);
    old->path = mem_string(image->path, err);
    if (old->name && old->path)
        old->file = stage_snapshot(image->file, generation, err);
    if (!old->file || !image_build(old, image->container->head.name, err)) {
        image_free(old);
        return false;
    }
    *out = old;
    return true;
}

void session_close_old(struct image *old)
{
    image_free(old);
}
