/* The tests of find by owner, permission and link. */
#include "bytes.h"
#include "find.h"
#include "mode.h"

#include <string.h>
#include <sys/stat.h>

#define PARSE(name)                                                                                          \
    static bool name(struct find *find, struct find_node *node, char **args, struct error *err)
#define TEST(name)                                                                                           \
    static bool name(struct find *find, const struct find_node *node, struct find_file *file, bool *yes,     \
                     struct error *err)
#define UNUSED ((void)find, (void)node, (void)file, (void)err)

static const struct fs_attr *attr_of(const struct find_file *file)
{
    return &file->attr;
}

TEST(test_links)
{
    UNUSED;
    *yes = find_compare(node, attr_of(file)->nlink);
    return true;
}

TEST(test_inum)
{
    UNUSED;
    *yes = find_compare(node, attr_of(file)->id);
    return true;
}

TEST(test_uid)
{
    UNUSED;
    *yes = find_compare(node, attr_of(file)->uid);
    return true;
}

TEST(test_gid)
{
    UNUSED;
    *yes = find_compare(node, attr_of(file)->gid);
    return true;
}

PARSE(parse_perm)
{
    (void)find;
    const char *text = args[0];
    uint32_t bits;
    node->sign = text[0] == '-' || text[0] == '/' ? text[0] : 0;
    if (!mode_apply(text + (node->sign != 0), 0, false, 0, &bits, err))
        return false;
    node->number = bits;
    return true;
}

TEST(test_perm)
{
    UNUSED;
    uint32_t bits = attr_of(file)->mode & 07777, wanted = (uint32_t)node->number;
    *yes = node->sign == '-'   ? (bits & wanted) == wanted
           : node->sign == '/' ? wanted == 0 || (bits & wanted) != 0
                               : bits == wanted;
    return true;
}

/* For anybody: who asks is nobody in the image. */
TEST(test_access)
{
    UNUSED;
    const char *word = node->word->name;
    unsigned bit = word[1] == 'r' ? 4 : word[1] == 'w' ? 2 : 1;
    *yes = (attr_of(file)->mode & (bit | bit << 3 | bit << 6)) != 0;
    return true;
}

struct owners *find_owners(struct find *find, const struct find_file *file, struct error *err)
{
    if (find->owners_of != file->start->volume) {
        owners_free(find->owners);
        find->owners = owners_new(file->start->volume, err);
        find->owners_of = find->owners ? file->start->volume : NULL;
    }
    return find->owners;
}

/* A name means what the volume says that is looked through. */
TEST(test_owner)
{
    UNUSED;
    bool group = strcmp(node->word->name, "-group") == 0;
    struct find_node *mine = (struct find_node *)(uintptr_t)node;
    if (node->owner_of != file->start->volume) {
        struct owner_spec spec;
        uint32_t gid;
        if (group ? !owner_parse_group(file->start->volume, node->args[0], &gid, err)
                  : !owner_parse(file->start->volume, node->args[0], &spec, err))
            return false;
        mine->number = group ? gid : spec.uid;
        mine->owner_of = file->start->volume;
    }
    *yes = (group ? attr_of(file)->gid : attr_of(file)->uid) == node->number;
    return true;
}

TEST(test_no_owner)
{
    UNUSED;
    struct owners *owners = find_owners(find, file, err);
    if (!owners)
        return false;
    bool group = strcmp(node->word->name, "-nogroup") == 0;
    *yes = !(group ? owner_group(owners, attr_of(file)->gid) : owner_user(owners, attr_of(file)->uid));
    return true;
}

PARSE(parse_samefile)
{
    struct file_arg arg;
    bool ok = file_arg_open(find->session, args[0], false, &arg, err);
    node->number = arg.id;
    node->owner_of = arg.volume;
    file_arg_close(&arg);
    return ok;
}

TEST(test_samefile)
{
    UNUSED;
    *yes = file->id == node->number && file->start->volume == node->owner_of;
    return true;
}

const struct find_word find_owner_words[] = {
    {"-perm", 1, false, parse_perm, test_perm},
    {"-readable", 0, false, NULL, test_access},
    {"-writable", 0, false, NULL, test_access},
    {"-executable", 0, false, NULL, test_access},
    {"-user", 1, false, NULL, test_owner},
    {"-group", 1, false, NULL, test_owner},
    {"-uid", 1, false, find_parse_number, test_uid},
    {"-gid", 1, false, find_parse_number, test_gid},
    {"-nouser", 0, false, NULL, test_no_owner},
    {"-nogroup", 0, false, NULL, test_no_owner},
    {"-links", 1, false, find_parse_number, test_links},
    {"-inum", 1, false, find_parse_number, test_inum},
    {"-samefile", 1, false, parse_samefile, test_samefile},
    {NULL, 0, false, NULL, NULL},
};
