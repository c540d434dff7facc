/* Rewritten system calls: what must not be changed first. */

#include <criterion/criterion.h>
#include <exec/chAnswers.h>
#include <stdio.h>
#include <string.h>

#include "rewrite_code.h"
#include "x86_length.h"

/* ---- lengths ---- */

Test(x86, what_is_no_instruction_has_no_length)
{
    static const uint8_t none[][16] = { { 0x06 }, { 0x60 }, { 0x82, 0xc0 }, { 0x9a }, { 0xea }, { 0x0f, 0x04 }, { 0x0f, 0x36 },
                                        { 0x8f, 0xe8, 0x78, 0xc2 }, { 0x48, 0xc5, 0xf8, 0x77 } };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        cr_assert_eq(x86_length(none[i], 16), 0, "%zu", i);
}

Test(x86, an_instruction_that_is_not_all_there_has_no_length)
{
    static const uint8_t whole[] = { 0x48, 0x81, 0x84, 0x24, 1, 2, 3, 4, 5, 6, 7, 8 };
    cr_assert_eq(x86_length(whole, sizeof whole), sizeof whole);
    for (size_t size = 0; size < sizeof whole; size++)
        cr_assert_eq(x86_length(whole, size), 0, "%zu bytes", size);
}

Test(x86, too_many_prefixes_are_no_instruction)
{
    uint8_t prefixes[32];
    memset(prefixes, 0x66, sizeof prefixes);
    prefixes[14] = 0x90;
    cr_assert_eq(x86_length(prefixes, sizeof prefixes), 15);
    prefixes[14] = 0x66;
    prefixes[15] = 0x90;
    cr_assert_eq(x86_length(prefixes, sizeof prefixes), 0);
}

/* One line of objdump: the bytes, as many as it says the instruction has. What it shows as two, or as data, does not count. */
static int parse(const char *line, uint8_t bytes[16], char text[64])
{
    int length = 0, used;
    unsigned byte;
    const char *at = strchr(line, '\t');
    if (at == NULL)
        return 0;
    for (at++; length < 16 && sscanf(at, "%2x%n", &byte, &used) == 1; at += used) {
        bytes[length++] = (uint8_t)byte;
        while (at[used] == ' ')
            at++;
        if (at[used] == '\t')
            break;
    }
    at = strchr(at, '\t');
    if (at == NULL || strstr(at, "(bad)") != NULL || strncmp(at + 1, "rex", 3) == 0 || bytes[0] == 0x9b)
        return 0;
    snprintf(text, 64, "%s", at + 1);
    return length;
}

/* Programs with the vector code of libc in them. */
Test(x86, objdump_agrees_for_a_whole_program, .timeout = 60)
{
    FILE *dump = popen("objdump -d -w /bin/busybox 2>/dev/null; objdump -d -w /lib/x86_64-linux-gnu/libc.so.6 2>/dev/null", "r");
    char line[1024], text[64];
    unsigned compared = 0;
    cr_assert_not_null(dump);
    while (fgets(line, sizeof line, dump) != NULL) {
        uint8_t bytes[16 + 15];
        int length = parse(line, bytes, text);
        if (length == 0)
            continue;
        memset(bytes + length, 0x11, 15); /* what follows must not matter */
        cr_assert_eq(x86_length(bytes, (size_t)length + 15), (unsigned)length, "%s", line);
        compared++;
    }
    pclose(dump);
    if (compared == 0)
        cr_skip_test("no objdump here");
    cr_assert_gt(compared, 10000u);
}

/* ---- plans ---- */

#define AT 0x1000u

struct text {
    uint8_t bytes[8192];
    uint32_t used;
};

static void append(struct text *text, const void *bytes, size_t size)
{
    memcpy(text->bytes + text->used, bytes, size);
    text->used += (uint32_t)size;
}
#define APPEND(text, ...) append(text, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static bool plan(const struct text *text, uint32_t site, uint32_t number, uint32_t known, struct rewrite_patch *patch)
{
    struct text_part part = { .bytes = text->bytes, .start = AT, .size = sizeof text->bytes };
    return rewrite_plan(&part, AT + site, number, known == 0 ? 0 : AT + known, NULL, 0, patch);
}

/* Begin with an instruction that others can start from: nop at 1. */
#define TEXT(...) \
    struct text text = { .used = 0 }; \
    struct rewrite_patch patch; \
    memset(text.bytes, 0xcc, sizeof text.bytes); \
    APPEND(&text, 0x90, 0x90, 0x53, __VA_ARGS__)
enum { KNOWN = 1 };

Test(rewrite, what_is_no_system_call_stays)
{
    TEXT(0xb8, 39, 0, 0, 0, 0x0f, 0x04, 0xc3);
    cr_assert_not(plan(&text, 8, 39, KNOWN, &patch));
}

Test(rewrite, a_mov_of_another_register_that_ends_like_one_of_eax_stays)
{
    TEXT(0x41, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3);
    cr_assert_not(plan(&text, 9, 39, KNOWN, &patch));
}

Test(rewrite, a_mov_that_is_the_end_of_another_instruction_stays)
{
    TEXT(0x48, 0x8b, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3); /* mov 39(%rax), %rdi */
    cr_assert_not(plan(&text, 10, 39, KNOWN, &patch));
}

Test(rewrite, a_mov_with_another_number_than_the_thread_had_stays)
{
    TEXT(0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3);
    cr_assert_not(plan(&text, 8, 40, KNOWN, &patch));
}

Test(rewrite, a_mov_that_no_known_start_leads_to_stays)
{
    TEXT(0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3);
    cr_assert_not(plan(&text, 8, 39, 0, &patch));
    cr_assert_not(plan(&text, 8, 39, 4, &patch), "a start in the middle of it");
}

Test(rewrite, the_return_from_a_signal_handler_stays)
{
    TEXT(0xb8, 15, 0, 0, 0, 0x0f, 0x05, 0x0f, 0x1f, 0x80, 0, 0, 0, 0);
    cr_assert_not(plan(&text, 8, 15, KNOWN, &patch));
}

Test(rewrite, what_crosses_a_page_stays)
{
    struct text text = { .used = 4096 - 4 };
    struct rewrite_patch patch;
    memset(text.bytes, 0x90, sizeof text.bytes);
    APPEND(&text, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xcc);
    cr_assert_not(plan(&text, 4097, 39, 4000, &patch), "the mov");
    text.used = 4095;
    APPEND(&text, 0x0f, 0x05, 0xc3, 0x0f, 0x1f, 0x80, 0, 0, 0, 0);
    cr_assert_not(plan(&text, 4095, 39, 4000, &patch), "the call itself");
}

Test(rewrite, breakpoints_are_no_filling)
{
    TEXT(0x0f, 0x05, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc);
    cr_assert_not(plan(&text, 3, 39, KNOWN, &patch));
}

Test(rewrite, filling_that_is_run_through_is_none)
{
    TEXT(0x0f, 0x05, 0x0f, 0x1f, 0x80, 0, 0, 0, 0, 0xc3);
    cr_assert_not(plan(&text, 3, 39, KNOWN, &patch));
}

Test(rewrite, filling_too_far_away_is_none)
{
    TEXT(0x0f, 0x05);
    for (int i = 0; i < 128; i++)
        APPEND(&text, 0x50);
    APPEND(&text, 0xc3, 0x0f, 0x1f, 0x80, 0, 0, 0, 0);
    cr_assert_not(plan(&text, 3, 39, KNOWN, &patch));
}

Test(rewrite, a_mov_is_found_from_a_known_start)
{
    TEXT(0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3);
    cr_assert(plan(&text, 8, 39, KNOWN, &patch));
    cr_assert(patch.replaces_mov && patch.site == AT + 8 && patch.jump == AT + 3 && patch.number == 39);
}

Test(rewrite, filling_behind_a_return_is_taken_first_and_once)
{
    TEXT(0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0x73, 0x01, 0xc3, 0x0f, 0x1f, 0x80, 0, 0, 0, 0);
    struct text_part part = { .bytes = text.bytes, .start = AT, .size = sizeof text.bytes };
    cr_assert(plan(&text, 8, 39, KNOWN, &patch));
    cr_assert(!patch.replaces_mov && patch.jump == AT + 19);
    struct rewrite_patch other = patch, second;
    other.site -= 100;
    cr_assert(rewrite_plan(&part, AT + 8, 39, AT + KNOWN, &other, 1, &second));
    cr_assert(second.replaces_mov, "the filling is taken");
}

/* ---- bytes ---- */

static uint32_t target_of(const uint8_t *jump, uint32_t at)
{
    int32_t distance;
    memcpy(&distance, jump + 1, 4);
    return at + 5 + (uint32_t)distance;
}

Test(rewrite, only_the_planned_bytes_change)
{
    TEXT(0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3, 0x0f, 0x1f, 0x80, 0, 0, 0, 0);
    struct text before = text;
    cr_assert(plan(&text, 8, 39, KNOWN, &patch));
    rewrite_apply(text.bytes, AT, sizeof text.bytes, &patch, 3);
    uint32_t jump = patch.jump - AT;
    for (uint32_t i = 0; i < sizeof text.bytes; i++)
        if ((i < 8 || i > 9) && (i < jump || i >= jump + 5))
            cr_assert_eq(text.bytes[i], before.bytes[i], "byte %u", i);
    cr_assert_eq(text.bytes[8], 0xeb);
    cr_assert_eq(8u + 2 + text.bytes[9], jump);
    cr_assert_eq(text.bytes[jump], 0xe9);
    cr_assert_eq(target_of(text.bytes + jump, patch.jump), 3 * TRAMPOLINE_SIZE - REWRITE_SPACE);
}

Test(rewrite, a_patch_outside_the_part_changes_nothing)
{
    TEXT(0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3);
    cr_assert(plan(&text, 8, 39, KNOWN, &patch));
    uint8_t part[64], before[64];
    memset(part, 0x5a, sizeof part);
    memcpy(before, part, sizeof part);
    rewrite_apply(part, AT + 4096, sizeof part, &patch, 0);
    rewrite_apply(part, AT - sizeof part, sizeof part, &patch, 0);
    cr_assert_arr_eq(part, before, sizeof part);
}

/* The code of a trampoline is instructions to its end; where it leads is checked. */
static void check_trampoline(const struct rewrite_patch *patch, unsigned index)
{
    uint8_t code[TRAMPOLINE_SIZE];
    uint32_t at = index * TRAMPOLINE_SIZE - REWRITE_SPACE, offset = 0, found = 0;
    rewrite_trampoline(code, patch, index);
    while (offset < TRAMPOLINE_SIZE && code[offset] != 0xcc) {
        unsigned length = x86_length(code + offset, TRAMPOLINE_SIZE - offset);
        cr_assert_gt(length, 0u, "at %u", offset);
        if (code[offset] == 0xe9)
            cr_assert_eq(target_of(code + offset, at + offset), patch->replaces_mov ? patch->site : patch->site + 2);
        if (code[offset] == 0x4c && code[offset + 1] == 0x8d) { /* lea: the same form as a jump, two bytes on */
            cr_assert_eq(target_of(code + offset + 2, at + offset + 2), patch->site + 2);
            found++;
        }
        if (code[offset] == 0xff) {
            uint32_t pointer;
            memcpy(&pointer, code + offset + 3, 4);
            cr_assert_eq(pointer, K_ANSWERS + offsetof(KnAnswers, gateSyscall));
            found++;
        }
        offset += length;
    }
    cr_assert_eq(found, 2u);
}

Test(rewrite, a_trampoline_leads_back_behind_the_call)
{
    struct rewrite_patch mov = { .site = 0x5008, .jump = 0x5003, .number = 39, .replaces_mov = true };
    struct rewrite_patch filling = { .site = 0x123456, .jump = 0x123470 };
    for (unsigned index = 0; index < TRAMPOLINES_MOST; index += 341) {
        check_trampoline(&mov, index);
        check_trampoline(&filling, index);
    }
}
