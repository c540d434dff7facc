/* process.c: actor processes: asked of the zygote, found ready, kept in reserve, given to spaces, buried.
 *
 * A process is spare when each of its stub threads has made its first trap and the SETUP pages are ordered away. Spare ones are kept so that making an
 * actor costs no birth; those that an actor leaves behind are used again (reuse.c). A space that finds no spare waits for one; its orders are queued meanwhile.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "counts.h"
#include "machine.h"

#define SPARES 3    /* the reserve when nothing runs; */
#define SPARES_LOW 2 /* and while something does: a birth takes its time from it */
#define BIRTHS_AT_ONCE 4
#define REFUSED_FOR 100000000 /* ns that a refusal of the host counts */

static struct process *process_free(void)
{
    for (uint32_t slot = 0; slot < machine.slots; slot++)
        if (machine.processes[slot].state == PROCESS_FREE)
            return &machine.processes[slot];
    return NULL;
}

static void order_write(struct process *process, unsigned field, uint64_t value)
{
    *(volatile uint64_t *)(process->orders + field) = value;
}

/* Where its stub threads sleep next is known to nobody else, nor to an actor that it had before. */
void process_new_secrets(struct process *process)
{
    uint64_t random[CPUS_MAX];
    size_t size = machine.cpus * sizeof random[0];
    if (getrandom(random, size, 0) != (ssize_t)size)
        host_panic("the host gives no random numbers");
    for (int i = 0; i < machine.cpus; i++)
        arg_write(&process->stubs[i], ARG_SECRET, random[i]);
}

/* What the newborn will read is there before it is born. */
static void prepare(struct process *process)
{
    memset((void *)process->orders, 0, ORDER_RECORDS);
    *process->agent_word = 0;
    *process->report = 0;
    process->batch = 0;
    process->ready = 0;
    process->agent_cpu = 0;
    process->granted = process->empty_wakes = 0;
    process->audit_at = 0;
    process_new_secrets(process);
    order_write(process, ORDER_WORD, process->agent_word_address);
    order_write(process, ORDER_REPORT, process->report_address);
    order_write(process, ORDER_OFFSET_OF, machine.words_at + (uint64_t)((volatile uint8_t *)process->report - (volatile uint8_t *)machine.words));
    for (int i = 0; i < machine.cpus; i++) {
        struct stub *stub = &process->stubs[i];
        *stub->word = 0;
        memset((void *)stub->area, 0, 256);
        stub->state = STUB_NONE;
        stub->loaded = NULL;
        stub->sent = stub->streak = 0;
        stub->used = false;
        arg_write(stub, ARG_WORD, stub->word_address);
        arg_write32(stub, ARG_AWAKE, NUCLEUS_AWAKE + (uint32_t)machine.cpu[stub->index].host_cpu);
        arg_write32(stub, ARG_SPIN, machine.cpus > 1 ? STUB_SPIN : 1);
        arg_write(stub, ARG_AGENT, process->agent_word_address);
        arg_write(stub, ARG_REPORT, process->report_address);
    }
}

static bool ask_for_birth(void)
{
    struct process *process = process_free();
    if (process == NULL)
        return false;
    prepare(process);
    struct zygote_message message = {ZYGOTE_BEAR, process->slot, 0, 0};
    if (send(machine.zygote_socket, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof message)
        return false;
    process->state = PROCESS_ASKED;
    process->pid = 0;
    machine.births++;
    machine.used++;
    counts.births++;
    return true;
}

static unsigned waiting_count(void)
{
    unsigned count = 0;
    LIST_FOR_EACH(link, &machine.waiting_spaces)
    count++;
    return count;
}

/* Ask for as many births as spaces wait for, and the reserve wants, beyond those processes that are on their way. */
void process_keep_spares(bool idle)
{
    if (machine.ending || process_births_refused())
        return;
    unsigned reserve = idle ? SPARES : SPARES_LOW;
    unsigned want = waiting_count() + (machine.spare_count < reserve ? reserve - (unsigned)machine.spare_count : 0);
    while (machine.births + machine.reused_count < want && machine.births < BIRTHS_AT_ONCE)
        if (!ask_for_birth())
            break;
}

void process_want(struct host_space *space)
{
    struct list *link = list_first(&machine.spares);
    if (link != NULL) {
        list_remove(link);
        machine.spare_count--;
        space_attach(space, LIST_OWNER(link, struct process, link));
    } else {
        list_append(&machine.waiting_spaces, &space->waiting);
    }
    process_keep_spares(false);
}

void process_give_or_keep(struct process *process)
{
    struct list *link = list_first(&machine.waiting_spaces);
    if (link != NULL) {
        list_remove(link);
        space_attach(LIST_OWNER(link, struct host_space, waiting), process);
        return;
    }
    process->state = PROCESS_SPARE;
    list_append(&machine.spares, &process->link);
    machine.spare_count++;
}

/* All stub threads are under their filter: what remains of the birth is unmapped by the agent, as its first batch, before anything of an actor. */
static void unmap_setup(struct process *process)
{
    uint8_t *record = (uint8_t *)process->orders + ORDER_RECORDS;
    *(uint32_t *)record = SYS_munmap;
    *(uint64_t *)(record + 8) = machine.base + SETUP_OFFSET;
    *(uint64_t *)(record + 16) = SETUP_SIZE;
    process->batch = 1;
    order_write(process, ORDER_OK, 1);
    order_write(process, ORDER_FAIL, 1ull << 32 | 1);
    *(volatile uint32_t *)(process->orders + ORDER_COUNT) = 1;
    __atomic_store_n(process->agent_word, 1, __ATOMIC_SEQ_CST);
    futex_wake_shared(process->agent_word);
}

static void look_at_newborn(struct process *process)
{
    if (process->ready == (unsigned)machine.cpus) {
        uint64_t report = __atomic_load_n(process->report, __ATOMIC_ACQUIRE);
        if (report == 0)
            return;
        machine.births--;
        list_remove(&process->link);
        process->state = PROCESS_USED;
        if (report >> 32) {
            process_kill(process, HOST_DEAD_BIRTH, "the birth's pages could not be unmapped");
            return;
        }
        process_give_or_keep(process);
        return;
    }
    for (int i = 0; i < machine.cpus; i++) {
        struct stub *stub = &process->stubs[i];
        /* Its first trap comes from the stub's own code, which at any later time is a fault. */
        if (stub->state != STUB_NONE || box_read(stub, BOX_REQUEST) != REQUEST_STUB_FAULT || box_read(stub, BOX_SIGNAL) != SIGSYS)
            continue;
        box_write(stub, BOX_REQUEST, 0);
        stub->tid = (int)box_read(stub, BOX_TID);
        if (i == 0)
            process->agent_tid = (int)box_read(stub, BOX_AGENT_TID);
        context_take_ready_frame(stub);
        stub->state = STUB_PARKED;
        process->ready++;
        if (process->ready == (unsigned)machine.cpus)
            unmap_setup(process);
    }
}

void process_first_traps(void)
{
    LIST_FOR_EACH_SAFE(link, following, &machine.newborns)
    look_at_newborn(LIST_OWNER(link, struct process, link));
}

static void leave_reserve(struct process *process)
{
    if (process->state == PROCESS_SPARE)
        machine.spare_count--;
    if (process->state == PROCESS_EMPTIED || process->state == PROCESS_RESET)
        machine.reused_count--;
    list_remove(&process->link);
}

void process_kill(struct process *process, int reason, const char *words)
{
    if (process->state == PROCESS_FREE || process->state == PROCESS_DYING || process->state == PROCESS_ASKED)
        return;
    if (reason != HOST_DEAD_DESTROYED)
        host_log(reason == HOST_DEAD_HOSTILE ? 0 : 1, "machine: process %d ends: %s", process->pid, words);
    if (process->state == PROCESS_BORN)
        machine.births--;
    leave_reserve(process);
    process->state = PROCESS_DYING;
    if (process->space != NULL && process->space->death == 0)
        process->space->death = reason;
    if (process->pid > 0)
        kill(process->pid, SIGKILL);
    cpu_forget(process);
}

/* The host made no process, or one that could not be set up: it is at a limit of its own. Who waits gets an error, and for a while nobody tries. */
static void birth_refused(struct process *process, const char *why)
{
    machine.births--;
    machine.used--;
    process->state = PROCESS_FREE;
    process->pid = 0;
    list_remove(&process->link);
    host_log(machine.refused_at == 0 ? 0 : 2, "machine: the host refuses another process: %s", why);
    machine.refused_at = host_time();
    for (struct list *link; (link = list_first(&machine.waiting_spaces)) != NULL;) {
        list_remove(link);
        space_died(LIST_OWNER(link, struct host_space, waiting), HOST_DEAD_BIRTH);
    }
}

bool process_births_refused(void)
{
    return machine.spare_count == 0 && machine.refused_at != 0 && host_time() - machine.refused_at < REFUSED_FOR;
}

/* It is gone, as the zygote says: nothing of it runs, its mappings are no more. */
static void bury(struct process *process, int status)
{
    struct host_space *space = process->space;
    if (process->state == PROCESS_ASKED || process->state == PROCESS_BORN) {
        birth_refused(process, WIFEXITED(status) ? "its birth failed" : "it was killed at its birth");
        return;
    }
    leave_reserve(process);
    bool expected = process->state == PROCESS_DYING || process->state == PROCESS_EMPTIED;
    process->state = PROCESS_FREE;
    process->space = NULL;
    process->pid = 0;
    machine.used--;
    counts.deaths++;
    for (int i = 0; i < machine.cpus; i++)
        list_remove(&process->stubs[i].lost_link);
    cpu_forget(process);
    if (space != NULL) {
        if (!expected && !space->destroyed)
            host_log(1, "machine: an actor's process was killed from outside (status 0x%x)", status);
        space->process = NULL;
        space_died(space, expected ? space->death : HOST_DEAD_KILLED);
    }
}

static void handle_message(const struct zygote_message *message)
{
    if (message->slot >= machine.slots)
        return;
    struct process *process = &machine.processes[message->slot];
    if (message->operation == ZYGOTE_BORN && process->state == PROCESS_ASKED) {
        if (message->pid < 0) {
            birth_refused(process, strerror(-message->pid));
            return;
        }
        process->pid = message->pid;
        process->state = PROCESS_BORN;
        list_append(&machine.newborns, &process->link);
    } else if (message->operation == ZYGOTE_DIED && process->pid == message->pid) {
        bury(process, message->status);
    }
}

void process_handle_zygote(void)
{
    struct zygote_message message;
    for (;;) {
        ssize_t got = recv(machine.zygote_socket, &message, sizeof message, MSG_DONTWAIT);
        if (got == sizeof message) {
            handle_message(&message);
            continue;
        }
        if (got == 0 && !machine.ending) {
            machine.ending = true;
            host_log(0, "machine: the process that makes actors is gone; the site ends");
            if (machine.options.lost != NULL)
                machine.options.lost();
        }
        break;
    }
    process_keep_spares(false);
}
