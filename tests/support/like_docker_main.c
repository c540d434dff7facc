/* like_docker COMMAND [ARG...]: run a command under a filter like Docker's. */

#include "like_docker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: like_docker COMMAND [ARG...]\n");
        return 2;
    }
    if (like_docker_install() != 0) {
        fprintf(stderr, "like_docker: no filter: %s\n", strerror(errno));
        return 125;
    }
    execvp(argv[1], argv + 1);
    fprintf(stderr, "like_docker: %s: %s\n", argv[1], strerror(errno));
    return errno == ENOENT ? 127 : 126;
}
