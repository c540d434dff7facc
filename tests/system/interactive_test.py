#!/usr/bin/python3
"""What a person at a terminal expects."""
import os
import re
import signal
import time

from harness import Failure, check, descendants, expect, expect_match, main
from terminal import PROMPT, Terminal


@check
def the_shell_says_once_that_changes_are_thrown_away():
    with Terminal() as t:
        expect(len(re.findall('thrown away', t.seen)), 1, 'number of such lines')


@check
def exit_ends_the_site_with_its_status():
    with Terminal() as t:
        expect(t.leave('exit 5\n'), 5)


@check
def end_of_file_leaves_the_shell():
    with Terminal() as t:
        expect(t.leave('\x04'), 0)


@check
def poweroff_ends_the_site():
    with Terminal() as t:
        expect(t.leave('poweroff\n'), 0)
        if re.search(f'Terminated|{PROMPT}', t.seen[t.mark:]):
            raise Failure(f'the shell went on after poweroff: {t.seen[t.mark:]!r}')


@check
def the_escape_ends_the_site_at_once():
    with Terminal() as t:
        t.send('trap "" INT TERM HUP; sleep 1000\n')
        time.sleep(0.3)
        start = time.monotonic()
        t.leave('\x01x')
        if time.monotonic() - start > 5:
            raise Failure('it took more than 5 s')


@check
def the_escape_key_can_be_sent():
    with Terminal() as t:
        t.send('cat | od -An -c\n')
        time.sleep(0.3)
        t.send('\x01aq\n\x04')
        t.expect(r'001 +q +\\n')


@check
def interrupt_ends_the_command_and_not_the_shell():
    with Terminal() as t:
        t.send('sleep 1000\n')
        time.sleep(0.5)
        t.send('\x03')
        t.expect(PROMPT)
        t.command('echo status $?', 'status 130')


@check
def interrupt_reaches_a_whole_pipeline_that_computes():
    with Terminal() as t:
        t.send('yes | while :; do :; done | cat\n')
        time.sleep(0.5)
        t.send('\x03')
        t.expect(PROMPT)
        t.command('ps | grep -c "[y]es"', r'\b0\b')


@check
def jobs_are_stopped_continued_and_brought_back():
    with Terminal() as t:
        t.send('sleep 1000\n')
        time.sleep(0.5)
        t.send('\x1a')
        t.expect('Stopped')
        t.expect(PROMPT)
        t.command('jobs', r'Stopped.*sleep 1000')
        t.command('bg', r'sleep 1000')
        t.command('jobs', r'Running.*sleep 1000')
        t.send('fg\n')
        t.expect('sleep 1000')
        time.sleep(0.3)
        t.send('\x03')
        t.expect(PROMPT)
        t.command('jobs; echo no more', 'no more')


@check
def a_job_in_the_background_that_reads_is_stopped():
    with Terminal() as t:
        t.command('cat &')
        time.sleep(0.5)
        t.command('jobs', r'Stopped.*cat')
        t.command('kill -9 %1; wait %1; sleep 0.3; jobs; echo gone', 'gone')


@check
def quit_ends_a_command():
    with Terminal() as t:
        t.send('sleep 1000\n')
        time.sleep(0.5)
        t.send('\x1c')
        t.expect(PROMPT)
        t.command('echo status $?', 'status 131')


@check
def the_window_has_the_size_of_the_terminal_and_follows_it():
    with Terminal(rows=33, columns=101) as t:
        t.command('stty size', '33 101')
        t.send("sh -c 'trap \"echo chan''ged; exit\" WINCH; while :; do sleep 0.1; done'\n")
        time.sleep(0.5)
        t.resize(44, 122)
        t.expect('changed')
        t.expect(PROMPT)
        t.command('stty size', '44 122')


@check
def lines_can_be_edited_and_come_back():
    with Terminal() as t:
        t.send('echo abd\x1b[Dc\x1b[D\x1b[D\x1b[DX\x7fY\n')
        t.expect(r'\nYabcd')
        t.expect(PROMPT)
        t.send('\x1b[A')
        t.expect('echo Yabcd')
        t.send('\x15echo other\n')
        t.expect(r'\nother')


@check
def words_are_completed():
    with Terminal() as t:
        t.command('mkdir /tmp/complete && cd /tmp/complete && touch long-name-of-a-file')
        t.send('echo lo\t!\n')
        t.expect('long-name-of-a-file ?!')


@check
def letters_beyond_ascii_pass_and_are_deleted_whole():
    with Terminal() as t:
        t.command('echo grün €', r'\ngrün €')
        t.send('cat >/tmp/letters\n')
        time.sleep(0.3)
        t.send('aü\x7fb\n\x04')
        t.expect(PROMPT)
        t.command('od -An -c /tmp/letters', r'a +b +\\n')


@check
def the_terminal_edits_lines_for_programs_that_do_not():
    with Terminal() as t:
        t.send('cat >/tmp/line\n')
        time.sleep(0.3)
        t.send('wrong\x15one two\x17three\x7f\n\x04')
        t.expect(PROMPT)
        t.command('cat /tmp/line', r'\none thre')


@check
def output_can_be_stopped_and_started():
    with Terminal() as t:
        t.send('for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; sleep 0.1; done\n')
        t.expect('line 2')
        t.send('\x13')
        time.sleep(0.3)
        while t.read(0.2):
            pass
        expect(t.read(0.5), '', 'output after ^S')
        t.send('\x11')
        t.expect('line 10')


@check
def vi_edits_a_file():
    with Terminal() as t:
        t.send('vi /tmp/text\n')
        t.expect('~')
        t.send('ihello\nworld\x1b')
        time.sleep(0.2)
        t.send('kx:wq\n')
        t.expect(PROMPT)
        t.command('cat /tmp/text', r'hell\r\nworld')


@check
def less_shows_a_page_at_a_time():
    with Terminal(rows=10) as t:
        t.send('seq 1000 >/tmp/numbers; less /tmp/numbers\n')
        t.expect('9\r\n')
        t.send(' ')
        t.expect('18\r\n')
        t.send('G')
        t.expect('1000\r\n')
        t.send('q')
        t.expect(PROMPT)


@check
def top_shows_processes():
    with Terminal() as t:
        t.send('top\n')
        t.expect(r'PID')
        t.expect(r'\btop\b')
        t.send('q')
        t.expect(PROMPT)


@check
def reset_gives_a_sane_terminal():
    with Terminal() as t:
        t.command('stty -echo -icanon -opost')
        t.command('reset')
        output = t.command('stty -a')
        expect_match(r'[ ;\n]icanon', output)
        expect_match(r'[ ;\n]echo\b', output)
        expect_match(r'[ ;\n]opost', output)


@check
def getty_and_login_lead_to_a_shell():
    with Terminal(command=['getty', '-L', '0', '-', 'xterm']) as t:
        t.expect('login: ')
        t.send('user\n')
        t.expect(r'\$ ')
        t.send('echo $(id -un) $HOME $LOGNAME\n')
        t.expect('\nuser /home/user user')
        t.leave()


@check
def sulogin_leads_to_a_shell():
    with Terminal(command=['sulogin']) as t:
        t.expect('# ') # root has no password
        t.send('id -u\n')
        t.expect('\n0\r')
        t.leave()


@check
def standard_streams_of_a_command_are_the_terminal():
    with Terminal(command=['sh', '-c', 'tty; test -t 0 -a -t 1 -a -t 2 && echo yes; exit 3']) as t:
        t.expect('/dev/')
        t.expect('yes')
        expect(t.finish(), 3)


@check
def the_terminal_is_given_back_after_a_kill():
    with Terminal() as t:
        t.send('stty raw -echo; sleep 1000\n')
        time.sleep(0.5)
        expect(t.kill(), 128 + signal.SIGKILL)


@check
def the_terminal_is_given_back_after_each_signal_that_ends_the_site():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        with Terminal() as t:
            t.kill(number)


@check
def the_terminal_is_given_back_when_any_process_of_the_site_is_killed():
    with Terminal() as first:
        count = len(descendants(first.process.pid))
    for index in range(count):
        with Terminal(clean=False) as t:
            family = descendants(t.process.pid)
            if index < len(family):
                os.kill(family[index], signal.SIGKILL)
            time.sleep(0.2)
            if t.process.poll() is None:
                t.send('\x01x')
            t.finish()


@check
def a_hang_up_ends_the_site():
    with Terminal() as t:
        t.hang_up()


@check
def a_big_output_arrives_whole():
    with Terminal() as t:
        output = t.command('seq 20000; echo end', r'\nend')
        expect_match(r'\b19999\r\n20000\r\nend', output)
        numbers = re.findall(r'^(\d+)\r$', output, re.MULTILINE)
        expect(numbers, [str(i) for i in range(1, 20001)])


main()
