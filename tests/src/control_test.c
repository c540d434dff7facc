/* The control socket: a site that is only a loop around control_handle, and its clients. */

#include "commands.h"
#include "control.h"
#include "control_client.h"
#include "control_folder.h"
#include "snapshot.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char runtime[] = "/tmp/chorus-control-test-XXXXXX";

/* What the callbacks work on. */
struct fake_site {
    struct control *control;
    unsigned actors;
    bool answers;
    bool has_none; /* answers by NULL */
    bool stopped;
    unsigned asked;
};

static void snapshot_wanted(void *context)
{
    struct fake_site *site = context;
    site->asked++;
    if (!site->answers)
        return;
    struct site_snapshot *snapshot = site->has_none ? NULL : snapshot_new();
    if (snapshot != NULL) {
        strcpy(snapshot->name, "fake");
        snapshot->cpus = 1;
        for (unsigned i = 0; i < site->actors; i++)
            snapshot_add_actor(snapshot, &(struct snapshot_actor){ .name = "one", .ui = { 1, i } });
    }
    control_answer(site->control, snapshot);
}

static void stop_wanted(void *context)
{
    ((struct fake_site *)context)->stopped = true;
}

/* "echo" answers its words, "refuse" refuses. */
static void command_wanted(void *context, struct control_command *command)
{
    struct fake_site *site = context;
    char text[256] = "";
    for (char **word = command->words + 1; *word != NULL; word++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s[%s]", word == command->words + 1 ? "" : " ", *word);
    /* What came along goes back. */
    control_reply_with(site->control, command->ticket, strcmp(command->words[0], "echo") == 0, text, command->descriptor);
    control_command_free(command);
}

static struct control *open_site(struct fake_site *site, const char *name)
{
    struct control_callbacks callbacks = { snapshot_wanted, stop_wanted, site, command_wanted };
    site->control = control_open(name, &callbacks);
    return site->control;
}

static void handle(struct fake_site *site, int milliseconds)
{
    struct pollfd one = { .fd = control_fd(site->control), .events = POLLIN };
    while (poll(&one, 1, milliseconds) > 0)
        control_handle(site->control);
}

/* A site in a process of its own, which runs until it is stopped (or killed). */
static pid_t start_site(const char *name, unsigned actors)
{
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct fake_site site = { .answers = true, .actors = actors };
        if (open_site(&site, name) == NULL)
            _exit(9);
        if (write(ready[1], "", 1) != 1)
            _exit(8);
        struct pollfd one = { .fd = control_fd(site.control), .events = POLLIN };
        while (!site.stopped)
            if (poll(&one, 1, -1) > 0)
                control_handle(site.control);
        control_close(site.control);
        _exit(0);
    }
    close(ready[1]);
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static int status_of(pid_t child)
{
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    return status;
}

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(runtime));
    setenv("XDG_RUNTIME_DIR", runtime, 1);
    cr_redirect_stdout();
    cr_redirect_stderr();
}

/* Nothing but the folder itself may be left. */
static void take_down(void)
{
    char folder[100];
    snprintf(folder, sizeof folder, "%s/chorus", runtime);
    cr_expect(rmdir(folder) == 0 || errno == ENOENT, "the folder is not empty");
    cr_expect_eq(rmdir(runtime), 0);
}

TestSuite(control, .init = set_up, .fini = take_down, .timeout = 20);

Test(control, without_a_site_each_command_says_so)
{
    cr_expect_eq(command_ps((char *[]){ "ps", NULL }), 1);
    cr_expect_eq(command_top((char *[]){ "top", "--name", "none", NULL }), 1);
    cr_expect_eq(command_stop((char *[]){ "stop", NULL }), 1);
    cr_expect_stderr_eq_str("chorus ps: no site is running\n"
                            "chorus top: no site is running\n"
                            "chorus stop: no site is running\n");
}

Test(control, a_name_that_is_taken_is_refused)
{
    struct fake_site first = { 0 }, second = { 0 };
    cr_assert_not_null(open_site(&first, "same"));
    cr_expect_null(open_site(&second, "same"));
    cr_expect_eq(errno, EADDRINUSE);
    control_close(first.control);
    cr_assert_not_null(open_site(&second, "same"));
    control_close(second.control);
}

Test(control, the_socket_of_a_killed_site_is_cleared_away)
{
    pid_t site = start_site("killed", 0);
    kill(site, SIGKILL);
    status_of(site);
    struct control_client client;
    cr_expect_neq(control_client_open(&client, "test", NULL), 0);
    char path[100];
    snprintf(path, sizeof path, "%s/chorus/killed", runtime);
    cr_expect_eq(access(path, F_OK), -1);
}

Test(control, a_name_of_a_killed_site_may_be_taken_again)
{
    pid_t site = start_site("again", 0);
    kill(site, SIGKILL);
    status_of(site);
    struct fake_site next = { 0 };
    cr_assert_not_null(open_site(&next, "again"));
    control_close(next.control);
}

Test(control, a_folder_that_others_can_enter_is_refused)
{
    char folder[100];
    snprintf(folder, sizeof folder, "%s/chorus", runtime);
    cr_assert_eq(mkdir(folder, 0755), 0);
    cr_assert_eq(chmod(folder, 0755), 0);
    struct fake_site site = { 0 };
    cr_expect_null(open_site(&site, "x"));
    cr_expect_eq(errno, EPERM);
}

Test(control, a_request_that_is_not_known_ends_the_connection_only)
{
    struct fake_site site = { .answers = true };
    cr_assert_not_null(open_site(&site, "strict"));
    char *folder = control_folder(false);
    const char *bad[] = { "hello\n", "\n", "ps ps\n", "0123456789012345678901234567890123456789"
                          "0123456789012345678901234567890123456789" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int fd = control_connect(folder, "strict");
        char byte;
        cr_assert_gt(write(fd, bad[i], strlen(bad[i])), 0);
        handle(&site, 20);
        cr_expect_leq(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
        cr_expect_neq(errno, EAGAIN, "still connected after: %s", bad[i]);
        close(fd);
    }
    cr_expect_not(site.stopped);
    free(folder);
    control_close(site.control);
}

Test(control, many_clients_wait_for_one_snapshot)
{
    struct fake_site site = { .answers = false };
    cr_assert_not_null(open_site(&site, "one"));
    char *folder = control_folder(false);
    int fds[5];
    for (int i = 0; i < 5; i++) {
        fds[i] = control_connect(folder, "one");
        cr_assert_eq(write(fds[i], "ps\n", 3), 3);
    }
    handle(&site, 20);
    cr_expect_eq(site.asked, 1u);
    site.answers = true;
    snapshot_wanted(&site);
    handle(&site, 20);
    for (int i = 0; i < 5; i++) {
        FILE *stream = fdopen(fds[i], "r");
        struct site_snapshot *snapshot = snapshot_read(stream);
        cr_expect_not_null(snapshot);
        snapshot_free(snapshot);
        fclose(stream);
    }
    free(folder);
    control_close(site.control);
}

Test(control, a_site_without_memory_for_an_answer_does_not_keep_its_client_waiting)
{
    struct fake_site site = { .answers = true, .has_none = true };
    cr_assert_not_null(open_site(&site, "poor"));
    char *folder = control_folder(false);
    int fd = control_connect(folder, "poor");
    char byte;
    cr_assert_eq(write(fd, "ps\n", 3), 3);
    handle(&site, 20);
    cr_expect_eq(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
    close(fd);
    free(folder);
    control_close(site.control);
}

Test(control, a_client_that_does_not_read_stops_nobody)
{
    struct fake_site site = { .answers = true, .actors = 20000 };
    cr_assert_not_null(open_site(&site, "full"));
    char *folder = control_folder(false);
    int idle = control_connect(folder, "full");
    cr_assert_eq(write(idle, "ps\n", 3), 3);
    handle(&site, 20);
    int busy = control_connect(folder, "full");
    cr_assert_eq(write(busy, "stop\n", 5), 5);
    handle(&site, 20);
    cr_expect(site.stopped);
    /* What was kept for it comes when it reads at last. */
    pid_t reader = fork();
    if (reader == 0) {
        struct site_snapshot *snapshot = snapshot_read(fdopen(idle, "r"));
        _exit(snapshot != NULL && snapshot->actor_count == 20000 ? 0 : 1);
    }
    handle(&site, 500);
    cr_expect_eq(status_of(reader), 0);
    close(idle);
    close(busy);
    free(folder);
    control_close(site.control);
}

Test(control, ps_prints_the_actors)
{
    pid_t site = start_site("shown", 2);
    cr_expect_eq(command_ps((char *[]){ "ps", "--threads", NULL }), 0);
    cr_expect_eq(command_stop((char *[]){ "stop", "--name=shown", NULL }), 0);
    cr_expect_eq(status_of(site), 0);
}

Test(control, top_ends_after_the_tables_asked_for)
{
    pid_t site = start_site("watched", 2);
    cr_expect_eq(command_top((char *[]){ "top", "--count", "2", NULL }), 0);
    kill(site, SIGKILL);
    status_of(site);
    cr_expect_eq(command_top((char *[]){ "top", "--count", "2", NULL }), 1);
}

Test(control, of_several_sites_one_must_be_chosen)
{
    pid_t first = start_site("first", 0), second = start_site("second", 0);
    cr_expect_eq(command_ps((char *[]){ "ps", NULL }), 1);
    cr_expect_eq(command_ps((char *[]){ "ps", "--name", "second", NULL }), 0);
    cr_expect_eq(command_ps((char *[]){ "ps", "--name", "third", NULL }), 1);
    cr_expect_eq(command_stop((char *[]){ "stop", "--name", "first", NULL }), 0);
    cr_expect_eq(command_stop((char *[]){ "stop", NULL }), 0); /* now it is the only one */
    cr_expect_eq(status_of(first), 0);
    cr_expect_eq(status_of(second), 0);
}

/* ---- commands ---- */

static int do_words(const char *const *words, char **ret_text)
{
    struct control_client client;
    cr_assert_eq(control_client_open(&client, "test", "doing"), 0);
    int done = control_client_do(&client, words, ret_text);
    control_client_close(&client);
    return done;
}

static void stop_site(pid_t site)
{
    char *stop[] = { "stop", "--name", "doing", NULL };
    cr_assert_eq(command_stop(stop), 0);
    cr_assert_eq(status_of(site), 0);
}

/* What a client says that keeps to no rule; the site drops it and goes on. */
static void say(const char *text, size_t size)
{
    char byte;
    char *folder = control_folder(false);
    int fd = control_connect(folder, "doing");
    cr_assert_geq(fd, 0);
    cr_assert_eq(send(fd, text, size, MSG_NOSIGNAL), (ssize_t)size);
    cr_assert_leq(read(fd, &byte, 1), 0, "%.20s", text);
    close(fd);
    free(folder);
}

Test(control, commands_that_keep_to_no_rule_are_dropped)
{
    pid_t site = start_site("doing", 1);
    static const char *const lines[] = { "do\n", "do \n", "do 0\n", "do -1\n", "do 65537\n", "do 99999999999999999999\n", "do 4x\n",
                                         "do 4\necho", "do 0x4\necho" };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        say(lines[i], strlen(lines[i]));
    char *text;
    cr_assert_eq(do_words((const char *const[]){ "echo", "a", NULL }, &text), 1);
    free(text);
    stop_site(site);
}

Test(control, a_command_arrives_word_by_word_and_its_answer_returns)
{
    pid_t site = start_site("doing", 1);
    char *text;
    cr_assert_eq(do_words((const char *const[]){ "echo", "a b", "", "c\nd", NULL }, &text), 1);
    cr_assert_str_eq(text, "[a b] [] [c d]");
    free(text);
    cr_assert_eq(do_words((const char *const[]){ "refuse", "why", NULL }, &text), 0);
    cr_assert_str_eq(text, "[why]");
    free(text);
    stop_site(site);
}

Test(control, descriptors_go_along_with_a_command_and_its_answer)
{
    pid_t site = start_site("doing", 1);
    struct control_client client;
    int ends[2], back;
    char *text, byte = 0;

    cr_assert_eq(pipe(ends), 0);
    for (int i = 0; i < 40; i++) {
        cr_assert_eq(control_client_open(&client, "test", "doing"), 0);
        cr_assert_eq(control_client_do_with(&client, (const char *const[]){ "echo", "a", NULL }, ends[1], &text, &back), 1);
        control_client_close(&client);
        cr_assert_str_eq(text, "[a]");
        cr_assert_geq(back, 0);
        cr_assert_eq(write(back, "x", 1), 1);
        cr_assert(read(ends[0], &byte, 1) == 1 && byte == 'x');
        close(back);
        free(text);
    }
    cr_assert_eq(control_client_open(&client, "test", "doing"), 0);
    cr_assert_eq(control_client_do_with(&client, (const char *const[]){ "echo", "a", NULL }, -1, &text, &back), 1);
    control_client_close(&client);
    cr_assert_eq(back, -1);
    free(text);
    close(ends[1]);
    cr_assert_eq(read(ends[0], &byte, 1), 0, "the site keeps none of them open");
    stop_site(site);
}

Test(control, a_long_command_that_comes_in_pieces_is_whole)
{
    static char word[40000];
    pid_t site = start_site("doing", 1);
    memset(word, 'x', sizeof word - 1);
    char *text, *folder = control_folder(false);
    cr_assert_eq(do_words((const char *const[]){ "echo", word, NULL }, &text), 1);
    cr_assert_eq(text[1], 'x');
    free(text);
    int fd = control_connect(folder, "doing");
    for (const char *at = "do 7\necho\0a", *end = at + 12; at < end; at++) {
        cr_assert_eq(send(fd, at, 1, MSG_NOSIGNAL), 1);
        usleep(1000);
    }
    char answer[16] = "";
    cr_assert_eq(read(fd, answer, sizeof answer - 1), 9);
    cr_assert_str_eq(answer, "done [a]\n");
    close(fd);
    free(folder);
    stop_site(site);
}
