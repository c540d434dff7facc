/* Trace: what a site does, as a file for ui.perfetto.dev and chrome://tracing.
 *
 * The ring has one writer, the Nucleus thread, and one reader, the helper thread: two counters
 * suffice. The helper sleeps while the ring is empty; once woken it waits a little before it
 * looks, so that a busy Nucleus wakes it a hundred times a second and not at each event. */

#include "trace.h"

#include "trace_open.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    RING_SIZE = 1 << 16, /* records; a power of two */
    NAME_SIZE = 32,
    GATHER_NS = 10000000, /* how long the helper lets events gather */
};

enum record_kind {
    RECORD_NAME_ACTOR,
    RECORD_NAME_THREAD,
    RECORD_SWITCH,
    RECORD_PASS,
    RECORD_CALL_BEGIN,
    RECORD_CALL_END,
    RECORD_MESSAGE_SENT,
    RECORD_MESSAGE_RECEIVED,
    RECORD_FAULT,
};

struct record {
    uint8_t kind;
    uint8_t access;
    uint16_t cpu;
    uint32_t actor, thread;
    uint64_t time_ns;
    union {
        char name[NAME_SIZE];
        const char *call;
        int64_t result;
        uint64_t value; /* message id, address */
    };
};

/* What a user CPU runs, since when. */
struct running {
    uint32_t actor, thread;
    uint64_t since_ns;
    bool passed;
};

/* [n] the Nucleus thread only  [h] the helper only  [b] both */
struct trace {
    _Atomic uint64_t written;   /* [b] records put into the ring so far */
    _Atomic uint64_t read;      /* [b] records taken out */
    _Atomic uint32_t wanted;    /* [b] 0: the helper sleeps on this word; 1: it was woken */
    _Atomic bool ending;        /* [b] */
    uint64_t dropped;           /* [n] */
    uint64_t last_ns;           /* [h] */
    unsigned cpus;              /* fixed */
    struct running *running;    /* [h] one for each CPU */
    char (*names)[NAME_SIZE];   /* [h] by actor */
    size_t name_count;          /* [h] */
    struct trace_open open;     /* [h] */
    FILE *file;                 /* [h] */
    bool first;                 /* [h] no record was written yet */
    pthread_t helper;
    struct record ring[RING_SIZE];
};

/* The writer's side */

static void futex(struct trace *trace, int operation, uint32_t value)
{
    syscall(SYS_futex, &trace->wanted, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static void helper_wake(struct trace *trace)
{
    if (atomic_load(&trace->wanted) == 0 && atomic_exchange(&trace->wanted, 1) == 0)
        futex(trace, FUTEX_WAKE, 1);
}

static void put(struct trace *trace, const struct record *record)
{
    uint64_t written = atomic_load_explicit(&trace->written, memory_order_relaxed);
    if (written - atomic_load_explicit(&trace->read, memory_order_acquire) == RING_SIZE) {
        trace->dropped++;
        return;
    }
    trace->ring[written % RING_SIZE] = *record;
    atomic_store(&trace->written, written + 1);
    helper_wake(trace);
}

static void put_name(struct trace *trace, enum record_kind kind, uint32_t actor, uint32_t thread,
                     const char *name)
{
    if (trace == NULL)
        return;
    struct record record = { .kind = kind, .actor = actor, .thread = thread };
    snprintf(record.name, sizeof record.name, "%s", name);
    put(trace, &record);
}

void trace_name_actor(struct trace *trace, uint32_t actor, const char *name)
{
    put_name(trace, RECORD_NAME_ACTOR, actor, 0, name);
}

void trace_name_thread(struct trace *trace, uint32_t actor, uint32_t thread, const char *name)
{
    put_name(trace, RECORD_NAME_THREAD, actor, thread, name);
}

static void put_running(struct trace *trace, enum record_kind kind, uint64_t time_ns, uint32_t cpu,
                        uint32_t actor, uint32_t thread)
{
    if (trace != NULL && cpu < trace->cpus)
        put(trace, &(struct record){ .kind = kind, .cpu = (uint16_t)cpu, .actor = actor,
                                     .thread = thread, .time_ns = time_ns });
}

void trace_switch(struct trace *trace, uint64_t time_ns, uint32_t cpu, uint32_t actor,
                  uint32_t thread)
{
    put_running(trace, RECORD_SWITCH, time_ns, cpu, actor, thread);
}

void trace_pass(struct trace *trace, uint64_t time_ns, uint32_t cpu, uint32_t actor,
                uint32_t thread)
{
    put_running(trace, RECORD_PASS, time_ns, cpu, actor, thread);
}

void trace_call_begin(struct trace *trace, uint64_t time_ns, uint32_t actor, uint32_t thread,
                      const char *name)
{
    if (trace != NULL)
        put(trace, &(struct record){ .kind = RECORD_CALL_BEGIN, .actor = actor,
                                     .thread = thread, .time_ns = time_ns, .call = name });
}

void trace_call_end(struct trace *trace, uint64_t time_ns, uint32_t actor, uint32_t thread,
                    int64_t result)
{
    if (trace != NULL)
        put(trace, &(struct record){ .kind = RECORD_CALL_END, .actor = actor,
                                     .thread = thread, .time_ns = time_ns, .result = result });
}

void trace_message_sent(struct trace *trace, uint64_t time_ns, uint32_t actor, uint32_t thread,
                        uint64_t id)
{
    if (trace != NULL)
        put(trace, &(struct record){ .kind = RECORD_MESSAGE_SENT, .actor = actor,
                                     .thread = thread, .time_ns = time_ns, .value = id });
}

void trace_message_received(struct trace *trace, uint64_t time_ns, uint32_t actor,
                            uint32_t thread, uint64_t id)
{
    if (trace != NULL)
        put(trace, &(struct record){ .kind = RECORD_MESSAGE_RECEIVED, .actor = actor,
                                     .thread = thread, .time_ns = time_ns, .value = id });
}

void trace_fault(struct trace *trace, uint64_t time_ns, uint32_t actor, uint32_t thread,
                 uint64_t address, enum trace_access access)
{
    if (trace != NULL)
        put(trace, &(struct record){ .kind = RECORD_FAULT, .access = (uint8_t)access,
                                     .actor = actor, .thread = thread, .time_ns = time_ns,
                                     .value = address });
}

/* The helper's side: records become lines */

static void begin_line(struct trace *trace)
{
    fputs(trace->first ? "[\n" : ",\n", trace->file);
    trace->first = false;
}

static void print_text(FILE *file, const char *text)
{
    putc('"', file);
    for (; *text != '\0'; text++) {
        unsigned char letter = (unsigned char)*text;
        if (letter == '"' || letter == '\\')
            fprintf(file, "\\%c", letter);
        else if (letter < ' ' || letter >= 0x7f)
            putc('?', file);
        else
            putc(letter, file);
    }
    putc('"', file);
}

/* What each record begins with, down to where its own fields go on. Times are microseconds. */
static void print_head(struct trace *trace, const char *name, const char *category,
                       const char *phase, uint32_t process, uint32_t thread, uint64_t time_ns)
{
    begin_line(trace);
    fputs("{\"name\":", trace->file);
    print_text(trace->file, name);
    fprintf(trace->file, ",\"cat\":\"%s\",\"ph\":\"%s\",\"pid\":%" PRIu32 ",\"tid\":%" PRIu32
                         ",\"ts\":%" PRIu64 ".%03u", category, phase, process, thread,
            time_ns / 1000, (unsigned)(time_ns % 1000));
}

static void print_name(struct trace *trace, const char *what, uint32_t process, uint32_t thread,
                       const char *name)
{
    print_head(trace, what, "__metadata", "M", process, thread, 0);
    fputs(",\"args\":{\"name\":", trace->file);
    print_text(trace->file, name);
    fputs("}}", trace->file);
}

static void remember_name(struct trace *trace, const struct record *record)
{
    if (record->actor >= trace->name_count) {
        size_t count = ((size_t)record->actor + 1) * 2;
        void *names = reallocarray(trace->names, count, NAME_SIZE);
        if (names == NULL)
            return; /* it goes by its number then */
        trace->names = names;
        memset(trace->names + trace->name_count, 0, (count - trace->name_count) * NAME_SIZE);
        trace->name_count = count;
    }
    memcpy(trace->names[record->actor], record->name, NAME_SIZE);
}

/* What ran on this CPU until now. */
static void print_slice(struct trace *trace, unsigned cpu, uint64_t until_ns)
{
    const struct running *running = &trace->running[cpu];
    if (running->actor == 0 || until_ns < running->since_ns)
        return;
    uint64_t length_ns = until_ns - running->since_ns;
    char number[NAME_SIZE];
    const char *name = number;
    snprintf(number, sizeof number, "actor %" PRIu32, running->actor);
    if (running->actor < trace->name_count && trace->names[running->actor][0] != '\0')
        name = trace->names[running->actor];
    print_head(trace, name, running->passed ? "pass" : "switch", "X", 0, cpu, running->since_ns);
    fprintf(trace->file, ",\"dur\":%" PRIu64 ".%03u,\"args\":{\"actor\":%" PRIu32
                         ",\"thread\":%" PRIu32 "}}", length_ns / 1000,
            (unsigned)(length_ns % 1000), running->actor, running->thread);
}

/* The beginning of a call, or its end, may have been dropped. */
static void print_call_end(struct trace *trace, const struct record *record)
{
    print_head(trace, "", "call", "E", record->actor, record->thread, record->time_ns);
    fputs(",\"args\":{", trace->file);
    if (record->kind == RECORD_CALL_END)
        fprintf(trace->file, "\"result\":%" PRId64, record->result);
    fputs("}}", trace->file);
}

static void print_call_begin(struct trace *trace, const struct record *record)
{
    if (trace_open_begin(&trace->open, record->actor, record->thread))
        print_call_end(trace, record);
    print_head(trace, record->call, "call", "B", record->actor, record->thread, record->time_ns);
    fputs("}", trace->file);
}

static void print_record(struct trace *trace, const struct record *record)
{
    static const char *const accesses[] = { "read", "write", "execute" };
    FILE *file = trace->file;
    uint32_t actor = record->actor, thread = record->thread;
    uint64_t time_ns = record->time_ns;
    if (time_ns > trace->last_ns)
        trace->last_ns = time_ns;
    switch ((enum record_kind)record->kind) {
    case RECORD_NAME_ACTOR:
        remember_name(trace, record);
        print_name(trace, "process_name", actor, 0, record->name);
        break;
    case RECORD_NAME_THREAD:
        print_name(trace, "thread_name", actor, thread, record->name);
        break;
    case RECORD_SWITCH:
    case RECORD_PASS:
        print_slice(trace, record->cpu, time_ns);
        trace->running[record->cpu] =
            (struct running){ actor, thread, time_ns, record->kind == RECORD_PASS };
        break;
    case RECORD_CALL_BEGIN:
        print_call_begin(trace, record);
        break;
    case RECORD_CALL_END:
        if (trace_open_end(&trace->open, actor, thread))
            print_call_end(trace, record);
        break;
    case RECORD_MESSAGE_SENT:
        print_head(trace, "message", "message", "s", actor, thread, time_ns);
        fprintf(file, ",\"id\":\"%#" PRIx64 "\"}", record->value);
        break;
    case RECORD_MESSAGE_RECEIVED:
        print_head(trace, "message", "message", "f", actor, thread, time_ns);
        fprintf(file, ",\"bp\":\"e\",\"id\":\"%#" PRIx64 "\"}", record->value);
        break;
    case RECORD_FAULT:
        print_head(trace, "fault", "fault", "i", actor, thread, time_ns);
        fprintf(file, ",\"s\":\"t\",\"args\":{\"address\":\"%#" PRIx64 "\",\"access\":\"%s\"}}",
                record->value, accesses[record->access % 3]);
        break;
    }
}

static void drain(struct trace *trace)
{
    uint64_t written = atomic_load(&trace->written);
    uint64_t read = atomic_load_explicit(&trace->read, memory_order_relaxed);
    while (read != written) {
        print_record(trace, &trace->ring[read % RING_SIZE]);
        atomic_store_explicit(&trace->read, ++read, memory_order_release);
    }
    fflush(trace->file); /* a crash loses what gathered since, and no more */
}

static void *helper_run(void *argument)
{
    struct trace *trace = argument;
    while (!atomic_load(&trace->ending)) {
        drain(trace);
        atomic_store(&trace->wanted, 0);
        if (atomic_load(&trace->written) != atomic_load(&trace->read) ||
            atomic_load(&trace->ending))
            continue;
        futex(trace, FUTEX_WAIT, 0);
        if (!atomic_load(&trace->ending))
            nanosleep(&(struct timespec){ .tv_nsec = GATHER_NS }, NULL);
    }
    drain(trace);
    return NULL;
}

/* Opening and closing */

static void trace_free(struct trace *trace)
{
    int error = errno;
    if (trace->file != NULL)
        fclose(trace->file);
    free(trace->running);
    free(trace->names);
    trace_open_free(&trace->open);
    free(trace);
    errno = error;
}

static void print_cpus(struct trace *trace)
{
    char name[NAME_SIZE];
    print_name(trace, "process_name", 0, 0, "user CPUs");
    for (unsigned cpu = 0; cpu < trace->cpus; cpu++) {
        snprintf(name, sizeof name, "CPU %u", cpu);
        print_name(trace, "thread_name", 0, cpu, name);
    }
}

struct trace *trace_open(const char *path, unsigned cpus)
{
    struct trace *trace = calloc(1, sizeof *trace);
    if (trace == NULL)
        return NULL;
    trace->first = true;
    trace->wanted = 1;
    trace->cpus = cpus;
    trace->running = calloc(cpus, sizeof *trace->running);
    trace->file = fopen(path, "we");
    if (trace->running == NULL || trace->file == NULL) {
        trace_free(trace);
        return NULL;
    }
    print_cpus(trace);
    int error = pthread_create(&trace->helper, NULL, helper_run, trace);
    if (error != 0) {
        errno = error;
        trace_free(trace);
        return NULL;
    }
    return trace;
}

bool trace_close(struct trace *trace, uint64_t *ret_dropped)
{
    *ret_dropped = 0;
    if (trace == NULL)
        return true;
    atomic_store(&trace->ending, true);
    helper_wake(trace);
    pthread_join(trace->helper, NULL);
    for (unsigned cpu = 0; cpu < trace->cpus; cpu++)
        print_slice(trace, cpu, trace->last_ns);
    print_head(trace, "events dropped", "trace", "i", 0, 0, trace->last_ns);
    fprintf(trace->file, ",\"s\":\"g\",\"args\":{\"count\":%" PRIu64 "}}\n]\n", trace->dropped);
    *ret_dropped = trace->dropped;
    bool good = fflush(trace->file) == 0 && !ferror(trace->file);
    trace_free(trace);
    return good;
}
