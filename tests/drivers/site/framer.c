/* framer: an actor that plays the Socket Manager towards the network driver: tests/system/net_test.py.
 *
 *     framer N info                          what ETHER_INFO says of interface N
 *     framer N echo                          sends back whatever comes for it of our protocol, until a frame says "end"
 *     framer N ask ADDRESS COUNT SIZE WINDOW MS
 *                                            COUNT different frames to an echo, all of which must come back as they were
 *     framer N flood ADDRESS COUNT SIZE      COUNT frames as fast as they go, and one that says "end"
 *     framer N count                         counts frames until one says "end"
 *     framer N wrong                         requests that make no sense
 *     framer N large                         a TCP segment of 4,000 bytes for the device to cut, which it must be able to
 *
 * Frames are numbered and may be lost while a driver dies: what does not come back within MS is sent again. Each line that it says begins with "framer:".
 */
#include <chorus.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <protocol/ether.h>
#include <server/client.h>

#define PATIENCE    10000000000ll
#define KIND        0x88b5u             /* of frames for local experiments */
enum { ASK = 1, ANSWER = 2, END = 3 };

struct numbered {
    uint8_t to[6], from[6];
    uint8_t kind[2];
    uint8_t what;
    uint8_t unused;
    uint32_t number;
};
#define HEAD sizeof(struct numbered)

static KnIpcDest driver;
static struct ether_info info;
static uint64_t state;

static void pause_a_little(void)
{
    threadDelay(5000000);
}

/* One call, repeated while the driver is not there. */
static int ask(struct ether_request *request, struct ether_reply *reply, const struct client_data *data)
{
    int size;

    while ((size = client_call_patiently(&driver, request, sizeof *request, reply, sizeof *reply, data, PATIENCE)) == K_EDEAD)
        pause_a_little();
    return size < 0 ? size : reply->status;
}

static int info_get(void)
{
    struct ether_request request = { .operation = ETHER_INFO };
    struct ether_reply reply;

    return ask(&request, &reply, &(struct client_data){ .in = &info, .in_size = sizeof info });
}

/* ---- batches ---- */

struct batch {
    _Alignas(4096) uint8_t body[ETHER_BODY_MAX];
    uint32_t size, count;
};

static void batch_send(struct batch *batch)
{
    struct ether_request request = { .operation = ETHER_SEND, .flags = ETHER_WAIT, .count = batch->count };
    struct ether_reply reply;
    int status = ask(&request, &reply, &(struct client_data){ .out = batch->body, .out_size = batch->size });

    if (status != 0 || reply.count != batch->count)
        printf("framer: a batch of %u: status %d, %u taken\n", batch->count, status, reply.count);
    batch->size = batch->count = 0;
}

static uint8_t *batch_room(struct batch *batch, uint32_t length)
{
    if (batch->count == ETHER_BATCH_MAX || batch->size + ether_frame_space(length) > ETHER_BODY_MAX)
        batch_send(batch);
    struct ether_frame *frame = (void *)(batch->body + batch->size);
    *frame = (struct ether_frame){ .length = length };
    batch->size += ether_frame_space(length);
    batch->count++;
    return (uint8_t *)(frame + 1);
}

/* Give each frame of our protocol that comes to `take`, until that says false. */
static void receive(bool (*take)(struct numbered *frame, uint32_t length), void (*batch_ends)(void))
{
    static _Alignas(4096) uint8_t body[ETHER_BODY_MAX];

    for (bool goes_on = true; goes_on;) {
        struct ether_request request = { .operation = ETHER_RECEIVE, .state = state };
        struct ether_reply reply;
        uint32_t at = 0;
        if (ask(&request, &reply, &(struct client_data){ .in = body, .in_size = sizeof body }) != 0)
            return;
        if (state != 0 && reply.state != state)
            printf("framer: another state, the link is %s\n", reply.flags & ETHER_LINK_UP ? "up" : "down");
        state = reply.state;
        for (uint32_t i = 0; i < reply.count && goes_on; i++) {
            const struct ether_frame *frame = (void *)(body + at);
            struct numbered *numbered = (void *)(body + at + sizeof *frame);
            if (frame->length >= HEAD && numbered->kind[0] == KIND >> 8 && numbered->kind[1] == (KIND & 0xff))
                goes_on = take(numbered, frame->length);
            at += ether_frame_space(frame->length);
        }
        batch_ends();
    }
}

/* ---- echo ---- */

static struct batch answers;

static bool echo(struct numbered *frame, uint32_t length)
{
    if (frame->what == ASK) {
        uint8_t *to = batch_room(&answers, length);
        memcpy(to, frame, length);
        struct numbered *answer = (void *)to;
        memcpy(answer->to, frame->from, 6);
        memcpy(answer->from, info.address, 6);
        answer->what = ANSWER;
    }
    return frame->what != END;
}

static void echo_flush(void)
{
    if (answers.count > 0)
        batch_send(&answers);
}

/* ---- ask ---- */

static uint8_t peer[6];
static KnTime send_again;               /* ns */
static uint32_t count, size, window, done, sent_again, bad;
static _Atomic(uint8_t) *came;          /* by number */
static atomic_uint came_count;

static void fill(uint8_t *bytes, uint32_t number)
{
    for (uint32_t i = HEAD; i < size; i++)
        bytes[i] = (uint8_t)(i * 7 + number * 31 + number / 251);
}

static bool answered(struct numbered *frame, uint32_t length)
{
    static uint8_t wanted[ETHER_FRAME_MAX];

    if (frame->what != ANSWER)
        return true;
    fill(wanted, frame->number);
    if (frame->number >= count || length != size || memcmp((uint8_t *)frame + HEAD, wanted + HEAD, size - HEAD) != 0)
        bad++;
    else if (!atomic_exchange(&came[frame->number], 1))
        atomic_fetch_add(&came_count, 1);
    return atomic_load(&came_count) < count;
}

static void nothing(void)
{
}

static void *receive_answers(void *unused)
{
    (void)unused;
    receive(answered, nothing);
    return NULL;
}

static void ask_one(struct batch *batch, uint32_t number)
{
    uint8_t *bytes = batch_room(batch, size);
    struct numbered *frame = (void *)bytes;

    *frame = (struct numbered){ .kind = { KIND >> 8, KIND & 0xff }, .what = ASK, .number = number };
    memcpy(frame->to, peer, 6);
    memcpy(frame->from, info.address, 6);
    fill(bytes, number);
}

static KnTime now(void)
{
    KnTime time;

    sysTime(&time);
    return time;
}

/* Send a window, and wait until all of it is back; what is not goes out again. */
static void window_ask(struct batch *batch, uint32_t first, uint32_t end)
{
    for (unsigned round = 0;; round++) {
        uint32_t missing = 0;
        for (uint32_t i = first; i < end; i++)
            if (!atomic_load(&came[i])) {
                ask_one(batch, i);
                missing++;
            }
        if (missing == 0)
            return;
        sent_again += round > 0 ? missing : 0;
        batch_send(batch);
        for (KnTime deadline = now() + send_again; atomic_load(&came_count) < end && now() < deadline;)
            threadDelay(20000);
    }
}

static void ask_all(void)
{
    static struct batch batch;
    pthread_t receiver;
    KnTime began = now();

    came = calloc(count, sizeof *came);
    if (came == NULL || pthread_create(&receiver, NULL, receive_answers, NULL) != 0) {
        printf("framer: no memory\n");
        return;
    }
    for (done = 0; done < count; done += window)
        window_ask(&batch, done, done + window < count ? done + window : count);
    pthread_join(receiver, NULL);
    long ms = (long)((now() - began) / 1000000);
    printf("framer: %u frames of %u bytes there and back, %u sent again, %u bad, %ld ms\n", count, size, sent_again, bad, ms);
    ask_one(&batch, 0);
    ((struct numbered *)(void *)(batch.body + sizeof(struct ether_frame)))->what = END;
    batch_send(&batch);
}

/* ---- flood, count ---- */

static void flood(void)
{
    static struct batch batch;
    KnTime began = now();

    for (uint32_t i = 0; i < count; i++) {
        struct numbered *frame = (void *)batch_room(&batch, size);
        *frame = (struct numbered){ .kind = { KIND >> 8, KIND & 0xff }, .what = ASK, .number = i };
        memcpy(frame->to, peer, 6);
        memcpy(frame->from, info.address, 6);
    }
    ((struct numbered *)(void *)batch_room(&batch, size))->what = END;
    struct numbered *last = (void *)(batch.body + batch.size - ether_frame_space(size) + sizeof(struct ether_frame));
    *last = (struct numbered){ .kind = { KIND >> 8, KIND & 0xff }, .what = END };
    memcpy(last->to, peer, 6);
    batch_send(&batch);
    long ms = (long)((now() - began) / 1000000);
    printf("framer: %u frames of %u bytes sent, %ld ms, %ld MB/s\n", count, size, ms, (long)((uint64_t)count * size / 1000 / (uint64_t)(ms + 1)));
}

static KnTime first_came;
static uint64_t frames_came, bytes_came;

static bool counted(struct numbered *frame, uint32_t length)
{
    if (frames_came++ == 0)
        first_came = now();
    bytes_came += length;
    return frame->what != END;
}

static void count_all(void)
{
    receive(counted, nothing);
    long ms = (long)((now() - first_came) / 1000000);
    printf("framer: %llu frames came, %ld ms, %ld MB/s\n", (unsigned long long)frames_came, ms, (long)(bytes_came / 1000 / (uint64_t)(ms + 1)));
}

/* ---- wrong ---- */

static unsigned wrong_results;

static void expect(struct ether_request request, const void *body, size_t length, int wanted, const char *what)
{
    struct ether_reply reply;
    int status = ask(&request, &reply, &(struct client_data){ .out = body, .out_size = length });

    if (status != wanted) {
        printf("framer: %s: %d, not %d\n", what, status, wanted);
        wrong_results++;
    }
}

static void wrong(void)
{
    struct {
        struct ether_frame head;
        uint8_t bytes[64];
    } one = { .head.length = 60 };

    expect((struct ether_request){ .operation = 0x7ff }, NULL, 0, -ENOSYS, "an unknown operation");
    expect((struct ether_request){ .operation = ETHER_SEND }, NULL, 0, -EINVAL, "no frames");
    expect((struct ether_request){ .operation = ETHER_SEND, .count = 1 }, NULL, 0, -EINVAL, "a frame without a body");
    expect((struct ether_request){ .operation = ETHER_SEND, .count = 2 }, &one, sizeof one, -EINVAL, "fewer frames than said");
    expect((struct ether_request){ .operation = ETHER_SEND, .count = 1, .flags = 8 }, &one, sizeof one, -EINVAL, "an unknown flag");
    one.head.length = 13;
    expect((struct ether_request){ .operation = ETHER_SEND, .count = 1 }, &one, sizeof one, -EINVAL, "a frame without a header");
    one.head.length = 65;
    expect((struct ether_request){ .operation = ETHER_SEND, .count = 1 }, &one, sizeof one, -EINVAL, "a frame beyond its body");
    one.head.length = UINT32_MAX;
    expect((struct ether_request){ .operation = ETHER_SEND, .count = 1 }, &one, sizeof one, -EINVAL, "a frame without end");
    one.head = (struct ether_frame){ .length = 60, .flags = ETHER_CHECKSUM_NEEDED };
    expect((struct ether_request){ .operation = ETHER_SEND, .count = 1 }, &one, sizeof one, -EINVAL, "a feature that was not set");
    one.head = (struct ether_frame){ .length = 60, .segmentation = 9 };
    expect((struct ether_request){ .operation = ETHER_SEND, .count = 1 }, &one, sizeof one, -EINVAL, "a segmentation that does not exist");
    expect((struct ether_request){ .operation = ETHER_SET, .features = 1u << 31 }, NULL, 0, -EINVAL, "a feature that does not exist");
    expect((struct ether_request){ .operation = ETHER_SET, .address = { 1 } }, NULL, 0, -EINVAL, "a group as an address");
    expect((struct ether_request){ .operation = ETHER_SET, .flags = 16 }, NULL, 0, -EINVAL, "an unknown flag of ETHER_SET");
    expect((struct ether_request){ .operation = ETHER_RECEIVE }, NULL, 0, 0, "the first ETHER_RECEIVE");
    one.head = (struct ether_frame){ .length = 60 };
    expect((struct ether_request){ .operation = ETHER_SEND, .count = 1 }, &one, sizeof one, 0, "a good frame afterwards");
    printf("framer: %u wrong results\n", wrong_results);
}

/* ---- large ---- */

/* Addresses, ports and the pseudo header's sum are 10.9.9.2:5000 to 10.9.9.1:6000. */
static void large(void)
{
    static struct {
        struct ether_frame head;
        uint8_t bytes[54 + 4000];
    } one;
    static const uint8_t ip[] = { 0x45, 0, 0x0f, 0xc8, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 9, 9, 2, 10, 9, 9, 1 };
    static const uint8_t tcp[] = { 5000 >> 8, 5000 & 0xff, 6000 >> 8, 6000 & 0xff, 0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, 16, 255, 255, 0, 0, 0, 0 };
    struct ether_request set = { .operation = ETHER_SET, .features = ETHER_SEND_CHECKSUM | ETHER_SEND_TCP4 };
    struct ether_reply reply;
    uint32_t sum = 0;

    int status = ask(&set, &reply, NULL);
    memset(one.bytes, 0xff, 6);
    memcpy(one.bytes + 6, info.address, 6);
    one.bytes[12] = 8;
    memcpy(one.bytes + 14, ip, sizeof ip);
    memcpy(one.bytes + 34, tcp, sizeof tcp);
    for (unsigned i = 0; i < 20; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
    one.bytes[24] = (uint8_t)(sum >> 8);
    one.bytes[25] = (uint8_t)sum;
    sum = 0x0a09 + 0x0902 + 0x0a09 + 0x0901 + 6 + 4020;
    sum = (sum & 0xffff) + (sum >> 16);
    one.bytes[50] = (uint8_t)(sum >> 8);
    one.bytes[51] = (uint8_t)sum;
    for (unsigned i = 0; i < 4000; i++)
        one.bytes[54 + i] = (uint8_t)i;
    one.head = (struct ether_frame){ .length = sizeof one.bytes, .flags = ETHER_CHECKSUM_NEEDED, .segmentation = ETHER_SEGMENTS_TCP4,
                                     .headers_length = 54, .segment_size = 1000, .checksum_start = 34, .checksum_offset = 16 };
    struct ether_request send = { .operation = ETHER_SEND, .count = 1, .flags = ETHER_WAIT };
    int sent = ask(&send, &reply, &(struct client_data){ .out = &one, .out_size = sizeof one });
    printf("framer: features %x: %d; a large frame: %d\n", info.features, status, sent);
}

static void address_print(const char *before, const uint8_t *bytes, const char *after)
{
    printf("%s%02x:%02x:%02x:%02x:%02x:%02x%s", before, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], after);
}

int main(int argc, char **argv)
{
    unsigned number = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
    const char *what = argc > 2 ? argv[2] : "info";

    driver = client_group(ETHER_GROUP_STAMP + 16 * number);
    int status = info_get();
    if (status != 0) {
        printf("framer: ETHER_INFO: %d\n", status);
        return 1;
    }
    state = info.state;
    if (strcmp(what, "info") == 0) {
        address_print("framer: ", info.address, " ");
        printf("%s %s mtu %u features %x link %u hint %u.%u.%u.%u/%u\n", info.name, info.back_end, info.mtu, info.features, info.flags,
               info.hint_address[0], info.hint_address[1], info.hint_address[2], info.hint_address[3], info.hint_prefix);
    } else if (strcmp(what, "echo") == 0) {
        printf("framer: echo on %s\n", info.back_end);
        receive(echo, echo_flush);
        printf("framer: echo ended\n");
    } else if (strcmp(what, "count") == 0) {
        printf("framer: counts on %s\n", info.back_end);
        count_all();
    } else if ((strcmp(what, "ask") == 0 && argc == 8) || (strcmp(what, "flood") == 0 && argc == 6)) {
        sscanf(argv[3], "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &peer[0], &peer[1], &peer[2], &peer[3], &peer[4], &peer[5]);
        count = (uint32_t)atoi(argv[4]);
        size = (uint32_t)atoi(argv[5]);
        window = argc == 8 ? (uint32_t)atoi(argv[6]) : 0;
        send_again = argc == 8 ? atoi(argv[7]) * 1000000ll : 0;
        if (argc == 8)
            ask_all();
        else
            flood();
    } else if (strcmp(what, "large") == 0) {
        large();
    } else {
        wrong();
    }
    return 0;
}
