/* fake_ipc.h: the nucleus calls that lib/server makes, by a script: messages that arrive, and notes of
 * what was done with them. */
#ifndef FAKE_IPC_H
#define FAKE_IPC_H

#include <chorus.h>
#include <dki/dki.h>
#include <stdbool.h>

/* A message that will be received. */
struct fake_message {
    int status; /* negative: receiving fails so, and there is no message */
    bool from_nucleus;
    bool sent; /* by ipcSend: nobody waits for an answer */
    bool to_default_port;
    bool trusted; /* its sender is a system actor: the one that it names as the successor */
    uint32_t annex[30];
    const char *body;
};
/* What became of one: the first word of its answer's annex and the answer's body. */
struct fake_answer {
    bool answered;
    bool later; /* by ipcRestore and ipcReply */
    int32_t status;
    char body[64];
};
#define FAKE_MESSAGES_MAX 8

struct fake {
    const struct fake_message *messages;
    unsigned count;
    unsigned next;   /* the next one to be received */
    int current;     /* index of the current message, -1 none */
    struct fake_answer answers[FAKE_MESSAGES_MAX];
    bool reply_fails; /* once */
    int port_status, enable_status, group_status;
    int migrate_status;
    unsigned ports_disabled, ports_enabled, ports_moved;
    bool deleted;
    unsigned ports_deleted, interrupts_done, saves, heads_asked;
    uint32_t group_joined; /* its stamp */
    char name[K_NAMEMAX];
    /* In a supervisor actor: message handlers. */
    int privilege;
    KnMsgHdl routine;
    void *port_cookie, *default_port_cookie;
    unsigned handlers_connected, handlers_disconnected;
    /* ipcCall: statuses to return, last one for ever; and the last request. */
    int call_status[4];
    unsigned calls;
    KnIpcDest called;
    KnTime time;
};
extern struct fake fake;
/* What actorPrivilege says in what follows. */
#ifndef FAKE_PRIVILEGE
#define FAKE_PRIVILEGE K_SYSTEMACTOR
#endif
/* Begin anew with this script; when it is at its end, receiving fails with K_EUNKNOWN. */
void fake_start(const struct fake_message *messages, unsigned count);

#endif
