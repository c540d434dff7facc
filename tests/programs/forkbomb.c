/* Every process forks until that fails, and the errno must be EAGAIN (or ENOMEM). The children live
 * until the first process ends. forkbomb stay: all stay alive. */

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"

int main(int argc, char **argv)
{
    int stay = argc > 1 && strcmp(argv[1], "stay") == 0;
    long children = 0;
    pid_t child;
    setpgid(0, 0);
    while ((child = fork()) > 0)
        children++;
    if (child == 0) {
        while (fork() >= 0)
            continue; /* the children's children do the same */
        for (;;)
            pause();
    }
    EXPECT((errno == EAGAIN || errno == ENOMEM) && children > 0);
    printf("no more processes\n");
    fflush(stdout);
    if (stay)
        for (;;)
            pause();
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGKILL);
    return 0;
}
