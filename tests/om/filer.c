/* filer: an actor that keeps om busy, repeats nothing, and counts: tests/system/replace_test.py.
 *
 *     filer THREADS MILLISECONDS
 *
 * Nothing that it asks for can be done twice: a file is made exclusively, linked, renamed and removed, a directory made and removed,
 * each exactly once. So a request that was served twice is an error of the second, one that was lost of the next. om counts, too.
 */
#include <protocol/file.h>
#include <server/client.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static KnIpcDest om;
static KnTime end;
static atomic_uint requests, failures;
static atomic_int worst_us;

static KnTime now(void)
{
    KnTime time;
    sysTime(&time);
    return time;
}

/* One request of <operation> on names of the root directory; <key> of the reply's node. */
static void ask(const struct file_request *request, const char *path, const char *second, int wanted, struct file_reply *reply)
{
    char names[64];
    struct file_request whole = *request;
    whole.path_length = (uint16_t)snprintf(names, sizeof names, "%s%s", path, second);
    whole.second_length = (uint16_t)strlen(second);
    whole.path_length = (uint16_t)(whole.path_length - whole.second_length);
    struct client_data bodies = { .out = names, .out_size = whole.path_length + whole.second_length };
    KnTime began = now();
    int size = client_call(&om, &whole, sizeof whole, reply, sizeof *reply, &bodies, K_FOREVER);
    int us = (int)((now() - began) / 1000), worst = atomic_load(&worst_us);
    while (us > worst && !atomic_compare_exchange_weak(&worst_us, &worst, us))
        ;
    atomic_fetch_add(&requests, 1);
    if ((size < 0 || reply->error != wanted) && atomic_fetch_add(&failures, 1) < 10)
        printf("filer: operation %x of %s: %d, error %d\n", request->operation, path, size, reply->error);
}

static void one_round(unsigned long thread, unsigned long round)
{
    struct file_reply reply = { 0 };
    char name[24], other[24], third[24];
    snprintf(name, sizeof name, "a%lu.%lu", thread, round);
    snprintf(other, sizeof other, "b%lu.%lu", thread, round);
    snprintf(third, sizeof third, "c%lu.%lu", thread, round);
    ask(&(struct file_request){ .operation = FILE_MKDIR, .mknod.mode = 0755 }, third, "", 0, &reply);
    ask(&(struct file_request){ .operation = FILE_CREATE, .open = { FILE_O_WRITE | FILE_O_EXCLUSIVE, 0644 } }, name, "", 0, &reply);
    uint64_t key = reply.attributes.key;
    ask(&(struct file_request){ .operation = FILE_LINK }, name, other, 0, &reply);
    ask(&(struct file_request){ .operation = FILE_UNLINK }, name, "", 0, &reply);
    ask(&(struct file_request){ .operation = FILE_RENAME }, other, name, 0, &reply);
    ask(&(struct file_request){ .operation = FILE_UNLINK }, name, "", 0, &reply);
    ask(&(struct file_request){ .operation = FILE_GETATTR, .key = key }, "", "", 0, &reply); /* it has no name, and is held */
    ask(&(struct file_request){ .operation = FILE_CLOSE, .key = key, .open.access = FILE_O_WRITE }, "", "", 0, &reply);
    ask(&(struct file_request){ .operation = FILE_GETATTR, .key = key }, "", "", -116 /* ESTALE */, &reply);
    ask(&(struct file_request){ .operation = FILE_RMDIR }, third, "", 0, &reply);
}

static void *file(void *thread)
{
    for (unsigned long round = 0; now() < end; round++)
        one_round((unsigned long)(uintptr_t)thread, round);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[32];
    int count = argc > 1 ? atoi(argv[1]) : 4;
    om = client_group(FILE_GROUP_STAMP);
    end = now() + (argc > 2 ? atoll(argv[2]) : 1000) * 1000000;
    for (int i = 0; i < count && i < 32; i++)
        if (pthread_create(&threads[i], NULL, file, (void *)(uintptr_t)i) != 0)
            return 1;
    for (int i = 0; i < count && i < 32; i++)
        pthread_join(threads[i], NULL);
    printf("filer: %u requests, %u failures, the longest took %d us\n", requests, failures, worst_us);
    return failures != 0;
}
