"""Pictures that a site has written."""
import struct
import zlib

from harness import expect


def picture(path):
    """A PNG of ours as (width, height, rows of bytes, three a pixel)."""
    data = open(path, 'rb').read()
    expect(data[:8], b'\x89PNG\r\n\x1a\n', 'its first bytes')
    at, body = 8, b''
    while at < len(data):
        length, kind = struct.unpack('>I4s', data[at:at + 8])
        part = data[at + 8:at + 8 + length]
        if kind == b'IHDR':
            width, height, depth, colour = struct.unpack('>IIBB', part[:10])
            expect((depth, colour), (8, 2), 'depth and kind of colour')
        if kind == b'IDAT':
            body += part
        at += 12 + length
    raw, rows, before = zlib.decompress(body), [], bytes(3 * width)
    for y in range(height):
        kind, row = raw[y * (3 * width + 1)], bytearray(raw[y * (3 * width + 1) + 1:(y + 1) * (3 * width + 1)])
        for x in range(3 * width):
            a, b = row[x - 3] if x >= 3 else 0, before[x]
            c = before[x - 3] if x >= 3 else 0
            if kind == 1:
                row[x] = (row[x] + a) & 255
            elif kind == 2:
                row[x] = (row[x] + b) & 255
            elif kind == 3:
                row[x] = (row[x] + (a + b) // 2) & 255
            elif kind == 4:
                near = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
                row[x] = (row[x] + near) & 255
        before = bytes(row)
        rows.append(before)
    return width, height, rows


def save(path, width, height, rows):
    """The opposite."""
    def part(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    body = zlib.compress(b''.join(b'\0' + row for row in rows), 9)
    with open(path, 'wb') as file:
        file.write(b'\x89PNG\r\n\x1a\n' + part(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)) + part(b'IDAT', body) + part(b'IEND', b''))
