/* The length of x86-64 instructions: prefixes, a map of opcodes, a byte that tells of the operands, and what follows from that.
 *
 * Each opcode has one letter in its map:
 *   .  no operands follow      m  a ModRM byte             x  no instruction
 *   b  one byte                B  ModRM and one byte       w  two bytes
 *   z  four bytes (two with the operand-size prefix)       Z  ModRM and those
 *   d  four bytes, always      v  four bytes, eight with REX.W     a  an address of eight bytes
 *   t  test: ModRM, and an operand with it if its reg field is 0 or 1: T of four bytes, t of one
 *   e  enter: three bytes      p  a prefix or an escape: dealt with before
 */

#include "x86_length.h"

#define LONGEST 15

static const char one_byte[257] =
    "mmmmbzxxmmmmbzxp" "mmmmbzxxmmmmbzxx" "mmmmbzpxmmmmbzpx" "mmmmbzpxmmmmbzpx"
    "pppppppppppppppp" "................" "xxpmppppzZbB...." "bbbbbbbbbbbbbbbb"
    "BZxBmmmmmmmmmmmm" "..........x....." "aaaa....bz......" "bbbbbbbbvvvvvvvv"
    "BBw.ppBZe.w..bx." "mmmmxxx.mmmmmmmm" "bbbbbbbbddxb...." "p.pp..tT......mm";

static const char two_byte[257] =
    "mmmmx.....x.xm.B" "mmmmmmmmmmmmmmmm" "mmmmxxxxmmmmmmmm" "......x.pxpxxxxx"
    "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "BBBBmmm.xmxxmmmm"
    "dddddddddddddddd" "mmmmmmmmmmmmmmmm" "...mBmxx...mBmmm" "mmmmmmmmmmBmmmmm"
    "mmBmBBBm........" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm";

struct reader {
    const uint8_t *code;
    size_t size, at;
    bool operand16, wide, too_short;
};

static uint8_t take(struct reader *reader)
{
    if (reader->at >= reader->size || reader->at >= LONGEST) {
        reader->too_short = true;
        return 0;
    }
    return reader->code[reader->at++];
}

static void skip(struct reader *reader, unsigned count)
{
    while (count-- > 0)
        take(reader);
}

/* A ModRM byte, and what belongs to it. Returns its reg field. */
static unsigned take_operands(struct reader *reader)
{
    uint8_t modrm = take(reader);
    unsigned mode = modrm >> 6, rm = modrm & 7, base = rm;
    if (mode == 3)
        return modrm >> 3 & 7;
    if (rm == 4)
        base = take(reader) & 7;
    if (mode == 1)
        skip(reader, 1);
    else if (mode == 2 || (mode == 0 && base == 5))
        skip(reader, 4);
    return modrm >> 3 & 7;
}

static bool take_rest(struct reader *reader, char kind)
{
    unsigned half = reader->operand16 && !reader->wide ? 2 : 4, reg;
    switch (kind) {
    case '.': break;
    case 'm': take_operands(reader); break;
    case 'b': skip(reader, 1); break;
    case 'B': take_operands(reader), skip(reader, 1); break;
    case 'w': skip(reader, 2); break;
    case 'z': skip(reader, half); break;
    case 'Z': take_operands(reader), skip(reader, half); break;
    case 'd': skip(reader, 4); break;
    case 'v': skip(reader, reader->wide ? 8 : half); break;
    case 'a': skip(reader, 8); break;
    case 'e': skip(reader, 3); break;
    case 't':
    case 'T':
        reg = take_operands(reader);
        skip(reader, reg > 1 ? 0 : kind == 't' ? 1 : half);
        break;
    default: return false;
    }
    return true;
}

/* An opcode behind a VEX or EVEX prefix: all have ModRM but vzeroupper, and those of some have a byte. */
static bool take_vector(struct reader *reader, unsigned map, bool is_evex)
{
    uint8_t opcode = take(reader);
    if (map == 1 && opcode == 0x77 && !is_evex)
        return true;
    bool has_byte = map == 3 || (map == 1 && ((opcode >= 0x70 && opcode <= 0x73) || opcode == 0xc2 ||
                                              (opcode >= 0xc4 && opcode <= 0xc6)));
    if (map == 0 || map > 6 || map == 4)
        return false;
    return take_rest(reader, has_byte ? 'B' : 'm');
}

static bool take_two_byte(struct reader *reader)
{
    uint8_t opcode = take(reader);
    if (opcode == 0x38 || opcode == 0x3a) {
        take(reader);
        return take_rest(reader, opcode == 0x38 ? 'm' : 'B');
    }
    return take_rest(reader, two_byte[opcode]);
}

static bool take_opcode(struct reader *reader, bool has_rex)
{
    uint8_t opcode = take(reader), payload;
    switch (opcode) {
    case 0x0f: return take_two_byte(reader);
    case 0xc5: skip(reader, 1); return !has_rex && take_vector(reader, 1, false);
    case 0xc4:
        payload = take(reader);
        skip(reader, 1);
        return !has_rex && (payload & 31) <= 3 && take_vector(reader, payload & 31, false);
    case 0x62:
        payload = take(reader);
        skip(reader, 2);
        return !has_rex && !(payload & 8) && take_vector(reader, payload & 7, true);
    case 0x8f:
        if (reader->at < reader->size && (reader->code[reader->at] & 0x38) != 0)
            return false; /* XOP, of some processors */
        break;
    case 0xe8:
    case 0xe9:
        if (reader->operand16)
            return false; /* processors differ */
        break;
    default: break;
    }
    return take_rest(reader, one_byte[opcode]);
}

static bool is_prefix(uint8_t byte, struct reader *reader)
{
    switch (byte) {
    case 0x66: reader->operand16 = true; return true;
    case 0x67:
        /* The address of a0 to a3 has four bytes then: nobody does that. */
    case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0xf0: case 0xf2: case 0xf3: return true;
    default: return false;
    }
}

unsigned x86_length(const uint8_t *code, size_t size)
{
    struct reader reader = { .code = code, .size = size };
    bool has_rex = false;
    while (reader.at < size && is_prefix(code[reader.at], &reader))
        reader.at++;
    if (reader.at < size && (code[reader.at] & 0xf0) == 0x40) {
        reader.wide = code[reader.at] & 8;
        has_rex = true;
        reader.at++;
    }
    bool is_known = take_opcode(&reader, has_rex);
    return is_known && !reader.too_short && reader.at <= LONGEST ? (unsigned)reader.at : 0;
}

bool x86_is_end(const uint8_t *code, size_t size)
{
    size_t at = 0;
    while (at < size && (code[at] == 0xf2 || code[at] == 0xf3 || code[at] == 0x3e))
        at++; /* bnd, rep, notrack */
    if (at + 1 >= size)
        return false;
    switch (code[at]) {
    case 0xc3: case 0xc2: case 0xe9: case 0xeb: case 0xf4: return true;
    case 0x0f: return code[at + 1] == 0x0b;
    case 0xff: return (code[at + 1] & 0x38) == 0x20;
    default: return (code[at] & 0xf0) == 0x40 && code[at + 1] == 0xff && at + 2 < size && (code[at + 2] & 0x38) == 0x20;
    }
}

bool x86_is_filling(const uint8_t *code, size_t size)
{
    size_t at = 0;
    while (at < size && (code[at] == 0x66 || code[at] == 0x2e))
        at++;
    if (at >= size)
        return false;
    if (code[at] == 0x90)
        return true;
    return at + 2 < size && code[at] == 0x0f && code[at + 1] == 0x1f && (code[at + 2] & 0x38) == 0;
}
