/* Waiting on words of actors' memory: see <sync/chSync.h>. Waiters are found by the key of the
 * word, which is the same for all mappings of the same memory, in a fixed number of buckets, each a
 * wait queue. */
#include <chorus.h>
#include <string.h>
#include "actor.h"
#include "call.h"
#include "nucleus.h"
#include "vm.h"

#define BUCKETS 1024u

static struct wait_queue buckets[BUCKETS];
static bool buckets_ready;

static struct wait_queue *bucket_of(const uint64_t key[2])
{
    if (!buckets_ready) {
        for (unsigned i = 0; i < BUCKETS; i++)
            wait_queue_init(&buckets[i]);
        buckets_ready = true;
    }
    uint64_t mixed = (key[0] ^ key[1] * 0x9e3779b97f4a7c15u) * 0xc2b2ae3d27d4eb4fu;
    return &buckets[mixed >> 40 & (BUCKETS - 1)];
}

static int read_word(struct thread *thread, uint64_t address, uint32_t **ret_word, uint64_t key[2])
{
    if (address % 4 != 0)
        return K_EINVAL;
    return vm_word(thread, thread->actor, address, ret_word, key);
}

static bool waits_for(const struct thread *waiter, const uint64_t key[2])
{
    return waiter->sync_key[0] == key[0] && waiter->sync_key[1] == key[1];
}

/* A point in time, from a length or a point of either clock. */
static int64_t deadline_of(struct thread *thread, KnTime delay, uint64_t flags)
{
    if (delay < 0 || !(flags & K_SYNC_ABSOLUTE) || thread->call.deadline != 0)
        return call_deadline(thread, delay);
    KnTime now =
        flags & K_SYNC_REALTIME ? nucleus_time_of_day() : nucleus_time() - nucleus_boot_time();
    return call_deadline(thread, delay > now ? delay - now : 0);
}

int64_t call_syncWait(struct thread *thread)
{
    const uint64_t *arg = thread->call.arg;
    uint64_t *waited = &thread->call.progress[0];
    uint64_t key[2];
    uint32_t *word;
    if (*waited)
        return thread->call.woken;
    if (arg[4] & ~(uint64_t)(K_SYNC_ABSOLUTE | K_SYNC_REALTIME) || (uint32_t)arg[3] == 0)
        return K_EINVAL;
    int status = read_word(thread, arg[0], &word, key);
    if (status != K_OK)
        return status;
    if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != (uint32_t)arg[1])
        return K_EAGAIN;
    int64_t deadline = deadline_of(thread, (KnTime)arg[2], arg[4]);
    memcpy(thread->sync_key, key, sizeof key);
    thread->sync_mask = (uint32_t)arg[3];
    status = wait_queue_wait(bucket_of(key), thread, deadline, true);
    *waited = status == K_BLOCKED;
    return status;
}

static uint32_t wake(const uint64_t key[2], uint32_t count, uint32_t mask)
{
    struct wait_queue *queue = bucket_of(key);
    uint32_t woken = 0;
    LIST_FOR_EACH_SAFE (link, following, &queue->threads) {
        struct thread *waiter = LIST_OWNER(link, struct thread, wait_link);
        if (woken >= count)
            break;
        if (!waits_for(waiter, key) || !(waiter->sync_mask & mask))
            continue;
        thread_wake(waiter, K_OK);
        woken++;
    }
    return woken;
}

int64_t call_syncWake(struct thread *thread)
{
    const uint64_t *arg = thread->call.arg;
    uint64_t key[2];
    uint32_t *word;
    if ((uint32_t)arg[2] == 0 || arg[3] != 0)
        return K_EINVAL;
    int status = read_word(thread, arg[0], &word, key);
    if (status != K_OK)
        return status;
    return wake(key, (uint32_t)arg[1], (uint32_t)arg[2]);
}

static uint32_t requeue(const uint64_t from[2], const uint64_t to[2], uint32_t count)
{
    struct wait_queue *queue = bucket_of(from), *target = bucket_of(to);
    uint32_t moved = 0;
    if (from[0] == to[0] && from[1] == to[1])
        return 0;
    LIST_FOR_EACH_SAFE (link, following, &queue->threads) {
        struct thread *waiter = LIST_OWNER(link, struct thread, wait_link);
        if (moved >= count)
            break;
        if (!waits_for(waiter, from))
            continue;
        list_remove(link);
        list_append(&target->threads, link);
        waiter->waiting_in = target;
        memcpy(waiter->sync_key, to, sizeof waiter->sync_key);
        moved++;
    }
    return moved;
}

int64_t call_syncRequeue(struct thread *thread)
{
    const uint64_t *arg = thread->call.arg;
    uint64_t from[2], to[2];
    uint32_t *word, *target;
    if (arg[5] & ~(uint64_t)K_SYNC_NOCOMPARE)
        return K_EINVAL;
    int status = read_word(thread, arg[3], &target, to);
    if (status == K_OK)
        status = read_word(thread, arg[0], &word, from);
    if (status != K_OK)
        return status;
    if (!(arg[5] & K_SYNC_NOCOMPARE) && __atomic_load_n(word, __ATOMIC_SEQ_CST) != (uint32_t)arg[4])
        return K_EAGAIN;
    uint32_t woken = wake(from, (uint32_t)arg[1], UINT32_MAX);
    return woken + requeue(from, to, (uint32_t)arg[2]);
}
