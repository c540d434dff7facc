/* Looking at a site live: see show_look.h.
 *
 * Live is a little behind: so that of most messages both ends are known when they are drawn.
 */
#include "show_look.h"

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
#include "site_screen.h"

#define BEHIND 60000000         /* ns */
#define FADE   1000000000ull    /* ns of the looker's time that one who ended stays */
#define SLOWEST 1000000u

static int64_t host_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static bool memory_map(struct show_look *look, int descriptor)
{
    struct stat about;

    if (descriptor < 0 || fstat(descriptor, &about) != 0 || about.st_size < (off_t)sizeof *look->share)
        return false;
    void *share = mmap(NULL, sizeof *look->share, PROT_READ, MAP_SHARED, descriptor, 0);
    look->share = share == MAP_FAILED ? NULL : share;
    return look->share != NULL && look->share->magic == SHOW_MAGIC && look->share->version == SHOW_VERSION;
}

static bool ask(struct show_look *look, const char *command, const char *name, int theirs)
{
    struct control_client client;
    char *text;
    int descriptor;

    if (control_client_open(&client, command, name) != 0)
        return false;
    int done = control_client_do_with(&client, (const char *const[]){ "show", NULL }, theirs, &text, &descriptor);
    bool good = done == 1 && memory_map(look, descriptor);
    if (!good)
        fprintf(stderr, "%s: %s\n", command, done == 0 ? text : done < 0 ? "the site gave no answer" : "the site is of another kind");
    if (descriptor >= 0)
        close(descriptor);
    free(text);
    control_client_close(&client);
    return good;
}

bool show_look_open(struct show_look *look, const char *command, const char *name, int patience)
{
    int ends[2];

    *look = (struct show_look){ .socket = -1, .view.slower = 1 };
    site_await(name, patience);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        fprintf(stderr, "%s: %s\n", command, strerror(errno));
        return false;
    }
    look->socket = ends[0];
    bool good = ask(look, command, name, ends[1]);
    close(ends[1]);
    if (good && (look->record = show_record_create(look->share)) == NULL) {
        fprintf(stderr, "%s: no memory\n", command);
        good = false;
    }
    if (!good) {
        show_look_close(look);
        return false;
    }
    snprintf(look->view.site, sizeof look->view.site, "%s", name != NULL ? name : "");
    show_model_start(&look->model, look->record, look->share);
    look->clock = host_now();
    look->model.now = (uint64_t)look->clock - BEHIND;
    return true;
}

void show_look_close(struct show_look *look)
{
    show_view_free(&look->view);
    show_record_free(look->record);
    if (look->share != NULL)
        munmap((void *)look->share, sizeof *look->share);
    if (look->socket >= 0)
        close(look->socket);
    *look = (struct show_look){ .socket = -1 };
}

static uint64_t fade(const struct show_look *look)
{
    return FADE / look->view.slower;
}

void show_look_advance(struct show_look *look)
{
    int64_t now = host_now(), passed = now - look->clock;
    uint64_t moment = look->model.now + (uint64_t)passed / look->view.slower;

    look->clock = now;
    show_record_read(look->record);
    if (look->view.paused)
        return;
    if (look->view.slower == 1)
        moment = (uint64_t)(now - BEHIND);      /* the site tells the same clock */
    show_model_advance(&look->model, moment, fade(look));
}

void show_look_speed(struct show_look *look, bool slower)
{
    if (slower && look->view.slower < SLOWEST)
        look->view.slower *= 10;
    else if (!slower && look->view.slower > 1)
        look->view.slower /= 10;
}

void show_look_step(struct show_look *look)
{
    look->view.paused = true;
    show_record_read(look->record);
    show_model_step(&look->model, fade(look));
}

void show_look_pick_next(struct show_look *look)
{
    unsigned next = 0;

    for (unsigned i = 0; i < look->view.hits; i++)
        if (look->view.hit[i].actor == look->view.picked)
            next = i + 1;
    look->view.picked = next < look->view.hits ? look->view.hit[next].actor : 0;
}
