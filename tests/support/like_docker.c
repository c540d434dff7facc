/* A seccomp filter like that of Docker's default profile. */

#include "like_docker.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum {
    X32_BIT = 0x40000000,
    NEWEST_KNOWN = 466,          /* what came later gives ENOSYS, as runc does it */
    CLONE_NAMESPACES = 0x7e020000,
    FAMILY_VSOCK = 40,
    PROGRAM_MOST = 256,
};

/* Refused with EPERM. */
static const int refused[] = {
    SYS_acct, SYS_add_key, SYS_bpf, SYS_clock_adjtime, SYS_clock_settime, SYS_create_module,
    SYS_delete_module, SYS_fanotify_init, SYS_finit_module, SYS_fsconfig, SYS_fsmount, SYS_fsopen,
    SYS_fspick, SYS_get_kernel_syms, SYS_get_mempolicy, SYS_init_module, SYS_io_uring_enter,
    SYS_io_uring_register, SYS_io_uring_setup, SYS_ioperm, SYS_iopl, SYS_kcmp,
    SYS_kexec_file_load, SYS_kexec_load, SYS_keyctl, SYS_lookup_dcookie, SYS_mbind,
    SYS_migrate_pages, SYS_mount, SYS_mount_setattr, SYS_move_mount, SYS_move_pages,
    SYS_nfsservctl, SYS_open_by_handle_at, SYS_open_tree, SYS_perf_event_open, SYS_pidfd_getfd,
    SYS_pivot_root, SYS_process_madvise, SYS_process_vm_readv, SYS_process_vm_writev, SYS_ptrace,
    SYS_query_module, SYS_quotactl, SYS_quotactl_fd, SYS_reboot, SYS_request_key,
    SYS_set_mempolicy, SYS_set_mempolicy_home_node, SYS_setdomainname, SYS_sethostname, SYS_setns,
    SYS_settimeofday, SYS_swapoff, SYS_swapon, SYS_sysfs, SYS__sysctl, SYS_syslog, SYS_umount2,
    SYS_unshare, SYS_uselib, SYS_userfaultfd, SYS_ustat, SYS_vhangup,
};

/* The personalities that Docker lets pass; switching address randomisation off is not one. */
static const uint32_t personalities[] = { 0x0, 0x8, 0x20000, 0x20008, 0xffffffff };

struct program {
    struct sock_filter code[PROGRAM_MOST];
    unsigned short length;
};

static void emit(struct program *program, struct sock_filter instruction)
{
    program->code[program->length++] = instruction;
}

static void load(struct program *program, size_t offset)
{
    emit(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void give(struct program *program, uint32_t verdict)
{
    emit(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

/* Skip the next `count` instructions unless `jump` (BPF_JEQ, ...) holds for the number. */
static void unless_skip(struct program *program, uint16_t jump, uint32_t number, uint8_t count)
{
    emit(program, (struct sock_filter)BPF_JUMP(BPF_JMP | jump | BPF_K, number, 0, count));
}

static void refuse_number(struct program *program, int number, int error)
{
    unless_skip(program, BPF_JEQ, (uint32_t)number, 1);
    give(program, SECCOMP_RET_ERRNO | (uint32_t)error);
}

/* The three calls that depend on an argument. Each loads the argument and ends the program. */

static void check_clone(struct program *program)
{
    unless_skip(program, BPF_JEQ, SYS_clone, 4);
    load(program, offsetof(struct seccomp_data, args[0]));
    unless_skip(program, BPF_JSET, CLONE_NAMESPACES, 1);
    give(program, SECCOMP_RET_ERRNO | EPERM);
    give(program, SECCOMP_RET_ALLOW);
}

static void check_socket(struct program *program)
{
    unless_skip(program, BPF_JEQ, SYS_socket, 4);
    load(program, offsetof(struct seccomp_data, args[0]));
    unless_skip(program, BPF_JEQ, FAMILY_VSOCK, 1);
    give(program, SECCOMP_RET_ERRNO | EPERM);
    give(program, SECCOMP_RET_ALLOW);
}

static void check_personality(struct program *program)
{
    size_t count = sizeof personalities / sizeof *personalities;
    unless_skip(program, BPF_JEQ, SYS_personality, (uint8_t)(2 + 2 * count));
    load(program, offsetof(struct seccomp_data, args[0]));
    for (size_t i = 0; i < count; i++) {
        unless_skip(program, BPF_JEQ, personalities[i], 1);
        give(program, SECCOMP_RET_ALLOW);
    }
    give(program, SECCOMP_RET_ERRNO | EPERM);
}

int like_docker_install(void)
{
    struct program program = { .length = 0 };
    load(&program, offsetof(struct seccomp_data, arch));
    emit(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64,
                                                1, 0));
    give(&program, SECCOMP_RET_ALLOW); /* 32-bit programs: no test needs them refused */
    load(&program, offsetof(struct seccomp_data, nr));
    emit(&program, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~(uint32_t)X32_BIT));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        refuse_number(&program, refused[i], EPERM);
    refuse_number(&program, SYS_clone3, ENOSYS); /* so that libc falls back to clone */
    unless_skip(&program, BPF_JGT, NEWEST_KNOWN, 1);
    give(&program, SECCOMP_RET_ERRNO | ENOSYS);
    check_clone(&program);
    check_socket(&program);
    check_personality(&program);
    give(&program, SECCOMP_RET_ALLOW);

    struct sock_fprog filter = { .len = program.length, .filter = program.code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}
