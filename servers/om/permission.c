/* Unix permissions: who may do what with a node, from its attributes and the caller's
 * credentials. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "om.h"

bool group_has(const struct file_credentials *credentials, uint32_t gid)
{
    if (credentials->gid == gid)
        return true;
    for (uint32_t i = 0; i < credentials->group_count && i < FILE_GROUPS_MAX; i++)
        if (credentials->groups[i] == gid)
            return true;
    return false;
}

int permission_check(const struct file_attributes *attributes,
                     const struct file_credentials *credentials, uint32_t wanted)
{
    uint32_t mode = attributes->mode;

    wanted &= 7;
    if (credentials->uid == 0) {
        if ((wanted & MAY_EXECUTE) == 0 || S_ISDIR(mode) || (mode & 0111) != 0)
            return 0;
        return -EACCES;
    }
    if (credentials->uid == attributes->uid)
        mode >>= 6;
    else if (group_has(credentials, attributes->gid))
        mode >>= 3;
    return (wanted & ~mode) == 0 ? 0 : -EACCES;
}

int permission_remove(const struct file_attributes *directory, const struct file_attributes *victim,
                      const struct file_credentials *credentials)
{
    int error = permission_check(directory, credentials, MAY_WRITE | MAY_EXECUTE);

    if (error != 0)
        return error;
    if ((directory->mode & S_ISVTX) == 0 || credentials->uid == 0 ||
        credentials->uid == directory->uid || credentials->uid == victim->uid)
        return 0;
    return -EPERM;
}

static bool is_owner(const struct file_attributes *attributes,
                     const struct file_credentials *credentials)
{
    return credentials->uid == 0 || credentials->uid == attributes->uid;
}

/* The mode without what lets others act as the owner or the group. */
static uint32_t mode_harmless(uint32_t mode)
{
    mode &= ~(uint32_t)S_ISUID;
    if ((mode & S_IXGRP) != 0)
        mode &= ~(uint32_t)S_ISGID;
    return mode;
}

static int owner_change(const struct file_attributes *attributes, const struct file_request *request,
                        struct fs_change *ret)
{
    const struct file_credentials *credentials = &request->credentials;
    uint32_t valid = request->setattr.valid;

    if ((valid & (FILE_SET_UID | FILE_SET_GID)) == 0)
        return 0;
    if (credentials->uid != 0) {
        if (credentials->uid != attributes->uid)
            return -EPERM;
        if ((valid & FILE_SET_UID) != 0 && request->setattr.uid != attributes->uid)
            return -EPERM;
        if ((valid & FILE_SET_GID) != 0 && request->setattr.gid != attributes->gid &&
            !group_has(credentials, request->setattr.gid))
            return -EPERM;
    }
    if (!S_ISDIR(attributes->mode) && (ret->valid & FILE_SET_MODE) == 0 &&
        mode_harmless(attributes->mode) != attributes->mode) {
        ret->valid |= FILE_SET_MODE;
        ret->mode = mode_harmless(attributes->mode);
    }
    return 0;
}

static int mode_change(const struct file_attributes *attributes, const struct file_request *request,
                       struct fs_change *ret)
{
    const struct file_credentials *credentials = &request->credentials;
    uint32_t gid = attributes->gid;

    if ((request->setattr.valid & FILE_SET_MODE) == 0)
        return 0;
    if (!is_owner(attributes, credentials))
        return -EPERM;
    if ((request->setattr.valid & FILE_SET_GID) != 0)
        gid = request->setattr.gid;
    if (credentials->uid != 0 && !group_has(credentials, gid))
        ret->mode &= ~(uint32_t)S_ISGID;
    return 0;
}

/* Who is not root and changes what a file holds leaves it harmless. */
static void content_change(const struct file_attributes *attributes,
                           const struct file_request *request, struct fs_change *ret)
{
    if (request->credentials.uid == 0 || (ret->valid & FILE_SET_MODE) != 0 ||
        mode_harmless(attributes->mode) == attributes->mode)
        return;
    ret->valid |= FILE_SET_MODE;
    ret->mode = mode_harmless(attributes->mode);
}

static int size_change(const struct file_attributes *attributes, const struct file_request *request,
                       struct fs_change *ret)
{
    int error = 0;

    if ((request->setattr.valid & FILE_SET_SIZE) == 0)
        return 0;
    if ((request->flags & FILE_OPENED) == 0)
        error = permission_check(attributes, &request->credentials, MAY_WRITE);
    if (error == 0)
        content_change(attributes, request, ret);
    return error;
}

static int time_change(const struct file_attributes *attributes, const struct file_request *request,
                       struct fs_change *ret)
{
    const uint32_t all = FILE_SET_ATIME | FILE_SET_MTIME | FILE_SET_ATIME_NOW | FILE_SET_MTIME_NOW;
    uint32_t valid = request->setattr.valid & all;

    if ((request->flags & FILE_OPENED) != 0) {  /* the caller tells the time of a write */
        content_change(attributes, request, ret);
        return 0;
    }
    if (valid == 0 || is_owner(attributes, &request->credentials))
        return 0;
    if (valid == (FILE_SET_ATIME_NOW | FILE_SET_MTIME_NOW))
        return permission_check(attributes, &request->credentials, MAY_WRITE);
    return -EPERM;
}

static void times_fill(const struct file_request *request, struct file_time now,
                       struct fs_change *ret)
{
    uint32_t valid = request->setattr.valid;

    ret->atime = (struct file_time){ request->setattr.atime, request->setattr.atime_nanoseconds, 0 };
    ret->mtime = (struct file_time){ request->setattr.mtime, request->setattr.mtime_nanoseconds, 0 };
    if ((valid & FILE_SET_ATIME_NOW) != 0) {
        ret->valid |= FILE_SET_ATIME;
        ret->atime = now;
    }
    if ((valid & FILE_SET_MTIME_NOW) != 0) {
        ret->valid |= FILE_SET_MTIME;
        ret->mtime = now;
    }
}

int permission_change(const struct file_attributes *attributes, const struct file_request *request,
                      struct file_time now, struct fs_change *ret)
{
    const uint32_t direct = FILE_SET_MODE | FILE_SET_UID | FILE_SET_GID | FILE_SET_SIZE |
                            FILE_SET_ATIME | FILE_SET_MTIME;
    int error;

    *ret = (struct fs_change){
        .valid = request->setattr.valid & direct, .mode = request->setattr.mode & 07777,
        .uid = request->setattr.uid, .gid = request->setattr.gid, .size = request->setattr.size,
    };
    times_fill(request, now, ret);
    if (ret->atime.nanoseconds > 999999999 || ret->mtime.nanoseconds > 999999999)
        return -EINVAL;
    error = mode_change(attributes, request, ret);
    if (error == 0)
        error = owner_change(attributes, request, ret);
    if (error == 0)
        error = size_change(attributes, request, ret);
    return error != 0 ? error : time_change(attributes, request, ret);
}
