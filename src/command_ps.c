/* `chorus ps`: the actors of a running site. `chorus top`, the same live, is in command_top.c;
 * the table that both print is in snapshot_table.c. */

#include "commands.h"
#include "control_client.h"
#include "options.h"
#include "site.h"
#include "snapshot.h"
#include "snapshot_table.h"

struct ps {
    const char *name;
    bool threads;
};

static const struct option_entry entries[] = {
    OPTION_SITE(offsetof(struct ps, name)),
    OPTION_SITE_NAME(offsetof(struct ps, name)),
    { "threads", NULL, "Show each thread too.",
      option_set_flag, offsetof(struct ps, threads) },
    { 0 },
};

static const struct option_table table = {
    .command = "chorus ps",
    .usage = "[OPTION...]",
    .summary = "Print the actors of a running site: threads, memory, CPU time.",
    .entries = entries,
};

int command_ps(char **argv)
{
    struct ps ps = { 0 };
    char **rest;
    enum options_verdict verdict = options_parse(&table, &ps, argv, &rest);
    if (verdict != OPTIONS_GO_ON)
        return verdict == OPTIONS_HELPED ? 0 : SITE_MISUSED;
    struct control_client client;
    if (control_client_open(&client, table.command, ps.name) != 0)
        return 1;
    struct site_snapshot *snapshot = control_client_snapshot(&client);
    control_client_close(&client);
    if (snapshot == NULL) {
        fprintf(stderr, "chorus ps: the site gave no answer\n");
        return 1;
    }
    snapshot_table_print(snapshot, NULL, ps.threads, 0, stdout);
    snapshot_free(snapshot);
    return fflush(stdout) == 0 ? 0 : 1;
}
