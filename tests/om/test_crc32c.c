/* The checksums of ext4 against known values. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>

static const unsigned char digits[] = "123456789";

Test(crc32c, nothing_changes_nothing)
{
    cr_expect_eq(ext2fs_crc32c_le(77, NULL, 0), 77u);
    cr_expect_eq(ext2fs_crc32_be(77, NULL, 0), 77u);
}

Test(crc32c, known_values)
{
    cr_expect_eq(~ext2fs_crc32c_le(~0u, digits, 9), 0xe3069283u);
    cr_expect_eq(ext2fs_crc32_be(~0u, digits, 9), 0x0376e6e7u);
}

/* Bit by bit, as the polynomial says. */
static uint32_t slowly(uint32_t crc, const unsigned char *bytes, size_t size)
{
    while (size-- > 0) {
        crc ^= *bytes++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return crc;
}

Test(crc32c, any_size_at_any_address)
{
    unsigned char bytes[300];
    srandom(1);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)random();
    for (size_t begin = 0; begin < 9; begin++)
        for (size_t size = 0; size < 280; size++)
            cr_assert_eq(ext2fs_crc32c_le(~0u, bytes + begin, size), slowly(~0u, bytes + begin, size), "%zu bytes at %zu", size, begin);
}

Test(crc32c, pieces_make_the_whole)
{
    uint32_t whole = ext2fs_crc32c_le(5, digits, 9);
    cr_expect_eq(ext2fs_crc32c_le(ext2fs_crc32c_le(5, digits, 4), digits + 4, 5), whole);
}
