/* Tables of partitions: MBR with its chain of logical partitions, and GPT.
 *
 * Nothing in a table is believed: what lies outside of the disk is no partition, chains end, sums are checked. A disk whose
 * first sector is not a table (a file system without partitions, noise) has none.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"

#define SECTOR       512u
#define ENTRY_AT     446
#define LOGICAL_MAX  64                 /* links of a chain that are followed */
#define GPT_BYTES_MAX (1u << 20)        /* of a table's entries */

struct mbr_entry {
    uint8_t  status, first[3], type, last[3];
    uint32_t start, count;              /* sectors */
} __attribute__((packed));

struct gpt_header {
    uint8_t  signature[8];
    uint32_t revision, size, sum, unused;
    uint64_t at, other_at, first_usable, last_usable;
    uint8_t  disk[16];
    uint64_t entries_at;
    uint32_t entry_count, entry_size, entries_sum;
} __attribute__((packed));

struct gpt_entry {
    uint8_t  type[16], id[16];
    uint64_t first, last;
    uint64_t attributes;
    uint16_t name[36];
} __attribute__((packed));

/* One sound partition, or none. */
static void note(struct blockdev *device, struct block_node *node, uint64_t start, uint64_t count)
{
    uint64_t sectors = device->size / SECTOR;

    if (start == 0 || count == 0 || start >= sectors || count > sectors - start)
        return;
    *node = (struct block_node){ .present = true, .start = start * SECTOR, .size = count * SECTOR };
}

/* MBR ----------------------------------------------------------------------------------- */

static bool is_extended(uint8_t type)
{
    return type == 0x05 || type == 0x0f || type == 0x85;
}

/* The four entries of a sector. A boot sector of a file system ends in the same two bytes, but has no such flags. */
static bool entries_of(const uint8_t *sector, struct mbr_entry entries[4])
{
    if (sector[510] != 0x55 || sector[511] != 0xaa)
        return false;
    memcpy(entries, sector + ENTRY_AT, 4 * sizeof *entries);
    for (int i = 0; i < 4; i++)
        if ((entries[i].status & 0x7f) != 0)
            return false;
    return true;
}

/* The logical partitions: each has a table of its own, which names it and the next one. */
static int logical_read(struct blockdev *device, struct block_node *nodes, uint32_t chain)
{
    uint64_t at = chain;
    unsigned number = 5;

    for (int links = 0; links < LOGICAL_MAX && number < BLOCKS_NODES; links++) {
        struct mbr_entry entries[4];
        uint8_t sector[SECTOR];
        uint32_t next = 0;

        if (at >= device->size / SECTOR)
            return 0;
        int error = blockdev_read(device, at * SECTOR, sector, SECTOR);
        if (error != 0)
            return error;
        if (!entries_of(sector, entries))
            return 0;
        for (int i = 0; i < 4; i++) {
            if (is_extended(entries[i].type))
                next = le32toh(entries[i].start);
            else if (entries[i].type != 0 && number < BLOCKS_NODES && !nodes[number].present)
                note(device, &nodes[number], at + le32toh(entries[i].start), le32toh(entries[i].count));
        }
        number += nodes[number].present;
        if (next == 0)
            return 0;
        at = (uint64_t)chain + next;
    }
    return 0;
}

static int mbr_read(struct blockdev *device, const struct mbr_entry entries[4], struct block_node *nodes)
{
    int error = 0;

    for (unsigned i = 0; i < 4 && error == 0; i++) {
        if (entries[i].type == 0)
            continue;
        note(device, &nodes[1 + i], le32toh(entries[i].start), le32toh(entries[i].count));
        if (!is_extended(entries[i].type))
            continue;
        error = logical_read(device, nodes, le32toh(entries[i].start));
        nodes[1 + i].present = false;   /* what it holds counts */
    }
    return error;
}

/* GPT ----------------------------------------------------------------------------------- */

static uint32_t crc32_of(const uint8_t *bytes, size_t length)
{
    uint32_t sum = UINT32_MAX;

    for (size_t i = 0; i < length; i++) {
        sum ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            sum = sum >> 1 ^ (sum & 1 ? 0xedb88320u : 0);
    }
    return ~sum;
}

static bool header_is_sound(uint8_t *sector, uint64_t at, struct gpt_header *ret)
{
    memcpy(ret, sector, sizeof *ret);
    uint32_t size = le32toh(ret->size), sum = le32toh(ret->sum);
    if (memcmp(ret->signature, "EFI PART", 8) != 0 || size < sizeof *ret || size > SECTOR || le64toh(ret->at) != at)
        return false;
    memset(sector + offsetof(struct gpt_header, sum), 0, sizeof ret->sum);
    return crc32_of(sector, size) == sum;
}

static void entries_note(struct blockdev *device, const uint8_t *entries, uint32_t count, uint32_t size, struct block_node *nodes)
{
    static const uint8_t unused[16];

    for (uint32_t i = 0; i < count && i + 1 < BLOCKS_NODES; i++) {
        struct gpt_entry entry;

        memcpy(&entry, entries + (size_t)i * size, sizeof entry);
        uint64_t first = le64toh(entry.first), last = le64toh(entry.last);
        if (memcmp(entry.type, unused, sizeof unused) != 0 && last >= first && last < UINT64_MAX)
            note(device, &nodes[1 + i], first, last - first + 1);
    }
}

/* -EUCLEAN: no sound table there. */
static int gpt_read_at(struct blockdev *device, uint64_t at, struct block_node *nodes)
{
    struct gpt_header header;
    uint8_t sector[SECTOR];
    uint64_t sectors = device->size / SECTOR;
    int error = blockdev_read(device, at * SECTOR, sector, SECTOR);

    if (error != 0)
        return error;
    if (!header_is_sound(sector, at, &header))
        return -EUCLEAN;
    uint32_t count = le32toh(header.entry_count), size = le32toh(header.entry_size);
    uint64_t where = le64toh(header.entries_at), bytes = (uint64_t)count * size;
    if (size < sizeof(struct gpt_entry) || bytes == 0 || bytes > GPT_BYTES_MAX || where >= sectors ||
        (bytes + SECTOR - 1) / SECTOR > sectors - where)
        return -EUCLEAN;
    uint64_t whole = (bytes + SECTOR - 1) / SECTOR * SECTOR;
    uint8_t *entries = malloc(whole);
    if (entries == NULL)
        return -ENOMEM;
    error = blockdev_read(device, where * SECTOR, entries, whole);
    if (error == 0 && crc32_of(entries, bytes) != le32toh(header.entries_sum))
        error = -EUCLEAN;
    if (error == 0)
        entries_note(device, entries, count, size, nodes);
    free(entries);
    return error;
}

static int gpt_read(struct blockdev *device, struct block_node *nodes)
{
    int error = gpt_read_at(device, 1, nodes);

    if (error == -EUCLEAN)
        error = gpt_read_at(device, device->size / SECTOR - 1, nodes);
    return error == -EUCLEAN ? 0 : error;
}

int partitions_read(struct blockdev *device, struct block_node nodes[BLOCKS_NODES])
{
    struct mbr_entry entries[4];
    uint8_t sector[SECTOR];

    for (unsigned i = 1; i < BLOCKS_NODES; i++)
        nodes[i] = (struct block_node){ 0 };
    if (device->size < 4 * SECTOR)
        return 0;
    int error = blockdev_read(device, 0, sector, SECTOR);
    if (error != 0 || !entries_of(sector, entries))
        return error;
    for (int i = 0; i < 4; i++)
        if (entries[i].type == 0xee)
            return gpt_read(device, nodes);
    return mbr_read(device, entries, nodes);
}
