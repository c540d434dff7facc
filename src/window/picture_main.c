/* chorus-picture: the commands that draw into files. */
#include <stdio.h>
#include <string.h>

#include "programs.h"

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "screenshot") == 0)
        return program_screenshot(argv + 1);
    if (argc > 1 && strcmp(argv[1], "show") == 0)
        return program_show_picture(argv + 1);
    fprintf(stderr, "chorus-picture: is started by chorus\n");
    return 2;
}
