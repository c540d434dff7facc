/* The screen of a running site, from outside: see site_screen.h. Nothing in its memory is believed: whatever it says, only what lies in it is read. */
#include "site_screen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../control_client.h"
#include "../control_folder.h"

#define LOOK_AGAIN 20   /* ms */
#define LOOKS_MOST 1000000

static bool memory_map(struct site_screen *screen, int descriptor)
{
    struct stat about;

    if (descriptor < 0 || fstat(descriptor, &about) != 0 || about.st_size < (off_t)SCREEN_PICTURES_AT)
        return false;
    void *share = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (share == MAP_FAILED)
        return false;
    screen->share = share;
    screen->size = (size_t)about.st_size;
    return screen->share->magic == SCREEN_MAGIC && screen->share->version == SCREEN_VERSION;
}

static bool ask(struct control_client *client, struct site_screen *screen, int theirs)
{
    char *text;
    int descriptor;
    int done = control_client_do_with(client, (const char *const[]){ "screen", NULL }, theirs, &text, &descriptor);
    bool good = done == 1 && memory_map(screen, descriptor);

    if (done != 1)
        fprintf(stderr, "%s: %s\n", client->command, done == 0 ? text : "the site gave no answer");
    else if (!good)
        fprintf(stderr, "%s: the site's screen is of another kind\n", client->command);
    if (descriptor >= 0)
        close(descriptor);
    free(text);
    return good;
}

/* Does a site of this name listen? Asked before the real connection, which complains. */
static bool site_listens(const char *name)
{
    char *folder = control_folder(false);
    int fd = folder != NULL ? control_connect(folder, name) : -1;

    free(folder);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

void site_await(const char *name, int patience)
{
    for (; name != NULL && patience > 0 && !site_listens(name); patience -= LOOK_AGAIN)
        usleep(LOOK_AGAIN * 1000);
}

bool site_screen_open(struct site_screen *screen, const char *command, const char *name, bool window, int patience)
{
    struct control_client client;
    int ends[2] = { -1, -1 };

    *screen = (struct site_screen){ .socket = -1 };
    site_await(name, patience);
    if (control_client_open(&client, command, name) != 0)
        return false;
    if (window && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        fprintf(stderr, "%s: %s\n", command, strerror(errno));
        control_client_close(&client);
        return false;
    }
    bool good = ask(&client, screen, ends[1]);
    control_client_close(&client);
    if (window)
        close(ends[1]);
    screen->socket = ends[0];
    if (!good)
        site_screen_close(screen);
    return good;
}

void site_screen_close(struct site_screen *screen)
{
    if (screen->socket >= 0)
        close(screen->socket);
    if (screen->share != NULL)
        munmap((void *)screen->share, screen->size);
    *screen = (struct site_screen){ .socket = -1 };
}

/* ---- the console ---- */

size_t site_screen_read(const struct site_screen *screen, uint64_t *at, void *bytes, size_t most, bool *ret_lost)
{
    const uint8_t *ring = (const uint8_t *)screen->share + SCREEN_CONSOLE_AT;
    uint64_t head = atomic_load_explicit(&screen->share->console_head, memory_order_acquire);

    *ret_lost = head - *at > SCREEN_CONSOLE_SIZE;
    if (*ret_lost)
        *at = head - SCREEN_CONSOLE_SIZE / 2;
    size_t length = head - *at < most ? (size_t)(head - *at) : most;
    for (size_t done = 0; done < length;) {
        size_t from = (*at + done) % SCREEN_CONSOLE_SIZE;
        size_t part = SCREEN_CONSOLE_SIZE - from < length - done ? SCREEN_CONSOLE_SIZE - from : length - done;
        memcpy((uint8_t *)bytes + done, ring + from, part);
        done += part;
    }
    head = atomic_load_explicit(&screen->share->console_head, memory_order_acquire);
    if (head - *at > SCREEN_CONSOLE_SIZE) {             /* it was written over while we read: again, from further on */
        return site_screen_read(screen, at, bytes, most, ret_lost);
    }
    *at += length;
    return length;
}

/* ---- the picture ---- */

bool site_screen_picture(const struct site_screen *screen, struct site_picture *picture)
{
    const struct screen_share *share = screen->share;
    uint32_t lock, on, width, height, stride, at;

    int looks = 0;
    do {
        while ((lock = atomic_load(&share->picture_lock)) & 1)
            if (++looks > LOOKS_MOST)
                return false;           /* the site died just then */
        on = share->picture_on;
        width = share->width;
        height = share->height;
        stride = share->stride;
        at = share->picture_at;
    } while (atomic_load(&share->picture_lock) != lock);
    if (!on || width == 0 || height == 0 || width > 8192 || height > 8192 || stride < width * 4 || at % 4 != 0 || stride % 4 != 0
        || at > screen->size || (uint64_t)stride * (height - 1) + width * 4 > screen->size - at)
        return false;
    *picture = (struct site_picture){ (const uint32_t *)((const uint8_t *)share + at), (int)width, (int)height, stride };
    return true;
}

struct box site_screen_damage(const struct site_screen *screen, const struct site_picture *picture, uint64_t *at)
{
    struct box all = { 0, 0, picture->width, picture->height }, box = { 0 };
    uint64_t head = atomic_load(&screen->share->damage_head), from = *at;

    *at = head;
    if (head - from >= SCREEN_DAMAGES)
        return all;
    for (; from < head; from++) {
        uint64_t word = atomic_load(&screen->share->damage[from % SCREEN_DAMAGES]);
        struct screen_rectangle part;
        memcpy(&part, &word, sizeof part);
        box = box_join(box, (struct box){ part.x, part.y, part.x + part.width, part.y + part.height });
    }
    if (atomic_load(&screen->share->damage_head) - (*at - 1) >= SCREEN_DAMAGES && *at > 0)
        return all;
    return (struct box){ box.left < all.right ? box.left : all.right, box.top < all.bottom ? box.top : all.bottom,
                         box.right < all.right ? box.right : all.right, box.bottom < all.bottom ? box.bottom : all.bottom };
}

/* ---- a window's messages ---- */

static size_t size_of(const struct screen_message *message)
{
    size_t head = offsetof(struct screen_message, bytes);

    switch (message->kind) {
    case SCREEN_TYPED: return head + message->count;
    case SCREEN_INPUT: return head + message->count * sizeof *message->events;
    case SCREEN_RESIZE: return head + 4;
    default: return head + sizeof message->number;
    }
}

bool site_screen_send(const struct site_screen *screen, const struct screen_message *message)
{
    ssize_t sent;

    do
        sent = send(screen->socket, message, size_of(message), MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent > 0;
}

bool site_screen_await(const struct site_screen *screen, uint64_t seen)
{
    return site_screen_send(screen, &(struct screen_message){ .kind = SCREEN_AWAIT, .number = seen });
}

bool site_screen_type(const struct site_screen *screen, const char *bytes, size_t length)
{
    struct screen_message message = { .kind = SCREEN_TYPED };

    for (size_t done = 0; done < length; done += message.count) {
        message.count = (uint32_t)(length - done < SCREEN_BYTES_MOST ? length - done : SCREEN_BYTES_MOST);
        memcpy(message.bytes, bytes + done, message.count);
        if (!site_screen_send(screen, &message))
            return false;
    }
    return true;
}
