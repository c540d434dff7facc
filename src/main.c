/* The `chorus` program. */

#include <stdio.h>

int main(void)
{
    fprintf(stderr, "chorus: not built yet\n");
    return 1;
}
