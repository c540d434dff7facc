/* The time zone: see time_zone.h. A file of a zone (TZif, version 2 and on) ends with the rule for all times to come, between two line ends. */
#include "time_zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAIL = 200 };

static bool rule_is_sane(const char *rule)
{
    static const char known[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789<>+-,./:";
    const char *slash = strchr(rule, '/'), *comma = strchr(rule, ',');
    if (slash != NULL && (comma == NULL || slash < comma))
        return false; /* the name of a zone that the host does not have */
    return *rule != '\0' && strpbrk(rule, "0123456789") != NULL && strspn(rule, known) == strlen(rule);
}

static bool rule_of_file(const char *path, char *rule, size_t size)
{
    char head[5], tail[TAIL + 1];
    FILE *file = fopen(path, "re");
    bool known = file != NULL && fread(head, sizeof head, 1, file) == 1 && memcmp(head, "TZif", 4) == 0 && head[4] >= '2' &&
                 fseek(file, -TAIL, SEEK_END) == 0;
    size_t length = known ? fread(tail, 1, TAIL, file) : 0;
    if (file != NULL)
        fclose(file);
    if (length == 0 || tail[length - 1] != '\n')
        return false;
    tail[length - 1] = '\0';
    const char *begin = memrchr(tail, '\n', length - 1);
    return begin != NULL && strlen(begin + 1) == length - 2 - (size_t)(begin - tail) && (size_t)snprintf(rule, size, "%s", begin + 1) < size;
}

bool time_zone_rule(char *rule, size_t size)
{
    const char *outside = getenv("TZ");
    char path[4096];
    bool found;
    if (outside != NULL && *outside == ':')
        outside++;
    if (outside == NULL || *outside == '\0') {
        found = rule_of_file("/etc/localtime", rule, size);
    } else {
        snprintf(path, sizeof path, "%s%s", *outside == '/' ? "" : "/usr/share/zoneinfo/", outside);
        found = (strstr(outside, "..") == NULL && rule_of_file(path, rule, size)) || (size_t)snprintf(rule, size, "%s", outside) < size;
    }
    return found && rule_is_sane(rule) && strcmp(rule, "UTC0") != 0 && strcmp(rule, "GMT0") != 0;
}
