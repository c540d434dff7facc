/* host.h: a little host for one actor: not a Nucleus, but what libchorus needs of one. */
#ifndef ACTOR_HOST_H
#define ACTOR_HOST_H

#include <chorus.h>
#include <stdbool.h>

enum call_number {
#define KN_CALL(number, name, ...) CALL_##name = number,
#include <calls.def>
#undef KN_CALL
};

/* One thread of the actor, on a host thread of its own. The gs base points to it while it runs;
 * switch.S knows the first fields. */
struct host_thread {
    uint64_t actor_rsp, actor_fs; /* while it is in the host */
    uint64_t host_fs, host_rsp;   /* while it is in the actor */
    KnThreadLid li;
    KnThreadStart start;
};

/* Where actors are: everything else may make system calls. */
#define ACTOR_AREA 0x10000000000ull
#define ACTOR_AREA_END 0x20000000000ull

/* switch.S */
void actor_gate(void);
void actor_sigsys(int signal, void *info, void *context);
void actor_enter(struct host_thread *thread) __attribute__((noreturn));

/* host.c: called by switch.S with the host's fs base. */
int64_t host_call(unsigned number, const uint64_t arg[6]);
void host_sigsys(int signal, void *info, void *context);

/* load.c: load a static-PIE file and build its first stack; what enters it goes to *start. */
bool actor_load(const char *path, uint64_t gate, KnThreadStart *start);
/* An unused range of the actor area. */
uint64_t actor_area_take(uint64_t size);

#endif
