/* Pseudo-terminals: a terminal whose keys and screen are a program, the master.
 *
 * A pty lives from the opening of its master until the last of master and slave files is closed.
 */
#ifndef DM_PTY_H
#define DM_PTY_H

#include "terminal.h"

#define PTYS_MAX 256

struct pty {
    struct terminal slave;      /* first */
    unsigned number;
    uint32_t uid, gid;          /* who opened the master: the owner of the node */
    bool locked;
    bool master_open;
    bool slave_was_open;        /* until then the end of the slave is not an end for the master */
    bool packet;                /* packet mode */
    unsigned packet_bits;       /* told by the next read of the master */
};

struct pty *pty_find(unsigned number);
/* The next of all ptys, NULL first; NULL: no more. */
struct pty *pty_next(struct pty *pty);
/* A file of the slave was opened or closed. */
void pty_slave_opened(struct pty *pty);
void pty_slave_closed(struct pty *pty);
void pty_end(void);

#endif
