#!/usr/bin/python3
"""A folder of the host inside: --share. What is done in it, who owns what, both sides' changes, and that nobody gets out of it."""
import hashlib
import os
import shutil
import signal
import socket
import threading

from harness import BUILD, Failure, Site, check, chorus, descendants, comm, expect, expect_match, main, scratch, shell, wait_until

PROGRAMS = os.path.join(BUILD, 'tests/programs')


def folder(**files):
    path = scratch('-share')
    os.mkdir(path)
    for name, text in files.items():
        with open(os.path.join(path, name), 'w') as file:
            file.write(text)
    return path


def shared(path, script, mount='', **how):
    return shell(script, options=['--share', path + mount], **how)


def text_of(*names):
    return open(os.path.join(*names)).read()


# What is refused

@check
def a_folder_that_cannot_be_shared_is_refused_with_a_sentence():
    path = folder(file='x')
    for value, reason in (('/nonexistent', 'No such file'), (os.path.join(path, 'file'), 'Not a directory'), ('/root', 'Permission denied')):
        result = chorus('run', '--share', value, '--', 'true')
        expect((result.status, result.out), (125, b''), f'status with {value}')
        expect_match(reason, result.err)
    for words in ([''], [f'{path}:/'], [path, '--share', path], [',ro']):
        result = chorus('run', '--share', *words, '--', 'true')
        expect((result.status, result.out), (2, b''), f'status with {words}')


@check
def a_folder_that_can_only_be_read_is_not_changed():
    path = folder(file='text')
    os.symlink('file', f'{path}/link')
    result = shell('''cd /srv/a; cat file; touch new; mkdir new; rm -f file; mv file new; ln file new; ln -s file new
        chmod 700 file; echo x >file; truncate -s 0 file; mkfifo new; touch file; grep share /proc/mounts''', options=['--share', f'{path}:/srv/a,ro'])
    expect(result.err.count(b'Read-only file system'), 11, f'refusals in {result.err}')
    expect(result.out, b'textshare0 /srv/a share ro 0 0\n')
    expect(sorted(os.listdir(path)), ['file', 'link'])


@check
def a_folder_is_mounted_by_hand_and_elsewhere_and_once():
    one, two = folder(file='one'), folder(file='two')
    result = shell('''set -e; mkdir /tmp/a; mount -t share share0 /tmp/a 2>&1 || true; umount /srv/1; ls /srv/1; mount -t share share0 /tmp/a; cat /tmp/a/file; echo more >/tmp/a/new
        grep share /proc/mounts; cd /tmp/a; cd ..; pwd; for what in share2 share9 share share0x /dev/vda x; do mount -t share $what /srv/1 2>&1 || true; done
        umount /tmp/a; mount -t share -o ro share0 /tmp/a 2>&1 || true; umount /srv/2; mount -t share -o ro share1 /tmp/a; cat /tmp/a/file; touch /tmp/a/x 2>&1 || true
        umount /tmp/a; mount -t share share0 /srv/1; cat /srv/1/new; su -s /bin/sh nobody -c 'mount -t share share1 /tmp/a' 2>&1 || true''',
                   options=['--share', f'{one}:/srv/1', '--share', f'{two}:/srv/2,ro'])
    failed, none = 'mount: mounting %s on %s failed: %s', 'No such device or address'
    expect(result.out.decode().splitlines(),
           [failed % ('share0', '/tmp/a', 'Device or resource busy'), 'oneshare1 /srv/2 share ro 0 0', 'share0 /tmp/a share rw 0 0', '/tmp',
            *(failed % (what, '/srv/1', none) for what in ('share2', 'share9', 'share', 'share0x', '/dev/vda', 'x')),
            failed % ('share0', '/tmp/a', 'Invalid argument'), "twotouch: /tmp/a/x: Read-only file system", 'more', 'mount: permission denied (are you root?)'])
    expect((result.status, result.err, sorted(os.listdir(one)), os.listdir(two)), (0, b'', ['file', 'new'], ['file']))


# What is done

@check
def programs_work_in_it_as_elsewhere():
    path = folder()
    result = shared(path, '''set -e; cd /mnt; mkdir -p a/b; seq 1 200000 >a/b/numbers; md5sum <a/b/numbers; tail -n 1 a/b/numbers
        cp -r a c; diff -r a c; mv c/b d; rmdir c; ln d/numbers same; stat -c %h same; ln -s d/numbers link; readlink link; tail -c 7 link
        echo more >>link; tail -c 5 d/numbers; truncate -s 3 same; cat d/numbers; chmod 640 same; stat -c %a same; rm same link; find . | sort | tr '\\n' ' '
        touch -d '2020-02-03 04:05:06' d/numbers; stat -c %Y d/numbers; mkfifo p; (echo through >p &); cat p; exec 3>open; rm open; echo x >&3
        dd if=/dev/zero of=holes bs=1 seek=1048576 count=1 2>/dev/null; stat -c %s holes; tar c d | tar t; sync''')
    numbers = b''.join(b'%d\n' % i for i in range(1, 200001))
    expect(result.good().decode().splitlines(),
           [hashlib.md5(numbers).hexdigest() + '  -', '200000', '2', 'd/numbers', '200000', 'more', '1', '2640',
            '. ./a ./a/b ./a/b/numbers ./d ./d/numbers 1580702706', 'through', '1048577', 'd/', 'd/numbers'])
    expect(open(f'{path}/a/b/numbers', 'rb').read() == numbers, True)
    expect(int(os.stat(f'{path}/d/numbers').st_mtime), 1580702706)


@check
def the_user_of_the_site_is_root_inside_and_nothing_is_given_away():
    path = folder(mine='x', secret='y')
    os.chmod(f'{path}/secret', 0o600)
    result = shared(path, '''cd /mnt; stat -c '%u %g' mine; chown 5 mine 2>&1; chown 0:0 mine && echo same; chmod 6755 mine; stat -c %a mine; mknod d c 1 3 2>&1
        su -s /bin/sh nobody -c 'cat secret; echo z >mine; cat mine; touch new' 2>&1; touch mine2; stat -c '%u %g' mine2''')
    expect(result.out.decode().count('ermission denied'), 3, f'{result.out}')
    expect_match(r'^0 0\nchown: mine: Operation not permitted\nsame\n755\nmknod: d: Operation not permitted\n', result.out)
    expect_match(r'\nx(.*\n)*0 0\n$', result.out)
    made = os.stat(f'{path}/mine2')
    expect((made.st_uid, made.st_gid), (os.getuid(), os.getgid()))
    expect(os.stat(f'{path}/mine').st_mode & 0o7777, 0o755)


@check
def changes_of_both_sides_are_seen_at_once():
    path = folder(file='one\n')
    with Site('sh', options=['--share', path]) as site:
        def ask(line):
            site.process.stdin.write(line.encode() + b'\n')
            return site.line().decode()
        expect(ask('cd /mnt; exec 3<file; cat file'), 'one\n')
        with open(f'{path}/file', 'a') as file:
            file.write('two\n')
        expect(ask('tail -n 1 file'), 'two\n')
        os.rename(f'{path}/file', f'{path}/other')
        os.mkdir(f'{path}/dir')
        expect(ask('ls | tr "\\n" " "; echo'), 'dir other \n')
        expect(ask('cat <&3 | tr "\\n" " "; echo'), 'one two \n')  # it is open all the same
        expect(ask('echo inside >dir/x; mv dir moved; echo done'), 'done\n')
        expect(text_of(path, 'moved/x'), 'inside\n')
        os.rename(f'{path}/moved', f'{path}/again')
        expect(ask('cat again/x; cat moved/x 2>&1 | grep -c "No such"'), 'inside\n')
        expect(site.line(), b'1\n')
        os.unlink(f'{path}/again/x')
        expect(ask('cat again/x 2>&1 | grep -c "No such"'), '1\n')


@check
def two_folders_lie_side_by_side_and_can_be_unmounted():
    one, two = folder(x='1\n'), folder(x='2\n')
    result = shell('cat /one/x /deep/down/two/x; mkdir /one/m; mount -t tmpfs none /one/m && touch /one/m/t && ls /one/m; umount /one/m; ls /one/m; '
                   'cd /one; umount /one 2>&1 | grep -c busy; cd /; umount /one && ls /one', options=['--share', f'{one}:/one', '--share', f'{two}:/deep/down/two'])
    expect(result.out, b'1\n2\nt\n1\n')
    expect(os.listdir(f'{one}/m'), [])


# Nobody gets out

@check
def links_lead_to_places_inside_and_never_out():
    path, outside = folder(), folder(passwd='host\n')
    os.symlink(outside, f'{path}/absolute')
    os.symlink('../' * 20 + outside[1:], f'{path}/relative')
    os.symlink('/proc/self/root' + outside, f'{path}/magic')
    os.symlink('..', f'{path}/up')
    os.symlink('loop', f'{path}/loop')
    result = shared(path, f'''cd /mnt; for name in absolute relative magic up/up/{outside[1:]} ../{outside[1:]} ../../../{outside[1:]}; do
        cat $name/passwd; echo x >$name/passwd; ls $name/; mkdir $name/new; done; cat loop; ls up | grep -c etc''')
    if b'host' in result.out:
        raise Failure(f'the outside was read: {result.out}')
    expect_match('(?i)too many|symbolic link', result.err)
    expect(result.out, b'1\n')
    expect((text_of(outside, 'passwd'), os.listdir(outside)), ('host\n', ['passwd']))


@check
def a_link_that_is_made_inside_leads_nowhere_outside():
    path, outside = folder(), folder(secret='host\n')
    result = shared(path, f'cd /mnt; ln -s {outside} l; ln -s / r; cat l/secret r{outside}/secret; ls l; echo x >l/new; ln l/secret hard; mv l/secret stolen')
    expect(result.out, b'')
    expect(os.listdir(outside), ['secret'])
    expect(sorted(os.listdir(path)), ['l', 'r'])


@check
def who_swaps_a_folder_for_a_link_meanwhile_does_not_let_anybody_out():
    path, outside = folder(), folder(file='outside\n')
    os.mkdir(f'{path}/d')
    with open(f'{path}/d/file', 'w') as file:
        file.write('inside\n')
    end = threading.Event()

    def swap():
        while not end.is_set():
            os.rename(f'{path}/d', f'{path}/away')
            os.symlink(outside, f'{path}/d')
            os.unlink(f'{path}/d')
            os.rename(f'{path}/away', f'{path}/d')
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        result = shared(path, 'cd /mnt; i=0; while [ $i -lt 150 ] || [ -z "$seen" -a $i -lt 20000 ]; do cat d/file && seen=1; echo stray >d/new; mkdir d/dir; '
                              'i=$((i+1)); done 2>/dev/null')
    finally:
        end.set()
        thread.join()
    expect(set(result.out.splitlines()), {b'inside'})
    expect((text_of(outside, 'file'), os.listdir(outside)), ('outside\n', ['file']))


@check
def a_folder_that_is_moved_out_takes_nobody_along():
    """The host moves a folder out of the shared one while somebody inside stands in it: it is gone for him."""
    path, outside = folder(), scratch('-out')
    os.mkdir(outside)
    os.mkdir(f'{path}/d')
    with open(f'{outside}/secret', 'w') as file:
        file.write('secret\n')
    with Site('sh', options=['--share', path]) as site:
        site.process.stdin.write(b'cd /mnt/d; echo there\n')
        expect(site.line(), b'there\n')
        os.rename(f'{path}/d', f'{outside}/d')
        result = site.finish(b'cat ../secret; ls; echo x >y; cat ./../secret; cd ..; cat secret; ls -d /mnt/d; echo end\n')
    expect(result.out, b'end\n')
    expect(os.listdir(f'{outside}/d'), [])


@check
def special_files_of_the_host_lead_nowhere():
    path = folder()
    os.mkfifo(f'{path}/fifo')
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path)
        server.bind('socket')
        os.chdir(here)
        result = shared(path, 'cd /mnt; cat socket 2>&1 | head -1; (echo x >fifo) & cat fifo; ls -l | cut -c 1 | tr -d "\\n"')
    expect_match(r'^cat: .*socket.*\nx\ntps$|^cat: .*socket.*\nx\ntsp$', result.out.decode())


# Programs, and files that are mapped

class Mapped(Site):
    """A program from the folder that maps its file `data`, and is told what to look at."""
    def __init__(self, path, *options):
        shutil.copy(f'{PROGRAMS}/mapped', path)
        super().__init__('/mnt/mapped', '/mnt/data', options=['--share', path, *options])
        expect(self.line(), b'ready\n')

    def ask(self, words):
        self.process.stdin.write(words.encode() + b'\n')
        return self.line().decode().rstrip()


def pages(path, letters):
    with open(os.path.join(path, 'data'), 'w') as file:
        file.write(''.join(letter * 4096 for letter in letters))


@check
def what_is_no_program_is_not_run_and_what_may_not_be_run_neither():
    path = folder(text='text', empty='', script='#!/mnt/nobody\n')
    for name in 'text', 'empty', 'script':
        os.chmod(f'{path}/{name}', 0o755)
    shutil.copy(f'{PROGRAMS}/mapped', f'{path}/cut')
    os.truncate(f'{path}/cut', 5000)
    shutil.copy(f'{PROGRAMS}/mapped', f'{path}/plain')
    os.chmod(f'{path}/plain', 0o644)
    os.mkfifo(f'{path}/fifo', 0o755)
    os.mkdir(f'{path}/dir')
    result = shared(path, 'cd /mnt; for name in cut plain fifo dir script nothing; do ./$name data </dev/null; echo $?; done 2>/dev/null | tr "\\n" " "')
    expect_match(r'^(2|126) 126 126 126 127 127 $', result.out)


@check
def a_file_that_is_cut_while_it_is_mapped_is_a_bus_error():
    path = folder()
    pages(path, 'abcd')
    with Mapped(path) as site:
        expect((site.ask('shared'), site.ask('peek 0')), ('mapped', 'a'))
        os.truncate(f'{path}/data', 5000)
        expect((site.ask('look'), site.ask('peek 0'), site.ask('peek 4096')), ('looked', 'a', 'b'))
        expect((site.ask('peek 8192'), site.ask('peek 12288'), site.ask('peek 32768')), ('SIGBUS', 'SIGBUS', 'SIGBUS'))
        pages(path, 'xyz')
        expect((site.ask('look'), site.ask('peek 8192'), site.ask('peek 0'), site.ask('peek 12288')), ('looked', 'z', 'x', 'SIGBUS'))


@check
def a_file_that_is_cut_before_its_pages_are_touched_is_a_bus_error_at_once():
    path = folder()
    pages(path, 'abcdefghijklmnop')
    with Mapped(path) as site:
        expect(site.ask('shared'), 'mapped')
        os.truncate(f'{path}/data', 0)
        expect((site.ask('peek 0'), site.ask('peek 60000')), ('SIGBUS', 'SIGBUS'))


@check
def the_server_dies_while_a_file_is_mapped_and_nobody_hangs():
    path = folder()
    pages(path, 'abcdefghijklmnop')
    with Mapped(path, '--name', 'm', '--place', 'share=user') as site:
        expect((site.ask('private'), site.ask('peek 0')), ('mapped', 'a'))
        before = site.actors()['share0']
        os.kill(before, 9)
        if site.ask('peek 61440') not in ('p', 'SIGBUS'):
            raise Failure('it read something else')
        wait_until(lambda: site.actors().get('share0', before) != before, 'the next server')
        wait_until(lambda: site.ask('peek 61440') == 'p', 'the page')
        pages(path, 'xyz')  # the new server does not know what is cached, and yet it is not shown
        expect((site.ask('look'), site.ask('peek 4096')), ('looked', 'y'))


@check
def the_process_on_the_host_dies_while_a_file_is_mapped_and_nobody_hangs():
    path = folder()
    pages(path, 'a' * 16)
    with open(f'{path}/data', 'a') as file:
        file.write('b' * (1 << 20))
    with Mapped(path) as site:
        expect((site.ask('shared'), site.ask('peek 0')), ('mapped', 'a'))
        found = [pid for pid in descendants(site.process.pid) if comm(pid) == 'share']
        os.kill(found[0], signal.SIGKILL)
        answer = site.ask('look')
        expect(answer, 'Bad file descriptor')  # it could not be opened
        expect(site.ask('peek 0'), 'a')


@check
def what_is_mapped_is_never_written_to_the_folder():
    path = folder()
    pages(path, 'ab')
    with Mapped(path) as site:
        expect((site.ask('writable'), site.ask('shared'), site.ask('protect'), site.ask('poke 0')),
               ('No such device', 'mapped', 'Permission denied', 'SIGSEGV'))
        expect((site.ask('private'), site.ask('poke 1'), site.ask('peek 1'), site.ask('read 1')), ('mapped', 'poked', 'P', 'a'))
    expect(text_of(path, 'data')[:3], 'aaa')


@check
def a_mapping_shows_what_programs_inside_write():
    path = folder()
    pages(path, 'ab')
    with Mapped(path) as site:
        expect((site.ask('shared'), site.ask('peek 4097')), ('mapped', 'b'))
        pages(path, 'cd')
        expect((site.ask('look'), site.ask('peek 4097')), ('looked', 'd'))
    result = shared(path, r"""cd /mnt; mkfifo /tmp/in; ./mapped data </tmp/in >/tmp/out & exec 3>/tmp/in
        until_line() { while [ "$(wc -l </tmp/out)" -lt $1 ]; do sleep 0.01; done; }
        printf 'shared\npeek 4097\n' >&3; until_line 3
        printf X | dd of=data bs=1 seek=4097 conv=notrunc 2>/dev/null; echo 'peek 4097' >&3; until_line 4
        printf Y >data; printf 'peek 0\npeek 4097\n' >&3; until_line 6
        truncate -s 8192 data; rm data; printf 'peek 0\nread 0\n' >&3; until_line 8; tr '\n' ' ' </tmp/out""")
    expect(result.out, b'ready mapped d X Y SIGBUS Y Y ')


@check
def a_program_that_the_host_builds_again_is_the_new_one_at_once():
    path = folder()
    with Site('sh', options=['--share', path]) as site:
        for i in range(12):
            name = f'{PROGRAMS}/rewritten' + ('2' if i % 2 else '')
            if i % 3 == 2:
                with open(name, 'rb') as old, open(f'{path}/program', 'r+b') as new:  # in its place
                    new.write(old.read())
                    new.truncate()
            else:
                if os.path.exists(f'{path}/program'):
                    os.unlink(f'{path}/program')
                shutil.copy(name, f'{path}/program')
            site.process.stdin.write(b'/mnt/program word\n')
            expect(site.line(), b'two\n' if i % 2 else b'one\n', f'round {i}')
        # what was run and is deleted is not held for ever
        share = [pid for pid in descendants(site.process.pid) if comm(pid) == 'share'][0]
        held = [name for name in os.listdir(f'/proc/{share}/fd') if os.readlink(f'/proc/{share}/fd/{name}').endswith('(deleted)')]
        if len(held) > 2:
            raise Failure(f'{len(held)} deleted files are held')


@check
def locks_hold_among_programs_inside():
    path = folder(data='x' * 100)
    shutil.copy(f'{PROGRAMS}/mapped', path)
    result = shared(path, r"""cd /mnt; mkfifo /tmp/in; ./mapped data </tmp/in >/tmp/out & exec 3>/tmp/in; printf 'flock\nrecord\n' >&3
        while [ "$(wc -l </tmp/out)" -lt 3 ]; do sleep 0.01; done
        printf 'flock\nrecord\n' | ./mapped data; exec 3>&-; wait; printf 'flock\nrecord\n' | ./mapped data""")
    expect(result.out.decode().split('\n'), ['ready', 'Resource temporarily unavailable', 'Resource temporarily unavailable',
                                             'ready', 'locked', 'locked', ''])


# Deaths

@check
def its_server_is_killed_and_open_files_go_on():
    path = folder(file='text\n')
    with Site('sh', options=['--share', path, '--name', 'k', '--place', 'share=user']) as site:
        site.process.stdin.write(b'cd /mnt; exec 3<file 4>new; echo up\n')
        expect(site.line(), b'up\n')
        os.kill(site.actors()['share0'], 9)
        site.process.stdin.write(b'sleep 0.3; cat <&3; echo written >&4; cat new\n')
        expect((site.line(), site.line()), (b'text\n', b'written\n'))


@check
def its_process_on_the_host_is_killed_and_the_site_goes_on():
    path = folder(file='text\n')
    with Site('sh', options=['--share', path, '--name', 'p']) as site:
        site.process.stdin.write(b'cat /mnt/file\n')
        expect(site.line(), b'text\n')
        found = [pid for pid in descendants(site.process.pid) if comm(pid) == 'share']
        expect(len(found), 1, 'processes of folders')
        os.kill(found[0], signal.SIGKILL)
        result = site.finish(b'cat /mnt/file 2>&1 | grep -c "I/O error\\|Input/output error"; echo alive\n')
    expect(result.out, b'1\nalive\n')


main()
