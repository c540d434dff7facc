/* A window with pixels of ours in it: see frame.h. The window's own surface is drawn on, so that the X server is sent what changed and no more. */
#include "frame.h"

#include <SDL_syswm.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#define LOOK_SELDOM 1000        /* ms */
#define LOOK_OFTEN  10

static int connection_of(SDL_Window *window);

bool frame_open(struct frame *frame, const char *command, const char *title, int width, int height, bool resizable)
{
    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
    SDL_SetHint(SDL_HINT_FRAMEBUFFER_ACCELERATION, "0");
    SDL_SetHint(SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "0");
    if (SDL_Init(SDL_INIT_VIDEO) != 0) {
        fprintf(stderr, "%s: no window can be opened: %s\n", command, SDL_GetError());
        return false;
    }
    frame->news = SDL_RegisterEvents(1);
    frame->window = SDL_CreateWindow(title, SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, width, height,
                                     resizable ? SDL_WINDOW_RESIZABLE : 0);
    if (frame->window == NULL || SDL_GetWindowSurface(frame->window) == NULL) {
        fprintf(stderr, "%s: no window can be opened: %s\n", command, SDL_GetError());
        frame_close(frame);
        return false;
    }
    frame->connection = connection_of(frame->window);
    return true;
}

void frame_close(struct frame *frame)
{
    if (frame->window != NULL)
        SDL_DestroyWindow(frame->window);
    frame->window = NULL;
    SDL_Quit();
}

void frame_size(const struct frame *frame, int *ret_width, int *ret_height)
{
    SDL_GetWindowSize(frame->window, ret_width, ret_height);
}

static SDL_Surface *surface_of(const uint32_t *pixels, int width, int height, size_t stride)
{
    return SDL_CreateRGBSurfaceWithFormatFrom((void *)pixels, width, height, 32, (int)stride, SDL_PIXELFORMAT_RGB888);
}

static void update(struct frame *frame, SDL_Rect rect)
{
    SDL_Surface *to = SDL_GetWindowSurface(frame->window);
    SDL_Rect all = { 0, 0, to != NULL ? to->w : 0, to != NULL ? to->h : 0 }, part;

    if (SDL_IntersectRect(&rect, &all, &part))
        SDL_UpdateWindowSurfaceRects(frame->window, &part, 1);
}

void frame_show(struct frame *frame, const uint32_t *pixels, int width, int height, size_t stride, struct box part, int x, int y)
{
    SDL_Surface *from = surface_of(pixels, width, height, stride), *to = SDL_GetWindowSurface(frame->window);
    SDL_Rect source = { part.left, part.top, part.right - part.left, part.bottom - part.top };
    SDL_Rect target = { x + part.left, y + part.top, source.w, source.h };

    if (from != NULL && to != NULL && source.w > 0 && source.h > 0) {
        SDL_Rect copy = target;
        SDL_BlitSurface(from, &source, to, &copy);
        update(frame, target);
    }
    SDL_FreeSurface(from);
}

void frame_show_scaled(struct frame *frame, const uint32_t *pixels, int width, int height, size_t stride, struct box box)
{
    SDL_Surface *from = surface_of(pixels, width, height, stride), *to = SDL_GetWindowSurface(frame->window);
    SDL_Rect target = { box.left, box.top, box.right - box.left, box.bottom - box.top };

    if (from != NULL && to != NULL) {
        SDL_Rect copy = target;
        SDL_BlitScaled(from, NULL, to, &copy);
        update(frame, target);
    }
    SDL_FreeSurface(from);
}

void frame_fill(struct frame *frame, uint32_t colour)
{
    SDL_Surface *to = SDL_GetWindowSurface(frame->window);

    if (to == NULL)
        return;
    SDL_FillRect(to, NULL, SDL_MapRGB(to->format, (Uint8)(colour >> 16), (Uint8)(colour >> 8), (Uint8)colour));
    SDL_UpdateWindowSurface(frame->window);
}

/* ---- waiting ---- */

/* Two descriptors are waited for, the window's and the site's, so that no second thread has to wake SDL. */
static int connection_of(SDL_Window *window)
{
    SDL_SysWMinfo info;

    SDL_VERSION(&info.version);
    if (!SDL_GetWindowWMInfo(window, &info) || info.subsystem != SDL_SYSWM_X11)
        return -1;
    return ConnectionNumber(info.info.x11.display);
}

/* True: it has brought something. */
static bool socket_take(struct frame *frame, int socket, SDL_Event *event)
{
    char bytes[64];
    ssize_t got = recv(socket, bytes, sizeof bytes, MSG_DONTWAIT);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    event->type = got > 0 ? frame->news : SDL_QUIT;
    return true;
}

void frame_wait(struct frame *frame, int socket, int most, SDL_Event *event)
{
    Uint32 begin = SDL_GetTicks();

    for (;;) {
        if (SDL_PollEvent(event))
            return;
        *event = (SDL_Event){ 0 };
        if (socket >= 0 && socket_take(frame, socket, event))
            return;
        int pause = frame->connection >= 0 ? LOOK_SELDOM : LOOK_OFTEN, passed = (int)(SDL_GetTicks() - begin);
        if (most >= 0 && passed >= most)
            return;
        if (most >= 0 && most - passed < pause)
            pause = most - passed;
        struct pollfd wait[] = { { .fd = frame->connection, .events = POLLIN }, { .fd = socket, .events = POLLIN } };
        poll(wait, 2, pause);
    }
}
