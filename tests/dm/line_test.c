/* The line discipline, key by key. */
#include <asm/termbits.h>
#include <asm/ioctls.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "line.h"

static struct line line;
static int signals[8], signals_count;
static unsigned packet_bits;

static void on_signal(struct line *of, int signal)
{
    (void)of;
    if (signals_count < 8)
        signals[signals_count++] = signal;
}

static void on_event(struct line *of)
{
    (void)of;
}

static void on_packet(struct line *of, unsigned bits)
{
    (void)of;
    packet_bits |= bits;
}

static const struct line_hooks hooks = {
    .signal = on_signal, .changed = on_event, .attend = on_event, .packet = on_packet,
};

static void start(void)
{
    line_init(&line, &hooks);
    signals_count = 0;
    packet_bits = 0;
}

static void flags(uint32_t *which, uint32_t set, uint32_t clear)
{
    struct line_settings settings = line.settings;
    uint32_t *flag = (uint32_t *)((char *)&settings + ((char *)which - (char *)&line.settings));

    *flag = (*flag & ~clear) | set;
    line_set(&line, &settings);
}

static void control(int which, uint8_t byte)
{
    struct line_settings settings = line.settings;

    settings.cc[which] = byte;
    line_set(&line, &settings);
}

static void raw(uint8_t min, uint8_t time)
{
    flags(&line.settings.lflag, 0, ICANON | ECHO | ISIG);
    control(VMIN, min);
    control(VTIME, time);
}

static size_t type_at(const char *keys, int64_t now)
{
    return line_input(&line, (const uint8_t *)keys, strlen(keys), now);
}

static void type(const char *keys)
{
    cr_assert_eq(type_at(keys, 0), strlen(keys));
}

#define expect_screen(text) expect_screen_(text, __LINE__)
static void expect_screen_(const char *text, int at)
{
    uint8_t screen[8192];
    size_t length = line_take(&line, screen, sizeof screen - 1);

    screen[length] = '\0';
    cr_assert_str_eq((char *)screen, text, "in line %d", at);
}

static bool can_read(size_t length)
{
    int64_t deadline;

    return line_can_read(&line, length, 0, 0, &deadline);
}

#define expect_read(length, text) expect_read_(length, text, __LINE__)
static void expect_read_(size_t length, const char *text, int at)
{
    uint8_t bytes[8192];

    cr_assert(can_read(length), "nothing to read in line %d", at);
    size_t got = line_read(&line, bytes, length);
    bytes[got] = '\0';
    cr_assert_str_eq((char *)bytes, text, "in line %d", at);
}

static void expect_nothing(void)
{
    cr_assert_not(can_read(100));
    cr_assert_not(line_readable(&line));
}

TestSuite(line, .init = start, .timeout = 20);

/* ---- canonical mode ---- */

Test(line, a_line_is_there_when_it_is_complete)
{
    type("hel");
    expect_nothing();
    type("lo\r");
    cr_assert(line_readable(&line));
    cr_assert_eq(line_input_count(&line), 6u);
    expect_read(100, "hello\n");
    expect_nothing();
    expect_screen("hello\r\n");
}

Test(line, one_read_gives_one_line_and_a_short_one_gives_a_part)
{
    type("one\ntwo\nthr");
    expect_read(100, "one\n");
    expect_read(2, "tw");
    expect_read(100, "o\n");
    expect_nothing();
}

Test(line, end_of_file_ends_a_line_and_is_not_read)
{
    type("ab\004");
    expect_read(100, "ab");
    type("\004");
    expect_read(100, "");
    expect_nothing();
    type("abc\004");
    expect_read(3, "abc");
    expect_nothing();
}

Test(line, end_of_file_at_the_begin_of_a_second_read_does_not_eat_the_next_line)
{
    type("ab\004cd\n");
    expect_read(100, "ab");
    expect_read(100, "cd\n");
}

Test(line, backspace_erases_and_shows_it)
{
    type("ax\177b");
    expect_screen("ax\b \bb");
    type("\n");
    expect_read(100, "ab\n");
}

Test(line, backspace_at_the_begin_of_a_line_does_nothing)
{
    type("done\n");
    expect_screen("done\r\n");
    type("\177\177");
    expect_screen("");
    expect_read(100, "done\n");
}

Test(line, backspace_erases_whole_utf8_characters)
{
    type("a\xc3\xa4\xe2\x82\xac");
    expect_screen("a\xc3\xa4\xe2\x82\xac");
    type("\177\177");
    expect_screen("\b \b\b \b");
    type("\n");
    expect_read(100, "a\n");
}

Test(line, without_iutf8_backspace_erases_one_byte)
{
    flags(&line.settings.iflag, 0, IUTF8);
    type("\xc3\xa4\177\n");
    expect_read(100, "\xc3\n");
}

Test(line, a_control_character_takes_two_columns_and_a_tab_as_many_as_it_took)
{
    type("\001");
    expect_screen("^A");
    type("\177");
    expect_screen("\b \b\b \b");
    type("abc\t");
    expect_screen("abc\t");
    type("\177");
    expect_screen("\b\b\b\b\b");
    line_write(&line, (const uint8_t *)"\n$ ", 3);
    expect_screen("\r\n$ ");
    line_flush_input(&line);
    type("\t");
    expect_screen("\t");
    type("\177");
    expect_screen("\b\b\b\b\b\b");
}

Test(line, word_erase_takes_the_blanks_behind_a_word_too)
{
    type("one two  \027\n");
    expect_read(100, "one \n");
    type("one/two\027\n");
    expect_read(100, "one/\n");
    type("\027x\n");
    expect_read(100, "x\n");
}

Test(line, kill_erases_the_line)
{
    type("abc\025");
    expect_screen("abc\b \b\b \b\b \b");
    type("d\n");
    expect_read(100, "d\n");
    flags(&line.settings.lflag, 0, ECHOKE);
    expect_screen("d\r\n");
    type("abc\025");
    expect_screen("abc^U\r\n");
}

Test(line, erasing_in_the_way_of_printers)
{
    flags(&line.settings.lflag, ECHOPRT, 0);
    type("abc\177\177d\n");
    expect_screen("abc\\cb/d\r\n");
    expect_read(100, "ad\n");
}

Test(line, reprint_shows_the_line_again)
{
    type("one\ntw\022o\n");
    expect_screen("one\r\ntw^R\r\ntwo\r\n");
}

Test(line, literal_next_takes_any_character)
{
    type("a\026\003\026\n\026\004b\n");
    cr_assert_eq(signals_count, 0);
    expect_read(100, "a\003\n\004b\n");
    expect_screen("a^\b^C^\b\r\n^\b^Db\r\n");
}

Test(line, a_second_end_of_line_character_ends_a_line_and_is_read)
{
    control(VEOL, ';');
    type("a;b");
    expect_read(100, "a;");
    expect_nothing();
}

Test(line, without_echo_nothing_is_shown_but_newline_may_be)
{
    flags(&line.settings.lflag, 0, ECHO);
    type("secret\177\n");
    expect_screen("");
    expect_read(100, "secre\n");
    flags(&line.settings.lflag, ECHONL, 0);
    type("secret\n");
    expect_screen("\r\n");
}

Test(line, a_line_that_is_too_long_keeps_its_begin_and_its_end)
{
    static char keys[9001], expected[LINE_INPUT_SIZE + 1];

    memset(keys, 'k', 9000);
    keys[9000] = '\0';
    for (int i = 0; i < 9000; i++) {
        cr_assert_eq(line_input(&line, (const uint8_t *)"k", 1, 0), 1u);
        uint8_t screen[10];
        line_take(&line, screen, sizeof screen);
    }
    type("\n");
    memset(expected, 'k', LINE_INPUT_SIZE - 1);
    expected[LINE_INPUT_SIZE - 1] = '\n';
    expect_read(8000, expected);
}

Test(line, complete_lines_that_nobody_reads_hold_the_keys_back)
{
    size_t taken = 0, some;

    while ((some = type_at("line\n", 0)) == 5) {
        uint8_t screen[100];
        line_take(&line, screen, sizeof screen);
        taken += some;
        cr_assert(taken < 10000);
    }
    taken += some;
    cr_assert(taken > 4000);
    expect_read(100, "line\n");
    cr_assert_eq(type_at("more\n", 0), 5u, "there is room again");
}

/* ---- signals and flow ---- */

Test(line, interrupt_quit_and_suspend_are_signals_and_drop_what_was_typed)
{
    type("abc\003def\034ghi\032");
    cr_assert_eq(signals_count, 3);
    cr_assert(signals[0] == SIGINT && signals[1] == SIGQUIT && signals[2] == SIGTSTP);
    type("x\n");
    expect_read(100, "x\n");
}

Test(line, an_interrupt_drops_output_and_shows_itself)
{
    line_write(&line, (const uint8_t *)"long output", 11);
    type("\003");
    expect_screen("^C");
}

Test(line, with_noflsh_a_signal_drops_nothing)
{
    flags(&line.settings.lflag, NOFLSH, 0);
    line_write(&line, (const uint8_t *)"out", 3);
    type("abc\003\n");
    cr_assert_eq(signals_count, 1);
    expect_read(100, "abc\n");
    expect_screen("outabc^C\r\n");
}

Test(line, without_isig_they_are_characters)
{
    flags(&line.settings.lflag, 0, ISIG);
    type("\003\n");
    cr_assert_eq(signals_count, 0);
    expect_read(100, "\003\n");
}

Test(line, a_disabled_character_does_nothing)
{
    control(VINTR, 0);
    cr_assert_eq(line_input(&line, (const uint8_t *)"\0", 1, 0), 1u);
    cr_assert_eq(signals_count, 0);
}

Test(line, stop_and_start_hold_the_output)
{
    type("\023");
    cr_assert_eq(line_write(&line, (const uint8_t *)"held", 4), 4u);
    expect_screen("");
    cr_assert_eq(line_output_count(&line), 4u);
    type("\021");
    expect_screen("held");
    expect_nothing();
}

Test(line, any_character_starts_the_output_with_ixany)
{
    flags(&line.settings.iflag, IXANY, 0);
    type("\023");
    line_write(&line, (const uint8_t *)"held", 4);
    type("x");
    expect_screen("heldx");
}

Test(line, an_interrupt_starts_the_output)
{
    type("\023");
    line_write(&line, (const uint8_t *)"held", 4);
    type("\003");
    expect_screen("^C");
    cr_assert_not(line.stopped);
}

Test(line, turning_flow_control_off_starts_the_output)
{
    type("\023");
    line_write(&line, (const uint8_t *)"held", 4);
    flags(&line.settings.iflag, 0, IXON);
    expect_screen("held");
}

Test(line, with_ixoff_a_full_input_sends_stop_and_start)
{
    uint8_t bytes[LINE_INPUT_SIZE];

    raw(1, 0);
    flags(&line.settings.iflag, IXOFF, 0);
    while (type_at("0123456789", 0) == 10)
        ;
    expect_screen("\023");
    cr_assert(line_read(&line, bytes, sizeof bytes) > 4000);
    expect_screen("\021");
}

/* ---- translation ---- */

Test(line, line_ends_are_translated_as_the_settings_say)
{
    flags(&line.settings.iflag, 0, ICRNL);
    control(VEOL, 'Z');
    type("a\rb\nZ");
    expect_read(100, "a\rb\n");
    flags(&line.settings.iflag, IGNCR, 0);
    type("c\rd\n");
    expect_read(100, "Z");
    expect_read(100, "cd\n");
    flags(&line.settings.iflag, INLCR, IGNCR);
    type("e\nZ");
    expect_read(100, "e\rZ");
}

Test(line, the_eighth_bit_is_stripped_when_asked_for)
{
    flags(&line.settings.iflag, ISTRIP, 0);
    type("\xe1\xe2\n");
    expect_read(100, "ab\n");
}

Test(line, output_is_processed_as_the_settings_say)
{
    line_write(&line, (const uint8_t *)"a\nb\tc", 5);
    expect_screen("a\r\nb\tc");
    flags(&line.settings.oflag, 0, ONLCR);
    line_write(&line, (const uint8_t *)"a\nb", 3);
    expect_screen("a\nb");
    flags(&line.settings.oflag, XTABS, 0);
    line_write(&line, (const uint8_t *)"\rab\tc", 5);
    expect_screen("\rab      c");
    flags(&line.settings.oflag, OCRNL | OLCUC, 0);
    line_write(&line, (const uint8_t *)"x\ry", 3);
    expect_screen("X\nY");
    flags(&line.settings.oflag, ONOCR, OCRNL);
    line_write(&line, (const uint8_t *)"\r\r1\r", 4);
    expect_screen("\r1\r");
    flags(&line.settings.oflag, 0, OPOST);
    line_write(&line, (const uint8_t *)"a\n\t\r", 4);
    expect_screen("a\n\t\r");
}

Test(line, a_full_output_takes_a_part_and_says_when_there_is_room)
{
    static uint8_t bytes[LINE_OUTPUT_SIZE + 100];
    uint8_t some[1000];

    memset(bytes, 'o', sizeof bytes);
    cr_assert_eq(line_write(&line, bytes, sizeof bytes), (size_t)LINE_OUTPUT_SIZE);
    cr_assert_not(line_can_write(&line));
    cr_assert_not(line_writable(&line));
    cr_assert_eq(line_write(&line, bytes, 1), 0u);
    type("x");                                  /* an echo still has room */
    line_take(&line, some, sizeof some);
    cr_assert(line_can_write(&line) && line_writable(&line));
}

Test(line, a_newline_that_does_not_fit_is_not_cut_in_two)
{
    static uint8_t bytes[LINE_OUTPUT_SIZE - 1];

    memset(bytes, 'o', sizeof bytes);
    cr_assert_eq(line_write(&line, bytes, sizeof bytes), sizeof bytes);
    cr_assert_eq(line_write(&line, (const uint8_t *)"\n", 1), 0u);
    cr_assert_eq(line_output_count(&line), sizeof bytes);
}

/* ---- raw mode ---- */

static int64_t deadline_of(size_t length, int64_t begun, int64_t now, bool expected)
{
    int64_t deadline;

    cr_assert_eq(line_can_read(&line, length, begun, now, &deadline), expected);
    return deadline;
}

#define SECOND INT64_C(1000000000)

Test(line, raw_mode_gives_each_byte_at_once_unchanged)
{
    raw(1, 0);
    flags(&line.settings.iflag, 0, ICRNL | IXON);
    type("\003\023\004\r\177");
    expect_read(2, "\003\023");
    expect_read(100, "\004\r\177");
    expect_screen("");
    expect_nothing();
}

Test(line, vmin_waits_for_so_many_bytes_or_as_many_as_were_asked_for)
{
    raw(4, 0);
    type("abc");
    cr_assert_not(can_read(100));
    cr_assert(can_read(3));
    cr_assert_not(line_readable(&line));
    type("d");
    cr_assert(line_readable(&line));
    expect_read(100, "abcd");
}

Test(line, vmin_0_vtime_0_never_waits)
{
    raw(0, 0);
    expect_read(100, "");
    type("a");
    expect_read(100, "a");
}

Test(line, vmin_0_vtime_waits_so_long_from_the_begin_of_the_read)
{
    raw(0, 5);
    cr_assert_eq(deadline_of(10, SECOND, SECOND, false), SECOND + SECOND / 2);
    deadline_of(10, SECOND, SECOND + SECOND / 2 - 1, false);
    deadline_of(10, SECOND, SECOND + SECOND / 2, true);
    type("a");
    deadline_of(10, SECOND, SECOND, true);
}

Test(line, vmin_and_vtime_wait_so_long_between_bytes)
{
    raw(3, 5);
    cr_assert_eq(deadline_of(10, SECOND, 9 * SECOND, false), INT64_MAX);
    type_at("a", 20 * SECOND);
    cr_assert_eq(deadline_of(10, SECOND, 20 * SECOND, false), 20 * SECOND + SECOND / 2);
    type_at("b", 20 * SECOND + SECOND / 4);
    cr_assert_eq(deadline_of(10, SECOND, 20 * SECOND + SECOND / 2, false),
                 20 * SECOND + 3 * SECOND / 4);
    deadline_of(10, SECOND, 21 * SECOND, true);
    cr_assert_eq(line_read(&line, (uint8_t[10]){ 0 }, 10), 2u);
}

Test(line, bytes_of_an_unfinished_line_can_be_read_when_raw_mode_comes)
{
    type("abc");
    expect_nothing();
    raw(1, 0);
    expect_read(100, "abc");
}

Test(line, raw_bytes_are_a_line_when_canonical_mode_comes)
{
    raw(1, 0);
    type("abc");
    flags(&line.settings.lflag, ICANON, 0);
    type("\177");
    expect_read(100, "abc");
    expect_nothing();
}

Test(line, flushing_drops_complete_and_unfinished_lines)
{
    type("one\ntwo");
    line_flush_input(&line);
    expect_nothing();
    type("three\n");
    expect_read(100, "three\n");
}

Test(line, packet_mode_hears_of_flow_and_flushes)
{
    type("\023");
    cr_assert(packet_bits & TIOCPKT_STOP);
    type("\021");
    cr_assert(packet_bits & TIOCPKT_START);
    packet_bits = 0;
    flags(&line.settings.iflag, 0, IXON);
    cr_assert(packet_bits & TIOCPKT_NOSTOP);
    type("\003");
    cr_assert(packet_bits & TIOCPKT_FLUSHREAD && packet_bits & TIOCPKT_FLUSHWRITE);
}

Test(line, any_sequence_of_keys_and_settings_keeps_the_line_whole)
{
    unsigned seed = 4711;

    for (int i = 0; i < 300000; i++) {
        uint8_t bytes[64];
        for (size_t j = 0; j < sizeof bytes; j++)
            bytes[j] = (uint8_t)rand_r(&seed);
        switch (rand_r(&seed) % 8) {
        case 0:
            for (size_t j = 0; j < 20; j++)
                bytes[j] = rand_r(&seed) % 4 ? 'a' : 127;
            /* fall through */
        case 1: case 2: case 3: line_input(&line, bytes, rand_r(&seed) % 64, i); break;
        case 4: line_read(&line, bytes, rand_r(&seed) % 64); break;
        case 5: line_write(&line, bytes, rand_r(&seed) % 64); break;
        case 6: line_take(&line, bytes, rand_r(&seed) % 64); break;
        default:
            if (rand_r(&seed) % 50 == 0) {
                struct line_settings settings;
                memcpy(&settings, bytes, sizeof settings);
                line_set(&line, &settings);
            }
        }
        cr_assert(line.complete - line.start <= line.end - line.start);
        cr_assert(line.end - line.start <= LINE_INPUT_SIZE);
        cr_assert(line.output_length <= sizeof line.output);
    }
}
