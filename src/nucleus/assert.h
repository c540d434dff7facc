/* assert.h: what the Nucleus relies on. A broken assumption ends the site at once, with its place:
 * nothing that runs on afterwards could be trusted. Never used on anything that an actor says. */
#ifndef NUCLEUS_ASSERT_H
#define NUCLEUS_ASSERT_H

#include <host/event.h>

#define ASSERT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            host_panic("%s:%d: %s: not so: %s", __FILE__, __LINE__, __func__, #condition);         \
    } while (0)

#endif
