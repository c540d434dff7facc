/* Unique identifiers: see ui.h.
 *
 * An identifier is unique over restarts because its stamps begin anew at a random place, and
 * because what guards an object is the key beside it; a stamp of 27 bits alone cannot promise it.
 */
#include "ui.h"

#include "actor.h"
#include "call.h"
#include "group.h"
#include "port.h"
#include "random.h"

static struct {
    uint32_t site;
    uint32_t stamp[32];
} names;

void ui_init(uint32_t site)
{
    names.site = site;
    for (int type = 0; type < 32; type++)
        names.stamp[type] = (uint32_t)random_u64() & K_CUI_STAMPMAX;
}

static bool ui_in_use(const KnUniqueId *ui)
{
    return actor_by_ui(ui) != NULL || port_find(ui) != NULL || group_by_ui(ui) != NULL;
}

KnUniqueId ui_new(unsigned type)
{
    KnUniqueId ui = { .uiTail = names.site };
    do {
        names.stamp[type] = (names.stamp[type] + 1) & K_CUI_STAMPMAX;
        ui.uiHead = (uint32_t)type << 27 | names.stamp[type];
    } while (names.stamp[type] == 0 || ui_in_use(&ui));
    return ui;
}

KnCap cap_new(unsigned type)
{
    return (KnCap){ .ui = ui_new(type), .key = random_u64() };
}

bool ui_is_local(const KnUniqueId *ui)
{
    return ui->uiTail == names.site;
}

bool ui_is_static(const KnUniqueId *ui)
{
    return uiGetType(ui) == K_UISTATPORT || uiGetType(ui) == K_UISTATGROUP;
}

uint32_t ui_site(void)
{
    return names.site;
}

bool key_equal(KnKey a, KnKey b)
{
    volatile uint64_t difference = a ^ b;
    return difference == 0;
}

/* What actors may make freely: names without an object behind them. */
int64_t call_uiCreate(struct thread *thread)
{
    uint64_t type = thread->call.arg[0];
    if (type < K_UISEGMENT || type > 31)
        return K_EINVAL;
    KnUniqueId ui = ui_new((unsigned)type);
    return call_out(thread, thread->call.arg[1], &ui, sizeof ui);
}
