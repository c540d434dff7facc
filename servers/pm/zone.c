/* /proc/chorus/localtime: the host's time zone as a file, for programs without TZ; /etc/localtime of the small root leads here.
 *
 * A file of a zone (TZif, RFC 8536) ends with the rule for all times to come. Ours has one change, long before any time that anybody asks for, so that the rule
 * holds always: what the host's zone did in other years than now is not told. */
#include "proc.h"

#define NAME "UTC"
#define PART (44 + 6 + sizeof NAME) /* bytes: a head, one kind of time, its name */
#define CHANGE (8 + 1)

static void put_number(FILE *out, uint64_t number, unsigned bytes)
{
    while (bytes-- > 0)
        fputc((int)(number >> 8 * bytes & 0xff), out);
}

/* Numbers of 4 bytes are for those who know no rules: UTC. */
static void put_part(FILE *out, unsigned changes)
{
    const unsigned counts[] = { 0, 0, 0, changes, 1, sizeof NAME };
    fwrite("TZif2", 1, 5, out);
    put_number(out, 0, 8);
    put_number(out, 0, 7);
    for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++)
        put_number(out, counts[i], 4);
    for (unsigned i = 0; i < changes; i++)
        put_number(out, (uint64_t)-(INT64_C(1) << 59), 8); /* s: before the world */
    for (unsigned i = 0; i < changes; i++)
        put_number(out, 0, 1); /* to the one kind of time */
    put_number(out, 0, 4 + 1 + 1); /* that: 0 s from UTC, no summer time, the name's place */
    fwrite(NAME, 1, sizeof NAME, out);
}

static const char *rule(void)
{
    return pm_options.zone != NULL ? pm_options.zone : "UTC0";
}

int proc_print_zone(FILE *out)
{
    put_part(out, 0);
    put_part(out, 1);
    fprintf(out, "\n%s\n", rule());
    return 0;
}

uint64_t proc_zone_size(void)
{
    return PART + PART + CHANGE + strlen(rule()) + 2;
}
