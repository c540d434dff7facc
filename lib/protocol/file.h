/* File protocol: what the Process Manager asks of a server of names and files.
 *
 * om serves it for ext4 and tmpfs; dm (device nodes), pm itself (/proc) and a host-shared folder
 * serve the same protocol. Every request is one ipcCall to the port of the node's server: the
 * request is the annex, paths and data are the body; the reply's annex says how it went, data is
 * its body. Every call is answered in bounded time; none waits for a person or another process.
 *
 * Nodes
 *   A node (an inode) is named by the port of its server and a 64-bit key: struct file_node, which
 *   has the layout of a KnCap. The key stays good when the server is started again (om makes it of
 *   file system, inode and generation), and is never used for another file: a key whose file has
 *   gone is answered with -ESTALE. FILE_ROOT_KEY (0) is the root of what the port serves first.
 *
 * Paths
 *   Operations on names take a node (a directory) and a path relative to it, in the body, of
 *   path_length bytes without a terminating NUL. A leading slash is an error (-EINVAL): the caller
 *   begins at the right directory itself. An empty path names the node itself. om walks as far as
 *   it can. When it cannot go on by itself, NOTHING has been done, error is 0 and outcome tells:
 *     FILE_AT_MOUNT    the walk came to a mount point: go on at `at` (port and key of the root of
 *                      what is mounted there)
 *     FILE_AT_PARENT   ".." at the root of this file system: go on at the node that this file
 *                      system is mounted on; the rest begins with that ".."
 *     FILE_AT_SYMLINK  a symbolic link that om does not follow by itself (an absolute one; or any,
 *                      without FILE_FOLLOW_INSIDE): go on with its text, relative to `at` (the
 *                      directory that holds it) or to the process's root, and then the rest
 *   The body of such a reply is the link's text (`length` bytes; none but for FILE_AT_SYMLINK)
 *   followed by the rest of the path (`rest_length` bytes), without a slash between them. The rest
 *   never begins with a slash; it may be empty, and keeps a slash at its end.
 *   `links_followed` comes back increased; the caller hands it on, so that loops end with -ELOOP at
 *   FILE_LINKS_MAX over all servers together.
 *   The last component of a path is followed when it is a symbolic link only with FILE_FOLLOW.
 *   A path that ends in a slash must name a directory, and is followed.
 *   For an operation with two paths (link, rename) the flag FILE_SECOND in the reply says that
 *   outcome and `at` are about the second one.
 *   `root` in the request is the key of the process's root directory when that lies in this file
 *   system (else 0): ".." there stays there.
 *
 * Who asks
 *   Each request carries the credentials of the process. The server checks Unix permissions
 *   against them: search on each directory walked, write and sticky rules where names change, owner
 *   where attributes change; user 0 passes (execution needs one x bit). The groups beyond
 *   FILE_GROUPS_MAX do not count. The caller has applied the umask already.
 *
 * Regular files are segments
 *   FILE_OPEN of a regular file answers with the segment's capability: the UI of the server's
 *   mapper port (`node.port`) and the key. The caller gives it to sgRead, sgWrite and rgnMap: one
 *   cache for read, write, mmap and exec. With FILE_BY_MESSAGE in the reply's flags there is no
 *   segment, and FILE_READ and FILE_WRITE are used instead.
 *   With FILE_BY_MESSAGE and FILE_MAPPABLE there is one, as above, which serves rgnInit, rgnMap and
 *   exec alone, and cannot be written: bytes are read and written by messages all the same.
 *   For a file that is a segment FILE_READ and FILE_WRITE are refused with -EINVAL: they would pass
 *   the cache by.
 *   While a segment is cached, the Nucleus' local cache knows the file's size best. The server
 *   learns it with MpGetAccess and MpPushOut; the caller asks the local cache (sgStat) for st_size.
 *   MpGetAccess for writing also sets the time of modification. A caller that knows the time better
 *   (it saw the write) sets it by FILE_SETATTR with FILE_OPENED, which a write permits; set-uid and
 *   set-gid bits go then, unless user 0 writes.
 *
 * Leases
 *   Who watches (FILE_WATCH) has FILE_VERSIONS words of its memory written by the server: a version for each of its places.
 *   FILE_WALK, FILE_OPEN (not for writing) and FILE_GETATTR with FILE_LEASE are answered with FILE_LEASED and, at the end of the
 *   body, what the answer depends on: up to FILE_LEASES_MAX of struct file_lease. The answer stays true, for the same
 *   question by the same credentials, as long as each of these places holds that version. A new version is written before the
 *   request that made it is answered. Place 0 is not 0 as long as the client is told; then it watches again,
 *   and forgets all. The size of a file that is a segment is not part of it: it is the local cache's.
 *
 * Open nodes
 *   FILE_OPEN and FILE_CREATE hold the node: a file without names lives until FILE_CLOSE has been
 *   called as often as it was opened. The holds are the server's memory; after a restart of the
 *   server a key still works, as long as the file has a name.
 */
#ifndef PROTOCOL_FILE_H
#define PROTOCOL_FILE_H

#include <stdint.h>

#define FILE_GROUP_STAMP    2           /* K_STAMP_OM: static system group of om's port */
#define FILE_MAPPER_STAMP   3           /* K_STAMP_OM_MAPPER: of its mapper port */

#define FILE_BODY_MAX       65536       /* bytes in the body of one request or reply */
#define FILE_NAME_MAX       255         /* bytes in one component; longer: -ENAMETOOLONG */
#define FILE_PATH_MAX       4095        /* bytes in one path */
#define FILE_LINKS_MAX      40          /* symbolic links followed in one walk; more: -ELOOP */
#define FILE_GROUPS_MAX     6

#define FILE_ROOT_KEY       0ull

/* Device numbers in attributes and FILE_MKNOD, as in tty.h. */
#define FILE_DEVICE(major, minor)  ((uint32_t)(major) << 20 | (uint32_t)(minor))

/* Disks and their partitions (vda, vda1, ...): nodes of om, under these keys at om's port. A node of a name, in /dev say, leads
 * to them by its device number. FILE_OPEN gives a segment; FILE_O_EXCLUSIVE is -EBUSY when it is mounted, and so is
 * FILE_O_WRITE; -EROFS: it can only be read; -ENXIO: no such disk or partition. */
#define FILE_BLOCK_MAJOR     254u
#define FILE_BLOCKS_KEY      (255ull << 56 | 1)                 /* a directory that names all of them, for FILE_READDIR */
#define FILE_BLOCK_KEY(minor)   (FILE_BLOCKS_KEY + 1 + (minor))  /* minor: 16 * disk + partition, 0: the whole disk */
#define FILE_BLOCK_MINOR(key)   ((uint32_t)((key) - FILE_BLOCKS_KEY - 1))

/* A node anywhere. `port` is the KnUniqueId's eight bytes as they stand. */
struct file_node {
    uint64_t port;
    uint64_t key;
};

struct file_time {
    int64_t  seconds;           /* since 1970, UTC */
    uint32_t nanoseconds;
    uint32_t unused;
};

/* Operations. P: there is a path. All may answer -ESTALE, -EIO, -EROFS, -ENOMEM; those with a path
 * also -ENOENT, -ENOTDIR, -EACCES, -ELOOP, -ENAMETOOLONG. The reply carries the attributes of the
 * node in question wherever there is one. */
enum file_operation {
    FILE_STATFS = 0x200,    /* P -> statfs */
    FILE_WALK,              /* P, walk.mode (4, 2, 1: access that the process must have as well, for
                             * access(2) and chdir; 0: none) -> attributes */
    FILE_GETATTR,           /* key -> attributes; no permission asked for: for open files */
    FILE_SETATTR,           /* P, setattr -> attributes. -EPERM: neither owner nor user 0. A new size
                             * is told to the Nucleus' cache as well (lcTrunc). With FILE_OPENED the
                             * node is a file open for writing: its size may be set regardless */
    FILE_OPEN,              /* P, open -> attributes, node = segment. -EISDIR: writing a directory.
                             * A symbolic link is -ELOOP without FILE_FOLLOW */
    FILE_CREATE,            /* P, open (mode) -> as FILE_OPEN; FILE_CREATED in the flags when it is
                             * new. An existing file is opened. -EEXIST (exclusive), -ENOSPC */
    FILE_CLOSE,             /* key, open.access as it was opened: one hold less */
    FILE_MKDIR,             /* P, mknod (mode) -> attributes. -EEXIST, -ENOSPC, -EMLINK */
    FILE_MKNOD,             /* P, mknod (mode with type, device) -> attributes. Anything but
                             * directories and links. -EEXIST, -ENOSPC, -EPERM (device, not user 0) */
    FILE_SYMLINK,           /* P, then the link's text -> attributes. -EEXIST, -ENOSPC */
    FILE_READLINK,          /* P -> body: the text. -EINVAL: no symbolic link */
    FILE_LINK,              /* P: the old name; second: the new one, from rename.second_key ->
                             * attributes. -EXDEV, -EPERM (a directory), -EEXIST, -EMLINK */
    FILE_UNLINK,            /* P -> attributes after it. -EISDIR, -EPERM (sticky) */
    FILE_RMDIR,             /* P. -ENOTEMPTY, -EBUSY (mount point, root), -EINVAL (".") */
    FILE_RENAME,            /* P: the old name; second: the new one, from rename.second_key.
                             * -EXDEV, -EINVAL (into itself), -ENOTEMPTY, -EISDIR, -EBUSY */
    FILE_READDIR,           /* key, io (offset = cookie, 0: the start; length: room) -> body: entries
                             * as struct linux_dirent64 (d_off is the cookie after it), whole ones,
                             * none at the end. -ENOTDIR, -EINVAL: no room for one. What is there
                             * all the time is given exactly once */
    FILE_READ,              /* key, io -> body; fewer bytes at the end of the file */
    FILE_WRITE,             /* key, io, body -> io.length written. FILE_APPEND: at the end */
    FILE_ALLOCATE,          /* key, io (mode: 0, FILE_ALLOCATE_KEEP_SIZE, or that and
                             * FILE_ALLOCATE_PUNCH_HOLE). -ENOSPC, -EOPNOTSUPP */
    FILE_FSYNC,             /* key: the attributes and what was pushed out are on the disk when this
                             * is answered. The caller flushes the segment's cache first */
    FILE_SYNC,              /* the same for every file of this server */
    FILE_MOUNT,             /* P, mount.node: a walk that comes to this directory answers
                             * FILE_AT_MOUNT with that node. User 0. -EBUSY, -ENOTDIR */
    FILE_UNMOUNT,           /* P (its last component is not crossed): take the mount away -> node:
                             * what was mounted. -EINVAL: nothing was */
    FILE_ATTACH,            /* P (the source: "/dev/vdb1"; of a tmpfs anything), then a text: the type ("tmpfs", "ext4")
                             * and, each after a comma, options (ro, size=BYTES, mode=OCTAL) ->
                             * node: the root of a new file system of this server, for FILE_MOUNT. -EBUSY: the
                             * disk is mounted or open for writing; -EROFS: it can only be read, and ro was not given;
                             * -EINVAL: no such file system is on it */
    FILE_RESCAN,            /* key of a whole disk: read its table of partitions again. User 0. -EBUSY: one is in use */
    FILE_DETACH,            /* key (a root): written back and closed. -EBUSY: nodes open, mounts */
    FILE_SHUTDOWN,          /* user 0: all is written and cleanly unmounted when this is answered;
                             * from then on nothing can be changed (-EROFS) */
    FILE_WATCH,             /* body: struct file_watch: tell me of changes. See Leases. -ENOSPC, -EFAULT, -EOPNOTSUPP */
    FILE_OPERATION_END
};

/* Request flags. */
#define FILE_FOLLOW         1u      /* the last component too, when it is a symbolic link */
#define FILE_FOLLOW_INSIDE  2u      /* follow relative links yourself, inside this file system */
#define FILE_OPENED         4u      /* FILE_SETATTR: the caller holds the file open for writing */
#define FILE_APPEND         8u      /* FILE_WRITE */
#define FILE_LEASE         16u      /* I should like to remember the answer */

/* Reply flags. */
#define FILE_SECOND         1u      /* outcome is about the second path */
#define FILE_BY_MESSAGE     4u      /* no segment: FILE_READ, FILE_WRITE */
#define FILE_CREATED        8u
#define FILE_LEASED        16u      /* leases are at the end of the body */
#define FILE_MAPPABLE      32u      /* with FILE_BY_MESSAGE: `node` is a segment that is never written */

enum file_outcome { FILE_DONE, FILE_AT_MOUNT, FILE_AT_PARENT, FILE_AT_SYMLINK };

/* open.access */
#define FILE_O_READ         1u
#define FILE_O_WRITE        2u
#define FILE_O_EXECUTE      4u      /* x permission is asked for; held open against nothing */
#define FILE_O_TRUNCATE     8u      /* needs write permission */
#define FILE_O_EXCLUSIVE   16u      /* FILE_CREATE: -EEXIST for anything, links too */
#define FILE_O_DIRECTORY   32u      /* -ENOTDIR for anything else */
#define FILE_O_PATH        64u      /* no permission on the node itself is asked for */
#define FILE_O_NOFOLLOW   128u      /* with O_PATH: a symbolic link itself is opened */

/* setattr.valid */
#define FILE_SET_MODE       1u
#define FILE_SET_UID        2u
#define FILE_SET_GID        4u
#define FILE_SET_SIZE       8u
#define FILE_SET_ATIME     16u
#define FILE_SET_MTIME     32u
#define FILE_SET_ATIME_NOW 64u      /* write permission is enough when both are NOW */
#define FILE_SET_MTIME_NOW 128u

#define FILE_RENAME_NOREPLACE     1u    /* as in Linux */
#define FILE_RENAME_EXCHANGE      2u

#define FILE_ALLOCATE_KEEP_SIZE   1u    /* as in Linux */
#define FILE_ALLOCATE_PUNCH_HOLE  2u

struct file_credentials {
    uint32_t uid, gid;          /* those that count for files */
    uint32_t group_count;       /* at most FILE_GROUPS_MAX */
    uint32_t groups[FILE_GROUPS_MAX];
};

/* Leases. */
#define FILE_VERSIONS     1024u     /* places; the table is 4 KB */
#define FILE_LEASES_MAX   24u

struct file_lease {
    uint32_t place, version;
};

struct file_watch {
    uint64_t actor[2];          /* the KnCap of the actor that watches */
    uint64_t versions;          /* the address of its uint32_t[FILE_VERSIONS] */
};

/* The annex of a request. Unused fields are zero. */
struct file_request {
    uint32_t operation;         /* enum file_operation */
    uint16_t path_length;       /* first thing in the body */
    uint16_t second_length;     /* after it: second path, or text */
    uint64_t key;               /* the node, or the directory where the path begins */
    uint64_t root;              /* see Paths */
    struct file_credentials credentials;
    uint16_t flags;
    uint16_t links_followed;
    union {
        uint64_t words[7];
        struct { uint32_t mode; } walk;
        struct {
            uint32_t valid, mode, uid, gid;
            uint64_t size;
            int64_t  atime, mtime;
            uint32_t atime_nanoseconds, mtime_nanoseconds;
        } setattr;
        struct { uint32_t access, mode; } open;
        struct { uint32_t mode, device; } mknod;
        struct { uint64_t second_key; uint32_t flags; } rename;     /* also link */
        struct { uint64_t offset, length; uint32_t mode; } io;
        struct { struct file_node node; } mount;
    };
};

struct file_attributes {
    uint64_t key;
    uint64_t inode;             /* st_ino */
    uint64_t size;              /* bytes, as the server knows it */
    uint64_t blocks;            /* of 512 bytes */
    int64_t  atime, mtime, ctime;
    uint32_t atime_nanoseconds, mtime_nanoseconds, ctime_nanoseconds;
    uint32_t mode;              /* type and permissions, Linux's bits */
    uint32_t links;
    uint32_t uid, gid;
    uint32_t rdev;              /* FILE_DEVICE of a device node; the caller goes to dm with it */
    uint32_t device;            /* st_dev: tells the file systems of one server apart */
    uint32_t block_size;        /* st_blksize */
};

struct file_statfs {
    uint64_t blocks, blocks_free, blocks_available;
    uint64_t inodes, inodes_free;
    uint64_t id;
    uint32_t block_size, type;  /* type: Linux's f_type */
    uint32_t name_max, flags;   /* flags: 1 read-only */
};

/* The annex of a reply. */
struct file_reply {
    int32_t  error;             /* 0, or an error of Linux made negative: nothing else counts */
    uint16_t outcome;           /* enum file_outcome */
    uint16_t flags;
    union {
        struct {
            struct file_node node;      /* segment; mount; directory */
            struct file_attributes attributes;
        };
        struct {                        /* outcome other than FILE_DONE */
            struct file_node at;        /* where to go on (same place as `node`) */
            uint32_t length;            /* bytes of link text in the body */
            uint32_t rest_length;       /* bytes after it: what is left of the path */
            uint32_t links_followed;
        };
        struct file_statfs statfs;
        struct { uint64_t length; } io; /* FILE_READ, FILE_WRITE, FILE_READDIR, FILE_READLINK */
        uint8_t bytes[112];
    };
};

_Static_assert(sizeof(struct file_request) == 120, "a request fills the annex");
_Static_assert(sizeof(struct file_attributes) == 96, "the layout has no holes");
_Static_assert(sizeof(struct file_reply) == 120, "a reply fills the annex");

#endif
