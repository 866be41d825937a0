"""The table: each server from its start to what it left; trouble with one does not stop the others."""
import argparse
import re
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from fleet import java, native
from fleet.examine import COLUMNS, Check, ended, running, settle
from fleet.server import Place, Server
from trial import folders
from trial.steps import Steps, Trouble, complain, end_well_when_asked, say

ALL = (*native.ALL, *java.ALL)
#: How long a server is let alone before it is asked: who starts it has ended by then.
SETTLE_SECONDS = 2.0


@dataclass
class Line:
    """One row."""
    server: Server
    checks: list[Check] = field(default_factory=list)
    skipped: str = ""
    trouble: str = ""
    version: str = "?"
    seconds: float = 0
    answers: int = 0

    def is_good(self) -> bool:
        return not self.trouble and all(check.good for check in self.checks)

    def markdown(self) -> str:
        """Its row of the table."""
        by_name = {check.name: "yes" if check.good else "**no**" for check in self.checks}
        if self.skipped or self.trouble:
            cells = [f"skipped: {self.skipped}" if self.skipped else f"**{self.trouble.splitlines()[0][:80]}**"] + [""] * len(COLUMNS)
        else:
            cells = [f"{self.answers:,}", *(by_name.get(name, "") for name in COLUMNS)]
        return f"| {self.server.name} | {self.version} | " + " | ".join(cells) + " |"


def main() -> int:
    options = parse_arguments()
    if options.list:
        say("\n".join(server.name for server in ALL))
        return 0
    end_well_when_asked()
    try:
        library = options.tap.resolve(strict=True)
        out = folders.fresh(options.out, "trial-fleet")
    except FileNotFoundError as absent:
        return complain(Trouble(f"{absent.filename} is not there: run scripts/build"))
    except Trouble as trouble:
        return complain(trouble)
    chosen = choose(options)
    steps = Steps(len(chosen))
    lines = [go(server, library, out, steps) for server in chosen]
    say(table(lines))
    say(f"everything is in {out}")
    passed = sum(check.good for line in lines for check in line.checks)
    failed = sum(not check.good for line in lines for check in line.checks) + sum(bool(line.trouble) for line in lines)
    skipped = sum(bool(line.skipped) for line in lines)
    say(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/servers", description=__doc__)
    parser.add_argument("server", nargs="*", help=f"parts of names (default: all of {', '.join(one.name for one in ALL)})")
    parser.add_argument("--light", action="store_true", help="only those that take a few seconds")
    parser.add_argument("--list", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder for everything (default: trial-fleet/)")
    parser.add_argument("--tap", type=Path, metavar="LIB", default=folders.RELEASE / "libheaptap.so", help="preload this library")
    return parser.parse_args()


def choose(options: argparse.Namespace) -> list[Server]:
    """Those whose names hold one of the words."""
    words = [word.lower() for word in options.server]
    fits = [one() for one in ALL if not words or any(word in one.name.lower() for word in words)]
    return [one for one in fits if one.is_light or not options.light]


def go(server: Server, library: Path, out: Path, steps: Steps) -> Line:
    """One server from its start to what it left."""
    line = Line(server)
    absent = [program for program in server.programs if not shutil.which(program)]
    begin = time.monotonic()
    with steps.step(server.name) as notes:
        if absent:
            line.skipped = f"no {absent[0]} here"
        else:
            try:
                live(line, Place(out / re.sub(r"\W+", "-", server.name.lower()), library))
            except (Trouble, OSError, StopIteration) as trouble:
                line.trouble = str(trouble) or repr(trouble)
        notes += [f"{'ok  ' if check.good else 'FAIL'}  {check.name}: {check.told}" for check in line.checks]
        notes += [text for text in (line.trouble, line.skipped and f"skipped: {line.skipped}") if text]
    line.seconds = time.monotonic() - begin
    return line


def live(line: Line, place: Place) -> None:
    """Start, load, look, stop, look."""
    server = line.server
    try:
        server.prepare(place)
        line.version = server.version()
        server.start(place)
        line.answers = server.work(place)
        time.sleep(SETTLE_SECONDS)
        pid = server.main(place)
        settle(place, pid)
        family = set(place.processes())
        line.checks += running(server, place, pid)
        line.checks += ended(server, place, pid, family, server.end(place, pid))
    finally:
        server.close(place)


def table(lines: list[Line]) -> str:
    head = "| server | version | served | " + " | ".join(COLUMNS) + " |"
    return "\n".join(["", head, "|---" * (len(COLUMNS) + 3) + "|", *(line.markdown() for line in lines), ""])


if __name__ == "__main__":
    sys.exit(main())
