/* event.c: where the Nucleus waits: it polls the mail, and sleeps when polling does not pay.
 *
 * Polling needs a CPU of its own: it is done only while a user CPU is idle whose host CPU can be spent on it, and only while traps come in quick succession
 * (sleeps that turn out short). While nothing runs it gives way at each look: who else wants the CPU may be the one that it waits for. Otherwise the Nucleus sleeps
 * in futex_waitv on the words of the stubs that run, on the reports that are due, and on one private word for all other events; and it sleeps bound to the CPUs of
 * those stubs, since a wake on the waker's own CPU costs a tenth of one across CPUs.
 *
 * The interrupt thread sits in epoll_wait on every descriptor and posts what it sees.
 */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "counts.h"
#include "machine.h"

#define WAITV_MAX 128
#define SHORT_SLEEP 150000 /* ns: a sleep that short did not pay */
#define SHORT_SLEEPS 3     /* so many of them in a row, and the Nucleus polls */
#define AUDIT_PERIOD 5000000
#define POLLS_PER_LOOK 32
#define BUSY 32 /* events in a row without a sleep: the Nucleus looks for a CPU of its own */
#define MAIL_IN_A_ROW 16 /* then all else has its turn */
#define GIVEN_MOST 500000       /* ns that others keep the Nucleus's CPU when it gives way */
#define CROWDED_PERIOD 100000000 /* ns in which it does not try that again */
#define TURNS_IN_A_ROW 16 /* of supervisor actors, before who is asked (hostarch_poll) */

struct hostarch_counts counts;

struct posted {
    void (*function)(void *);
    void *argument;
};

static struct {
    pthread_mutex_t lock;
    struct posted *ring;
    size_t first, count, room;
    volatile uint32_t word; /* changes with each post; the Nucleus sleeps on it, too */
} posts = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Events of the machine itself that wait to be handed out. */
struct machine_event {
    struct list link;
    struct host_event event;
};
static struct list machine_events = {&machine_events, &machine_events};
static struct host_space *to_free;

static struct {
    bool (*ready)(void);
    void (*function)(void *);
    void *argument;
    volatile uint32_t *word;
} polled; /* see hostarch_poll */

static struct {
    int bound;        /* host CPU that the Nucleus is bound to, -1: all */
    unsigned shorts;  /* short sleeps in a row */
    int64_t audit_at;
    int64_t crowded_until; /* somebody computes where the Nucleus would look while nothing runs */
    bool audited_idle;
    unsigned busy; /* events since the last sleep */
} self = {.bound = -1};

/* --- small things ------------------------------------------------------------------------------------------------------------------------ */

void host_seed(uint8_t seed[32])
{
    if (machine.options.seed != 0) {
        memset(seed, 0, 32);
        memcpy(seed, &machine.options.seed, sizeof machine.options.seed);
    } else if (getrandom(seed, 32, 0) != 32) {
        host_panic("the host gives no random numbers");
    }
}

long futex_wake_shared(volatile uint32_t *word) { return syscall(SYS_futex, word, FUTEX_WAKE, 0x7fffffff, NULL, NULL, 0); }

void hostarch_poll(bool (*ready)(void), void (*function)(void *), void *argument, volatile uint32_t *word)
{
    polled.word = word;
    polled.ready = ready;
    polled.function = function;
    polled.argument = argument;
}

/* --- posts from other host threads ----------------------------------------------------------------------------------------------------------- */

void event_wake(void)
{
    __atomic_fetch_add(&posts.word, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &posts.word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

void host_post(void (*function)(void *), void *argument)
{
    pthread_mutex_lock(&posts.lock);
    if (posts.count == posts.room) {
        size_t room = posts.room ? posts.room * 2 : 64;
        struct posted *ring = calloc(room, sizeof *ring);
        if (ring == NULL)
            host_panic("out of memory for events");
        for (size_t i = 0; i < posts.count; i++)
            ring[i] = posts.ring[(posts.first + i) % posts.room];
        free(posts.ring);
        posts.ring = ring;
        posts.room = room;
        posts.first = 0;
    }
    posts.ring[(posts.first + posts.count++) % posts.room] = (struct posted){function, argument};
    pthread_mutex_unlock(&posts.lock);
    event_wake();
}

static bool take_post(struct host_event *event)
{
    if (__atomic_load_n(&posts.count, __ATOMIC_ACQUIRE) == 0)
        return false;
    pthread_mutex_lock(&posts.lock);
    struct posted posted = posts.ring[posts.first];
    posts.first = (posts.first + 1) % posts.room;
    posts.count--;
    pthread_mutex_unlock(&posts.lock);
    *event = (struct host_event){.kind = HOST_EVENT_FUNCTION, .function = posted.function, .argument = posted.argument};
    return true;
}

/* --- the interrupt thread ----------------------------------------------------------------------------------------------------------------------- */

struct watch {
    int fd;
    uint32_t seen;
    hostarch_handler *handler;
    void *cookie;
};
static int epoll_fd = -1;
#define WATCHES_MAX 1024
static struct watch *watches[WATCHES_MAX];

static void call_watch(void *argument)
{
    struct watch *watch = argument;
    uint32_t seen = watch->seen;
    if (watch->fd >= 0 && watch->handler != NULL)
        watch->handler(watch->cookie, seen);
    else
        free(watch);
}

static void *interrupt_thread(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "interrupts");
    struct epoll_event events[32];
    for (;;) {
        int count = epoll_wait(epoll_fd, events, 32, -1);
        for (int i = 0; i < count; i++) {
            struct watch *watch = events[i].data.ptr;
            watch->seen = events[i].events;
            host_post(call_watch, watch);
        }
        if (count < 0 && errno != EINTR)
            host_panic("epoll_wait: %s", strerror(errno));
    }
    return NULL;
}

int hostarch_watch(int fd, uint32_t events, hostarch_handler *handler, void *cookie)
{
    if (fd < 0 || fd >= WATCHES_MAX)
        return -1;
    bool known = watches[fd] != NULL;
    struct watch *watch = known ? watches[fd] : calloc(1, sizeof *watch);
    if (watch == NULL)
        return -1;
    watch->fd = fd;
    watch->handler = handler;
    watch->cookie = cookie;
    struct epoll_event event = {.events = events | EPOLLONESHOT, .data.ptr = watch};
    if (epoll_ctl(epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) != 0) {
        if (!known)
            free(watch);
        return -1;
    }
    watches[fd] = watch;
    return 0;
}

/* A post for it may be under way: the watch stays as a shell, which a late post finds without a handler. */
void hostarch_unwatch(int fd)
{
    if (fd < 0 || fd >= WATCHES_MAX || watches[fd] == NULL)
        return;
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    watches[fd]->handler = NULL;
    watches[fd] = NULL;
}

static void zygote_readable(void *cookie, uint32_t events)
{
    (void)cookie;
    (void)events;
    process_handle_zygote();
    if (!machine.ending)
        hostarch_watch(machine.zygote_socket, EPOLLIN, zygote_readable, NULL);
}

int event_start(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        return -1;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
    pthread_t thread;
    int error = pthread_create(&thread, NULL, interrupt_thread, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error != 0)
        return -1;
    return hostarch_watch(machine.zygote_socket, EPOLLIN, zygote_readable, NULL);
}

/* --- events of the machine ------------------------------------------------------------------------------------------------------------------------ */

static struct host_event *new_event(enum host_event_kind kind)
{
    struct machine_event *event = calloc(1, sizeof *event);
    if (event == NULL)
        host_panic("out of memory for events");
    event->event.kind = kind;
    list_append(&machine_events, &event->link);
    return &event->event;
}

void event_queue_dead(struct host_space *space, int code)
{
    struct host_event *event = new_event(HOST_EVENT_SPACE_DEAD);
    event->space = space;
    event->owner = space->owner;
    event->code = code;
}

void event_queue_lost(int cpu, struct host_context *context)
{
    struct host_event *event = new_event(HOST_EVENT_CPU_LOST);
    event->cpu = cpu;
    event->context = context;
    event->owner = context->owner;
}

void event_queue_preempted(int cpu, struct host_context *context)
{
    context->running = false;
    struct host_event *event = new_event(HOST_EVENT_TRAP);
    event->trap.kind = HOST_TRAP_PREEMPTED;
    event->trap.cpu = cpu;
    event->trap.context = context;
    event->trap.owner = context->owner;
}

/* The context is about to go: nobody is told of it any more. */
void event_forget_context(struct host_context *context)
{
    LIST_FOR_EACH_SAFE(link, following, &machine_events)
    {
        struct machine_event *event = LIST_OWNER(link, struct machine_event, link);
        bool is_lost = event->event.kind == HOST_EVENT_CPU_LOST && event->event.context == context;
        bool is_trap = event->event.kind == HOST_EVENT_TRAP && event->event.trap.context == context;
        if (!is_lost && !is_trap)
            continue;
        list_remove(link);
        free(event);
    }
}

static bool event_queue_take(struct host_event *event)
{
    struct list *link = list_first(&machine_events);
    if (link == NULL)
        return false;
    struct machine_event *first = LIST_OWNER(link, struct machine_event, link);
    list_remove(link);
    *event = first->event;
    free(first);
    if (event->kind == HOST_EVENT_SPACE_DEAD)
        to_free = event->space; /* at the next host_wait: the Nucleus may look at it until then */
    return true;
}

/* --- waiting ---------------------------------------------------------------------------------------------------------------------------------------- */

/* What is neither mail nor a supervisor actor's: the ends of processes, devices, and all else that was posted. */
static bool poll_others(struct host_event *event)
{
    if (event_queue_take(event))
        return true;
    if (!list_is_empty(&machine.batches) && space_poll(event))
        return true;
    if (!list_is_empty(&machine.reused))
        reuse_poll();
    process_first_traps();
    if (event_queue_take(event))
        return true;
    while (take_post(event)) {
        if (event->function != call_watch)
            return true;
        struct watch *watch = event->argument;
        if (watch->handler != zygote_readable)
            return true;
        call_watch(watch); /* the machine's own business */
        if (event_queue_take(event))
            return true;
    }
    return false;
}

/* What comes of it is better done for many at once: so it is asked when there is nothing else. */
static bool poll_asked(struct host_event *event)
{
    if (polled.ready == NULL || !polled.ready())
        return false;
    *event = (struct host_event){.kind = HOST_EVENT_FUNCTION, .function = polled.function, .argument = polled.argument};
    return true;
}

/* Mail and supervisor actors take turns, and after so much mail all else has one: nothing starves another. */
static bool poll_once(struct host_event *event)
{
    static bool mail_was_last;
    static unsigned mails, turns;
    bool supervisors = supervisor_ready();
    if (mails >= MAIL_IN_A_ROW) {
        mails = 0;
        if (poll_others(event) || poll_asked(event))
            return true;
    }
    if (supervisors && mail_was_last) {
        mail_was_last = false;
        if (supervisor_poll(event))
            return true;
    }
    if (cpu_poll(event)) {
        mail_was_last = true;
        mails++;
        return true;
    }
    mails = 0;
    if (poll_others(event))
        return true;
    if (supervisors && ++turns % TURNS_IN_A_ROW != 0)
        return supervisor_poll(event) || poll_asked(event);
    return poll_asked(event) || (supervisors && supervisor_poll(event));
}

static void bind_to(int host_cpu)
{
    if (self.bound == host_cpu)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < machine.cpus; i++)
        if (host_cpu < 0 || machine.cpu[i].host_cpu == host_cpu)
            CPU_SET(machine.cpu[i].host_cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) == 0)
        self.bound = host_cpu;
}

/* What they do when they have posted depends on it (layout.h). */
static void tell_stubs(uint32_t what)
{
    if (machine.words[0] != what)
        __atomic_store_n(&machine.words[0], what, __ATOMIC_SEQ_CST);
}

/* Has the Nucleus no CPU of its own, but this one, which a user thread is about to run on? That thread may take it at once. */
bool event_is_on(int host_cpu)
{
    bool here = self.bound == host_cpu || (self.bound < 0 && sched_getcpu() == host_cpu);
    if (here)
        tell_stubs(NUCLEUS_AWAKE + (uint32_t)host_cpu);
    return here;
}

/* The host CPU of an idle user CPU that no running one shares, the one that was longest without a thread: the next may come soon where the last has left. -1: none. */
static int cpu_to_spend(void)
{
    int best = -1;
    for (int i = machine.cpus - 1; i >= 0; i--) {
        if (machine.cpu[i].running != NULL)
            continue;
        bool shared = false;
        for (int j = 0; j < machine.cpus; j++)
            shared |= machine.cpu[j].running != NULL && machine.cpu[j].host_cpu == machine.cpu[i].host_cpu;
        if (!shared && (best < 0 || machine.cpu[i].since < machine.cpu[best].since))
            best = i;
    }
    return best >= 0 ? machine.cpu[best].host_cpu : -1;
}

bool host_cpu_is_spent(int cpu)
{
    return self.shorts >= SHORT_SLEEPS && machine.cpu[cpu].host_cpu == self.bound;
}

static int running_count(int *ret_host_cpu)
{
    int count = 0;
    for (int i = 0; i < machine.cpus; i++)
        if (machine.cpu[i].running != NULL) {
            count++;
            *ret_host_cpu = machine.cpu[i].host_cpu;
        }
    return count;
}

static void add_word(struct futex_waitv *waits, unsigned *count, volatile uint32_t *word, uint32_t value, uint32_t flags)
{
    if (*count < WAITV_MAX)
        waits[(*count)++] = (struct futex_waitv){.val = value, .uaddr = (uint64_t)(uintptr_t)word, .flags = FUTEX_32 | flags};
}

static unsigned words_to_wait_on(struct futex_waitv *waits, uint32_t post_word)
{
    unsigned count = 0;
    add_word(waits, &count, &posts.word, post_word, FUTEX_PRIVATE_FLAG);
    for (int i = 0; i < machine.cpus; i++)
        if (machine.cpu[i].running != NULL && machine.cpu[i].running->home != NULL)
            add_word(waits, &count, (volatile uint32_t *)(machine.cpu[i].running->home->area + BOX_REQUEST), 0, 0);
    LIST_FOR_EACH(link, &machine.lost)
    add_word(waits, &count, (volatile uint32_t *)(LIST_OWNER(link, struct stub, lost_link)->area + BOX_REQUEST), 0, 0);
    LIST_FOR_EACH(link, &machine.batches)
    {
        struct process *process = LIST_OWNER(link, struct host_space, link)->process;
        add_word(waits, &count, (volatile uint32_t *)process->report, (uint32_t)(process->batch - 1), 0);
    }
    LIST_FOR_EACH(link, &machine.reused)
    {
        struct process *process = LIST_OWNER(link, struct process, link);
        for (int i = 0; i < machine.cpus; i++)
            if (process->state == PROCESS_RESET && process->stubs[i].used)
                add_word(waits, &count, (volatile uint32_t *)(process->stubs[i].area + BOX_REQUEST), 0, 0);
    }
    LIST_FOR_EACH(link, &machine.newborns)
    {
        struct process *process = LIST_OWNER(link, struct process, link);
        if (process->ready == (unsigned)machine.cpus)
            add_word(waits, &count, (volatile uint32_t *)process->report, 0, 0);
        for (int i = 0; i < machine.cpus; i++)
            if (process->stubs[i].state == STUB_NONE)
                add_word(waits, &count, (volatile uint32_t *)(process->stubs[i].area + BOX_REQUEST), 0, 0);
    }
    return count;
}

/* The host's clock, which the site's may differ from by a little, in <length> ns. */
static void deadline_of_host(int64_t length, struct timespec *deadline)
{
    clock_gettime(CLOCK_MONOTONIC, deadline);
    if (length <= 0)
        return;
    deadline->tv_sec += length / 1000000000;
    deadline->tv_nsec += length % 1000000000;
    if (deadline->tv_nsec >= 1000000000) {
        deadline->tv_sec++;
        deadline->tv_nsec -= 1000000000;
    }
}

/* Woken by a word: is it the mail box of somebody who has nothing to say? */
static void note_empty_wake(const struct futex_waitv *wait)
{
    uint64_t at = wait->uaddr - (uint64_t)(uintptr_t)machine.memory - machine.slots_at;
    bool is_box = (wait->flags & FUTEX_PRIVATE_FLAG) == 0 && at < machine.slots * machine.slot_step;
    if (is_box && *(volatile uint32_t *)(uintptr_t)wait->uaddr == 0)
        liveness_empty_wake(&machine.processes[at / machine.slot_step]);
}

/* Sleep until something happens or <until>. Who posts sees that we sleep, and wakes us; the host compares the words once more before we do. */
static void sleep_until(uint32_t post_word, int64_t until)
{
    int host_cpu = -1;
    int running = running_count(&host_cpu);
    bind_to(running == 1 ? host_cpu : -1);
    struct futex_waitv waits[WAITV_MAX];
    tell_stubs(running > 0 ? NUCLEUS_NEEDS_CPU : NUCLEUS_ASLEEP);
    uint32_t polled_word = polled.word != NULL ? __atomic_load_n(polled.word, __ATOMIC_ACQUIRE) : 0;
    unsigned count = words_to_wait_on(waits, post_word);
    if (polled.word != NULL)
        add_word(waits, &count, polled.word, polled_word, FUTEX_PRIVATE_FLAG);
    int64_t from = host_time();
    struct timespec deadline;
    deadline_of_host(until - from, &deadline);
    counts.sleeps++;
    self.busy = 0;
    long woken = polled.ready != NULL && polled.ready() ? -1 : syscall(SYS_futex_waitv, waits, count, 0, until == INT64_MAX ? NULL : &deadline, CLOCK_MONOTONIC);
    tell_stubs(NUCLEUS_AWAKE + (uint32_t)(self.bound >= 0 ? self.bound : sched_getcpu()));
    if (woken >= 0)
        note_empty_wake(&waits[woken]);
    self.shorts = host_time() - from < SHORT_SLEEP ? self.shorts + 1 : 0;
}

static bool anything_running(void)
{
    int unused;
    return running_count(&unused) > 0 || !list_is_empty(&machine.lost);
}

/* The Nucleus looks while nothing of its own runs: who else wants this CPU may be the one that it waits for, a hub or another site. Somebody who keeps it computes: then a
 * sleep is better, since a wake takes the CPU from him. */
static void give_way(int64_t now)
{
    sched_yield();
    int64_t back = host_time();
    if (back - now > GIVEN_MOST)
        self.crowded_until = back + CROWDED_PERIOD;
}

void host_wait(struct host_event *event, int64_t deadline)
{
    if (to_free != NULL) {
        space_free(to_free);
        to_free = NULL;
    }
    int64_t began = 0;
    if (++self.busy == BUSY) /* where it was woken a thread may run by now */
        bind_to(cpu_to_spend());
    for (unsigned polls = 0;; polls++) {
        uint32_t post_word = __atomic_load_n(&posts.word, __ATOMIC_SEQ_CST);
        if (poll_once(event))
            return;
        bool supervisors = supervisor_ready();
        int own = self.shorts >= SHORT_SLEEPS && !supervisors ? cpu_to_spend() : -1;
        if (own >= 0 && polls % POLLS_PER_LOOK != POLLS_PER_LOOK - 1) {
            __builtin_ia32_pause();
            continue;
        }
        int64_t now = host_time();
        bool have;
        int64_t watch = cpu_watch(now, event, &have);
        if (have)
            return;
        bool busy = anything_running();
        if (busy && now >= self.audit_at) {
            liveness_audit(now);
            self.audit_at = now + AUDIT_PERIOD;
            self.audited_idle = false;
        } else if (!busy && !self.audited_idle) {
            liveness_audit(now); /* once more when the site goes idle */
            self.audited_idle = true;
        }
        if (now >= deadline) {
            *event = (struct host_event){.kind = HOST_EVENT_NONE};
            return;
        }
        if (supervisors)
            continue; /* it was only the tick */
        if (began == 0)
            began = now;
        if (own >= 0 && now - began < NUCLEUS_SPIN_NS && (busy || now >= self.crowded_until)) {
            bind_to(own);
            tell_stubs(0);
            counts.spins++;
            if (!busy)
                give_way(now);
            continue;
        }
        if (own >= 0)
            self.shorts = 0;
        if (!busy)
            process_keep_spares(true);
        int64_t until = deadline < watch ? deadline : watch;
        /* When the audit is due it is made at the next look. For it alone no timer is set that is sooner than the host's tick: that is dear. */
        if (busy && until > now + AUDIT_PERIOD)
            until = now + AUDIT_PERIOD;
        sleep_until(post_word, until);
    }
}

void hostarch_counts(struct hostarch_counts *result)
{
    *result = counts;
    result->processes = machine.used;
    result->spares = (unsigned)machine.spare_count;
    result->zygote = machine.zygote_pid;
}
