#!/usr/bin/python3
"""gdb's commands for the Nucleus: under gdb, attached to a site that runs, on a core."""
import functools
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), '../system'))
from harness import (BUILD, CHORUS, SOURCE, Failure, Site, Skip, await_no_children, check,  # noqa: E402
                     expect, expect_match, main, restore_signals, scratch)

SCRIPT = os.path.join(SOURCE, 'src/gdb/chorus_gdb.py')
RUN = os.path.join(SOURCE, 'src/gdb/run')
DEBUG_SITE = os.path.join(BUILD, 'tests/debugging/debug-site')
VICTIM = os.path.join(BUILD, 'tests/debugging/victim')


@functools.lru_cache(None)
def may_trace():
    done = subprocess.run(['gdb', '-nx', '-q', '-batch', '-ex', 'set disable-randomization off', '-ex', 'run',
                           '--args', 'true'], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return 'exited normally' in done.stdout


def gdb(*words, commands=(), timeout=100):
    """What gdb prints; it is asked for nothing and reads nothing of the user's."""
    if not may_trace():
        raise Skip('ptrace is not permitted here')
    line = ['gdb', '-nx', '-q', '-batch', '-iex', 'set debuginfod enabled off', '-x', SCRIPT]
    for command in commands:
        line += ['-ex', command]
    done = subprocess.run([*line, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, preexec_fn=restore_signals)
    await_no_children(5)
    if 'Python Exception' in done.stderr or 'Traceback' in done.stderr:
        raise Failure(done.stderr)
    return done.stdout + done.stderr


def on_victim(*commands, place='user', deed='wait'):
    """Both of the victim's threads wait when the commands are done."""
    stop = ['break call_threadDelay', 'run', 'continue', 'finish']
    return gdb('--args', DEBUG_SITE, place, f'{VICTIM},{deed}', commands=[*stop, *commands, 'kill'])


@check
def actors_are_listed():
    for place in 'user', 'supervisor':
        said = on_victim('chorus actors', place=place)
        pid = '-' if place == 'supervisor' else r'\d+'
        expect_match(rf'^ *1  victim  [0-9a-f]{{8}}\.[0-9a-f]+ +{place} +{pid} +2 +2 +\d+ +\d+K ', said)


@check
def threads_are_listed_with_what_they_wait_in():
    said = on_victim('chorus threads')
    expect_match(r'^ *1 +victim +1 +victim +waiting .*threadDelay\(delay=10000000 ns\)$', said)
    expect_match(r'^ *1 +victim +2 .* waiting .*threadDelay\(delay=K_FOREVER\)$', said)


@check
def ports_are_listed():
    said = on_victim('chorus ports')
    expect(len(re.findall(r'^[0-9a-f]{8}\.[0-9a-f]+ +1 +victim ', said, re.M)), 2, 'number of ports')


@check
def regions_are_listed_with_their_rights():
    said = on_victim('chorus regions victim')
    found = re.findall(r'^([0-9a-f]{12})-([0-9a-f]{12}) +\d+[KM] +([r-][w-][x-]) +anonymous', said, re.M)
    rights = [right for _, _, right in found]
    for wanted in 'r--', 'r-x', 'rw-':
        if wanted not in rights:
            raise Failure(f'no region has the rights {wanted}: {said}')
    expect([first for first, _, _ in found], sorted(first for first, _, _ in found), 'order')
    expect_match(r'^\d+ of \d+ pages are mapped', said)


@check
def calls_are_listed_with_names_arguments_and_results():
    said = on_victim('chorus calls', 'chorus calls 1')
    expect_match(r'^ *\d+ +victim +1 +portCreate\(cap=K_MYACTOR, ui=0x[0-9a-f]+\) += +1$', said)
    expect_match(r'^ *\d+ +victim +1 +threadCreate\(.* sched=NULL, .*\) += +2$', said)
    last = said[said.rindex('CALL'):]
    expect(len(re.findall(r'^ *\d+ +victim', last, re.M)), 1, 'lines of chorus calls 1')


@check
def errors_have_names():
    said = on_victim('chorus calls 1000', deed='exit')
    expect_match(r'actorSelf|threadDelay', said)
    said = gdb('--args', DEBUG_SITE, 'user', f'{VICTIM},error',
               commands=['break call_threadDelay', 'run', 'chorus calls 10', 'kill'])
    expect_match(r'^ *\d+ +victim +1 +portDelete\(cap=K_MYACTOR, portli=12345\) += +K_E[A-Z]+$', said)


@check
def what_is_asked_wrongly_is_refused():
    said = on_victim('chorus regions nobody')
    expect_match(r'there is no actor nobody', said)
    expect_match(r'which actor\?', on_victim('chorus regions'))
    expect_match(r'takes a number', on_victim('chorus calls many'))
    expect_match(r'there is no command "chorus what"', on_victim('chorus what'))
    expect_match(r'nothing runs', gdb(DEBUG_SITE, commands=['chorus actors']))


@check
def the_signals_of_supervisor_actors_pass_by():
    for deed in 'exit', 'fault':
        said = gdb('--args', DEBUG_SITE, 'supervisor', f'{VICTIM},{deed}', commands=['run'])
        expect_match(r'exited normally', said)
        if 'received signal' in said:
            raise Failure(said)


@check
def a_fault_of_the_Nucleus_itself_stops_it_there():
    for place in 'user', 'supervisor':
        said = gdb('--args', DEBUG_SITE, place, f'{VICTIM},wait',
                   commands=['break call_threadDelay', 'run', 'set var thread = 1', 'continue', 'bt', 'kill'])
        expect_match(r'^#\d+ .*call_threadDelay \(thread=0x1\)', said)


@check
def a_core_of_the_nucleus_process_tells_the_same():
    core = scratch('.core')
    on_victim('generate-core-file ' + core)
    said = gdb(DEBUG_SITE, core, commands=['chorus actors', 'chorus threads', 'chorus calls 5',
                                           'chorus ports', 'chorus regions 1'])
    expect_match(r'^ *1  victim ', said)
    expect_match(r'threadDelay\(delay=K_FOREVER\)$', said)
    expect_match(r'^ *\d+ +victim +1 +portCreate\(', said)
    expect_match(r' r-x +anonymous$', said)


@check
def a_site_that_runs_is_looked_at_and_goes_on():
    script = 'echo ready; read line; echo got $line'
    with Site('sh', '-c', script) as site:
        expect(site.process.stdout.readline(), b'ready\n')
        said = gdb('-p', str(site.process.pid), CHORUS,
                   commands=['chorus actors', 'chorus threads sh', 'chorus threads', 'chorus ports pm',
                             'chorus regions sh', 'chorus calls 100'])
        for actor, place in ('console', 'system'), ('om', 'super'), ('dm', 'super'), ('pm', 'super'):
            expect_match(rf'^ *\d+  {actor} .* {place}', said)
        expect_match(r'^ *\d+  sh +1 .* trap syscall \d+ at 0x[0-9a-f]+, awaits 0x', said)
        expect_match(r'ipc(Reply)?Receive\(.*delay=K_FOREVER\)', said)
        expect_match(r' r-x +(window on|(shared )?copy of) segment [0-9a-f]+\.[0-9a-f]+ from page 0x', said)
        result = site.finish(b'hello\n')
        expect((result.status, result.out), (0, b'got hello\n'))


@check
def the_command_of_the_program_boots_a_site_under_gdb():
    if not may_trace():
        raise Skip('ptrace is not permitted here')
    done = subprocess.run([RUN, CHORUS, '--verbose', '--', 'echo', 'hello'], input='run\nquit\n', text=True,
                          capture_output=True, timeout=100, preexec_fn=restore_signals,
                          env={**os.environ, 'HOME': '/nonexistent'})
    await_no_children(5)
    expect(done.returncode, 0)
    expect_match(r'^(\(gdb\) )?hello$', done.stdout)
    expect_match(r'exited normally', done.stdout)
    if 'received signal' in done.stdout:
        raise Failure(done.stdout)


main()
