/* Jumps to random addresses, each in a child, which must die of it or come back; its parent goes on.
 * The addresses are all over the space and often near the low pages that are not the actor's. */

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"

enum { JUMPS = 300 };

static unsigned long somewhere(unsigned long *state)
{
    unsigned long random = next_random(state);
    switch (random % 4) {
    case 0: return 0x10000 + (random >> 8) % 0x10000;
    case 1: return random & 0x7fffffffffff;
    case 2: return (unsigned long)&somewhere + (random >> 8) % 4096;
    default: return random;
    }
}

int main(void)
{
    unsigned long state = 88172645463325252ul;
    for (int i = 0; i < JUMPS; i++) {
        unsigned long target = somewhere(&state);
        int status;
        pid_t child = fork();
        EXPECT(child >= 0);
        if (child == 0) {
            alarm(1);
            close(1);
            ((void (*)(void))target)();
            _exit(0);
        }
        EXPECT(waitpid(child, &status, 0) == child);
    }
    printf("the parent lives\n");
    return 0;
}
