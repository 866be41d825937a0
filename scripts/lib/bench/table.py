"""The result as one text: on the terminal, and as Markdown for examples/bench/README.md."""
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Figure
from bench.instructions import Count
from bench.peers import Peer
from bench.rounds import Rounds
from bench.workloads import Workload

#: Above this load, the machine did other things as well.
BUSY_LOAD = 1.5


@dataclass
class Result:
    """Everything that was measured."""
    date: str
    machine: str
    loads: list[float]
    peers: list[Peer]
    workloads: list[Workload]
    counts: list[Count] = field(default_factory=list)
    rounds: Rounds | None = None
    figures: list[Figure] = field(default_factory=list)

    def raw(self) -> dict:
        """All measured values, for JSON."""
        return {
            "date": self.date, "machine": self.machine, "load_averages": self.loads,
            "peers": {peer.name: {"about": peer.about, "variables": peer.variables, "skipped": peer.skipped}
                      for peer in self.peers},
            "workloads": {work.name: {"count": work.count, "skipped": work.skipped} for work in self.workloads},
            "instructions": [vars(count) for count in self.counts],
            "cpu_seconds": self.rounds.costs if self.rounds else {},
            "figures": [vars(figure) for figure in self.figures],
        }

    def markdown(self) -> str:
        """All tables."""
        return "\n\n".join(part for part in (self.heading(), self.instruction_table(), self.ratio_table(),
                                             self.figure_table(), self.legend()) if part) + "\n"

    def heading(self) -> str:
        highest = max(self.loads)
        busy = f" The machine was busy with other work, too (load average up to {highest:.1f})." if highest > BUSY_LOAD else ""
        return f"Measured {self.date} by `scripts/bench` on {self.machine}.{busy}"

    def instruction_table(self) -> str:
        """Workloads down, peers across; ours also as a difference to the floor."""
        if not self.counts:
            return ""
        values = {(count.workload, count.peer): count.per_operation for count in self.counts}
        peers = list(dict.fromkeys(count.peer for count in self.counts))
        floor = peers[0]
        rows = []
        for workload in dict.fromkeys(count.workload for count in self.counts):
            base = values.get((workload, floor))
            cells = [cell(values.get((workload, peer)), base if peer != floor else None) for peer in peers]
            rows.append([workload, *cells])
        return "Instructions per operation (callgrind, exact; in brackets: more than jemalloc's):\n\n" \
            + grid(["", *peers], rows)

    def ratio_table(self) -> str:
        """Peers down, workloads across."""
        if not self.rounds or not self.rounds.done:
            return ""
        workloads = [work for work in self.workloads if work.name in self.rounds.costs]
        rows = []
        for peer in self.peers[1:]:
            ratios = [self.rounds.ratio(workload, peer) for workload in workloads]
            if any(ratios):
                rows.append([peer.name, *(ratio.text() if ratio else "" for ratio in ratios)])
        # With five rounds or fewer, even their whole range holds the true median less often.
        interval = "95 % interval of the median" if self.rounds.done > 5 else "range"
        title = f"CPU time over jemalloc's, median of {self.rounds.done} rounds ({interval}):\n\n"
        return title + grid(["", *(work.name for work in workloads)], rows)

    def figure_table(self) -> str:
        """One line a figure, peers across."""
        if not self.figures:
            return ""
        peers = list(dict.fromkeys(figure.peer for figure in self.figures))
        values = {(figure.name, figure.peer): figure.value for figure in self.figures}
        names = dict.fromkeys(figure.name for figure in self.figures)
        return grid(["", *peers], [[name, *(values.get((name, peer), "") for peer in peers)] for name in names])

    def legend(self) -> str:
        """Who is who, and who is missing."""
        lines = [f"- **{peer.name}**: {peer.about or peer.name}" + (f"; skipped: {peer.skipped}" if peer.skipped else "")
                 for peer in self.peers]
        lines += [f"- **{work.name}**: {work.about}" + (f"; skipped: {work.skipped}" if work.skipped else "")
                  for work in self.workloads]
        return "\n".join(lines)


def cell(value: float | None, base: float | None) -> str:
    """A count, with its difference."""
    if value is None:
        return ""
    return f"{value:.1f}" if base is None else f"{value:.1f} ({value - base:+.1f})"


def grid(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table whose columns also line up on a terminal."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)) + " |"
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows)])


def machine() -> str:
    """Processor, cores, memory, kernel, libc."""
    cpu = first(Path("/proc/cpuinfo"), r"^model name\s*: (.*)$") or platform.machine()
    kib = int(first(Path("/proc/meminfo"), r"^MemTotal:\s*(\d+)") or 0)
    cores = len(re.findall(r"^processor\s*:", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    return f"{cpu}, {cores} cores, {kib / 1048576:.0f} GiB, Linux {platform.release()}, glibc {platform.libc_ver()[1]}"


def first(path: Path, pattern: str) -> str | None:
    """The first match in a small file."""
    found = re.search(pattern, path.read_text(), re.MULTILINE)
    return found[1].strip() if found else None
