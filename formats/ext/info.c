/* Totals of the volume. */
#include "bytes.h"
#include "describe.h"

bool ext_overhead(struct ext_fs *ext, uint64_t *blocks, struct error *err)
{
    uint64_t known = ext_super_s_overhead_clusters(ext->super);
    if (known != 0) {
        *blocks = known << ext->cluster_bits;
        return true;
    }
    if (ext->overhead == 0) {
        struct ext_inode journal;
        uint64_t total = ext->first_data_block + (uint64_t)ext->groups * (2 + ext->table_blocks);
        for (uint32_t group = 0; group < ext->groups; group++)
            total += ext_group_desc_blocks(ext, group) + ext_group_has_super(ext, group);
        if (ext_has(ext, EXT_HAS_JOURNAL) && ext_super_s_journal_inum(ext->super) != 0) {
            if (!ext_inode_get(ext, (uint32_t)ext_super_s_journal_inum(ext->super), &journal, err))
                return false;
            total += div_up(ext_inode_size(ext, journal.raw), ext->block_size);
            ext_inode_put(ext, &journal);
        }
        ext->overhead = total;
    }
    *blocks = ext->overhead;
    return true;
}
