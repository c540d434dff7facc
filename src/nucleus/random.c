/* Random numbers: see random.h. */
#include "random.h"

#include <string.h>

static struct {
    uint8_t key[32];
    uint8_t pool[512]; /* output not given out yet is its end, [used, 512) */
    size_t used;
    uint64_t refills;
} generator;

static uint32_t load32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

static void store32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t rotate(uint32_t value, int bits)
{
    return value << bits | value >> (32 - bits);
}

static void quarter_round(uint32_t s[16], int a, int b, int c, int d)
{
    s[a] += s[b], s[d] = rotate(s[d] ^ s[a], 16);
    s[c] += s[d], s[b] = rotate(s[b] ^ s[c], 12);
    s[a] += s[b], s[d] = rotate(s[d] ^ s[a], 8);
    s[c] += s[d], s[b] = rotate(s[b] ^ s[c], 7);
}

void chacha20_block(uint8_t out[64], const uint8_t key[32], uint32_t counter,
                    const uint8_t nonce[12])
{
    uint32_t start[16] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 };
    for (int i = 0; i < 8; i++)
        start[4 + i] = load32(key + 4 * i);
    start[12] = counter;
    for (int i = 0; i < 3; i++)
        start[13 + i] = load32(nonce + 4 * i);
    uint32_t state[16];
    memcpy(state, start, sizeof state);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 4; i++)
            quarter_round(state, i, 4 + i, 8 + i, 12 + i);
        for (int i = 0; i < 4; i++)
            quarter_round(state, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
    }
    for (int i = 0; i < 16; i++)
        store32(out + 4 * i, state[i] + start[i]);
}

/* The first 32 bytes become the next key and are not given out. */
static void refill(void)
{
    uint8_t nonce[12] = { 0 };
    memcpy(nonce, &generator.refills, sizeof generator.refills);
    generator.refills++;
    for (uint32_t block = 0; block < sizeof generator.pool / 64; block++)
        chacha20_block(generator.pool + 64 * block, generator.key, block, nonce);
    memcpy(generator.key, generator.pool, sizeof generator.key);
    memset(generator.pool, 0, sizeof generator.key);
    generator.used = sizeof generator.key;
}

void random_init(const uint8_t seed[32])
{
    memset(&generator, 0, sizeof generator);
    memcpy(generator.key, seed, sizeof generator.key);
    generator.used = sizeof generator.pool;
}

void random_bytes(void *to, size_t size)
{
    uint8_t *out = to;
    while (size > 0) {
        if (generator.used == sizeof generator.pool)
            refill();
        size_t part = sizeof generator.pool - generator.used;
        if (part > size)
            part = size;
        memcpy(out, generator.pool + generator.used, part);
        memset(generator.pool + generator.used, 0, part);
        generator.used += part;
        out += part;
        size -= part;
    }
}

uint64_t random_u64(void)
{
    uint64_t value;
    random_bytes(&value, sizeof value);
    return value;
}
