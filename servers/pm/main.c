/* The Process Manager: start.
 *
 *   pm [--verbose] [--strace] [--network] [--rewrite TRAPS] [--zone RULE] [--env NAME=VALUE]... [--user UID[:GID]|NAME] [--cwd FOLDER]
 *      [--stream N]... [--] COMMAND [ARG...]
 *
 * COMMAND becomes the first child of process 1, which is pm itself (init.h); its end is the site's end.
 * Descriptors 0, 1, 2 are the console terminal, but for those named by --stream: these are the program's own
 * standard input, output or error, passed through unchanged. Without COMMAND: a login shell.
 */

#include <malloc.h>
#include <protocol/share.h>
#include <stdio.h>
#include <sys/stat.h>

#include "call.h"
#include "device.h"
#include "exec.h"
#include "file_server.h"
#include "init.h"
#include "job.h"
#include "rlimits.h"
#include "mount.h"
#include "open.h"
#include "own_files.h"
#include "process.h"
#include "signals.h"
#include "worker.h"

#define WORKERS 3 /* to begin with */
#define ENVIRONMENT_MOST 256
#define RESERVE (2u << 20) /* bytes */

/* The program's exit status when there is no command to have one. */
enum { NOT_BOOTED = 125, NOT_RUN = 126, NOT_FOUND = 127 };
static int end_status = NOT_BOOTED;

struct pm_options pm_options;

struct shared_folder {
    const char *mount;
    bool read_only;
};

struct command {
    struct shared_folder shares[SHARES_MAX];
    unsigned share_count;
    char *environment[ENVIRONMENT_MOST + 1];
    unsigned environment_count;
    const char *user, *folder;
    bool stream[3];
    char **argv;
    struct credentials credentials;
    char home[256], name[64];
};

/* ---- options ---- */

static bool parse(int argc, char **argv, struct command *command)
{
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        const char *option = argv[at], *value = at + 1 < argc ? argv[at + 1] : NULL;
        if (strcmp(option, "--") == 0) {
            at++;
            break;
        }
        if (strcmp(option, "--verbose") == 0) {
            pm_options.verbose = true;
            continue;
        }
        if (strcmp(option, "--network") == 0) {
            pm_options.network = true;
            continue;
        }
        if (strcmp(option, "--strace") == 0) {
            pm_options.strace = true;
            continue;
        }
        if (value == NULL)
            return false;
        at++;
        bool read_only = strcmp(option, "--share-ro") == 0;
        if ((read_only || strcmp(option, "--share") == 0) && command->share_count < SHARES_MAX)
            command->shares[command->share_count++] = (struct shared_folder){ value, read_only };
        else if (strcmp(option, "--rewrite") == 0)
            pm_options.rewrite_after = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(option, "--zone") == 0)
            pm_options.zone = value;
        else if (strcmp(option, "--env") == 0 && command->environment_count < ENVIRONMENT_MOST)
            command->environment[command->environment_count++] = argv[at];
        else if (strcmp(option, "--user") == 0)
            command->user = value;
        else if (strcmp(option, "--cwd") == 0)
            command->folder = value;
        else if (strcmp(option, "--stream") == 0 && value[0] >= '0' && value[0] <= '2')
            command->stream[value[0] - '0'] = true;
        else
            return false;
    }
    command->argv = argv + at;
    return true;
}

static const char *environment_get(const struct command *command, const char *name)
{
    size_t length = strlen(name);
    for (unsigned i = 0; i < command->environment_count; i++)
        if (strncmp(command->environment[i], name, length) == 0 &&
            command->environment[i][length] == '=')
            return command->environment[i] + length + 1;
    return NULL;
}

static void environment_default(struct command *command, const char *name, const char *value)
{
    char *text;
    if (environment_get(command, name) != NULL || command->environment_count == ENVIRONMENT_MOST ||
        asprintf(&text, "%s=%s", name, value) < 0)
        return;
    command->environment[command->environment_count++] = text;
}

/* ---- who ---- */

/* A whole small file of the root, for /etc/passwd and /etc/group. NULL: there is none. */
static char *read_whole(struct call *call, const char *path)
{
    struct file *file;
    char *text = NULL;
    if (open_path(call, AT_FDCWD, path, O_RDONLY, 0, 0, &file) != 0)
        return NULL;
    const KnCap *segment = file->has_segment ? &file->segment : NULL;
    if (segment != NULL && (text = calloc(1, 65536 + 1)) != NULL)
        sgRead(segment, 0, text, 65536);
    file_release(file);
    return text;
}

/* The groups that name the user as a member. */
static void add_groups(struct command *command, char *text)
{
    char *line, *rest = text;
    if (command->name[0] == '\0')
        return;
    while (text != NULL && (line = strsep(&rest, "\n")) != NULL) {
        char *group = strsep(&line, ":");
        strsep(&line, ":");
        char *gid = strsep(&line, ":"), *member;
        while (group != NULL && gid != NULL && line != NULL &&
               (member = strsep(&line, ",")) != NULL)
            if (strcmp(member, command->name) == 0 &&
                command->credentials.group_count < GROUPS_MAX)
                command->credentials.groups[command->credentials.group_count++] =
                    (uint32_t)strtoul(gid, NULL, 10);
    }
}

static bool find_user(struct command *command, char *text, const char *wanted, bool by_number,
                      uint32_t uid)
{
    char *line, *rest = text;
    while (text != NULL && (line = strsep(&rest, "\n")) != NULL) {
        char *name = strsep(&line, ":");
        strsep(&line, ":");
        char *id = strsep(&line, ":"), *gid = strsep(&line, ":");
        strsep(&line, ":");
        char *home = strsep(&line, ":");
        if (home == NULL)
            continue;
        uint32_t number = (uint32_t)strtoul(id, NULL, 10);
        if (by_number ? number != uid : strcmp(name, wanted) != 0)
            continue;
        command->credentials.uid = number;
        command->credentials.gid = (uint32_t)strtoul(gid, NULL, 10);
        snprintf(command->home, sizeof command->home, "%s", home);
        snprintf(command->name, sizeof command->name, "%s", name);
        return true;
    }
    return false;
}

static int decide_user(struct call *call, struct command *command)
{
    struct credentials *who = &command->credentials;
    const char *user = command->user != NULL ? command->user : "root";
    char *end, *passwd = read_whole(call, "/etc/passwd"), *group = read_whole(call, "/etc/group");
    unsigned long number = strtoul(user, &end, 10);
    bool by_number = end != user;
    bool found = find_user(command, passwd, user, by_number, (uint32_t)number);
    if (!found && !by_number && strcmp(user, "root") != 0)
        return -ENOENT;
    if (!found) {
        who->uid = who->gid = by_number ? (uint32_t)number : 0;
        snprintf(command->home, sizeof command->home, "%s", who->uid == 0 ? "/root" : "/");
        snprintf(command->name, sizeof command->name, "%s", by_number ? "" : user);
    }
    if (by_number && *end == ':')
        who->gid = (uint32_t)strtoul(end + 1, NULL, 10);
    add_groups(command, group);
    free(passwd);
    free(group);
    who->euid = who->suid = who->fsuid = who->uid;
    who->egid = who->sgid = who->fsgid = who->gid;
    who->bounding = CAPABILITIES_ALL;
    who->permitted = who->effective = who->uid == 0 ? CAPABILITIES_ALL : 0;
    return 0;
}

/* ---- the first process ---- */

/* What descriptor <fd> of the command is to be. */
static uint32_t device_of(const struct command *command, int fd)
{
    static const uint32_t streams[] = { TTY_STDIN, TTY_STDOUT, TTY_STDERR };
    return command->stream[fd] ? streams[fd] : TTY_HVC;
}

/* The console terminal by its name, if it has one, or a stream. */
static int open_first(struct call *call, uint32_t device, int fd, struct file **ret_file)
{
    struct process *process = call_process(call);
    if (device != TTY_HVC)
        return device_open_first(process, device, fd == 0 ? O_RDONLY : O_WRONLY, ret_file);
    if (open_path(call, AT_FDCWD, "/dev/hvc0", O_RDWR, 0, 0, ret_file) == 0)
        return 0;
    return device_open_first(process, TTY_HVC, O_RDWR, ret_file);
}

static int open_streams(struct call *call, const struct command *command)
{
    struct file *terminal = NULL;
    for (int fd = 0; fd < 3; fd++) {
        struct file *file = terminal;
        int error = 0;
        if (!command->stream[fd] && terminal != NULL)
            file_reference(terminal);
        else
            error = open_first(call, device_of(command, fd), fd, &file);
        if (error != 0)
            return error;
        if (!command->stream[fd])
            terminal = file;
        int got = descriptor_add(call_process(call), file, false, fd);
        if (got != fd)
            return got < 0 ? got : -EMFILE;
    }
    return 0;
}

static struct process *first_process(void)
{
    struct process *process = process_new(process_init, pid_new());
    if (process == NULL)
        return NULL;
    process->fs = fs_view_new(process_init->fs);
    process->signals = signal_table_new(NULL);
    process->descriptors = descriptor_table_new();
    limits_default(process->limits);
    if (process->fs == NULL || process->signals == NULL || process->descriptors == NULL ||
        job_new_session(process) != 0)
        return NULL;
    return process;
}

/* The command by name, along PATH. */
static int run(struct process *process, struct command *command)
{
    const char *name = command->argv[0], *path = environment_get(command, "PATH");
    char full[4096];
    int error = -ENOENT, worst = -ENOENT;
    if (strchr(name, '/') != NULL)
        return exec_first(process, name, command->argv, command->environment);
    for (const char *at = path != NULL ? path : "/bin:/usr/bin"; *at != '\0';) {
        size_t length = strcspn(at, ":");
        snprintf(full, sizeof full, "%.*s%s%s", (int)length, at, length > 0 ? "/" : "./", name);
        error = exec_first(process, full, command->argv, command->environment);
        if (error != -ENOENT && error != -ENOTDIR && error != -EACCES)
            return error;
        if (error == -EACCES)
            worst = error;
        at += length + (at[length] == ':');
    }
    return worst;
}

/* Go to a directory; the process is not running yet. */
static int go_to(struct process *process, struct call *call, const char *folder)
{
    struct path_walk walk;
    int error = path_find(call, AT_FDCWD, folder, true, 1, &walk);
    if (error == 0 && !S_ISDIR(walk.exchange.reply.attributes.mode))
        error = -ENOTDIR;
    if (error == 0) {
        place_clear(&process->fs->cwd);
        process->fs->cwd.node = (struct file_node){
            .port = walk.server.port, .key = walk.exchange.reply.attributes.key };
        process->fs->cwd.path = walk.path;
        walk.path = NULL;
    }
    path_end(&walk);
    return error;
}

static void say_not_run(const struct command *command, const char *name, int error)
{
    char line[512];
    snprintf(line, sizeof line, "chorus: %s: %s\n", name, strerror(-error));
    device_server_say(device_of(command, 2), line);
}

static void decide_environment(struct command *command)
{
    environment_default(command, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
                                         "/sbin:/bin");
    environment_default(command, "HOME", command->home);
    environment_default(command, "USER", command->name);
    environment_default(command, "LOGNAME", command->name);
    environment_default(command, "SHELL", "/bin/sh");
    environment_default(command, "TERM", "vt100");
}

/* Streams first: what goes wrong is said there. */
static int prepare(struct process *process, struct call *call, struct command *command)
{
    int error = open_streams(call, command);
    if (error != 0)
        pm_log("the console cannot be opened: %s", strerror(-error));
    error = decide_user(call, command);
    if (error != 0) {
        say_not_run(command, command->user, error);
        return error;
    }
    decide_environment(command);
    const char *folder = command->folder != NULL ? command->folder : command->home;
    error = go_to(process, call, folder);
    if (error != 0 && command->folder != NULL) {
        say_not_run(command, folder, error);
        return error;
    }
    process->credentials = command->credentials;
    return 0;
}

static int start_command(struct command *command)
{
    static char *shell[] = { (char *)"sh", (char *)"-l", NULL };
    struct process *process = first_process();
    if (process == NULL)
        return -ENOMEM;
    /* A thread for the time of looking things up; exec_first makes the real one. */
    struct thread *thread = thread_new(process, process->pid);
    if (thread == NULL)
        return -ENOMEM;
    thread->where = THREAD_SERVED;
    int error = prepare(process, &thread->call, command);
    thread_discard(thread);
    if (error != 0) {
        process_discard(process);
        return error;
    }
    if (command->argv[0] == NULL)
        command->argv = shell;
    init_watch(process->pid);
    error = run(process, command);
    if (error != 0) {
        say_not_run(command, command->argv[0], error);
        process_discard(process);
        end_status = error == -ENOENT ? NOT_FOUND : NOT_RUN;
    }
    return error;
}

/* ---- start ---- */

static int mount_all(void)
{
    static const struct { const char *path, *type; } wanted[] = {
        { "/proc", "proc" }, { "/dev", "devtmpfs" }, { "/dev/pts", "devpts" },
        { "/dev/shm", "tmpfs" }, { "/run", "tmpfs" },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        int error = mount_at_boot(wanted[i].path, wanted[i].type, wanted[i].type);
        if (error != 0 && pm_options.verbose)
            pm_log("%s is not mounted: %s", wanted[i].path, strerror(-error));
        if (error == 0 && strcmp(wanted[i].path, "/dev") == 0)
            mount_fill_dev();
    }
    return 0;
}

/* Folders of the host. Without one the command would work on the wrong files: it is not begun. */
static int mount_shares(const struct command *command)
{
    for (unsigned i = 0; i < command->share_count; i++) {
        int error = mount_share(i, command->shares[i].mount, command->shares[i].read_only);
        if (error == 0)
            continue;
        fprintf(stderr, "the host's folder cannot be mounted on %s: %s\n", command->shares[i].mount, strerror(-error));
        return error;
    }
    return 0;
}

/* What the command is to read and write is there before /dev is made, which lists what is there. */
static void find_devices(const struct command *command)
{
    int error = device_server_find();
    if (error != 0)
        pm_log("there is no device server");
    for (int fd = 0; error == 0 && fd < 3; fd++)
        error = device_server_await(device_of(command, fd));
}

static int boot(struct command *command)
{
    struct file_node root;
    int error = init_make();
    if (error == 0)
        error = file_server_find(&root);
    if (error != 0) {
        pm_log("there is no file server: %s", strerror(-error));
        return error;
    }
    error = mount_root(root);
    process_init->fs = fs_view_new(NULL);
    if (error != 0 || process_init->fs == NULL)
        return -ENOMEM;
    process_init->fs->root = (struct place){ .node = root, .path = strdup("/") };
    process_init->fs->cwd = (struct place){ .node = root, .path = strdup("/") };
    process_init->credentials.bounding = CAPABILITIES_ALL;
    find_devices(command);
    mount_all();
    error = mount_shares(command);
    return error != 0 ? error : start_command(command);
}

/* Memory that is there when the site has none left: pm must go on then, to end whom it ends. */
static void reserve_memory(void)
{
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, RESERVE);
    void *reserve = malloc(RESERVE);
    if (reserve != NULL)
        memset(reserve, 1, RESERVE);
    free(reserve);
}

int main(int argc, char **argv)
{
    static struct command command;
    reserve_memory();
    if (!parse(argc, argv, &command)) {
        pm_log("its arguments are malformed");
        return 2;
    }
    int status = worker_open_port();
    if (status < 0) {
        pm_log("no port: %s", knStrError(status));
        return 1;
    }
    pm_lock();
    int error = boot(&command);
    if (error != 0)
        init_shut_down(end_status);
    pm_unlock();
    return workers_run(WORKERS);
}
