/* The checksums of ext4 and of its journal. They stand in for libext2fs's own, which take five times as long: each change of a folder or of a bitmap sums up 4 KB
 * of it.
 *
 * The machine has the CRC32 instruction: it has FSGSBASE, which is younger. */
#include <string.h>
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>

__attribute__((target("sse4.2"))) __u32 ext2fs_crc32c_le(__u32 crc, unsigned char const *bytes, size_t size)
{
    unsigned long long sum = crc, word;
    for (; size >= sizeof word; size -= sizeof word, bytes += sizeof word) {
        memcpy(&word, bytes, sizeof word);
        sum = __builtin_ia32_crc32di(sum, word);
    }
    crc = (__u32)sum;
    while (size-- > 0)
        crc = __builtin_ia32_crc32qi(crc, *bytes++);
    return crc;
}

/* Of old journals alone: it need not be fast. */
__u32 ext2fs_crc32_be(__u32 crc, unsigned char const *bytes, size_t size)
{
    while (size-- > 0) {
        crc ^= (__u32)*bytes++ << 24;
        for (int bit = 0; bit < 8; bit++)
            crc = crc << 1 ^ (crc & 0x80000000u ? 0x04c11db7u : 0);
    }
    return crc;
}
