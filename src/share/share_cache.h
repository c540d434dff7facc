/* Which pages of files the site keeps, and whether they are still those of the file.
 *
 * Pages of mapped files stay inside, so we must tell when they are not what is in the file any more. The host says nothing by itself: we compare the
 * file's size and times with those that it had when we spoke of it last, whenever we speak of it again. Times of files are coarse: one that
 * was changed just before we looked may be changed once more within the same tick, so what we saw then is not relied upon.
 */
#ifndef SHARE_CACHE_H
#define SHARE_CACHE_H

#include "share_nodes.h"

/* There is this cache of the node's, which it holds. Also has those looked after that are of files without names. */
int cache_note(struct share *share, struct node *node, const struct file_node *cache, struct share_changed *changed);
void cache_forget(struct share *share, struct node *node, const struct file_node *cache);
/* The file is like this now: if its caches' pages may be of another one, say so. With `pulls`, only if they surely are: who brings pages in goes on.
 * Without caches it does nothing. */
void cache_look(struct node *node, const struct file_attributes *attributes, bool pulls, struct share_changed *changed);
/* The next look at it finds it changed. */
void cache_outdate(struct node *node);
void cache_outdate_all(struct share *share);
/* If nobody can get at the file again its caches may go. */
void cache_look_if_gone(struct share *share, struct node *node, struct share_changed *changed);

#endif
