/* The command line: what is refused, and what a good one becomes. */

#include "options.h"
#include "site.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct site_options options;

/* Parse "chorus run ...", the words being separated by single spaces. */
static enum options_verdict parse(const char *line)
{
    static char copy[1024];
    static char *argv[32]; /* the command points into it */
    int count = 1;
    memset(argv, 0, sizeof argv);
    argv[0] = "run";
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
        argv[count++] = word;
    return options_parse_run(argv, &options);
}

static void expect_misuse(const char *line)
{
    cr_expect_eq(parse(line), OPTIONS_MISUSED, "accepted: %s", line);
}

static const char *environment(const char *name)
{
    size_t length = strlen(name);
    for (char **at = options.environment; *at != NULL; at++)
        if (strncmp(*at, name, length) == 0 && (*at)[length] == '=')
            return *at + length + 1;
    return NULL;
}

static void forget(void)
{
    options_free_run(&options);
}

TestSuite(options, .init = cr_redirect_stderr);

Test(options, an_unknown_option_is_refused)
{
    expect_misuse("--root /dev/null --bogus");
    expect_misuse("--root /dev/null --roo /dev/null"); /* no abbreviations */
    expect_misuse("--root /dev/null -v");
    expect_misuse("--root /dev/null -");
}

Test(options, a_word_without_dashes_is_refused)
{
    expect_misuse("--root /dev/null ls");
    expect_misuse("--root /dev/null --");
}

Test(options, a_missing_or_superfluous_value_is_refused)
{
    expect_misuse("--root");
    expect_misuse("--root=");
    expect_misuse("--root /dev/null --snapshot=yes");
    expect_misuse("--root /dev/null --memory");
}

Test(options, a_missing_image_is_refused)
{
    expect_misuse("--root /nonexistent/image");
}

Test(options, a_bad_memory_size_is_refused)
{
    const char *bad[] = { "0", "1", "15M", "2000G", "2T", "x", "64MB", "64 M", "-64M", "+64M",
                          "1e9", "99999999999999999999", "18446744073709551615T", "0x4000000" };
    char line[100];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(line, sizeof line, "--root /dev/null --memory=%s", bad[i]);
        expect_misuse(line);
    }
}

Test(options, bad_numbers_of_cpus_and_processes_are_refused)
{
    expect_misuse("--root /dev/null --cpus 0");
    expect_misuse("--root /dev/null --cpus -1");
    expect_misuse("--root /dev/null --cpus 1x");
    expect_misuse("--root /dev/null --cpus 4096");
    expect_misuse("--root /dev/null --processes 15");
    expect_misuse("--root /dev/null --processes 32769");
}

Test(options, a_name_that_could_leave_its_folder_is_refused)
{
    expect_misuse("--root /dev/null --name=");
    expect_misuse("--root /dev/null --name=..");
    expect_misuse("--root /dev/null --name=a/b");
    expect_misuse("--root /dev/null --name=-a");
    expect_misuse("--root /dev/null --name=123456789012345678901234567890123");
}

Test(options, a_bad_user_folder_or_variable_is_refused)
{
    expect_misuse("--root /dev/null --user 0:");
    expect_misuse("--root /dev/null --user 0:x");
    expect_misuse("--root /dev/null --user 4294967295");
    expect_misuse("--root /dev/null --user a:b");
    expect_misuse("--root /dev/null --cwd tmp");
    expect_misuse("--root /dev/null --env =x");
    expect_misuse("--root /dev/null --env NOT_SET_OUTSIDE");
}

Test(options, a_placement_of_nobody_or_nowhere_is_refused)
{
    expect_misuse("--root /dev/null --place=");
    expect_misuse("--root /dev/null --place om");
    expect_misuse("--root /dev/null --place om=");
    expect_misuse("--root /dev/null --place om=kernel");
    expect_misuse("--root /dev/null --place nobody=user");
    expect_misuse("--root /dev/null --place =user");
    expect_misuse("--root /dev/null --place om=user,");
    expect_misuse("--root /dev/null --place om=user,,pm=user");
    expect_misuse("--root /dev/null --place om=user=user");
    expect_misuse("--root /dev/null --place om=useruseruseruseruseruseruseruseruseruseruseruseruseruseruseruseruseruser");
}

Test(options, a_placement_that_is_refused_changes_nothing)
{
    struct placement placement = { .of = { [SERVER_OM] = PLACE_SUPERVISOR } };
    char problem[200] = "";
    cr_expect_not(placement_parse("all=user,pm=nowhere", &placement, problem, sizeof problem));
    cr_expect_eq(placement.of[SERVER_OM], PLACE_SUPERVISOR);
    cr_expect_not_null(strstr(problem, "nowhere"));
}

/* A configuration file with this text; its path. */
static const char *config(const char *text)
{
    static char path[] = "/tmp/options-test.XXXXXX";
    strcpy(path + sizeof path - 7, "XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static enum options_verdict parse_with(const char *text, const char *more)
{
    char line[300];
    const char *path = config(text);
    snprintf(line, sizeof line, "--root /dev/null --config %s%s", path, more);
    enum options_verdict verdict = parse(line);
    unlink(path);
    return verdict;
}

Test(options, a_bad_configuration_file_is_refused)
{
    static const char *const bad[] = { "bogus = 1", "snapshot = yes", "memory", "memory =", "memory = much", "place = om", "config = /dev/null", "= 1",
                                       "--memory = 64M" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(parse_with(bad[i], ""), OPTIONS_MISUSED, "accepted: %s", bad[i]);
    expect_misuse("--root /dev/null --config /nonexistent/file");
    expect_misuse("--root /dev/null --config /");
}

Test(options, a_bad_line_is_told_with_its_number)
{
    char text[300] = "";
    FILE *file = tmpfile();
    cr_assert_not_null(file);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    cr_expect_eq(parse_with("# first\n\nmemory = 64M\nplace = om=nowhere\n", ""), OPTIONS_MISUSED);
    fflush(stderr);
    cr_expect_gt(pread(fileno(file), text, sizeof text - 1, 0), 0);
    cr_expect_not_null(strstr(text, "line 4: place: there is no place 'nowhere'"), "%s", text);
}

Test(options, a_configuration_file_sets_what_the_command_line_does_not, .fini = forget)
{
    static const char text[] = "# comment\r\n\n memory=64M \nplace = all=supervisor, console=user\nverbose\nlog = a b\ncpus = 1";
    cr_assert_eq(parse_with(text, " --memory 128M --place om=user --snapshot"), OPTIONS_GO_ON);
    cr_expect_eq(options.memory, 128u << 20);
    cr_expect_eq(options.cpus, 1u);
    cr_expect(options.verbose && options.snapshot);
    cr_expect_str_eq(options.log_file, "a b");
    cr_expect_eq(options.placement.of[SERVER_CONSOLE], PLACE_USER);
    cr_expect_eq(options.placement.of[SERVER_DISK], PLACE_SUPERVISOR);
    cr_expect_eq(options.placement.of[SERVER_OM], PLACE_USER);
    cr_expect_eq(options.placement.of[SERVER_PM], PLACE_SUPERVISOR);
}

Test(options, the_last_placement_of_a_server_counts, .fini = forget)
{
    cr_assert_eq(parse("--root /dev/null --place om=supervisor,all=user --place pm=supervisor,pm=user,dm=supervisor"), OPTIONS_GO_ON);
    cr_expect_eq(options.placement.of[SERVER_OM], PLACE_USER);
    cr_expect_eq(options.placement.of[SERVER_PM], PLACE_USER);
    cr_expect_eq(options.placement.of[SERVER_DM], PLACE_SUPERVISOR);
}

Test(options, the_defaults_are_complete, .fini = forget)
{
    cr_assert_eq(parse("--root /dev/null"), OPTIONS_GO_ON);
    cr_expect_str_eq(options.root_image, "/dev/null");
    cr_expect_eq(options.root_is_built_in, false);
    cr_expect_eq(options.snapshot, false);
    cr_expect_eq(options.memory, SITE_MEMORY_DEFAULT);
    cr_expect_geq(options.cpus, 1u);
    cr_expect_eq(options.processes, (unsigned)SITE_PROCESSES_DEFAULT);
    cr_expect_eq(atol(options.name), (long)getpid());
    cr_expect_null(options.command);
    cr_expect_str_eq(options.user, "root");
    cr_expect_null(options.folder);
    cr_expect_str_eq(environment("HOME"), "/root");
    cr_expect_not_null(environment("PATH"));
    cr_expect_not_null(environment("TERM"));
}

Test(options, the_words_after_two_dashes_are_the_command, .fini = forget)
{
    cr_assert_eq(parse("--root /dev/null --snapshot -- ls --help -- x"), OPTIONS_GO_ON);
    cr_expect_eq(options.snapshot, true);
    cr_expect_str_eq(options.command[0], "ls");
    cr_expect_str_eq(options.command[1], "--help");
    cr_expect_str_eq(options.command[2], "--");
    cr_expect_str_eq(options.command[3], "x");
    cr_expect_null(options.command[4]);
}

Test(options, values_come_with_an_equals_sign_or_as_the_next_word, .fini = forget)
{
    cr_assert_eq(parse("--root=/dev/null --memory 1g --cpus=1 --processes 16 --name a.b "
                       "--user=7:8 --cwd /tmp --log l --trace t --strace --verbose"),
                 OPTIONS_GO_ON);
    cr_expect_eq(options.memory, UINT64_C(1) << 30);
    cr_expect_eq(options.cpus, 1u);
    cr_expect_eq(options.processes, 16u);
    cr_expect_str_eq(options.name, "a.b");
    cr_expect_str_eq(options.user, "7:8");
    cr_expect_str_eq(options.folder, "/tmp");
    cr_expect_str_eq(options.log_file, "l");
    cr_expect_str_eq(options.trace_file, "t");
    cr_expect(options.strace && options.verbose);
}

Test(options, the_last_value_of_a_variable_wins, .fini = forget)
{
    setenv("OUTSIDE", "seen", 1);
    setenv("HIDDEN", "never", 1);
    cr_assert_eq(parse("--root /dev/null --env A=1 --env A=2 --env OUTSIDE --env HOME=/x "
                       "--env EMPTY="), OPTIONS_GO_ON);
    cr_expect_str_eq(environment("A"), "2");
    cr_expect_str_eq(environment("OUTSIDE"), "seen");
    cr_expect_str_eq(environment("HOME"), "/x");
    cr_expect_str_eq(environment("EMPTY"), "");
    cr_expect_null(environment("HIDDEN"));
}

Test(options, another_user_does_not_get_the_home_of_root, .fini = forget)
{
    cr_assert_eq(parse("--root /dev/null --user games"), OPTIONS_GO_ON);
    cr_expect_null(environment("HOME"));
}

Test(options, help_is_not_misuse)
{
    cr_redirect_stdout();
    cr_expect_eq(parse("--help"), OPTIONS_HELPED);
    cr_expect_eq(parse("--root /dev/null --help --bogus"), OPTIONS_HELPED);
}

Test(options, sizes_are_exact)
{
    uint64_t bytes;
    cr_expect(options_parse_size("4096", &bytes) && bytes == 4096);
    cr_expect(options_parse_size("3k", &bytes) && bytes == 3072);
    cr_expect(options_parse_size("16777215T", &bytes) && bytes == UINT64_C(16777215) << 40);
    cr_expect_not(options_parse_size("16777216T", &bytes));
    cr_expect_not(options_parse_size("", &bytes));
    cr_expect_not(options_parse_size("M", &bytes));
}

Test(options, a_bad_disk_is_refused)
{
    expect_misuse("--root /dev/null --disk");
    expect_misuse("--root /dev/null --disk=");
    expect_misuse("--root /dev/null --disk ,ro");
    expect_misuse("--root /dev/null --disk a,ro,snapshot");
    char many[1024] = "--root /dev/null";
    for (int i = 0; i < SITE_DISKS_MOST; i++)
        strcat(many, " --disk=x");
    cr_expect_eq(parse(many), OPTIONS_GO_ON);
    forget();
    strcat(many, " --disk=x");
    expect_misuse(many);
}

Test(options, a_disk_is_a_file_and_what_stands_behind_it)
{
    cr_assert_eq(parse("--root /dev/null --disk a --disk b,ro --disk=c,d,snapshot --disk e,rw"), OPTIONS_GO_ON);
    cr_assert_eq(options.disk_count, 4);
    cr_expect_str_eq(options.disks[0].path, "a");
    cr_expect(!options.disks[0].read_only && !options.disks[0].snapshot);
    cr_expect_str_eq(options.disks[1].path, "b");
    cr_expect(options.disks[1].read_only);
    cr_expect_str_eq(options.disks[2].path, "c,d");
    cr_expect(options.disks[2].snapshot);
    cr_expect_str_eq(options.disks[3].path, "e,rw");
    forget();
}

static void zone_file(const char *path, const char *head, const char *rule)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fprintf(file, "%s%0300d\n%s\n", head, 0, rule);
    fclose(file);
}

static void expect_zone(const char *outside, const char *inside)
{
    setenv("TZ", outside, 1);
    cr_assert_eq(parse("--root /dev/null"), OPTIONS_GO_ON);
    const char *found = environment("TZ");
    cr_expect(inside == NULL ? found == NULL : found != NULL && strcmp(found, inside) == 0, "%s becomes %s", outside, found);
    forget();
}

Test(options, the_hosts_time_zone_comes_in_as_a_rule)
{
    char path[] = "/tmp/chorus-zone-XXXXXX", named[64];
    close(mkstemp(path));
    snprintf(named, sizeof named, ":%s", path);
    zone_file(path, "TZif2", "CET-1CEST,M3.5.0,M10.5.0/3");
    expect_zone(path, "CET-1CEST,M3.5.0,M10.5.0/3");
    expect_zone(named, "CET-1CEST,M3.5.0,M10.5.0/3");
    zone_file(path, "TZif2", "");
    expect_zone(path, NULL);
    zone_file(path, "TZif1", "CET-1");
    expect_zone(path, NULL);
    zone_file(path, "noise", "CET-1");
    expect_zone(path, NULL);
    zone_file(path, "TZif2", "UTC0");
    expect_zone(path, NULL);
    expect_zone("<+0530>-5:30", "<+0530>-5:30");
    expect_zone("EST5EDT4 rm", NULL);
    expect_zone("no/such/zone", NULL);
    cr_assert_eq(parse("--root /dev/null --env TZ=UTC0"), OPTIONS_GO_ON);
    cr_expect_str_eq(environment("TZ"), "UTC0");
    forget();
    unlink(path);
}
