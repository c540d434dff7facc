/* Threads: births, ends, and who they are. Registers of a new thread: test_reflect.c. */
#include "fake_gate.h"

#include <criterion/criterion.h>
#include <asm/prctl.h>
#include <errno.h>
#include <linux/sched.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

static KnThreadLid next = 2, self = 1;
static int activation;
static jmp_buf ended;
static int64_t word_at_wake;

static int64_t answer(unsigned number, const uint64_t arg[6])
{
    switch (number) {
    case CALL_threadCreate:
        *(KnThreadLid *)arg[1] = next;
        return next;
    case CALL_threadActivate:
        return activation;
    case CALL_threadSelf:
        return self;
    case CALL_syncWake:
        word_at_wake = *(const uint32_t *)arg[0];
        return 1;
    case CALL_threadExit:
        longjmp(ended, 1);
    case CALL_rgnAllocate: {
        KnRgnDesc *region = (KnRgnDesc *)arg[1];
        region->startAddr = (VmAddr)mmap(NULL, region->size, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return K_OK;
    }
    default:
        return K_OK;
    }
}

static void start(void)
{
    gate_start(answer);
}
TestSuite(thread, .init = start);

#define THREAD (CLONE_VM | CLONE_THREAD | CLONE_SIGHAND)
static _Alignas(64) uint8_t stack[32768];
static uint32_t parent_tid, child_tid;

static int64_t clone_thread(uint64_t flags)
{
    return linux_call(SYS_clone, flags, (uint64_t)(stack + sizeof stack), (uint64_t)&parent_tid,
                      (uint64_t)&child_tid, 0x5000, 0);
}

Test(thread, a_process_cannot_be_made)
{
    cr_expect_eq(linux_call(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0), -ENOSYS);
    cr_expect_eq(linux_call(SYS_clone, CLONE_VM | CLONE_VFORK, (uint64_t)(stack + 4096), 0, 0, 0, 0), -ENOSYS);
    cr_expect_eq(linux_call(SYS_clone, THREAD, 0, 0, 0, 0, 0), -ENOSYS, "without a stack");
    cr_expect_eq(gate_count(CALL_threadCreate), 0);
}

Test(thread, clone3_with_too_few_arguments_is_refused)
{
    struct clone_args asked = { .flags = THREAD };
    cr_expect_eq(linux_call(SYS_clone3, (uint64_t)&asked, 8, 0, 0, 0, 0), -EINVAL);
}

Test(thread, a_thread_is_known_before_it_runs)
{
    cr_expect_eq(clone_thread(THREAD | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID), 2);
    cr_expect_eq(parent_tid, 2);
    cr_expect_eq(child_tid, 2);
    cr_expect_eq(gate_find(CALL_threadCreate, 0)->arg[2], K_INACTIVE);
    cr_expect_eq(gate_calls[gate_call_count - 1].number, CALL_threadActivate);
}

Test(thread, clone3_gives_the_stack_by_its_beginning)
{
    struct clone_args asked = { .flags = THREAD, .stack = (uint64_t)stack, .stack_size = 16384 };
    cr_expect_eq(linux_call(SYS_clone3, (uint64_t)&asked, sizeof asked, 0, 0, 0, 0), 2);
    struct reflected *frame = NULL;
    for (size_t at = 0; at < 16384 && frame == NULL; at += 16)
        if (((struct reflected *)(stack + at))->trap.savedRsp == (uint64_t)stack + 16384)
            frame = (struct reflected *)(stack + at);
    cr_expect_not_null(frame);
}

static void end_thread(void)
{
    if (setjmp(ended) == 0)
        linux_call(SYS_exit, 0, 0, 0, 0, 0, 0);
}

Test(thread, who_joins_is_woken_after_the_word_is_cleared)
{
    clone_thread(THREAD | CLONE_CHILD_CLEARTID);
    child_tid = 2;
    self = 2;
    end_thread();
    cr_expect_eq(child_tid, 0);
    cr_expect_eq(word_at_wake, 0);
    cr_expect_eq(gate_find(CALL_syncWake, 0)->arg[0], (uint64_t)&child_tid);
    cr_expect_eq(gate_calls[gate_call_count - 1].number, CALL_threadExit);
}

Test(thread, a_thread_that_nobody_joins_just_ends)
{
    clone_thread(THREAD);
    self = 2;
    end_thread();
    cr_expect_eq(gate_count(CALL_syncWake), 0);
    cr_expect_eq(gate_count(CALL_threadExit), 1);
}

Test(thread, many_threads_have_words_of_their_own)
{
    static uint32_t words[40];
    for (next = 1; next < 40; next++) {
        gate_start(answer);
        linux_call(SYS_clone, THREAD | CLONE_CHILD_CLEARTID, (uint64_t)(stack + sizeof stack), 0,
                   (uint64_t)&words[next], 0, 0);
        words[next] = 1;
    }
    self = 33;
    gate_start(answer);
    end_thread();
    for (int li = 1; li < 40; li++)
        cr_expect_eq(words[li], li == 33 ? 0u : 1u);
}

Test(thread, beyond_the_last_slot_no_thread_is_made)
{
    next = 4096;
    cr_expect_eq(clone_thread(THREAD), -EAGAIN);
    cr_expect_eq(gate_count(CALL_threadDelete), 1);
}

Test(thread, the_main_thread_has_a_word_too)
{
    self = 1;
    child_tid = 1;
    cr_expect_eq(linux_call(SYS_set_tid_address, (uint64_t)&child_tid, 0, 0, 0, 0, 0), 1);
    end_thread();
    cr_expect_eq(child_tid, 0);
}

Test(thread, the_fs_base_is_the_programs_and_the_gs_base_is_not)
{
    uint64_t base = 0;
    cr_expect_eq(linux_call(SYS_arch_prctl, ARCH_SET_GS, 0, 0, 0, 0, 0), -EINVAL);
    cr_expect_eq(linux_call(SYS_arch_prctl, ARCH_GET_FS, (uint64_t)&base, 0, 0, 0, 0), 0);
    cr_expect_eq(base, __builtin_ia32_rdfsbase64());
    cr_expect_eq(linux_call(SYS_arch_prctl, ARCH_SET_FS, base, 0, 0, 0, 0), 0);
    cr_expect_eq(base, __builtin_ia32_rdfsbase64());
}

Test(thread, the_actors_end_is_logged_if_it_is_no_success, .signal = SIGILL)
{
    static const char text[] = "unfinished";
    linux_call(SYS_write, 1, (uint64_t)text, sizeof text - 1, 0, 0, 0);
    linux_call(SYS_exit_group, 3, 0, 0, 0, 0, 0);
}

static int64_t answer_end(unsigned number, const uint64_t arg[6])
{
    if (number == CALL_actorDelete)
        longjmp(ended, 1);
    return answer(number, arg);
}

Test(thread, what_was_written_is_logged_before_the_end)
{
    static const char text[] = "unfinished";
    gate_start(answer_end);
    linux_call(SYS_write, 1, (uint64_t)text, sizeof text - 1, 0, 0, 0);
    if (setjmp(ended) == 0)
        linux_call(SYS_tgkill, 1, 1, SIGABRT, 0, 0, 0);
    cr_expect_str_eq(gate_log, "libchorus: the actor ends itself by signal 6\nunfinished\n");
    if (setjmp(ended) == 0)
        linux_call(SYS_exit_group, 0, 0, 0, 0, 0, 0);
    cr_expect_eq(gate_count(CALL_actorDelete), 2);
}
