/* The way of a reflected trap through reflect.S: nothing of the program's state may be lost. */
#include "fake_gate.h"

#include <criterion/criterion.h>
#include <linux/sched.h>
#include <string.h>

struct machine {
    uint64_t general[15]; /* r15 .. rax, as in struct reflected */
    uint64_t flags;
    uint64_t rsp;
    uint64_t unused[7];
    uint8_t xstate[8192 - 192];
};
_Static_assert(offsetof(struct machine, xstate) == 192, "by_hand.S knows the layout");
enum { RDI = 8, RSI = 9, RAX = 14, R10 = 5, R8 = 7, RDX = 12 };

_Alignas(64) struct machine by_hand_before, by_hand_after;
VmAddr by_hand_stack, by_hand_entry;
uint64_t by_hand_mask;
void by_hand(void);
void by_hand_back(void);

#define CARRY 0x1u
#define ZERO 0x40u
#define DIRECTION 0x400u
#define RED_ZONE 128
#define FLAGS_ALWAYS 0x202u

static _Alignas(64) uint8_t stack[65536];
static _Alignas(64) uint8_t child_stack[65536];

/* A state in which every register, xmm to zmm too, has a value of its own. */
static void machine_fill(struct machine *machine, unsigned seed)
{
    for (unsigned i = 0; i < 15; i++)
        machine->general[i] = 0x1111111111111111ull * (i + 1) + seed;
    machine->flags = FLAGS_ALWAYS | CARRY | ZERO | DIRECTION;
    memset(machine->xstate, 0, sizeof machine->xstate);
    for (unsigned i = 160; i < sizeof machine->xstate; i++)
        if (i < 512 || i >= 576)
            machine->xstate[i] = (uint8_t)(i * 7 + seed + (i >> 8));
    uint16_t control = 0x0f7f; /* x87: round to zero, all exceptions masked */
    uint32_t mxcsr = 0x7f80;   /* round to zero */
    memcpy(machine->xstate, &control, sizeof control);
    memcpy(machine->xstate + 24, &mxcsr, sizeof mxcsr);
    memset(machine->xstate + 416, 0, 96);
    memcpy(machine->xstate + 512, &by_hand_mask, sizeof by_hand_mask);
}

/* What the Nucleus does: write a KnReflect below the red zone of <program_stack>. */
static void reflect_prepare(uint8_t *program_stack, uint64_t kind, uint64_t number)
{
    KnReflect *trap = (KnReflect *)((VmAddr)(program_stack - RED_ZONE - sizeof *trap) & ~15ull);
    *trap = (KnReflect){ .kind = kind,
                         .number = number,
                         .savedRip = (uint64_t)by_hand_back,
                         .savedRsp = (uint64_t)program_stack,
                         .savedFlags = by_hand_before.flags };
    memset(program_stack - RED_ZONE, 0xa5, RED_ZONE);
    by_hand_stack = (VmAddr)trap;
    by_hand_entry = (VmAddr)chorus_reflected;
}

static bool red_zone_is_whole(const uint8_t *program_stack)
{
    for (int i = 1; i <= RED_ZONE; i++)
        if (program_stack[-i] != 0xa5)
            return false;
    return true;
}

static void expect_same(uint64_t result, const uint8_t *program_stack)
{
    struct machine expected = by_hand_before;
    expected.general[RAX] = result;
    for (unsigned i = 0; i < 15; i++)
        cr_expect_eq(by_hand_after.general[i], expected.general[i], "general register %u", i);
    cr_expect_eq(by_hand_after.flags, expected.flags, "flags %lx", by_hand_after.flags);
    cr_expect_eq(by_hand_after.rsp, (uint64_t)program_stack);
    for (unsigned i = 0; i < chorus_xstate_size; i++)
        if (i < 416 || i >= 576) {
            if (i >= 28 && i < 32)
                continue; /* which bits of mxcsr the machine has */
            cr_assert_eq(by_hand_after.xstate[i], expected.xstate[i], "extended state, byte %u", i);
        }
}

static int64_t answer(unsigned number, const uint64_t arg[6])
{
    (void)arg;
    return number == CALL_threadSelf ? 77 : K_OK;
}

static void prepare(gate_answer *how)
{
    gate_start(how);
    by_hand_mask = chorus_xstate_mask;
}

Test(reflect, keeps_every_register_at_every_alignment_of_the_stack)
{
    prepare(answer);
    for (unsigned odd = 0; odd < 64; odd++) {
        uint8_t *program_stack = stack + sizeof stack - 1024 - odd;
        gate_start(answer);
        machine_fill(&by_hand_before, odd);
        by_hand_before.general[RAX] = SYS_gettid;
        reflect_prepare(program_stack, K_TRAP_SYSCALL, SYS_gettid);
        by_hand();
        expect_same(77, program_stack);
        cr_expect(red_zone_is_whole(program_stack));
        cr_assert_eq(gate_count(CALL_threadSelf), 1);
    }
}

Test(reflect, answers_a_32_bit_call_with_no_such_call)
{
    prepare(answer);
    uint8_t *program_stack = stack + sizeof stack - 1024;
    machine_fill(&by_hand_before, 3);
    reflect_prepare(program_stack, K_TRAP_SYSCALL32, 20);
    by_hand();
    expect_same((uint64_t)-38, program_stack);
}

static KnThreadStart started;

static int64_t answer_birth(unsigned number, const uint64_t arg[6])
{
    if (number == CALL_threadCreate) {
        *(KnThreadLid *)arg[1] = 9;
        started = *(const KnThreadStart *)arg[4];
        return 9;
    }
    return K_OK;
}

Test(reflect, a_cloned_thread_goes_on_with_its_creators_registers)
{
    static uint32_t parent_tid, child_tid;
    uint8_t *program_stack = stack + sizeof stack - 1024;
    uint8_t *new_stack = child_stack + sizeof child_stack - 24;
    prepare(answer_birth);
    machine_fill(&by_hand_before, 5);
    by_hand_before.general[RAX] = SYS_clone;
    by_hand_before.general[RDI] = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND | CLONE_SETTLS |
                                  CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    by_hand_before.general[RSI] = (uint64_t)new_stack;
    by_hand_before.general[RDX] = (uint64_t)&parent_tid;
    by_hand_before.general[R10] = (uint64_t)&child_tid;
    by_hand_before.general[R8] = 0x12345000;
    reflect_prepare(program_stack, K_TRAP_SYSCALL, SYS_clone);
    by_hand();
    expect_same(9, program_stack);
    cr_expect_eq(parent_tid, 9);
    cr_expect_eq(started.fsBase, 0x12345000);

    /* Now the new thread. */
    struct machine creator = by_hand_before;
    machine_fill(&by_hand_before, 99);
    by_hand_before.flags = FLAGS_ALWAYS;
    by_hand_before.general[RDI] = started.argument;
    by_hand_stack = started.stack;
    by_hand_entry = started.entry;
    cr_expect(started.stack < (VmAddr)new_stack);
    by_hand();
    by_hand_before = creator;
    expect_same(0, new_stack);
}
