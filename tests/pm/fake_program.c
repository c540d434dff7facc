/* What a test does: it plays programs. */

#include "fake_world.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <protocol/tty.h>

#include "call.h"
#include "device.h"
#include "init.h"
#include "job.h"
#include "mount.h"
#include "process.h"
#include "rlimits.h"
#include "signals.h"
#include "space.h"
#include "worker.h"

struct pm_options pm_options;

static KnMsgId last_message;

/* ---- playing a program ---- */

/* True: the message stays with pm. */
static bool hand_over(const uint8_t *annex, KnMsgId id)
{
    bool stays = worker_handle(annex, id);
    worker_answer();
    return stays;
}

static struct fake_thread *playing(const struct program *program)
{
    return fake_thread_of_cookie(program->cookie);
}

static void deliver(struct fake_thread *thread, uint32_t kind, uint32_t number,
                    const uint64_t arguments[6])
{
    _Alignas(16) uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    KnTrapMsg trap = { .kind = kind, .number = number, .cookie = thread->cookie,
                       .ip = thread->registers.rip, .sp = thread->registers.rsp };
    memcpy(trap.arg, arguments, sizeof trap.arg);
    memcpy(annex, &trap, sizeof trap);
    KnMsgId id = thread->saved = ++last_message;
    thread->in_trap = true;
    bool stays = hand_over(annex, id);
    if (thread->saved != id)
        return;
    cr_assert(stays, "the trap was neither answered nor kept");
    thread->where = FAKE_WAITS;
}

/* Do as the thread what pm asked for. */
static bool do_call(struct fake_thread *thread)
{
    const KnTrapReply *reply = &thread->reply;
    static uint8_t buffer[1 << 20];
    KnCap segment;
    int64_t result = K_OK;
    memcpy(&segment, thread->body, sizeof segment);
    if (reply->number == DO_sgRead) {
        result = sgRead(&segment, reply->arg[1], buffer, reply->arg[3]);
        if (result > 0 &&
            fake_copy_memory(thread->actor, reply->arg[2], buffer, (VmSize)result, true) != K_OK)
            result = K_EFAULT;
    } else if (reply->number == DO_sgWrite) {
        result = fake_copy_memory(thread->actor, reply->arg[2], buffer, reply->arg[3], false);
        if (result == K_OK)
            result = sgWrite(&segment, reply->arg[1], buffer, reply->arg[3]);
    } else if (reply->number == DO_threadDelay || reply->number == DO_syncWait) {
        if (!thread->aborted)
            return false;
        thread->aborted = false;
        result = K_EABORT;
    }
    thread->where = FAKE_RUNS;
    if (result < 0 || (reply->flags & K_DO_REPORT))
        deliver(thread, K_TRAP_RESULT, (uint32_t)reply->number, (uint64_t[6]){ (uint64_t)result });
    else
        thread->registers.rax = (uint64_t)result;
    return true;
}

static void tell_abort(struct fake_thread *thread)
{
    thread->aborted = false;
    deliver(thread, K_TRAP_ABORT, 0, (uint64_t[6]){ 0 });
}

/* Everybody goes on as far as possible without running code of its own. */
static void settle(void)
{
    for (bool again = true; again;) {
        again = false;
        for (struct fake_thread *thread = fake_all_threads; thread != NULL; thread = thread->next) {
            if (thread->where == FAKE_DOES_CALL)
                again |= do_call(thread);
            if (thread->where == FAKE_RUNS && thread->aborted && !thread->in_trap) {
                tell_abort(thread);
                again = true;
            }
        }
    }
}

int64_t fake_call6(struct program *program, long number, const uint64_t arguments[6])
{
    struct fake_thread *thread = playing(program);
    cr_assert_not_null(thread, "the program is no more");
    cr_assert_eq(thread->where, FAKE_RUNS, "the program is in a call");
    thread->registers.rax = (uint64_t)number;
    thread->last_number = (uint32_t)number;
    deliver(thread, K_TRAP_SYSCALL, (uint32_t)number, arguments);
    settle();
    return fake_result(program);
}

enum fake_where fake_where(const struct program *program)
{
    struct fake_thread *thread = playing(program);
    return thread == NULL ? FAKE_GONE : thread->where;
}

int64_t fake_result(const struct program *program)
{
    struct fake_thread *thread = playing(program);
    if (thread == NULL || thread->where != FAKE_RUNS)
        return FAKE_BLOCKED;
    return (int64_t)thread->registers.rax;
}

struct program fake_newest(void)
{
    struct fake_thread *thread = fake_all_threads;
    while (thread->where == FAKE_GONE)
        thread = thread->next;
    return (struct program){ thread->cookie, thread_find_cookie(thread->cookie)->process->pid };
}

void fake_trap(struct program *program, uint32_t kind, uint64_t address, int status)
{
    deliver(playing(program), kind, 0, (uint64_t[6]){ address, 0, (uint64_t)(int64_t)status });
    settle();
}

void fake_put(const struct program *program, uint64_t at, const void *data, size_t size)
{
    cr_assert_eq(fake_copy_memory(playing(program)->actor, at, (uint8_t *)data, size, true), K_OK);
}

void fake_get(const struct program *program, uint64_t at, void *data, size_t size)
{
    cr_assert_eq(fake_copy_memory(playing(program)->actor, at, data, size, false), K_OK);
}

uint64_t fake_put_string(const struct program *program, uint64_t at, const char *text)
{
    fake_put(program, at, text, strlen(text) + 1);
    return at;
}

KnThreadCtx *fake_registers(const struct program *program)
{
    return &playing(program)->registers;
}

void fake_pass(KnTime time)
{
    fake_now += time;
    for (int i = 0; i < 100 && fake_timer_due != 0 && fake_timer_due <= fake_now; i++) {
        _Alignas(16) uint8_t annex[K_CMSGANNEXSIZE] = { K_MSG_TIMER };
        fake_timer_due = 0;
        hand_over(annex, ++last_message);
    }
    settle();
}

void fake_type(const char *text)
{
    _Alignas(16) uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    struct tty_event event = { .kind = TTY_EVENT_READY, .token = fake_terminal_give(text) };
    memcpy(annex, &event, sizeof event);
    fake_sender_is_nucleus = false;
    if (event.token != 0)
        hand_over(annex, ++last_message);
    fake_sender_is_nucleus = true;
    settle();
}

unsigned fake_actors(void)
{
    unsigned count = 0;
    for (struct fake_actor *actor = fake_all_actors; actor != NULL; actor = actor->next)
        count++;
    return count;
}

unsigned fake_threads(void)
{
    unsigned count = 0;
    for (struct fake_thread *thread = fake_all_threads; thread != NULL; thread = thread->next)
        count += thread->where != FAKE_GONE;
    return count;
}

unsigned fake_saved(void)
{
    unsigned count = 0;
    for (struct fake_thread *thread = fake_all_threads; thread != NULL; thread = thread->next)
        count += thread->saved != 0;
    return count;
}

/* ---- start and end ---- */

static void start_pm(void)
{
    struct file_node root;
    cr_assert_eq(worker_open_port(), K_OK);
    cr_assert_eq(init_make(), 0);
    cr_assert_eq(file_server_find(&root), 0);
    cr_assert_eq(mount_root(root), 0);
    process_init->fs = fs_view_new(NULL);
    process_init->fs->root = (struct place){ .node = root, .path = strdup("/") };
    process_init->fs->cwd = (struct place){ .node = root, .path = strdup("/") };
    cr_assert_eq(device_server_find(), 0);
}

struct program fake_boot(void)
{
    fake_servers_start();
    pm_lock();
    start_pm();
    struct process *process = process_new(process_init, pid_new());
    process->fs = fs_view_new(process_init->fs);
    process->signals = signal_table_new(NULL);
    process->descriptors = descriptor_table_new();
    process->credentials.bounding = process->credentials.permitted =
        process->credentials.effective = CAPABILITIES_ALL;
    limits_default(process->limits);
    cr_assert_eq(job_new_session(process), 0);
    cr_assert_eq(space_new(NULL, &process->space), 0);
    KnRgnDesc play = { .startAddr = PLAY, .size = PLAY_SIZE, .options = K_READABLE | K_WRITABLE };
    cr_assert_eq(rgnAllocate(&process->space->actor, &play), K_OK);
    struct thread *thread = thread_new(process, process->pid);
    KnThreadStart start = { .entry = 0x1000, .stack = PLAY + PLAY_SIZE - 64,
                            .cookie = thread->cookie };
    cr_assert_gt(threadCreate(&process->space->actor, &thread->li, K_ACTIVE, NULL, &start), 0);
    for (int fd = 0; fd < 3; fd++) {
        struct file *file;
        cr_assert_eq(device_open_first(process, TTY_CONSOLE, O_RDWR, &file), 0);
        cr_assert_eq(descriptor_add(process, file, false, fd), fd);
    }
    init_watch(process->pid);
    pm_unlock();
    return (struct program){ thread->cookie, process->pid };
}

void fake_end(void)
{
    fake_servers_end();
}

void fake_file(const char *path, const void *data, size_t size, uint32_t mode)
{
    struct file_exchange exchange = { .node = { fake_om_port, FILE_ROOT_KEY }, .send = path,
                                      .send_size = (uint32_t)strlen(path) };
    exchange.request.operation = FILE_CREATE;
    exchange.request.path_length = (uint16_t)strlen(path);
    exchange.request.open.access = FILE_O_WRITE;
    exchange.request.open.mode = mode;
    pm_lock();
    cr_assert_eq(file_exchange(&exchange), 0);
    pm_unlock();
    KnCap segment = { .key = exchange.reply.node.key };
    memcpy(&segment.ui, &exchange.reply.node.port, sizeof segment.ui);
    cr_assert_eq(sgWrite(&segment, 0, data, size), (int64_t)size);
    pm_lock();
    file_server_close((struct file_node){ fake_om_port, exchange.reply.attributes.key }, FILE_O_WRITE);
    pm_unlock();
}
