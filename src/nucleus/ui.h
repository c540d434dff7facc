/* ui.h: making unique identifiers and capabilities. */
#ifndef NUCLEUS_UI_H
#define NUCLEUS_UI_H

#include <chorus.h>
#include <stdbool.h>

void ui_init(uint32_t site);
/* A fresh one of this site. The stamps of a type begin at a random place and go up; one that is in
 * use is passed over. */
KnUniqueId ui_new(unsigned type);
KnCap cap_new(unsigned type);
/* Was it made on this site, as far as its hint goes? */
bool ui_is_local(const KnUniqueId *ui);
bool ui_is_static(const KnUniqueId *ui);
uint32_t ui_site(void);

/* Compares in a time that does not depend on where the keys differ. */
bool key_equal(KnKey a, KnKey b);

#endif
