/*
 * A session's commit: all host files of all images, together. Each file is prepared first; what can fail for
 * lack of space or by an error of the host fails there, and then nothing has happened to any of them.
 *
 *     every file            fresh bytes durable, journal durable (a new file: all its bytes)
 *     new files             get their names
 *     the group's marker    commits all journals at once; a single journal stands for itself
 *     every journaled file  the journal's bytes put in place, and durable
 *     the marker            removed
 *     every journal         removed
 */
#include "alloc.h"
#include "image.h"
#include "journal.h"

#include <stdlib.h>

struct member {
    struct image *image;
    struct device *file;
};

struct commit {
    struct member *members;
    size_t count, capacity;
    struct journal_group *group; /* NULL: at most one file has a journal */
    bool sync;
};

static bool add_member(struct commit *commit, struct image *image, struct device *file, struct error *err)
{
    if (!mem_grow(&commit->members, &commit->capacity, commit->count + 1, sizeof *commit->members, err))
        return false;
    commit->members[commit->count++] = (struct member){image, file};
    return true;
}

static bool collect(struct commit *commit, struct session *session, struct error *err)
{
    for (struct image *image = session->images; image; image = image->next) {
        if (image->file->read_only)
            continue;
        for (size_t i = 0; i < image->companion_count; i++)
            if (!add_member(commit, image, image->companions[i], err))
                return false;
        if (!add_member(commit, image, image->file, err))
            return false;
    }
    return true;
}

static bool make_group(struct commit *commit, struct error *err)
{
    const struct device *first = NULL;
    size_t journals = 0;
    for (size_t i = 0; i < commit->count; i++)
        if (stage_wants_journal(commit->members[i].file)) {
            first = first ? first : commit->members[i].file;
            journals++;
        }
    return journals < 2 || journal_group_new(stage_real_path(first), &commit->group, err);
}

static bool fail_member(const struct commit *commit, size_t i, struct error *err)
{
    const struct member *member = &commit->members[i];
    return because(err, "%s",
                   member->file == member->image->file ? member->image->path : stage_path(member->file));
}

static bool prepare(struct commit *commit, struct error *err)
{
    for (size_t i = 0; i < commit->count; i++)
        if (!stage_prepare_commit(commit->members[i].file, commit->group, err))
            return fail_member(commit, i, err);
    for (size_t i = 0; i < commit->count; i++)
        if (stage_is_new(commit->members[i].file) && !stage_finish_commit(commit->members[i].file, err))
            return fail_member(commit, i, err);
    if (!commit->group || journal_group_commit(commit->group, commit->sync, err))
        return true;
    /* The marker may count already: only without it the journals can be given up. */
    struct error ignored;
    return !journal_group_done(commit->group, commit->sync, &ignored);
}

/* Do a step for all members; the first error is told. */
static bool for_all(struct commit *commit, bool (*step)(struct device *, struct error *), struct error *err)
{
    struct error later;
    bool ok = true;
    for (size_t i = 0; i < commit->count; i++) {
        if (step(commit->members[i].file, ok ? err : &later))
            continue;
        if (ok)
            fail_member(commit, i, err);
        ok = false;
    }
    return ok;
}

/*
 * The commit has happened. What cannot be put in place now waits in its journal for the next open; its
 * group's marker stays, then.
 */
static bool finish(struct commit *commit, struct error *err)
{
    struct error later;
    if (!for_all(commit, stage_finish_commit, err)) {
        (void)!for_all(commit, stage_close_commit, &later);
        return false;
    }
    if (commit->group && !journal_group_done(commit->group, commit->sync, err)) {
        for (size_t i = 0; i < commit->count; i++)
            stage_leave_commit(commit->members[i].file, i == 0 ? err : &later);
        return false;
    }
    return for_all(commit, stage_close_commit, err);
}

static void tell_images(struct session *session)
{
    for (struct image *image = session->images; image; image = image->next) {
        bool broken = image->file->read_only || stage_is_broken(image->file);
        for (size_t i = 0; i < image->companion_count; i++)
            broken = broken || stage_is_broken(image->companions[i]);
        if (!broken)
            image_committed(image);
    }
}

bool commit_files(struct session *session, bool *happened, struct error *err)
{
    struct commit commit = {.sync = session->options.durability == DURABILITY_FULL};
    bool ok = collect(&commit, session, err) && make_group(&commit, err) && prepare(&commit, err);
    *happened = ok;
    if (ok) {
        ok = finish(&commit, err);
        tell_images(session);
    } else {
        for (size_t i = 0; i < commit.count; i++)
            stage_abandon_commit(commit.members[i].file);
    }
    journal_group_free(commit.group);
    free(commit.members);
    return ok;
}
