/* Commands of the control socket: `chorus load`, `kill` and `replace`, on the site's side. */

#ifndef CHORUS_SITE_COMMAND_H
#define CHORUS_SITE_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

struct actor;
struct control;
struct control_command;

/* Where answers go; NULL: there is no control socket. */
void site_command_start(struct control *control);
/* control's command_wanted: takes the command over. It is done by the Nucleus's thread, which the file does not keep waiting. */
void site_command(void *context, struct control_command *command);
/* The answer, once. */
void site_command_answer(uint64_t ticket, bool done, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
