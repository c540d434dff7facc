/* /proc: the files about the site as a whole. */

#include <limits.h>
#include <unistd.h>

#include "block.h"
#include "local.h"
#include "mount.h"
#include "net.h"
#include "proc.h"
#include "process.h"
#include "system.h"

static KnSysInfo site(void)
{
    KnSysInfo info;
    memset(&info, 0, sizeof info);
    sysInfo(&info);
    return info;
}

static int print_meminfo(FILE *out)
{
    KnSysInfo info = site();
    KnVmStat memory;
    KnCap whole;
    memset(&whole, 0, sizeof whole);
    memset(&memory, 0, sizeof memory);
    vmStat(&whole, &memory);
    unsigned long total = info.frames * 4, left = info.framesFree * 4;
    unsigned long cached = memory.pagesCache * 4;
    fprintf(out, "MemTotal:       %8lu kB\nMemFree:        %8lu kB\nMemAvailable:   %8lu kB\n"
                 "Buffers:        %8lu kB\nCached:         %8lu kB\nSwapCached:     %8lu kB\n"
                 "Dirty:          %8lu kB\nMapped:         %8lu kB\nShmem:          %8lu kB\n"
                 "SReclaimable:   %8lu kB\nSwapTotal:      %8lu kB\nSwapFree:       %8lu kB\n",
            total, left, left + cached, 0ul, cached, 0ul, (unsigned long)memory.pagesDirty * 4,
            (unsigned long)memory.pagesPrivate * 4, 0ul, 0ul, 0ul, 0ul);
    return 0;
}

static int print_stat(FILE *out)
{
    KnSysInfo info = site();
    KnTime tick = NANOSECONDS / 100, now = time_now();
    KnTime busy = 0, running = 0, blocked = 0, count = 0;
    unsigned cpus = info.cpus > 0 ? info.cpus : 1;
    LIST_EACH(&processes, at) {
        struct process *process = LIST_ENTRY(at, struct process, link);
        struct usage_times times = process_times(process);
        busy += times.user + times.system;
        count++;
        LIST_EACH(&process->threads, one) {
            const struct thread *thread = LIST_ENTRY(one, struct thread, of_process);
            running += thread->where == THREAD_OUTSIDE && !thread->in_call;
        }
    }
    KnTime idle = info.idleTime > 0 ? info.idleTime : now * (KnTime)cpus - busy;
    if (idle < 0)
        idle = 0;
    fprintf(out, "cpu  %lld 0 0 %lld 0 0 0 0 0 0\n", (long long)(busy / tick),
            (long long)(idle / tick));
    for (unsigned i = 0; i < cpus; i++)
        fprintf(out, "cpu%u %lld 0 0 %lld 0 0 0 0 0 0\n", i, (long long)(busy / tick / cpus),
                (long long)(idle / tick / cpus));
    fprintf(out, "intr 0\nctxt %llu\nbtime %lld\nprocesses %lld\nprocs_running %lld\n"
                 "procs_blocked %lld\n",
            (unsigned long long)info.switches, (long long)((time_of_day() - now) / NANOSECONDS),
            (long long)count, (long long)running, (long long)blocked);
    return 0;
}

static int print_uptime(FILE *out)
{
    KnTime now = time_now(), idle = site().idleTime;
    fprintf(out, "%lld.%02lld %lld.%02lld\n", (long long)(now / NANOSECONDS),
            (long long)(now % NANOSECONDS / 10000000), (long long)(idle / NANOSECONDS),
            (long long)(idle % NANOSECONDS / 10000000));
    return 0;
}

static int print_loadavg(FILE *out)
{
    unsigned running = 0, count = 0;
    pid_t last = 0;
    LIST_EACH(&processes, at) {
        const struct process *process = LIST_ENTRY(at, struct process, link);
        count += process->thread_count;
        last = process->pid > last ? process->pid : last;
        LIST_EACH((struct list *)&process->threads, one) {
            const struct thread *thread = LIST_ENTRY(one, struct thread, of_process);
            running += thread->where == THREAD_OUTSIDE && !thread->in_call;
        }
    }
    /* No average is kept: what runs now stands for it. */
    fprintf(out, "%u.00 %u.00 %u.00 %u/%u %d\n", running, running, running, running, count, last);
    return 0;
}

static void brand_string(char *brand)
{
    for (unsigned i = 0; i < 3; i++) {
        uint32_t words[4];
        __asm__ volatile("cpuid" : "=a"(words[0]), "=b"(words[1]), "=c"(words[2]), "=d"(words[3])
                                 : "a"(0x80000002u + i), "c"(0));
        memcpy(brand + i * 16, words, 16);
    }
    brand[48] = '\0';
}

static int print_cpuinfo(FILE *out)
{
    char brand[49];
    brand_string(brand);
    for (unsigned i = 0; i < site().cpus; i++)
        fprintf(out, "processor\t: %u\nvendor_id\t: Chorus\nmodel name\t: %s\n"
                     "cpu MHz\t\t: 1000.000\ncpu cores\t: %u\n\n",
                i, brand + strspn(brand, " "), site().cpus);
    return 0;
}

static int print_version(FILE *out)
{
    fprintf(out, "%s version %s (chorus) %s\n", system_names.sysname, system_names.release,
            system_names.version);
    return 0;
}

static int print_filesystems(FILE *out)
{
    fprintf(out, "nodev\tproc\nnodev\ttmpfs\nnodev\tdevtmpfs\nnodev\tdevpts\nnodev\tshare\n\text4\n\text3\n\text2\n");
    return 0;
}

static int print_cmdline(FILE *out)
{
    fprintf(out, "chorus\n");
    return 0;
}

static int print_devices(FILE *out)
{
    fprintf(out, "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n"
                 " 10 misc\n136 pts\n229 hvc\n\nBlock devices:\n");
    return 0;
}

static int print_nothing(FILE *out)
{
    (void)out;
    return 0;
}

static int print_swaps(FILE *out)
{
    fprintf(out, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    return 0;
}

/* ---- sys ---- */

static int print_hostname(FILE *out)
{
    fprintf(out, "%s\n", system_names.nodename);
    return 0;
}

static int set_hostname(const char *text, struct thread *thread)
{
    if (thread == NULL || thread->process->credentials.euid != 0)
        return -EPERM;
    snprintf(system_names.nodename, sizeof system_names.nodename, "%.*s",
             (int)strcspn(text, "\n"), text);
    return 0;
}

static int print_domainname(FILE *out)
{
    fprintf(out, "%s\n", system_names.domainname);
    return 0;
}

static int print_ostype(FILE *out)
{
    fprintf(out, "%s\n", system_names.sysname);
    return 0;
}

static int print_osrelease(FILE *out)
{
    fprintf(out, "%s\n", system_names.release);
    return 0;
}

static int print_os_version(FILE *out)
{
    fprintf(out, "%s\n", system_names.version);
    return 0;
}

static int print_pid_max(FILE *out)
{
    fprintf(out, "32768\n");
    return 0;
}

static int print_threads_max(FILE *out)
{
    fprintf(out, "32768\n");
    return 0;
}

static int print_random_uuid(FILE *out)
{
    uint8_t b[16];
    sysRandom(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    for (int i = 0; i < 16; i++)
        fprintf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
    fprintf(out, "\n");
    return 0;
}

static int print_boot_id(FILE *out)
{
    static char *id;
    size_t size;
    if (id == NULL) {
        FILE *text = open_memstream(&id, &size);
        if (text == NULL)
            return -ENOMEM;
        print_random_uuid(text);
        fclose(text);
    }
    fputs(id, out);
    return 0;
}

static int print_entropy(FILE *out)
{
    fprintf(out, "256\n");
    return 0;
}

static int print_overcommit(FILE *out)
{
    fprintf(out, "1\n");
    return 0;
}

static int print_file_max(FILE *out)
{
    fprintf(out, "1048576\n");
    return 0;
}

static int print_pipe_max(FILE *out)
{
    fprintf(out, "65536\n");
    return 0;
}

/* ---- /proc/net: sm's ---- */

#define PRINT_NET(name, text) \
    static int print_net_##name(FILE *out) \
    { \
        return net_print(text, out); \
    }
PRINT_NET(arp, SOCKET_TEXT_ARP)
PRINT_NET(dev, SOCKET_TEXT_DEV)
PRINT_NET(if_inet6, SOCKET_TEXT_IF_INET6)
PRINT_NET(ipv6_route, SOCKET_TEXT_IPV6_ROUTE)
PRINT_NET(pnp, SOCKET_TEXT_PNP)
PRINT_NET(raw, SOCKET_TEXT_RAW)
PRINT_NET(raw6, SOCKET_TEXT_RAW6)
PRINT_NET(route, SOCKET_TEXT_ROUTE)
PRINT_NET(tcp, SOCKET_TEXT_TCP)
PRINT_NET(tcp6, SOCKET_TEXT_TCP6)
PRINT_NET(udp, SOCKET_TEXT_UDP)
PRINT_NET(udp6, SOCKET_TEXT_UDP6)
#undef PRINT_NET

/* Files of one folder stand together. */
const struct proc_file proc_system_files[] = {
    { .path = "chorus/actors", .text = proc_print_actors, .write = proc_write_actors },
    { .path = "chorus/answer", .text = proc_print_answer },
    { .path = "chorus/localtime", .text = proc_print_zone, .size = proc_zone_size }, /* libc looks at it */
    { .path = "cmdline", .text = print_cmdline },
    { .path = "cpuinfo", .text = print_cpuinfo },
    { .path = "devices", .text = print_devices },
    { .path = "filesystems", .text = print_filesystems },
    { .path = "interrupts", .text = print_nothing },
    { .path = "loadavg", .text = print_loadavg },
    { .path = "meminfo", .text = print_meminfo },
    { .path = "modules", .text = print_nothing },
    { .path = "net/arp", .text = print_net_arp },
    { .path = "net/dev", .text = print_net_dev },
    { .path = "net/if_inet6", .text = print_net_if_inet6 },
    { .path = "net/ipv6_route", .text = print_net_ipv6_route },
    { .path = "net/pnp", .text = print_net_pnp },
    { .path = "net/raw", .text = print_net_raw },
    { .path = "net/raw6", .text = print_net_raw6 },
    { .path = "net/route", .text = print_net_route },
    { .path = "net/tcp", .text = print_net_tcp },
    { .path = "net/tcp6", .text = print_net_tcp6 },
    { .path = "net/udp", .text = print_net_udp },
    { .path = "net/udp6", .text = print_net_udp6 },
    { .path = "net/unix", .text = local_print },
    { .path = "partitions", .text = block_print_partitions },
    { .path = "stat", .text = print_stat },
    { .path = "swaps", .text = print_swaps },
    { .path = "sys/fs/file-max", .text = print_file_max },
    { .path = "sys/fs/pipe-max-size", .text = print_pipe_max },
    { .path = "sys/kernel/domainname", .text = print_domainname },
    { .path = "sys/kernel/hostname", .text = print_hostname, .write = set_hostname },
    { .path = "sys/kernel/osrelease", .text = print_osrelease },
    { .path = "sys/kernel/ostype", .text = print_ostype },
    { .path = "sys/kernel/pid_max", .text = print_pid_max },
    { .path = "sys/kernel/random/boot_id", .text = print_boot_id },
    { .path = "sys/kernel/random/entropy_avail", .text = print_entropy },
    { .path = "sys/kernel/random/uuid", .text = print_random_uuid },
    { .path = "sys/kernel/threads-max", .text = print_threads_max },
    { .path = "sys/kernel/version", .text = print_os_version },
    { .path = "sys/vm/overcommit_memory", .text = print_overcommit },
    { .path = "uptime", .text = print_uptime },
    { .path = "version", .text = print_version },
    { .path = NULL },
};

/* ---- mounts ---- */

int proc_print_mounts(FILE *out)
{
    LIST_EACH(&mounts, at) {
        const struct mount *mount = LIST_ENTRY(at, struct mount, link);
        fprintf(out, "%s %s %s %s 0 0\n", *mount->source ? mount->source : "none",
                mount->covered.path, mount->type, mount->options);
    }
    return 0;
}

int proc_print_mountinfo(FILE *out)
{
    LIST_EACH(&mounts, at) {
        const struct mount *mount = LIST_ENTRY(at, struct mount, link);
        fprintf(out, "%d %d 0:%d / %s %s - %s %s %s\n", mount->id + 20,
                mount->id == 1 ? 1 : 21, mount->id, mount->covered.path, mount->options,
                mount->type, *mount->source ? mount->source : "none", mount->options);
    }
    return 0;
}
