/* `chorus image`: hand over to the script that makes images. */

#include "commands.h"
#include "places.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int command_image(char **argv)
{
    char *script = place_of_tool("make-image");
    if (script == NULL) {
        fprintf(stderr, "chorus image: its script make-image is missing: %s\n", strerror(errno));
        return 1;
    }
    execv(script, argv);
    fprintf(stderr, "chorus image: %s: %s\n", script, strerror(errno));
    free(script);
    return 1;
}
