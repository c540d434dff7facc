#!/usr/bin/python3
"""What goes wrong, and what must happen then."""
import hashlib
import os
import random
import re
import signal
import subprocess
import time

from harness import (BUSYBOX, Failure, LONG, Site, TEST_IMAGE, check, check_image, chorus, expect,
                     expect_match, image_copy, inside, main, on_host, run, scratch, shell,
                     wait_until)

SNAPSHOT = ['--root', TEST_IMAGE, '--snapshot']


def digest(path):
    return hashlib.file_digest(open(path, 'rb'), 'sha256').hexdigest()


def expect_refused(image, pattern):
    """A message on standard error alone, and the image is not written to."""
    before = digest(image)
    for options in ([], ['--snapshot']):
        result = chorus('run', '--root', image, *options, '--', 'true')
        expect((result.status, result.out), (125, b''), 'status and output')
        expect_match(pattern, result.err, 'the message')
        expect(digest(image), before, 'content of the image')


def super_block(image, offset, data):
    with open(image, 'r+b') as file:
        file.seek(1024 + offset)
        file.write(data)


def debugfs(image, command):
    done = subprocess.run(['/sbin/debugfs', '-w', '-R', command, image], capture_output=True)
    expect(done.returncode, 0, f'debugfs {command}')


# Images

@check
def an_image_that_is_not_there():
    result = chorus('run', '--root', '/no/such/image', '--', 'true')
    expect((result.status, result.out), (2, b''))
    expect_match('/no/such/image: No such file', result.err)


@check
def a_folder_in_place_of_an_image():
    result = chorus('run', '--root', '/tmp', '--', 'true')
    expect((result.status, result.out), (125, b''))
    expect_match('/tmp', result.err)


@check
def an_image_that_is_not_ext4():
    image = scratch('.img')
    for content in (b'', b'x', b'text\n' * 1000000, bytes(8 << 20)):
        open(image, 'wb').write(content)
        expect_refused(image, r'(?i)not .*ext4|no ext4|too small|empty')


@check
def an_image_that_is_truncated():
    image = image_copy()
    for size in (50 << 20, 1 << 20, 3000, 1100):
        os.truncate(image, size)
        expect_refused(image, r'(?i)truncated|too small|shorter|not .*ext4')


@check
def an_image_that_is_marked_as_having_errors():
    image = image_copy()
    debugfs(image, 'set_super_value state 2')
    expect_refused(image, r'(?i)error')


@check
def an_image_with_features_that_are_unknown():
    image = image_copy()
    super_block(image, 0x60, b'\xff\xff\xff\x7f')
    expect_refused(image, r'(?i)feature|not .*ext4')


@check
def an_image_with_a_damaged_root_folder():
    image = image_copy()
    debugfs(image, 'clri <2>')
    expect_refused(image, r'(?i)root|damaged|corrupt|error')


def unclean_image():
    """An image whose site was killed while files were written."""
    image = image_copy()
    with Site('promises', '/root/p', options=['--root', image], stdin=subprocess.DEVNULL,
              clean=False) as site:
        while (line := site.line()) != b'30\n':
            if line == b'':
                raise Failure(f'the site ended early: {site.log()}')
        site.process.kill()
        site.process.stdout.close()
        site.process.stdout = None
        site.process.wait()
        site.options = []  # the image is not clean, of course
        site.finish()
    return image


@check
def an_unclean_image_is_recovered():
    image = unclean_image()
    result = shell('ls /root/p | wc -l', options=['--root', image])
    expect(int(result.good()) >= 24, True)


@check
def an_unclean_image_is_recovered_in_the_thrown_away_layer():
    image = unclean_image()
    before = digest(image)
    result = run('sh', '-c', 'ls /root/p | wc -l', options=['--root', image, '--snapshot'],
                 clean=False)
    expect(int(result.good()) >= 24, True)
    expect(digest(image), before, 'content of the image')


@check
def two_sites_on_one_image():
    image = image_copy()
    with Site('sleep', '1000', options=['--root', image, '--name', 'first']) as first:
        first.wait_until_up()
        for options in ([], ['--snapshot']):
            result = chorus('run', '--root', image, *options, '--', 'true')
            expect((result.status, result.out), (125, b''))
            expect_match(r'(?i)in use|used by|locked|another site', result.err)


@check
def several_snapshots_of_one_image_are_no_trouble():
    image = image_copy()
    with Site('sleep', '1000', options=['--root', image, '--snapshot', '--name', 'first']) as first:
        first.wait_until_up()
        run('true', options=['--root', image, '--snapshot']).good()


# Things that run out

@check
def a_full_disk():
    image = image_copy()
    script = '''
        echo precious >/root/kept
        dd if=/dev/zero of=/root/big bs=1M 2>&1 | grep -o 'No space left on device'
        echo more 2>/dev/null >/root/small
        cat /root/kept
        rm /root/big && echo again >/root/small && cat /root/small'''
    output = shell(script, options=['--root', image]).good()
    expect_match('^No space left on device$', output)
    expect_match('^precious$', output)
    expect_match('^again$', output)
    expect(run('cat', '/root/kept', options=['--root', image]).good(), b'precious\n')


@check
def memory_that_runs_out():
    script = 'hog; echo status $?; hog & hog & wait; echo the site lives; seq 1000 | tail -n 1'
    result = shell(script, options=[*SNAPSHOT, '--memory', '64M'])
    expect_match('no more memory|status 137', result.out)
    expect_match('^the site lives\n1000$', result.out)
    expect(result.status, 0)


@check
def a_fork_bomb():
    script = '''
        forkbomb stay & sleep 5; echo one; /bin/echo alone 2>/dev/null
        trap : TERM; kill -9 -$!; kill -9 $!; sleep 1
        killall -9 forkbomb; sleep 1; /bin/echo the site lives'''
    result = shell(script, options=[*SNAPSHOT, '--processes', '64'], timeout=120)
    expect_match('^no more processes$', result.out)
    expect_match('^one$', result.out)
    expect_match('^the site lives$', result.out)


@check
def the_prompt_answers_beside_a_fork_bomb():
    with Site('sh', options=[*SNAPSHOT, '--processes', '64']) as site:
        site.process.stdin.write(b'forkbomb stay &\nsleep 3\n')
        expect(site.line(), b'no more processes\n')
        worst = 0
        for i in range(20):
            start = time.monotonic()
            site.process.stdin.write(b'echo %d\n' % i)
            line = site.line()
            while line == b'no more processes\n':
                line = site.line()
            expect(line, b'%d\n' % i)
            worst = max(worst, time.monotonic() - start if i else 0)
        if worst > 1:
            raise Failure(f'an answer took {worst:.2f} s')
        site.finish(b'killall -9 forkbomb\n')


@check
def a_refusal_of_the_host_to_make_processes():
    """The host's own limit of processes, lower than --processes."""
    # A shell that cannot fork gives up its script, here as on the host.
    script = "sh -c 'for i in $(seq 200); do sleep 100 & done' 2>/dev/null; echo the site lives"
    with Site('sh', '-c', script, prefix=['prlimit', '--nproc=100']) as site:
        result = site.finish()
    expect_match('^the site lives$', result.out)


# Programs

BAD_PROGRAMS = '''
    good=busybox_good # busybox goes by its name
    bad() { mv busybox_$1 busybox_bad; chmod +x busybox_bad; (./busybox_bad echo ran) >out 2>&1
            [ $? = 0 ] && verdict="ends well" || verdict=fails; grep -q '^ran$' out && verdict=runs
            echo "$1 $verdict"; }
    patch_at() { cp $good busybox_$1; printf "$3" | dd of=busybox_$1 bs=1 seek=$2 conv=notrunc 2>/dev/null
                 bad $1; }
    : >busybox_empty; bad empty
    echo 'no program' >busybox_text; bad text
    for size in 4 63 64 100 100000; do head -c $size $good >busybox_torn$size; bad torn$size; done
    printf '\\177ELF' >busybox_magic; dd if=/dev/urandom bs=4096 count=4 2>/dev/null >>busybox_magic
    bad magic
    patch_at machine 18 '\\003\\000'
    patch_at entry 24 '\\000\\000\\000\\000\\000\\200\\377\\377'
    patch_at headers_far 32 '\\377\\377\\377\\377\\377\\377\\377\\177'
    patch_at headers_odd 32 '\\001\\000\\000\\000\\000\\000\\000\\000'
    patch_at header_size 54 '\\001\\000'
    patch_at many_headers 56 '\\377\\377'
    patch_at no_headers 56 '\\000\\000'
    for field in 8 16 32 40; do
        patch_at field_$field $((64 + field)) '\\377\\377\\377\\377\\377\\377\\377\\377'
        patch_at low_$field $((64 + field)) '\\000\\000\\001\\000\\000\\000\\000\\000'
    done
    ./$good echo good runs'''


@check
def programs_that_are_none_or_lie():
    """None runs inside that does not run on the host."""
    there = inside('cp /bin/busybox busybox_good;' + BAD_PROGRAMS)
    here = on_host(f'cp {BUSYBOX} busybox_good;' + BAD_PROGRAMS)
    expect_match('^good runs$', there.out)
    expect(len(there.out.splitlines()), len(here.out.splitlines()), 'number of programs tried')
    run = [set(re.findall('^(.*) runs$', result.out.decode(), re.MULTILINE))
           for result in (there, here)]
    expect(run[0] - run[1], set(), 'programs that run inside only')


@check
def a_link_that_leads_to_itself_and_a_path_without_end():
    output = shell('ln -s a b; ln -s b a; cat a; d=/; for i in $(seq 3000); do d=$d./; done; '
                   'ls -d $d; mkdir $(printf %0300d 0); echo end').out
    expect_match('^end$', output)


# A disk that does not answer

NEEDS_NO_DISK = ('echo shell itself', '/bin/echo cached program', 'ls /proc >/dev/null', 'ps | grep -c "[c]at /root/big"', 'wc -l </etc/passwd',
                 'echo a | md5sum', 'echo text >/root/warm/new; cat /root/warm/new; rm /root/warm/new', '(sleep 0.1; exit 3); echo $?')
LOOKERS = 12


def image_with_cold_files():
    image = image_copy()
    content = scratch()
    open(content, 'wb').write(random.Random(1).randbytes(1 << 20))
    for i in range(2):
        debugfs(image, f'write {content} /root/big{i}')
    for i in range(LOOKERS):
        debugfs(image, f'mkdir /root/folder{i}')
        debugfs(image, f'write /dev/null /root/folder{i}/file')
    debugfs(image, 'mkdir /root/warm')
    return image, hashlib.md5(open(content, 'rb').read()).hexdigest()


def answer(site, command):
    """What the shell in the site writes for it."""
    site.process.stdin.write(command.encode() + b'\necho end of it\n')
    lines = []
    try:
        while (line := site.line(10)) != b'end of it\n':
            if line == b'':
                raise Failure('the site ended')
            lines.append(line.decode())
    except Failure as failure:
        raise Failure(f'{command}: {failure}')
    return ''.join(lines)


def expect_a_usable_shell_beside_a_stopped_disk(*options):
    image, digest_of_big = image_with_cold_files()
    with Site('sh', options=['--root', image, '--name', 'stuck', *options]) as site:
        # Who changes files needs blocks of metadata: so those are changed that were changed before.
        answer(site, 'cd /root/warm; for i in sum names synced; do echo something >$i; : >$i; done; cd; sync')
        before = [answer(site, command) for command in NEEDS_NO_DISK]
        answer(site, 'ls -l /root >/dev/null; ls /root/warm; md5sum </etc/passwd; sync')
        disk = next(pid for name, pid in site.actors().items() if name.startswith('disk'))
        os.kill(disk, signal.SIGSTOP)
        # Some wait for pages, some for names; a file system that waited with its lock, or a server without a worker left, would hold up all.
        answer(site, 'cat /root/big0 >/dev/null & reader=$!')
        answer(site, 'md5sum /root/big1 >/root/warm/sum & sum=$!; (sync; echo synced >/root/warm/synced) & sync=$!')
        for i in range(LOOKERS):
            answer(site, f'ls /root/folder{i} >>/root/warm/names & looker{i}=$!')
        for _ in range(4):  # for longer than it takes until changes are written back
            for command, wanted in zip(NEEDS_NO_DISK, before):
                if 'grep' in command:
                    wanted = '1\n'
                got = answer(site, command)
                expect(got, wanted, f'{command} beside a stopped disk' + ('' if got == wanted else ', where ps says\n' + answer(site, 'ps')))
            time.sleep(2)
        expect(answer(site, 'kill -9 $reader; wait $reader; echo $?'), '137\n', 'status of the reader')
        expect(answer(site, 'cat /root/warm/*'), '', 'what is done without the disk')
        os.kill(disk, signal.SIGCONT)
        expect(answer(site, 'wait $sum $sync; wait; cut -c-32 /root/warm/sum; cat /root/warm/synced'), f'{digest_of_big}\nsynced\n')
        expect(answer(site, 'sort /root/warm/names | uniq -c | tr -s " "'), f' {LOOKERS} file\n')
        site.finish(b'exit\n')


@check
def processes_stuck_on_a_stopped_disk_leave_the_shell_usable():
    expect_a_usable_shell_beside_a_stopped_disk()


@check
def processes_stuck_on_a_stopped_disk_leave_the_shell_usable_when_all_servers_are_user_actors():
    expect_a_usable_shell_beside_a_stopped_disk('--place', 'all=user')


# Ends

@check
def a_server_that_is_killed_is_told_of():
    """The om's host process is killed: who waits gets an error, a message says who died."""
    with Site('sh', '-c', 'echo up; while sleep 0.1; do ls -R / >/dev/null 2>&1; done',
              options=['--name', 'victim', '--place', 'om=user'], clean=False) as site:
        expect(site.line(), b'up\n')
        os.kill(site.actors()['om'], signal.SIGKILL)
        wait_until(lambda: re.search(r'\bom\b.*(died|killed|gone)', site.log()), 'a message', 10)


@check
def a_server_in_the_nucleus_s_process_that_is_killed_dies_alone():
    """om is killed while programs are in calls of it: they get errors, what needs no file goes on."""
    script = """
        for i in 1 2 3; do (while ls -R /etc /bin >/dev/null 2>&1; do :; done; echo error) & done
        echo up; wait; [ -e /etc/passwd ] && echo there || echo gone; echo the site lives"""
    with Site('sh', '-c', script, options=['--name', 'inside', '--place', 'om=supervisor'], clean=False) as site:
        expect(site.line(), b'up\n')
        time.sleep(1)
        chorus('kill', 'om', '--site', 'inside').good()
        expect([site.line() for _ in range(5)], [b'error\n'] * 3 + [b'gone\n', b'the site lives\n'])


@check
def standard_output_that_is_full():
    with open('/dev/full', 'w') as full:
        result = run('sh', '-c', 'cat /bin/busybox; echo status $? >&2', stdout=full)
    expect_match('status [^0]', result.err)


@check
def a_kill_leaves_nothing_behind():
    with Site('sh', '-c', 'echo up; sleep 1000 & sleep 1000', clean=False) as site:
        expect(site.line(), b'up\n')
        site.process.kill()
        site.finish()


def check_promises(image, promised, removed):
    """After recovery each promised file is there, whole."""
    check_image(image)
    folder = scratch()
    os.mkdir(folder)
    subprocess.run(['/sbin/debugfs', '-R', f'rdump /root/p {folder}', image], capture_output=True)
    for number in promised - removed:
        path = f'{folder}/p/{number}'
        wanted = bytes([number % 251]) * (number * 137 % 30000 + 1)
        if not os.path.exists(path):
            if number == max(promised) and number % 5 == 0:
                continue  # the kill came between its removal and the promise of that
            raise Failure(f'file {number} was promised and is not there')
        if open(path, 'rb').read() != wanted:
            raise Failure(f'file {number} was promised and is damaged')
    for number in removed:
        expect(os.path.exists(f'{folder}/p/{number}'), False, f'removed file {number} is there')
    subprocess.run(['rm', '-rf', folder], check=True)


def kill_while_writing(image, seconds):
    with Site('promises', '/root/p', options=['--root', image], stdin=subprocess.DEVNULL,
              clean=False) as site:
        expect(site.line(), b'1\n')
        time.sleep(seconds)
        site.process.kill()
        words = site.process.stdout.read().split(b'\n')[:-1]  # the last may be torn
        site.options = []
        site.finish()
    numbers = [1] + [int(word) for word in words]
    return {n for n in numbers if n > 0}, {-n for n in numbers if n < 0}


@check
def a_kill_while_files_are_written_loses_nothing_that_was_promised():
    randomly = random.Random(int(os.environ.get('CHORUS_TEST_SEED', '1')))
    for _ in range(50 if LONG else 5):
        image = image_copy()
        promised, removed = kill_while_writing(image, randomly.uniform(0, 1))
        run('true', options=['--root', image]).good()
        check_promises(image, promised, removed)
        os.unlink(image)


main()
