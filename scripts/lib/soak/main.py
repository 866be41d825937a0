"""`scripts/soak`: runs storms under the tap until the time is over; goes on after failures and counts them."""
import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from soak import builds, judge, life, machines
from soak.cells import Cell, Order
from soak.life import Outcome, Tap
from soak.table import Table
from trial import folders
from trial.steps import Trouble, complain, end_well_when_asked, say

UNITS = {"s": 1, "m": 60, "h": 3600, "": 3600}
NICENESS = 10
#: How a program of tests/host says that it cannot be tried here.
NOT_POSSIBLE = 77


def main() -> int:
    options = parse_arguments()
    end_well_when_asked()
    os.nice(max(0, NICENESS - os.nice(0)))
    try:
        return Soak(options).go()
    except Trouble as trouble:
        return complain(trouble)
    except KeyboardInterrupt:
        return 130


def duration(text: str) -> float:
    """Seconds of `3h`, `10m`, `90s`; a bare number is hours."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?)([smh]?)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 3h, 10m, 90s or 0.5 (hours)")
    return float(found[1]) * UNITS[found[2]]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/soak", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Runs storms (threads, class loaders, deoptimisation, exceptions, JNI, foreign functions, spawns, forks …)\n"
                    "on every JDK and collector, and native ones, each under the tap with everything on; each life ends in one of\n"
                    "several ways. Counts crashes, hangs, and differences from the same program without the tap, and prints a table.")
    parser.add_argument("time", type=duration, nargs="?", default=3600.0, metavar="TIME",
                        help="3h, 10m, 90s, or a number of hours (default: 1)")
    parser.add_argument("--faults", action="store_true",
                        help="a build whose checked readers hand out bad values, from target/faults (scripts/build --faults)")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="N", help="how long a storm blows (default: 4)")
    parser.add_argument("--jdks", default=",".join(map(str, machines.RELEASES)), metavar="N,N", help="only these releases")
    parser.add_argument("--only", default="", metavar="STORM,STORM", help="only these storms, such as Ffm,mix")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="of the order (default: another each time)")
    parser.add_argument("--tap", type=Path, metavar="LIB", help="preload this library")
    parser.add_argument("--cli", type=Path, metavar="PROGRAM", help="look from outside with this heaptap")
    parser.add_argument("--out", type=Path, metavar="DIR", help="table, log and evidence (default: soak/)")
    return parser.parse_args()


class Soak:
    """One run of the script."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.tap = find_tap(options)
        self.out = fresh(options.out or folders.REPOSITORY / "soak")
        self.table = Table()
        self.plain: dict[str, str] = {}
        self.known: set[tuple[str, int]] = set()
        self.impossible: set[str] = set()
        self.failures = 0
        self.number = 0

    def go(self) -> int:
        """Builds, runs, prints; 1 if anything went wrong."""
        every, missing = machines.find(tuple(int(word) for word in self.options.jdks.split(",")))
        for what in missing:
            say(f"skipped: {what}")
        seed = self.options.seed if self.options.seed is not None else int(time.time())
        say(f"{len(every)} machines: {', '.join(machine.label for machine in every)}; seed {seed}")
        with tempfile.TemporaryDirectory(prefix="heaptap-soak-") as folder:
            built = builds.build(Path(folder), every)
            only = [word for word in self.options.only.split(",") if word]
            self.run(Order(built, every, self.options.seconds, seed, only, self.options.faults), Path(folder) / "life")
        return self.close()

    def run(self, order: Order, folder: Path) -> None:
        """Life after life until the time is over."""
        end = time.monotonic() + self.options.time
        for cell in order:
            if time.monotonic() >= end:
                return
            self.learn(cell, folder)
            if cell.storm in self.impossible:
                continue
            self.number += 1
            outcome = life.live(cell, folder, self.tap, looks=self.number % 4 == 0 and cell.end != "kill")
            verdict = judge.judge(cell, outcome, self.plain, self.tap)
            self.table.rows[cell.row].add(outcome, verdict)
            self.tell(cell, outcome, verdict)
            if verdict.word:
                self.failures += 1
                self.keep(cell, outcome, verdict)
            if self.number % 20 == 0:
                (self.out / "table.md").write_text(self.table.text())

    def learn(self, cell: Cell, folder: Path) -> None:
        """Runs the storm plainly, once a release: that says what is right, and that it can be run here at all."""
        key = (cell.storm, cell.machine.release if cell.machine else 0)
        if key in self.known or cell.end == "kill":
            return
        outcome = life.live(cell.usual(), folder, None)
        self.known.add(key)
        if outcome.status == NOT_POSSIBLE:
            self.impossible.add(cell.storm)
            say(f"skipped: {cell.storm}: {outcome.stdout.strip()}")
            return
        word, why = judge.by_end(cell, outcome)
        found = judge.results(cell, outcome.stdout)
        clash = [one for one, value in found.items() if self.plain.get(one, value) != value]
        if word or clash:
            say(f"  plain  {' '.join(cell.row)}: {word or 'not the same as elsewhere'} {why or clash}")
        self.plain |= found

    def tell(self, cell: Cell, outcome: Outcome, verdict: judge.Verdict) -> None:
        """One line of progress."""
        rate = re.search(r"lg_prof_sample:(\d+)", cell.configuration)[1]
        what = " ".join((cell.storm, cell.row[1], *cell.variant))
        faults = f", {cell.faults.partition(':')[0]} % faults" if cell.faults else ""
        line = f"{time.strftime('%H:%M:%S')} {self.number:5} {what}, lg {rate}{faults}, {cell.end}: "
        line += f"{verdict.word.upper() or 'ok'} {verdict.rounds} rounds, {verdict.samples} samples, {outcome.seconds:.1f} s"
        say(line + (f", {verdict.lost} lost" if verdict.lost else "") + (f"\n      {verdict.why}" if verdict.why else ""))

    def keep(self, cell: Cell, outcome: Outcome, verdict: judge.Verdict) -> None:
        """The evidence of what went wrong, and whether it goes wrong without the tap, too."""
        folder = self.out / "failed" / f"{self.number}-{cell.storm.replace(' ', '-')}-{cell.row[1].replace(' ', '-')}"
        judge.evidence(outcome, folder)
        again = life.live(cell, self.out / "plain", None)
        alone, _ = judge.by_end(cell, again)
        facts = {"command": cell.command, "MALLOC_CONF": cell.configuration, "HEAPTAP_FAULTS": cell.faults, "end": cell.end, "verdict": verdict.word,
                 "why": verdict.why, "without the tap": alone or "good"}
        (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
        shutil.rmtree(self.out / "plain", ignore_errors=True)

    def close(self) -> int:
        """The table and the closing line."""
        text = self.table.text()
        (self.out / "table.md").write_text(text)
        say(f"\n{text}")
        total = self.table.all()
        say(f"{total.seconds / 3600:.2f} hours of lives; everything is in {self.out}")
        say(f"{total.lives - self.failures} passed, {self.failures} failed")
        return 1 if self.failures else 0


def find_tap(options: argparse.Namespace) -> Tap:
    """The library and program to try."""
    release = folders.REPOSITORY / "target" / ("faults/release" if options.faults else "release")
    tap = Tap((options.tap or release / "libheaptap.so").absolute(), (options.cli or folders.RELEASE / "heaptap").absolute())
    for path in (tap.library, tap.cli):
        if not path.is_file():
            raise Trouble(f"{path} is not there: run scripts/build" + (" --faults" if options.faults else ""))
    return tap


def fresh(folder: Path) -> Path:
    """An empty folder of ours."""
    folders.empty(folder.absolute())
    return folder.absolute()


if __name__ == "__main__":
    sys.exit(main())
