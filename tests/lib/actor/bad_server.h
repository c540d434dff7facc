/* bad_server.h: what bad_server.c and its client agree on. */
#ifndef BAD_SERVER_H
#define BAD_SERVER_H

#include <chorus.h>

#define BAD_STAMP 0x7e57u

enum { BAD_CAPABILITY = 0x8000, BAD_HOLD, BAD_DO };
struct bad_request {
    uint32_t operation;
};
struct bad_reply {
    int32_t status;
    uint32_t deed_waits; /* it does not die of its deed: somebody has to kill it */
    KnCap self;
};

#endif
