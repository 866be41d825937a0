"""A shared object in a running process: its exported symbols, its build id, and its memory."""
import re
import struct
from pathlib import Path

PT_LOAD, PT_DYNAMIC, PT_NOTE = 1, 2, 4
DT_STRTAB, DT_SYMTAB = 5, 6
MACHINES = {62: "x86_64", 183: "aarch64"}
NT_GNU_BUILD_ID = 3


class Image:
    """A 64-bit little-endian object that this process has mapped."""

    def __init__(self, pid: int, name: str) -> None:
        maps = Path(f"/proc/{pid}/maps").read_text()
        found = re.search(rf"^([0-9a-f]+)-[0-9a-f]+ \S+ 00000000 \S+ \d+ +(/.*/{re.escape(name)})$", maps, re.MULTILINE)
        if not found:
            raise ValueError(f"process {pid} has no {name}")
        self.bias, self.path = int(found[1], 16), Path(found[2])
        self.memory = open(f"/proc/{pid}/mem", "rb", buffering=0)
        self.data = self.path.read_bytes()
        self.machine = MACHINES[struct.unpack_from("<H", self.data, 18)[0]]
        table, = struct.unpack_from("<Q", self.data, 32)
        size, count = struct.unpack_from("<HH", self.data, 54)
        self.headers = [struct.unpack_from("<IIQQQQQQ", self.data, table + n * size) for n in range(count)]

    def close(self) -> None:
        """Lets go of the process."""
        self.memory.close()

    def bytes_at(self, address: int, count: int) -> bytes:
        """Of the process's memory."""
        self.memory.seek(address)
        return self.memory.read(count)

    def word(self, address: int) -> int:
        """Eight bytes."""
        return struct.unpack("<Q", self.bytes_at(address, 8))[0]

    def int(self, address: int) -> int:
        """Four signed bytes."""
        return struct.unpack("<i", self.bytes_at(address, 4))[0]

    def text(self, address: int) -> str:
        """The string that a word points to; empty if it points nowhere."""
        pointer = self.word(address)
        return self.bytes_at(pointer, 200).split(b"\0")[0].decode("utf-8", "replace") if pointer else ""

    def symbols(self, prefix: str) -> dict[str, int]:
        """Addresses of exported symbols whose names begin so; the names lie behind the symbols."""
        section = next(header for header in self.headers if header[0] == PT_DYNAMIC)
        tags = dict(struct.unpack_from("<QQ", self.data, section[2] + n) for n in range(0, section[5], 16))
        first, names = self.offset(tags[DT_SYMTAB]), self.offset(tags[DT_STRTAB])
        found = {}
        for at in range(first, names, 24):
            name, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", self.data, at)
            text = self.data[names + name:self.data.index(b"\0", names + name)].decode("utf-8", "replace")
            if text.startswith(prefix):
                found[text] = self.bias + value
        return found

    def offset(self, address: int) -> int:
        """Where in the file the byte at this address of the object is."""
        return next(offset + address - start for kind, _, offset, start, _, size, _, _ in self.headers
                    if kind == PT_LOAD and start <= address < start + size)

    def build_id(self) -> str:
        """In hexadecimal digits."""
        for kind, _, offset, _, _, size, _, _ in self.headers:
            at = offset
            while kind == PT_NOTE and at + 12 <= offset + size:
                name, length, note = struct.unpack_from("<III", self.data, at)
                begin = at + 12 + (name + 3) // 4 * 4
                if note == NT_GNU_BUILD_ID and self.data[at + 12:at + 16] == b"GNU\0":
                    return self.data[begin:begin + length].hex()
                at = begin + (length + 3) // 4 * 4
        raise ValueError("there is no build id")
