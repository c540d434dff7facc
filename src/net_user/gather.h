/* gather: what libslirp writes to the host's sockets, a call for each segment, is sent together.
 *
 * Between gather_begin and gather_end streams keep what they are given (MSG_MORE), as far as the host finds nothing better; at the end they are pushed. gather.c takes
 * the place of libc's send, which libslirp calls for streams.
 */
#ifndef NET_USER_GATHER_H
#define NET_USER_GATHER_H

void gather_begin(void);
void gather_end(void);

#endif
