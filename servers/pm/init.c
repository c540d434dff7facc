/* Process 1, and the end of the site. */

#include "init.h"

#include <sys/wait.h>

#include "call.h"
#include "device.h"
#include "file_server.h"
#include "job.h"
#include "path.h"
#include "process.h"
#include "signals.h"
#include "waiting.h"

#define GRACE (1 * NANOSECONDS)     /* between SIGTERM and SIGKILL */
#define LAST_GRACE (1 * NANOSECONDS) /* between SIGKILL and the end without looking back */

static pid_t command;
static struct timeout grace;
static enum { RUNNING, ASKED, KILLED, HALTING } phase;
static int exit_status;

static bool nobody_lives(void)
{
    LIST_EACH(&processes, at) {
        struct process *process = LIST_ENTRY(at, struct process, link);
        if (!process->is_init && process->state != PROCESS_ZOMBIE)
            return false;
    }
    return true;
}

/* Interactive shells ignore SIGTERM, and would make everybody wait for SIGKILL: but they end when
 * their terminal hangs up, which it is about to do. */
static bool leads_terminal(const struct process *process)
{
    return process->group->session->sid == process->pid && process->group->session->terminal != 0;
}

static void ask_to_end(struct process *process)
{
    signal_raise(process, SIGTERM);
    if (leads_terminal(process))
        signal_raise(process, SIGHUP);
    signal_raise(process, SIGCONT);
}

static void ask_everybody_to_end(void)
{
    LIST_EACH(&processes, at) {
        struct process *process = LIST_ENTRY(at, struct process, link);
        if (!process->is_init && process->state != PROCESS_ZOMBIE)
            ask_to_end(process);
    }
}

static void kill_everybody(void)
{
    LIST_EACH(&processes, at) {
        struct process *process = LIST_ENTRY(at, struct process, link);
        if (!process->is_init)
            signal_raise(process, SIGKILL);
    }
}

/* Gives up the lock; nothing runs any more. */
static void halt(void)
{
    if (phase == HALTING)
        return;
    phase = HALTING;
    timeout_disarm(&grace);
    device_server_drain();
    int error = file_server_shutdown();
    if (error != 0)
        pm_log("the file system was not closed cleanly: %s", strerror(-error));
    sysShutdown(exit_status, 0);
}

static void grace_over(struct timeout *timeout)
{
    if (phase == ASKED) {
        phase = KILLED;
        timeout_arm(timeout, time_now() + LAST_GRACE);
        kill_everybody();
    } else if (phase == KILLED) {
        pm_log("some processes do not end; the site ends without them");
        halt();
    }
}

void init_shut_down(int status)
{
    if (phase != RUNNING)
        return;
    exit_status = status;
    phase = ASKED;
    timeout_arm(&grace, time_now() + GRACE);
    ask_everybody_to_end();
    if (nobody_lives())
        halt();
}

void init_child_ended(const struct process *process)
{
    int status = process->exit_status;
    bool was_command = process->pid == command;
    if (was_command)
        command = 0;
    if (was_command && phase == RUNNING)
        init_shut_down(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    else if ((phase == ASKED || phase == KILLED) && nobody_lives())
        halt();
}

/* As busybox's init understands them: halt, power off, restart. */
void init_signal(int signal)
{
    if (signal == SIGUSR1 || signal == SIGUSR2 || signal == SIGTERM)
        init_shut_down(0);
}

void init_watch(pid_t pid)
{
    command = pid;
}

int init_make(void)
{
    static struct signal_table no_actions = { .references = 1 };
    pid_t pid = pid_new();
    struct process *init = process_new(NULL, pid);
    if (init == NULL)
        return -ENOMEM;
    process_init = init;
    init->is_init = true;
    init->parent = init;
    init->signals = &no_actions;
    strcpy(init->name, "init");
    timeout_init(&grace, grace_over);
    return job_new_session(init);
}

#define REBOOT_MAGIC 0xfee1deadu

int64_t linux_reboot(struct call *call)
{
    if ((uint32_t)call->arg[0] != REBOOT_MAGIC)
        return -EINVAL;
    switch ((uint32_t)call->arg[1]) {
    case 0x28121969: case 0x05121996: case 0x16041998: case 0x20112000: break;
    default: return -EINVAL;
    }
    if (call_process(call)->credentials.euid != 0)
        return -EPERM;
    switch ((uint32_t)call->arg[2]) {
    case 0x00000000: case 0x89abcdef: return 0; /* what ^A^D does */
    case 0x01234567: case 0xcdef0123: case 0x4321fedc: break;
    default: return -EINVAL;
    }
    init_shut_down(0);
    return 0;
}
