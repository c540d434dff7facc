/* The `chorus` program: find the subcommand, hand it its words. */

#include "commands.h"
#include "options.h"
#include "site.h"

#include <stdio.h>
#include <string.h>

static int command_run(char **argv)
{
    struct site_options options;
    switch (options_parse_run(argv, &options)) {
    case OPTIONS_HELPED:
        return 0;
    case OPTIONS_MISUSED:
        return SITE_MISUSED;
    case OPTIONS_GO_ON:
        break;
    }
    int status = site_run(&options);
    options_free_run(&options);
    return status;
}

static const struct {
    const char *name;
    int (*run)(char **argv);
    const char *summary;
} commands[] = {
    { "run", command_run, "boot a site, and run a command or a shell in it" },
    { "ps", command_ps, "actors, threads, memory and CPU time of a running site" },
    { "top", command_top, "the same live, with messages and faults per second" },
    { "stop", command_stop, "end a running site, and wait until it is gone" },
    { "load", command_load, "start a server, a driver or another actor in a running site" },
    { "kill", command_kill, "end an actor of a running site" },
    { "replace", command_replace, "have a new server take over from one that runs, with its state and its calls" },
    { "hub", command_hub, "an Ethernet between sites" },
    { "screenshot", command_screenshot, "write what a running site shows to a PNG file" },
    { "display", command_display, "open a window on a running site: console, framebuffer, keyboard and mouse" },
    { "show", command_show, "a running site live: actors, messages, CPUs, memory, faults" },
    { "image", command_image, "make a root image" },
};

static void print_help(void)
{
    printf("Usage: chorus COMMAND [OPTION...]\n"
           "The CHORUS microkernel as an ordinary program.\n\nCommands:\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        printf("    %-12s%s\n", commands[i].name, commands[i].summary);
    printf("\n'chorus COMMAND --help' tells the options of a command.\n"
           "In the source tree, ./chorus also knows: test, gdb, bench.\n");
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "chorus: a command is missing\nTry 'chorus --help'.\n");
        return SITE_MISUSED;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help();
        return fflush(stdout) == 0 ? 0 : 1;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("chorus %s\n", CHORUS_VERSION);
        return fflush(stdout) == 0 ? 0 : 1;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argv + 1);
    fprintf(stderr, "chorus: there is no command '%s'\nTry 'chorus --help'.\n", argv[1]);
    return SITE_MISUSED;
}
