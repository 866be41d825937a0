"""What the CLI costs, beside jeprof on the same dump: CPU time and memory of a report, names, and the page."""
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import dump
from bench.figures import Figure
from trial import commands, folders
from trial.steps import Trouble, say

#: The large dump: 52 MB.
STACKS, PLACES = 100_000, 20_000
ADDRESSES = 1_000
SECONDS = 600


@dataclass(frozen=True)
class Cost:
    """Of a process and of those that it started."""
    cpu_seconds: float
    resident_mebibytes: float


def cost_of(words: list[str], output: Path) -> Cost:
    """Runs a tool to its end; a bad status is Trouble."""
    with output.open("wb") as file:
        process = subprocess.Popen(words, env=commands.clean_environment(), stdin=subprocess.DEVNULL, stdout=file,
                                   stderr=subprocess.DEVNULL)
    alarm = threading.Timer(SECONDS, process.kill)
    alarm.daemon = True
    alarm.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        alarm.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Trouble(f"{' '.join(words)} ended with status {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


class Cli:
    """Measures the figures, and keeps their lines."""

    def __init__(self, repeat: int, quick: bool) -> None:
        self.repeat = repeat
        self.quick = quick
        self.heaptap = str(folders.RELEASE / "heaptap")
        self.lines: list[Figure] = []

    def go(self) -> None:
        """All of them."""
        libraries = self.libraries()
        with tempfile.TemporaryDirectory(prefix="heaptap-bench-") as name:
            self.folder = Path(name)
            large = self.folder / "large.heap"
            dump.write(large, STACKS, PLACES, libraries)
            self.report(large)
            self.names(libraries[:1])
            self.page(large)

    @staticmethod
    def libraries() -> list[Path]:
        """The machine's libjvm, if it has a JDK, and its libc."""
        found = sorted(Path("/usr/lib/jvm").glob("*/lib/server/libjvm.so"))
        libc = next((Path(line.split()[-1]) for line in Path("/proc/self/maps").read_text().splitlines()
                     if "/libc.so" in line or "/libc-" in line), None)
        return [path for path in (*found[:1], libc) if path]

    def report(self, large: Path) -> None:
        """One report of everything, by both tools."""
        out = self.folder / "out"
        ours = [cost_of([self.heaptap, "report", str(large)], out) for _ in range(2 * self.repeat + 1)]
        cpu = statistics.median(cost.cpu_seconds for cost in ours)
        self.line(f"report of {STACKS:,} stacks, CPU s", "heaptap", f"{cpu:.2f}", [cost.cpu_seconds for cost in ours])
        self.line("the same, MiB resident", "heaptap", f"{max(cost.resident_mebibytes for cost in ours):.0f}",
                  [cost.resident_mebibytes for cost in ours])
        if self.quick or not shutil.which("jeprof"):
            self.line(f"report of {STACKS:,} stacks, CPU s", "jeprof", "skipped: " + ("takes a minute" if self.quick else "not installed"), [])
            return
        theirs = cost_of(["jeprof", "--text", self.heaptap, str(large)], out)
        self.line(f"report of {STACKS:,} stacks, CPU s", "jeprof",
                  f"{theirs.cpu_seconds:.1f} ({theirs.cpu_seconds / cpu:.0f} times heaptap's)", [theirs.cpu_seconds])

    def names(self, library: list[Path]) -> None:
        """A profile with many places of one library, less the same profile of a library that is not there."""
        named, nameless, out = self.folder / "named.heap", self.folder / "nameless.heap", self.folder / "out"
        dump.write(named, ADDRESSES, ADDRESSES, library)
        nameless.write_text(named.read_text().replace(str(library[0].resolve()), f"/none{library[0].resolve()}"))
        def milliseconds(path: Path) -> float:
            return cost_of([self.heaptap, "symbols", str(path)], out).cpu_seconds * 1e3
        each = [milliseconds(named) - milliseconds(nameless) for _ in range(2 * self.repeat + 3)]
        self.line(f"{ADDRESSES:,} addresses of {library[0].name} named, ms", "heaptap", f"{statistics.median(each):.0f}", each)

    def page(self, large: Path) -> None:
        """The largest page: its size, and in a browser, if there is one."""
        page = self.folder / "page.html"
        commands.run([self.heaptap, "page", large, "-o", page])
        kibibytes = page.stat().st_size / 1024
        self.line("page of 50,000 frames, KiB", "heaptap", f"{kibibytes:.0f}", [kibibytes])
        browser = shutil.which("chromium") or shutil.which("google-chrome")
        if not browser or not shutil.which("node"):
            self.line("the same in a browser", "heaptap", "skipped: no chromium or no node", [])
            return
        told = json.loads(commands.run(["node", folders.REPOSITORY / "tests" / "pages" / "measure.js", browser, page]))
        tabs = ["summary", "time", "flame", "table"]
        opened = [told[tab]["opened"] for tab in tabs]
        brush = [told[tab]["brush"]["frame"] for tab in tabs]
        self.line("the same in a browser: first paint / brush / zoom, the slowest tab, ms", "heaptap",
                  f"{max(opened):.0f} / {max(brush):.0f} / {told['zoom']['frame']:.0f}", opened + brush)

    def line(self, name: str, peer: str, value: str, raw: list[float]) -> None:
        """Keeps and shows a figure."""
        self.lines.append(Figure(name, peer, value, raw))
        say(f"      {name}, {peer}: {value}")


def measure(repeat: int, quick: bool, trouble: Callable[[str], None]) -> list[Figure]:
    """The lines of the table; what fails costs its own line only."""
    cli = Cli(repeat, quick)
    try:
        cli.go()
    except Trouble as reason:
        trouble(str(reason))
    return cli.lines
