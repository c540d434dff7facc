/* The screen of a site: see screen.h.
 *
 * Pictures are given room page by page from one area, whose pages are noted in a bit map; there are few of them.
 *
 * A window says what it has seen and asks to be told of more. It is told once, by a byte, and asks again when it has drawn that: so a window draws as often as
 * it can, the site sends at most one byte for each drawing, and nothing at all while nothing changes.
 */
#include "screen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define WINDOWS_MOST      4
#define MESSAGES_AT_ONCE  16
#define PAGE              4096u
#define PICTURE_PAGES     (SCREEN_PICTURES_SIZE / PAGE)

struct window {
    struct bus_watch watch;             /* first */
    struct screen *screen;
    int socket;                         /* -1: no window */
    bool awaits;                        /* a byte when something changes */
};

struct screen {
    struct screen_share *share;
    size_t size;
    int descriptor;                     /* for reading only */
    bool has_pictures;
    uint64_t taken[PICTURE_PAGES / 64];
    struct bus *bus;
    struct screen_listener listener;
    struct window window[WINDOWS_MOST];
};

/* ---- making ---- */

/* A descriptor of the memory that cannot be used for writing it. */
static int reader_of(int memory)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static bool memory_make(struct screen *screen)
{
    int memory = memfd_create("chorus-screen", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (memory < 0)
        return false;
    if (ftruncate(memory, (off_t)screen->size) == 0 && fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0) {
        void *share = mmap(NULL, screen->size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
        screen->share = share == MAP_FAILED ? NULL : share;
        screen->descriptor = reader_of(memory);
    }
    int error = errno;
    close(memory);
    errno = error;
    return screen->share != NULL && screen->descriptor >= 0;
}

struct screen *screen_create(struct bus *bus, bool with_pictures, const struct screen_listener *listener)
{
    struct screen *screen = calloc(1, sizeof *screen);

    if (screen == NULL)
        return NULL;
    screen->bus = bus;
    screen->listener = *listener;
    screen->descriptor = -1;
    screen->has_pictures = with_pictures;
    screen->size = with_pictures ? SCREEN_PICTURES_AT + SCREEN_PICTURES_SIZE : SCREEN_PICTURES_AT;
    for (unsigned i = 0; i < WINDOWS_MOST; i++)
        screen->window[i].socket = -1;
    if (!memory_make(screen)) {
        int error = errno;
        screen_destroy(screen);
        errno = error;
        return NULL;
    }
    screen->share->magic = SCREEN_MAGIC;
    screen->share->version = SCREEN_VERSION;
    return screen;
}

static void window_close(struct window *window)
{
    if (window->socket < 0)
        return;
    bus_watch_stop(&window->watch);
    close(window->socket);
    window->socket = -1;
    window->awaits = false;
}

void screen_destroy(struct screen *screen)
{
    if (screen == NULL)
        return;
    for (unsigned i = 0; i < WINDOWS_MOST; i++)
        window_close(&screen->window[i]);
    if (screen->share != NULL)
        munmap(screen->share, screen->size);
    if (screen->descriptor >= 0)
        close(screen->descriptor);
    free(screen);
}

struct screen_share *screen_share(struct screen *screen)
{
    return screen->share;
}

int screen_descriptor(const struct screen *screen)
{
    return screen->descriptor;
}

/* ---- telling windows ---- */

static void window_tell(struct window *window)
{
    uint8_t byte = 1;

    window->awaits = false;
    if (send(window->socket, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
        window_close(window);
}

static void changed(struct screen *screen)
{
    atomic_fetch_add_explicit(&screen->share->changes, 1, memory_order_release);
    for (unsigned i = 0; i < WINDOWS_MOST; i++)
        if (screen->window[i].socket >= 0 && screen->window[i].awaits)
            window_tell(&screen->window[i]);
}

/* ---- what windows say ---- */

static void typed(struct screen *screen, const struct screen_message *message)
{
    if (screen->listener.typed != NULL)
        screen->listener.typed(screen->listener.cookie, message->bytes, message->count);
}

static void input(struct screen *screen, const struct screen_message *message)
{
    for (uint32_t i = 0; i < message->count && screen->listener.input != NULL; i++)
        if (message->events[i].device < SCREEN_INPUTS)
            screen->listener.input(screen->listener.cookie, &message->events[i]);
}

/* False: it is no message. */
static bool message_do(struct window *window, const struct screen_message *message, size_t size)
{
    struct screen *screen = window->screen;
    size_t head = offsetof(struct screen_message, bytes);

    if (size < head)
        return false;
    switch (message->kind) {
    case SCREEN_AWAIT:
        if (size < head + sizeof message->number)
            return false;
        window->awaits = true;
        if (message->number != atomic_load(&screen->share->changes))
            window_tell(window);
        return true;
    case SCREEN_TYPED:
        if (message->count > SCREEN_BYTES_MOST || size != head + message->count)
            return false;
        typed(screen, message);
        return true;
    case SCREEN_RESIZE:
        if (size < head + 4 || message->columns == 0 || message->rows == 0)
            return false;
        if (screen->listener.resized != NULL)
            screen->listener.resized(screen->listener.cookie, message->columns, message->rows);
        return true;
    case SCREEN_INPUT:
        if (message->count > SCREEN_EVENTS_MOST || size != head + message->count * sizeof *message->events)
            return false;
        input(screen, message);
        return true;
    default:
        return false;
    }
}

static void window_ready(struct bus_watch *watch, uint32_t events)
{
    struct window *window = (struct window *)watch;
    struct screen_message message;

    (void)events;
    for (int i = 0; i < MESSAGES_AT_ONCE && window->socket >= 0; i++) {
        ssize_t size = recv(window->socket, &message, sizeof message, MSG_DONTWAIT);
        if (size < 0 && errno == EAGAIN)
            return;
        if (size <= 0 || !message_do(window, &message, (size_t)size))
            window_close(window);
    }
}

bool screen_attach(struct screen *screen, int socket)
{
    struct window *window = screen->window;

    while (window < screen->window + WINDOWS_MOST && window->socket >= 0)
        window++;
    if (window == screen->window + WINDOWS_MOST) {
        close(socket);
        errno = EMFILE;
        return false;
    }
    if (!bus_watch_start(screen->bus, &window->watch, socket, window_ready)) {
        int error = errno;
        close(socket);
        errno = error;
        return false;
    }
    window->screen = screen;
    window->socket = socket;
    bus_watch_set(&window->watch, EPOLLIN);
    return true;
}

unsigned screen_windows(const struct screen *screen)
{
    unsigned count = 0;

    for (unsigned i = 0; i < WINDOWS_MOST; i++)
        count += screen->window[i].socket >= 0;
    return count;
}

/* ---- the console ---- */

void screen_print(struct screen *screen, const void *bytes, size_t length)
{
    uint8_t *ring = (uint8_t *)screen->share + SCREEN_CONSOLE_AT;
    uint64_t head = atomic_load_explicit(&screen->share->console_head, memory_order_relaxed);

    for (size_t done = 0, part; done < length; done += part) {
        size_t at = (head + done) % SCREEN_CONSOLE_SIZE;
        part = SCREEN_CONSOLE_SIZE - at < length - done ? SCREEN_CONSOLE_SIZE - at : length - done;
        memcpy(ring + at, (const uint8_t *)bytes + done, part);
    }
    atomic_store_explicit(&screen->share->console_head, head + length, memory_order_release);
    if (length > 0)
        changed(screen);
}

void screen_console_size(struct screen *screen, uint16_t columns, uint16_t rows)
{
    screen->share->has_console = 1;
    atomic_store(&screen->share->columns, columns);
    atomic_store(&screen->share->rows, rows);
    changed(screen);
}

/* ---- pictures ---- */

static bool page_is_taken(const struct screen *screen, uint32_t page)
{
    return screen->taken[page / 64] >> (page % 64) & 1;
}

static void pages_mark(struct screen *screen, uint32_t first, uint32_t count, bool taken)
{
    for (uint32_t page = first; page < first + count; page++) {
        screen->taken[page / 64] &= ~(UINT64_C(1) << (page % 64));
        screen->taken[page / 64] |= (uint64_t)taken << (page % 64);
    }
}

static uint8_t *pictures(const struct screen *screen)
{
    return (uint8_t *)screen->share + SCREEN_PICTURES_AT;
}

void *screen_picture_allocate(struct screen *screen, uint32_t bytes)
{
    uint32_t count = bytes / PAGE + (bytes % PAGE != 0), run = 0;

    if (!screen->has_pictures || count == 0)
        return NULL;
    for (uint32_t page = 0; page < PICTURE_PAGES; page++) {
        run = page_is_taken(screen, page) ? 0 : run + 1;
        if (run < count)
            continue;
        pages_mark(screen, page + 1 - count, count, true);
        return pictures(screen) + (size_t)(page + 1 - count) * PAGE;
    }
    return NULL;
}

/* The host takes the pages back: so the next picture there is black, and memory is not held for nothing. */
void screen_picture_free(struct screen *screen, void *picture, uint32_t bytes)
{
    uint32_t count = bytes / PAGE + (bytes % PAGE != 0);

    if (madvise(picture, (size_t)count * PAGE, MADV_REMOVE) != 0)
        memset(picture, 0, (size_t)count * PAGE);
    pages_mark(screen, (uint32_t)((size_t)((uint8_t *)picture - pictures(screen)) / PAGE), count, false);
}

void screen_picture_show(struct screen *screen, const void *picture, uint32_t width, uint32_t height, uint32_t stride)
{
    struct screen_share *share = screen->share;

    atomic_fetch_add(&share->picture_lock, 1);
    share->picture_on = picture != NULL;
    share->width = width;
    share->height = height;
    share->stride = stride;
    share->picture_at = picture != NULL ? (uint32_t)((const uint8_t *)picture - (const uint8_t *)share) : 0;
    atomic_fetch_add(&share->picture_lock, 1);
    changed(screen);
}

void screen_damage(struct screen *screen, const struct screen_rectangle *rectangle)
{
    struct screen_share *share = screen->share;
    uint64_t head = atomic_load(&share->damage_head), word;

    memcpy(&word, rectangle, sizeof word);
    atomic_store(&share->damage[head % SCREEN_DAMAGES], word);
    atomic_store(&share->damage_head, head + 1);
    changed(screen);
}
