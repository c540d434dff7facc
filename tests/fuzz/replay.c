/* replay CORPUS [ROUNDS]: what the fuzzer of $FUZZ_TARGET has found, and as many inputs made of it by chance: always the same ones, unless CHORUS_TEST_SEED
 * sets another seed, or CHORUS_TEST_LONG is set: then it is the time. The seed is printed. The corpus is one file: each input behind its length, 16 bits. Or: replay --one FILE, an input as the fuzzer leaves it. Speaks TAP: one line. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "input.h"

enum { INPUT_MAX = 4096, INPUTS_MAX = 4000 };
static uint8_t *inputs[INPUTS_MAX];
static size_t sizes[INPUTS_MAX], count;

static bool load(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint16_t size;
    if (file == NULL)
        return false;
    while (count < INPUTS_MAX && fread(&size, sizeof size, 1, file) == 1 && size <= INPUT_MAX) {
        inputs[count] = malloc(INPUT_MAX);
        if (inputs[count] == NULL || fread(inputs[count], 1, size, file) != size)
            break;
        sizes[count++] = size;
    }
    fclose(file);
    return count > 0;
}

/* Parts of two inputs, with some bytes changed. */
static size_t mix(unsigned *seed, uint8_t *to)
{
    size_t one = (size_t)rand_r(seed) % count, other = (size_t)rand_r(seed) % count;
    size_t cut = sizes[one] > 0 ? (size_t)rand_r(seed) % sizes[one] : 0, from = sizes[other] > 0 ? (size_t)rand_r(seed) % sizes[other] : 0;
    size_t rest = sizes[other] - from < INPUT_MAX - cut ? sizes[other] - from : INPUT_MAX - cut;
    memcpy(to, inputs[one], cut);
    memcpy(to + cut, inputs[other] + from, rest);
    for (int i = rand_r(seed) % 8; i > 0 && cut + rest > 0; i--)
        to[(size_t)rand_r(seed) % (cut + rest)] = (uint8_t)rand_r(seed);
    return cut + rest;
}

static int try_one(const char *path)
{
    static uint8_t bytes[1 << 16];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 2;
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return LLVMFuzzerTestOneInput(bytes, size);
}

int main(int argc, char **argv)
{
    const char *asked = getenv("CHORUS_TEST_SEED"), *target = getenv("FUZZ_TARGET");
    unsigned seed = asked != NULL ? (unsigned)atoi(asked) : getenv("CHORUS_TEST_LONG") != NULL ? (unsigned)time(NULL) : 1;
    if (argc == 3 && strcmp(argv[1], "--one") == 0)
        return try_one(argv[2]);
    if (argc < 2 || !load(argv[1]))
        return 2;
    printf("1..1\n# %zu inputs, CHORUS_TEST_SEED=%u\n", count, seed);
    fflush(stdout);
    for (size_t i = 0; i < count; i++)
        LLVMFuzzerTestOneInput(inputs[i], sizes[i]);
    int rounds = (argc > 2 ? atoi(argv[2]) : 0) * (getenv("CHORUS_TEST_LONG") != NULL ? 50 : 1);
    for (int round = rounds; round > 0; round--) {
        static uint8_t made[INPUT_MAX];
        size_t size = mix(&seed, made);
        LLVMFuzzerTestOneInput(made, size);
    }
    printf("ok 1 - %s stands what fuzzers have found\n", target != NULL ? target : "it");
    return 0;
}
