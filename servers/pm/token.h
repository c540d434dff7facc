/* token.h: waits for servers that never wait themselves (lib/protocol/tty.h, socket.h). Each has a number; when the server sends it back
 * the call is run again. */
#ifndef PM_TOKEN_H
#define PM_TOKEN_H

#include "pm.h"

enum token_server { TOKEN_OF_DM, TOKEN_OF_SM };

/* 0: no memory. */
uint64_t token_new(struct call *call, enum token_server server);
/* It was not needed. */
void token_drop(uint64_t number);
/* The server has sent it; unknown ones are ignored. */
void token_came(uint64_t number);
/* The call no longer waits for any. */
void token_forget(struct call *call);
/* The server is gone: all that wait for it look again. */
void token_server_gone(enum token_server server);

#endif
