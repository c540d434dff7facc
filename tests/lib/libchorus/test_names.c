/* Names of statuses and identifiers, and the numbers of nucleus calls. */
#include "fake_gate.h"

#include <criterion/criterion.h>

Test(names, a_stranger_is_no_status)
{
    cr_expect_str_eq(knStrError(-777), "no such status");
    cr_expect_str_eq(knErrorName(12345), "K_?");
}

Test(names, every_status_has_words_and_a_name)
{
    cr_expect_str_eq(knStrError(K_EINVAL), "malformed argument");
    cr_expect_str_eq(knErrorName(K_OK), "K_OK");
    cr_expect_str_eq(knErrorName(K_ELIMIT), "K_ELIMIT");
}

Test(names, only_static_identifiers_can_be_built)
{
    KnUniqueId ui = { 1, 2 };
    cr_expect_eq(uiBuild(&ui, K_UIPORT, 0, 1), K_EINVAL);
    cr_expect_eq(uiBuild(&ui, K_UISTATGROUP, 0, 0), K_EINVAL);
    cr_expect_eq(uiBuild(&ui, K_UISTATGROUP, 0, K_CUI_STAMPMAX + 1), K_EINVAL);
    cr_expect_eq(ui.uiHead, 1);
    cr_expect_eq(uiBuild(&ui, K_UISTATPORT, 9, K_CUI_STAMPMAX), K_OK);
    cr_expect_eq(uiGetType(&ui), K_UISTATPORT);
    cr_expect_eq(uiGetSite(&ui), 9);
}

Test(names, a_nucleus_call_hands_its_number_and_six_arguments_to_the_gate)
{
    uint32_t a, b;
    gate_start(NULL);
    cr_expect_eq(syncRequeue(&a, 1, 2, &b, 3, 4), K_OK);
    const struct gate_call *call = &gate_calls[0];
    cr_expect_eq(call->number, CALL_syncRequeue);
    cr_expect_eq(call->arg[0], (uint64_t)&a);
    cr_expect_eq(call->arg[1], 1);
    cr_expect_eq(call->arg[2], 2);
    cr_expect_eq(call->arg[3], (uint64_t)&b);
    cr_expect_eq(call->arg[4], 3);
    cr_expect_eq(call->arg[5], 4);
}
