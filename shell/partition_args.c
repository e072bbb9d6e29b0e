/* What may follow each verb of `partition`, for Tab. */
#include "partition.h"

static const struct arg none[] = {{0}};
static const struct arg kind[] = {{"KIND", ARG_WORD, ARG_ONE, "the kind of table", "gpt|mbr"}, {0}};
static const struct arg some_kind[] = {{"KIND", ARG_WORD, ARG_OPTIONAL, "the kind of table", "gpt|mbr"}, {0}};
static const struct arg add[] = {
    {"SIZE", ARG_SIZE, ARG_ONE, "such as 256M, or rest for all that is left", "rest"},
    {"TYPE", ARG_PART_TYPE, ARG_OPTIONAL, "a name, an MBR code in hex, or a GUID", NULL},
    {"NAME", ARG_WORD, ARG_OPTIONAL, "the partition's name (GPT)", NULL},
    {0}};
static const struct arg numbers[] = {{"N", ARG_VOLUME, ARG_MANY, "the number of a partition", NULL}, {0}};
static const struct arg resize[] = {
    {"N", ARG_VOLUME, ARG_ONE, "the number of a partition", NULL},
    {"SIZE", ARG_SIZE, ARG_ONE, "the new size, +SIZE, -SIZE, or rest for all that is free behind it", "rest"},
    {0}};
static const struct arg move[] = {{"N", ARG_VOLUME, ARG_ONE, "the number of a partition", NULL},
                                  {"START", ARG_SIZE, ARG_ONE, "where it is to begin, or +SIZE, -SIZE", NULL},
                                  {0}};
static const struct arg type[] = {
    {"N", ARG_VOLUME, ARG_ONE, "the number of a partition", NULL},
    {"TYPE", ARG_PART_TYPE, ARG_OPTIONAL, "a name, an MBR code in hex, or a GUID", NULL},
    {0}};
static const struct arg text[] = {{"N", ARG_VOLUME, ARG_ONE, "the number of a partition", NULL},
                                  {"NAME", ARG_WORD, ARG_OPTIONAL, "its new name", NULL},
                                  {0}};
static const struct arg uuid[] = {
    {"N", ARG_VOLUME, ARG_ONE, "the number of a partition; 0 is the disk", NULL},
    {"GUID", ARG_WORD, ARG_OPTIONAL, "the new one", "random"},
    {0}};
static const struct arg flag[] = {
    {"N", ARG_VOLUME, ARG_ONE, "the number of a partition", NULL},
    {"FLAG", ARG_WORD, ARG_OPTIONAL, "a flag of the entry",
     "active|required|no-block-io|legacy-boot|growfs|read-only|shadow-copy|hidden|no-auto"},
    {"VALUE", ARG_WORD, ARG_OPTIONAL, "on or off", "on|off"},
    {0}};
static const struct arg script[] = {{"FILE", ARG_HOST, ARG_OPTIONAL, "a script of sfdisk", NULL}, {0}};
static const struct arg boot_code[] = {{"VERB", ARG_WORD, ARG_ONE, "what to do", "put|get"},
                                       {"FILE", ARG_HOST, ARG_ONE, "a file on the host, or -", NULL},
                                       {0}};

const struct verb_args partition_verb_args[] = {
    {"list", none},           {"init", kind}, {"add", add},       {"delete", numbers},  {"resize", resize},
    {"move", move},           {"type", type}, {"name", text},     {"uuid", uuid},       {"flag", flag},
    {"free", none},           {"sort", none}, {"script", script}, {"verify", none},     {"repair", none},
    {"boot-code", boot_code}, {"wipe", none}, {"convert", kind},  {"types", some_kind}, {0},
};
