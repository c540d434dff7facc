/* input.h: the bytes of a fuzzer's input, read from the front; zeros behind its end. */
#ifndef TESTS_FUZZ_INPUT_H
#define TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What libFuzzer and replay.c call. Which target (disk, net, ...) of those that a program has is in the environment: FUZZ_TARGET. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at, *end;
};

/* So many bytes as a number, the lowest first. */
static inline uint64_t take(struct input *input, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)(input->at < input->end ? *input->at++ : 0) << 8 * i;
    return value;
}

static inline unsigned pick(struct input *input, unsigned sides)
{
    return (unsigned)take(input, 1) % sides;
}

/* <length> bytes: at most 255 of them from the input, then these again and again. */
static inline void take_bytes(struct input *input, uint8_t *to, size_t length)
{
    size_t own = (size_t)take(input, 1);
    own = own < length ? own : length;
    for (size_t i = 0; i < own; i++)
        to[i] = (uint8_t)take(input, 1);
    if (own == 0)
        memset(to, 0, length);
    for (size_t done = own, piece; own > 0 && done < length; done += piece) {
        piece = done < length - done ? done : length - done;
        memcpy(to + done, to, piece);
    }
}

#endif
