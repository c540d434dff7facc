/* speed_actor.c: what calls cost here: figures for docs/placement.md, not a test. Wants the hello server beside it.
 *
 *     boot-actors supervisor hello user speed_actor[,CALLERS]
 */
#include <chorus.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <hello/hello.h>
#include <server/client.h>

#define ROUNDS 20000
#define RUNS 5

static KnIpcDest hello;

static void null_call(void)
{
    sysNull();
}

static void libc_call(void)
{
    syscall(SYS_getppid);
}

static void ask(void)
{
    struct hello_request request = { .operation = HELLO_COUNT };
    struct hello_reply reply;
    client_call(&hello, &request, sizeof request, &reply, sizeof reply, NULL, K_FOREVER);
}

static long measure(void (*call)(void))
{
    KnTime begin, end;
    sysTime(&begin);
    for (int i = 0; i < ROUNDS; i++)
        call();
    sysTime(&end);
    return (long)((end - begin) / ROUNDS);
}

static int compare(const void *a, const void *b)
{
    return *(const long *)a < *(const long *)b ? -1 : 1;
}

static void tell(const char *what, void (*call)(void))
{
    long each[RUNS];
    for (int i = 0; i < RUNS; i++)
        each[i] = measure(call);
    qsort(each, RUNS, sizeof *each, compare);
    printf("%-30s %6ld ns (%ld..%ld)\n", what, each[RUNS / 2], each[0], each[RUNS - 1]);
}

static void *caller(void *unused)
{
    for (int i = 0; i < ROUNDS; i++)
        ask();
    return unused;
}

static void tell_many(int callers)
{
    pthread_t threads[64];
    KnTime begin, end;
    sysTime(&begin);
    for (int i = 0; i < callers; i++)
        pthread_create(&threads[i], NULL, caller, NULL);
    for (int i = 0; i < callers; i++)
        pthread_join(threads[i], NULL);
    sysTime(&end);
    printf("%2d callers of hello at once      %6ld ns a call\n", callers, (long)((end - begin) / ROUNDS / callers));
}

int main(int argc, char **argv)
{
    struct hello_request request = { .operation = HELLO_COUNT };
    struct hello_reply reply;
    int callers = argc > 1 ? atoi(argv[1]) : 4;
    hello = client_group(K_STAMP_HELLO);
    tell("nucleus call", null_call);
    tell("libc's system call, reflected", libc_call);
    if (client_call_patiently(&hello, &request, sizeof request, &reply, sizeof reply, NULL, 1000000000) < 0)
        return 1;
    tell("call of hello and its reply", ask);
    tell_many(callers < 1 || callers > 64 ? 4 : callers);
    return 0;
}
