/* call.h: Linux calls: the table, the dispatcher, and what handlers use. */
#ifndef PM_CALL_H
#define PM_CALL_H

#include "pm.h"
#include "waiting.h"

#define LINUX_CALLS 512
extern const struct linux_call linux_calls[LINUX_CALLS]; /* name NULL: no such number */

/* Every handler of the table. */
#define HANDLED(name) linux_handler linux_##name;
#define ABSENT(name)
#define LINUX_CALL(number, name, state, handler, arguments, missing) handler(name)
#include "linux_calls.def"
#undef LINUX_CALL
#undef HANDLED
#undef ABSENT

static inline struct thread *call_thread(struct call *call)
{
    return LIST_ENTRY(call, struct thread, call);
}

static inline struct process *call_process(struct call *call)
{
    return call_thread(call)->process;
}

/* A new call from a trap's message. */
void call_begin(struct call *call, const KnTrapMsg *trap);
/* Run it, the first time or again. What its handler returns; -ENOSYS is reported. */
int64_t call_run(struct call *call);
/* It has a result, or is given up: it leaves its queues, and what it held is let go. */
void call_end(struct call *call);

/* When a waiting call is run again at the latest. Set by the first run; later ones keep it. A time that
 * is too far is never. */
void call_deadline(struct call *call, KnTime when);
void call_deadline_after(struct call *call, KnTime delay);

/* Have the Nucleus do its call <number> as the thread: CALL_REPLIED. <resume> gets a negative result, or
 * with <report> any. Structures for the call go into the reply's body: call_do_body returns what stands
 * for the structure among the arguments. */
uint64_t call_do_body(struct call *call, const void *structure, size_t size);
int64_t call_do(struct call *call, unsigned number, const uint64_t *arguments, unsigned count,
                bool report, int64_t (*resume)(struct call *call, int64_t result));

/* The numbers of the Nucleus's calls. */
enum {
#define KN_CALL(number, name, wait, who, remote, arguments, words) DO_##name = number,
#include <calls.def>
#undef KN_CALL
};

#endif
