/* clock.c: the site's clock: the time-stamp counter, kept in step with the host's clock.
 *
 * The Nucleus and its actors reckon the time from one set of numbers, the answer page (<exec/chAnswers.h>): so it is the same clock, however it is read,
 * and reading it costs no call. Every so often host_time compares it with the host's and gives it a new rate, such that what it is ahead or
 * behind is made up by the next time: it never goes back. Only when it is far behind (the host slept) does it jump. Nobody wakes for that: who asks for the
 * time when it is due does it, and nobody asks while the site is idle.
 *
 * Where the host itself does not trust the counter (its clock source is another) the page says so, actors trap, and the Nucleus asks the host.
 * All of this belongs to the Nucleus's thread.
 */
#include <cpuid.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>
#include <exec/chAnswers.h>
#include "machine.h"

#define SECOND 1000000000ll
#define FIRST_LOOK 5000000     /* ns from the first sample to the first rate */
#define LOOK_LEAST 10000000    /* then the time from look to look doubles, */
#define LOOK_MOST 320000000    /* up to this */
#define ANCHOR_AGE 16000000000 /* the rate is an average over so long, at least */
#define JUMP 1000000           /* ns behind: too much to be made up */
#define DAY_STEP 100000        /* ns: the host's time of day was set, it is no noise of the sample */
#define SLEW_MOST 16           /* at most 1/16 faster or slower */

struct sample {
    uint64_t counter;
    int64_t time;
};

static struct {
    volatile KnAnswers *page; /* [w] */
    bool usable;              /* the host relies on the counter */
    bool running;             /* and its rate is known */
    uint64_t due;             /* look again when the counter is there */
    int64_t look;             /* ns to the next look */
    struct sample anchor, next_anchor;
    int64_t zero;             /* sysTime 0, by host_time; */
    int64_t day;              /* the host's time of day less its monotonic time, */
    int64_t day_offset;       /* and what the site's differs from it */
    KnAnswers now;            /* as in the page, but in host_time */
} site_clock;

static int64_t host_clock(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

/* The counter and the host's clock at one moment: the closest of a few tries. */
static struct sample take_sample(void)
{
    struct sample best = {0, 0};
    uint64_t best_width = UINT64_MAX;
    for (int i = 0; i < 4; i++) {
        uint64_t before = __rdtsc();
        int64_t time = host_clock(CLOCK_MONOTONIC);
        uint64_t width = __rdtsc() - before;
        if (width < best_width) {
            best_width = width;
            best = (struct sample){before + width / 2, time};
        }
    }
    return best;
}

static bool host_relies_on_counter(void)
{
    unsigned a, b, c, d;
    char name[32] = "";
    if (!__get_cpuid(0x80000007, &a, &b, &c, &d) || !(d & 1u << 8))
        return false; /* its rate changes with the processor's */
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    if (file == NULL)
        return false;
    bool is_read = fgets(name, sizeof name, file) != NULL;
    fclose(file);
    return is_read && strcmp(name, "tsc\n") == 0;
}

/* --- the page --------------------------------------------------------------------------------------------------------------------------------- */

static void publish(void)
{
    volatile KnAnswers *page = site_clock.page;
    if (page == NULL)
        return;
    uint32_t sequence = page->sequence;
    page->sequence = sequence + 1;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    page->clockUsable = site_clock.running;
    page->counter = site_clock.now.counter;
    page->time = site_clock.now.time - site_clock.zero;
    page->fraction = site_clock.now.fraction;
    page->rate = site_clock.now.rate;
    page->day = site_clock.day + site_clock.day_offset + site_clock.zero;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    page->sequence = sequence + 2;
}

/* --- keeping step ----------------------------------------------------------------------------------------------------------------------------- */

static uint64_t rate_between(struct sample from, struct sample to)
{
    return (uint64_t)(((unsigned __int128)(uint64_t)(to.time - from.time) << 32) / (to.counter - from.counter));
}

static void look_at_day(int64_t time)
{
    int64_t day = host_clock(CLOCK_REALTIME) - time;
    if (day - site_clock.day > DAY_STEP || day - site_clock.day < -DAY_STEP)
        site_clock.day = day;
}

static void age_anchor(struct sample sample)
{
    if (sample.time - site_clock.next_anchor.time < ANCHOR_AGE)
        return;
    site_clock.anchor = site_clock.next_anchor;
    site_clock.next_anchor = sample;
}

/* Go on from what the clock says at this moment, at a rate that makes up for what it is off by. */
static void keep_step(struct sample sample)
{
    KnAnswers *now = &site_clock.now;
    uint64_t ticks = sample.counter - now->counter;
    unsigned __int128 passed = (unsigned __int128)ticks * now->rate + now->fraction;
    now->counter = sample.counter;
    now->time += (int64_t)(uint64_t)(passed >> 32);
    now->fraction = (uint32_t)passed;
    int64_t behind = sample.time - now->time;
    if (behind > JUMP) {
        now->time = sample.time;
        behind = 0;
    }
    int64_t most = site_clock.look / SLEW_MOST;
    behind = behind > most ? most : behind < -most ? -most : behind;
    uint64_t rate = rate_between(site_clock.anchor, sample);
    now->rate = rate + (uint64_t)((__int128)(int64_t)rate * behind / site_clock.look);
}

static void start_running(struct sample sample)
{
    site_clock.now = (KnAnswers){.counter = sample.counter, .time = sample.time, .rate = rate_between(site_clock.anchor, sample)};
    site_clock.running = true;
    site_clock.look = LOOK_LEAST;
}

static void look(void)
{
    struct sample sample = take_sample();
    if (site_clock.running) {
        keep_step(sample);
        if (site_clock.look < LOOK_MOST)
            site_clock.look *= 2;
    } else {
        start_running(sample);
    }
    age_anchor(sample);
    look_at_day(sample.time);
    site_clock.due = sample.counter + (uint64_t)(((unsigned __int128)(uint64_t)site_clock.look << 32) / site_clock.now.rate);
    publish();
}

/* --- the machine's header ----------------------------------------------------------------------------------------------------------------------- */

void clock_start(void *page)
{
    memset(&site_clock, 0, sizeof site_clock);
    site_clock.page = page;
    site_clock.usable = !machine.options.no_counter && host_relies_on_counter();
    site_clock.anchor = site_clock.next_anchor = take_sample();
    site_clock.look = LOOK_LEAST;
    look_at_day(site_clock.anchor.time);
    publish();
}

int64_t host_time(void)
{
    if (!site_clock.running) {
        int64_t time = host_clock(CLOCK_MONOTONIC);
        if (!site_clock.usable || time - site_clock.anchor.time < FIRST_LOOK)
            return time;
        look();
    }
    uint64_t counter = __rdtsc();
    if ((int64_t)(counter - site_clock.due) >= 0) {
        look();
        counter = __rdtsc();
    }
    return knAnswersTime(&site_clock.now, counter);
}

int64_t host_time_of_day(void)
{
    return site_clock.usable ? host_time() + site_clock.day : host_clock(CLOCK_REALTIME);
}

void host_clocks(int64_t zero, int64_t day_offset)
{
    site_clock.zero = zero;
    site_clock.day_offset = day_offset;
    publish();
}
