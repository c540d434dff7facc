#!/usr/bin/python3
"""What the host's user does to the processes of a site: stop, debug, kill; and what an idle site
costs."""
import os
import re
import signal
import subprocess
import time

from harness import (Failure, Site, Skip, await_no_children, check, comm, descendants, expect, main,
                     run)

# Prints a number every tenth of a second; what comes shows that the site goes on.
TICKING = 'i=0; while :; do i=$((i + 1)); echo $i; sleep 0.1; done'


def ticking(**how):
    return Site('sh', '-c', TICKING, stdin=subprocess.DEVNULL, **how)


def family_size():
    with ticking() as site:
        site.process.stdout.readline()
        return len(descendants(site.process.pid))


def expect_to_go_on(site, what):
    before = int(site.process.stdout.readline())
    deadline = time.monotonic() + 10
    while int(site.process.stdout.readline()) < before + 5:
        if time.monotonic() > deadline:
            raise Failure(f'the site does not go on after {what}')


@check
def each_process_can_be_stopped_and_continued():
    with ticking() as site:
        site.process.stdout.readline()
        for pid in descendants(site.process.pid):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.2)
            os.kill(pid, signal.SIGCONT)
            expect_to_go_on(site, f'SIGSTOP and SIGCONT of {comm(pid)}')


@check
def all_processes_can_be_stopped_and_continued_together():
    with ticking() as site:
        site.process.stdout.readline()
        family = descendants(site.process.pid)
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(0.5)
        for pid in family:
            os.kill(pid, signal.SIGCONT)
        expect_to_go_on(site, 'SIGSTOP and SIGCONT of all')


@check
def each_process_can_be_looked_at_by_gdb():
    if 'ptrace' in open('/proc/self/status').read() or is_filtered():
        raise Skip('ptrace is refused here, as in a container')
    with ticking() as site:
        site.process.stdout.readline()
        for pid in descendants(site.process.pid):
            done = subprocess.run(['gdb', '-q', '-nx', '-batch', '-p', str(pid), '-ex', 'bt 1'],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if not re.search(r'^#0 ', done.stdout, re.MULTILINE):
                raise Failure(f'gdb on {comm(pid)}: {done.stdout} {done.stderr}')
            expect_to_go_on(site, f'gdb on {comm(pid)}')


def is_filtered():
    return re.search(r'^Seccomp:\t2', open('/proc/self/status').read(), re.MULTILINE)


@check
def each_process_can_be_killed_and_the_site_goes_on_or_ends_cleanly():
    for index in range(family_size()):
        with ticking(clean=False) as site:
            site.process.stdout.readline()
            family = descendants(site.process.pid)
            if index >= len(family):
                continue
            name = comm(family[index])
            os.kill(family[index], signal.SIGKILL)
            try:
                site.process.wait(2)
            except subprocess.TimeoutExpired:
                expect_to_go_on(site, f'kill -9 of {name}')
                site.process.terminate()
            else:
                if index > 0 and not site.log().strip() and not site.process.stderr.peek():
                    raise Failure(f'after kill -9 of {name} the site ended without a word')
            site.finish()


@check
def an_idle_site_never_wakes():
    with Site('sh', '-c', 'echo up; read x') as site:
        site.process.stdout.readline()
        time.sleep(2)
        before = switches(site)
        time.sleep(10)
        after = switches(site)
        woken = {task: after[task] - before.get(task, 0) for task in after
                 if after[task] != before.get(task, 0)}
        expect(woken, {}, 'wake-ups in 10 s')
        site.finish(b'\n')


def switches(site):
    """How often each thread of each process gave up its CPU by itself."""
    found = {}
    for pid in descendants(site.process.pid):
        for task in os.listdir(f'/proc/{pid}/task'):
            status = open(f'/proc/{pid}/task/{task}/status').read()
            found[f'{comm(pid)} {task}'] = int(re.search(r'^voluntary_ctxt_switches:\t(\d+)', status,
                                                         re.MULTILINE)[1])
    return found


@check
def an_idle_site_is_small():
    with Site('sh', '-c', 'echo up; read x', options=['--memory', '64M']) as site:
        site.process.stdout.readline()
        time.sleep(1)
        total = 0
        for pid in descendants(site.process.pid):
            text = open(f'/proc/{pid}/smaps_rollup').read()
            total += int(re.search(r'^Pss: +(\d+)', text, re.MULTILINE)[1])
        site.finish(b'\n')
    if total > 40 << 10:
        raise Failure(f'the site has {total >> 10} MB of the host, of 40 MB at most')


main()
