/* Groups and their four modes. */
#include "site.h"

static void eight_cpus(void)
{
    site_start_with(8);
}

TestSuite(groups, .init = eight_cpus, .fini = site_end);

static struct thread *member[3], *sender;
static KnUniqueId port[3];
static uint64_t group_at;
static KnCap group;

static void three_members(void)
{
    sender = user_new();
    group_at = room(sender->actor, sizeof group);
    cr_assert_eq(DO(sender, grpAllocate, K_DYNAMIC, group_at, 0), K_OK);
    get(sender->actor, group_at, &group, sizeof group);
    for (int i = 0; i < 3; i++) {
        member[i] = user_new();
        port[i] = member[i]->actor->default_port->ui;
        cr_assert_eq(DO(sender, grpPortInsert, group_at, PUT(sender->actor, port[i])), K_OK);
    }
}

static int64_t send(unsigned mode, const KnUniqueId *co_target)
{
    KnIpcDest dest = { .target = group.ui, .mode = mode };
    if (co_target != NULL)
        dest.coTarget = *co_target;
    return DO(sender, ipcSend, message(sender->actor, 1, "b", 2, 0), 0, PUT(sender->actor, dest));
}

/* One bit for each member that has a message; takes it. */
static unsigned received(void)
{
    unsigned who = 0;
    for (int i = 0; i < 3; i++)
        if (receive_by(member[i], 0, K_NODELAY, NULL) == 2) {
            who |= 1u << i;
            receive_by(member[i], 0, K_NODELAY, NULL);
        }
    return who;
}

Test(groups, bad_names_and_rights_are_refused)
{
    three_members();
    struct actor *actor = sender->actor;
    KnCap wrong = group;
    wrong.key++;
    cr_assert_eq(DO(sender, grpPortInsert, PUT(actor, wrong), PUT(actor, port[0])), K_EUNKNOWN);
    cr_assert_eq(DO(sender, grpPortInsert, group_at, PUT(actor, port[0])), K_EBUSY);
    cr_assert_eq(DO(sender, grpPortRemove, group_at, PUT(actor, sender->actor->default_port->ui)),
                 K_EUNKNOWN);
    cr_assert_eq(DO(sender, grpAllocate, K_STATSYS, group_at, 5), K_EPRIV);
    cr_assert_eq(DO(sender, grpAllocate, K_STATUSER, group_at, 5), K_EINVAL);
    cr_assert_eq(DO(sender, grpAllocate, K_STATUSER, group_at, 0), K_EINVAL);
    cr_assert_eq(DO(sender, grpAllocate, 3, group_at, K_STAMP_USER), K_EINVAL);
    cr_assert_eq(DO(sender, grpAllocate, K_STATUSER, 0xbad000, K_STAMP_USER), K_EFAULT);
}

Test(groups, a_broadcast_reaches_every_member)
{
    three_members();
    cr_assert_eq(send(K_BROADMODE, NULL), K_OK);
    cr_assert_eq(received(), 7);
    KnIpcDest dest = { .target = group.ui, .mode = K_BROADMODE };
    cr_assert_eq(DO(sender, ipcCall, message(sender->actor, 1, NULL, 0, 0), 0,
                    PUT(sender->actor, dest), 0, 0),
                 K_EINVAL);
}

Test(groups, functional_mode_takes_each_in_its_turn)
{
    three_members();
    unsigned all = 0;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(send(K_FUNCMODE, NULL), K_OK);
        unsigned who = received();
        cr_assert(who == 1 || who == 2 || who == 4);
        all |= who;
    }
    cr_assert_eq(all, 7);
}

Test(groups, a_member_with_a_full_queue_is_passed_over)
{
    three_members();
    for (unsigned i = 0; i < K_CPORTQUEUE; i++)
        DO(sender, ipcSend, message(sender->actor, 1, NULL, 0, 0), 0,
           dest_to(sender->actor, &port[1], 0));
    for (int i = 0; i < 10; i++)
        cr_assert_eq(send(K_FUNCMODE, NULL), K_OK);
    cr_assert_eq(port_find(&port[0])->queued + port_find(&port[2])->queued, 10);
}

Test(groups, associative_mode_wants_the_same_site)
{
    three_members();
    KnUniqueId here = { .uiHead = (uint32_t)K_UISITE << 27 | 1, .uiTail = 7 },
               elsewhere = { .uiHead = here.uiHead, .uiTail = 8 };
    cr_assert_eq(send(K_FUNCUMODE, &here), K_OK);
    cr_assert_neq(received(), 0);
    cr_assert_eq(send(K_FUNCUMODE, &port[0]), K_OK);
    cr_assert_neq(received(), 0);
    cr_assert_eq(send(K_FUNCUMODE, &elsewhere), K_EUNKNOWN);
}

Test(groups, exclusive_mode_excludes_a_site_or_a_port)
{
    three_members();
    KnUniqueId here = { .uiHead = (uint32_t)K_UISITE << 27 | 1, .uiTail = 7 },
               elsewhere = { .uiHead = here.uiHead, .uiTail = 8 };
    cr_assert_eq(send(K_FUNCXMODE, &here), K_EUNKNOWN);
    cr_assert_eq(send(K_FUNCXMODE, &elsewhere), K_OK);
    cr_assert_neq(received(), 0);
    for (int i = 0; i < 6; i++) {
        cr_assert_eq(send(K_FUNCXMODE, &port[1]), K_OK);
        cr_assert_eq(received() & 2, 0);
    }
}

Test(groups, a_dead_member_is_no_member)
{
    three_members();
    for (int i = 0; i < 3; i++)
        actor_kill(member[i]->actor, K_OK, NULL);
    settle();
    cr_assert_eq(send(K_FUNCMODE, NULL), K_EUNKNOWN);
    cr_assert_eq(send(K_BROADMODE, NULL), K_EUNKNOWN);
}

Test(groups, a_static_group_is_one_whatever_the_site_in_its_name)
{
    three_members();
    struct thread *system = thread_new(actor_new(K_SYSTEMACTOR));
    uint64_t cap = room(system->actor, sizeof(KnCap));
    cr_assert_eq(DO(system, grpAllocate, K_STATSYS, cap, K_STAMP_PM), K_OK);
    cr_assert_eq(DO(system, grpPortInsert, cap, PUT(system->actor, port[2])), K_OK);
    group.ui = (KnUniqueId){ .uiHead = (uint32_t)K_UISTATGROUP << 27 | K_STAMP_PM, .uiTail = 3 };
    cr_assert_eq(send(K_FUNCMODE, NULL), K_OK);
    cr_assert_eq(received(), 4);
    uint64_t again = room(system->actor, sizeof(KnCap));
    KnCap first, second;
    cr_assert_eq(DO(system, grpAllocate, K_STATSYS, again, K_STAMP_PM), K_OK);
    get(system->actor, cap, &first, sizeof first);
    get(system->actor, again, &second, sizeof second);
    cr_assert_arr_eq(&first, &second, sizeof first);
}
