/* supervisor_actors.h: code of small actors, to be copied into a supervisor space. Each function is the entry of a thread; its argument is a
 * struct actor_page that only it and the test see. */
#ifndef SUPERVISOR_ACTORS_H
#define SUPERVISOR_ACTORS_H

#include <stdint.h>

struct actor_page {
    uint64_t gate;
    volatile uint64_t value[8];
};

typedef void actor_code(struct actor_page *page);
#define ACTOR __attribute__((section("actors"), noinline, used))
extern const char __start_actors[], __stop_actors[];

actor_code actor_adds;       /* for ever: call 100 with (1..6); value[0] += result */
actor_code actor_traps;      /* system call 39 with (11..16); value[0] = result; call 101 */
actor_code actor_computes;   /* value[0] = a long computation of numbers of both kinds, value[1] rounds; call 101 */
actor_code actor_touches;    /* value[1] = what is at value[0]; writes there; call 101 */
actor_code actor_divides;    /* by zero */
actor_code actor_is_illegal;
actor_code actor_loops;      /* for ever: value[0]++ */
actor_code actor_reads_fs;   /* value[0] = the word at fs:0; call 101; again after that */

#endif
