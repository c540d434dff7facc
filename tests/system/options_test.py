#!/usr/bin/python3
"""The options of chorus run, and the commands that speak with a running site."""
import hashlib
import os
import re
import subprocess

from harness import (SOURCE, Failure, Site, TEST_IMAGE, check, check_image, chorus, expect,
                     expect_match, image_copy, main, run, scratch, shell, wait_until)


def digest(path):
    return hashlib.file_digest(open(path, 'rb'), 'sha256').hexdigest()


@check
def changes_to_an_image_are_kept():
    image = image_copy()
    shell('echo kept >/root/note; sync', options=['--root', image]).good()
    expect(run('cat', '/root/note', options=['--root', image]).good(), b'kept\n')
    content = subprocess.run(['/sbin/debugfs', '-R', 'cat /root/note', image], capture_output=True)
    expect(content.stdout, b'kept\n')


@check
def changes_are_kept_without_sync_too():
    image = image_copy()
    shell('seq 100000 >/root/numbers', options=['--root', image]).good()
    output = run('sha256sum', '/root/numbers', options=['--root', image]).good().split()[0]
    numbers = ''.join(f'{i}\n' for i in range(1, 100001)).encode()
    expect(output.decode(), hashlib.sha256(numbers).hexdigest())


@check
def changes_under_snapshot_are_thrown_away():
    image = image_copy()
    before = digest(image)
    shell('echo lost >/root/note; sync; cat /root/note',
          options=['--root', image, '--snapshot']).good()
    expect(digest(image), before, 'content of the image')


@check
def an_image_that_may_only_be_read_serves_under_snapshot():
    image = image_copy()
    os.chmod(image, 0o400)
    shell('echo lost >/root/note', options=['--root', image, '--snapshot']).good()
    result = chorus('run', '--root', image, '--', 'true')
    expect(result.status, 125)
    expect_match('ermission denied|read-only', result.err)


@check
def the_built_in_image_is_not_changed():
    shell('echo lost >/root/note').good()
    expect(run('test', '-e', '/root/note').status, 1)


@check
def memory_is_what_was_asked_for():
    for size, least in (('32M', 16), ('256M', 200)):
        output = shell("awk '/MemTotal/ { print $2 }' /proc/meminfo",
                       options=['--memory', size]).good()
        megabytes = int(output) / 1024
        if not least <= megabytes <= int(size[:-1]):
            raise Failure(f'{megabytes} MB with --memory {size}')


@check
def cpus_are_what_was_asked_for():
    expect(run('nproc', options=['--cpus', '1']).good(), b'1\n')
    if len(os.sched_getaffinity(0)) > 1:
        expect(run('nproc', options=['--cpus', '2']).good(), b'2\n')


@check
def on_one_host_cpu_everything_works_too():
    result = shell('seq 1000 | sort -n | tail -n 1', prefix=['taskset', '-c', '0'])
    expect(result.good(), b'1000\n')


@check
def verbose_goes_to_standard_error_or_to_the_log():
    result = chorus('run', '--verbose', '--', 'echo', 'x')
    expect(result.out, b'x\n')
    expect_match('left over', result.err)
    log = scratch('.log')
    result = chorus('run', '--verbose', '--log', log, '--', 'echo', 'x')
    expect((result.out, result.err), (b'x\n', b''))
    expect_match('left over', open(log).read())


@check
def a_log_that_cannot_be_made_is_an_error():
    result = chorus('run', '--log', '/nowhere/log', '--', 'true')
    expect(result.status, 125)
    expect_match('/nowhere/log', result.err)


@check
def strace_decodes_calls_by_name():
    result = shell('cat /etc/hostname >/dev/null', options=['--strace'])
    expect_match(r'\b(open|openat)\(.*"/etc/hostname"', result.log)
    expect_match(r'\bwrite\(1, ', result.log)


@check
def a_call_that_is_not_there_is_reported_once_with_the_program():
    result = run('unknown_call', options=['--root', TEST_IMAGE, '--snapshot'])
    expect(result.out, b'ENOSYS ENOSYS ENOSYS\n')
    expect(len(re.findall(r'unknown_call.*\b1999\b', result.log)), 1, 'number of reports')


@check
def the_trace_is_in_the_format_of_its_viewers():
    path = scratch('.json')
    shell('seq 1000 | wc -l; ls -R /etc >/dev/null', options=['--trace', path]).good()
    done = subprocess.run([os.path.join(SOURCE, 'tests/support/check-trace'), '--complete', path],
                          capture_output=True)
    expect((done.returncode, done.stderr), (0, b''))
    text = open(path).read()
    for kind in ('"cat":"switch"', '"cat":"call"', '"cat":"message"', '"cat":"fault"'):
        expect(kind in text, True, kind)


@check
def ps_and_stop_find_the_only_site():
    with Site('sleep', '1000', options=['--name', 'lonely']) as site:
        site.wait_until_up()
        wait_until(lambda: b'\nsleep ' in chorus('ps').out, 'the command')
        output = chorus('ps').good().decode()
        expect_match('^site lonely:', output)
        for actor in ('pm', 'om', 'dm', 'sleep'):
            expect_match(rf'^{actor}\b', output)
        chorus('stop').good()
        site.finish()
    expect(chorus('ps').status, 1)


@check
def ps_names_an_applet_and_not_how_the_shell_started_it():
    with Site('sh', '-c', 'sleep 1000 & yes >/dev/null', options=['--name', 'applets']) as site:
        site.wait_until_up()
        for applet in ('sleep', 'yes'):
            wait_until(lambda: f'\n{applet} '.encode() in chorus('ps', '--name', 'applets').out, applet)


@check
def top_shows_rates():
    with Site('sh', '-c', 'while :; do echo x; done >/dev/null',
              options=['--name', 'busy']) as site:
        site.wait_until_up()
        wait_until(lambda: b'\nsh ' in chorus('ps', '--name', 'busy').out, 'the shell')
        output = chorus('top', '--name', 'busy', '--count', '2').good().decode()
        busy = re.findall(r'^sh .* ([\d.]+) +\d+ +\d+$', output, re.MULTILINE)
        if not busy or float(busy[-1]) < 10:
            raise Failure(f'the busy shell is not seen as busy: {output}')


@check
def a_name_chooses_among_several_sites():
    with Site('sleep', '1000', options=['--name', 'one']) as one, \
            Site('sleep', '1000', options=['--name', 'two']) as two:
        one.wait_until_up(), two.wait_until_up()
        result = chorus('ps')
        expect(result.status, 1)
        expect_match('one two|two one', result.err)
        expect_match('^site two:', chorus('ps', '--name', 'two').good())
        refused = chorus('run', '--name', 'one', '--', 'true')
        expect(refused.status, 125)
        expect_match('one', refused.err)
        chorus('stop', '--name', 'one').good()
        chorus('stop', '--name', 'two').good()
        one.process.wait(), two.process.wait()


@check
def an_image_of_ones_own_boots():
    image, folder = scratch('.img'), scratch()
    os.makedirs(f'{folder}/bin')
    subprocess.run(['cp', os.path.join(os.environ['CHORUS_BUILD'], 'rootfs/busybox'),
                    f'{folder}/bin/sh'], check=True)
    chorus('image', image, '--size', '16M', '--from', folder).good()
    expect(run('/bin/sh', '-c', 'echo hello', options=['--root', image]).good(), b'hello\n')
    check_image(image)


main()
