/* bounds.h: what others can make us keep has a bound. */
#ifndef SM_BOUNDS_H
#define SM_BOUNDS_H

#include "socket.h"

struct tcp_pcb_listen;

/* A SYN has come for this listener, just now: is it to be answered? */
bool bounds_let_in(const struct tcp_pcb_listen *listener);
/* Each tick of TCP: let go of what is too much. */
void bounds_keep(void);

/* A connection is made. */
void bounds_begin(struct sock *sock);
/* So much was read, or acknowledged: the room grows. The first returns by how much. */
uint32_t bounds_read(struct sock *sock, size_t size);
void bounds_sent(struct sock *sock, size_t size);
/* So much may be sent now. */
uint32_t bounds_send_room(const struct sock *sock);
/* A connection is closed by its program. */
void bounds_end(struct sock *sock);

#endif
