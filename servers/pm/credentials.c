/* Who a process is: users, groups, and capabilities as simple programs look at them: all of them with
 * user 0, none otherwise, and they follow the user ids as in Linux.
 */

#include "call.h"
#include "process.h"
#include "user.h"

static struct credentials *mine(struct call *call)
{
    return &call_process(call)->credentials;
}

static bool may_set_ids(const struct credentials *credentials, bool groups)
{
    return credentials->effective >> (groups ? 6 : 7) & 1; /* CAP_SETGID, CAP_SETUID */
}

/* Capabilities follow when user 0 is left or taken up again. */
static void capabilities_follow(struct credentials *credentials, const struct credentials *old)
{
    bool was_root = old->uid == 0 || old->euid == 0 || old->suid == 0;
    bool is_root = credentials->uid == 0 || credentials->euid == 0 || credentials->suid == 0;
    if (was_root && !is_root && !credentials->keep_capabilities) {
        credentials->permitted = credentials->effective = 0;
        credentials->ambient = 0;
    }
    if (old->euid == 0 && credentials->euid != 0)
        credentials->effective = 0;
    if (old->euid != 0 && credentials->euid == 0)
        credentials->effective = credentials->permitted;
}

int64_t linux_getuid(struct call *call) { return mine(call)->uid; }
int64_t linux_geteuid(struct call *call) { return mine(call)->euid; }
int64_t linux_getgid(struct call *call) { return mine(call)->gid; }
int64_t linux_getegid(struct call *call) { return mine(call)->egid; }

static bool is_one_of(uint32_t id, uint32_t a, uint32_t b, uint32_t c)
{
    return id == a || id == b || id == c;
}

static int64_t set_users(struct call *call, uint32_t real, uint32_t effective, uint32_t saved)
{
    struct credentials *now = mine(call), old = *now;
    now->uid = real;
    now->euid = now->fsuid = effective;
    now->suid = saved;
    capabilities_follow(now, &old);
    return 0;
}

int64_t linux_setuid(struct call *call)
{
    struct credentials *now = mine(call);
    uint32_t id = (uint32_t)call->arg[0];
    if (id == UINT32_MAX)
        return -EINVAL;
    if (may_set_ids(now, false))
        return set_users(call, id, id, id);
    if (id != now->uid && id != now->suid)
        return -EPERM;
    return set_users(call, now->uid, id, now->suid);
}

int64_t linux_setgid(struct call *call)
{
    struct credentials *now = mine(call);
    uint32_t id = (uint32_t)call->arg[0];
    if (id == UINT32_MAX)
        return -EINVAL;
    if (may_set_ids(now, true))
        now->gid = now->sgid = id;
    else if (id != now->gid && id != now->sgid)
        return -EPERM;
    now->egid = now->fsgid = id;
    return 0;
}

int64_t linux_setreuid(struct call *call)
{
    struct credentials *now = mine(call);
    uint32_t real = (uint32_t)call->arg[0], effective = (uint32_t)call->arg[1];
    uint32_t saved = now->suid;
    bool any = may_set_ids(now, false);
    if (real != UINT32_MAX && !any && real != now->uid && real != now->euid)
        return -EPERM;
    if (effective != UINT32_MAX && !any && !is_one_of(effective, now->uid, now->euid, now->suid))
        return -EPERM;
    uint32_t new_real = real == UINT32_MAX ? now->uid : real;
    uint32_t new_effective = effective == UINT32_MAX ? now->euid : effective;
    if (real != UINT32_MAX || (effective != UINT32_MAX && effective != now->uid))
        saved = new_effective;
    return set_users(call, new_real, new_effective, saved);
}

int64_t linux_setregid(struct call *call)
{
    struct credentials *now = mine(call);
    uint32_t real = (uint32_t)call->arg[0], effective = (uint32_t)call->arg[1];
    bool any = may_set_ids(now, true);
    if (real != UINT32_MAX && !any && real != now->gid && real != now->egid)
        return -EPERM;
    if (effective != UINT32_MAX && !any && !is_one_of(effective, now->gid, now->egid, now->sgid))
        return -EPERM;
    uint32_t old_real = now->gid;
    if (real != UINT32_MAX)
        now->gid = real;
    if (effective != UINT32_MAX)
        now->egid = effective;
    if (real != UINT32_MAX || (effective != UINT32_MAX && effective != old_real))
        now->sgid = now->egid;
    now->fsgid = now->egid;
    return 0;
}

int64_t linux_setresuid(struct call *call)
{
    struct credentials *now = mine(call);
    uint32_t ids[3], old[3] = { now->uid, now->euid, now->suid };
    for (int i = 0; i < 3; i++) {
        ids[i] = (uint32_t)call->arg[i];
        if (ids[i] == UINT32_MAX)
            ids[i] = old[i];
        else if (!may_set_ids(now, false) && !is_one_of(ids[i], old[0], old[1], old[2]))
            return -EPERM;
    }
    return set_users(call, ids[0], ids[1], ids[2]);
}

int64_t linux_setresgid(struct call *call)
{
    struct credentials *now = mine(call);
    uint32_t ids[3], old[3] = { now->gid, now->egid, now->sgid };
    for (int i = 0; i < 3; i++) {
        ids[i] = (uint32_t)call->arg[i];
        if (ids[i] == UINT32_MAX)
            ids[i] = old[i];
        else if (!may_set_ids(now, true) && !is_one_of(ids[i], old[0], old[1], old[2]))
            return -EPERM;
    }
    now->gid = ids[0];
    now->egid = now->fsgid = ids[1];
    now->sgid = ids[2];
    return 0;
}

static int64_t tell_three(struct call *call, uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t ids[3] = { a, b, c };
    for (int i = 0; i < 3; i++)
        if (copy_out(call, call->arg[i], &ids[i], sizeof ids[i]) != 0)
            return -EFAULT;
    return 0;
}

int64_t linux_getresuid(struct call *call)
{
    const struct credentials *now = mine(call);
    return tell_three(call, now->uid, now->euid, now->suid);
}

int64_t linux_getresgid(struct call *call)
{
    const struct credentials *now = mine(call);
    return tell_three(call, now->gid, now->egid, now->sgid);
}

int64_t linux_setfsuid(struct call *call)
{
    struct credentials *now = mine(call);
    uint32_t id = (uint32_t)call->arg[0], old = now->fsuid;
    if (may_set_ids(now, false) || is_one_of(id, now->uid, now->euid, now->suid))
        if (id != UINT32_MAX)
            now->fsuid = id;
    return old;
}

int64_t linux_setfsgid(struct call *call)
{
    struct credentials *now = mine(call);
    uint32_t id = (uint32_t)call->arg[0], old = now->fsgid;
    if (may_set_ids(now, true) || is_one_of(id, now->gid, now->egid, now->sgid))
        if (id != UINT32_MAX)
            now->fsgid = id;
    return old;
}

int64_t linux_getgroups(struct call *call)
{
    const struct credentials *now = mine(call);
    int64_t room = (int)call->arg[0];
    uint32_t count = now->group_count, groups[GROUPS_MAX];
    if (room < 0 || (room > 0 && room < count))
        return -EINVAL;
    memcpy(groups, now->groups, sizeof groups);
    if (room > 0 && copy_out(call, call->arg[1], groups, count * sizeof *groups) != 0)
        return -EFAULT;
    return count;
}

int64_t linux_setgroups(struct call *call)
{
    uint32_t groups[GROUPS_MAX];
    uint64_t count = call->arg[0];
    if (!may_set_ids(mine(call), true))
        return -EPERM;
    if (count > GROUPS_MAX)
        return -EINVAL;
    if (copy_in(call, groups, call->arg[1], count * sizeof *groups) != 0)
        return -EFAULT;
    memcpy(mine(call)->groups, groups, count * sizeof *groups);
    mine(call)->group_count = (uint32_t)count;
    return 0;
}

/* ---- capabilities ---- */

#define CAPABILITY_V1 0x19980330u
#define CAPABILITY_V2 0x20071026u
#define CAPABILITY_V3 0x20080522u

struct capability_header { uint32_t version; int32_t pid; };
struct capability_data { uint32_t effective, permitted, inheritable; };

static int fetch_header(struct call *call, struct capability_header *header, unsigned *ret_words)
{
    if (copy_in(call, header, call->arg[0], sizeof *header) != 0)
        return -EFAULT;
    *ret_words = header->version == CAPABILITY_V1 ? 1 : 2;
    if (header->version == CAPABILITY_V1 || header->version == CAPABILITY_V2 ||
        header->version == CAPABILITY_V3)
        return header->pid < 0 ? -EINVAL : 0;
    uint32_t version = CAPABILITY_V3;
    if (copy_out(call, call->arg[0], &version, sizeof version) != 0)
        return -EFAULT;
    return -EINVAL;
}

int64_t linux_capget(struct call *call)
{
    struct capability_header header;
    unsigned words;
    int error = fetch_header(call, &header, &words);
    if (error == -EINVAL && call->arg[1] == 0)
        return 0;
    if (error != 0 || call->arg[1] == 0)
        return error;
    struct process *process = header.pid == 0 ? call_process(call) : process_find(header.pid);
    if (process == NULL)
        return -ESRCH;
    const struct credentials *of = &process->credentials;
    struct capability_data data[2];
    for (unsigned i = 0; i < 2; i++)
        data[i] = (struct capability_data){ (uint32_t)(of->effective >> 32 * i),
                                            (uint32_t)(of->permitted >> 32 * i),
                                            (uint32_t)(of->inheritable >> 32 * i) };
    return copy_out(call, call->arg[1], data, words * sizeof *data);
}

int64_t linux_capset(struct call *call)
{
    struct capability_header header;
    struct capability_data data[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    unsigned words;
    int error = fetch_header(call, &header, &words);
    if (error != 0)
        return error;
    if (header.pid != 0 && header.pid != call_process(call)->pid)
        return -EPERM;
    if (copy_in(call, data, call->arg[1], words * sizeof *data) != 0)
        return -EFAULT;
    struct credentials *now = mine(call);
    uint64_t effective = data[0].effective | (uint64_t)data[1].effective << 32;
    uint64_t permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    uint64_t inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
    if ((permitted & ~now->permitted) || (effective & ~permitted) ||
        (inheritable & ~(now->inheritable | now->permitted)))
        return -EPERM;
    now->effective = effective;
    now->permitted = permitted;
    now->inheritable = inheritable;
    return 0;
}
