/* The control socket, on the side of `chorus ps`, `top` and `stop`: find the site, ask it. */

#ifndef CHORUS_CONTROL_CLIENT_H
#define CHORUS_CONTROL_CLIENT_H

#include <stdbool.h>
#include <stdio.h>

struct site_snapshot;

struct control_client {
    const char *command; /* for messages: "chorus ps" */
    FILE *stream;        /* the connection */
};

/* Connect to the site of this name, or if name is NULL to the only one there is. Returns 0, or -1
 * having said why not (none runs, several run, none of this name). */
int control_client_open(struct control_client *client, const char *command, const char *name);
void control_client_close(struct control_client *client);

/* NULL when the site has gone or answers nonsense; says nothing. */
struct site_snapshot *control_client_snapshot(struct control_client *client);

/* Have a command done, and wait for that; words[0] is its name, and it ends with NULL. Returns 1 when it was done, 0 when it failed, with
 * a line of text to be freed in *ret_text; -1 when there is no answer. */
int control_client_do(struct control_client *client, const char *const *words, char **ret_text);

/* The same; `passes` goes along (-1: nothing does), and what comes back along with the answer is in *ret_descriptor, -1 if nothing did. */
int control_client_do_with(struct control_client *client, const char *const *words, int passes, char **ret_text, int *ret_descriptor);

#endif
