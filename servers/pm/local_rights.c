/* Descriptors under way: SCM_RIGHTS, and the credentials that go along.
 *
 * A socket may be sent over itself, or two over each other; when their descriptors are closed then nobody can receive them, and
 * nothing lets go of them. So whenever a descriptor is closed and its file is under way, or a socket is closed while some are, those
 * are looked for that no descriptor leads to: neither its own file, nor one that waits in a socket which can be reached.
 */

#include "call.h"
#include "local.h"

#define RIGHTS_MOST 253 /* of one message, as in Linux */
#define RIGHTS_MOST_OF_ALL 65536u

static struct list all = { &all, &all };
static unsigned under_way, sockets_under_way;

static unsigned rights_of_user(uint32_t uid)
{
    unsigned count = 0;
    LIST_EACH(&all, at) {
        struct rights *rights = LIST_ENTRY(at, struct rights, link);
        count += rights->uid == uid ? rights->count : 0;
    }
    return count;
}

static void note(struct file *file, int change)
{
    file->under_way += (unsigned)change;
    under_way += (unsigned)change;
    sockets_under_way += file_is_local(file) ? (unsigned)change : 0;
}

/* ---- sending ---- */

static int fetch_files(struct call *call, const uint8_t *data, size_t size, struct packet *packet)
{
    struct process *process = call_process(call);
    unsigned count = (unsigned)(size / sizeof(int));
    if (count == 0)
        return 0;
    if (packet->rights != NULL || count > RIGHTS_MOST)
        return -EINVAL;
    uint32_t uid = process->credentials.uid;
    bool is_root = process->credentials.effective != 0;
    if (under_way + count > RIGHTS_MOST_OF_ALL ||
        (!is_root && rights_of_user(uid) + count > process->limits[7 /* RLIMIT_NOFILE */].current))
        return -ETOOMANYREFS;
    struct rights *rights = malloc(sizeof *rights + count * sizeof *rights->files);
    if (rights == NULL)
        return -ENOMEM;
    rights->uid = uid;
    rights->count = 0;
    list_init(&rights->link);
    list_append(&all, &rights->link);
    packet->rights = rights;
    for (unsigned i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, data + i * sizeof fd, sizeof fd);
        struct file *file = descriptor_file(process, fd);
        if (file == NULL || (file->flags & O_PATH))
            return -EBADF;
        file_reference(file);
        note(file, 1);
        rights->files[rights->count++] = file;
    }
    return 0;
}

static int fetch_credentials(struct call *call, const uint8_t *data, size_t size, struct packet *packet)
{
    const struct credentials *mine = &call_process(call)->credentials;
    struct ucred given;
    if (size != sizeof given)
        return -EINVAL;
    memcpy(&given, data, sizeof given);
    bool privileged = mine->effective != 0;
    bool own_user = given.uid == mine->uid || given.uid == mine->euid || given.uid == mine->suid;
    bool own_group = given.gid == mine->gid || given.gid == mine->egid || given.gid == mine->sgid;
    if (!privileged && (given.pid != call_process(call)->pid || !own_user || !own_group))
        return -EPERM;
    packet->sender = given;
    packet->sender_given = true;
    return 0;
}

int rights_fetch(struct call *call, const struct socket_message *message, struct packet *packet)
{
    size_t at = 0;
    while (message->control != NULL && message->control_size - at >= sizeof(struct cmsghdr)) {
        struct cmsghdr head;
        memcpy(&head, message->control + at, sizeof head);
        if (head.cmsg_len < sizeof head || head.cmsg_len > message->control_size - at)
            return -EINVAL;
        const uint8_t *data = message->control + at + CMSG_LEN(0);
        size_t size = head.cmsg_len - CMSG_LEN(0);
        int error = head.cmsg_level != SOL_SOCKET ? 0
                    : head.cmsg_type == SCM_RIGHTS ? fetch_files(call, data, size, packet)
                    : head.cmsg_type == SCM_CREDENTIALS ? fetch_credentials(call, data, size, packet)
                                                        : -EINVAL;
        if (error != 0)
            return error;
        size_t space = CMSG_ALIGN(head.cmsg_len);
        if (space > message->control_size - at)
            break;
        at += space;
    }
    return 0;
}

/* ---- letting go: never deeper than one, however many sockets wait in sockets ---- */

void rights_drop(struct rights *rights)
{
    static struct list to_drop = { &to_drop, &to_drop };
    static bool dropping;
    if (rights == NULL)
        return;
    list_remove(&rights->link);
    list_append(&to_drop, &rights->link);
    if (dropping)
        return;
    dropping = true;
    struct list *link;
    while ((link = list_take_first(&to_drop)) != NULL) {
        struct rights *next = LIST_ENTRY(link, struct rights, link);
        for (unsigned i = 0; i < next->count; i++) {
            note(next->files[i], -1);
            file_release(next->files[i]);
        }
        free(next);
    }
    dropping = false;
}

/* ---- receiving ---- */

void rights_deliver(struct call *call, struct socket_message *message, struct rights *rights, bool keep)
{
    struct process *process = call_process(call);
    int fds[RIGHTS_MOST];
    unsigned count = 0;
    size_t room = message->control == NULL ? 0 : message->control_room - message->control_size;
    unsigned fit = room < CMSG_LEN(sizeof *fds) ? 0 : (unsigned)((room - CMSG_LEN(0)) / sizeof *fds);
    while (count < rights->count && count < fit) {
        file_reference(rights->files[count]);
        int fd = descriptor_add(process, rights->files[count], message->flags & MSG_CMSG_CLOEXEC, 0);
        if (fd < 0) {
            file_release(rights->files[count]);
            break;
        }
        fds[count++] = fd;
    }
    if (count < rights->count)
        message->flags_out |= MSG_CTRUNC;
    if (count > 0)
        socket_control_put(message, SOL_SOCKET, SCM_RIGHTS, fds, count * sizeof *fds);
    if (!keep)
        rights_drop(rights);
}

/* ---- what nobody can receive any more ---- */

static void mark(struct local *local, struct list *to_visit);

static void mark_waiting_in(const struct local *local, struct list *to_visit)
{
    LIST_EACH(&local->packets, at) {
        const struct rights *rights = LIST_ENTRY(at, struct packet, link)->rights;
        for (unsigned i = 0; rights != NULL && i < rights->count; i++)
            if (file_is_local(rights->files[i]))
                mark(local_of(rights->files[i]), to_visit);
    }
}

/* Marked sockets are moved to <to_visit>, and from there back to the list of all. */
static void mark(struct local *local, struct list *to_visit)
{
    if (local->marked || local->state == LOCAL_CLOSED)
        return;
    local->marked = true;
    list_remove(&local->link);
    list_append(to_visit, &local->link);
}

static void mark_reachable(void)
{
    struct list to_visit = { &to_visit, &to_visit }, visited = { &visited, &visited }, *link;
    LIST_EACH(&locals, at)
        LIST_ENTRY(at, struct local, link)->marked = false;
    LIST_EACH(&locals, at) {
        struct local *local = LIST_ENTRY(at, struct local, link);
        if (local->file != NULL && local->file->references > local->file->under_way)
            mark(local, &to_visit);
    }
    while ((link = list_take_first(&to_visit)) != NULL) {
        struct local *local = LIST_ENTRY(link, struct local, link);
        list_append(&visited, link);
        mark_waiting_in(local, &to_visit);
        LIST_EACH(&local->pending, at)
            mark(LIST_ENTRY(at, struct local, pending_link), &to_visit);
    }
    while ((link = list_take_first(&visited)) != NULL)
        list_append(&locals, link);
}

void rights_collect(void)
{
    static bool collecting;
    if (sockets_under_way == 0 || collecting)
        return;
    collecting = true;
    mark_reachable();
    struct list garbage = { &garbage, &garbage }, *link;
    LIST_EACH(&locals, at) {
        struct local *local = LIST_ENTRY(at, struct local, link);
        LIST_EACH(&local->packets, packet_at) {
            struct packet *packet = LIST_ENTRY(packet_at, struct packet, link);
            if (local->marked || packet->rights == NULL)
                continue;
            list_remove(&packet->rights->link);
            list_append(&garbage, &packet->rights->link);
            packet->rights = NULL;
        }
    }
    while ((link = list_take_first(&garbage)) != NULL)
        rights_drop(LIST_ENTRY(link, struct rights, link));
    collecting = false;
}
