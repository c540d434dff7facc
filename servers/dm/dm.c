/* The Device Manager's core: clients, open files, waiting, dispatch. See dm.h.
 *
 * Waiting: a request that cannot be done yet leaves a watch, if the client wants one: what it waits for, and the
 * client's token. When anything has changed, dm_settle asks every watch's device again. There are as many watches as
 * there are waiting processes, so looking at all of them is cheap, and no device can forget to wake somebody.
 */
#include "dm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "picture.h"
#include "pty.h"
#include "terminal.h"

#define FILES_MAX   65536
#define WATCHES_MAX 65536

/* What a watch waits for. */
enum wait { WAIT_READ, WAIT_WRITE, WAIT_DRAIN, WAIT_POLL };

struct watch {
    struct watch *next;
    uint64_t token, handle;
    unsigned client;
    enum wait wait;
    struct tty_request request;         /* WAIT_READ: the read; WAIT_POLL: events */
    uint64_t begun;
};

struct pending_event {
    struct pending_event *next;
    uint64_t port;
    struct tty_event event;
};

const struct dm_host *dm_host;

static uint32_t epoch;
static struct dm_file **files;          /* by index; NULL: free */
static uint32_t *generations;           /* by index: a handle is not used twice */
static unsigned files_count;
static struct watch *watches;
static unsigned watches_count;
static struct pending_event *events, **events_end = &events;
static bool changed;

void dm_start(const struct dm_host *host, uint32_t new_epoch)
{
    dm_host = host;
    epoch = new_epoch & 0xffff;
    channels_start();
    terminal_start();
    hwrng_start();
}

/* ---- handles: epoch 16 bits, generation 24, index 24 ---- */

static uint64_t handle_make(unsigned index)
{
    return (uint64_t)epoch << 48 | (uint64_t)(generations[index] & 0xffffff) << 24 | index;
}

/* Any entry, also a client's. */
static struct dm_file *entry_find(uint64_t handle)
{
    unsigned index = handle & 0xffffff;

    if (index >= files_count || files[index] == NULL || files[index]->handle != handle)
        return NULL;
    return files[index];
}

static bool files_grow(void)
{
    unsigned more = files_count == 0 ? 64 : 2 * files_count;

    if (more > FILES_MAX)
        return false;
    struct dm_file **new_files = realloc(files, more * sizeof *files);
    if (new_files == NULL)
        return false;
    files = new_files;
    uint32_t *new_generations = realloc(generations, more * sizeof *generations);
    if (new_generations == NULL)
        return false;
    generations = new_generations;
    memset(files + files_count, 0, (more - files_count) * sizeof *files);
    memset(generations + files_count, 0, (more - files_count) * sizeof *generations);
    files_count = more;
    return true;
}

static struct dm_file *entry_create(void)
{
    unsigned index = 0;

    while (index < files_count && files[index] != NULL)
        index++;
    if (index == files_count && !files_grow())
        return NULL;
    struct dm_file *file = calloc(1, sizeof *file);
    if (file == NULL)
        return NULL;
    files[index] = file;
    generations[index]++;
    file->handle = handle_make(index);
    return file;
}

static void entry_delete(struct dm_file *file)
{
    files[file->handle & 0xffffff] = NULL;
    free(file);
}

/* ---- events ---- */

void dm_changed(void)
{
    changed = true;
}

void dm_event(unsigned client, const struct tty_event *event)
{
    struct pending_event *pending;

    if (client >= files_count || files[client] == NULL)
        return;
    pending = malloc(sizeof *pending);
    if (pending == NULL)
        return;                         /* no memory for a hundred bytes: the actor is about to die */
    *pending = (struct pending_event){ .port = files[client]->event_port, .event = *event };
    *events_end = pending;
    events_end = &pending->next;
}

static void events_send(void)
{
    while (events != NULL && dm_host->send(events->port, &events->event)) {
        struct pending_event *sent = events;
        events = sent->next;
        if (events == NULL)
            events_end = &events;
        free(sent);
    }
}

/* ---- watches ---- */

static void watch_remove(struct watch **link)
{
    struct watch *watch = *link;

    *link = watch->next;
    watches_count--;
    free(watch);
}

static void watches_remove_token(unsigned client, uint64_t token)
{
    for (struct watch **link = &watches; *link != NULL;) {
        if ((*link)->client == client && (*link)->token == token)
            watch_remove(link);
        else
            link = &(*link)->next;
    }
}

static int watch_add(struct dm_file *file, const struct dm_call *call, enum wait wait,
                     uint64_t begun)
{
    watches_remove_token(file->client, call->request->token);
    struct watch *watch = watches_count < WATCHES_MAX ? malloc(sizeof *watch) : NULL;
    if (watch == NULL)
        return -ENOMEM;
    *watch = (struct watch){ .next = watches, .token = call->request->token,
                             .handle = file->handle, .client = file->client, .wait = wait,
                             .request = *call->request, .begun = begun };
    watches = watch;
    watches_count++;
    changed = true;                     /* its deadline is looked at by the next dm_settle */
    return 0;
}

static unsigned file_poll(struct dm_file *file)
{
    return file->operations->poll == NULL ? TTY_READABLE | TTY_WRITABLE
                                          : file->operations->poll(file);
}

static bool file_can_read(struct dm_file *file, const struct tty_request *request, uint64_t begun,
                          int64_t now, int64_t *ret_deadline)
{
    *ret_deadline = INT64_MAX;
    return file->operations->can_read == NULL
        || file->operations->can_read(file, request, begun, now, ret_deadline);
}

static bool file_can_write(struct dm_file *file)
{
    return file->operations->can_write == NULL || file->operations->can_write(file);
}

static bool file_drained(struct dm_file *file)
{
    return file->operations->drained == NULL || file->operations->drained(file);
}

/* What a watch waited for, if it has come: never 0 then. */
static unsigned watch_look(const struct watch *watch, int64_t now, int64_t *ret_deadline)
{
    struct dm_file *file = entry_find(watch->handle);

    *ret_deadline = INT64_MAX;
    if (file == NULL)
        return TTY_HANGUP;              /* closed meanwhile */
    switch (watch->wait) {
    case WAIT_READ:
        return file_can_read(file, &watch->request, watch->begun, now, ret_deadline)
                   ? TTY_READABLE : 0;
    case WAIT_WRITE:
        return file_can_write(file) ? TTY_WRITABLE : 0;
    case WAIT_DRAIN:
        return file_drained(file) ? TTY_WRITABLE : 0;
    default:
        return file_poll(file) & (watch->request.events | TTY_ERROR | TTY_HANGUP);
    }
}

int64_t dm_settle(void)
{
    static int64_t next = INT64_MAX;
    int64_t now = dm_host->now(), deadline;

    if (changed || now >= next) {
        changed = false;
        next = INT64_MAX;
        for (struct watch **link = &watches; *link != NULL;) {
            unsigned what = watch_look(*link, now, &deadline);
            if (what == 0) {
                if (deadline < next)
                    next = deadline;
                link = &(*link)->next;
                continue;
            }
            dm_event((*link)->client, &(struct tty_event){ .kind = TTY_EVENT_READY, .events = what,
                                                           .token = (*link)->token });
            watch_remove(link);
        }
    }
    events_send();
    /* A client whose queue is full is tried again soon. */
    return events != NULL && next > now + 10000000 ? now + 10000000 : next;
}

/* ---- requests ---- */

/* Answer -EAGAIN, and remember who wants to know when to try again. */
static int would_wait(struct dm_file *file, struct dm_call *call, enum wait wait, uint64_t begun)
{
    int status = 0;

    if (call->request->flags & TTY_NOTIFY)
        status = watch_add(file, call, wait, begun);
    call->reply->begun = begun;
    return status != 0 ? status : -EAGAIN;
}

static int file_check(struct dm_file *file, struct dm_call *call)
{
    return file->operations->check == NULL ? 0 : file->operations->check(file, call);
}

static int do_read(struct dm_file *file, struct dm_call *call)
{
    uint64_t begun = call->request->begun != 0 ? call->request->begun : (uint64_t)call->now;
    int64_t deadline;

    if (file->operations->read == NULL || call->request->length > TTY_BODY_MAX)
        return -EINVAL;
    int status = file_check(file, call);
    if (status != 0)
        return status == -ESHUTDOWN ? 0 : status;       /* hung up: end of file */
    bool can = file_can_read(file, call->request, begun, call->now, &deadline);
    if (!can && !(call->request->flags & TTY_NO_WAIT))
        return would_wait(file, call, WAIT_READ, begun);
    status = file->operations->read(file, call);
    /* Taking what is there may find nothing there, which is no end of file. */
    return status == 0 && !can && call->reply->length == 0 ? -EAGAIN : status;
}

static int do_write(struct dm_file *file, struct dm_call *call)
{
    if (file->operations->write == NULL)
        return -EINVAL;
    int status = file_check(file, call);
    if (status != 0)
        return status == -ESHUTDOWN ? -EIO : status;
    if (!file_can_write(file))
        return would_wait(file, call, WAIT_WRITE, 0);
    return file->operations->write(file, call);
}

static int do_ioctl(struct dm_file *file, struct dm_call *call)
{
    if (file->operations->ioctl == NULL)
        return -ENOTTY;
    int status = file_check(file, call);
    if (status != 0)
        return status == -ESHUTDOWN ? -EIO : status;
    status = file->operations->ioctl(file, call);
    return status == -EAGAIN ? would_wait(file, call, WAIT_DRAIN, 0) : status;
}

static int do_drain(struct dm_file *file, struct dm_call *call)
{
    if (!file_drained(file))
        return would_wait(file, call, WAIT_DRAIN, 0);
    return file->operations->failure == NULL ? 0 : -file->operations->failure(file);
}

static int do_watch(struct dm_file *file, struct dm_call *call)
{
    unsigned wanted = call->request->events | TTY_ERROR | TTY_HANGUP;

    call->reply->events = file_poll(file) & wanted;
    if (call->reply->events == 0 && call->request->flags & TTY_NOTIFY)
        return watch_add(file, call, WAIT_POLL, 0);
    return 0;
}

static int do_close(struct dm_file *file, struct dm_call *call)
{
    (void)call;
    if (file->operations->close != NULL)
        file->operations->close(file);
    entry_delete(file);
    changed = true;
    return 0;
}

static int do_connect(struct dm_call *call)
{
    struct dm_file *client = entry_create();

    if (client == NULL)
        return -ENOMEM;
    client->event_port = call->request->event_port;
    client->client = client->handle & 0xffffff;
    call->reply->handle = client->handle;
    return 0;
}

static int open_by_number(struct dm_file *file, struct dm_call *call)
{
    switch (TTY_MAJOR(call->request->device)) {
    case TTY_MAJOR(TTY_NULL): return memory_open(file, call);
    case TTY_MAJOR(TTY_FRAMEBUFFER): return picture_open(file, call);
    case TTY_MAJOR(TTY_INPUT(0)): return evdev_open(file, call);
    case TTY_MAJOR(TTY_STDIN): return stream_open(file, call);
    case TTY_MAJOR(TTY_RTC): return rtc_open(file, call);
    case TTY_MAJOR(TTY_HWRNG): return hwrng_open(file, call);
    case TTY_MAJOR(TTY_HVC):
    case TTY_MAJOR(TTY_PTS(0)): return terminal_open(file, call);
    case TTY_MAJOR(TTY_PTMX):
        return call->request->device == TTY_PTMX ? pty_master_open(file, call)
                                                 : terminal_open(file, call);
    default: return -ENXIO;
    }
}

static int do_open(struct dm_file *client, struct dm_call *call)
{
    struct dm_file *file = entry_create();

    if (file == NULL)
        return -ENFILE;
    file->client = call->client = client->client;
    file->device = call->request->device;
    int status = open_by_number(file, call);
    if (status != 0) {
        entry_delete(file);
        return status;
    }
    call->reply->handle = file->handle;
    call->reply->device = file->device;
    return 0;
}

static int do_session_end(struct dm_file *client, struct dm_call *call)
{
    terminal_session_end(client->client, call->request->identity.sid);
    return 0;
}

static bool node_find(unsigned index, struct tty_node *node)
{
    static bool (*const kinds[])(unsigned, struct tty_node *) = {
        memory_node, stream_node, terminal_node, picture_node, evdev_node, rtc_node, hwrng_node, pty_node,
    };
    unsigned kind = 0, first = 0, at = 0;

    for (; kind < sizeof kinds / sizeof *kinds; kind++, first = at) {
        memset(node, 0, sizeof *node);
        if (kinds[kind](index - first, node))
            return true;
        while (kinds[kind](at - first, node))
            at++;
    }
    return false;
}

static int do_list(struct dm_file *client, struct dm_call *call)
{
    struct tty_node node;
    uint32_t count = 0;

    (void)client;
    while ((count + 1) * sizeof node <= TTY_BODY_MAX
           && node_find(call->request->length + count, &node))
        memcpy(call->body + sizeof node * count++, &node, sizeof node);
    call->reply->length = count;
    return 0;
}

static int do_unwatch(struct dm_file *client, struct dm_call *call)
{
    watches_remove_token(client->client, call->request->token);
    return 0;
}

static int dispatch(struct dm_call *call)
{
    struct dm_file *file = entry_find(call->request->handle);
    bool of_client = call->request->operation == TTY_OPEN || call->request->operation == TTY_LIST
                  || call->request->operation == TTY_UNWATCH
                  || call->request->operation == TTY_SESSION_END;

    if (call->request->operation == TTY_CONNECT)
        return do_connect(call);
    if (call->request->operation < TTY_CONNECT || call->request->operation > TTY_LIST)
        return -ENOSYS;
    if (file == NULL)                   /* of an earlier life: hung up */
        return call->request->handle >> 48 != epoch && !of_client ? -EIO : -EBADF;
    if (of_client != (file->operations == NULL))
        return -EBADF;
    call->client = file->client;
    switch (call->request->operation) {
    case TTY_OPEN: return do_open(file, call);
    case TTY_CLOSE: return do_close(file, call);
    case TTY_READ: return do_read(file, call);
    case TTY_WRITE: return do_write(file, call);
    case TTY_IOCTL: return do_ioctl(file, call);
    case TTY_WATCH: return do_watch(file, call);
    case TTY_UNWATCH: return do_unwatch(file, call);
    case TTY_SESSION_END: return do_session_end(file, call);
    case TTY_DRAIN: return do_drain(file, call);
    default: return do_list(file, call);
    }
}

size_t dm_request(const struct tty_request *request, struct tty_reply *reply, uint8_t *body,
                  size_t body_size)
{
    struct dm_call call = { .request = request, .reply = reply, .body = body,
                            .body_size = body_size, .now = dm_host->now() };

    memset(reply, 0, sizeof *reply);
    reply->status = dispatch(&call);
    if (reply->status != 0)
        reply->length = 0;
    if (request->operation == TTY_LIST)
        return reply->length * sizeof(struct tty_node);
    return request->operation == TTY_READ || request->operation == TTY_IOCTL ? reply->length : 0;
}

/* ---- clients ---- */

static void client_delete(struct dm_file *client)
{
    unsigned index = client->client;

    for (unsigned i = 0; i < files_count; i++)
        if (files[i] != NULL && files[i] != client && files[i]->client == index)
            do_close(files[i], NULL);
    for (struct watch **link = &watches; *link != NULL;) {
        if ((*link)->client == index)
            watch_remove(link);
        else
            link = &(*link)->next;
    }
    terminal_client_gone(index);
    entry_delete(client);
}

void dm_client_gone(uint64_t event_port)
{
    for (unsigned i = 0; i < files_count; i++)
        if (files[i] != NULL && files[i]->operations == NULL
            && files[i]->event_port == event_port)
            client_delete(files[i]);
}

void dm_end(void)
{
    for (unsigned i = 0; i < files_count; i++)
        if (files[i] != NULL && files[i]->operations == NULL)
            client_delete(files[i]);
    while (events != NULL) {
        struct pending_event *event = events;
        events = event->next;
        free(event);
    }
    events_end = &events;
    free(files);
    free(generations);
    files = NULL;
    generations = NULL;
    files_count = 0;
    terminal_end();
    pty_end();
}
