/* Snapshots as a table for people. */

#include "snapshot_table.h"
#include "snapshot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A line to be: an actor, and what it did since the earlier snapshot (or since boot). */
struct row {
    const struct snapshot_actor *actor;
    uint64_t cpu_ns, messages, faults;
};

/* 1536 becomes "1.5K". Of two calls in one expression each has a place of its own. */
static const char *human_size(uint64_t bytes)
{
    static char texts[4][16];
    static unsigned next;
    char *text = texts[next++ % 4];
    static const char units[] = "KMGT";
    if (bytes < 1024) {
        snprintf(text, sizeof *texts, "%uB", (unsigned)bytes);
        return text;
    }
    double value = (double)bytes / 1024;
    size_t unit = 0;
    while (value >= 1023.95 && unit < sizeof units - 2) {
        value /= 1024;
        unit++;
    }
    snprintf(text, sizeof *texts, "%.1f%c", value, units[unit]);
    return text;
}

/* Minutes, seconds, hundredths. */
static const char *human_time(uint64_t ns)
{
    static char texts[4][32];
    static unsigned next;
    char *text = texts[next++ % 4];
    uint64_t hundredths = ns / 10000000;
    snprintf(text, sizeof *texts, "%" PRIu64 ":%02u.%02u", hundredths / 6000,
             (unsigned)(hundredths / 100 % 60), (unsigned)(hundredths % 100));
    return text;
}

static const struct snapshot_actor *find_actor(const struct site_snapshot *snapshot,
                                               const uint64_t ui[2])
{
    for (size_t i = 0; snapshot != NULL && i < snapshot->actor_count; i++)
        if (memcmp(snapshot->actors[i].ui, ui, sizeof snapshot->actors[i].ui) == 0)
            return &snapshot->actors[i];
    return NULL;
}

/* Counters never fall; a reader that sees one fall has lost sight of the actor, and shows 0. */
static uint64_t since(uint64_t now, uint64_t then)
{
    return now > then ? now - then : 0;
}

static int busier_first(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    if (left->cpu_ns != right->cpu_ns)
        return left->cpu_ns < right->cpu_ns ? 1 : -1;
    return strcmp(left->actor->name, right->actor->name);
}

static struct row *rows_make(const struct site_snapshot *now, const struct site_snapshot *earlier)
{
    struct row *rows = calloc(now->actor_count + 1, sizeof *rows);
    if (rows == NULL)
        return NULL;
    for (size_t i = 0; i < now->actor_count; i++) {
        const struct snapshot_actor *actor = &now->actors[i];
        const struct snapshot_actor *before = find_actor(earlier, actor->ui);
        rows[i] = (struct row){
            .actor = actor,
            .cpu_ns = since(actor->cpu_ns, before != NULL ? before->cpu_ns : 0),
            .messages = since(actor->messages, before != NULL ? before->messages : 0),
            .faults = since(actor->faults, before != NULL ? before->faults : 0),
        };
    }
    if (earlier != NULL)
        qsort(rows, now->actor_count, sizeof *rows, busier_first);
    return rows;
}

static double per_second(uint64_t count, uint64_t interval_ns)
{
    return interval_ns > 0 ? (double)count * 1e9 / (double)interval_ns : 0;
}

static const char *kind_name(enum snapshot_actor_kind kind)
{
    switch (kind) {
    case SNAPSHOT_SUPERVISOR: return "supervisor";
    case SNAPSHOT_SYSTEM: return "system";
    default: return "user";
    }
}

static void print_heading(const struct site_snapshot *now, const struct site_snapshot *earlier,
                          FILE *to)
{
    fprintf(to, "site %s: up %s, %" PRIu32 " CPU%s, %s of %s memory free, %" PRIu32 " of %" PRIu32
                " host processes, nucleus CPU %s",
            now->name, human_time(now->uptime_ns), now->cpus, now->cpus == 1 ? "" : "s",
            human_size(now->memory_free), human_size(now->memory), now->host_processes,
            now->processes_most, human_time(now->nucleus_cpu_ns));
    if (earlier != NULL)
        fprintf(to, ", %.1f%%",
                per_second(since(now->nucleus_cpu_ns, earlier->nucleus_cpu_ns),
                           since(now->uptime_ns, earlier->uptime_ns)) / 1e7);
    if (earlier != NULL)
        fprintf(to, "\n%-20s %-10s %8s %7s %8s %10s %6s %10s %10s\n", "ACTOR", "KIND", "HOST PID",
                "THREADS", "MEMORY", "CPU", "%CPU", "MESSAGES/s", "FAULTS/s");
    else
        fprintf(to, "\n%-20s %-10s %8s %7s %8s %10s %10s %10s  %s\n", "ACTOR", "KIND", "HOST PID",
                "THREADS", "MEMORY", "CPU", "MESSAGES", "FAULTS", "UI");
}

static void print_row(const struct row *row, uint64_t interval_ns, FILE *to)
{
    const struct snapshot_actor *actor = row->actor;
    char pid[16] = "-";
    if (actor->host_pid != 0)
        snprintf(pid, sizeof pid, "%" PRIu32, actor->host_pid);
    fprintf(to, "%-20.20s %-10s %8s %7zu %8s %10s ", actor->name, kind_name(actor->kind), pid,
            actor->thread_count, human_size(actor->memory), human_time(actor->cpu_ns));
    if (interval_ns > 0)
        fprintf(to, "%6.1f %10.0f %10.0f\n", per_second(row->cpu_ns, interval_ns) / 1e7,
                per_second(row->messages, interval_ns), per_second(row->faults, interval_ns));
    else
        fprintf(to, "%10" PRIu64 " %10" PRIu64 "  %" PRIx64 ".%" PRIx64 "\n", row->messages,
                row->faults, actor->ui[0], actor->ui[1]);
}

static void print_thread(const struct snapshot_thread *thread, FILE *to)
{
    fprintf(to, "    thread %-6" PRIu32 " %-8s priority %3" PRIu32 "  CPU %10s  %s\n",
            thread->number, snapshot_state_name(thread->state), thread->priority,
            human_time(thread->cpu_ns), thread->name);
}

void snapshot_table_print(const struct site_snapshot *now, const struct site_snapshot *earlier,
                          bool threads, unsigned rows_most, FILE *to)
{
    struct row *rows = rows_make(now, earlier);
    uint64_t interval_ns = earlier != NULL ? since(now->uptime_ns, earlier->uptime_ns) : 0;
    unsigned printed = 2;
    if (rows == NULL)
        return;
    print_heading(now, earlier, to);
    for (size_t i = 0; i < now->actor_count; i++) {
        const struct snapshot_actor *actor = rows[i].actor;
        if (rows_most != 0 && printed++ >= rows_most)
            break;
        print_row(&rows[i], interval_ns, to);
        for (size_t j = 0; threads && j < actor->thread_count; j++)
            if (rows_most == 0 || printed++ < rows_most)
                print_thread(&actor->threads[j], to);
    }
    free(rows);
}
