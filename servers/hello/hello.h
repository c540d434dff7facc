/* hello.h: the protocol of the hello server.
 *
 * Requests are ipcCalls to the static system group with stamp K_STAMP_HELLO (K_FUNCMODE). The annex is
 * the request; a name is the body. The reply's annex says how it went; a greeting is its body.
 */
#ifndef HELLO_HELLO_H
#define HELLO_HELLO_H

#include <stdint.h>

#define HELLO_NAME_MAX 64 /* bytes of a name */

enum hello_operation {
    HELLO_GREET = 0x8000, /* body: a name. -> body: "Hello, NAME!". K_EINVAL: no name, or too long */
    HELLO_COUNT,          /* -> number: how many were greeted */
    HELLO_WAIT,           /* number: a count. Answered when so many were greeted. The way to do a wait without bound: the
                           * request is saved, and no worker waits. K_EBUSY: somebody waits already */
    HELLO_STOP            /* the server ends */
};

struct hello_request {
    uint32_t operation; /* enum hello_operation */
    uint32_t number;
};

struct hello_reply {
    int32_t status; /* K_OK or a K_E error; K_ENOSYS: no such operation */
    uint32_t number;
};

#endif
