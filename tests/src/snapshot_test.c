/* Snapshots: what was written is read again; anything else is refused. */

#include "snapshot.h"
#include "snapshot_table.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char *text_of(const struct site_snapshot *snapshot)
{
    char *text;
    size_t length;
    FILE *memory = open_memstream(&text, &length);
    cr_assert(snapshot_write(snapshot, memory));
    fclose(memory);
    return text;
}

static struct site_snapshot *snapshot_of(const char *text)
{
    FILE *memory = fmemopen((void *)text, strlen(text), "r");
    struct site_snapshot *snapshot = snapshot_read(memory);
    fclose(memory);
    return snapshot;
}

static struct site_snapshot *example(unsigned actors, unsigned threads)
{
    struct site_snapshot *snapshot = snapshot_new();
    *snapshot = (struct site_snapshot){ .name = "demo", .uptime_ns = 5000000000, .cpus = 2,
                                        .memory = 64 << 20, .memory_free = 32 << 20,
                                        .host_processes = 4, .processes_most = 512 };
    for (unsigned i = 0; i < actors; i++) {
        struct snapshot_actor actor = { .ui = { 7, i + 1 }, .host_pid = 1,
                                        .memory = 4096 * i, .cpu_ns = 1000000 * i,
                                        .messages = 10 * i, .faults = i };
        snprintf(actor.name, sizeof actor.name, "actor %u", i);
        struct snapshot_actor *added = snapshot_add_actor(snapshot, &actor);
        for (unsigned j = 0; j < threads; j++)
            snapshot_add_thread(added, &(struct snapshot_thread){ .number = j, .priority = 100,
                                                                  .state = SNAPSHOT_WAITING });
    }
    return snapshot;
}

Test(snapshot, text_that_is_no_snapshot_is_refused)
{
    const char *bad[] = {
        "", "\n", "end\n", "site\n", "site 1 2 3 4 5 6 7\nend\n", "site 1 2 3 4 5 6 x demo\nend\n",
        "site 1 2 3 4 5 6 7 demo\n",                                  /* cut off */
        "site 1 2 3 4 5 6 7 demo\nthread 1 1 1 1 t\nend\n",           /* of no actor */
        "site 1 2 3 4 5 6 7 demo\nactor 1 2 9 0 0 0 0 0 a\nend\n",    /* no such kind */
        "site 1 2 3 4 5 6 7 demo\nactor 1 2 0 0 0 0 0 0 a\nthread 1 9 1 1 t\nend\n",
        "site 1 2 3 4 5 6 7 demo\nnonsense\nend\n",
        "site 1 2 3 4 5 6 7 a name that is far longer than the field\nend\n",
        "site 1 2 3 4 5 6 7 escape\033[2J\nend\n",                    /* would reach a terminal */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_null(bad[i][0] == '\0' ? NULL : snapshot_of(bad[i]), "accepted: %s", bad[i]);
}

Test(snapshot, what_was_written_is_read_again)
{
    struct site_snapshot *written = example(9, 3);
    char *text = text_of(written);
    struct site_snapshot *read = snapshot_of(text);
    cr_assert_not_null(read);
    cr_expect_eq(read->actor_count, 9u);
    cr_expect_eq(read->actors[8].thread_count, 3u);
    cr_expect_eq(read->actors[8].threads[2].priority, 100u);
    char *again = text_of(read);
    cr_expect_str_eq(text, again);
    snapshot_free(written);
    snapshot_free(read);
    free(text);
    free(again);
}

Test(snapshot, what_is_not_printable_in_a_name_does_not_reach_the_reader)
{
    struct site_snapshot *written = example(0, 0);
    snapshot_add_actor(written, &(struct snapshot_actor){ .name = "a\nend\n\033[2J" });
    char *text = text_of(written);
    struct site_snapshot *read = snapshot_of(text);
    cr_assert_not_null(read);
    cr_expect_str_eq(read->actors[0].name, "a?end??[2J");
    snapshot_free(written);
    snapshot_free(read);
    free(text);
}

Test(snapshot, the_table_shows_rates_since_the_earlier_one)
{
    struct site_snapshot *earlier = example(3, 0), *now = example(3, 0);
    now->uptime_ns += 2000000000;
    now->actors[1].messages += 5000;
    now->actors[1].cpu_ns += 1000000000;
    char *table;
    size_t length;
    FILE *memory = open_memstream(&table, &length);
    snapshot_table_print(now, earlier, false, 3, memory);
    fclose(memory);
    /* The busiest comes first, and is the only one that fits below the two lines of heading. */
    cr_expect_not_null(strstr(table, "actor 1"));
    cr_expect_not_null(strstr(table, "  50.0"));
    cr_expect_not_null(strstr(table, " 2500"));
    cr_expect_null(strstr(table, "actor 0"));
    snapshot_free(earlier);
    snapshot_free(now);
    free(table);
}
