/* gate: enters the Nucleus by its gate, as no Unix program does, with every call number there is. A process may do what pm does for
 * it, and nothing else: each must be refused. On the host there is no gate, and this dies. */

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "program.h"

enum { CALLS = 200, REFUSED = -5, NO_SUCH_CALL = -17 }; /* K_EPRIV, K_ENOSYS */

static int enter(unsigned number, void *argument)
{
    unsigned long result = number;
    register long r8 __asm__("r8") = 0;
    register long r9 __asm__("r9") = 0;
    __asm__ volatile("sub $256, %%rsp\n\tcall *%[gate]\n\tadd $256, %%rsp" /* the red zone */
                     : "+a"(result), "+r"(r8), "+r"(r9)
                     : [gate] "r"(0x10000ul), "D"(0), "S"(argument), "d"(0), "c"(0)
                     : "r10", "r11", "memory", "cc");
    return (int)result;
}

int main(void)
{
    int refused = 0;
    char *argument = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(argument != MAP_FAILED);
    for (unsigned number = 0; number < CALLS; number++) {
        int status = enter(number, argument);
        if (status == REFUSED)
            refused++;
        else if (status != NO_SUCH_CALL) {
            printf("nucleus call %u returned %d\n", number, status);
            return 1;
        }
    }
    EXPECT(refused > 100);
    printf("the gate is closed\n");
    return 0;
}
