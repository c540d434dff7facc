/* machine.h: the machine's own state, private to hostarch.
 *
 * A process (one per slot) is what the zygote made: an agent and one stub thread per user CPU. A space is what the Nucleus sees: it gets a spare
 * process, or waits for one to be born. All of this belongs to the Nucleus's thread, but for what is marked:
 *   [u] in an actor's reach: untrusted, read once, checked    [w] read by actors, written here alone    [i] the interrupt thread
 */
#ifndef HOSTARCH_MACHINE_H
#define HOSTARCH_MACHINE_H

#include <host/event.h>
#include <host/supervisor.h>
#include <chorus.h>
#include <nucleus/list.h>
#include "hostarch.h"
#include "layout.h"
#include "setup.h"

#define CPUS_MAX AREA_MAX
#define XSTATE_MAX (RESUME_END - RESUME_XSTATE)

/* What the host says of a thread. Not by /proc/PID/task: what is known of that folder the host has to forget when the process is buried, thread by thread, and there
 * one burial waits busily for the other. */
#define THREAD_STATUS "/proc/%d/status"

#define AGENT_PATIENCE 200000 /* ns until an agent that a stub was to wake is woken from here */

enum stub_state {
    STUB_NONE,   /* not born */
    STUB_PARKED, /* waits for a word, or should */
    STUB_RUNNING,
    STUB_LOST    /* was running, its CPU was taken away without its answer */
};
enum loaded_in { IN_FRAME, IN_RESUME, IN_GATE, IN_SYSCALL };

struct stub {
    struct process *process;
    int index;              /* its user CPU */
    int tid;
    enum stub_state state;
    volatile uint8_t *area;  /* [u] */
    volatile uint32_t *word; /* [w] */
    volatile uint8_t *args;  /* [w] in the order page */
    uint64_t word_address;   /* as actors see it */
    uint64_t area_address;
    struct host_context *loaded; /* whose state is in the area: NULL none */
    enum loaded_in where;
    int64_t since;          /* it runs, or is parked, since */
    uint32_t sent;          /* preemptions */
    uint32_t streak;        /* acknowledged ones without a trap since */
    bool used;              /* it got a command since it was clean: see reuse.c */
    struct list lost_link;
    struct list stalled;    /* contexts that were to run on it while it was lost */
};

enum process_state {
    PROCESS_FREE,
    PROCESS_ASKED,
    PROCESS_BORN,
    PROCESS_SPARE,
    PROCESS_USED,
    PROCESS_EMPTIED, /* its actor is gone: the agent unmaps all that it had, */
    PROCESS_RESET,   /* and its stub threads forget it */
    PROCESS_DYING
};

struct process {
    enum process_state state;
    uint32_t slot;
    int pid, agent_tid;
    unsigned ready;               /* stub threads that made their first trap */
    struct host_space *space;     /* NULL: spare */
    volatile uint8_t *orders;     /* [w] two pages */
    volatile uint32_t *agent_word; /* [w] in the order page */
    volatile uint64_t *report;     /* written by the agent through its descriptor: low half the batch, high half failure */
    uint64_t agent_word_address, report_address;
    uint32_t batch;               /* number of the last batch given to the agent */
    int agent_cpu;                /* user CPU that the agent is bound to */
    int64_t granted;              /* CPU time that it may have used: see liveness.c */
    uint32_t empty_wakes;
    int64_t audit_at, audit_used, audit_granted, audit_switches, audit_suspect;
    struct stub stubs[CPUS_MAX];
    int64_t reuse_until;          /* emptied and reset by then, or it is killed */
    int64_t reuse_look;           /* when to ask the host whether it is reset */
    struct list link;             /* of the spare ones, oldest first, of the newborn, or of those that will be used again */
};

struct order {
    uint32_t call; /* of the host: mmap, mprotect, munmap */
    uint8_t prot, unused;
    uint16_t flags;
    uint64_t address, length, offset;
};

struct host_space {
    void *owner;
    struct process *process;
    bool supervisor, destroyed, dead;
    int death;               /* a HOST_DEAD_ reason, while it dies */
    struct order *orders;    /* queued, from order_first to order_count */
    size_t order_first, order_count, order_room;
    host_ticket_t given, submitted, reported;
    bool batch_running, flush; /* flush: submit without waiting for a thread to run */
    int64_t batch_since, batch_watch;
    size_t contexts;
    struct list link;        /* spaces with a batch in progress */
    struct list waiting;     /* spaces that wait for a process */
    struct host_context *waits_to_run[CPUS_MAX];
    uint8_t answer_of[ANSWER_NUMBERS]; /* as on the order page */
    int64_t answers[HOST_ANSWERS_MOST];
    bool has_answers;
};

enum context_form { FORM_FULL, FORM_GATE };

struct gate_registers {
    uint64_t rsp, rbx, rbp, r12, r13, r14, r15;
    uint64_t result, number, arg[6];
    uint32_t mxcsr;
    uint16_t fcw;
};

struct host_context {
    struct host_space *space;
    void *owner;
    struct stub *home;        /* the stub whose area holds its state; NULL: it is here */
    enum context_form form;
    bool running;             /* on a CPU, lost, or about to be */
    struct list stalled_link; /* its stub thread is lost */
    uint64_t fs_base, gs_base;
    bool own_gs;              /* gs_base counts; else gs is the mail box */
    struct gate_registers gate;
    uint64_t trap_kind, trap_error, trap_address;
    uint8_t uc[UC_SIZE] __attribute__((aligned(16)));
    uint8_t xstate[] __attribute__((aligned(64))); /* machine.xstate_size */
};

struct user_cpu {
    int host_cpu;
    struct stub *seat;           /* the stub that this CPU belongs to: it runs, or spins or sleeps since its last trap */
    struct host_context *running; /* NULL: idle */
    struct host_context *pending; /* to be run as soon as its space can */
    int64_t since;               /* it runs since */
    int64_t preempt_at;          /* 0: none in flight */
    int64_t preempt_again;       /* when to send the next signal */
    int64_t preempt_used;        /* liveness_used_alone when it was asked for */
    struct stub *hop;            /* was told to be woken by another: is it awake? */
    int64_t hop_at;
    uint32_t hop_word;
};

struct machine {
    struct hostarch_options options;
    int memfd;
    uint8_t *memory;        /* all of the memfd */
    uint64_t code_at, gate_at, setup_at, info_at, words_at, words_size, slots_at, slot_step, frames_at, size;
    uint64_t base;          /* B of layout.h */
    struct setup_info *info; /* [w] in the zygote */
    volatile uint32_t *words;
    frame_t frames;
    int cpus;
    struct user_cpu cpu[CPUS_MAX];
    struct process *processes;
    uint32_t slots, used, births, spaces; /* processes at most, now, being born; spaces that have one, or wait for one */
    struct list spares, newborns, waiting_spaces, batches, lost, reused;
    size_t spare_count, reused_count;
    int64_t refused_at;     /* the host refused a process then; 0: never */
    uint32_t xstate_size, frame_offset, xstate_offset; /* where the host builds frames in an area, the same everywhere */
    uint8_t *xstate_initial;
    int zygote_socket, zygote_pid;
    bool zygote_ready, ending;
};
extern struct machine machine;

/* process.c */
int process_start_zygote(void);
void process_handle_zygote(void);       /* its socket can be read */
void process_want(struct host_space *space);
void process_new_secrets(struct process *process);
void process_first_traps(void);          /* look for newborn stubs */
void process_kill(struct process *process, int reason, const char *words);
void process_keep_spares(bool idle);
bool process_births_refused(void);
void process_give_or_keep(struct process *process); /* it is clean */
/* reuse.c */
bool reuse_begin(struct process *process); /* false: it is to be killed */
void reuse_emptied(struct process *process, bool failed); /* the agent has reported */
void reuse_poll(void);
int64_t reuse_watch(int64_t now);          /* when to look next, INT64_MAX: never */
/* clock.c */
void clock_start(void *answers);
/* filter.c */
void filter_build(struct setup_info *info);
/* space.c */
void space_attach(struct host_space *space, struct process *process);
bool space_ready_to_run(struct host_space *space, struct stub *stub, uint32_t *ret_command, uint32_t next);
bool space_poll(struct host_event *event); /* true: one made progress */
void space_push(struct host_space *space);
void space_wake_agent(struct process *process);
void space_died(struct host_space *space, int reason);
bool space_empty(struct host_space *space); /* order all of it unmapped, and nothing else; false: that cannot be */
/* context.c */
void context_unload(struct host_context *context); /* its state comes here */
void context_load(struct host_context *context, struct stub *stub);
bool context_take_trap(struct stub *stub, uint32_t request, struct host_trap *trap); /* false: it lied */
void context_take_ready_frame(struct stub *stub);
/* <frame>: a ucontext and its siginfo, CONTEXT_FRAME_SIZE bytes, of what the thread in <context> was interrupted by: a signal's number, or REQUEST_CALL. */
#define CONTEXT_FRAME_SIZE (UC_SIZE + 48)
bool context_decode(struct host_context *context, uint32_t request, const uint8_t *frame, struct host_trap *trap);
/* cpu.c */
bool cpu_poll(struct host_event *event);
void cpu_retry(struct host_space *space);
void cpu_forget(struct process *process);
void cpu_unseat(struct process *process); /* no CPU relies on its stub threads any more */
void cpu_leave(struct process *process); /* the same for one that lives on: what its stub threads do is no actor's any more */
bool cpu_is_parked(const struct process *process); /* all its stub threads, as far as they say, and no signal is on its way */
int64_t cpu_watch(int64_t now, struct host_event *event, bool *ret_have); /* liveness; returns when to look next */
void cpu_drop_context(struct host_context *context);
/* liveness.c */
/* CPU time of its process, without what the other stubs were let run: what grows while it runs is its own, or of one that runs unasked. */
int64_t liveness_used_alone(const struct stub *stub, int64_t now);
void liveness_audit(int64_t now);
int64_t liveness_parked(const struct stub *stub, int64_t now); /* CPU time that it may have used since it is parked */
void liveness_empty_wake(struct process *process);             /* it woke the Nucleus, and its mail box is empty */
/* event.c */
void event_queue_lost(int cpu, struct host_context *context);
void event_queue_preempted(int cpu, struct host_context *context);
void event_forget_context(struct host_context *context);
void event_queue_dead(struct host_space *space, int code);
void space_free(struct host_space *space);
/* supervisor.c */
void supervisor_space_destroy(struct host_space *space);
void supervisor_run(int cpu, struct host_context *context);
void supervisor_preempt(int cpu);
bool supervisor_ready(void);                     /* is one to run? */
bool supervisor_poll(struct host_event *event);  /* run one, for a tick at most; true: it trapped */
vaddr_t supervisor_return_address(void);
void supervisor_order(struct host_space *space, uint32_t call, int prot, uint64_t address, uint64_t length, uint64_t offset);
bool event_is_on(int host_cpu);
void event_wake(void);
int event_start(void);

static inline uint32_t box_read(const struct stub *stub, unsigned field) { return *(volatile uint32_t *)(stub->area + field); }
static inline uint64_t box_read64(const struct stub *stub, unsigned field) { return *(volatile uint64_t *)(stub->area + field); }
static inline void box_write(struct stub *stub, unsigned field, uint32_t value) { *(volatile uint32_t *)(stub->area + field) = value; }
static inline void box_write64(struct stub *stub, unsigned field, uint64_t value) { *(volatile uint64_t *)(stub->area + field) = value; }
static inline void arg_write(struct stub *stub, unsigned field, uint64_t value) { *(volatile uint64_t *)(stub->args + field) = value; }
static inline void arg_write32(struct stub *stub, unsigned field, uint32_t value) { *(volatile uint32_t *)(stub->args + field) = value; }

long futex_wake_shared(volatile uint32_t *word);

#endif
