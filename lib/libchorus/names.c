/* names.c: names of statuses, and unique identifiers that were agreed beforehand. */
#include "internal.h"

const char *knStrError(int status)
{
    switch (status) {
#define KN_ERROR(name, value, words)                                                               \
    case value:                                                                                    \
        return words;
#include <errors.def>
#undef KN_ERROR
    default:
        return "no such status";
    }
}

const char *knErrorName(int status)
{
    switch (status) {
#define KN_ERROR(name, value, words)                                                               \
    case value:                                                                                    \
        return #name;
#include <errors.def>
#undef KN_ERROR
    default:
        return "K_?";
    }
}

int uiBuild(KnUniqueId *ui, unsigned type, uint32_t site, uint32_t stamp)
{
    if ((type != K_UISTATPORT && type != K_UISTATGROUP) || stamp == 0 || stamp > K_CUI_STAMPMAX)
        return K_EINVAL;
    ui->uiHead = type << 27 | stamp;
    ui->uiTail = site;
    return K_OK;
}
