/* Shared folders: what the server `share` and its device say to each other.
 *
 * The device has one queue. A request is a struct file_request (lib/protocol/file.h) and the body that goes with it, in the readable part of a
 * chain; the writable part has room for a struct file_reply and FILE_BODY_MAX bytes. The device hands them to a process of the host that
 * has the folder, and completes the chain when that has answered; several may be under way, and are answered in their order.
 * A folder has no number in the virtio specification; the device has one of its own, and is otherwise as that says. (9P over virtio has one: it
 * would take a walk, an open and a clunk, each a round trip, and state that dies with its server, where this takes one request and none.)
 */
#ifndef PROTOCOL_SHARE_H
#define PROTOCOL_SHARE_H

#define SHARE_DEVICE_TYPE   0x5368u     /* virtio device type */
#define SHARE_GROUP_STAMP   12          /* K_STAMP_SHARE; + 16 * number of the folder */
#define SHARES_MAX          8

#endif
