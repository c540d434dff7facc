/* Inodes of ext4: reading and writing them, times and owners, birth and death, the orphan list.
 *
 * The orphan list (s_last_orphan, linked through i_dtime) names the inodes that a crash must not
 * leak: those without a name that are still held, and those being truncated in several steps. Every
 * mount, Linux's and e2fsck too, finishes their deletion or truncation.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "ext4.h"
#include "lease.h"

void fs_clock(struct file_time *ret)
{
    struct timespec now = { 0 };

    clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct file_time){ now.tv_sec, (uint32_t)now.tv_nsec, 0 };
}

struct file_time ext4_now(struct ext4 *ext4)
{
    struct file_time now;

    ext4->fs.now(&now);
    return now;
}

int ext4_inode_read(struct ext4 *ext4, uint32_t number, struct ext4_inode *ret)
{
    memset(ret, 0, sizeof *ret);
    if (number == 0 || number > ext4->e2->super->s_inodes_count)
        return -EIO;
    return ext4_error(ext2fs_read_inode_full(ext4->e2, number, SMALL(ret), sizeof ret->large));
}

int ext4_inode_write(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode)
{
    lease_change(ext4->fs.om, ext4->fs.number, number);
    return ext4_error(ext2fs_write_inode_full(ext4->e2, number, SMALL(inode), sizeof inode->large));
}

fs_id ext4_id(uint32_t number, const struct ext4_inode *inode)
{
    return FS_ID(number, inode->large.i_generation);
}

int ext4_inode_get(struct ext4 *ext4, fs_id id, struct ext4_inode *ret)
{
    uint32_t number = FS_ID_INODE(id);
    struct ext4_node *node;
    int error;

    if (number == 0 || number > ext4->e2->super->s_inodes_count ||
        (number < EXT2_FIRST_INODE(ext4->e2->super) && number != EXT2_ROOT_INO))
        return -ESTALE;
    error = ext4_inode_read(ext4, number, ret);
    if (error != 0)
        return error;
    if (ext4_id(number, ret) != id || ret->large.i_mode == 0)
        return -ESTALE;
    if (ret->large.i_links_count != 0)
        return 0;
    node = ext4_node_find(ext4, number);
    return node != NULL && node->holds > 0 ? 0 : -ESTALE;
}

/* Times -------------------------------------------------------------------------- */

static bool has_extra(struct ext4 *ext4, const struct ext4_inode *inode, size_t field_end)
{
    return EXT2_INODE_SIZE(ext4->e2->super) > EXT2_GOOD_OLD_INODE_SIZE &&
           field_end <= EXT2_GOOD_OLD_INODE_SIZE + (size_t)inode->large.i_extra_isize;
}

#define HAS_EXTRA(ext4, inode, field) \
    has_extra(ext4, inode, offsetof(struct ext2_inode_large, field) + sizeof(uint32_t))

/* The upper two bits of the seconds, and the nanoseconds, are in the extra word. */
static uint32_t extra_encode(struct file_time time)
{
    uint64_t epoch = (uint64_t)(time.seconds - (int32_t)time.seconds) >> 32;

    return (uint32_t)(epoch & 3) | time.nanoseconds << 2;
}

/* As near as the inode can tell: 34 bits from 1901 on, 32 without extra words. */
static struct file_time time_within(struct file_time time, bool extra)
{
    const int64_t first = INT32_MIN, last = extra ? first + (INT64_C(1) << 34) - 1 : INT32_MAX;

    if (time.seconds >= first && time.seconds <= last)
        return time;
    return (struct file_time){ .seconds = time.seconds < first ? first : last };
}

static int64_t seconds_decode(uint32_t base, uint32_t extra)
{
    return (int32_t)base + ((int64_t)(extra & 3) << 32);
}

void ext4_time_set(struct ext4 *ext4, struct ext4_inode *inode, unsigned which,
                   struct file_time time)
{
    struct ext2_inode_large *large = &inode->large;
    uint32_t seconds, extra;

    time = time_within(time, HAS_EXTRA(ext4, inode, i_atime_extra));
    seconds = (uint32_t)time.seconds;
    extra = extra_encode(time);
    if ((which & EXT4_ATIME) != 0) {
        large->i_atime = seconds;
        if (HAS_EXTRA(ext4, inode, i_atime_extra))
            large->i_atime_extra = extra;
    }
    if ((which & EXT4_MTIME) != 0) {
        large->i_mtime = seconds;
        if (HAS_EXTRA(ext4, inode, i_mtime_extra))
            large->i_mtime_extra = extra;
    }
    if ((which & EXT4_CTIME) != 0) {
        large->i_ctime = seconds;
        if (HAS_EXTRA(ext4, inode, i_ctime_extra))
            large->i_ctime_extra = extra;
    }
    if ((which & EXT4_CRTIME) != 0 && HAS_EXTRA(ext4, inode, i_crtime_extra)) {
        large->i_crtime = seconds;
        large->i_crtime_extra = extra;
    }
}

/* A device's number is in the first word when it is small, else in the second. */
static uint32_t rdev_decode(const struct ext2_inode_large *large)
{
    uint32_t old = large->i_block[0], new = large->i_block[1];

    if (old != 0)
        return FILE_DEVICE(old >> 8 & 0xff, old & 0xff);
    return FILE_DEVICE(new >> 8 & 0xfff, (new & 0xff) | (new >> 12 & 0xfff00));
}

static void rdev_encode(struct ext2_inode_large *large, uint32_t rdev)
{
    uint32_t major = rdev >> 20, minor = rdev & 0xfffff;

    if (major < 256 && minor < 256) {
        large->i_block[0] = major << 8 | minor;
        large->i_block[1] = 0;
    } else {
        large->i_block[0] = 0;
        large->i_block[1] = (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
    }
}

static bool is_device(uint32_t mode)
{
    return LINUX_S_ISCHR(mode) || LINUX_S_ISBLK(mode);
}

void ext4_attributes_fill(struct ext4 *ext4, uint32_t number, const struct ext4_inode *inode,
                          struct file_attributes *ret)
{
    const struct ext2_inode_large *large = &inode->large;
    struct ext4_node *node = ext4_node_find(ext4, number);
    uint32_t atime = HAS_EXTRA(ext4, inode, i_atime_extra) ? large->i_atime_extra : 0;
    uint32_t mtime = HAS_EXTRA(ext4, inode, i_mtime_extra) ? large->i_mtime_extra : 0;
    uint32_t ctime = HAS_EXTRA(ext4, inode, i_ctime_extra) ? large->i_ctime_extra : 0;

    memset(ret, 0, sizeof *ret);
    ret->key = ext4_id(number, inode);
    ret->inode = number;
    ret->size = node != NULL && LINUX_S_ISREG(large->i_mode) ? node->size
                                                             : EXT2_I_SIZE(SMALL(inode));
    ret->blocks = ext2fs_get_stat_i_blocks(ext4->e2, (struct ext2_inode *)SMALL(inode));
    ret->atime = seconds_decode(large->i_atime, atime);
    ret->mtime = seconds_decode(large->i_mtime, mtime);
    ret->ctime = seconds_decode(large->i_ctime, ctime);
    ret->atime_nanoseconds = atime >> 2;
    ret->mtime_nanoseconds = mtime >> 2;
    ret->ctime_nanoseconds = ctime >> 2;
    ret->mode = large->i_mode;
    ret->links = large->i_links_count;
    ret->uid = inode_uid(*large);
    ret->gid = inode_gid(*large);
    ret->rdev = is_device(large->i_mode) ? rdev_decode(large) : 0;
    ret->device = ext4->fs.number;
    ret->block_size = 4096;
}

/* Birth and death ----------------------------------------------------------------- */

static void inode_fill(struct ext4 *ext4, const struct fs_new *new_node, struct ext4_inode *inode)
{
    struct ext2_inode_large *large = &inode->large;

    memset(inode, 0, sizeof *inode);
    large->i_mode = (uint16_t)new_node->mode;
    large->i_uid = (uint16_t)new_node->uid;
    large->i_gid = (uint16_t)new_node->gid;
    ext2fs_set_i_uid_high(*large, new_node->uid >> 16);
    ext2fs_set_i_gid_high(*large, new_node->gid >> 16);
    large->i_links_count = 1;
    large->i_generation = ext4->next_generation++;
    if (EXT2_INODE_SIZE(ext4->e2->super) > EXT2_GOOD_OLD_INODE_SIZE)
        large->i_extra_isize = sizeof *large - EXT2_GOOD_OLD_INODE_SIZE;
    ext4_time_set(ext4, inode, EXT4_ATIME | EXT4_MTIME | EXT4_CTIME | EXT4_CRTIME, ext4_now(ext4));
    if (is_device(new_node->mode)) {
        rdev_encode(large, new_node->rdev);
    } else if ((LINUX_S_ISREG(new_node->mode) || LINUX_S_ISDIR(new_node->mode)) &&
               ext2fs_has_feature_extents(ext4->e2->super)) {
        ext2_extent_handle_t handle;

        large->i_flags |= EXT4_EXTENTS_FL;
        if (ext2fs_extent_open2(ext4->e2, EXT2_ROOT_INO, SMALL(inode), &handle) == 0)
            ext2fs_extent_free(handle);     /* it has written an empty header into i_block */
    }
}

int ext4_inode_new(struct ext4 *ext4, uint32_t parent, const struct fs_new *new_node,
                   uint32_t *ret_number, struct ext4_inode *ret)
{
    uint8_t zeros[1024] = { 0 };
    errcode_t code;

    if (!ext4_metadata_room(ext4))
        return -ENOSPC;
    code = ext2fs_new_inode(ext4->e2, parent, (int)new_node->mode, NULL, ret_number);
    if (code != 0)
        return ext4_error(code);
    inode_fill(ext4, new_node, ret);
    ext2fs_inode_alloc_stats2(ext4->e2, *ret_number, +1, LINUX_S_ISDIR(new_node->mode) ? 1 : 0);
    if (EXT2_INODE_SIZE(ext4->e2->super) <= (int)sizeof zeros) {    /* nothing of its last life */
        memcpy(zeros, &ret->large, EXT2_INODE_SIZE(ext4->e2->super) < (int)sizeof ret->large
                                       ? (size_t)EXT2_INODE_SIZE(ext4->e2->super)
                                       : sizeof ret->large);
        code = ext2fs_write_inode_full(ext4->e2, *ret_number, (struct ext2_inode *)zeros,
                                       EXT2_INODE_SIZE(ext4->e2->super));
    } else {
        code = ext2fs_write_inode_full(ext4->e2, *ret_number, SMALL(ret), sizeof ret->large);
    }
    if (code != 0)
        ext2fs_inode_alloc_stats2(ext4->e2, *ret_number, -1, LINUX_S_ISDIR(new_node->mode) ? 1 : 0);
    return ext4_error(code);
}

void ext4_inode_discard(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode)
{
    inode->large.i_links_count = 0;
    inode->large.i_dtime = (uint32_t)ext4_now(ext4).seconds;
    if (ext4_inode_write(ext4, number, inode) != 0)
        ext4_broken(ext4, -EIO, "taking back a new file");
    ext2fs_inode_alloc_stats2(ext4->e2, number, -1, LINUX_S_ISDIR(inode->large.i_mode) ? 1 : 0);
}

/* The last step of a deletion: the blocks have gone. */
static int inode_free(struct ext4 *ext4, uint32_t number)
{
    struct ext4_inode inode;
    int error = ext4_inode_read(ext4, number, &inode);

    if (error == 0)
        error = ext4_error(ext2fs_free_ext_attr(ext4->e2, number, &inode.large));
    if (error == 0)
        error = ext4_inode_read(ext4, number, &inode);
    if (error == 0)
        error = ext4_orphan_remove(ext4, number, &inode);
    if (error != 0)
        return error;
    inode.large.i_dtime = (uint32_t)ext4_now(ext4).seconds;
    inode.large.i_file_acl = 0;
    error = ext4_inode_write(ext4, number, &inode);
    if (error == 0)
        ext2fs_inode_alloc_stats2(ext4->e2, number, -1, LINUX_S_ISDIR(inode.large.i_mode) ? 1 : 0);
    return error;
}

int ext4_inode_reap(struct ext4 *ext4, uint32_t number)
{
    struct ext4_inode inode;
    struct ext4_node *node;
    int error = ext4_inode_read(ext4, number, &inode);

    if (error != 0)
        return error;
    node = ext4_node_get(ext4, number, 0);
    if (node == NULL)
        return -ENOMEM;         /* it stays on the orphan list: deleted at the next mount */
    ext4_node_resize_begin(ext4, node);
    ext4_node_written_forget(ext4, node);
    if (ext2fs_inode_has_valid_blocks2(ext4->e2, SMALL(&inode)))
        error = ext4_blocks_free(ext4, number, 0);
    if (error == 0)
        error = journal_begin(&ext4->journal, 24);
    if (error == 0) {
        error = inode_free(ext4, number);
        if (error != 0)
            ext4_broken(ext4, error, "deleting a file");
    }
    node->speculative = node->ahead = false;
    ext4_node_resize_end(ext4, node);
    ext4_node_put(ext4, node);
    return error;
}

/* The orphan list ----------------------------------------------------------------- */

int ext4_orphan_add(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode)
{
    int error;

    inode->large.i_dtime = ext4->e2->super->s_last_orphan;
    error = ext4_inode_write(ext4, number, inode);
    if (error != 0)
        return error;
    ext4->e2->super->s_last_orphan = number;
    ext2fs_mark_super_dirty(ext4->e2);
    return 0;
}

/* The inode's own i_dtime is left zero, for the caller to write. */
int ext4_orphan_remove(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode)
{
    uint32_t next = inode->large.i_dtime, at = ext4->e2->super->s_last_orphan;

    inode->large.i_dtime = 0;
    if (at == number) {
        ext4->e2->super->s_last_orphan = next;
        ext2fs_mark_super_dirty(ext4->e2);
        return 0;
    }
    for (uint32_t steps = 0; at != 0 && steps < ext4->e2->super->s_inodes_count; steps++) {
        struct ext4_inode other;
        int error = ext4_inode_read(ext4, at, &other);

        if (error != 0)
            return error;
        if (other.large.i_dtime == number) {
            other.large.i_dtime = next;
            return ext4_inode_write(ext4, at, &other);
        }
        at = other.large.i_dtime;
    }
    return -EIO;
}

/* One orphan of the last life: the head of the list. */
static int orphan_finish(struct ext4 *ext4, uint32_t number)
{
    struct ext4_inode inode;
    uint64_t size, block = ext4->e2->blocksize;
    int error;

    if (number < EXT2_FIRST_INODE(ext4->e2->super) || number > ext4->e2->super->s_inodes_count ||
        !ext2fs_test_inode_bitmap2(ext4->e2->inode_map, number))
        return -EUCLEAN;
    error = journal_begin(&ext4->journal, 24);
    if (error == 0)
        error = ext4_inode_read(ext4, number, &inode);
    if (error != 0)
        return error;
    if (inode.large.i_links_count == 0)
        return ext4_inode_reap(ext4, number);
    size = EXT2_I_SIZE(SMALL(&inode));
    if (ext2fs_inode_has_valid_blocks2(ext4->e2, SMALL(&inode)))
        error = ext4_blocks_free(ext4, number, (size + block - 1) / block);
    if (error == 0)
        error = ext4_inode_read(ext4, number, &inode);
    if (error == 0)
        error = ext4_orphan_remove(ext4, number, &inode);
    return error == 0 ? ext4_inode_write(ext4, number, &inode) : error;
}

int ext4_orphans_clean(struct ext4 *ext4)
{
    for (uint32_t count = 0; ext4->e2->super->s_last_orphan != 0; count++) {
        uint32_t number = ext4->e2->super->s_last_orphan;
        int error = count > ext4->e2->super->s_inodes_count ? -EUCLEAN
                                                            : orphan_finish(ext4, number);

        if (error != 0)
            return error;
        if (ext4->e2->super->s_last_orphan == number)
            return -EUCLEAN;    /* linked to itself */
    }
    return 0;
}
