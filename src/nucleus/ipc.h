/* ipc.h: the parts of messages that other files of the Nucleus need. */
#ifndef NUCLEUS_IPC_H
#define NUCLEUS_IPC_H

#include "message.h"
#include "port.h"

/* Complete the ipcReceive that <receiver> waits in with this message, which is in the Nucleus.
 * False: something of it is not at hand; the receiver has to be started again to do it itself. */
bool ipc_complete_receive(struct thread *receiver, struct port *port, struct message *message);
/* The body of <message> to where <thread> wants it (thread->ipc). <waiter>: who waits if it must be waited, NULL nobody. */
int ipc_copy_out_body(struct thread *thread, struct thread *waiter, struct message *message);
/* Answer the current message of <thread>: the body as <desc> says, <annex> in the Nucleus's memory, NULL none. As ipcReply. */
int ipc_reply(struct thread *thread, const KnMsgDesc *desc, const uint8_t *annex);
/* <thread> will not take the message that it was woken for. */
void ipc_receiver_gone(struct thread *thread);

#endif
