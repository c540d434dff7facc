/* fake_nucleus.h: a Nucleus for tests of pm: actors with memory, threads with registers, messages, a clock that
 * stands still. Behind it are om's own core on a tmpfs, and a terminal that the test plays.
 *
 * A test makes programs' calls by hand and looks at what becomes of them:
 *
 *     struct program shell = fake_boot();
 *     cr_assert_eq(fake_call(&shell, SYS_getpid), shell.pid);
 */
#ifndef FAKE_NUCLEUS_H
#define FAKE_NUCLEUS_H

#include <sys/syscall.h>

#include "pm.h"

/* Where each program has memory of its own to play with. */
#define PLAY 0x10000000ull
#define PLAY_SIZE 0x100000ull

struct program {
    uint64_t cookie; /* of its thread */
    pid_t pid;
};

enum fake_where { FAKE_RUNS, FAKE_WAITS, FAKE_DOES_CALL, FAKE_GONE };

/* Start pm with an empty root, and a first program that has no file: a thread with memory. */
struct program fake_boot(void);
void fake_end(void);

/* One call of a program; K_DO_CALLs are done at once. Its result, or FAKE_BLOCKED when it waits. */
#define FAKE_BLOCKED INT64_MAX
int64_t fake_call6(struct program *program, long number, const uint64_t arguments[6]);
#define fake_call(program, number, ...) \
    fake_call6(program, number, (const uint64_t[6]){ __VA_ARGS__ })
/* What became of a program that waited: its result if it runs again. */
enum fake_where fake_where(const struct program *program);
int64_t fake_result(const struct program *program);
/* A forked child, which returns from its fork with 0: the newest thread. */
struct program fake_newest(void);
/* Something other than a call. */
void fake_trap(struct program *program, uint32_t kind, uint64_t address, int status);

/* Memory of a program. */
void fake_put(const struct program *program, uint64_t at, const void *data, size_t size);
void fake_get(const struct program *program, uint64_t at, void *data, size_t size);
uint64_t fake_put_string(const struct program *program, uint64_t at, const char *text);
KnThreadCtx *fake_registers(const struct program *program);

/* Time passes: timers fire. */
void fake_pass(KnTime time);
/* The person types; what the program wrote on the terminal. */
void fake_type(const char *text);
extern char fake_screen[65536];
extern size_t fake_screen_size;
extern int fake_foreground; /* process group; 0: all are in front */
extern int fake_shutdowns, fake_shutdown_status;
/* How many requests om has served; how often files were opened and not closed yet. It stops telling of changes, as one that is
 * replaced. */
extern unsigned fake_om_requests, fake_om_open;
void fake_om_leases_end(void);
/* How many actors, threads and saved messages there are. */
unsigned fake_actors(void), fake_threads(void), fake_saved(void);
/* The words of the log since the last look. */
const char *fake_log(void);
/* Put a file into the root, from the host's memory. */
void fake_file(const char *path, const void *data, size_t size, uint32_t mode);

#endif
