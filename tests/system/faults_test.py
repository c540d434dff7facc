#!/usr/bin/python3
"""A host whose disk fails: its reads, writes and flushes of an image end with EIO (tests/support/faulty_host.c, preloaded). Programs inside are told so,
the site and all else in it go on, and when the host's disk is well again so is the site's."""
import os
import struct
import subprocess

from harness import BUILD, ROOT_IMAGE, Site, check, check_image, expect, image_copy, main, scratch

MEGABYTE, EVERYWHERE = 1 << 20, (0, 1 << 62)


class Faults:
    """Faults of one file. The filter like Docker's leaves the site no io_uring, whose reads could not be made to fail."""

    def __init__(self, path):
        self.control = scratch('.faults')
        self.set()
        self.how = {'prefix': [os.path.join(BUILD, 'tests/support/like_docker')],
                    'environment': {**os.environ, 'LD_PRELOAD': os.path.join(BUILD, 'tests/support/faulty_host.so'), 'FAULTY_FILE': path, 'FAULTY_CONTROL': self.control}}

    def set(self, reads=(0, 0), writes=(0, 0), flushes=False):
        """Ranges of the file; from now on."""
        with open(self.control, 'r+b' if os.path.exists(self.control) else 'wb') as file:
            file.write(struct.pack('=5Q', *reads, *writes, flushes))


def ask(site, command):
    """What the shell inside prints for a command: all of it on one line."""
    site.process.stdin.write(f'echo $({{ {command}; }} 2>&1)\n'.encode())
    return site.line().decode().strip()


def disk(size):
    path = scratch('.disk')
    with open(path, 'wb') as file:
        file.write(bytes(range(256)) * (size // 256))
    return path


def file_system():
    path = scratch('.disk')
    subprocess.run(['/sbin/mke2fs', '-q', '-t', 'ext4', path, '16M'], check=True, stdout=subprocess.DEVNULL)
    return path


@check
def a_read_that_fails_is_an_error_there_and_nowhere_else_and_is_tried_again():
    image = disk(8 * MEGABYTE)
    faults = Faults(image)
    with Site('sh', options=['--disk', image], **faults.how) as site:
        faults.set(reads=(4 * MEGABYTE + 8192, 4 * MEGABYTE + 12288))
        whole = 'dd if=/dev/vdb of=/dev/null bs=4k; echo end'
        expect('Input/output error' in ask(site, whole), True, 'the whole disk')
        expect(ask(site, 'dd if=/dev/vdb bs=4k skip=1026 count=1 2>/dev/null | wc -c'), '0', 'bytes of the page that fails')
        expect(ask(site, 'dd if=/dev/vdb bs=4k skip=1027 count=1 2>/dev/null | wc -c'), '4096', 'bytes of the page behind it')
        faults.set()
        expect(ask(site, whole).startswith('2048+0 records in'), True, 'the whole disk, when it is well again')


@check
def a_write_or_flush_that_fails_is_an_error_of_fsync_and_the_next_one_tries_again():
    image = disk(8 * MEGABYTE)
    faults = Faults(image)
    write = 'yes | dd of=/dev/vdb bs=1M seek=2 count=2 iflag=fullblock conv=fsync,notrunc; echo end'
    with Site('sh', options=['--disk', image], **faults.how) as site:
        for fault in {'writes': (3 * MEGABYTE, 3 * MEGABYTE + 4096)}, {'flushes': True}:
            faults.set(**fault)
            expect('Input/output error' in ask(site, write), True, f'an error with {fault}')
            faults.set()
            expect('error' in ask(site, write), False, 'an error when it is well again')
        expect(open(image, 'rb').read()[2 * MEGABYTE:4 * MEGABYTE], b'y\n' * MEGABYTE, 'what was written')


@check
def files_on_a_disk_that_cannot_be_read_are_errors_and_nobody_else_s():
    image = file_system()
    faults = Faults(image)
    with Site('sh', options=['--disk', image], **faults.how) as site:
        expect(ask(site, 'mkdir /tmp/m; mount /dev/vdb /tmp/m; yes | head -c 300000 >/tmp/m/file; cp /bin/busybox /tmp/m; mkdir /tmp/m/d; cd /tmp/m/d; mkdir $(seq 300); cd /; umount /tmp/m'), '')
        expect(ask(site, 'mount /dev/vdb /tmp/m; ls /tmp/m | wc -l'), '4')
        faults.set(reads=EVERYWHERE)
        expect('Input/output error' in ask(site, 'cat /tmp/m/file'), True, 'a file')
        expect('Input/output error' in ask(site, '/tmp/m/busybox true; echo $?'), True, 'a program')
        expect('Input/output error' in ask(site, 'cat /tmp/m/d/250/x'), True, 'a folder')
        expect(ask(site, 'ls / | wc -l; umount /tmp/m; mount /dev/vdb /tmp/m && echo mounted').split()[-1] != 'mounted', True, 'a mount')
        faults.set()
        expect(ask(site, 'mount /dev/vdb /tmp/m; md5sum </tmp/m/file; /tmp/m/busybox echo runs; umount /tmp/m'), ask(site, 'yes | head -c 300000 | md5sum') + ' runs')
    check_image(image)


@check
def a_file_system_that_cannot_be_written_says_so_and_is_whole_afterwards():
    image = file_system()
    faults = Faults(image)
    with Site('sh', options=['--disk', image], **faults.how) as site:
        expect(ask(site, 'mkdir /tmp/m; mount /dev/vdb /tmp/m; echo kept >/tmp/m/kept; sync; echo done'), 'done')
        faults.set(writes=EVERYWHERE)
        expect('rror' in ask(site, 'yes | dd of=/tmp/m/lost bs=1M count=1 iflag=fullblock conv=fsync; echo end'), True, 'an error of fsync')
        ask(site, 'mkdir /tmp/m/lost2; sync')
        expect('Read-only file system' in ask(site, 'mkdir /tmp/m/new'), True, 'a change when the journal could not be written')
        expect(ask(site, 'cat /tmp/m/kept; ls /bin/sh'), 'kept /bin/sh')
        faults.set()
        expect(ask(site, 'umount /tmp/m').split(': ')[-1] in ('Input/output error', 'Read-only file system'), True, 'the loss is told once more')
        expect(ask(site, 'mount /dev/vdb /tmp/m; cat /tmp/m/kept; mkdir /tmp/m/new; umount /tmp/m'), 'kept')
    check_image(image)


@check
def a_root_that_fails_leaves_the_shell():
    image = image_copy(ROOT_IMAGE)
    faults = Faults(image)
    with Site('sh', options=['--root', image, '--rewrite', 'off'], **faults.how) as site:
        expect(ask(site, 'echo here'), 'here')
        faults.set(EVERYWHERE, EVERYWHERE, True)
        for command in ('cat /etc/services /etc/protocols', 'date >/root/x', 'sync', 'find / -xdev'):
            ask(site, command + ' | wc -c')
        expect(ask(site, 'echo still here'), 'still here')
        faults.set()
        expect(site.finish(b'').status, 0, 'the status')


main()
