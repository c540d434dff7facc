/* `chorus show`, on the site's side.
 *
 * The hooks of the Nucleus are set while somebody looks, and no longer; each writes one event into a ring in memory that the looker maps. Nothing is asked of
 * the host for that. What memory there is and who has it is written along, now and then, when events come anyway. */

#include "site_show.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <host/event.h>
#include <hostarch.h>
#include <nucleus/actor.h>
#include <nucleus/call.h>
#include <nucleus/message.h>
#include <nucleus/nucleus.h>
#include <nucleus/port.h>
#include <nucleus/vm.h>

#include "control.h"
#include "show_share.h"

enum { NUCLEUS = 1 };
static const int64_t MEMORY_EVERY = 200000000;

static struct {
    struct show_share *share; /* NULL: nobody looks */
    int socket;
    int64_t memory_told;
} show = {.socket = -1};

static uint32_t number_of(const struct actor *actor) { return actor->serial + 1; }

static struct show_actor *place_of(uint32_t actor) { return &show.share->actors[actor % SHOW_ACTORS]; }

static void actor_tell(const struct actor *actor)
{
    uint32_t number = number_of(actor);
    struct show_actor *place = place_of(number);
    if (place->actor == number && strncmp(place->name, actor->name, SHOW_NAME - 1) == 0)
        return;
    place->supervisor = actor->privilege == K_SUPACTOR;
    snprintf(place->name, SHOW_NAME, "%.*s", SHOW_NAME - 1, actor->name);
    atomic_store_explicit(&place->actor, number, memory_order_release);
}

/* ---- memory ---- */

static void memory_of(void *cookie, const struct nucleus_actor_view *view)
{
    (void)cookie;
    const struct actor *actor = actor_by_ui(&view->ui);
    if (actor == NULL)
        return;
    actor_tell(actor);
    place_of(number_of(actor))->memory = view->memory;
}

static void memory_tell(int64_t now)
{
    uint64_t frames, free_frames, cached;
    show.memory_told = now;
    vm_counts(&frames, &free_frames, &cached);
    show.share->memory = frames * PAGE_SIZE;
    show.share->memory_free = free_frames * PAGE_SIZE;
    show.share->memory_cached = cached * PAGE_SIZE;
    nucleus_view(memory_of, NULL, NULL);
    atomic_store_explicit(&show.share->memory_time, (uint64_t)now, memory_order_release);
}

/* ---- events ---- */

static void tell(enum show_kind kind, const struct actor *actor, uint32_t thread, unsigned cpu, uint64_t number)
{
    struct show_share *share = show.share;
    uint64_t head = atomic_load_explicit(&share->head, memory_order_relaxed);
    int64_t now = host_time();
    if (actor != NULL)
        actor_tell(actor);
    share->events[head % SHOW_EVENTS] = (struct show_event){.time = (uint64_t)now, .number = number,
        .actor = actor != NULL ? number_of(actor) : kind == SHOW_RUN ? 0 : NUCLEUS, .thread = thread, .kind = (uint16_t)kind, .cpu = (uint16_t)cpu};
    atomic_store_explicit(&share->head, head + 1, memory_order_release);
    if (now - show.memory_told > MEMORY_EVERY)
        memory_tell(now);
}

static void on_switch(int cpu, const struct thread *thread)
{
    tell(SHOW_RUN, thread != NULL ? thread->actor : NULL, thread != NULL ? (uint32_t)thread->li : 0, (unsigned)cpu, 0);
}

static void on_trap_begin(const struct thread *thread, unsigned kind, uint64_t number)
{
    if (kind == K_TRAP_SYSCALL)
        tell(SHOW_CALL, thread->actor, (uint32_t)thread->li, 0, number);
}

/* Who sends: the actor that the message says it comes from; none if it is the Nucleus's own. */
static void on_message(const struct message *message, bool received)
{
    if (!received)
        tell(SHOW_SENT, actor_by_ui(&message->src_actor), 0, 0, message->id);
    else if (message->port != NULL)
        tell(SHOW_RECEIVED, message->port->actor, (uint32_t)message->port->li, 0, message->id);
}

static void on_fault(const struct thread *thread, VmAddr address, bool write)
{
    tell(SHOW_FAULT, thread->actor, (uint32_t)thread->li, write, address);
}

void site_show_gone(const struct actor *actor, int reason)
{
    if (show.share != NULL)
        tell(SHOW_GONE, actor, 0, reason != K_OK, 0);
}

/* ---- beginning and end ---- */

static void hooks_set(bool on)
{
    nucleus_hooks.switched = on ? on_switch : NULL;
    nucleus_hooks.passed = on ? on_switch : NULL;
    nucleus_hooks.trap_begin = on ? on_trap_begin : NULL;
    nucleus_hooks.message = on ? on_message : NULL;
    nucleus_hooks.fault = on ? on_fault : NULL;
}

void site_show_stop(void)
{
    if (show.share == NULL)
        return;
    hooks_set(false);
    munmap(show.share, sizeof *show.share);
    show.share = NULL;
    hostarch_unwatch(show.socket);
    close(show.socket);
    show.socket = -1;
}

/* The looker has nothing to say: he is gone. */
static void looker_gone(void *cookie, uint32_t events)
{
    (void)cookie, (void)events;
    site_show_stop();
}

/* The memory, and a descriptor of it for reading only; -1 with errno. */
static int share_make(void)
{
    char path[64];
    int reader = -1, memory = memfd_create("chorus-show", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0)
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    if (ftruncate(memory, sizeof *show.share) == 0 && fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0)
        reader = open(path, O_RDONLY | O_CLOEXEC);
    void *share = reader >= 0 ? mmap(NULL, sizeof *show.share, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0) : MAP_FAILED;
    int error = errno;
    close(memory);
    if (share == MAP_FAILED) {
        if (reader >= 0)
            close(reader);
        errno = error;
        return -1;
    }
    show.share = share;
    return reader;
}

static void begin(void)
{
    KnSysInfo info;
    nucleus_view_site(&info);
    show.share->magic = SHOW_MAGIC;
    show.share->version = SHOW_VERSION;
    show.share->cpus = info.cpus;
    snprintf(place_of(NUCLEUS)->name, SHOW_NAME, "Nucleus");
    place_of(NUCLEUS)->actor = NUCLEUS;
    memory_tell(host_time());
    hooks_set(true);
}

void site_show(struct control *control, uint64_t ticket, int socket)
{
    const char *why = socket < 0                        ? "the looker has no socket"
                      : show.share != NULL              ? "somebody looks already"
                      : nucleus_hooks.switched != NULL  ? "the site writes a trace (--trace), which has what is to be shown"
                                                        : NULL;
    int reader = why == NULL ? share_make() : -1;
    if (why == NULL && (reader < 0 || hostarch_watch(socket, POLLIN, looker_gone, NULL) != 0))
        why = strerror(errno);
    if (why != NULL) {
        if (show.share != NULL && reader >= 0) {
            munmap(show.share, sizeof *show.share);
            show.share = NULL;
        }
        control_reply(control, ticket, false, why);
        if (socket >= 0)
            close(socket);
    } else {
        show.socket = socket;
        begin();
        control_reply_with(control, ticket, true, "look", reader);
    }
    if (reader >= 0)
        close(reader);
}
