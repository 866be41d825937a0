"""The quickstart's checks on every server of the list, without pictures; one table at the end."""
import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from trial import agent, checks, dumps, folders, jdks, jeprof
from trial.products import SERVERS, SearchServer
from trial.run import Run
from trial.steps import Steps, Trouble, complain, end_well_when_asked, say

DOCUMENTS = 30_000
PLAN = agent.Plan(seconds=12, invoices=30, searches=120)


@dataclass
class Line:
    """One server of the table: its checks, or why there are none."""
    server: SearchServer
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
    end_well_when_asked()
    try:
        library = (options.tap or folders.RELEASE / "libheaptap.so").resolve(strict=True)
        chosen = choose(options.server)
        out = folders.fresh(options.out, "trial-servers")
        steps = Steps(len(chosen))
        lines = [try_server(server, library, out, steps) for server in chosen]
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
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder for everything (default: trial-servers/)")
    parser.add_argument("--tap", type=Path, metavar="LIB", help="preload this library instead of heaptap's")
    return parser.parse_args()


def choose(words: list[str]) -> list[SearchServer]:
    """The servers whose names hold one of the words."""
    chosen = [server for server in SERVERS if not words or any(word in server.label for word in words)]
    if not chosen:
        raise Trouble(f"no such server; there are: {', '.join(server.label for server in SERVERS)}")
    return chosen


def try_server(server: SearchServer, library: Path, out: Path, steps: Steps) -> Line:
    """One server from its installation to its checks; trouble with one does not stop the others."""
    line = Line(server)
    start = time.monotonic()
    with steps.step(server.label) as notes:
        jdk = jdks.find(server.java)
        if jdk is None:
            line.skipped = f"no JDK {server.java} is installed"
        else:
            try:
                line.results = live(Run(server, jdk, library, subfolder(out, server), PLAN, DOCUMENTS))
            except Trouble as trouble:
                line.results = [checks.Check("it ran at all", False, str(trouble))]
        notes += [check.line() for check in line.results] or [line.verdict()]
    line.seconds = time.monotonic() - start
    return line


def subfolder(out: Path, server: SearchServer) -> Path:
    """A folder of its own for each server."""
    folder = out / server.label.replace(" ", "-")
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
    say(f"\n{'server':<22} {'JDK':>4} {'s':>5}  verdict")
    for line in lines:
        say(f"{line.server.label:<22} {line.server.java:>4} {line.seconds:>5.0f}  {line.verdict()}")
    everything = [check for line in lines for check in line.results]
    skipped = sum(bool(line.skipped) for line in lines)
    say(f"\neverything is in {out}")
    say(checks.closing_line(everything, skipped))
    return 0 if all(check.good for check in everything) else 1


if __name__ == "__main__":
    sys.exit(main())
