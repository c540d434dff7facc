/* Snapshots: what a running site tells of itself to `chorus ps` and `chorus top`. */

#include "snapshot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct site_snapshot *snapshot_new(void)
{
    return calloc(1, sizeof(struct site_snapshot));
}

void snapshot_free(struct site_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    for (size_t i = 0; i < snapshot->actor_count; i++)
        free(snapshot->actors[i].threads);
    free(snapshot->actors);
    free(snapshot);
}

/* Room for one more element. Arrays grow when their count is a power of two. */
static void *array_grow(void *array, size_t count, size_t element_size)
{
    if ((count & (count - 1)) != 0)
        return array;
    return reallocarray(array, count == 0 ? 1 : 2 * count, element_size);
}

struct snapshot_actor *snapshot_add_actor(struct site_snapshot *snapshot,
                                          const struct snapshot_actor *actor)
{
    struct snapshot_actor *actors =
        array_grow(snapshot->actors, snapshot->actor_count, sizeof *actors);
    if (actors == NULL)
        return NULL;
    snapshot->actors = actors;
    struct snapshot_actor *added = &actors[snapshot->actor_count++];
    *added = *actor;
    added->thread_count = 0;
    added->threads = NULL;
    return added;
}

struct snapshot_thread *snapshot_add_thread(struct snapshot_actor *actor,
                                            const struct snapshot_thread *thread)
{
    struct snapshot_thread *threads =
        array_grow(actor->threads, actor->thread_count, sizeof *threads);
    if (threads == NULL)
        return NULL;
    actor->threads = threads;
    threads[actor->thread_count] = *thread;
    return &threads[actor->thread_count++];
}

const char *snapshot_state_name(enum snapshot_thread_state state)
{
    static const char *const names[] = { "running", "ready", "waiting", "stopped" };
    return (size_t)state < sizeof names / sizeof *names ? names[state] : "?";
}

/* A name is the rest of its line, so that it may hold spaces. */
static void write_name(const char *name, FILE *to)
{
    for (size_t i = 0; name[i] != '\0'; i++)
        putc(name[i] >= ' ' && name[i] < 0x7f ? name[i] : '?', to);
    putc('\n', to);
}

bool snapshot_write(const struct site_snapshot *snapshot, FILE *to)
{
    fprintf(to, "site %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu32
                " %" PRIu32 " ", snapshot->uptime_ns, snapshot->memory, snapshot->memory_free,
            snapshot->nucleus_cpu_ns, snapshot->cpus, snapshot->host_processes,
            snapshot->processes_most);
    write_name(snapshot->name, to);
    for (size_t i = 0; i < snapshot->actor_count; i++) {
        const struct snapshot_actor *actor = &snapshot->actors[i];
        fprintf(to, "actor %" PRIx64 " %" PRIx64 " %u %" PRIu32 " %" PRIu64 " %" PRIu64
                    " %" PRIu64 " %" PRIu64 " ", actor->ui[0], actor->ui[1],
                (unsigned)actor->kind, actor->host_pid, actor->memory, actor->cpu_ns,
                actor->messages, actor->faults);
        write_name(actor->name, to);
        for (size_t j = 0; j < actor->thread_count; j++) {
            const struct snapshot_thread *thread = &actor->threads[j];
            fprintf(to, "thread %" PRIu32 " %u %" PRIu32 " %" PRIu64 " ", thread->number,
                    (unsigned)thread->state, thread->priority, thread->cpu_ns);
            write_name(thread->name, to);
        }
    }
    fputs("end\n", to);
    return fflush(to) == 0 && !ferror(to);
}

/* A line that was read to `used` must go on with one space and a name of printable characters. */
static bool read_name(const char *line, int used, char name[SNAPSHOT_NAME_SIZE])
{
    if (used <= 0 || line[used] != ' ')
        return false;
    const char *from = line + used + 1;
    size_t length = strlen(from);
    if (length >= SNAPSHOT_NAME_SIZE)
        return false;
    for (size_t i = 0; i < length; i++)
        if (from[i] < ' ' || from[i] >= 0x7f)
            return false;
    memcpy(name, from, length + 1);
    return true;
}

static bool read_site(const char *line, struct site_snapshot *snapshot)
{
    int used = 0;
    sscanf(line, "site %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu32 " %" SCNu32
                 " %" SCNu32 "%n", &snapshot->uptime_ns, &snapshot->memory,
           &snapshot->memory_free, &snapshot->nucleus_cpu_ns, &snapshot->cpus,
           &snapshot->host_processes, &snapshot->processes_most, &used);
    return read_name(line, used, snapshot->name);
}

static bool read_actor(const char *line, struct site_snapshot *snapshot)
{
    struct snapshot_actor actor = { 0 };
    unsigned kind = 0;
    int used = 0;
    sscanf(line, "actor %" SCNx64 " %" SCNx64 " %u %" SCNu32 " %" SCNu64 " %" SCNu64 " %" SCNu64
                 " %" SCNu64 "%n", &actor.ui[0], &actor.ui[1], &kind, &actor.host_pid,
           &actor.memory, &actor.cpu_ns, &actor.messages, &actor.faults, &used);
    actor.kind = kind;
    return read_name(line, used, actor.name) && kind <= SNAPSHOT_SYSTEM &&
           snapshot_add_actor(snapshot, &actor) != NULL;
}

static bool read_thread(const char *line, struct site_snapshot *snapshot)
{
    struct snapshot_thread thread = { 0 };
    unsigned state = 0;
    int used = 0;
    sscanf(line, "thread %" SCNu32 " %u %" SCNu32 " %" SCNu64 "%n", &thread.number, &state,
           &thread.priority, &thread.cpu_ns, &used);
    thread.state = state;
    return read_name(line, used, thread.name) && state <= SNAPSHOT_STOPPED &&
           snapshot->actor_count > 0 &&
           snapshot_add_thread(&snapshot->actors[snapshot->actor_count - 1], &thread) != NULL;
}

struct site_snapshot *snapshot_read(FILE *from)
{
    char line[512];
    struct site_snapshot *snapshot = snapshot_new();
    if (snapshot == NULL)
        return NULL;
    bool have_site = false;
    while (fgets(line, sizeof line, from) != NULL) {
        size_t length = strlen(line);
        if (length == 0 || line[length - 1] != '\n')
            break;
        line[length - 1] = '\0';
        bool good;
        if (!have_site)
            good = have_site = read_site(line, snapshot);
        else if (strcmp(line, "end") == 0)
            return snapshot;
        else if (strncmp(line, "actor ", 6) == 0)
            good = read_actor(line, snapshot);
        else
            good = read_thread(line, snapshot);
        if (!good)
            break;
    }
    snapshot_free(snapshot);
    return NULL;
}
