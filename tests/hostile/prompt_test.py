#!/usr/bin/python3
"""Beside each kind of offender of the hostile suite the prompt of an interactive shell answers.

The offender is loaded into a running site. Then commands are typed, one after another, each of which needs a new process. At least nine of ten must be answered
within 100 ms. The host may be busy with something else at that moment: the best of three tries counts, and nothing is said if the host's own commands,
beside as many computing processes of the host as it has CPUs, are late."""
import os
import re
import subprocess
import time

from harness import BUILD, LONG, SOURCE, Failure, Skip, add_check, chorus, expect, main
from terminal import PROMPT, Terminal

HOSTILE = os.path.join(BUILD, 'tests/hostile/hostile')
COMMANDS = 40 if LONG else 12
PATIENCE = 0.1
TRIES = 3
HOST_PATIENCE = 0.015  # for one process of the host: a command inside takes a dozen switches


def attacks():
    """By their names in the table of hostile.c."""
    text = open(os.path.join(SOURCE, 'tests/hostile/hostile.c')).read()
    names = re.findall(r'^    \{"([a-z0-9-]+)", ', text, re.MULTILINE)
    if len(names) < 30:
        raise Failure(f'only {names} were found')
    return names


def nine_of_ten(times):
    return sorted(times)[len(times) * 9 // 10 - 1]


def answers(terminal):
    """How long each command took, in order of that."""
    times = []
    for i in range(COMMANDS):
        time.sleep(0.03)  # the prompt is there, and the shell waits
        start = time.monotonic()
        terminal.send(f'/bin/echo an""swer {i}.\n')
        terminal.expect(rf'answer {i}\.')
        times.append(time.monotonic() - start)
        terminal.expect(PROMPT)
    return sorted(times)


def late_beside(attack):
    """The time that nine of ten commands do not exceed."""
    with Terminal('--name', 'victim', clean=False) as t:
        words = ['--site', 'victim', '--untrusted', '--name', 'offender']
        loaded = chorus('load', HOSTILE, *words, '--', attack, '100000', 'stay')
        expect(loaded.status, 0, f'status of chorus load: {loaded.err}')
        time.sleep(0.2)
        times = answers(t)
        t.leave('\x01x')
    return nine_of_ten(times), times


def host_is_late():
    rivals = [subprocess.Popen(['sh', '-c', 'while :; do :; done']) for _ in range(os.cpu_count())]
    times = []
    for _ in range(20):
        start = time.monotonic()
        subprocess.run(['true'], check=True)
        times.append(time.monotonic() - start)
    for rival in rivals:
        rival.kill()
        rival.wait()
    return nine_of_ten(times) > HOST_PATIENCE


def expect_answers_beside(attack):
    best = None
    for _ in range(TRIES):
        late, times = late_beside(attack)
        best = late if best is None else min(best, late)
        if best <= PATIENCE:
            print(f'# beside {attack}: half in {times[len(times) // 2] * 1000:.0f} ms, all in {times[-1] * 1000:.0f} ms', flush=True)
            return
    if host_is_late():
        raise Skip('the host is too busy: its own commands are late, too')
    raise Failure(f'one in ten commands takes longer than {best * 1000:.0f} ms')


for name in attacks():
    add_check(f'the prompt answers beside {name}', lambda name=name: expect_answers_beside(name))

main()
