/* mem/chMapper.h: the protocol between the Nucleus and a mapper, and the calls of a mapper.
 *
 * The Nucleus sends ipcCalls to the port in the segment's capability; the annex of the request is a KnMpRequest, of the
 * reply a KnMpReply. The mapper may save a request and answer later; a mapper's reply never needs memory of the Nucleus
 * (the frames are there before it is asked). If the mapper is gone, the waiting threads get K_EMAPPER.
 */
#ifndef MEM_CHMAPPER_H
#define MEM_CHMAPPER_H

#include <chorus.h>

enum KnMpOp {
    K_MP_PULLIN = 80,   /* give [offset, offset + size): the reply's body. A shorter body: the rest is zero. With <pages>: a device puts
                         * the data there, the reply has no body, and its <size> says how many bytes count, from the first on; the
                         * rest is zero, and so are pages that no device has written */
    K_MP_PUSHOUT = 81,  /* take the request's body, dirty data at [offset, offset + size); segSize is the segment's size now. With <pages>:
                         * there is no body, a device fetches the data there; what lies beyond segSize in its page is zero */
    K_MP_GETACCESS = 82, /* the segment is opened (access 0) or access to [offset, offset + size) is wanted. The reply grants a range
                         * that covers it, at least, and tells the segment's size. With K_WRITABLE the mapper has made sure that what
                         * will be pushed out has a place (else diag K_ENOSPACE); <segSize> of the request is the size it will have.
                         * The answer to an opening may have <direct> set: K_MP_PULLIN and K_MP_PUSHOUT then come with <pages> */
    K_MP_CREATE = 83,   /* a temporary segment for anonymous memory: the reply has its key */
    K_MP_RELEASE = 84   /* the local cache is gone; no answer is awaited (ipcSend) */
};

typedef struct KnMpRequest {
    uint32_t op;
    uint32_t access; /* 0, K_READABLE or K_WRITABLE */
    KnKey segKey;
    KnCap lc; /* the local cache, for lcFlush and the others */
    VmOffset offset;
    VmSize size; /* bytes, whole pages, at most K_CMSGSIZEMAX for PULLIN and PUSHOUT, K_MP_DIRECT_MAX with <pages> */
    VmSize segSize;
    uint64_t ordinal;
    uint64_t pages; /* PULLIN and PUSHOUT of a cache that was opened with <direct>: where devices find the pages, as an address for descriptors
                     * of virtqueues, until the request is answered. Who knows it may have a device write (PULLIN) or read (PUSHOUT) there. Else 0 */
} KnMpRequest;

#define K_MP_DIRECT_MAX 262144 /* bytes in a request with <pages> */

typedef struct KnMpReply {
    int32_t diag; /* K_OK, K_EIO, K_ENOSPACE, K_EUNKNOWN (no such segment), K_EPROTECT */
    uint32_t access;
    VmOffset offset; /* GETACCESS: the range granted */
    VmSize size;
    VmSize segSize;
    uint64_t ordinal;
    KnKey segKey; /* CREATE */
    uint64_t direct; /* GETACCESS with access 0: not 0: the segment's data goes between its pages and devices, never by messages */
} KnMpReply;

/* Of a mapper, for a local cache whose capability a request carried. <flags> of lcFlush: */
enum { K_COPYBACK = 0x10000, /* write all back, keep it */ K_DOWNGRADE = 0x20000, /* write dirty pages back, no more writing without
       GETACCESS */ K_INVALIDATE = 0x40000 /* write dirty pages back, drop all */, K_DROP = 0x80000 /* drop all, dirty pages too */ };
int lcFlush(const KnCap *lc, VmOffset offset, VmSize size, unsigned flags, uint64_t ordinal);
/* Set the segment's size. Pages beyond are dropped, also where they are mapped (a later access is a fault with K_EOFFSET), the
 * rest of the last page becomes zero. Returns how often the segment was made shorter in this cache: requests carry that as their
 * <ordinal>. A PUSHOUT with a smaller one was sent before the truncation: of its data only what lies before the segment's end counts, and its segSize
 * does not. */
int lcTrunc(const KnCap *lc, VmSize size);
int lcFillZero(const KnCap *lc, VmOffset offset, VmSize size);
int lcStat(const KnCap *lc, KnSgStat *stat);
int vmMapperDefault(const KnUniqueId *port);

#endif
