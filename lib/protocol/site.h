/* Site protocol: what the program around the Nucleus asks of the Unix subsystem.
 *
 * One message, sent (ipcSend) by the Nucleus to the Process Manager's port, K_STAMP_PM: the person at the site, a signal to the program or `chorus stop` wants the
 * site to end. pm ends all processes, has the disk closed, and calls sysShutdown with the status. Any sender but the Nucleus (K_HEAD_NUCLEUS) is ignored.
 */
#ifndef PROTOCOL_SITE_H
#define PROTOCOL_SITE_H

#include <stdint.h>

#define SITE_END 0x100u /* within pm's own range of operations */

struct site_end_message {
    uint32_t operation; /* SITE_END */
    int32_t status;     /* the program's exit status */
};

#endif
