/* random.h: the one source of random numbers of a site: keys, stamps, actors' requests. Seeded once
 * by the machine, so that a run can be repeated from its seed. ChaCha20 (RFC 8439), whose key is
 * replaced from its own output at every refill: who sees the state later cannot compute what was
 * given out before. */
#ifndef NUCLEUS_RANDOM_H
#define NUCLEUS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_init(const uint8_t seed[32]);
void random_bytes(void *to, size_t size);
uint64_t random_u64(void);

/* One block of the cipher: for random.c and for the test against RFC 8439. */
void chacha20_block(uint8_t out[64], const uint8_t key[32], uint32_t counter,
                    const uint8_t nonce[12]);

#endif
