/* The bytes of rewritten system calls. */

#include "rewrite_code.h"

#include <exec/chAnswers.h>
#include <string.h>

#include "x86_length.h"

#define JUMP_SIZE 5u
#define MOV_SIZE 5u
#define SYSCALL_SIZE 2u
#define PAGE 4096u
#define SHORT_MOST 127u
#define NUMBER_SIGRETURN 15u

static bool is_in_one_page(uint32_t at, uint32_t size)
{
    return at / PAGE == (at + size - 1) / PAGE;
}

static bool is_taken(uint32_t at, const struct rewrite_patch *others, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (at < others[i].jump + JUMP_SIZE && others[i].jump < at + JUMP_SIZE)
            return true;
    return false;
}

/* ---- filling behind the code ---- */

/* Room for a jump in filling that begins at <at>; 0: none. *ret_end: where the filling ends. */
static uint32_t room_in_filling(const struct text_part *text, uint32_t at, uint32_t *ret_end,
                                const struct rewrite_patch *others, unsigned count)
{
    const uint8_t *bytes = text->bytes - text->start;
    uint32_t end = text->start + text->size, next = at, found = 0;
    while (next < end && x86_is_filling(bytes + next, end - next)) {
        unsigned length = x86_length(bytes + next, end - next);
        if (length == 0)
            break;
        next += length;
    }
    *ret_end = next;
    for (uint32_t room = at; found == 0 && room + JUMP_SIZE <= next; room++)
        if (is_in_one_page(room, JUMP_SIZE) && !is_taken(room, others, count))
            found = room;
    return found;
}

/* Decode from behind the instruction, where a thread has just arrived. What follows an instruction that control
 * never passes, and is filling, is never executed. */
static bool plan_filling(const struct text_part *text, uint32_t site,
                         const struct rewrite_patch *others, unsigned count,
                         struct rewrite_patch *patch)
{
    const uint8_t *bytes = text->bytes - text->start;
    uint32_t next = site + SYSCALL_SIZE, end = text->start + text->size;
    if (!is_in_one_page(site, SYSCALL_SIZE))
        return false;
    while (next < end && next <= site + SYSCALL_SIZE + SHORT_MOST) {
        unsigned length = x86_length(bytes + next, end - next);
        if (length == 0)
            return false;
        bool is_end = x86_is_end(bytes + next, end - next);
        next += length;
        if (!is_end)
            continue;
        uint32_t room = room_in_filling(text, next, &next, others, count);
        if (room != 0 && room <= site + SYSCALL_SIZE + SHORT_MOST) {
            *patch = (struct rewrite_patch){ .site = site, .jump = room };
            return true;
        }
    }
    return false;
}

/* ---- the mov before ---- */

static uint32_t word_at(const uint8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Decode forward from the known start: does it come to the mov, and then to the instruction? */
static bool comes_to_mov(const struct text_part *text, uint32_t known, uint32_t site)
{
    const uint8_t *bytes = text->bytes - text->start;
    uint32_t mov = site - MOV_SIZE, next = known;
    while (next < mov) {
        unsigned length = x86_length(bytes + next, site - next);
        if (length == 0)
            return false;
        next += length;
    }
    return next == mov && x86_length(bytes + mov, MOV_SIZE) == MOV_SIZE;
}

static bool plan_mov(const struct text_part *text, uint32_t site, uint32_t number, uint32_t known,
                     const struct rewrite_patch *others, unsigned count, struct rewrite_patch *patch)
{
    const uint8_t *bytes = text->bytes - text->start;
    uint32_t mov = site - MOV_SIZE;
    if (site < text->start + MOV_SIZE + 1 || known < text->start || known == 0 || known > mov ||
        site - known > REWRITE_SWEEP || !is_in_one_page(mov, MOV_SIZE) ||
        bytes[mov] != 0xb8 || word_at(bytes + mov + 1) != number || is_taken(mov, others, count) ||
        (bytes[mov - 1] & 0xf0) == 0x40 /* it would be a mov of another register, if decoding had gone astray */)
        return false;
    if (!comes_to_mov(text, known, site))
        return false;
    *patch = (struct rewrite_patch){ .site = site, .jump = mov, .number = number, .replaces_mov = true };
    return true;
}

bool rewrite_plan(const struct text_part *text, uint32_t site, uint32_t number, uint32_t known,
                  const struct rewrite_patch *others, unsigned count, struct rewrite_patch *ret_patch)
{
    const uint8_t *bytes = text->bytes - text->start;
    if (site < text->start || site + SYSCALL_SIZE > text->start + text->size ||
        bytes[site] != 0x0f || bytes[site + 1] != 0x05 || number == NUMBER_SIGRETURN ||
        count >= TRAMPOLINES_MOST)
        return false;
    return plan_filling(text, site, others, count, ret_patch) ||
           plan_mov(text, site, number, known, others, count, ret_patch);
}

/* ---- making it so ---- */

/* Trampolines lie below offset 0: wrapped around. */
static uint32_t trampoline_at(unsigned index)
{
    return index * TRAMPOLINE_SIZE - REWRITE_SPACE;
}

static void put(uint8_t *bytes, uint32_t start, uint32_t size, uint32_t at, const uint8_t *code,
                uint32_t length)
{
    if (at >= start && at - start + length <= size)
        memcpy(bytes + (at - start), code, length);
}

void rewrite_apply(uint8_t *bytes, uint32_t start, uint32_t size, const struct rewrite_patch *patch,
                   unsigned index)
{
    uint8_t jump[JUMP_SIZE] = { 0xe9 };
    uint8_t hop[SYSCALL_SIZE] = { 0xeb, (uint8_t)(patch->jump - patch->site - SYSCALL_SIZE) };
    uint32_t distance = trampoline_at(index) - (patch->jump + JUMP_SIZE);
    memcpy(jump + 1, &distance, sizeof distance);
    put(bytes, start, size, patch->jump, jump, sizeof jump);
    if (!patch->replaces_mov)
        put(bytes, start, size, patch->site, hop, sizeof hop);
}

struct writer {
    uint8_t *code;
    uint32_t at, length; /* the offset of code[0]; how much there is */
};

static void emit(struct writer *writer, const void *bytes, size_t size)
{
    memcpy(writer->code + writer->length, bytes, size);
    writer->length += (uint32_t)size;
}
#define EMIT(writer, ...) emit(writer, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void emit_word(struct writer *writer, uint64_t word)
{
    uint32_t low = (uint32_t)word;
    emit(writer, &low, sizeof low);
}

static void emit_distance(struct writer *writer, uint32_t target)
{
    emit_word(writer, target - (writer->at + writer->length + 4));
}

void rewrite_trampoline(uint8_t code[TRAMPOLINE_SIZE], const struct rewrite_patch *patch,
                        unsigned index)
{
    struct writer writer = { .code = code, .at = trampoline_at(index) };
    uint32_t back = patch->site + SYSCALL_SIZE;
    memset(code, 0xcc, TRAMPOLINE_SIZE);
    if (patch->replaces_mov) {
        EMIT(&writer, 0xb8); /* mov $number, %eax */
        emit_word(&writer, patch->number);
    }
    /* Is the gs base the machine's? No flag may change: with the high half's bytes turned round it adds up to 0. */
    EMIT(&writer, 0xf3, 0x48, 0x0f, 0xae, 0xc9); /* rdgsbase %rcx */
    EMIT(&writer, 0x48, 0x0f, 0xc9);             /* bswap %rcx */
    EMIT(&writer, 0x89, 0xc9);                   /* mov %ecx, %ecx */
    EMIT(&writer, 0x44, 0x8b, 0x1c, 0x25);       /* mov gateMail, %r11d */
    emit_word(&writer, K_ANSWERS + offsetof(KnAnswers, gateMail));
    EMIT(&writer, 0x42, 0x8d, 0x0c, 0x19);       /* lea (%rcx, %r11), %ecx */
    EMIT(&writer, 0xe3, 0x07);                   /* jrcxz over the next seven bytes */
    /* The thread has a gs base of its own: the real instruction. */
    if (patch->replaces_mov) {
        EMIT(&writer, 0x90, 0x90, 0xe9);         /* where it is */
        emit_distance(&writer, patch->site);
    } else {
        EMIT(&writer, 0x0f, 0x05, 0xe9);         /* syscall, and back */
        emit_distance(&writer, back);
    }
    EMIT(&writer, 0x4c, 0x8d, 0x1d);             /* lea back(%rip), %r11 */
    emit_distance(&writer, back);
    EMIT(&writer, 0xff, 0x24, 0x25);             /* jmp *gateSyscall */
    emit_word(&writer, K_ANSWERS + offsetof(KnAnswers, gateSyscall));
}
