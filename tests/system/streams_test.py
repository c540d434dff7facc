#!/usr/bin/python3
"""chorus run -- COMMAND: streams, exit status, environment, as any program in a pipeline."""
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import time

from harness import (BUSYBOX, CHORUS, Failure, Site, check, chorus, expect, expect_match, main,
                     run, scratch, shell)

BINARY = random.Random(1).randbytes(3000000)


@check
def the_exit_status_is_the_commands():
    for status in (0, 1, 7, 255):
        expect(shell(f'exit {status}').status, status)


@check
def a_signal_gives_128_and_its_number():
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE):
        expect(shell(f'kill -{int(number)} $$').status, 128 + number)


@check
def a_command_that_is_not_there_gives_127():
    result = run('no-such-command')
    expect(result.status, 127)
    expect(result.out, b'')


@check
def a_file_that_is_no_program_gives_126():
    expect(run('/etc/passwd').status, 126)
    expect(run('/etc').status, 126)


@check
def arguments_arrive_unchanged():
    words = ['', ' ', 'a b', '*', '$HOME', '"', "'", '\\n', '-x', '--', 'ü€', 'x' * 100000]
    output = run('sh', '-c', 'for a; do printf "%s\\n" "$a"; done', 'sh', *words).good()
    expect(output.decode().split('\n'), words + [''])


@check
def output_and_errors_come_apart_and_nothing_else_comes():
    result = shell('echo out; echo err >&2')
    expect((result.out, result.err), (b'out\n', b'err\n'))


@check
def without_verbose_the_site_says_nothing():
    done = chorus('run', '--', 'echo', 'hello')
    expect((done.status, done.out, done.err), (0, b'hello\n', b''))


@check
def binary_input_arrives_whole():
    expect(run('cat', input=BINARY).good() == BINARY, True, 'equality')
    digest = run('sha256sum', input=BINARY).good().split()[0]
    expect(digest, hashlib.sha256(BINARY).hexdigest().encode())


@check
def an_empty_input_is_an_end_of_file():
    expect(run('wc', '-c').good().strip(), b'0')


@check
def standard_streams_may_be_files():
    source, target = scratch(), scratch()
    open(source, 'wb').write(BINARY)
    with open(source, 'rb') as a, open(target, 'wb') as b:
        run('gzip', '-9', stdin=a, stdout=b)
    packed = subprocess.run([BUSYBOX, 'gzip', '-dc', target], capture_output=True, check=True)
    expect(packed.stdout == BINARY, True, 'equality')


@check
def an_archive_comes_through_a_pipe():
    names = subprocess.run(['tar', 't'], input=run('tar', 'c', '/etc').out, capture_output=True,
                           check=True).stdout.split()
    expect(b'etc/passwd' in names, True)


@check
def a_reader_that_leaves_ends_the_writer():
    with Site('yes', stdin=subprocess.DEVNULL) as site:
        expect(site.process.stdout.read(4), b'y\ny\n')
        site.process.stdout.close()
        site.process.stdout = None
        status = site.finish().status
        expect(status in (1, 128 + signal.SIGPIPE), True, f'{status} of an error or of SIGPIPE')


@check
def a_slow_reader_slows_the_writer():
    with Site('sh', '-c', 'head -c 20000000 /dev/zero; echo done >&2') as site:
        time.sleep(1)
        memory = int(open(f'/proc/{site.process.pid}/statm').read().split()[1]) * 4096
        if memory > 300 << 20:
            raise Failure(f'the site keeps {memory >> 20} MB for a reader that does not read')
        result = site.finish()
        expect((len(result.out), result.err), (20000000, b'done\n'))


@check
def a_slow_command_slows_its_writer():
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with Site('sh', '-c', 'sleep 2; wc -c', stdin=read_end) as site:
        os.close(read_end)
        written = 0
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            try:
                written += os.write(write_end, bytes(65536))
            except BlockingIOError:
                time.sleep(0.01)
        if written > 16 << 20:
            raise Failure(f'{written >> 20} MB were taken before anybody read them')
        os.close(write_end)
        site.process.stdin = None
        expect(int(site.finish().out), written)


@check
def streams_may_be_closed_from_the_start():
    for streams in ('<&-', '>&-', '2>&-', '<&- >&- 2>&-'):
        done = subprocess.run(['sh', '-c', f'"$0" run -- true {streams}', CHORUS])
        expect(done.returncode, 0, f'status with {streams}')


@check
def a_full_disk_behind_standard_output_is_the_commands_error():
    with open('/dev/full', 'w') as full:
        result = run('sh', '-c', 'echo x || exit 9', stdout=full)
    expect(result.status, 9)


@check
def the_user_is_root_at_home_unless_told_otherwise():
    expect(shell('id -u; pwd; echo $HOME').good(), b'0\n/root\n/root\n')


@check
def the_environment_is_as_promised():
    os.environ['OUTSIDE'] = 'outside'
    output = shell('env', options=['--env', 'ADDED=a b', '--env', 'OUTSIDE']).good().decode()
    names = {line.split('=')[0] for line in output.splitlines()} - {'PWD', 'SHLVL', '_', 'OLDPWD'}
    expect(names - {'TZ'}, {'PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'TERM', 'ADDED', 'OUTSIDE'})
    expect_match('^ADDED=a b$', output)
    expect_match('^OUTSIDE=outside$', output)


@check
def the_time_zone_is_the_host_s_also_without_tz():
    script = 'for at in 1700000000 1720000000; do env -u TZ date -d @$at "+%H:%M %Z"; date -d @$at "+%H:%M %Z"; done; wc -c </etc/localtime; stat -L -c %s /etc/localtime'
    for zone, winter, summer in (('CET-1CEST,M3.5.0,M10.5.0/3', '23:13 CET', '11:46 CEST'), ('<+0530>-5:30', '03:43 +0530', '15:16 +0530'), ('UTC0', '22:13 UTC', '09:46 UTC')):
        result = shell(script, environment={**os.environ, 'TZ': zone})
        *times, length, size = result.good().decode().splitlines()
        expect((times, length), ([winter, winter, summer, summer], size), f'times in {zone}, and the size of the file')
    result = shell('env -u TZ date -d @1700000000 +%H:%M; date -d @1700000000 +%H:%M', options=['--env', 'TZ=EST5'], environment={**os.environ, 'TZ': 'CET-1'})
    expect(result.good(), b'23:13\n17:13\n', 'the zone of the site, and what its command was told')


@check
def another_user_and_folder_can_be_chosen():
    output = shell('id; pwd; touch /etc/x 2>/dev/null || echo refused',
                   options=['--user', 'user', '--cwd', '/tmp']).good().decode()
    expect_match(r'^uid=1000\(user\) gid=1000\(user\)', output)
    expect_match('^/tmp$', output)
    expect_match('^refused$', output)
    expect(shell('id -u; id -g', options=['--user', '77:78']).good(), b'77\n78\n')


@check
def a_user_or_folder_that_is_not_there_is_an_error():
    for options in (['--user', 'nobody-of-this-name'], ['--cwd', '/no/such/folder']):
        result = chorus('run', *options, '--', 'true')
        expect(result.status in (125, 126, 127), True, f'{result.status} of a failure')
        expect_match(options[1], result.err, 'the message')


@check
def sigterm_and_sigint_end_the_site_cleanly():
    for number in (signal.SIGTERM, signal.SIGINT):
        with Site('sh', '-c', 'trap "" INT TERM; echo up; sleep 1000') as site:
            expect(site.line(), b'up\n')
            site.process.send_signal(number)
            expect(site.finish().status, 128 + number)


@check
def background_processes_do_not_outlive_the_command():
    start = time.monotonic()
    shell('sleep 1000 >/dev/null 2>&1 </dev/null & exit 0').good()
    if time.monotonic() - start > 20:
        raise Failure('the site waited for a process in the background')


@check
def several_sites_run_side_by_side():
    with contextlib.ExitStack() as stack:
        sites = [stack.enter_context(Site('sh', '-c', f'read x; echo {i} $x')) for i in range(3)]
        for i, site in enumerate(sites):
            expect(site.finish(b'hello\n').out, f'{i} hello\n'.encode())


main()
