/* Directories of ext4: finding, adding, removing and listing names.
 *
 * A directory is a row of blocks with entries; with the index flag, some of its blocks form a
 * tree by the hash of the name (htree), hidden inside empty entries. Names are looked up through
 * the tree and added through it (by libext2fs, which splits blocks as needed); removing and
 * replacing change one entry in its block and leave the tree alone.
 *
 * Cookies of readdir: the offset of the next entry in a plain directory, since entries never move
 * there; in an indexed one, where a split moves them, the hash of the next name (as Linux does).
 *
 * A small table of names looked up before, also of names that are not there, answers most lookups.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ext4.h"

#define DIRECTORY_SIZE_MAX (1ull << 31)

/* Names looked up before ---------------------------------------------------------- */

static struct ext4_name *name_slot(struct ext4 *ext4, uint32_t directory, const char *name,
                                   size_t length)
{
    uint32_t hash = directory * 2654435761u;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    return &ext4->names[(hash ^ hash >> 15) & (EXT4_NAME_SLOTS - 1)];
}

static bool name_known(struct ext4 *ext4, uint32_t directory, const char *name, size_t length,
                       uint32_t *ret)
{
    const struct ext4_name *slot = name_slot(ext4, directory, name, length);

    if (slot->directory != directory || slot->length != length ||
        memcmp(slot->name, name, length) != 0)
        return false;
    *ret = slot->inode;
    return true;
}

static void name_learn(struct ext4 *ext4, uint32_t directory, const char *name, size_t length,
                       uint32_t inode)
{
    struct ext4_name *slot = name_slot(ext4, directory, name, length);

    if (length > EXT4_NAME_CACHED)
        return;
    slot->directory = directory;
    slot->inode = inode;
    slot->length = (uint8_t)length;
    memcpy(slot->name, name, length);
}

void ext4_dir_forget(struct ext4 *ext4, uint32_t directory)
{
    for (unsigned i = 0; i < EXT4_NAME_SLOTS; i++)
        if (ext4->names[i].directory == directory)
            ext4->names[i].directory = 0;
}

/* Blocks and entries -------------------------------------------------------------- */

/* A directory being looked at; `buffer` holds block `number` of it. */
struct dir {
    struct ext4 *ext4;
    uint32_t inode_number;
    struct ext4_inode inode;
    uint64_t blocks;
    uint64_t number;
    blk64_t  physical;
    uint8_t *buffer;
};

/* An entry found; `previous` is the offset of the one before it in the block, or the same. */
struct place {
    uint32_t offset, previous;
};

static int dir_open(struct ext4 *ext4, uint32_t number, struct dir *ret)
{
    uint64_t size;
    int error;

    memset(ret, 0, sizeof *ret);
    ret->ext4 = ext4;
    ret->inode_number = number;
    error = ext4_inode_read(ext4, number, &ret->inode);
    if (error != 0)
        return error;
    size = EXT2_I_SIZE(SMALL(&ret->inode));
    if (!LINUX_S_ISDIR(ret->inode.large.i_mode))
        return -ENOTDIR;
    if (size > DIRECTORY_SIZE_MAX)
        return -EIO;
    ret->blocks = size / ext4->e2->blocksize;
    ret->buffer = malloc(ext4->e2->blocksize);
    return ret->buffer != NULL ? 0 : -ENOMEM;
}

static void dir_close(struct dir *dir)
{
    free(dir->buffer);
}

static int dir_load(struct dir *dir, uint64_t number)
{
    struct ext4 *ext4 = dir->ext4;
    errcode_t code;

    if (number >= dir->blocks)
        return -EIO;
    code = ext2fs_bmap2(ext4->e2, dir->inode_number, SMALL(&dir->inode), NULL, 0, number, NULL,
                        &dir->physical);
    if (code == 0 && dir->physical == 0)
        return -EIO;
    if (code == 0)
        code = ext2fs_read_dir_block4(ext4->e2, dir->physical, dir->buffer, 0, dir->inode_number);
    dir->number = number;
    return ext4_error(code);
}

static int dir_store(struct dir *dir)
{
    return ext4_error(ext2fs_write_dir_block4(dir->ext4->e2, dir->physical, dir->buffer, 0,
                                              dir->inode_number));
}

static struct ext2_dir_entry *entry_at(struct dir *dir, uint32_t offset)
{
    return (struct ext2_dir_entry *)(dir->buffer + offset);
}

/* The entry's length in the block, or 0 when it cannot be one. */
static uint32_t entry_length(struct dir *dir, uint32_t offset)
{
    uint32_t block = dir->ext4->e2->blocksize;
    struct ext2_dir_entry *entry = entry_at(dir, offset);
    unsigned length = 0;

    if (offset + 8 > block || ext2fs_get_rec_len(dir->ext4->e2, entry, &length) != 0)
        return 0;
    if (length < 8 || length % 4 != 0 || offset + length > block)
        return 0;
    if (entry->inode != 0 && (unsigned)ext2fs_dirent_name_len(entry) + 8 > length)
        return 0;
    return length;
}

/* Look for the name in the loaded block: 1 found, 0 not, or an error. */
static int block_find(struct dir *dir, const char *name, size_t length, struct place *ret)
{
    uint32_t previous = 0, step;

    for (uint32_t offset = 0; offset < dir->ext4->e2->blocksize; offset += step) {
        struct ext2_dir_entry *entry = entry_at(dir, offset);

        step = entry_length(dir, offset);
        if (step == 0)
            return -EIO;
        if (entry->inode != 0 && (size_t)ext2fs_dirent_name_len(entry) == length &&
            memcmp(entry->name, name, length) == 0) {
            ret->offset = offset;
            ret->previous = previous;
            return 1;
        }
        previous = offset;
    }
    return 0;
}

static int linear_find(struct dir *dir, const char *name, size_t length, struct place *ret)
{
    for (uint64_t number = 0; number < dir->blocks; number++) {
        int found = dir_load(dir, number);

        if (found == 0)
            found = block_find(dir, name, length, ret);
        if (found != 0)
            return found;
    }
    return 0;
}

/* The tree ------------------------------------------------------------------------ */

static int hash_version(struct dir *dir)
{
    struct ext2_super_block *super = dir->ext4->e2->super;
    struct ext2_dx_root_info *root = (void *)(dir->buffer + 24);
    int version = root->hash_version;

    if (version <= EXT2_HASH_TEA && (super->s_flags & EXT2_FLAGS_UNSIGNED_HASH) != 0)
        version += 3;
    return version;
}

static int name_hash(struct dir *dir, int version, const char *name, size_t length, uint32_t *ret,
                     uint32_t *ret_minor)
{
    ext2_dirhash_t hash = 0, minor = 0;
    errcode_t code = ext2fs_dirhash2(version, name, (int)length, NULL, 0,
                                     dir->ext4->e2->super->s_hash_seed, &hash, &minor);

    *ret = hash & ~1u;
    *ret_minor = minor;
    return ext4_error(code);
}

/* The child for `hash` of the node in the buffer. *ret_more: names with that very hash may go on in
 * the next child. */
static int node_search(struct dir *dir, uint32_t hash, uint32_t *ret, bool *ret_more)
{
    struct ext2_dx_countlimit *head;
    struct ext2_dx_entry *entries;
    int offset;
    unsigned low = 1, high, count;

    if (ext2fs_get_dx_countlimit(dir->ext4->e2, (void *)dir->buffer, &head, &offset) != 0)
        return -EIO;
    count = ext2fs_le16_to_cpu(head->count);
    if (count == 0 || count > ext2fs_le16_to_cpu(head->limit) ||
        (unsigned)offset + count * sizeof *entries > dir->ext4->e2->blocksize)
        return -EIO;
    entries = (void *)head;
    high = count;
    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (entries[middle].hash > hash)
            high = middle;
        else
            low = middle + 1;
    }
    *ret = entries[low - 1].block & 0x0fffffff;
    if (low < count && (entries[low].hash & ~1u) == hash)
        *ret_more = true;
    return 0;
}

/* Go down the tree: 1 found, 0 not, -EAGAIN when a plain search has to tell. */
static int tree_find(struct dir *dir, const char *name, size_t length, struct place *ret)
{
    struct ext2_dx_root_info *root;
    uint32_t hash, minor, child = 0;
    bool more = false;
    int levels, error = dir_load(dir, 0);

    if (error != 0)
        return error;
    root = (void *)(dir->buffer + 24);
    levels = root->indirect_levels;
    error = name_hash(dir, hash_version(dir), name, length, &hash, &minor);
    if (error != 0 || levels > 3)
        return -EAGAIN;
    for (int level = 0; level <= levels; level++) {
        error = node_search(dir, hash, &child, &more);
        if (error == 0)
            error = dir_load(dir, child);
        if (error != 0)
            return error;
    }
    error = block_find(dir, name, length, ret);
    return error == 0 && more ? -EAGAIN : error;
}

static bool is_indexed(const struct dir *dir)
{
    return (dir->inode.large.i_flags & EXT2_INDEX_FL) != 0 && dir->blocks > 1;
}

static int dir_find(struct dir *dir, const char *name, size_t length, struct place *ret)
{
    int found = -EAGAIN;

    if (is_indexed(dir) && !(length <= 2 && memcmp(name, "..", length) == 0))
        found = tree_find(dir, name, length, ret);
    return found == -EAGAIN ? linear_find(dir, name, length, ret) : found;
}

/* Operations ---------------------------------------------------------------------- */

int ext4_dir_lookup(struct ext4 *ext4, uint32_t directory, const char *name, size_t length,
                    uint32_t *ret)
{
    struct dir dir;
    struct place place;
    int found;

    if (name_known(ext4, directory, name, length, ret))
        return *ret != 0 ? 0 : -ENOENT;
    found = dir_open(ext4, directory, &dir);
    if (found == 0)
        found = dir_find(&dir, name, length, &place);
    if (found == 1)
        *ret = entry_at(&dir, place.offset)->inode;
    if (found >= 0)
        name_learn(ext4, directory, name, length, found == 1 ? *ret : 0);
    dir_close(&dir);
    return found == 1 ? 0 : found == 0 ? -ENOENT : found;
}

static int file_type(uint32_t mode)
{
    switch (mode & LINUX_S_IFMT) {
    case LINUX_S_IFREG:  return EXT2_FT_REG_FILE;
    case LINUX_S_IFDIR:  return EXT2_FT_DIR;
    case LINUX_S_IFCHR:  return EXT2_FT_CHRDEV;
    case LINUX_S_IFBLK:  return EXT2_FT_BLKDEV;
    case LINUX_S_IFIFO:  return EXT2_FT_FIFO;
    case LINUX_S_IFSOCK: return EXT2_FT_SOCK;
    case LINUX_S_IFLNK:  return EXT2_FT_SYMLINK;
    default:             return EXT2_FT_UNKNOWN;
    }
}

int ext4_dir_add(struct ext4 *ext4, uint32_t directory, const char *name, size_t length,
                 uint32_t inode, uint32_t mode)
{
    char text[FILE_NAME_MAX + 1];
    errcode_t code;

    memcpy(text, name, length);
    text[length] = '\0';
    code = ext2fs_link(ext4->e2, directory, text, inode, file_type(mode));
    for (int tries = 0; code == EXT2_ET_DIR_NO_SPACE && tries < 2; tries++) {
        if (!ext4_metadata_room(ext4))
            return -ENOSPC;
        code = ext2fs_expand_dir(ext4->e2, directory);
        if (code == 0)
            code = ext2fs_link(ext4->e2, directory, text, inode, file_type(mode));
    }
    if (code == 0)
        name_learn(ext4, directory, name, length, inode);
    return ext4_error(code);
}

/* Find the entry and have `change` alter it in its block. */
static int entry_change(struct ext4 *ext4, uint32_t directory, const char *name, size_t length,
                        void (*change)(struct dir *dir, const struct place *place, uint32_t inode,
                                       uint32_t mode), uint32_t inode, uint32_t mode)
{
    struct dir dir;
    struct place place;
    int found = dir_open(ext4, directory, &dir);

    if (found == 0)
        found = dir_find(&dir, name, length, &place);
    if (found == 1) {
        change(&dir, &place, inode, mode);
        found = dir_store(&dir);
        name_learn(ext4, directory, name, length, inode);
    } else if (found == 0) {
        found = -ENOENT;
    }
    dir_close(&dir);
    return found;
}

/* The entry before it takes its room; the first of a block becomes an empty one. */
static void entry_remove(struct dir *dir, const struct place *place, uint32_t inode, uint32_t mode)
{
    struct ext2_dir_entry *entry = entry_at(dir, place->offset);
    struct ext2_dir_entry *previous = entry_at(dir, place->previous);

    (void)inode, (void)mode;
    if (place->offset != place->previous)
        ext2fs_set_rec_len(dir->ext4->e2, place->offset - place->previous +
                           entry_length(dir, place->offset), previous);
    else
        entry->inode = 0;
}

static void entry_replace(struct dir *dir, const struct place *place, uint32_t inode, uint32_t mode)
{
    struct ext2_dir_entry *entry = entry_at(dir, place->offset);

    entry->inode = inode;
    if (ext2fs_has_feature_filetype(dir->ext4->e2->super))
        ext2fs_dirent_set_file_type(entry, file_type(mode));
}

int ext4_dir_remove(struct ext4 *ext4, uint32_t directory, const char *name, size_t length)
{
    return entry_change(ext4, directory, name, length, entry_remove, 0, 0);
}

int ext4_dir_replace(struct ext4 *ext4, uint32_t directory, const char *name, size_t length,
                     uint32_t inode, uint32_t mode)
{
    return entry_change(ext4, directory, name, length, entry_replace, inode, mode);
}

static bool is_dots(const struct ext2_dir_entry *entry)
{
    int length = ext2fs_dirent_name_len(entry);

    return (length == 1 || length == 2) && memcmp(entry->name, "..", (size_t)length) == 0;
}

int ext4_dir_is_empty(struct ext4 *ext4, uint32_t directory)
{
    struct dir dir;
    int error = dir_open(ext4, directory, &dir);

    for (uint64_t number = 0; error == 0 && number < dir.blocks; number++) {
        error = dir_load(&dir, number);
        for (uint32_t offset = 0, step; error == 0 && offset < ext4->e2->blocksize; offset += step) {
            const struct ext2_dir_entry *entry = entry_at(&dir, offset);

            step = entry_length(&dir, offset);
            if (step == 0)
                error = -EIO;
            else if (entry->inode != 0 && !is_dots(entry))
                error = -ENOTEMPTY;
        }
    }
    dir_close(&dir);
    return error == 0 ? 1 : error == -ENOTEMPTY ? 0 : error;
}

/* Listing ------------------------------------------------------------------------- */

struct lister {
    uint8_t *buffer;
    size_t   room, used;
};

static uint8_t type_of(const struct ext2_dir_entry *entry)
{
    static const uint8_t types[] = { DT_UNKNOWN, DT_REG, DT_DIR, DT_CHR, DT_BLK, DT_FIFO, DT_SOCK,
                                     DT_LNK };
    int type = ext2fs_dirent_file_type(entry);

    return type < (int)sizeof types ? types[type] : DT_UNKNOWN;
}

/* False when there is no room for it. */
static bool list_entry(struct lister *lister, uint32_t inode, uint8_t type, const char *name,
                       size_t length, uint64_t cookie)
{
    size_t size = (offsetof(struct dirent64, d_name) + length + 1 + 7) & ~(size_t)7;
    struct dirent64 *entry = (void *)(lister->buffer + lister->used);

    if (size > lister->room - lister->used)
        return false;
    memset(entry, 0, size);
    entry->d_ino = inode;
    entry->d_off = (int64_t)cookie;
    entry->d_reclen = (uint16_t)size;
    entry->d_type = type;
    memcpy(entry->d_name, name, length);
    lister->used += size;
    return true;
}

static int list_plain(struct dir *dir, uint64_t cookie, struct lister *lister)
{
    uint32_t block = dir->ext4->e2->blocksize;

    for (uint64_t number = cookie / block; number < dir->blocks; number++) {
        int error = dir_load(dir, number);

        for (uint32_t offset = 0, step; error == 0 && offset < block; offset += step) {
            const struct ext2_dir_entry *entry = entry_at(dir, offset);

            step = entry_length(dir, offset);
            if (step == 0)
                return -EIO;
            if (number * block + offset < cookie || entry->inode == 0)
                continue;
            if (!list_entry(lister, entry->inode, type_of(entry), entry->name,
                            (size_t)ext2fs_dirent_name_len(entry), number * block + offset + step))
                return lister->used != 0 ? 0 : -EINVAL;
        }
        if (error != 0)
            return error;
    }
    return 0;
}

/* An entry of an indexed directory, to be sorted by its cookie. */
struct hashed {
    uint64_t cookie;
    uint32_t inode;
    uint8_t  type, length;
    char     name[FILE_NAME_MAX];
};

struct hashed_list {
    struct hashed *items;
    size_t count, room;
};

static int hashed_order(const void *one, const void *two)
{
    const struct hashed *a = one, *b = two;

    if (a->cookie != b->cookie)
        return a->cookie < b->cookie ? -1 : 1;
    return memcmp(a->name, b->name, a->length < b->length ? a->length : b->length);
}

static int hashed_add(struct hashed_list *list, const struct ext2_dir_entry *entry, uint64_t cookie)
{
    struct hashed *item;

    if (list->count == list->room) {
        size_t room = list->room * 2 + 128;
        struct hashed *bigger = realloc(list->items, room * sizeof *bigger);

        if (bigger == NULL)
            return -ENOMEM;
        list->items = bigger;
        list->room = room;
    }
    item = &list->items[list->count++];
    item->cookie = cookie;
    item->inode = entry->inode;
    item->type = type_of(entry);
    item->length = (uint8_t)ext2fs_dirent_name_len(entry);
    memcpy(item->name, entry->name, item->length);
    return 0;
}

/* "." and ".." come first (0 and 1); a name's cookie is its hash, both parts, in 62 bits. */
static int cookie_of(struct dir *dir, int version, const struct ext2_dir_entry *entry,
                     uint64_t *ret)
{
    uint32_t hash = 0, minor = 0;
    int error;

    if (is_dots(entry)) {
        *ret = (uint64_t)ext2fs_dirent_name_len(entry) - 1;
        return 0;
    }
    error = name_hash(dir, version, entry->name, (size_t)ext2fs_dirent_name_len(entry), &hash,
                      &minor);
    *ret = ((uint64_t)(hash >> 1) << 31 | minor >> 1) + 2;
    return error;
}

/* Drop the far half, once the list has grown beyond what one reply takes. */
static void hashed_trim(struct hashed_list *list, size_t keep)
{
    if (list->count < keep * 2)
        return;
    qsort(list->items, list->count, sizeof *list->items, hashed_order);
    while (keep < list->count && list->items[keep].cookie == list->items[keep - 1].cookie)
        keep++;
    list->count = keep;
}

static int hashed_collect(struct dir *dir, uint64_t cookie, size_t most, struct hashed_list *list)
{
    int version, error = dir_load(dir, 0);

    version = error == 0 ? hash_version(dir) : 0;
    for (uint64_t number = 0; error == 0 && number < dir->blocks; number++) {
        error = dir_load(dir, number);
        for (uint32_t offset = 0, step; error == 0 && offset < dir->ext4->e2->blocksize;
             offset += step) {
            const struct ext2_dir_entry *entry = entry_at(dir, offset);
            uint64_t own = 0;

            step = entry_length(dir, offset);
            if (step == 0)
                return -EIO;
            if (entry->inode == 0)
                continue;
            error = cookie_of(dir, version, entry, &own);
            if (error == 0 && own >= cookie)
                error = hashed_add(list, entry, own);
        }
        hashed_trim(list, most);
    }
    return error;
}

static int list_hashed(struct dir *dir, uint64_t cookie, struct lister *lister)
{
    struct hashed_list list = { 0 };
    size_t whole = 0;           /* used by entries whose cookie's last bearer is in */
    int error = hashed_collect(dir, cookie, lister->room / 24 + 1, &list);

    if (error == 0 && list.count != 0)
        qsort(list.items, list.count, sizeof *list.items, hashed_order);
    for (size_t i = 0; error == 0 && i < list.count; i++) {
        const struct hashed *item = &list.items[i];

        if (i == 0 || item->cookie != list.items[i - 1].cookie)
            whole = lister->used;
        if (!list_entry(lister, item->inode, item->type, item->name, item->length,
                        item->cookie + 1)) {
            lister->used = whole;       /* bearers of one cookie go together */
            error = whole != 0 ? 0 : -EINVAL;
            break;
        }
    }
    free(list.items);
    return error;
}

int ext4_dir_read(struct ext4 *ext4, uint32_t directory, uint64_t cookie, void *buffer, size_t room,
                  size_t *ret_used)
{
    struct lister lister = { .buffer = buffer, .room = room };
    struct dir dir;
    int error = dir_open(ext4, directory, &dir);

    if (error == 0)
        error = is_indexed(&dir) ? list_hashed(&dir, cookie, &lister)
                                 : list_plain(&dir, cookie, &lister);
    dir_close(&dir);
    *ret_used = lister.used;
    return error;
}
