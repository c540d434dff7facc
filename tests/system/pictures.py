"""Whether two pictures look the same."""
import os
import tempfile

from harness import Failure
from png import picture, save

BLOCK = 8           # pictures are compared by squares of so many pixels: another release of a font or library moves no more than edges
DIFFERENCE = 24     # of a square's mean colour, of 255, that can be seen
SQUARES = 0.01      # the part of all squares that may differ so much


def squares(width, height, rows):
    """The mean colour of each whole square."""
    found = []
    for top in range(0, height - BLOCK + 1, BLOCK):
        for left in range(0, width - BLOCK + 1, BLOCK):
            parts = [rows[top + y][3 * left:3 * (left + BLOCK)] for y in range(BLOCK)]
            found.append(tuple(sum(sum(part[colour::3]) for part in parts) // BLOCK ** 2 for colour in range(3)))
    return found


def difference(ours, theirs):
    """What can be seen of it between two pictures, as words; '': nothing."""
    if ours[:2] != theirs[:2]:
        return f'it is {ours[0]}x{ours[1]} instead of {theirs[0]}x{theirs[1]}'
    pairs = list(zip(squares(*ours), squares(*theirs)))
    other = sum(max(abs(a - b) for a, b in zip(*pair)) > DIFFERENCE for pair in pairs)
    return f'{other} of {len(pairs)} squares have another colour' if other > SQUARES * len(pairs) else ''


def expect_picture(ours, reference):
    """A picture looks like the one of a file; else it is kept, and the message says where."""
    what = difference(ours, picture(reference))
    if what:
        kept = os.path.join(tempfile.mkdtemp(prefix='chorus-picture-', dir='/tmp'), os.path.basename(reference))
        save(kept, *ours)
        raise Failure(f'the picture {kept} does not look like {reference}: {what}')
