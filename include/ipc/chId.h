/* ipc/chId.h: unique identifiers. */
#ifndef IPC_CHID_H
#define IPC_CHID_H

#include <chorus.h>

/* Types, the five high bits of uiHead. */
enum { K_UINONE = 0, K_UIPORT = 1, K_UIACTOR = 2, K_UISITE = 3, K_UIGROUP = 4, K_UISTATGROUP = 5, K_UISTATPORT = 6,
       K_UISEGMENT = 7, K_UICACHE = 8, K_UIUSER = 16 };
#define K_CUI_STAMPMAX 0x07FFFFFFu

/* Fresh and unique over restarts of the site. */
int uiCreate(unsigned type, KnUniqueId *ui);

/* These four are plain functions of libchorus. */
/* A name agreed beforehand: K_UISTATPORT or K_UISTATGROUP with a stamp. K_EINVAL. */
int uiBuild(KnUniqueId *ui, unsigned type, uint32_t site, uint32_t stamp);
static inline void uiClear(KnUniqueId *ui) { ui->uiHead = ui->uiTail = 0; }
static inline int uiIsCleared(const KnUniqueId *ui) { return ui->uiHead == 0 && ui->uiTail == 0; }
static inline int uiEqual(const KnUniqueId *a, const KnUniqueId *b) { return a->uiHead == b->uiHead && a->uiTail == b->uiTail; }
static inline uint32_t uiGetSite(const KnUniqueId *ui) { return ui->uiTail; }
static inline unsigned uiGetType(const KnUniqueId *ui) { return ui->uiHead >> 27; }

/* Stamps of the static ports and groups that the system's own servers have: instance n of a server adds n * 16.
 * The group of the same stamp holds the port(s) of that kind of server. */
enum KnWellKnown {
    K_STAMP_PM = 1,      /* Process Manager */
    K_STAMP_OM = 2,      /* Object Manager: files */
    K_STAMP_OM_MAPPER = 3,
    K_STAMP_DM = 4,      /* Device Manager: terminals */
    K_STAMP_SM = 5,      /* Socket Manager */
    K_STAMP_DISK = 6,    /* disk driver */
    K_STAMP_CONSOLE = 7, /* console driver */
    K_STAMP_NET = 9,     /* network driver: one group for each interface */
    K_STAMP_SCREEN = 10, /* framebuffer's driver, and its mapper */
    K_STAMP_INPUT = 11,  /* driver of keyboard and mouse */
    K_STAMP_SHARE = 12,  /* server of a host folder: one group for each */
    K_STAMP_ENTROPY = 13, /* entropy driver */
    K_STAMP_USER = 0x10000, /* from here on: static groups that anybody may have (K_STATUSER); below: K_STATSYS */
    K_STAMP_HELLO = 8
};

#endif
