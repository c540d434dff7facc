/* Options: the command lines of `chorus` and its subcommands.
 *
 * A subcommand's options are one table: the parser, the checks and --help all come from it. An
 * option is written --name VALUE or --name=VALUE, never abbreviated; `--` ends them. Each parse
 * function prints its own message and returns one of these: */

#ifndef CHORUS_OPTIONS_H
#define CHORUS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct site_options;

enum options_verdict {
    OPTIONS_GO_ON,
    OPTIONS_HELPED,  /* --help was asked for and printed: exit with 0 */
    OPTIONS_MISUSED, /* said what is wrong: exit with SITE_MISUSED */
};

/* One option. `set` stores a checked value at `field`, which is `offset` bytes into the target, or
 * says in `problem` what is wrong with the value. */
struct option_entry {
    const char *name;     /* without the dashes */
    const char *argument; /* what --help calls the value; NULL: there is none */
    const char *help;     /* lines are separated by \n */
    bool (*set)(void *field, const char *value, char *problem, size_t problem_size);
    size_t offset;
};

/* Which site, as all commands for a running one are told. */
#define OPTION_SITE(field) { "site", "NAME", "The site; needed when several are running.", option_set_text, field }
#define OPTION_SITE_NAME(field) { "name", "NAME", "The same as --site.", option_set_text, field }

/* Ready-made ones. */
bool option_set_flag(void *field, const char *value, char *problem, size_t size); /* a bool */
bool option_set_text(void *field, const char *value, char *problem, size_t size); /* not empty */
bool option_set_seconds(void *field, const char *value, char *problem, size_t size); /* u. long */

/* For a `set`: write the problem and return false. */
bool option_refuse(char *problem, size_t size, const char *why);

struct option_table {
    const char *command;               /* "chorus run" */
    const char *usage;                 /* "[OPTION...] [-- COMMAND [ARG...]]" */
    const char *summary;               /* what it does, in a sentence or some */
    const char *notes;                 /* after the options; NULL: nothing */
    const struct option_entry *entries; /* ends with a NULL name */
    bool takes_command;                /* words may follow after `--` */
    const char *const *operands;       /* words without dashes that must be there, by their names in --help; ends with NULL; NULL: none */
    size_t operands_offset;            /* of an array of const char *, for what was given */
};

/* Parse argv[1...] by the table into target. *ret_rest is what followed `--`, NULL if nothing. */
enum options_verdict options_parse(const struct option_table *table, void *target, char **argv,
                                   char ***ret_rest);

/* The same from the text of a file, one option a line: NAME = VALUE, or NAME alone; # begins a
 * comment line. The text is changed, and what was set points into it. `path` is for messages. */
enum options_verdict options_parse_lines(const struct option_table *table, void *target, char *text,
                                         const char *path);
/* What argv gives for one option, the last time; NULL: nothing. Wrong words are left to options_parse. */
const char *options_peek(const struct option_table *table, char **argv, const char *name);

/* `chorus run`. What it returns on OPTIONS_GO_ON is freed with options_free_run. */
enum options_verdict options_parse_run(char **argv, struct site_options *ret_options);
void options_free_run(struct site_options *options);

/* Values, for the tables of other subcommands. */
bool options_parse_size(const char *text, uint64_t *ret_bytes); /* 4096, 64K, 512M, 2G, 1T */
bool options_parse_number(const char *text, unsigned long least, unsigned long most,
                          unsigned long *ret_number);
bool options_name_is_valid(const char *name); /* letters, digits, . _ -; not first . or - */

#endif
