/* Devices and interrupts: see device.h. A device's interrupt has its number. An interrupt is a
 * message to the port that its driver attached; until svIntrDone the next ones are only counted. */
#include "device.h"

#include <stdio.h>
#include <string.h>
#include "actor.h"
#include "call.h"
#include "message.h"
#include "port.h"
#include "ui.h"

#define DEVICES_MAX    64
#define REGISTERS_SIZE 0x1000u

struct device_slot {
    const struct device_interface *interface; /* NULL: no device */
    void *device;
    KnDevice stat;
    struct actor *driver;
    bool resetting;  /* its driver is gone, the host is not done with its memory */
    KnUniqueId port; /* of the interrupt; cleared: not attached */
    bool sent;       /* a message is out, svIntrDone has not come */
    uint64_t count;  /* raised since the last message */
};

static struct device_slot slots[DEVICES_MAX];
static unsigned slot_count;

int devices_add(const struct device_interface *interface, void *device, unsigned bus, unsigned type,
                const char *name)
{
    if (slot_count >= DEVICES_MAX)
        return K_ELIMIT;
    struct device_slot *slot = &slots[slot_count];
    *slot = (struct device_slot){ .interface = interface, .device = device };
    slot->stat = (KnDevice){ .device = slot_count, .bus = bus, .type = type, .intr = slot_count };
    snprintf(slot->stat.name, sizeof slot->stat.name, "%s", name);
    return (int)slot_count++;
}

struct actor *device_driver(unsigned number)
{
    return number < slot_count ? slots[number].driver : NULL;
}

static void interrupt_send(struct device_slot *slot)
{
    struct port *port = port_find(&slot->port);
    struct message *message = port == NULL ? NULL : message_new();
    if (message == NULL)
        return; /* counted: sent with the next one */
    KnIntrMsg annex = { .type = K_MSG_INTERRUPT, .intr = slot->stat.intr, .count = slot->count };
    message->flags = K_HEAD_NUCLEUS;
    message->target = port->ui;
    message->has_annex = true;
    memset(message->annex, 0, sizeof message->annex);
    memcpy(message->annex, &annex, sizeof annex);
    slot->sent = true;
    slot->count = 0;
    port_deliver(port, message);
}

void device_interrupt(unsigned number)
{
    if (number >= slot_count || slots[number].driver == NULL)
        return;
    struct device_slot *slot = &slots[number];
    slot->count++;
    if (!slot->sent && !uiIsCleared(&slot->port))
        interrupt_send(slot);
}

static void release(struct device_slot *slot)
{
    slot->port = (KnUniqueId){ 0 };
    slot->sent = false;
    slot->count = 0;
    slot->resetting = !slot->interface->reset(slot->device);
    if (!slot->resetting)
        slot->driver = NULL;
}

/* Has the host let go of the memory of a driver that is gone? */
static void look_again(struct device_slot *slot)
{
    if (!slot->resetting || !slot->interface->quiet(slot->device))
        return;
    slot->resetting = false;
    slot->driver = NULL;
}

void devices_release(struct actor *actor)
{
    for (unsigned number = 0; number < slot_count; number++)
        if (slots[number].driver == actor && !slots[number].resetting)
            release(&slots[number]);
}

bool devices_quiet(const struct actor *actor)
{
    for (unsigned number = 0; number < slot_count; number++) {
        look_again(&slots[number]);
        if (slots[number].driver == actor)
            return false;
    }
    return true;
}

void devices_fini(void)
{
    slot_count = 0;
}

int64_t call_deviceStat(struct thread *thread)
{
    uint64_t number = thread->call.arg[0];
    if (number >= slot_count)
        return K_EUNKNOWN;
    KnDevice stat = slots[number].stat;
    look_again(&slots[number]);
    stat.claimed = slots[number].driver != NULL;
    int status = call_out(thread, thread->call.arg[1], &stat, sizeof stat);
    return status == 1 ? K_EINVAL : status;
}

int64_t call_deviceOpen(struct thread *thread)
{
    uint64_t number = thread->call.arg[0];
    if (number >= slot_count)
        return K_EUNKNOWN;
    look_again(&slots[number]);
    if (slots[number].driver != NULL)
        return K_EBUSY;
    slots[number].driver = thread->actor;
    return K_OK;
}

/* The device of argument 0, if it is the caller's. */
static struct device_slot *own_device(struct thread *thread)
{
    uint64_t number = thread->call.arg[0];
    if (number >= slot_count || slots[number].driver != thread->actor || slots[number].resetting)
        return NULL;
    return &slots[number];
}

int64_t call_deviceClose(struct thread *thread)
{
    struct device_slot *slot = own_device(thread);
    if (slot == NULL)
        return K_EUNKNOWN;
    release(slot);
    return K_OK;
}

int64_t call_deviceRead(struct thread *thread)
{
    struct device_slot *slot = own_device(thread);
    uint64_t offset = thread->call.arg[1], value = 0;
    if (slot == NULL)
        return K_EUNKNOWN;
    if (offset >= REGISTERS_SIZE || offset % 4 != 0)
        return K_EINVAL;
    /* A bad address is found before the read, which may have an effect. */
    int status = call_out(thread, thread->call.arg[2], &value, sizeof value);
    if (status != K_OK)
        return status == 1 ? K_EINVAL : status;
    value = slot->interface->read(slot->device, (uint32_t)offset);
    return call_out(thread, thread->call.arg[2], &value, sizeof value);
}

int64_t call_deviceWrite(struct thread *thread)
{
    struct device_slot *slot = own_device(thread);
    uint64_t offset = thread->call.arg[1];
    if (slot == NULL)
        return K_EUNKNOWN;
    if (offset >= REGISTERS_SIZE || offset % 4 != 0)
        return K_EINVAL;
    slot->interface->write(slot->device, (uint32_t)offset, thread->call.arg[2]);
    return K_OK;
}

int64_t call_svIntrAttach(struct thread *thread)
{
    struct device_slot *slot = own_device(thread);
    struct port *port = port_by_li(thread->actor, (int32_t)thread->call.arg[1]);
    if (slot == NULL)
        return K_EUNKNOWN;
    if (port == NULL)
        return K_EINVAL;
    if (!uiIsCleared(&slot->port))
        return K_EBUSY;
    slot->port = port->ui;
    slot->sent = false;
    if (slot->count > 0)
        interrupt_send(slot);
    return K_OK;
}

int64_t call_svIntrDetach(struct thread *thread)
{
    struct device_slot *slot = own_device(thread);
    if (slot == NULL || uiIsCleared(&slot->port))
        return K_EUNKNOWN;
    slot->port = (KnUniqueId){ 0 };
    slot->sent = false;
    return K_OK;
}

int64_t call_svIntrDone(struct thread *thread)
{
    struct device_slot *slot = own_device(thread);
    if (slot == NULL || uiIsCleared(&slot->port))
        return K_EUNKNOWN;
    slot->sent = false;
    if (slot->count > 0)
        interrupt_send(slot);
    return K_OK;
}
