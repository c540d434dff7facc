/* Takes and touches memory until there is no more. It ends with ENOMEM, or is killed: both are
 * right, so the test looks at the site and not at this program. */

#include <sys/mman.h>

#include "program.h"
#include <unistd.h>

int main(void)
{
    size_t taken = 0, step = 1 << 20;
    for (;;) {
        char *more = mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (more == MAP_FAILED)
            break;
        memset(more, 1, step);
        taken += step;
    }
    EXPECT(errno == ENOMEM && taken > 0);
    printf("no more memory\n");
    return 0;
}
