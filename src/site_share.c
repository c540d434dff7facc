/* Shared folders: see site_share.h.
 *
 * The process has the folder, its socket and the user's rights, and nothing else of the site: no memory of actors, no other descriptor. Where
 * the host knows Landlock it also has no right to any file outside of the folder. */
#include "site_share.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <share/share.h>

#include "site.h"

static struct {
    int sockets[SITE_SHARES_MOST];
    pid_t processes[SITE_SHARES_MOST];
    unsigned count;
} site;

/* All that Landlock's second version knows: below the folder, and nowhere else. Older hosts do without: the first version forbids links and
 * renames from folder to folder. */
static void confine(int folder)
{
    const struct landlock_ruleset_attr all = { .handled_access_fs = (LANDLOCK_ACCESS_FS_REFER << 1) - 1 };
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 2)
        return;
    const struct landlock_path_beneath_attr beneath = { .allowed_access = all.handled_access_fs, .parent_fd = folder };
    int rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);
    if (rules < 0)
        return;
    if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == 0)
        syscall(SYS_landlock_restrict_self, rules, 0);
    close(rules);
}

static void process_run(int folder, int socket, bool read_only)
{
    static const int ignored[] = { SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGTSTP, SIGXFSZ, SIGPIPE };
    struct rlimit files;
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    prctl(PR_SET_NAME, "share");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    /* 3 and 4, and nothing else. */
    int high = fcntl(folder, F_DUPFD_CLOEXEC, 16), other = fcntl(socket, F_DUPFD_CLOEXEC, 16);
    if (high < 0 || other < 0 || dup3(high, 3, O_CLOEXEC) < 0 || dup3(other, 4, O_CLOEXEC) < 0)
        _exit(1);
    syscall(SYS_close_range, 5, ~0u, 0);
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    confine(3);
    umask(0);
    struct share *share = share_new(3, read_only);
    if (share != NULL)
        share_run(share, 4);
    _exit(share != NULL ? 0 : 1);
}

static bool share_start(const struct site_share *share)
{
    int pair[2], folder = open(share->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || faccessat(folder, ".", R_OK | X_OK, 0) != 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        fprintf(stderr, "chorus run: --share %s: %s\n", share->folder, strerror(errno));
        if (folder >= 0)
            close(folder);
        return false;
    }
    pid_t pid = fork();
    if (pid == 0)
        process_run(folder, pair[1], share->read_only);
    close(folder);
    close(pair[1]);
    if (pid < 0) {
        fprintf(stderr, "chorus run: --share %s: %s\n", share->folder, strerror(errno));
        close(pair[0]);
        return false;
    }
    site.sockets[site.count] = pair[0];
    site.processes[site.count++] = pid;
    return true;
}

bool site_shares_prepare(const struct site_share *shares, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!share_start(&shares[i])) {
            site_shares_stop();
            return false;
        }
    return true;
}

int site_share_take(unsigned index)
{
    int socket = site.sockets[index];
    site.sockets[index] = -1;
    return socket;
}

void site_shares_stop(void)
{
    for (unsigned i = 0; i < site.count; i++) {
        if (site.sockets[i] >= 0)
            close(site.sockets[i]);
        while (waitpid(site.processes[i], NULL, 0) < 0 && errno == EINTR)
            ;
    }
    site.count = 0;
}
