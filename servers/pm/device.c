/* Character devices. dm never waits: what cannot be done yet it answers with EAGAIN, and tells by a
 * notification when to try again. Each such wait has a token; the call is run again when its token comes.
 */

#include "device.h"

#include <stdio.h>
#include <linux/ioctl.h>
#include <sys/stat.h>

#include "call.h"
#include "deferred.h"
#include "job.h"
#include "path.h"
#include "picture.h"
#include "process.h"
#include "signals.h"
#include "token.h"
#include "waiting.h"
#include "worker.h"

#define TIOCGPTPEER 0x5441u
#define INPUT_GRAB 0x40044590u /* EVIOCGRAB: its argument is a number */
#define TRIES 100
#define AWAIT_TRIES 2000
#define AWAIT_PAUSE (NANOSECONDS / 1000)
#define DRAIN_TRIES 500
#define DRAIN_PAUSE (NANOSECONDS / 500)

static KnIpcDest dm;
static uint64_t client;
static bool connected;

static const struct file_operations device_operations;

/* ---- exchanges ---- */

struct exchange {
    struct tty_request request;
    struct tty_reply reply;
};

static int exchange_raw(struct exchange *exchange, const void *send, uint32_t send_size, void *body,
                        uint32_t room)
{
    KnMsgDesc message = { .bodySize = send_size, .bodyAddr = (void *)send,
                          .annexAddr = &exchange->request };
    KnMsgDesc answer = { .bodySize = room, .bodyAddr = body, .annexAddr = &exchange->reply };
    pm_unlock();
    int status = ipcCall(&message, worker_port, &dm, &answer, K_FOREVER);
    pm_lock();
    return status < 0 ? status : K_OK;
}

static int connect_client(void)
{
    struct exchange exchange = { .request.operation = TTY_CONNECT };
    memcpy(&exchange.request.event_port, &worker_port_ui, sizeof exchange.request.event_port);
    int status = exchange_raw(&exchange, NULL, 0, NULL, 0);
    if (status < 0)
        return status;
    client = exchange.reply.handle;
    connected = exchange.reply.status == 0;
    return connected ? K_OK : K_EFAIL;
}

/* The status of dm, or -EIO when it is gone; it is looked for again by the next request. */
static int ask(struct exchange *exchange, const void *send, uint32_t send_size, void *body,
               uint32_t room)
{
    if (!connected && connect_client() != K_OK)
        return -EIO;
    int status = exchange_raw(exchange, send, send_size, body, room);
    if (status >= 0)
        return exchange->reply.status;
    if (connected)
        pm_log("the device server does not answer: %s", knStrError(status));
    connected = false;
    return -EIO;
}

int device_server_find(void)
{
    KnUniqueId group;
    uiBuild(&group, K_UISTATGROUP, 0, TTY_GROUP_STAMP);
    dm = (KnIpcDest){ .target = group, .mode = K_FUNCMODE };
    for (int tries = 0; tries < TRIES; tries++) {
        if (connect_client() == K_OK)
            return 0;
        pm_unlock();
        threadDelay(NANOSECONDS / 50);
        pm_lock();
    }
    return -EIO;
}

static void identify(struct tty_request *request, const struct process *process)
{
    struct session *session = process->group->session;
    request->identity = (struct tty_identity){
        .pgrp = process->group->pgid, .sid = session->sid, .uid = process->credentials.euid,
        .gid = process->credentials.egid,
        .flags = (session->sid == process->pid ? TTY_SESSION_LEADER : 0) |
                 (session->terminal != 0 ? TTY_HAS_TERMINAL : 0) |
                 (process->credentials.euid == 0 ? TTY_PRIVILEGED : 0),
    };
}

/* ---- notifications ---- */

void device_event(const void *annex)
{
    const struct tty_event *event = annex;
    struct process_group *group;
    switch (event->kind) {
    case TTY_EVENT_READY: token_came(event->token); break;
    case TTY_EVENT_SIGNAL:
        group = job_find_group(event->pgrp);
        if (group != NULL && event->signal > 0 && event->signal <= SIGNALS)
            signal_send_group(group, event->signal);
        break;
    case TTY_EVENT_HANGUP: job_terminal_lost(event->sid); break;
    }
}

/* ---- job control ---- */

/* A process in the background wants something of its terminal. 0: it may after all; -EIO; or the group
 * gets the signal and the call is begun again. */
static int64_t in_background(struct call *call, int status)
{
    struct thread *thread = call_thread(call);
    struct process_group *group = thread->process->group;
    bool reads = status == -TTY_BACKGROUND_READ;
    int signal = reads ? SIGTTIN : SIGTTOU;
    if (signal_is_suppressed(thread, signal))
        return reads ? -EIO : 0;
    if (job_group_is_orphaned(group))
        return -EIO;
    signal_send_group(group, signal);
    thread_wake(thread); /* run again as soon as the signal has been taken */
    return CALL_WAITS;
}

static bool is_background(int status)
{
    return status == -TTY_BACKGROUND_READ || status == -TTY_BACKGROUND_WRITE;
}

/* ---- opening ---- */

static int open_device(struct process *process, uint32_t device, uint32_t flags,
                       struct file **ret_file)
{
    struct exchange exchange = { .request.operation = TTY_OPEN };
    struct file *file = file_new(&device_operations, flags);
    if (file == NULL)
        return -ENOMEM;
    identify(&exchange.request, process);
    exchange.request.device = device;
    exchange.request.flags = flags & O_NOCTTY ? TTY_NO_CONTROL : 0;
    /* A handle of the client that asks: connected first, since the handle changes. */
    if (!connected)
        connect_client();
    exchange.request.handle = client;
    int status = ask(&exchange, NULL, 0, NULL, 0);
    if (status != 0) {
        free(file);
        return status;
    }
    file->handle = exchange.reply.handle;
    file->device = exchange.reply.device;
    file->is_terminal = exchange.reply.flags & TTY_IS_TERMINAL;
    file->attributes.mode = S_IFCHR | 0620;
    file->attributes.rdev = file->device;
    file->attributes.links = 1;
    file->attributes.block_size = 1024;
    if (exchange.reply.flags & TTY_BECAME_CONTROLLING)
        process->group->session->terminal = file->device;
    if (exchange.reply.flags & TTY_IS_PICTURE)
        picture_make(file, exchange.reply.argument);
    *ret_file = file;
    return 0;
}

int64_t device_open(struct call *call, uint32_t device, uint32_t flags, struct file **ret_file)
{
    return open_device(call_process(call), device, flags, ret_file);
}

int device_open_first(struct process *process, uint32_t device, uint32_t flags,
                      struct file **ret_file)
{
    return open_device(process, device, flags, ret_file);
}

void device_release(struct file *file)
{
    deferred_close_device(file->handle);
}

bool file_is_zero_device(const struct file *file)
{
    return file->operations == &device_operations && file->device == TTY_ZERO;
}

/* ---- reading and writing ---- */

/* -EAGAIN of dm: the call waits for its token, unless the file does not want to wait. */
static int64_t not_yet(struct call *call, const struct file *file, uint64_t token)
{
    if (!(file->flags & O_NONBLOCK) && token != 0)
        return CALL_WAITS;
    token_drop(token);
    if (call->progress > 0)
        return call->progress;
    return file->flags & O_NONBLOCK ? -EAGAIN : -ENOMEM;
}

/* What is asked of a terminal at once, to be put <at> bytes into the buffers. scratch[0]: `begun` of the first try. */
static int64_t read_part(struct call *call, struct file *file, struct user_io *io, size_t at)
{
    uint32_t size = io->total - at < TTY_BODY_MAX ? (uint32_t)(io->total - at) : TTY_BODY_MAX;
    uint8_t small[1024], *buffer = size <= sizeof small ? small : malloc(size);
    bool waits = !(file->flags & O_NONBLOCK);
    if (buffer == NULL)
        return -ENOMEM;
    if (call->awaits_sign)
        token_forget(call);
    uint64_t token = waits ? token_new(call, TOKEN_OF_DM) : 0;
    struct exchange exchange = { .request.operation = TTY_READ };
    exchange.request.flags = waits ? TTY_NOTIFY : 0;
    exchange.request.length = size;
    exchange.request.handle = file->handle;
    exchange.request.token = token;
    exchange.request.begun = call->scratch[0];
    identify(&exchange.request, call_process(call));
    int64_t result = ask(&exchange, NULL, 0, buffer, size);
    if (result == -EAGAIN) {
        call->scratch[0] = exchange.reply.begun;
        result = not_yet(call, file, token);
    } else {
        token_drop(token);
        if (is_background((int)result))
            result = in_background(call, (int)result);
        else if (result == 0 && exchange.reply.length > size)
            result = -EIO;
        else if (result == 0)
            result = io_copy_out(call, io, at, buffer, exchange.reply.length);
        if (result == 0)
            result = exchange.reply.length;
    }
    if (buffer != small)
        free(buffer);
    return result;
}

/* Whose reads are never short. */
static bool gives_all(const struct file *file)
{
    return file->device == TTY_ZERO || file->device == TTY_FULL || file->device == TTY_RANDOM || file->device == TTY_URANDOM;
}

static int64_t device_read(struct call *call, struct file *file, struct user_io *io, int64_t *offset)
{
    size_t done = 0;
    (void)offset;
    do {
        int64_t part = read_part(call, file, io, done);
        if (part <= 0)
            return done > 0 ? (int64_t)done : part;
        done += (size_t)part;
    } while (gives_all(file) && done < io->total && !signal_is_due(call_thread(call)));
    return (int64_t)done;
}

static int64_t write_part(struct call *call, struct file *file, const uint8_t *data, uint32_t size,
                          uint16_t permitted)
{
    bool waits = !(file->flags & O_NONBLOCK);
    if (call->awaits_sign)
        token_forget(call);
    uint64_t token = waits ? token_new(call, TOKEN_OF_DM) : 0;
    struct exchange exchange = { .request.operation = TTY_WRITE };
    exchange.request.flags = (uint16_t)((waits ? TTY_NOTIFY : 0) | permitted);
    exchange.request.handle = file->handle;
    exchange.request.token = token;
    identify(&exchange.request, call_process(call));
    int64_t result = ask(&exchange, data, size, NULL, 0);
    if (result == -EAGAIN)
        return not_yet(call, file, token);
    token_drop(token);
    if (result == -TTY_BACKGROUND_WRITE) {
        result = in_background(call, (int)result);
        return result != 0 ? result : write_part(call, file, data, size, TTY_PERMITTED);
    }
    if (result == 0 && (exchange.reply.length == 0 || exchange.reply.length > size))
        return -EIO;
    if (result == 0 && exchange.reply.flags & TTY_UNCONFIRMED)
        call->scratch[1] = true;
    return result != 0 ? result : exchange.reply.length;
}

/* All is accepted, but the host may still refuse it: wait until it has not. A signal ends the wait, and what was
 * accepted counts. */
static int64_t write_confirm(struct call *call, struct file *file)
{
    if (file->flags & O_NONBLOCK)
        return 0;
    if (call->awaits_sign)
        token_forget(call);
    uint64_t token = token_new(call, TOKEN_OF_DM);
    struct exchange exchange = { .request.operation = TTY_DRAIN };
    exchange.request.flags = TTY_NOTIFY;
    exchange.request.handle = file->handle;
    exchange.request.token = token;
    int64_t result = ask(&exchange, NULL, 0, NULL, 0);
    if (result == -EAGAIN && token != 0)
        return CALL_WAITS;
    token_drop(token);
    if (result < 0 && result != -EAGAIN)
        call->progress = 0;
    return result == -EAGAIN ? 0 : result;
}

static int64_t device_write(struct call *call, struct file *file, struct user_io *io,
                            int64_t *offset)
{
    uint8_t *buffer = malloc(TTY_BODY_MAX);
    int64_t result = buffer == NULL ? -ENOMEM : 0;
    (void)offset;
    while (result >= 0 && (size_t)call->progress < io->total) {
        size_t left = io->total - (size_t)call->progress;
        uint32_t size = left < TTY_BODY_MAX ? (uint32_t)left : TTY_BODY_MAX;
        result = io_copy_in(call, io, (size_t)call->progress, buffer, size);
        if (result == 0)
            result = write_part(call, file, buffer, size, 0);
        if (result > 0)
            call->progress += result;
    }
    free(buffer);
    if (result >= 0 && call->scratch[1])
        result = write_confirm(call, file);
    if (result == CALL_WAITS || (result < 0 && call->progress == 0)) {
        if (result == -EPIPE)
            signal_send_thread(call_thread(call), &(siginfo_t){ .si_signo = SIGPIPE,
                                                                .si_code = SI_USER });
        return result;
    }
    return call->progress;
}

static unsigned device_poll(struct call *call, struct file *file, unsigned wanted)
{
    uint64_t token = call != NULL ? token_new(call, TOKEN_OF_DM) : 0;
    struct exchange exchange = { .request.operation = TTY_WATCH };
    exchange.request.flags = token != 0 ? TTY_NOTIFY : 0;
    exchange.request.handle = file->handle;
    exchange.request.token = token;
    exchange.request.events = wanted & (TTY_READABLE | TTY_PRIORITY | TTY_WRITABLE);
    if (call != NULL)
        identify(&exchange.request, call_process(call));
    int status = ask(&exchange, NULL, 0, NULL, 0);
    unsigned events = status != 0 ? POLLERR | POLLHUP : exchange.reply.events;
    if (events != 0 && token != 0)
        token_drop(token);
    return events;
}

/* ---- ioctl ---- */

struct known {
    uint32_t number;
    enum tty_ioctl_kind kind;
    uint8_t in, out;
};

#define KNOWN(name, number, kind, in, out) { number, kind, in, out },
static const struct known known[] = { TTY_IOCTLS(KNOWN) };
#undef KNOWN

static const struct known *find_ioctl(uint32_t command)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].number == command)
            return &known[i];
    return NULL;
}

enum { IOCTL_SCTTY = 0x540e, IOCTL_SPGRP = 0x5410, IOCTL_NOTTY = 0x5422 };

/* The group must be of the caller's session. */
static int check_group(struct call *call, const uint8_t *argument)
{
    int32_t pgid;
    memcpy(&pgid, argument, sizeof pgid);
    if (pgid < 0)
        return -EINVAL;
    struct process_group *group = job_find_group(pgid);
    if (group == NULL)
        return -ESRCH;
    return group->session == call_process(call)->group->session ? 0 : -EPERM;
}

static void ioctl_done(struct call *call, struct file *file, uint32_t command)
{
    struct process *process = call_process(call);
    if (command == IOCTL_SCTTY)
        process->group->session->terminal = file->device;
    else if (command == IOCTL_NOTTY && process->group->session->sid == process->pid)
        process->group->session->terminal = 0;
}

static int64_t ioctl_pass(struct call *call, struct file *file, const struct known *what,
                          uint64_t value, uint16_t permitted)
{
    struct exchange exchange = { .request.operation = TTY_IOCTL };
    int error = 0;
    if (what->kind == TTY_BY_VALUE)
        memcpy(exchange.request.argument, &value, sizeof value);
    else if (what->in > 0)
        error = copy_in(call, exchange.request.argument, value, what->in);
    if (error == 0 && what->number == IOCTL_SPGRP)
        error = check_group(call, exchange.request.argument);
    if (error != 0)
        return error;
    if (call->awaits_sign)
        token_forget(call);
    uint64_t token = token_new(call, TOKEN_OF_DM);
    exchange.request.flags = (uint16_t)(TTY_NOTIFY | permitted);
    exchange.request.handle = file->handle;
    exchange.request.token = token;
    exchange.request.command = what->number;
    identify(&exchange.request, call_process(call));
    int64_t result = ask(&exchange, NULL, 0, NULL, 0);
    if (result == -EAGAIN)
        return token != 0 ? CALL_WAITS : -ENOMEM;
    token_drop(token);
    if (is_background((int)result)) {
        result = in_background(call, (int)result);
        return result != 0 ? result : ioctl_pass(call, file, what, value, TTY_PERMITTED);
    }
    if (result == 0)
        ioctl_done(call, file, what->number);
    if (result == 0 && what->out > 0 && what->kind == TTY_BY_MEMORY)
        result = copy_out(call, value, exchange.reply.argument, what->out);
    return result;
}

/* The other side of a pty, by its master. */
static int64_t open_peer(struct call *call, struct file *file, uint32_t flags)
{
    struct exchange exchange = { .request.operation = TTY_IOCTL };
    uint32_t number;
    struct file *peer;
    exchange.request.handle = file->handle;
    exchange.request.command = 0x80045430; /* TIOCGPTN */
    identify(&exchange.request, call_process(call));
    int error = ask(&exchange, NULL, 0, NULL, 0);
    if (error != 0)
        return error;
    memcpy(&number, exchange.reply.argument, sizeof number);
    error = open_device(call_process(call), TTY_PTS(number), flags, &peer);
    if (error != 0)
        return error;
    char path[32];
    snprintf(path, sizeof path, "/dev/pts/%u", number);
    peer->place.path = strdup(path);
    int fd = descriptor_add(call_process(call), peer, flags & O_CLOEXEC, 0);
    if (fd < 0)
        file_release(peer);
    return fd;
}

/* Of keyboard and mouse: the number says how much goes which way. */
static int64_t input_ioctl(struct call *call, struct file *file, uint32_t command, uint64_t argument)
{
    struct exchange exchange = { .request.operation = TTY_IOCTL };
    uint8_t body[4096];
    size_t size = _IOC_SIZE(command);
    bool by_memory = _IOC_DIR(command) == _IOC_WRITE && command != INPUT_GRAB;
    int error = 0;
    if (by_memory && size > TTY_ARGUMENT_MAX)
        return -EINVAL;
    if (by_memory)
        error = copy_in(call, exchange.request.argument, argument, size);
    else
        memcpy(exchange.request.argument, &argument, sizeof argument);
    if (error != 0)
        return error;
    exchange.request.handle = file->handle;
    exchange.request.command = command;
    identify(&exchange.request, call_process(call));
    error = ask(&exchange, NULL, 0, body, sizeof body);
    if (error == 0 && exchange.reply.length > sizeof body)
        error = -EIO;
    if (error == 0 && exchange.reply.length > 0)
        error = copy_out(call, argument, body, exchange.reply.length);
    return error != 0 ? error : (int64_t)exchange.reply.events;
}

static int64_t device_ioctl(struct call *call, struct file *file, uint32_t command,
                            uint64_t argument)
{
    if (TTY_MAJOR(file->device) == TTY_MAJOR(TTY_INPUT(0)))
        return input_ioctl(call, file, command, argument);
    if (command == TIOCGPTPEER)
        return open_peer(call, file, (uint32_t)argument);
    const struct known *what = find_ioctl(command);
    return what == NULL ? -ENOTTY : ioctl_pass(call, file, what, argument, 0);
}

static int64_t device_seek(struct call *call, struct file *file, int64_t offset, int whence)
{
    (void)call, (void)whence, (void)offset;
    return file->is_terminal || TTY_MAJOR(file->device) != 1 ? -ESPIPE : 0;
}

static const struct file_operations device_operations = {
    .read = device_read, .write = device_write, .poll = device_poll, .ioctl = device_ioctl,
    .release = device_release, .seek = device_seek,
};

/* ---- what dm hears later ---- */

static void tell(uint16_t operation, uint64_t handle, uint64_t token, pid_t sid)
{
    struct exchange exchange = { .request.operation = operation };
    exchange.request.handle = handle;
    exchange.request.token = token;
    exchange.request.identity.sid = sid;
    ask(&exchange, NULL, 0, NULL, 0);
}

void device_server_close(uint64_t handle)
{
    tell(TTY_CLOSE, handle, 0, 0);
}

void device_server_unwatch(uint64_t token)
{
    tell(TTY_UNWATCH, client, token, 0);
}

void device_server_session_end(pid_t sid)
{
    tell(TTY_SESSION_END, client, 0, sid);
}

int device_list(uint32_t first, struct tty_node *nodes, uint32_t room)
{
    struct exchange exchange = { .request.operation = TTY_LIST };
    exchange.request.handle = client;
    exchange.request.length = first;
    int status = ask(&exchange, NULL, 0, nodes, room * (uint32_t)sizeof *nodes);
    if (status != 0)
        return status;
    return exchange.reply.length < room ? (int)exchange.reply.length : (int)room;
}

/* ---- for pm's own use ---- */

static int open_for_pm(uint32_t device, uint64_t *ret_handle)
{
    struct exchange open = { .request.operation = TTY_OPEN };
    open.request.handle = client;
    open.request.device = device;
    open.request.flags = TTY_NO_CONTROL;
    open.request.identity.flags = TTY_PRIVILEGED;
    int error = ask(&open, NULL, 0, NULL, 0);
    if (error == 0)
        *ret_handle = open.reply.handle;
    return error;
}

/* Give others <length>. */
static void pause_unlocked(KnTime length)
{
    pm_unlock();
    threadDelay(length);
    pm_lock();
}

int device_server_await(uint32_t device)
{
    uint64_t handle;
    int error = open_for_pm(device, &handle);
    for (int tries = 0; error == -ENXIO && tries < AWAIT_TRIES; tries++) {
        pause_unlocked(AWAIT_PAUSE);
        error = open_for_pm(device, &handle);
    }
    if (error == 0)
        tell(TTY_CLOSE, handle, 0, 0);
    return error;
}

void device_server_say(uint32_t device, const char *text)
{
    struct exchange write = { .request.operation = TTY_WRITE };
    if (open_for_pm(device, &write.request.handle) != 0)
        return;
    write.request.flags = TTY_PERMITTED;
    ask(&write, text, (uint32_t)strlen(text), NULL, 0);
    tell(TTY_CLOSE, write.request.handle, 0, 0);
}

/* True: not yet. */
static bool is_draining(uint64_t handle)
{
    struct exchange drain = { .request.operation = TTY_DRAIN };
    drain.request.handle = handle;
    return ask(&drain, NULL, 0, NULL, 0) == -EAGAIN;
}

/* What was written to the streams and the console must leave before the machine is halted. */
void device_server_drain(void)
{
    static const uint32_t devices[] = { TTY_CONSOLE, TTY_STDOUT, TTY_STDERR };
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        uint64_t handle;
        if (open_for_pm(devices[i], &handle) != 0)
            continue;
        for (int tries = 0; is_draining(handle) && tries < DRAIN_TRIES; tries++)
            pause_unlocked(DRAIN_PAUSE);
        tell(TTY_CLOSE, handle, 0, 0);
    }
}
