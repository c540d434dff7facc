#!/usr/bin/python3
"""Static glibc programs, made by nobody who knew of Chorus: see tests/programs."""
import os
import re
import subprocess

from harness import (BUILD, LONG, TEST_IMAGE, Skip, add_check, check, expect, expect_match, long_check, main,
                     run, scratch)

IMAGE = ['--root', TEST_IMAGE, '--snapshot']


def as_nobody(folder):
    """What these programs call (settimeofday, mount) must not reach the host, should its root run this file."""
    if os.geteuid() != 0:
        return []
    os.chmod(folder, 0o777)
    return ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all', '--inh-caps=-all']


def same_as_on_host(words, options=()):
    def compare():
        folder = scratch()
        os.mkdir(folder)
        path = os.path.join(BUILD, 'tests/programs', words[0])
        here = subprocess.run([*as_nobody(folder), path, *words[1:]], stdin=subprocess.DEVNULL,
                              capture_output=True, cwd=folder)
        if here.returncode != 0:
            raise Skip(f'it fails on this host: {here.stdout}')
        there = run(*words, options=[*IMAGE, *options])
        expect((there.status, there.out, there.err), (0, here.stdout, here.stderr))
    return compare


for name, words, options in [
        ('threads agree', ['threads'], ()),
        ('threads agree in a static position-independent program', ['threads_pie'], ()),
        ('threads agree on one CPU', ['threads'], ['--cpus', '1']),
        ('memory with more holes than the host allows mappings', ['pieces', 'holes', '70000'], ['--memory', '1G']),
        ('memory in nearly as many pieces as the host allows', ['pieces', 'protect', '30000'], ['--memory', '512M']),
        ('the clocks agree', ['clocks'], ()),
        ('the clocks agree on one CPU', ['clocks'], ['--cpus', '1']),
        ('signals arrive', ['signals'], ()),
        ('no program notices that calls are rewritten at once', ['rewritten'], ['--rewrite', '1']),
        ('no program notices that calls are rewritten after some time', ['rewritten'], ['--rewrite', '50']),
        ('no position-independent program notices it', ['rewritten_pie'], ['--rewrite', '3']),
        ('no program notices it on one CPU', ['rewritten'], ['--rewrite', '2', '--cpus', '1']),
        ('no program notices that nothing is rewritten', ['rewritten'], ['--rewrite', 'off']),
        ('a big heap is copied at fork where it is written', ['heap', '64'], ()),
        ('jumps to random addresses harm their program only', ['jumps'], ()),
        ('local sockets agree', ['local'], ()),
        ('local sockets agree on one CPU', ['local'], ['--cpus', '1']),
        ('sockets of the Internet agree', ['inet'], ()),
        ('sockets of the Internet agree on one CPU', ['inet'], ['--cpus', '1']),
        ('sockets of the Internet agree with sm in a process of its own', ['inet'], ['--place', 'sm=user']),
        ('data go from file to file past the program', ['splices'], ()),
        ('wild pointers in every call harm their program only', ['wild'], ())]:
    add_check(name, same_as_on_host(words, options))

if LONG:
    for seed in range(2, 12):
        add_check(f'wild pointers harm their program only, seed {seed}',
                  same_as_on_host(['wild', str(seed)]))


@check
def a_heap_of_a_gigabyte_is_copied_at_fork_where_it_is_written():
    """1 GB, and half of it again: more mappings than the host allows, if each page were one."""
    memory = os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGESIZE')
    if memory < 4 << 30:
        raise Skip('the host has less than 4 GB free')
    result = run('heap', '1024', options=[*IMAGE, '--memory', '3G'], timeout=180)
    expect((result.status, result.out), (0, b'both sides have their own\n'))


@check
def the_time_is_read_without_a_system_call():
    try:
        source = open('/sys/devices/system/clocksource/clocksource0/current_clocksource').read()
    except OSError:
        source = 'not to be seen'
    if source != 'tsc\n':
        raise Skip(f"the host's clock is not the processor's counter but {source.strip()}")
    result = run('clocks', 'quiet', options=[*IMAGE, '--strace'])
    expect((result.status, result.out), (0, b'the clocks agree\n'))
    expect(re.findall(r'clocks\S* (?:clock_gettime|gettimeofday|time)\(.*', result.log), [])
    expect_match(r'clocks\S* \w*nanosleep\(', result.log)


@check
def rewritten_calls_are_those_of_the_program_as_it_is_now():
    """Hot, then replaced in place, by another file of its name, and by the old one again."""
    script = '''cp /usr/local/bin/rewritten /tmp/p; for i in 1 2 3; do /tmp/p name; done
                cat /usr/local/bin/rewritten2 >/tmp/p; for i in 1 2 3; do /tmp/p name; done
                cp /usr/local/bin/rewritten /tmp/q; mv /tmp/q /tmp/p; for i in 1 2 3; do /tmp/p name; done'''
    result = run('sh', '-c', script, options=[*IMAGE, '--rewrite', '5'])
    expect((result.status, result.out.split()), (0, [b'one'] * 3 + [b'two'] * 3 + [b'one'] * 3))
    expect_match(r'/tmp/p: \d+ system calls are rewritten', result.log)


@check
def a_program_that_cannot_be_written_is_rewritten_and_stays_as_it_is():
    script = '''cp /usr/local/bin/rewritten /tmp/p; chmod 555 /tmp/p; sha256sum </tmp/p; /tmp/p name; /tmp/p name; sync; sha256sum </tmp/p
                mount -o bind /tmp /mnt; mount -o remount,ro,bind /mnt; /mnt/p name; cmp /mnt/p /usr/local/bin/rewritten && echo same'''
    result = run('sh', '-c', script, options=[*IMAGE, '--rewrite', '5'])
    lines = result.out.split(b'\n')
    expect(lines[0], lines[3])
    expect(lines[-2], b'same')
    expect_match(r'/p: \d+ system calls are rewritten', result.log)


@check
def nothing_is_rewritten_when_that_is_turned_off():
    result = run('rewritten', 'name', options=[*IMAGE, '--rewrite', 'off'])
    expect((result.status, result.out), (0, b'one\n'))
    expect(re.search(r'system calls are rewritten', result.log), None)


@check
def a_process_cannot_call_the_nucleus_by_its_gate():
    result = run('gate', options=IMAGE)
    expect((result.status, result.out), (0, b'the gate is closed\n'))


@long_check
def threads_agree_a_hundred_times():
    result = run('sh', '-c', 'for i in $(seq 100); do threads || exit 1; done', options=IMAGE,
                 timeout=600)
    expect((result.status, result.out), (0, b'threads agree\n' * 100))


main()
