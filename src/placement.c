/* Which server runs where: lists of SERVER=PLACE. */

#include "placement.h"

#include <stdio.h>
#include <string.h>

const char *const server_names[SERVERS] = {
    [SERVER_CONSOLE] = "console", [SERVER_DISK] = "disk", [SERVER_NET] = "net", [SERVER_SCREEN] = "screen", [SERVER_INPUT] = "input",
    [SERVER_ENTROPY] = "entropy", [SERVER_OM] = "om", [SERVER_DM] = "dm", [SERVER_SM] = "sm", [SERVER_PM] = "pm", [SERVER_SHARE] = "share",
};

enum { ITEM_MOST = 64 };

bool placement_parse_place(const char *text, enum place *ret_place)
{
    bool supervisor = strcmp(text, "supervisor") == 0;
    *ret_place = supervisor ? PLACE_SUPERVISOR : PLACE_USER;
    return supervisor || strcmp(text, "user") == 0;
}

/* One item, which is taken apart. */
static bool parse_item(char *item, struct placement *placement, char *problem, size_t size)
{
    enum place place;
    char *name = strsep(&item, "=");
    if (item == NULL) {
        snprintf(problem, size, "'%s' is not SERVER=PLACE", name);
        return false;
    }
    if (!placement_parse_place(item, &place)) {
        snprintf(problem, size, "there is no place '%s'; places are user and supervisor", item);
        return false;
    }
    bool all = strcmp(name, "all") == 0, found = all;
    for (unsigned i = 0; i < SERVERS; i++) {
        if (!all && strcmp(name, server_names[i]) != 0)
            continue;
        placement->of[i] = place;
        found = true;
    }
    if (!found)
        snprintf(problem, size, "there is no server '%s'; servers are console, disk, net, screen, input, entropy, om, dm, sm, pm, share and all", name);
    return found;
}

bool placement_parse(const char *list, struct placement *placement, char *problem, size_t size)
{
    struct placement result = *placement;
    for (const char *end = list; end != NULL; list = end + 1) {
        char item[ITEM_MOST];
        list += strspn(list, " \t");
        end = strchr(list, ',');
        size_t length = end != NULL ? (size_t)(end - list) : strlen(list);
        while (length > 0 && strchr(" \t", list[length - 1]) != NULL)
            length--;
        if (length >= sizeof item) {
            snprintf(problem, size, "'%.20s...' is not SERVER=PLACE", list);
            return false;
        }
        snprintf(item, sizeof item, "%.*s", (int)length, list);
        if (!parse_item(item, &result, problem, size))
            return false;
        if (end == NULL)
            break;
    }
    *placement = result;
    return true;
}
