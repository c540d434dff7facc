/* filter.c: what an actor's process may ask of the host, as seccomp programs.
 *
 * The stub filter is on every thread that runs actor code: FUTEX_WAIT and FUTEX_WAKE, each from its one instruction, on words of the machine's own pages,
 * without a time-out. The common filter is on the agent (and below the stub filter on stub threads): besides, the calls that change mappings, from their
 * one instruction each, on the one descriptor. Code on the SETUP pages may call anything: they are gone before actor code is mapped.
 * All else, of any architecture, is a trap.
 */
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>
#include "machine.h"

extern const char stub_begin[], stub_wait_ip[], stub_wake_ip[];
extern const char agent_mmap_ip[], agent_munmap_ip[], agent_mprotect_ip[], agent_pwrite_ip[], agent_futex_ip[];

struct program {
    struct sock_filter *code;
    uint32_t length;
};

#define LOW(n) (offsetof(struct seccomp_data, args) + 8 * (n))
#define HIGH(n) (LOW(n) + 4)

static void emit(struct program *program, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
    if (program->length == FILTER_MAX)
        host_panic("filter too long");
    program->code[program->length++] = (struct sock_filter){code, jt, jf, k};
}

static void load(struct program *program, uint32_t offset) { emit(program, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0); }
static void give(struct program *program, uint32_t action) { emit(program, BPF_RET | BPF_K, action, 0, 0); }

/* Trap unless the loaded word is <value>. */
static void require(struct program *program, uint32_t value)
{
    emit(program, BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0);
    give(program, SECCOMP_RET_TRAP);
}

static void require_low(struct program *program, unsigned argument, uint32_t value)
{
    load(program, LOW(argument));
    require(program, value);
}

static void require_below(struct program *program, uint32_t value)
{
    emit(program, BPF_JMP | BPF_JGE | BPF_K, value, 0, 1);
    give(program, SECCOMP_RET_TRAP);
}

/* Begin a block for the instruction that returns to <ip>; the block is <size> instructions long. The low half of the ip is loaded. */
static void at_instruction(struct program *program, uint32_t ip, uint8_t size)
{
    emit(program, BPF_JMP | BPF_JEQ | BPF_K, ip, 0, size);
}

static uint32_t address_of(const char *place)
{
    return (uint32_t)(machine.base + (uint64_t)(place - stub_begin));
}

static void begin(struct program *program)
{
    uint32_t high = (uint32_t)(machine.base >> 32), setup = (uint32_t)(machine.base + SETUP_OFFSET);
    load(program, offsetof(struct seccomp_data, arch));
    require(program, AUDIT_ARCH_X86_64);
    load(program, offsetof(struct seccomp_data, instruction_pointer) + 4);
    require(program, high);
    load(program, offsetof(struct seccomp_data, instruction_pointer));
    emit(program, BPF_JMP | BPF_JGE | BPF_K, setup, 0, 2);
    emit(program, BPF_JMP | BPF_JGE | BPF_K, setup + SETUP_CODE_SIZE, 1, 0);
    give(program, SECCOMP_RET_ALLOW);
}

/* futex on a word of the machine's pages. Blocks of a fixed length: at_instruction skips them. */
static uint32_t futex_block(struct program *program, uint32_t operation)
{
    uint32_t start = program->length;
    load(program, offsetof(struct seccomp_data, nr));
    require(program, SYS_futex);
    require_low(program, 1, operation);
    load(program, HIGH(0));
    require(program, (uint32_t)(machine.base >> 32));
    load(program, LOW(0));
    emit(program, BPF_JMP | BPF_JGE | BPF_K, (uint32_t)machine.base + ORDER_OFFSET, 1, 0);
    give(program, SECCOMP_RET_TRAP);
    require_below(program, (uint32_t)machine.base + WORDS_OFFSET + (uint32_t)machine.words_size);
    if (operation == 0) { /* FUTEX_WAIT: no time-out */
        require_low(program, 3, 0);
        load(program, HIGH(3));
        require(program, 0);
    }
    give(program, SECCOMP_RET_ALLOW);
    return program->length - start;
}

static uint32_t mapping_block(struct program *program, uint32_t number)
{
    uint32_t start = program->length;
    load(program, offsetof(struct seccomp_data, nr));
    require(program, number);
    if (number == SYS_mmap) {
        require_low(program, 4, SETUP_MEMFD);
        load(program, LOW(3)); /* MAP_SHARED | MAP_FIXED, populated or not */
        emit(program, BPF_ALU | BPF_AND | BPF_K, ~0x8000u, 0, 0);
        require(program, 0x11);
    }
    if (number == SYS_pwrite64) {
        require_low(program, 0, SETUP_MEMFD);
        require_low(program, 2, 8);
        load(program, LOW(3));
        emit(program, BPF_JMP | BPF_JGE | BPF_K, (uint32_t)machine.words_at, 1, 0);
        give(program, SECCOMP_RET_TRAP);
        require_below(program, (uint32_t)(machine.words_at + machine.words_size));
    } else if (number != SYS_munmap) { /* mmap, mprotect: of the actor's part */
        load(program, HIGH(0));
        require_below(program, (uint32_t)(machine.base >> 32));
        load(program, LOW(2));
        require_below(program, 8);
    }
    give(program, SECCOMP_RET_ALLOW);
    return program->length - start;
}

/* A block for one instruction: built twice, since how long it is says how far the others jump over it. */
static void allow_at(struct program *program, const char *instruction, uint32_t (*block)(struct program *, uint32_t), uint32_t argument)
{
    struct sock_filter scrap[FILTER_MAX];
    struct program measure = {scrap, 0};
    at_instruction(program, address_of(instruction), (uint8_t)block(&measure, argument));
    block(program, argument);
}

void filter_build(struct setup_info *info)
{
    struct program stub = {info->stub, 0}, common = {info->common, 0};
    begin(&stub);
    allow_at(&stub, stub_wait_ip, futex_block, 0);
    allow_at(&stub, stub_wake_ip, futex_block, 1);
    give(&stub, SECCOMP_RET_TRAP);
    info->stub_length = stub.length;

    /* The agent's futex instruction waits and wakes; it has no stub threads' data, so only the call is checked. */
    begin(&common);
    at_instruction(&common, address_of(stub_wait_ip), 1);
    give(&common, SECCOMP_RET_ALLOW);
    at_instruction(&common, address_of(stub_wake_ip), 1);
    give(&common, SECCOMP_RET_ALLOW);
    allow_at(&common, agent_mmap_ip, mapping_block, SYS_mmap);
    allow_at(&common, agent_munmap_ip, mapping_block, SYS_munmap);
    allow_at(&common, agent_mprotect_ip, mapping_block, SYS_mprotect);
    allow_at(&common, agent_pwrite_ip, mapping_block, SYS_pwrite64);
    at_instruction(&common, address_of(agent_futex_ip), 7);
    load(&common, offsetof(struct seccomp_data, nr));
    require(&common, SYS_futex);
    load(&common, LOW(1));
    require_below(&common, 2);
    give(&common, SECCOMP_RET_ALLOW);
    give(&common, SECCOMP_RET_TRAP);
    info->common_length = common.length;
}
