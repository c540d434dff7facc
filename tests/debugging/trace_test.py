#!/usr/bin/python3
"""--trace FILE: what the Nucleus did, in the Trace Event format, as a site writes it."""
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), '../system'))
from chromium import Chromium  # noqa: E402
from harness import (BUILD, SOURCE, Failure, Skip, await_no_children, check, chorus, expect,  # noqa: E402
                     expect_match, main, run, scratch, shell)

DEBUG_SITE = os.path.join(BUILD, 'tests/debugging/debug-site')
VICTIM = os.path.join(BUILD, 'tests/debugging/victim')
CHECKER = os.path.join(SOURCE, 'tests/support/check-trace')
CALLS = set(re.findall(r'^KN_CALL\(\d+, (\w+)', open(os.path.join(SOURCE, 'include/calls.def')).read(), re.M))
LINUX_CALLS = set(re.findall(r'^LINUX_CALL\(\d+, (\w+)',
                             open(os.path.join(SOURCE, 'servers/pm/linux_calls.def')).read(), re.M))


def checked(path):
    """The records, each of which is as the format wants it."""
    done = subprocess.run([CHECKER, '--complete', path], capture_output=True, text=True)
    expect((done.returncode, done.stderr), (0, ''), 'status and errors of check-trace')
    return json.load(open(path))


def of_site(script, **how):
    path = scratch('.json')
    result = shell(script, options=['--trace', path], **how)
    return checked(path), result, path


def of_victim(deed, place='user', *more):
    path = scratch('.json')
    words = [DEBUG_SITE, '--trace', path, *more, place, f'{VICTIM},{deed}']
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env={**os.environ})
    await_no_children()
    expect(done.returncode, 0)
    return checked(path), done.stderr


def dropped(records):
    expect(records[-1]['name'], 'events dropped', 'last record')
    return records[-1]['args']['count']


def names(records, what='process_name'):
    return {record['pid']: record['args']['name'] for record in records if record['name'] == what}


@check
def actors_threads_and_CPUs_have_names():
    records, _, _ = of_site('ls >/dev/null; :')  # so that the shell does not become ls
    processes = names(records)
    for name in 'user CPUs', 'Nucleus', 'console', 'om', 'dm', 'pm', 'sh', 'ls':
        if name not in processes.values():
            raise Failure(f'{name} is not among {processes}')
    for record in records:
        if record['pid'] not in processes:
            raise Failure(f'no name for the process of {record}')


@check
def calls_have_the_names_of_the_tables_and_all_have_ended():
    records, result, _ = of_site('ls -R /etc | sort >/dev/null')
    expect(dropped(records), 0, 'events dropped')
    expect_match(r'trace: 0 events were dropped', result.log)
    open_calls, found = {}, set()
    for record in records:
        track = record['pid'], record['tid']
        if record['ph'] == 'B':
            if track in open_calls:
                raise Failure(f'{record} begins within {open_calls[track]}')
            open_calls[track] = record
            found.add(record['name'])
        elif record['ph'] == 'E':
            del open_calls[track]
    expect(found - CALLS - LINUX_CALLS - {'a result', 'an abort', 'a bad address', 'an exception'}, set(), 'strange names')
    for name in 'ipcCall', 'rgnMap', 'actorCreate', 'openat', 'read', 'clone':
        if name not in found:
            raise Failure(f'{name} was called, but is not in the trace: {found}')
    expect(open_calls, {}, 'calls that are open at the end')


@check
def a_call_that_fails_shows_its_error():
    records, _ = of_victim('error-then-exit')
    opened = {}
    for record in records:
        if record['ph'] == 'B':
            opened[record['pid'], record['tid']] = record['name']
        elif record['ph'] == 'E' and opened[record['pid'], record['tid']] == 'portDelete':
            if record['args']['result'] >= 0:
                raise Failure(f'portDelete of no port succeeded: {record}')
            return
    raise Failure('no portDelete in the trace')


@check
def each_message_arrives_once_after_it_was_sent():
    records, _, _ = of_site('seq 100 | cat | wc -l')
    sent, arrived = {}, set()
    for record in records:
        if record['ph'] == 's':
            sent[record['id']] = record['ts']
        elif record['ph'] == 'f':
            if record['id'] in arrived or sent[record['id']] > record['ts']:
                raise Failure(f'it arrives twice or too early: {record}')
            arrived.add(record['id'])
    if len(arrived) < 100:
        raise Failure(f'only {len(arrived)} messages')


@check
def a_CPU_runs_one_thread_at_a_time():
    records, _, _ = of_site('for i in 1 2 3 4; do seq 3000 | wc -l & done; wait')
    last = {}
    for record in records:
        if record['cat'] != 'switch':
            continue
        begin, end = record['ts'], record['ts'] + record['dur']
        if begin < last.get(record['tid'], 0) - 0.002:
            raise Failure(f'two at once: {record}')
        last[record['tid']] = end
    if not last:
        raise Failure('no switch in the trace')


@check
def a_fault_is_shown_with_its_address():
    for place in 'user', 'supervisor':
        records, _ = of_victim('fault', place)
        faults = [(record['args']['address'], record['args']['access']) for record in records
                  if record['cat'] == 'fault']
        if ('0x5550000000', 'write') not in faults:
            raise Failure(f'it is not among {faults}')


@check
def lost_events_are_counted_and_spoil_no_others():
    # Faster than any disk: the file is written by a thread that shares one CPU with the site.
    records, log = of_victim('storm', 'supervisor', '--cpus', '1')
    expect_match(rf'trace: {dropped(records)} events were dropped', log)
    if sum(record['ph'] == 'B' for record in records) < 1000:
        raise Failure('hardly any call is in the trace')


@check
def a_file_that_cannot_be_made_is_told():
    result = chorus('run', '--trace', '/nonexistent/trace', '--', 'true')
    expect((result.status, result.out), (125, b''))
    expect_match('/nonexistent/trace: No such file or directory', result.err)


@check
def a_full_disk_costs_the_trace_alone():
    result = run('echo', 'hello', options=['--trace', '/dev/full'])
    expect((result.status, result.out), (0, b'hello\n'))
    expect_match('trace: not everything could be written: No space left on device', result.log)


@check
def without_the_option_there_is_no_word_of_it():
    if 'trace' in shell('true').log:
        raise Failure('the log speaks of a trace')


@check
def Chromium_reads_all_of_it():
    if not shutil.which('chromium'):
        raise Skip('chromium is not installed (apt-get install chromium)')
    records, _, path = of_site('ls -R /etc | sort >/dev/null')
    folder = scratch('-chromium')
    os.mkdir(folder)
    with Chromium(folder) as chromium:
        found = chromium.read_trace(path)
    await_no_children(10)
    expect(found['generic'], True)
    expect({int(pid): process['name'] for pid, process in found['processes'].items()}, names(records))
    wanted = {}
    for record in records:
        if record['ph'] in 'BX' and record['cat'] in ('call', 'switch'):
            track = record['pid'], record['tid']
            wanted[track] = wanted.get(track, 0) + 1
    for (pid, tid), count in wanted.items():
        entries = found['processes'][str(pid)]['threads'][str(tid)]['entries']
        if entries < count:
            raise Failure(f'of {count} slices of thread {tid} of process {pid} it shows {entries}')


main()
