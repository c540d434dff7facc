/* The options of `chorus run`, and the environment that the command inside gets. */

#include "options.h"
#include "places.h"
#include "site.h"
#include "time_zone.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is being filled. Of the strings, the environment, name and root_image are ours. */
struct run {
    struct site_options options;
    size_t environment_count;
    const char *name; /* as given, or NULL */
    const char *root;
    bool in_file; /* the configuration file is being read */
    bool nets_of_file; /* what it says of networks counts until the command line says something */
};

/* The environment. A name is there once: the last one given wins. */
static bool environment_set(struct run *run, const char *assignment)
{
    size_t name_length = (size_t)(strchr(assignment, '=') - assignment) + 1;
    char *copy = strdup(assignment);
    if (copy == NULL)
        return false;
    for (size_t i = 0; i < run->environment_count; i++) {
        if (strncmp(run->options.environment[i], assignment, name_length) == 0) {
            free(run->options.environment[i]);
            run->options.environment[i] = copy;
            return true;
        }
    }
    size_t count = run->environment_count;
    char **grown = realloc(run->options.environment, (count + 2) * sizeof *grown);
    if (grown == NULL) {
        free(copy);
        return false;
    }
    grown[count] = copy;
    grown[count + 1] = NULL;
    run->options.environment = grown;
    run->environment_count = count + 1;
    return true;
}

static bool environment_has(const struct run *run, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < run->environment_count; i++)
        if (strncmp(run->options.environment[i], name, length) == 0 &&
            run->options.environment[i][length] == '=')
            return true;
    return false;
}

static bool environment_default(struct run *run, const char *name, const char *value)
{
    char assignment[256];
    if (environment_has(run, name))
        return true;
    snprintf(assignment, sizeof assignment, "%s=%s", name, value);
    return environment_set(run, assignment);
}

static unsigned cpus_allowed(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

/* The options of a disk stand behind its file, so a file may have commas in its name. */
static bool set_disk(void *field, const char *value, char *problem, size_t size)
{
    struct site_options *options = &((struct run *)field)->options;
    struct site_disk disk = { 0 };
    if (options->disk_count == SITE_DISKS_MOST)
        return option_refuse(problem, size, "there are 25 disks already");
    disk.path = strdup(value);
    if (disk.path == NULL)
        return option_refuse(problem, size, strerror(ENOMEM));
    for (char *comma; (comma = strrchr(disk.path, ',')) != NULL; *comma = '\0') {
        if (strcmp(comma, ",ro") == 0)
            disk.read_only = true;
        else if (strcmp(comma, ",snapshot") == 0)
            disk.snapshot = true;
        else
            break;
    }
    bool sound = *disk.path != '\0' && !(disk.read_only && disk.snapshot);
    if (sound)
        options->disks[options->disk_count++] = disk;
    else
        free(disk.path);
    return sound || option_refuse(problem, size, "must be FILE, FILE,ro or FILE,snapshot");
}

static bool set_share(void *field, const char *value, char *problem, size_t size)
{
    struct site_options *options = &((struct run *)field)->options;
    struct site_share share = { .mount = (char *)"/mnt" };
    if (options->share_count == SITE_SHARES_MOST)
        return option_refuse(problem, size, "there are 8 folders already");
    share.folder = strdup(value);
    if (share.folder == NULL)
        return option_refuse(problem, size, strerror(ENOMEM));
    size_t length = strlen(share.folder);
    share.read_only = length >= 3 && strcmp(share.folder + length - 3, ",ro") == 0;
    if (share.read_only)
        share.folder[length - 3] = '\0';
    char *colon = strrchr(share.folder, ':');
    if (colon != NULL && colon[1] == '/') {
        *colon = '\0';
        share.mount = colon + 1;
    }
    const char *wrong = *share.folder == '\0' ? "must be DIR, DIR:MOUNT, DIR,ro or DIR:MOUNT,ro"
                      : share.mount[1] == '\0' ? "a folder cannot be mounted on /" : NULL;
    for (unsigned i = 0; i < options->share_count; i++)
        if (strcmp(options->shares[i].mount, share.mount) == 0)
            wrong = "another folder is mounted there";
    if (wrong == NULL)
        options->shares[options->share_count++] = share;
    else
        free(share.folder);
    return wrong == NULL || option_refuse(problem, size, wrong);
}

static bool set_memory(void *field, const char *value, char *problem, size_t size)
{
    uint64_t bytes;
    if (!options_parse_size(value, &bytes))
        return option_refuse(problem, size, "not a size; examples are 64M, 2G");
    if (bytes < SITE_MEMORY_LEAST || bytes > SITE_MEMORY_MOST)
        return option_refuse(problem, size, "must be from 16M to 1T");
    *(uint64_t *)field = bytes & ~UINT64_C(4095);
    return true;
}

static bool set_cpus(void *field, const char *value, char *problem, size_t size)
{
    unsigned long number;
    if (!options_parse_number(value, 1, 4096, &number))
        return option_refuse(problem, size, "not a number of CPUs");
    if (number > cpus_allowed()) {
        snprintf(problem, size, "the host allows this program %u", cpus_allowed());
        return false;
    }
    *(unsigned *)field = (unsigned)number;
    return true;
}

static bool set_rewrite(void *field, const char *value, char *problem, size_t size)
{
    unsigned long number;
    if (strcmp(value, "off") == 0)
        value = "0";
    else if (strcmp(value, "on") == 0)
        value = SITE_REWRITE_DEFAULT;
    else if (!options_parse_number(value, 1, 1000000, &number))
        return option_refuse(problem, size, "neither off nor on nor a number of traps");
    *(const char **)field = value;
    return true;
}

static bool set_processes(void *field, const char *value, char *problem, size_t size)
{
    unsigned long number;
    if (!options_parse_number(value, SITE_PROCESSES_LEAST, SITE_PROCESSES_MOST, &number))
        return option_refuse(problem, size, "must be a number from 16 to 32768");
    *(unsigned *)field = (unsigned)number;
    return true;
}

static bool set_name(void *field, const char *value, char *problem, size_t size)
{
    if (!options_name_is_valid(value))
        return option_refuse(problem, size, "a name has 1 to 32 letters, digits, '.', '_' or '-', and "
                                     "does not begin with '.' or '-'");
    *(const char **)field = value;
    return true;
}

static bool set_env(void *field, const char *value, char *problem, size_t size)
{
    struct run *run = field;
    if (*value == '\0' || *value == '=')
        return option_refuse(problem, size, "a name is needed");
    if (strchr(value, '=') != NULL)
        return environment_set(run, value) || option_refuse(problem, size, strerror(ENOMEM));
    const char *outside = getenv(value);
    if (outside == NULL)
        return option_refuse(problem, size, "not set outside either; write NAME=VALUE");
    char *assignment;
    if (asprintf(&assignment, "%s=%s", value, outside) < 0)
        return option_refuse(problem, size, strerror(ENOMEM));
    bool done = environment_set(run, assignment);
    free(assignment);
    return done || option_refuse(problem, size, strerror(ENOMEM));
}

/* NAME, or UID, or UID:GID; which names exist, only the image knows. */
static bool set_user(void *field, const char *value, char *problem, size_t size)
{
    static const char digits[] = "0123456789";
    size_t uid_length = strspn(value, digits);
    if (uid_length == 0) {
        if (!options_name_is_valid(value))
            return option_refuse(problem, size, "not a user's name");
    } else {
        const char *colon = value + uid_length;
        bool gid_is_good = *colon == '\0' ||
                           (*colon == ':' && colon[1] != '\0' && strlen(colon + 1) <= 10 &&
                            strspn(colon + 1, digits) == strlen(colon + 1) &&
                            strtoul(colon + 1, NULL, 10) < UINT32_MAX);
        if (uid_length > 10 || strtoul(value, NULL, 10) >= UINT32_MAX || !gid_is_good)
            return option_refuse(problem, size, "must be NAME, UID or UID:GID");
    }
    *(const char **)field = value;
    return true;
}

static bool set_cwd(void *field, const char *value, char *problem, size_t size)
{
    if (*value != '/')
        return option_refuse(problem, size, "must begin with '/'");
    *(const char **)field = value;
    return true;
}

static bool set_place(void *field, const char *value, char *problem, size_t size)
{
    return placement_parse(value, field, problem, size);
}

static bool set_net(void *field, const char *value, char *problem, size_t size)
{
    struct run *run = field;
    if (!run->in_file && run->nets_of_file)
        run->options.nets.count = 0;
    run->nets_of_file = run->in_file;
    return net_options_add(&run->options.nets, value, problem, size);
}

static bool set_forward(void *field, const char *value, char *problem, size_t size)
{
    return net_options_forward(field, value, problem, size);
}

static bool set_capture(void *field, const char *value, char *problem, size_t size)
{
    return net_options_capture(field, value, problem, size);
}

/* WIDTHxHEIGHT. */
static bool set_framebuffer(void *field, const char *value, char *problem, size_t size)
{
    struct site_options *options = field;
    char width[8] = "", height[8] = "";
    unsigned long pixels[2];
    if (sscanf(value, "%7[0-9]x%7[0-9]", width, height) != 2 || strlen(width) + strlen(height) + 1 != strlen(value) ||
        !options_parse_number(width, 64, 4096, &pixels[0]) || !options_parse_number(height, 64, 2160, &pixels[1]))
        return option_refuse(problem, size, "not WIDTHxHEIGHT, from 64x64 to 4096x2160 pixels");
    options->picture_width = (uint16_t)pixels[0];
    options->picture_height = (uint16_t)pixels[1];
    return true;
}

/* It has been read when the command line is parsed. */
static bool set_config(void *field, const char *value, char *problem, size_t size)
{
    const struct run *run = field;
    (void)value;
    return !run->in_file || option_refuse(problem, size, "a configuration file does not name another");
}

#define RUN(field)  offsetof(struct run, field)
#define SITE(field) offsetof(struct run, options.field)

static const struct option_entry entries[] = {
    { "root", "IMAGE",
      "The ext4 image that is the root file system. Changes are kept.\n"
      "Without it: the built-in image, with --snapshot.",
      option_set_text, RUN(root) },
    { "snapshot", NULL, "Throw changes to the image away at the end.",
      option_set_flag, SITE(snapshot) },
    { "disk", "FILE[,ro|,snapshot]",
      "One more disk: /dev/vdb, and /dev/vdc and on for more of them. With ro\n"
      "it can only be read, with snapshot changes are thrown away at the end.",
      set_disk, 0 },
    { "serial", "pty|SOCKET",
      "The console is on a pseudo-terminal, whose name is printed, or on a Unix socket\n"
      "of that name, made and waited for; without COMMAND the shell is there, too.",
      option_set_text, SITE(serial) },
    { "share", "DIR[:MOUNT][,ro]",
      "The host's folder DIR, inside at MOUNT (/mnt): docs/sharing.md.",
      set_share, 0 },
    { "memory", "SIZE",
      "Physical memory of the site; 512M unless said otherwise.\n"
      "Units are K, M, G and T. Frames never used cost the host nothing.",
      set_memory, SITE(memory) },
    { "cpus", "N", "User CPUs; all that the host allows unless said otherwise.",
      set_cpus, SITE(cpus) },
    { "processes", "N",
      "Most host processes at a time, one for each actor in user mode;\n"
      "512 unless said otherwise.",
      set_processes, SITE(processes) },
    { "name", "NAME",
      "What ps, top and stop call this site; the host's process number\n"
      "unless said otherwise.",
      set_name, RUN(name) },
    { "verbose", NULL, "Say on standard error what the site does, and what it left over.",
      option_set_flag, SITE(verbose) },
    { "log", "FILE", "Write messages to FILE, not to standard error.",
      option_set_text, SITE(log_file) },
    { "trace", "FILE",
      "Write switches, calls, messages and faults to FILE, for\n"
      "ui.perfetto.dev or chrome://tracing.",
      option_set_text, SITE(trace_file) },
    { "place", "SERVER=PLACE[,...]",
      "Where servers run: console, disk, net, screen, input, entropy, om, dm, sm,\n"
      "pm, share or all of them, each in a process of its own (user) or in the\n"
      "Nucleus's (supervisor).",
      set_place, SITE(placement) },
    { "net", "user|hub:SOCKET|tap:NAME|none",
      "A network device, one for each --net; user unless said otherwise.\n"
      "user: to the world through the host's own sockets. hub: an Ethernet\n"
      "between sites ('chorus hub'). tap: the host's interface NAME. Details\n"
      "follow after commas: mtu=BYTES, mac=ADDRESS, and loopback: programs\n"
      "may reach the host's own loopback by 10.0.2.2 (user only).",
      set_net, 0 },
    { "forward", "[tcp:|udp:][ADDRESS:]HOSTPORT:PORT",
      "With --net user: connections to the host's port reach PORT inside.\n"
      "ADDRESS is the host's; 127.0.0.1 unless said otherwise.",
      set_forward, SITE(nets) },
    { "capture", "FILE",
      "Write the frames of the --net before it to FILE, for wireshark.",
      set_capture, SITE(nets) },
    { "config", "FILE",
      "Read options from FILE first, one a line as NAME = VALUE without\n"
      "dashes; # begins a comment line. Otherwise from the chorus.conf that\n"
      "came with the program (LIBDIR/chorus; src/ in a build folder).",
      set_config, 0 },
    { "display", NULL,
      "Open a window: the console, and the framebuffer while somebody\n"
      "inside has /dev/fb0 open.",
      option_set_flag, SITE(display) },
    { "framebuffer", "WIDTHxHEIGHT",
      "Give the site a framebuffer, keyboard and mouse (/dev/fb0,\n"
      "/dev/input/event*); with --display it has them: 1024x768.",
      set_framebuffer, offsetof(struct run, options) },
    { "show", NULL,
      "Open a window that shows the site live; later: 'chorus show'.",
      option_set_flag, SITE(show) },
    { "strace", NULL, "Decode every Linux call to standard error or the log.",
      option_set_flag, SITE(strace) },
    { "rewrite", "off|on|TRAPS",
      "Whether system calls of programs become jumps into the Nucleus's\n"
      "gate, and after how many traps from one place. Otherwise on, " SITE_REWRITE_DEFAULT ".",
      set_rewrite, SITE(rewrite) },
    { "env", "NAME[=VALUE]",
      "Add NAME to the command's environment; without VALUE, with the\n"
      "value that it has outside.",
      set_env, 0 },
    { "user", "USER", "Run as USER of the image: NAME, UID or UID:GID. Otherwise root.",
      set_user, SITE(user) },
    { "cwd", "FOLDER", "Start in FOLDER of the image. Otherwise in the user's home.",
      set_cwd, SITE(folder) },
    { 0 },
};

static const struct option_table table = {
    .command = "chorus run",
    .usage = "[OPTION...] [-- COMMAND [ARG...]]",
    .summary = "Boot a site, and run COMMAND in it, or an interactive shell.",
    .notes =
        "COMMAND is looked up in the image. It gets standard input, output and error unchanged,\n"
        "runs as root in /root unless --user and --cwd say otherwise, and its environment is\n"
        "PATH, HOME, USER, LOGNAME, SHELL, LANG=C.UTF-8, TERM as it is outside, TZ with the rule of\n"
        "the host's time zone if that is not UTC, and what --env adds or replaces; nothing else comes in.\n"
        "\n"
        "The exit status is COMMAND's own, or 128+n when signal n ended it; 2 when the command\n"
        "line is wrong; 125 when the site does not boot or dies; 126 when COMMAND cannot be run\n"
        "and 127 when it is not found.\n"
        "\n"
        "On a terminal, Ctrl-A x ends the site at once, and Ctrl-A a sends Ctrl-A.",
    .entries = entries,
    .takes_command = true,
};

/* HOME, USER and LOGNAME of another user than root are the image's affair: whoever starts the
 * command reads them in its /etc/passwd. */
static bool fill_environment(struct run *run)
{
    const char *terminal = getenv("TERM");
    char zone[128];
    bool is_root = strcmp(run->options.user, "root") == 0;
    if (time_zone_rule(zone, sizeof zone) && (run->options.zone = strdup(zone)) == NULL)
        return false;
    if (run->options.display)
        terminal = "xterm-256color";
    if (terminal == NULL || *terminal == '\0' || strlen(terminal) > 100)
        terminal = isatty(STDIN_FILENO) ? "vt100" : "dumb";
    return environment_default(run, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
                                            "/sbin:/bin") &&
           (!is_root || (environment_default(run, "HOME", "/root") &&
                         environment_default(run, "USER", "root") &&
                         environment_default(run, "LOGNAME", "root"))) &&
           environment_default(run, "SHELL", "/bin/sh") &&
           environment_default(run, "LANG", "C.UTF-8") &&
           environment_default(run, "TERM", terminal) &&
           (run->options.zone == NULL || environment_default(run, "TZ", zone));
}

static bool fill_defaults(struct run *run)
{
    struct site_options *options = &run->options;
    char problem[160];
    if (!net_options_complete(&options->nets, problem, sizeof problem)) {
        fprintf(stderr, "chorus run: %s\n", problem);
        return false;
    }
    if (run->name != NULL)
        options->name = strdup(run->name);
    else if (asprintf(&options->name, "%ld", (long)getpid()) < 0)
        options->name = NULL;
    if (options->cpus == 0)
        options->cpus = cpus_allowed();
    if (options->user == NULL)
        options->user = "root";
    if (options->display && options->picture_width == 0) {
        options->picture_width = 1024;
        options->picture_height = 768;
    }
    if (options->name != NULL && fill_environment(run))
        return true;
    fprintf(stderr, "chorus run: %s\n", strerror(ENOMEM));
    return false;
}

/* The image is looked for here, so that a forgotten build step is a clear message. */
static bool find_root(struct run *run)
{
    struct site_options *options = &run->options;
    if (run->root != NULL && access(run->root, R_OK) != 0) {
        fprintf(stderr, "chorus run: --root %s: %s\n", run->root, strerror(errno));
        return false;
    }
    options->root_is_built_in = run->root == NULL;
    options->snapshot |= options->root_is_built_in;
    options->root_image = run->root != NULL ? strdup(run->root) : place_of_root_image();
    if (options->root_image == NULL) {
        fprintf(stderr, "chorus run: no root image (%s); name one by --root\n", strerror(errno));
        return false;
    }
    return true;
}

/* A whole file as a string, to be freed; NULL with errno. */
static char *read_text(const char *path)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return NULL;
    if (getdelim(&text, &size, '\0', file) < 0 && !ferror(file) && text != NULL)
        *text = '\0'; /* it is empty */
    int error = ferror(file) ? errno : 0;
    fclose(file);
    if (error != 0) {
        free(text);
        errno = error;
        return NULL;
    }
    return text;
}

/* The options that the command line overrides. The program's own file may be missing, one that was asked for not. */
static enum options_verdict read_config(struct run *run, const char *asked)
{
    char *own = asked == NULL ? place_of_tool("chorus.conf") : NULL;
    const char *path = asked != NULL ? asked : own;
    if (path == NULL)
        return OPTIONS_GO_ON;
    enum options_verdict verdict = OPTIONS_MISUSED;
    run->options.config_text = read_text(path);
    run->in_file = true;
    if (run->options.config_text == NULL)
        fprintf(stderr, "chorus run: --config %s: %s\n", path, strerror(errno));
    else
        verdict = options_parse_lines(&table, run, run->options.config_text, path);
    run->in_file = false;
    free(own);
    return verdict;
}

enum options_verdict options_parse_run(char **argv, struct site_options *ret_options)
{
    struct run run = { .options = { .memory = SITE_MEMORY_DEFAULT,
                                    .processes = SITE_PROCESSES_DEFAULT } };
    enum options_verdict verdict = read_config(&run, options_peek(&table, argv, "config"));
    if (verdict == OPTIONS_GO_ON)
        verdict = options_parse(&table, &run, argv, &run.options.command);
    if (verdict == OPTIONS_GO_ON && !find_root(&run))
        verdict = OPTIONS_MISUSED;
    if (verdict == OPTIONS_GO_ON && !fill_defaults(&run))
        verdict = OPTIONS_MISUSED;
    if (verdict == OPTIONS_GO_ON)
        *ret_options = run.options;
    else
        options_free_run(&run.options);
    return verdict;
}

void options_free_run(struct site_options *options)
{
    for (char **at = options->environment; at != NULL && *at != NULL; at++)
        free(*at);
    free(options->environment);
    free(options->name);
    free(options->zone);
    free(options->root_image);
    for (unsigned i = 0; i < options->disk_count; i++)
        free(options->disks[i].path);
    for (unsigned i = 0; i < options->share_count; i++)
        free(options->shares[i].folder);
    net_options_free(&options->nets);
    free(options->config_text);
    *options = (struct site_options){ 0 };
}
