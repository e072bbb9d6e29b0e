/* The tests of find by owner, permission and link. */
#include "bytes.h"
#include "find.h"
#include "mode.h"

#include <string.h>
#include <sys/stat.h>

FIND_TEST(test_links)
{
    FIND_UNUSED;
    *yes = find_compare(node, file->attr.nlink);
    return true;
}

FIND_TEST(test_inum)
{
    FIND_UNUSED;
    *yes = find_compare(node, file->attr.id);
    return true;
}

FIND_TEST(test_uid)
{
    FIND_UNUSED;
    *yes = find_compare(node, file->attr.uid);
    return true;
}

FIND_TEST(test_gid)
{
    FIND_UNUSED;
    *yes = find_compare(node, file->attr.gid);
    return true;
}

FIND_PARSE(parse_perm)
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

FIND_TEST(test_perm)
{
    FIND_UNUSED;
    uint32_t bits = file->attr.mode & 07777, wanted = (uint32_t)node->number;
    *yes = node->sign == '-'   ? (bits & wanted) == wanted
           : node->sign == '/' ? wanted == 0 || (bits & wanted) != 0
                               : bits == wanted;
    return true;
}

/* For anybody: who asks is nobody in the image. */
FIND_TEST(test_access)
{
    FIND_UNUSED;
    const char *word = node->word->name;
    unsigned bit = word[1] == 'r' ? 4 : word[1] == 'w' ? 2 : 1;
    *yes = (file->attr.mode & (bit | bit << 3 | bit << 6)) != 0;
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
FIND_TEST(test_owner)
{
    FIND_UNUSED;
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
    *yes = (group ? file->attr.gid : file->attr.uid) == node->number;
    return true;
}

FIND_TEST(test_no_owner)
{
    FIND_UNUSED;
    struct owners *owners = find_owners(find, file, err);
    if (!owners)
        return false;
    bool group = strcmp(node->word->name, "-nogroup") == 0;
    *yes = !(group ? owner_group(owners, file->attr.gid) : owner_user(owners, file->attr.uid));
    return true;
}

FIND_PARSE(parse_samefile)
{
    struct file_arg arg;
    bool ok = file_arg_open(find->session, args[0], false, &arg, err);
    node->number = arg.id;
    node->owner_of = arg.volume;
    file_arg_close(&arg);
    return ok;
}

FIND_TEST(test_samefile)
{
    FIND_UNUSED;
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
