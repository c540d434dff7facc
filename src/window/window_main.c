/* chorus-window: the commands that open windows. */
#include <stdio.h>
#include <string.h>

#include "programs.h"

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "display") == 0)
        return program_display(argv + 1);
    if (argc > 1 && strcmp(argv[1], "show") == 0)
        return program_show(argv + 1);
    fprintf(stderr, "chorus-window: is started by chorus\n");
    return 2;
}
