/* The commands of `chorus` that draw. They are in programs of their own, so that the site's is not linked with libraries for that: chorus-picture, which
 * writes files, and chorus-window, which alone has SDL. `chorus` starts them (src/command_window.c). */
#ifndef WINDOW_PROGRAMS_H
#define WINDOW_PROGRAMS_H

#define FONT_PIXELS 16          /* height of the console's letters */

/* Each takes its own argv, argv[0] being the command's name, and returns the exit status. */
int program_screenshot(char **argv);
int program_display(char **argv);
int program_show(char **argv);
int program_show_picture(char **argv);

#endif
