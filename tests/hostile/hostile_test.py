#!/usr/bin/python3
"""Actors that attack the machine: the site lives on, nothing is left over, and an honest actor gets its share.

The attacks are in hostile.c, by name. The sites here have no Unix: bare-site boots the given actors alone."""
import os
import re
import subprocess

from harness import LONG, BUILD, Failure, await_no_children, check, main

SITE = os.path.join(BUILD, 'bench/bare-site')
HOSTILE = os.path.join(BUILD, 'tests/hostile/hostile')
HONEST = os.path.join(BUILD, 'tests/hostile/honest')

# What makes no trap, or too many, and so could keep others from the CPU.
DISOBEDIENT = ['spin', 'run-on', 'run-on-masked', 'hold-cpu', 'spin-in-stub', 'hammer', 'hammer-own', 'hammer-mail', 'scribble', 'scribble-beds',
               'double-fetch', 'fuzz']
THREADS = {'double-fetch': 2, 'run-on-masked': 2}  # of an attack; so many honest rivals it is compared with
FLOOR = 0.8
SECONDS = 5 if LONG else 1


def bare_site(*words, timeout=120):
    done = subprocess.run([SITE, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    text = done.stdout + done.stderr
    if done.returncode != 0:
        raise Failure(f'the site ended with {done.returncode}: {text[-2000:]}')
    left = re.search(r'left over: (\d+) frames, (\d+) threads, (\d+) ports, (\d+) calls', text)
    if not left or any(int(number) for number in left.groups()):
        raise Failure(f'left over: {left.group(0) if left else "?"}')
    await_no_children()
    return text


def expect_all_attacks_done(*options):
    text = bare_site(*options, HOSTILE + ' all')
    attacks = re.findall(r'hostile: (\S+): (\d+) ended by themselves, (\d+) had to be deleted, (\d+) failed', text)
    if 'hostile: done' not in text or len(attacks) < 25:
        raise Failure(f'not all attacks were made: {attacks} {text[-500:]}')
    if failed := [name for name, _, _, failed in attacks if int(failed)]:
        raise Failure(f'no child could be made for: {failed}')


@check
def every_attack_ends_with_a_dead_or_useless_attacker():
    expect_all_attacks_done()


@check
def every_attack_ends_so_on_one_cpu():
    expect_all_attacks_done('--cpus', '1')


def least_of_honest(*options, rivals):
    text = bare_site(*options, *rivals, f'{HONEST} {SECONDS}', timeout=60 + SECONDS)
    return int(re.search(r'honest: least (\d+)', text).group(1))


def share_beside(name, *options):
    """Both halves right after each other: the host's speed and its other work change all the time."""
    fair = least_of_honest(*options, rivals=[f'{HONEST} {SECONDS} stay'] * THREADS.get(name, 1))
    return least_of_honest(*options, rivals=[f'{HOSTILE} {name} 100000 stay']) / fair


def expect_share(cpus):
    poor = []
    for name in DISOBEDIENT:
        # A host that is busy with something else at that moment is not the attacker's doing: the best of some tries counts.
        share = 0
        for _ in range(4):
            share = max(share, share_beside(name, '--cpus', str(cpus)))
            if share >= FLOOR:
                break
        print(f'# beside {name}, {cpus} CPUs: {share:.2f} of the share beside an honest rival', flush=True)
        if share < FLOOR:
            poor.append(f'{name} {share:.2f}')
    if poor:
        raise Failure(f'an honest actor gets less than {FLOOR} of its share beside: {poor}')


@check
def an_honest_actor_gets_its_share_on_one_cpu():
    expect_share(1)


@check
def an_honest_actor_gets_its_share_on_two_cpus():
    expect_share(2)


main()
