"""A heap_v2 dump of a given size for the CLI and for jeprof: made up, but its addresses lie in real libraries of this machine."""
import random
import struct
from dataclasses import dataclass
from pathlib import Path

#: Frames near the allocation, and frames from one of a few roots up to there: stacks of servers share much.
LEAF_FRAMES, ROOT_FRAMES, ROOTS = 14, 18, 300
#: Where the made-up process has its code.
BASE = 0x7F3A_0000_0000
PERIOD = 131_072


@dataclass(frozen=True)
class Code:
    """The executable segment of an ELF file."""
    path: Path
    offset: int
    size: int


def code_of(path: Path) -> Code:
    """Reads the program headers of a 64-bit little-endian file."""
    data = path.read_bytes()
    start, = struct.unpack_from("<Q", data, 32)
    count, = struct.unpack_from("<H", data, 56)
    for number in range(count):
        kind, flags, offset, _, _, size = struct.unpack_from("<IIQQQQ", data, start + 56 * number)
        if kind == 1 and flags & 1:
            return Code(path, offset, size)
    raise ValueError(f"{path} has no code")


def write(path: Path, stacks: int, places: int, libraries: list[Path]) -> None:
    """Writes a dump with so many stacks through so many different places. The same arguments make the same file."""
    draw = random.Random(7)
    codes = [code_of(library.resolve()) for library in libraries]
    bases = [BASE + (number << 32) for number in range(len(codes))]
    pool = []
    for _ in range(places):
        number = draw.randrange(len(codes))
        pool.append(bases[number] + codes[number].offset + draw.randrange(codes[number].size - 1))
    roots = [[draw.choice(pool) for _ in range(ROOT_FRAMES)] for _ in range(ROOTS)]
    lines = []
    total_objects = total_bytes = 0
    for _ in range(stacks):
        # Some places are met far more often than others.
        frames = [pool[int(places * draw.random() ** 2)] for _ in range(LEAF_FRAMES)] + draw.choice(roots)
        objects = 1 + int(draw.expovariate(0.5))
        size = objects * draw.choice((32, 64, 512, 4096, 65_536))
        total_objects += objects
        total_bytes += size
        thread = draw.randrange(40)
        lines.append(f"@ {' '.join(map(hex, frames))}\n  t*: {objects}: {size} [0: 0]\n  t{thread}: {objects}: {size} [0: 0]\n")
    with path.open("w") as out:
        out.write(f"heap_v2/{PERIOD}\n  t*: {total_objects}: {total_bytes} [0: 0]\n")
        out.writelines(f"  t{number}: 0: 0 [0: 0] worker-{number}\n" for number in range(40))
        out.writelines(lines)
        out.write("\nMAPPED_LIBRARIES:\n")
        for code, base in zip(codes, bases):
            start = base + code.offset // 4096 * 4096
            end = base + (code.offset + code.size + 4095) // 4096 * 4096
            out.write(f"{start:x}-{end:x} r-xp {code.offset // 4096 * 4096:08x} fe:00 1 {code.path}\n")
