/* Who may do what: user, system and supervisor actors, and actors confined to what their subsystem does for them. Each right with the
 * refusal of those who do not have it. */
#include "call_table.h"
#include "device.h"
#include "site.h"

#include <stdio.h>
#include <string.h>

TestSuite(rights, .init = site_start, .fini = site_end);

static const int privileges[] = { K_USERACTOR, K_SYSTEMACTOR, K_SUPACTOR };

static struct thread *one_of(int privilege)
{
    return thread_new(actor_new(privilege));
}

Test(rights, no_call_of_the_trusted_is_open_to_a_user_actor)
{
    struct thread *user = user_new();
    unsigned refused = 0;
    for (unsigned number = 0; number < CALL_NUMBER_MAX; number++) {
        const struct call_entry *entry = call_table_find(number);
        if (entry == NULL || entry->who == CALL_ANY)
            continue;
        cr_expect_eq(call_by(user, number, (const uint64_t[6]){ 0 }), K_EPRIV, "%s", entry->name);
        refused++;
    }
    cr_assert_geq(refused, 10, "the table names who may");
}

Test(rights, a_system_actor_makes_no_call_of_supervisor_actors)
{
    struct thread *system = one_of(K_SYSTEMACTOR);
    for (unsigned number = 0; number < CALL_NUMBER_MAX; number++) {
        const struct call_entry *entry = call_table_find(number);
        if (entry != NULL && entry->who == CALL_SUPER)
            cr_expect_eq(call_by(system, number, (const uint64_t[6]){ 0 }), K_EPRIV, "%s", entry->name);
    }
}

Test(rights, an_actor_of_each_kind_is_made_by_those_who_may)
{
    for (int maker = 0; maker < 3; maker++) {
        struct thread *thread = one_of(privileges[maker]);
        for (int kind = 0; kind < 3; kind++) {
            bool may = privileges[kind] == K_USERACTOR || privileges[maker] != K_USERACTOR;
            size_t before = actor_count();
            uint64_t cap = room(thread->actor, sizeof(KnCap));
            int64_t status = DO(thread, actorCreate, 0, cap, (uint64_t)privileges[kind], K_ACTIVE);
            cr_expect_eq(status, may ? K_OK : K_EPRIV, "%d makes %d: %ld", maker, kind, (long)status);
            cr_expect_eq(actor_count(), before + may);
        }
    }
}

Test(rights, a_port_is_declared_by_those_who_may)
{
    for (int kind = 0; kind < 3; kind++) {
        struct thread *thread = one_of(privileges[kind]);
        KnUniqueId ui = { .uiHead = (uint32_t)K_UISTATPORT << 27 | 4000u, .uiTail = (uint32_t)kind };
        int64_t status = DO(thread, portDeclare, 0, PUT(thread->actor, ui));
        cr_expect(privileges[kind] == K_USERACTOR ? status == K_EPRIV : status > 0, "%d: %ld", kind, (long)status);
        cr_expect_eq(port_find(&ui) != NULL, privileges[kind] != K_USERACTOR);
    }
}

Test(rights, a_protection_identifier_is_set_by_those_who_may_and_read_by_all)
{
    for (int kind = 0; kind < 3; kind++) {
        struct thread *thread = one_of(privileges[kind]);
        bool may = privileges[kind] != K_USERACTOR;
        KnProtId pi = { .uid = 7, .gid = 8 };
        uint64_t old = room(thread->actor, sizeof pi);
        cr_expect_eq(DO(thread, actorPi, 0, old, 0), K_OK);
        cr_expect_eq(DO(thread, actorPi, 0, 0, PUT(thread->actor, pi)), may ? K_OK : K_EPRIV);
        cr_expect_eq(DO(thread, portPi, 0, 0, 0, PUT(thread->actor, pi)), may ? K_OK : K_EPRIV);
        cr_expect_eq(thread->actor->pi.uid, may ? 7 : 0);
        cr_expect_eq(thread->actor->default_port->pi.uid, may ? 7 : 0);
    }
}

Test(rights, a_privilege_is_set_by_those_who_may)
{
    struct thread *user = user_new(), *system = one_of(K_SYSTEMACTOR);
    int more = K_SYSTEMACTOR, most = K_SUPACTOR;
    cr_assert_eq(DO(user, actorPrivilege, 0, 0, PUT(user->actor, more)), K_EPRIV);
    cr_assert_eq(DO(system, actorPrivilege, 0, 0, PUT(system->actor, most)), K_EINVAL, "none becomes a supervisor actor");
    cr_assert_eq(DO(system, actorPrivilege, cap_of(user->actor, system->actor), 0, PUT(system->actor, more)), K_OK);
    cr_assert_eq(user->actor->privilege, K_SYSTEMACTOR);
}

Test(rights, a_trap_is_connected_on_oneself_or_by_the_trusted)
{
    struct thread *victim = user_new();
    for (int kind = 0; kind < 3; kind++) {
        struct thread *thread = one_of(privileges[kind]);
        bool may = privileges[kind] != K_USERACTOR;
        KnTrapConnect connect = { .what = K_CONNECT_TRAP, .port = thread->actor->default_port->ui };
        uint64_t at = PUT(thread->actor, connect);
        cr_expect_eq(DO(thread, actorTrapConnect, 0, at), K_OK);
        cr_expect_eq(DO(thread, actorTrapConnect, cap_of(victim->actor, thread->actor), at), may ? K_OK : K_EPRIV);
        cr_expect_eq(uiEqual(&victim->actor->trap.port, &connect.port), may);
    }
}

Test(rights, a_static_system_group_is_named_by_those_who_may)
{
    for (int kind = 0; kind < 3; kind++) {
        struct thread *thread = one_of(privileges[kind]);
        uint64_t cap = room(thread->actor, sizeof(KnCap));
        int64_t status = DO(thread, grpAllocate, K_STATSYS, cap, 77);
        cr_expect_eq(status == K_EPRIV, privileges[kind] == K_USERACTOR, "%d: %ld", kind, (long)status);
    }
}

/* ---- devices ---- */

static uint64_t no_register(void *unused, uint32_t offset)
{
    (void)unused;
    return offset;
}
static void no_write(void *unused, uint32_t offset, uint64_t value) { (void)unused, (void)offset, (void)value; }
static bool at_rest(void *unused)
{
    (void)unused;
    return true;
}
static const struct device_interface interface = { no_register, no_write, at_rest, at_rest };

Test(rights, an_interrupt_is_attached_by_the_trusted_who_claimed_its_device)
{
    cr_assert_eq(devices_add(&interface, NULL, K_DEVICE_VIRTIO, 2, "disk0"), 0);
    struct thread *user = user_new(), *driver = one_of(K_SYSTEMACTOR), *other = one_of(K_SUPACTOR);
    cr_assert_eq(DO(user, deviceOpen, 0), K_EPRIV);
    cr_assert_eq(DO(driver, deviceOpen, 0), K_OK);
    cr_assert_eq(DO(user, svIntrAttach, 0, K_DEFAULTPORT), K_EPRIV);
    cr_assert_eq(DO(user, svIntrDetach, 0), K_EPRIV);
    cr_assert_eq(DO(user, svIntrDone, 0), K_EPRIV);
    cr_assert_eq(DO(other, deviceOpen, 0), K_EBUSY);
    cr_assert_eq(DO(other, svIntrAttach, 0, K_DEFAULTPORT), K_EUNKNOWN, "trusted, but not its driver");
    cr_assert_eq(DO(driver, svIntrAttach, 0, K_DEFAULTPORT), K_OK);
    cr_assert_eq(DO(driver, deviceClose, 0), K_OK);
    cr_assert_eq(DO(other, deviceOpen, 0), K_OK, "who gave it back lets others have it");
    cr_assert_eq(DO(driver, svIntrAttach, 0, K_DEFAULTPORT), K_EUNKNOWN);
}

/* ---- confinement ---- */

static struct thread *subsystem, *process;

static void confined_pair(void)
{
    subsystem = one_of(K_SYSTEMACTOR);
    process = user_new();
    KnTrapConnect connect = { .what = K_CONNECT_TRAP, .flags = K_CONNECT_CONFINE,
                              .port = subsystem->actor->default_port->ui };
    cr_assert_eq(DO(subsystem, actorTrapConnect, cap_of(process->actor, subsystem->actor), PUT(subsystem->actor, connect)), K_OK);
}

Test(rights, confinement_needs_a_subsystem)
{
    struct thread *user = user_new();
    KnTrapConnect connect = { .what = K_CONNECT_TRAP, .flags = K_CONNECT_CONFINE, .handler = 0x400000 };
    cr_assert_eq(DO(user, actorTrapConnect, 0, PUT(user->actor, connect)), K_EINVAL);
    connect = (KnTrapConnect){ .what = K_CONNECT_EXCEPTION, .flags = K_CONNECT_CONFINE, .port = user->actor->default_port->ui };
    cr_assert_eq(DO(user, actorTrapConnect, 0, PUT(user->actor, connect)), K_EINVAL);
    connect.flags = 2;
    cr_assert_eq(DO(user, actorTrapConnect, 0, PUT(user->actor, connect)), K_EINVAL);
}

Test(rights, a_confined_actor_makes_no_nucleus_call)
{
    confined_pair();
    size_t actors = actor_count(), ports = port_count();
    unsigned refused = 0;
    for (unsigned number = 0; number < CALL_NUMBER_MAX; number++) {
        if (call_table_find(number) == NULL)
            continue;
        cr_expect_eq(call_by(process, number, (const uint64_t[6]){ 0 }), K_EPRIV, "%s", call_table_find(number)->name);
        refused++;
    }
    cr_assert_geq(refused, 100);
    cr_assert_eq(actor_count(), actors);
    cr_assert_eq(port_count(), ports);
}

Test(rights, what_the_subsystem_does_for_a_confined_actor_is_done)
{
    confined_pair();
    const uint64_t none[6] = { 0 };
    uint64_t desc;
    trap_by(process, 39, none);
    pass(SCHED_SPREAD_AFTER);
    cr_assert_eq(receive_by(subsystem, K_DEFAULTPORT, K_NODELAY, &desc), 0);
    uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    KnTrapReply reply = { .action = K_DO_CALL, .number = CALL_threadSelf };
    memcpy(annex, &reply, sizeof reply);
    KnMsgDesc answer = { .annexAddr = (void *)put(subsystem->actor, annex, sizeof annex) };
    cr_assert_eq(DO(subsystem, ipcReply, PUT(subsystem->actor, answer)), K_OK);
    pass(SCHED_SPREAD_AFTER);
    cr_assert_eq(result_of(process), process->li);
}

Test(rights, an_actor_made_like_a_confined_one_is_confined_until_the_subsystem_lifts_it)
{
    confined_pair();
    uint64_t child_at = room(subsystem->actor, sizeof(KnCap));
    KnCap cap;
    cr_assert_eq(DO(subsystem, actorCreate, cap_of(process->actor, subsystem->actor), child_at, K_USERACTOR, K_ACTIVE), K_OK);
    get(subsystem->actor, child_at, &cap, sizeof cap);
    struct actor *child = actor_by_ui(&cap.ui);
    cr_assert_eq(child->trap.flags, K_CONNECT_CONFINE);
    KnTrapConnect connect = { .what = K_CONNECT_TRAP, .port = subsystem->actor->default_port->ui };
    cr_assert_eq(DO(process, sysNull), K_EPRIV);
    cr_assert_eq(DO(subsystem, actorTrapConnect, cap_of(process->actor, subsystem->actor), PUT(subsystem->actor, connect)), K_OK);
    cr_assert_eq(DO(process, sysNull), K_OK);
}

/* ---- what a receiver is told of its sender ---- */

Test(rights, a_message_tells_whether_its_sender_is_trusted)
{
    struct thread *server = user_new();
    for (int kind = 0; kind < 3; kind++) {
        struct thread *sender = one_of(privileges[kind]);
        uint64_t dest = dest_to(sender->actor, &server->actor->default_port->ui, K_PORTMODE), desc;
        cr_assert_eq(DO(sender, ipcSend, message(sender->actor, 5, NULL, 0, 0), K_DEFAULTPORT, dest), K_OK);
        cr_assert_eq(receive_by(server, K_DEFAULTPORT, K_NODELAY, &desc), 0);
        uint64_t at = room(server->actor, sizeof(KnMsgHead));
        KnMsgHead head;
        cr_assert_eq(DO(server, ipcSysInfo, at), K_OK);
        get(server->actor, at, &head, sizeof head);
        cr_expect_eq((head.flags & K_HEAD_TRUSTED) != 0, privileges[kind] != K_USERACTOR, "%d: %x", kind, head.flags);
    }
}

/* ---- commands to the program around the Nucleus ---- */

static size_t words_got, image_got;
static struct actor *victim;

static bool command(const char *words, size_t size, const void *image, size_t image_size, char *answer, size_t room)
{
    words_got = size;
    image_got = image_size;
    if (image_size > 0)
        cr_expect_eq(memcmp(image, "image", 5), 0);
    if (victim != NULL)
        actor_kill(victim, K_OK, NULL);
    snprintf(answer, room, "a long sentence about %s", words);
    return strcmp(words, "good") == 0;
}

Test(rights, a_command_that_cannot_be_one_is_refused)
{
    struct thread *system = one_of(K_SYSTEMACTOR);
    struct actor *actor = system->actor;
    uint64_t words = put(actor, "good", 5), answer = room(actor, 64);
    cr_assert_eq(DO(system, sysCommand, words, 5, 0, 0, answer, 64), K_ENOSYS, "nobody takes any");
    nucleus_command = command;
    words_got = 0;
    cr_expect_eq(DO(system, sysCommand, words, 0, 0, 0, answer, 64), K_EINVAL);
    cr_expect_eq(DO(system, sysCommand, words, 5, 0, 0, answer, 0), K_EINVAL);
    cr_expect_eq(DO(system, sysCommand, words, 65537, 0, 0, answer, 64), K_ETOOMUCH);
    cr_expect_eq(DO(system, sysCommand, words, 5, words, (64 << 20) + 1, answer, 64), K_ETOOMUCH);
    cr_expect_eq(DO(system, sysCommand, 0xbad000, 5, 0, 0, answer, 64), K_EFAULT);
    cr_expect_eq(DO(system, sysCommand, words, 5, 0xbad000, 5, answer, 64), K_EFAULT);
    cr_expect_eq(DO(system, sysCommand, words, 5, 0, 0, 0xbad000, 64), K_EFAULT);
    cr_expect_eq(words_got, 0, "none was done");
    nucleus_command = NULL;
}

Test(rights, a_command_is_done_and_answered_with_a_sentence)
{
    struct thread *system = one_of(K_SYSTEMACTOR);
    struct actor *actor = system->actor;
    uint64_t answer = room(actor, 64);
    char text[64];
    nucleus_command = command;
    cr_assert_eq(DO(system, sysCommand, put(actor, "good", 5), 5, put(actor, "image", 5), 5, answer, 16), K_OK);
    get(actor, answer, text, sizeof text);
    cr_assert_str_eq(text, "a long sentence", "cut to the room that there is");
    cr_assert_eq(image_got, 5);
    cr_assert_eq(DO(system, sysCommand, put(actor, "bad", 4), 4, 0, 0, answer, 64), K_EFAIL);
    get(actor, answer, text, sizeof text);
    cr_assert_str_eq(text, "a long sentence about bad");
    victim = actor;
    call_by(system, CALL_sysCommand, (const uint64_t[6]){ put(actor, "good", 5), 5, 0, 0, answer, 64 });
    cr_assert_eq(actor_count(), 0, "who has itself ended is gone");
    nucleus_command = NULL;
}
