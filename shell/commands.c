/* The table of all commands. */
#include "shell.h"

#include "bytes.h"

#define COMMAND(name) extern const struct command name##_command;
#include "commands.def"
#undef COMMAND

static const struct command *const commands[] = {
#define COMMAND(name) &name##_command,
#include "commands.def"
#undef COMMAND
    NULL,
};

const struct command *const *command_all(void)
{
    return commands;
}

/* Whether a list of words separated by blanks or | holds one. */
static bool list_has(const char *list, const char *word, size_t len)
{
    while (list && *list) {
        size_t n = strcspn(list, " ");
        if (n == len && memcmp(list, word, n) == 0)
            return true;
        list += n + strspn(list + n, " ");
    }
    return false;
}

const struct command *command_find(const char *name, size_t len)
{
    for (size_t i = 0; commands[i]; i++)
        if (strncmp(commands[i]->name, name, len) == 0 && !commands[i]->name[len])
            return commands[i];
    for (size_t i = 0; commands[i]; i++)
        if (list_has(commands[i]->aliases, name, len))
            return commands[i];
    return NULL;
}

/* ---- typing errors ----------------------------------------------------------------------------------- */

/* The edits (insert, drop, replace, swap neighbours) between two words;
 * more than `most` counts as most + 1. */
static unsigned edits(const char *a, const char *b, unsigned most)
{
    enum { LONGEST = 40 };
    unsigned rows[3][LONGEST + 1];
    size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST || n > m + most || m > n + most)
        return most + 1;
    for (size_t k = 0; k <= m; k++)
        rows[0][k] = (unsigned)k;
    for (size_t i = 1; i <= n; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *higher = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t k = 1; k <= m; k++) {
            unsigned best = MIN_OF(above[k], row[k - 1]) + 1;
            best = MIN_OF(best, above[k - 1] + (a[i - 1] != b[k - 1]));
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
                best = MIN_OF(best, higher[k - 2] + 1);
            row[k] = best;
        }
    }
    return rows[n % 3][m];
}

const char *nearest_word(const char *typed, const char *const *words, size_t count)
{
    unsigned most = strlen(typed) <= 3 ? 1 : 2, best = most + 1;
    const char *found = NULL;
    for (size_t i = 0; i < count; i++) {
        unsigned distance = edits(typed, words[i], most);
        if (distance < best && distance < strlen(words[i])) {
            best = distance;
            found = words[i];
        }
    }
    return found;
}

const char *command_suggest(const char *name)
{
    const char *names[ARRAY_LEN(commands)];
    size_t count = 0;
    for (; commands[count]; count++)
        names[count] = commands[count]->name;
    return nearest_word(name, names, count);
}

/* ---- usage ------------------------------------------------------------------------------------------- */

const char *flag_glue(const struct flag *flag)
{
    return flag->value && flag->value[0] != '[' ? "=" : "";
}

void command_usage(const struct command *command, struct text *out)
{
    bool grouped = false;
    text_string(out, command->name);
    for (const struct flag *flag = command->flags; flag && flag->help; flag++)
        if (flag->letter && !flag->value) {
            text_string(out, grouped ? "" : " [-");
            text_char(out, flag->letter);
            grouped = true;
        }
    text_string(out, grouped ? "]" : "");
    for (const struct flag *flag = command->flags; flag && flag->help; flag++) {
        if (flag->letter && flag->value)
            text_printf(out, " [-%c %s]", flag->letter, flag->value);
        else if (!flag->letter)
            text_printf(out, " [--%s%s%s]", flag->name, flag_glue(flag), flag->value ? flag->value : "");
    }
    for (const struct arg *row = command->args; row && row->name; row++) {
        static const char *const shapes[] = {
            [ARG_ONE] = " %s", [ARG_OPTIONAL] = " [%s]", [ARG_MANY] = " %s...", [ARG_ANY] = " [%s...]"};
        const char *shape = shapes[row->count], *mark = strstr(shape, "%s");
        text_add(out, shape, (size_t)(mark - shape));
        text_string(out, row->name);
        text_string(out, mark + 2);
    }
}
