/* Options: the command lines of `chorus` and its subcommands. */

#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_entry *entry_find(const struct option_table *table, const char *word,
                                             size_t length)
{
    for (const struct option_entry *entry = table->entries; entry->name != NULL; entry++)
        if (strlen(entry->name) == length && memcmp(entry->name, word, length) == 0)
            return entry;
    return NULL;
}

static enum options_verdict misuse(const struct option_table *table, const char *problem)
{
    fprintf(stderr, "%s: %s\nTry '%s --help'.\n", table->command, problem, table->command);
    return OPTIONS_MISUSED;
}

static void print_indented(const char *text)
{
    for (const char *line = text; line != NULL;) {
        const char *end = strchr(line, '\n');
        printf("        %.*s\n", end != NULL ? (int)(end - line) : (int)strlen(line), line);
        line = end != NULL ? end + 1 : NULL;
    }
}

static enum options_verdict help(const struct option_table *table)
{
    printf("Usage: %s %s\n%s\n\nOptions:\n", table->command, table->usage, table->summary);
    for (const struct option_entry *entry = table->entries; entry->name != NULL; entry++) {
        printf("    --%s%s%s\n", entry->name, entry->argument != NULL ? " " : "",
               entry->argument != NULL ? entry->argument : "");
        print_indented(entry->help);
    }
    printf("    --help\n        Print this and stop.\n");
    if (table->notes != NULL)
        printf("\n%s\n", table->notes);
    return fflush(stdout) == 0 ? OPTIONS_HELPED : OPTIONS_MISUSED;
}

/* One option at *at, which moves past the words it used. */
static enum options_verdict parse_one(const struct option_table *table, void *target, char ***at)
{
    char problem[512];
    const char *word = **at + 2;
    const char *equals = strchr(word, '=');
    size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
    const struct option_entry *entry = entry_find(table, word, length);
    if (entry == NULL) {
        snprintf(problem, sizeof problem, "there is no option --%.*s", (int)length, word);
        return misuse(table, problem);
    }
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (entry->argument == NULL && value != NULL) {
        snprintf(problem, sizeof problem, "--%s takes no value", entry->name);
        return misuse(table, problem);
    }
    if (entry->argument != NULL && value == NULL) {
        value = (*at)[1];
        if (value == NULL) {
            snprintf(problem, sizeof problem, "--%s needs a value: %s", entry->name,
                     entry->argument);
            return misuse(table, problem);
        }
        ++*at;
    }
    ++*at;
    char detail[256] = "";
    if (!entry->set((char *)target + entry->offset, value, detail, sizeof detail)) {
        if (value == NULL)
            snprintf(problem, sizeof problem, "--%s: %s", entry->name, detail);
        else
            snprintf(problem, sizeof problem, "--%s %.200s: %s", entry->name, value, detail);
        return misuse(table, problem);
    }
    return OPTIONS_GO_ON;
}

const char *options_peek(const struct option_table *table, char **argv, const char *name)
{
    const char *found = NULL;
    for (char **at = argv + 1; *at != NULL && strcmp(*at, "--") != 0; at++) {
        const char *word = strncmp(*at, "--", 2) == 0 ? *at + 2 : "", *equals = strchr(word, '=');
        size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
        const struct option_entry *entry = entry_find(table, word, length);
        if (entry == NULL || entry->argument == NULL)
            continue;
        if (equals == NULL && *++at == NULL)
            break;
        if (strcmp(entry->name, name) == 0)
            found = equals != NULL ? equals + 1 : *at;
    }
    return found;
}

/* ---- files ---- */

static char *trim(char *text)
{
    static const char blanks[] = " \t\r";
    text += strspn(text, blanks);
    for (size_t length = strlen(text); length > 0 && strchr(blanks, text[length - 1]) != NULL; length--)
        text[length - 1] = '\0';
    return text;
}

/* One line that is neither empty nor a comment. False: `problem` says why. */
static bool parse_line(const struct option_table *table, void *target, char *line, char *problem, size_t size)
{
    char *value = strchr(line, '=');
    if (value != NULL) {
        *value = '\0';
        value = trim(value + 1);
    }
    char *name = trim(line);
    const struct option_entry *entry = entry_find(table, name, strlen(name));
    if (entry == NULL) {
        snprintf(problem, size, "there is no option '%.200s'", name);
        return false;
    }
    if ((entry->argument == NULL) != (value == NULL)) {
        snprintf(problem, size, value == NULL ? "%s needs a value: %s = %s" : "%s takes no value", name, name, entry->argument);
        return false;
    }
    char detail[256] = "";
    if (entry->set((char *)target + entry->offset, value, detail, sizeof detail))
        return true;
    snprintf(problem, size, "%s: %s", name, detail);
    return false;
}

enum options_verdict options_parse_lines(const struct option_table *table, void *target, char *text, const char *path)
{
    unsigned number = 0;
    for (char *line; (line = strsep(&text, "\n")) != NULL;) {
        char problem[512];
        number++;
        line = trim(line);
        if (*line == '\0' || *line == '#' || parse_line(table, target, line, problem, sizeof problem))
            continue;
        fprintf(stderr, "%s: %s, line %u: %s\n", table->command, path, number, problem);
        return OPTIONS_MISUSED;
    }
    return OPTIONS_GO_ON;
}

/* ---- command lines ---- */

static enum options_verdict operands_check(const struct option_table *table, size_t given)
{
    char problem[256];
    if (table->operands == NULL || table->operands[given] == NULL)
        return OPTIONS_GO_ON;
    snprintf(problem, sizeof problem, "%s is missing", table->operands[given]);
    return misuse(table, problem);
}

enum options_verdict options_parse(const struct option_table *table, void *target, char **argv,
                                   char ***ret_rest)
{
    char **at = argv + 1;
    size_t operands = 0;
    *ret_rest = NULL;
    while (*at != NULL) {
        if (strcmp(*at, "--help") == 0 || strcmp(*at, "-h") == 0)
            return help(table);
        if (strcmp(*at, "--") == 0 && table->takes_command) {
            if (at[1] == NULL)
                return misuse(table, "a command is missing after --");
            *ret_rest = at + 1;
            return operands_check(table, operands);
        }
        if (**at != '-' && table->operands != NULL && table->operands[operands] != NULL) {
            ((const char **)(void *)((char *)target + table->operands_offset))[operands++] = *at++;
            continue;
        }
        if (strncmp(*at, "--", 2) != 0 || (*at)[2] == '\0') {
            char problem[512];
            snprintf(problem, sizeof problem, "'%.200s' is not expected here%s", *at,
                     table->takes_command && **at != '-' ? "; a command comes after --" : "");
            return misuse(table, problem);
        }
        enum options_verdict verdict = parse_one(table, target, &at);
        if (verdict != OPTIONS_GO_ON)
            return verdict;
    }
    return operands_check(table, operands);
}

bool option_refuse(char *problem, size_t size, const char *why)
{
    snprintf(problem, size, "%s", why);
    return false;
}

bool option_set_flag(void *field, const char *value, char *problem, size_t size)
{
    (void)value, (void)problem, (void)size;
    *(bool *)field = true;
    return true;
}

bool option_set_text(void *field, const char *value, char *problem, size_t size)
{
    if (*value == '\0')
        return option_refuse(problem, size, "must not be empty");
    *(const char **)field = value;
    return true;
}

bool option_set_seconds(void *field, const char *value, char *problem, size_t size)
{
    return options_parse_number(value, 1, 86400, field) ||
           option_refuse(problem, size, "not a number of seconds from 1 to 86400");
}

bool options_parse_size(const char *text, uint64_t *ret_bytes)
{
    static const char units[] = "KMGT";
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    char *end;
    uint64_t number = strtoull(text, &end, 10);
    if (errno != 0)
        return false;
    unsigned shift = 0;
    if (*end != '\0') {
        const char *unit = strchr(units, *end >= 'a' && *end <= 'z' ? *end - 'a' + 'A' : *end);
        if (unit == NULL || end[1] != '\0')
            return false;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    if (number > UINT64_MAX >> shift)
        return false;
    *ret_bytes = number << shift;
    return true;
}

bool options_parse_number(const char *text, unsigned long least, unsigned long most,
                          unsigned long *ret_number)
{
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < least || number > most)
        return false;
    *ret_number = number;
    return true;
}

bool options_name_is_valid(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-";
    size_t length = strlen(name);
    return length >= 1 && length <= 32 && *name != '.' && *name != '-' &&
           strspn(name, letters) == length;
}
