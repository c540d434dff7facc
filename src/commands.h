/* Commands: the subcommands of `chorus`.
 *
 * Each takes its own argv, where argv[0] is the subcommand's name, and returns the program's exit
 * status. `chorus run` is in main.c; the others stand beside what they use. */

#ifndef CHORUS_COMMANDS_H
#define CHORUS_COMMANDS_H

#include <stdbool.h>

int command_ps(char **argv);    /* control_client.c */
int command_top(char **argv);
int command_stop(char **argv);
int command_load(char **argv); /* command_load.c */
int command_kill(char **argv);
int command_replace(char **argv);
int command_hub(char **argv);
int command_image(char **argv); /* image.c */

int command_screenshot(char **argv); /* command_window.c */
int command_display(char **argv);
int command_show(char **argv);

/* Start the program of a command that opens a window, beside us: it is nobody's child. False with errno: the host refuses. */
bool window_start(char **argv);

#endif
