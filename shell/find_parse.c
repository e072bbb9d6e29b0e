/* The language of find: terms with !, implicit "and", -o and the comma, in falling order of binding. */
#include "alloc.h"
#include "bytes.h"
#include "find.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 20000, MAX_NESTING = 500 };

struct parser {
    struct find *find;
    int at;
    unsigned nesting;
};

static const char *peek(const struct parser *parser)
{
    return parser->at < parser->find->call->argc ? parser->find->call->args[parser->at] : NULL;
}

static bool is_word(const char *text, const char *a, const char *b)
{
    return text && (strcmp(text, a) == 0 || (b && strcmp(text, b) == 0));
}

static struct find_node *new_node(struct find *find, enum find_op op, struct find_node *left,
                                  struct find_node *right, struct error *err)
{
    if (find->node_count == MAX_NODES) {
        fail(err, E_TOOBIG, "the expression has more than %d terms", MAX_NODES);
        return NULL;
    }
    if (!mem_grow(&find->nodes, &find->node_capacity, find->node_count + 1, sizeof(struct find_node *), err))
        return NULL;
    struct find_node *node = mem_new(sizeof *node, err);
    if (!node)
        return NULL;
    node->op = op;
    node->left = left;
    node->right = right;
    if (left)
        left->parent = node;
    find->nodes[find->node_count++] = node;
    return node;
}

static struct find_node *parse_list(struct parser *, struct error *);

/* The words up to ; or + belong to -exec. */
static bool count_until_end(const struct parser *parser, int *count, struct error *err)
{
    const struct call *call = parser->find->call;
    for (*count = 0; parser->at + *count < call->argc; (*count)++) {
        const char *word = call->args[parser->at + *count];
        if (strcmp(word, ";") == 0)
            return *count > 0 || fail(err, E_USAGE, "-exec: a command is missing");
        if (strcmp(word, "+") == 0 && *count > 1 && strcmp(call->args[parser->at + *count - 1], "{}") == 0)
            return true;
    }
    return fail(err, E_USAGE, "-exec: there is no ';' at its end (quoted, as \\;)");
}

static struct find_node *parse_term(struct parser *parser, struct error *err)
{
    struct find *find = parser->find;
    const char *text = find->call->args[parser->at++];
    const struct find_word *word = find_word(text);
    if (!word) {
        fail(err, E_USAGE,
             text[0] == '-' ? "unknown test or action %s" : "%s: a path must come before the expression",
             text);
        return NULL;
    }
    int count = (int)word->args;
    if (word->args == FIND_UNTIL_END && !count_until_end(parser, &count, err))
        return NULL;
    if (find->call->argc - parser->at < count) {
        fail(err, E_USAGE, "%s needs a value", text);
        return NULL;
    }
    struct find_node *node = new_node(find, FIND_TERM, NULL, NULL, err);
    if (!node)
        return NULL;
    node->word = word;
    node->args = &find->call->args[parser->at];
    node->arg_count = count;
    parser->at += count + (word->args == FIND_UNTIL_END);
    find->has_action |= word->action;
    if (word->parse && !word->parse(find, node, node->args, err)) {
        because(err, "%s", text);
        return NULL;
    }
    return node;
}

static struct find_node *parse_primary(struct parser *parser, struct error *err)
{
    const char *text = peek(parser);
    if (!text) {
        fail(err, E_USAGE, "the expression ends too early");
        return NULL;
    }
    if (is_word(text, "!", "-not")) {
        parser->at++;
        if (++parser->nesting > MAX_NESTING) {
            fail(err, E_TOOBIG, "the expression is nested too deep");
            return NULL;
        }
        struct find_node *operand = parse_primary(parser, err);
        parser->nesting--;
        return operand ? new_node(parser->find, FIND_NOT, operand, NULL, err) : NULL;
    }
    if (!is_word(text, "(", NULL))
        return parse_term(parser, err);
    parser->at++;
    if (++parser->nesting > MAX_NESTING) {
        fail(err, E_TOOBIG, "the expression is nested too deep");
        return NULL;
    }
    struct find_node *inner = parse_list(parser, err);
    parser->nesting--;
    if (inner && !is_word(peek(parser), ")", NULL)) {
        fail(err, E_USAGE, "a ')' is missing");
        return NULL;
    }
    parser->at++;
    return inner;
}

static struct find_node *parse_and(struct parser *parser, struct error *err)
{
    struct find_node *left = parse_primary(parser, err);
    while (left) {
        const char *text = peek(parser);
        if (!text || is_word(text, "-o", "-or") || is_word(text, ")", ","))
            break;
        if (is_word(text, "-a", "-and"))
            parser->at++;
        struct find_node *right = parse_primary(parser, err);
        left = right ? new_node(parser->find, FIND_AND, left, right, err) : NULL;
    }
    return left;
}

static struct find_node *parse_or(struct parser *parser, struct error *err)
{
    struct find_node *left = parse_and(parser, err);
    while (left && is_word(peek(parser), "-o", "-or")) {
        parser->at++;
        struct find_node *right = parse_and(parser, err);
        left = right ? new_node(parser->find, FIND_OR, left, right, err) : NULL;
    }
    return left;
}

static struct find_node *parse_list(struct parser *parser, struct error *err)
{
    struct find_node *left = parse_or(parser, err);
    while (left && is_word(peek(parser), ",", NULL)) {
        parser->at++;
        struct find_node *right = parse_or(parser, err);
        left = right ? new_node(parser->find, FIND_LIST, left, right, err) : NULL;
    }
    return left;
}

bool find_parse(struct find *find, int at, struct error *err)
{
    struct parser parser = {.find = find, .at = at};
    if (at < find->call->argc) {
        find->root = parse_list(&parser, err);
        if (!find->root)
            return false;
        if (parser.at < find->call->argc)
            return fail(err, E_USAGE, "unexpected '%s'", peek(&parser));
    }
    if (find->has_action)
        return true;
    struct find_node *print = new_node(find, FIND_TERM, NULL, NULL, err);
    if (!print)
        return false;
    print->word = find_word("-print");
    find->root = find->root ? new_node(find, FIND_AND, find->root, print, err) : print;
    return find->root != NULL;
}

/* The left side is a chain as long as the expression: it is walked down by a loop, not by recursion. */
bool find_eval(struct find *find, const struct find_node *node, struct find_file *file, bool *yes,
               struct error *err)
{
    const struct find_node *first = node;
    while (first->op == FIND_AND || first->op == FIND_OR || first->op == FIND_LIST)
        first = first->left;
    bool ok = first->op == FIND_NOT ? find_eval(find, first->left, file, yes, err)
                                    : first->word->test(find, first, file, yes, err);
    if (!ok)
        return false;
    if (first->op == FIND_NOT)
        *yes = !*yes;
    /* Back up the chain: each node whose left side is what was just judged. */
    while (first != node && !find->quit) {
        const struct find_node *up = first->parent;
        bool wanted = up->op == FIND_LIST || (up->op == FIND_AND ? *yes : !*yes);
        if (wanted && !find_eval(find, up->right, file, yes, err))
            return false;
        first = up;
    }
    return true;
}

void find_free(struct find *find)
{
    for (size_t i = 0; i < find->node_count; i++) {
        if (find->nodes[i]->regex)
            regfree(find->nodes[i]->regex);
        free(find->nodes[i]->regex);
        free(find->nodes[i]);
    }
    for (size_t i = 0; i < find->batch_count; i++)
        free(find->batch[i]);
    free(find->batch);
    free(find->nodes);
    owners_free(find->owners);
}
