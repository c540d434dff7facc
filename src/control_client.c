/* The control socket, on the side of `chorus ps`, `top` and `stop`. */

#include "control_client.h"
#include "control_folder.h"
#include "options.h"
#include "snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The sites that run, as a list of words. Stale sockets found on the way are cleared away. */
struct site_list {
    size_t count;
    char *only;  /* the first one found */
    char *names; /* all, separated by spaces */
};

static bool list_add(struct site_list *list, const char *name)
{
    char *names;
    if (asprintf(&names, "%s%s%s", list->count > 0 ? list->names : "", list->count > 0 ? " " : "",
                 name) < 0)
        return false;
    free(list->names);
    list->names = names;
    if (list->count++ == 0)
        list->only = strdup(name);
    return list->only != NULL;
}

static bool list_sites(const char *folder, struct site_list *list)
{
    int lock = control_lock(folder);
    DIR *entries = lock >= 0 ? opendir(folder) : NULL;
    bool good = entries != NULL;
    struct dirent *entry;
    while (good && (entry = readdir(entries)) != NULL)
        if (options_name_is_valid(entry->d_name) && control_is_alive_locked(folder, entry->d_name))
            good = list_add(list, entry->d_name);
    if (entries != NULL)
        closedir(entries);
    if (lock >= 0)
        close(lock);
    return good;
}

static int complain(const char *command, const char *text, const char *detail)
{
    fprintf(stderr, "%s: %s%s\n", command, text, detail);
    return -1;
}

static int connect_named(const char *command, const char *folder, const char *name)
{
    if (!options_name_is_valid(name))
        return complain(command, "no site can have the name ", name);
    int fd = control_connect(folder, name);
    if (fd < 0 && (errno == ENOENT || errno == ECONNREFUSED))
        return complain(command, "no running site has the name ", name);
    if (fd < 0)
        return complain(command, "cannot speak with the site: ", strerror(errno));
    return fd;
}

static int connect_only(const char *command, const char *folder)
{
    struct site_list list = { 0 };
    int fd = -1;
    if (!list_sites(folder, &list))
        complain(command, "cannot list the running sites: ", strerror(errno));
    else if (list.count == 0)
        complain(command, "no site is running", "");
    else if (list.count > 1)
        complain(command, "several sites are running; choose one by --name: ", list.names);
    else
        fd = connect_named(command, folder, list.only);
    free(list.only);
    free(list.names);
    return fd;
}

int control_client_open(struct control_client *client, const char *command, const char *name)
{
    *client = (struct control_client){ .command = command };
    char *folder = control_folder(false);
    if (folder == NULL && errno == ENOENT)
        return complain(command, "no site is running", "");
    if (folder == NULL)
        return complain(command, "the folder of control sockets is not usable: ",
                        strerror(errno));
    int fd = name != NULL ? connect_named(command, folder, name) : connect_only(command, folder);
    free(folder);
    if (fd < 0)
        return -1;
    if (!control_peer_is_owner(fd)) {
        close(fd);
        return complain(command, "the site belongs to another user", "");
    }
    client->stream = fdopen(fd, "r");
    if (client->stream == NULL) {
        close(fd);
        return complain(command, strerror(errno), "");
    }
    return 0;
}

void control_client_close(struct control_client *client)
{
    if (client->stream != NULL)
        fclose(client->stream);
    client->stream = NULL;
}

struct site_snapshot *control_client_snapshot(struct control_client *client)
{
    if (write(fileno(client->stream), "ps\n", 3) != 3)
        return NULL;
    return snapshot_read(client->stream);
}

/* As send or recv, with room for a descriptor: one goes along if `passed` is not -1; one that came is in *passed. */
static ssize_t move_passing(int fd, void *bytes, size_t size, bool sends, int *passed)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } rights = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
    struct iovec piece = { bytes, size };
    struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights };
    if (sends) {
        memcpy(CMSG_DATA(&rights.head), passed, sizeof *passed);
        if (*passed < 0)
            message.msg_controllen = 0;
        return sendmsg(fd, &message, MSG_NOSIGNAL);
    }
    ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *head = got >= 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (head != NULL && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(passed, CMSG_DATA(head), sizeof *passed);
    return got;
}

static bool write_all(int fd, const char *text, size_t size, int passes)
{
    while (size > 0) {
        ssize_t sent = move_passing(fd, (void *)text, size, true, &passes);
        if (sent > 0)
            passes = -1;
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        text += sent;
        size -= (size_t)sent;
    }
    return true;
}

static bool send_command(int fd, const char *const *words, int passes)
{
    char *text = NULL;
    size_t length = 0, total = 0;
    for (const char *const *word = words; *word != NULL; word++)
        total += strlen(*word) + 1;
    FILE *memory = open_memstream(&text, &length);
    if (memory == NULL)
        return false;
    fprintf(memory, "do %zu\n", total);
    for (const char *const *word = words; *word != NULL; word++)
        fwrite(*word, 1, strlen(*word) + 1, memory);
    bool good = fclose(memory) == 0 && write_all(fd, text, length, passes);
    free(text);
    return good;
}

/* A line, to be freed; NULL: none came. Byte by byte: what comes along comes with the first one, and nothing else follows. */
static char *receive_line(int fd, int *ret_descriptor)
{
    char *text = NULL, byte = 0;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);
    while (memory != NULL && byte != '\n') {
        ssize_t got = move_passing(fd, &byte, 1, false, ret_descriptor);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        fputc(byte, memory);
    }
    if (memory == NULL || fclose(memory) != 0 || byte != '\n') {
        free(text);
        return NULL;
    }
    return text;
}

int control_client_do_with(struct control_client *client, const char *const *words, int passes, char **ret_text, int *ret_descriptor)
{
    *ret_text = NULL;
    *ret_descriptor = -1;
    int fd = fileno(client->stream);
    char *line = send_command(fd, words, passes) ? receive_line(fd, ret_descriptor) : NULL;
    bool done = line != NULL && strncmp(line, "done ", 5) == 0;
    bool failed = line != NULL && strncmp(line, "failed ", 7) == 0;
    if (done || failed) {
        line[strlen(line) - 1] = '\0';
        *ret_text = strdup(line + (done ? 5 : 7));
    }
    free(line);
    return *ret_text == NULL ? -1 : done;
}

int control_client_do(struct control_client *client, const char *const *words, char **ret_text)
{
    int descriptor;
    int done = control_client_do_with(client, words, -1, ret_text, &descriptor);
    if (descriptor >= 0)
        close(descriptor);
    return done;
}
