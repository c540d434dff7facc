/* Placement: which server of a site runs where.
 *
 * One file serves in both places (docs/placement.md). Which one is written as in
 *     all=supervisor,console=user,disk=user
 * A list changes what it names; of what is named twice the last counts. */

#ifndef CHORUS_PLACEMENT_H
#define CHORUS_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>

enum place {
    PLACE_USER,       /* a host process of its own */
    PLACE_SUPERVISOR, /* the Nucleus's process */
};

/* The servers that a site boots with, in the order of their start; net, screen and input only if there is something to drive, net and entropy when somebody asks. */
enum server { SERVER_CONSOLE, SERVER_DISK, SERVER_NET, SERVER_SCREEN, SERVER_INPUT, SERVER_ENTROPY, SERVER_OM, SERVER_DM, SERVER_SM, SERVER_PM, SERVER_SHARE, SERVERS };
extern const char *const server_names[SERVERS];

struct placement {
    enum place of[SERVERS];
};

/* "user" or "supervisor". */
bool placement_parse_place(const char *text, enum place *ret_place);
/* Take a list. False: *placement is as it was, and `problem` says what is wrong. */
bool placement_parse(const char *list, struct placement *placement, char *problem, size_t size);

#endif
