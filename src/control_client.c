/* The control socket, on the side of `chorus ps`, `top` and `stop`. */

#include "control_client.h"
#include "control_folder.h"
#include "options.h"
#include "snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
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
