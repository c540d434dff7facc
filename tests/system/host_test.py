#!/usr/bin/python3
"""What the host's user does to the processes of a site: stop, debug, kill; and what an idle site
costs."""
import os
import re
import signal
import subprocess
import time

from harness import TEST_IMAGE, Failure, Site, Skip, add_check, check, comm, descendants, expect, expect_match, main, switches

# Prints a number every tenth of a second; what comes shows that the site goes on.
TICKING = 'i=0; while :; do i=$((i + 1)); echo $i; sleep 0.1; done'


PLACES = {'': [], ', all servers being user actors': ['--place', 'all=user']}


def ticking(place='', **how):
    return Site('sh', '-c', TICKING, stdin=subprocess.DEVNULL, options=['--name', 'ticking', *PLACES[place]], **how)


def family(site):
    """The host processes of the site, by what they are; but for the short-lived ones of the command. A spare may be one of those meanwhile."""
    site.line()
    found = {'nucleus': site.process.pid, **site.actors()}
    below = descendants(site.process.pid)[1:]
    found.update({'keeper': pid for pid in below if comm(pid) == 'chorus-net'})
    zygote, *others = [pid for pid in below if pid != found.get('keeper')]
    found['zygote'] = zygote
    spares = [pid for pid in others if pid not in found.values()]
    for number, pid in enumerate(spares[:2], 1):
        found[f'spare {number}'] = pid
    if len(found) < 6:
        raise Failure(f'processes are missing: {found}')
    return {name: pid for name, pid in found.items() if name not in ('sleep', 'exe')}


def check_in_each_place(function):
    for place in PLACES:
        add_check(function.__name__.replace('_', ' ') + place, lambda place=place: function(place))
    return function


def expect_to_go_on(site, what):
    """Five more numbers come, each within some seconds."""
    for _ in range(7):  # two may have been on their way
        try:
            line = site.line(10)
        except Failure as failure:
            raise Failure(f'after {what}: {failure}')
        if not line:
            raise Failure(f'the site does not go on after {what}; its log: {site.log()}')


@check_in_each_place
def each_process_can_be_stopped_and_continued(place):
    """Shortly, and for longer than anybody waits for an answer of it."""
    with ticking(place) as site:
        for name, pid in family(site).items():
            for seconds in (0.05, 1.5):
                signal_if_there(pid, signal.SIGSTOP)
                time.sleep(seconds)
                signal_if_there(pid, signal.SIGCONT)
                expect_to_go_on(site, f'SIGSTOP and SIGCONT of {name}')


def signal_if_there(pid, number):
    """A spare may have served and gone meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


@check_in_each_place
def all_processes_can_be_stopped_and_continued_together(place):
    with ticking(place) as site:
        members = family(site).values()
        for pid in members:
            signal_if_there(pid, signal.SIGSTOP)
        time.sleep(0.5)
        for pid in members:
            signal_if_there(pid, signal.SIGCONT)
        expect_to_go_on(site, 'SIGSTOP and SIGCONT of all')


@check_in_each_place
def each_process_can_be_looked_at_by_gdb(place):
    if is_filtered():
        raise Skip('ptrace is refused here, as in a container')
    with ticking(place) as site:
        for name, pid in family(site).items():
            done = subprocess.run(['gdb', '-q', '-nx', '-batch', '-p', str(pid), '-ex', 'bt 1'],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if not re.search(r'^#0 ', done.stdout, re.MULTILINE) and not name.startswith('spare'):
                raise Failure(f'gdb on {name}: {done.stdout} {done.stderr}')
            expect_to_go_on(site, f'gdb on {name}')


def is_filtered():
    return re.search(r'^Seccomp:\t2', open('/proc/self/status').read(), re.MULTILINE)


# What is said when the site ends for the death of one of its processes.
LAST_WORDS = {'zygote': 'the process that makes actors was killed; the site ended', 'dm': 'dm died; the site ends', 'pm': 'pm died; the site ends',
              'om': r'actor om \(.*its host process was killed'}


@check_in_each_place
def each_process_can_be_killed_and_the_site_goes_on_or_ends_with_a_message(place):
    with ticking(place) as site:
        names = list(family(site))
    for name in names:
        with ticking(place, clean=False, stderr=subprocess.PIPE) as site:
            signal_if_there(family(site)[name], signal.SIGKILL)
            try:
                site.process.wait(5)
            except subprocess.TimeoutExpired:
                expect_to_go_on(site, f'kill -9 of {name}')
                site.process.terminate()
                site.finish()
                continue
            result = site.finish()
            if name == 'sh':
                expect(result.status, 137, 'the status when the command was killed')
            elif name not in LAST_WORDS:
                expect(name, 'nucleus', f'the site ended with {result.status}; what was killed')
            else:
                expect_match(LAST_WORDS[name], result.err + result.log.encode(), f'what is said after kill -9 of {name}')


@check
def an_idle_site_never_wakes():
    with Site('sh', '-c', 'echo up; read x') as site:
        site.line()
        time.sleep(8)  # what the boot wrote is written back after some seconds, once
        before = switches(site)
        time.sleep(10)
        after = switches(site)
        woken = {task: after[task] - before.get(task, 0) for task in after
                 if after[task] != before.get(task, 0)}
        expect(woken, {}, 'wake-ups in 10 s')
        site.finish(b'\n')


def switches_of_thread(site, name):
    for task in os.listdir(f'/proc/{site.process.pid}/task'):
        folder = f'/proc/{site.process.pid}/task/{task}'
        if open(f'{folder}/comm').read().strip() == name:
            return int(re.search(r'^voluntary_ctxt_switches:\t(\d+)', open(f'{folder}/status').read(), re.MULTILINE)[1])
    raise Failure(f'there is no thread {name}')


@check
def what_signals_the_nucleus_does_not_wake_the_interrupt_thread():
    """The Nucleus's thread gets a signal for each tick and each system call of a supervisor actor."""
    load = 'traffic serve 127.0.0.1 80 & read x; traffic connect 127.0.0.1 80 200; read x; kill $!'
    with Site('sh', '-c', load, options=['--root', TEST_IMAGE, '--snapshot', '--net', 'none']) as site:
        expect(site.line(), b'listens\n')
        before = switches_of_thread(site, 'interrupts')
        site.process.stdin.write(b'\n')
        expect_match('connect', site.line())
        expect(switches_of_thread(site, 'interrupts') - before < 50, True, 'few wake-ups for a thousand connections')
        site.finish(b'\n')


@check
def an_idle_site_is_small():
    with Site('sh', '-c', 'echo up; read x', options=['--memory', '64M']) as site:
        site.line()
        time.sleep(1)
        total = 0
        for pid in descendants(site.process.pid):
            text = open(f'/proc/{pid}/smaps_rollup').read()
            total += int(re.search(r'^Pss: +(\d+)', text, re.MULTILINE)[1])
        site.finish(b'\n')
    if total > 40 << 10:
        raise Failure(f'the site has {total >> 10} MB of the host, of 40 MB at most')


main()
