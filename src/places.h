/* Places: where the program's own files are.
 *
 * A program that was not installed finds them beside itself in the build folder, an installed one
 * in LIBDIR/chorus; neither needs an environment variable or a path fixed at build time, so a
 * build or an installation may be moved as a whole. */

#ifndef CHORUS_PLACES_H
#define CHORUS_PLACES_H

/* Each returns a string to be freed, or NULL with errno set when the file is not there. */
char *place_of_actor(const char *name); /* "om": the boot actor's ELF file */
char *place_of_root_image(void);        /* the built-in root image */
char *place_of_tool(const char *name);  /* a script that is part of the program */

char *place_of_program(const char *name); /* a program that `chorus` starts */

#endif
