/* The trace file: every record in the format of both viewers, also after a crash. */

#include "trace.h"

#include "trace_open.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[] = "/tmp/chorus-trace-test-XXXXXX";

static void set_up(void)
{
    close(mkstemp(path));
}

static void take_down(void)
{
    unlink(path);
}

/* The checker that whole-system tests use too: 0 when every record is as it must be. */
static int check(const char *how)
{
    char command[300];
    snprintf(command, sizeof command, "%s %s %s", getenv("CHECK_TRACE"), how, path);
    return system(command);
}

static bool file_has(const char *text)
{
    static char content[1 << 16];
    FILE *file = fopen(path, "r");
    content[fread(content, 1, sizeof content - 1, file)] = '\0';
    fclose(file);
    return strstr(content, text) != NULL;
}

static void note_everything(struct trace *trace)
{
    trace_name_actor(trace, 1, "pm \"quoted\"\n\\");
    trace_name_thread(trace, 1, 2, "worker");
    trace_switch(trace, 1000, 0, 1, 2);
    trace_call_begin(trace, 1500, 1, 2, "ipcCall");
    trace_message_sent(trace, 1600, 1, 2, 0xabcdef);
    trace_switch(trace, 2000, 0, 3, 1);
    trace_message_received(trace, 2100, 3, 1, 0xabcdef);
    trace_fault(trace, 2200, 3, 1, 0x7fffffffe000, TRACE_WRITE);
    trace_switch(trace, 3000, 0, 0, 0);
    trace_call_end(trace, 4001, 1, 2, -7);
    trace_switch(trace, 4100, 1, 1, 2);
    trace_pass(trace, 4200, 1, 3, 1);
    trace_pass(trace, 4300, 1, 1, 2);
    trace_switch(trace, 5000, 99, 1, 2); /* no such CPU: nothing */
}

TestSuite(trace, .init = set_up, .fini = take_down, .timeout = 30);

Test(trace, a_file_that_cannot_be_made_is_an_error)
{
    cr_expect_null(trace_open("/nonexistent/trace", 1));
    cr_expect_eq(errno, ENOENT);
}

Test(trace, without_a_trace_nothing_happens)
{
    uint64_t dropped = 1;
    note_everything(NULL);
    cr_expect(trace_close(NULL, &dropped));
    cr_expect_eq(dropped, 0u);
}

Test(trace, an_empty_one_is_in_the_format)
{
    uint64_t dropped;
    cr_expect(trace_close(trace_open(path, 2), &dropped));
    cr_expect_eq(check("--complete"), 0);
}

Test(trace, every_kind_of_record_is_in_the_format)
{
    uint64_t dropped;
    struct trace *trace = trace_open(path, 2);
    note_everything(trace);
    cr_expect(trace_close(trace, &dropped));
    cr_expect_eq(dropped, 0u);
    cr_expect_eq(check("--complete"), 0);
    cr_expect(file_has("{\"name\":\"pm \\\"quoted\\\"?\\\\\",\"cat\":\"switch\",\"ph\":\"X\",\"pid\":0,"
                       "\"tid\":0,\"ts\":1.000,\"dur\":1.000,"));
    cr_expect(file_has("\"ph\":\"B\",\"pid\":1,\"tid\":2,\"ts\":1.500"));
    cr_expect(file_has("\"ts\":4.001,\"args\":{\"result\":-7}"));
    cr_expect(file_has("\"cat\":\"switch\",\"ph\":\"X\",\"pid\":0,\"tid\":1,\"ts\":4.100,\"dur\":0.100,"));
    cr_expect(file_has("\"cat\":\"pass\",\"ph\":\"X\",\"pid\":0,\"tid\":1,\"ts\":4.200,\"dur\":0.100,"),
              "a CPU that was passed on is told apart");
    cr_expect(file_has("\"address\":\"0x7fffffffe000\",\"access\":\"write\""));
}

Test(trace, many_events_are_written_or_counted)
{
    uint64_t dropped;
    struct trace *trace = trace_open(path, 1);
    for (unsigned i = 0; i < 300000; i++)
        trace_fault(trace, i, 1, 1, i, TRACE_READ);
    cr_expect(trace_close(trace, &dropped));
    FILE *file = fopen(path, "r");
    uint64_t lines = 0;
    for (int letter; (letter = getc(file)) != EOF;)
        lines += letter == '\n';
    fclose(file);
    /* Besides the faults: "[", names of the process and one CPU, the count of the dropped, "]". */
    cr_expect_eq(lines + dropped, 300000u + 5u);
    cr_expect_eq(check("--complete"), 0);
}

Test(trace, calls_nest_also_when_events_are_lost)
{
    uint64_t dropped;
    struct trace *trace = trace_open(path, 1);
    trace_call_end(trace, 1, 1, 1, 0); /* its beginning was lost */
    trace_call_begin(trace, 2, 1, 1, "first"); /* its end will be */
    trace_call_begin(trace, 3, 1, 1, "second");
    trace_call_begin(trace, 4, 1, 2, "of another thread");
    trace_call_end(trace, 5, 1, 1, 7);
    trace_call_end(trace, 6, 1, 1, 8);
    cr_expect(trace_close(trace, &dropped));
    cr_expect_eq(check("--complete"), 0);
    cr_expect(file_has("\"second\""));
    cr_expect(file_has("\"result\":7"));
    cr_expect_not(file_has("\"result\":8"));
}

Test(trace, open_calls_of_many_threads_are_told_apart)
{
    struct trace_open open = { 0 };
    cr_expect_not(trace_open_end(&open, 1, 1));
    for (uint32_t i = 0; i < 5000; i++)
        cr_expect_not(trace_open_begin(&open, i % 97, i));
    for (uint32_t i = 0; i < 5000; i += 2)
        cr_expect(trace_open_end(&open, i % 97, i));
    for (uint32_t i = 0; i < 5000; i++)
        cr_expect_eq(trace_open_end(&open, i % 97, i), i % 2 == 1);
    cr_expect_eq(open.count, 0u);
    trace_open_free(&open);
}

Test(trace, after_a_crash_only_the_end_is_missing)
{
    pid_t child = fork();
    if (child == 0) {
        struct trace *trace = trace_open(path, 1);
        note_everything(trace);
        usleep(200000); /* the helper writes at least every few tens of milliseconds */
        raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
    cr_expect_neq(check("--complete"), 0);
    cr_expect_eq(check("--cut-off"), 0);
    cr_expect(file_has("ipcCall"));
}

Test(trace, a_full_disk_is_reported)
{
    uint64_t dropped;
    struct trace *trace = trace_open("/dev/full", 1);
    cr_assert_not_null(trace);
    note_everything(trace);
    cr_expect_not(trace_close(trace, &dropped));
}
