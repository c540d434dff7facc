/* A call that no Linux has, three times. */

#include <unistd.h>

#include "program.h"

int main(void)
{
    for (int i = 0; i < 3; i++) {
        EXPECT(syscall(1999) == -1 && errno == ENOSYS);
        printf("%sENOSYS", i > 0 ? " " : "");
    }
    printf("\n");
    return 0;
}
