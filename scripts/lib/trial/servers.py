"""The quickstart's checks on every server of the list, without pictures, and the leak of 2017; one table at the end."""
import argparse
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trial import agent, checks, debian_jdks, dumps, folders, jdks, jeprof, publishing
from trial.products import QUICKSTART_SERVER, SERVERS, SearchServer
from trial.run import Run
from trial.steps import Steps, Trouble, complain, end_well_when_asked, say

DOCUMENTS = 30_000
#: The server's own allocator serves.
KEEP = ",prof_allocator:keep"
PLAN = agent.Plan(seconds=12, invoices=30, searches=120)


@dataclass(frozen=True)
class Trial:
    """One line's work: what is tried, on which JDK, and how."""
    label: str
    java: int
    #: JDK, library to preload, folder for everything.
    live: Callable[[Path, Path, Path], list[checks.Check]]


@dataclass
class Line:
    """One server of the table: its checks, or why there are none."""
    trial: Trial
    results: list[checks.Check] = field(default_factory=list)
    skipped: str = ""
    seconds: float = 0

    def verdict(self) -> str:
        """One word, or the reason."""
        if self.skipped:
            return f"skipped: {self.skipped}"
        bad = [check for check in self.results if not check.good]
        return "ok" if not bad else f"FAILED: {', '.join(check.name for check in bad)}"


def main() -> int:
    options = parse_arguments()
    if options.list:
        say("\n".join(trial.label for trial in trials()))
        return 0
    end_well_when_asked()
    try:
        library = (options.tap or folders.RELEASE / "libheaptap.so").resolve(strict=True)
        chosen = choose(options.server)
        out = folders.fresh(options.out, "trial-servers")
        steps = Steps(len(chosen))
        lines = [go(trial, library, out, steps) for trial in chosen]
    except FileNotFoundError as absent:
        return complain(Trouble(f"{absent.filename} is not there: run scripts/build"))
    except Trouble as trouble:
        return complain(trouble)
    except KeyboardInterrupt:
        return 130
    return conclude(lines, out)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/servers", description="Tries Elasticsearch and OpenSearch servers "
                                     "under heaptap: load, SIGTERM, dumps, and a leak of known size.")
    parser.add_argument("server", nargs="*", help="part of a server's name, such as 9.2 (default: all)")
    parser.add_argument("--list", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder for everything (default: trial-servers/)")
    parser.add_argument("--tap", type=Path, metavar="LIB", help="preload this library instead of heaptap's")
    return parser.parse_args()


def trials() -> list[Trial]:
    """All of them, in the order of the table."""
    return [*map(with_agent, SERVERS), with_agent(QUICKSTART_SERVER, KEEP), Trial(publishing.LABEL, publishing.JAVA, publishing.live)]


def with_agent(server: SearchServer, more: str = "") -> Trial:
    """A server that an agent makes leak; `more` is added to the user's string."""
    return Trial(server.label + more, server.java, lambda jdk, library, folder: live(
        Run(server, jdk, library, folder, PLAN, DOCUMENTS, more)))


def choose(words: list[str]) -> list[Trial]:
    """The trials whose names hold one of the words."""
    chosen = [trial for trial in trials() if not words or any(word in trial.label for word in words)]
    if not chosen:
        raise Trouble(f"no such server; there are: {', '.join(trial.label for trial in trials())}")
    return chosen


def go(trial: Trial, library: Path, out: Path, steps: Steps) -> Line:
    """One server from its installation to its checks; trouble with one does not stop the others."""
    line = Line(trial)
    start = time.monotonic()
    with steps.step(trial.label) as notes:
        try:
            jdk = jdks.find(trial.java) or debian_jdks.fetch(trial.java)
        except Trouble as trouble:
            line.skipped = f"no JDK {trial.java} is installed, and {trouble}".splitlines()[0]
        else:
            try:
                line.results = trial.live(jdk, library, subfolder(out, trial))
            except Trouble as trouble:
                line.results = [checks.Check("it ran at all", False, str(trouble))]
        notes += [check.line() for check in line.results] or [line.verdict()]
    line.seconds = time.monotonic() - start
    return line


def subfolder(out: Path, trial: Trial) -> Path:
    """A folder of its own for each server."""
    folder = out / re.sub(r"[^\w.]+", "-", trial.label)
    folder.mkdir()
    return folder


def live(run: Run) -> list[checks.Check]:
    """Install, start, load, stop, look."""
    try:
        run.install()
        run.start()
        run.work()
        run.stop()
    finally:
        run.close()
    found = dumps.find(run.folder)
    own = dumps.of_process(found, run.server_pid)
    profile = jeprof.read(jdks.java_in_path(run.jdk), own[-1]) if own else None
    return checks.examine(run, found, profile)


def conclude(lines: list[Line], out: Path) -> int:
    """The table, and how many checks were good over all servers."""
    say(f"\n{'server':<30} {'JDK':>4} {'s':>5}  verdict")
    for line in lines:
        say(f"{line.trial.label:<30} {line.trial.java:>4} {line.seconds:>5.0f}  {line.verdict()}")
    everything = [check for line in lines for check in line.results]
    skipped = sum(bool(line.skipped) for line in lines)
    say(f"\neverything is in {out}")
    say(checks.closing_line(everything, skipped))
    return 0 if all(check.good for check in everything) else 1


if __name__ == "__main__":
    sys.exit(main())
