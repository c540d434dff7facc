/* fuzz-replay CORPUS [ROUNDS]: what fuzzers have found, and as many inputs made of it by chance; the seed is printed, and CHORUS_TEST_SEED
 * sets it. The corpus is one file: each input behind its length, 16 bits. Speaks TAP: one line. `fuzz` (beside this file) is the fuzzer that looks for more. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    return true;
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

int main(int argc, char **argv)
{
    const char *asked = getenv("CHORUS_TEST_SEED");
    unsigned seed = asked != NULL ? (unsigned)atoi(asked) : (unsigned)time(NULL);
    if (argc < 2 || !load(argv[1]))
        return 2;
    printf("1..1\n# %zu inputs, CHORUS_TEST_SEED=%u\n", count, seed);
    fflush(stdout);
    for (size_t i = 0; i < count; i++)
        LLVMFuzzerTestOneInput(inputs[i], sizes[i]);
    int rounds = (argc > 2 ? atoi(argv[2]) : 0) * (getenv("CHORUS_TEST_LONG") != NULL ? 50 : 1);
    for (int round = rounds; round > 0 && count > 0; round--) {
        static uint8_t made[INPUT_MAX];
        size_t size = mix(&seed, made);
        LLVMFuzzerTestOneInput(made, size);
    }
    printf("%sok 1 - devices stand what drivers were found to do\n", count > 0 ? "" : "not ");
    return count > 0 ? 0 : 1;
}
