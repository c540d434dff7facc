/* The actors that a site boots with: drivers, the servers, and what they are told.
 *
 * They find each other by static groups and ports, so their order matters little; a server that
 * needs another waits for it. */

#include "site_actors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <host/event.h>
#include <nucleus/kcall.h>
#include <nucleus/nucleus.h>
#include <protocol/site.h>

#include "places.h"
#include "site.h"

enum { ARGUMENTS_MOST = 32 };

struct boot_actor {
    const char *name;
    int priority;
    bool (*arguments)(const struct site_options *options, char **argv, unsigned room);
};

static bool unix_arguments(const struct site_options *options, char **argv, unsigned room);

static const struct boot_actor actors[] = {
    {"console", K_PRIO_DRIVER, NULL},
    {"disk", K_PRIO_DRIVER, NULL},
    {"om", K_PRIO_SERVER, NULL},
    {"dm", K_PRIO_SERVER, NULL},
    {"pm", K_PRIO_SERVER, unix_arguments},
};

static bool unix_arguments(const struct site_options *options, char **argv, unsigned room)
{
    (void)options, (void)argv, (void)room;
    return true;
}

/* The whole file, mapped; NULL with errno. */
static const void *map_file(const char *path, size_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct stat stat;
    void *image = MAP_FAILED;
    if (fstat(fd, &stat) == 0 && stat.st_size > 0)
        image = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (image == MAP_FAILED)
        return NULL;
    *ret_size = (size_t)stat.st_size;
    return image;
}

static bool start(const struct boot_actor *boot, const char *path, char *const *argv, char *const *envp)
{
    size_t size;
    const void *image = map_file(path, &size);
    if (image == NULL) {
        fprintf(stderr, "chorus: %s: %s\n", path, strerror(errno));
        return false;
    }
    struct loader_program program = {
        .name = boot->name, .image = image, .image_size = size, .argv = (const char *const *)argv, .envp = (const char *const *)envp,
        .privilege = K_SYSTEMACTOR, .priority = boot->priority};
    struct actor *actor;
    char why[256] = "";
    int status = loader_start(&program, &actor, why, sizeof why);
    munmap((void *)image, size);
    if (status != K_OK)
        fprintf(stderr, "chorus: the actor %s cannot be started: %s\n", boot->name, why[0] ? why : nucleus_error_words(status));
    return status == K_OK;
}

bool site_actors_start(const struct site_options *options)
{
    for (size_t i = 0; i < sizeof actors / sizeof *actors; i++) {
        char *path = place_of_actor(actors[i].name);
        if (path == NULL) {
            fprintf(stderr, "chorus: the actor %s is not there: %s\n", actors[i].name, strerror(errno));
            return false;
        }
        char *argv[ARGUMENTS_MOST] = {(char *)actors[i].name};
        bool started = (actors[i].arguments == NULL || actors[i].arguments(options, argv, ARGUMENTS_MOST)) &&
                       start(&actors[i], path, argv, NULL);
        free(path);
        if (!started)
            return false;
    }
    return true;
}

bool site_actors_ask_to_end(int status)
{
    uint8_t annex[K_CMSGANNEXSIZE] = {0};
    struct site_end_message message = {SITE_END, status};
    memcpy(annex, &message, sizeof message);
    KnUniqueId port = {(uint32_t)K_UISTATPORT << 27 | K_STAMP_PM, 0};
    return kcall_send(&port, annex, NULL, 0) == K_OK;
}
