/* `chorus screenshot`, `display` and `show`: what draws is in programs of its own (src/window), which are started here. */

#include "commands.h"
#include "places.h"
#include "site.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Become the program; argv is what it gets. */
static int become(const char *program, char **argv)
{
    size_t count = 0;
    char *path = place_of_program(program);
    if (path == NULL) {
        fprintf(stderr, "chorus %s: the program %s is not there: %s\n", argv[0], program, strerror(errno));
        return SITE_FAILED;
    }
    while (argv[count] != NULL)
        count++;
    char **words = calloc(count + 2, sizeof *words);
    if (words != NULL) {
        words[0] = path;
        memcpy(words + 1, argv, count * sizeof *argv);
        execv(path, words);
    }
    fprintf(stderr, "chorus %s: %s: %s\n", argv[0], path, strerror(errno));
    free(words);
    free(path);
    return SITE_FAILED;
}

int command_screenshot(char **argv)
{
    return become("chorus-picture", argv);
}

int command_display(char **argv)
{
    return become("chorus-window", argv);
}

int command_show(char **argv)
{
    bool picture = false;
    for (char **word = argv + 1; *word != NULL; word++)
        picture |= strncmp(*word, "--picture", strlen("--picture")) == 0;
    return become(picture ? "chorus-picture" : "chorus-window", argv);
}

bool window_start(char **argv)
{
    pid_t child = fork();
    if (child == 0) {
        /* A second time, so that the site never has to bury it; in a session of its own, so that keys of the terminal are the site's. */
        pid_t window = fork();
        if (window != 0)
            _exit(window < 0);
        setsid();
        int nothing = open("/dev/null", O_RDWR);
        if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
            _exit(SITE_FAILED);
        _exit(become("chorus-window", argv));
    }
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}
