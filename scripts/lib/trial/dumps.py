"""The dump files that a trial left: which process each is of, in order, and what it says about itself."""
import math
import re
from dataclasses import dataclass
from pathlib import Path

from trial.steps import Trouble

#: `<prefix>.<pid>.<seq>.<kind>.heap`
NAME = re.compile(r"^.+\.(\d+)\.(\d+)\.(f|[ium]\d+)\.heap$")

#: `prof_min_seconds` and `prof_min_bytes`.
SIGNIFICANT_NS = 10_000_000_000
SIGNIFICANT_BYTES = 64 << 20


@dataclass(frozen=True)
class Dump:
    """One file, its name taken apart."""
    path: Path
    pid: int
    number: int
    kind: str

    def sample_period(self) -> int:
        """Mean bytes between samples, from the first line."""
        with self.path.open() as file:
            first = file.readline().strip()
        if not first.startswith("heap_v2/"):
            raise Trouble(f"{self.path} does not begin with heap_v2/ but with {first[:40]!r}")
        return int(first.removeprefix("heap_v2/"))

    def is_significant(self) -> bool:
        """Whether heaptap says that its process is worth a file: on a busy machine, a helper JVM of the start scripts can be."""
        text = self.path.read_text(errors="replace")
        uptime = re.search(r"^# uptime_ns: (\d+)$", text, re.MULTILINE)
        return uptime is not None and (int(uptime[1]) >= SIGNIFICANT_NS or self.live_bytes(text) >= SIGNIFICANT_BYTES)

    def live_bytes(self, text: str) -> float:
        """Estimated from the head, as jeprof does."""
        objects, live = map(int, re.search(r"^  t\*: (\d+): (\d+) ", text, re.MULTILINE).groups())
        return live / -math.expm1(-live / objects / self.sample_period()) if objects else 0

    def stack_ends(self) -> dict[str, int]:
        """How the stacks that were taken ended, by word; empty if a profiler does not say."""
        found = re.findall(r"^# stack_end_(\w+): (\d+)$", self.path.read_text(errors="replace"), re.MULTILINE)
        return {word: int(count) for word, count in found}

    def said(self, key: str) -> str | None:
        """The value of a key of heaptap's own."""
        found = re.search(rf"^# {key}: (.*)$", self.path.read_text(errors="replace"), re.MULTILINE)
        return found[1] if found else None

    def program(self) -> str:
        """The executable of its process: the first file in the map, where Linux places a program."""
        text = self.path.read_text(errors="replace").partition("MAPPED_LIBRARIES:")[2]
        found = re.search(r" (/\S+)$", text, re.MULTILINE)
        return found[1] if found else "?"


def find(folder: Path) -> list[Dump]:
    """All dumps below a folder, by process and number."""
    found = [at(path) for path in folder.rglob("*.heap") if NAME.match(path.name)]
    return sorted(found, key=lambda dump: (dump.pid, dump.number))


def at(path: Path) -> Dump:
    """One dump by its path."""
    name = NAME.match(path.name)
    if not name:
        raise Trouble(f"{str(path)!r} is not the name of a dump")
    return Dump(path, int(name[1]), int(name[2]), name[3])


def of_process(dumps: list[Dump], pid: int) -> list[Dump]:
    """Those of one process, the oldest first."""
    return [dump for dump in dumps if dump.pid == pid]


def beside(dumps: list[Dump]) -> list[Path]:
    """Other files that the same processes left in the same folders, such as the names of Java methods."""
    places = {(dump.path.parent, f".{dump.pid}.") for dump in dumps}
    found = [path for folder, pid in places for path in folder.iterdir() if pid in path.name and path.suffix != ".heap"]
    return sorted(found)
