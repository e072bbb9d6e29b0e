#include "known_runs.h"

#include "bytes.h"

void known_runs_init(struct known_runs *known)
{
    *known = (struct known_runs){0};
    pthread_mutex_init(&known->lock, NULL);
}

void known_runs_destroy(struct known_runs *known)
{
    pthread_mutex_destroy(&known->lock);
}

bool known_runs_is_data(struct known_runs *known, uint64_t off, uint64_t *end)
{
    pthread_mutex_lock(&known->lock);
    bool is_data = off >= known->data && off < known->data_end;
    *end = known->data_end;
    pthread_mutex_unlock(&known->lock);
    return is_data;
}

bool known_runs_is_hole(struct known_runs *known, uint64_t off, uint64_t *end)
{
    pthread_mutex_lock(&known->lock);
    bool is_hole = off >= known->hole && off < known->hole_end;
    *end = known->hole_end;
    pthread_mutex_unlock(&known->lock);
    return is_hole;
}

void known_runs_set_data(struct known_runs *known, uint64_t start, uint64_t end)
{
    pthread_mutex_lock(&known->lock);
    known->data = start;
    known->data_end = end;
    pthread_mutex_unlock(&known->lock);
}

void known_runs_forget_data(struct known_runs *known)
{
    known_runs_set_data(known, 0, 0);
}

void known_runs_add_hole(struct known_runs *known, uint64_t start, uint64_t end)
{
    pthread_mutex_lock(&known->lock);
    if (end - start > known->hole_end - known->hole) {
        known->hole = start;
        known->hole_end = end;
    }
    pthread_mutex_unlock(&known->lock);
}

void known_runs_fill(struct known_runs *known, uint64_t off, uint64_t n)
{
    pthread_mutex_lock(&known->lock);
    if (off < known->hole_end && off + n > known->hole)
        known->hole = MIN_OF(off + n, known->hole_end);
    pthread_mutex_unlock(&known->lock);
}
