"""`scripts/bench`: measures heaptap and its peers, prints one table, keeps the raw data."""
import argparse
import json
import os
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from bench import cli, compare, elasticsearch, instructions, java_sample, living, measure, peers, start, table, workloads
from bench.figures import Figures
from bench.rounds import Rounds
from trial import folders
from trial.steps import Steps, Trouble, complain, end_well_when_asked, say

QUICK_ROUNDS = 3
QUICK_WORKLOADS = ("pair", "working set", "deep")
QUICK_PEERS = ("jemalloc", "heaptap off", "heaptap 19", "heaptap 17", "jeprof-lu 17")
QUICK_SECONDS = 60
ROUNDS = 25
PARTS = ("instructions", "rounds", "figures", "cli")
#: How often each figure is measured.
QUICK_REPEATS, REPEATS = 1, 3
#: No round is begun after this.
ROUNDS_SECONDS = 900


def main() -> int:
    options = parse_arguments()
    end_well_when_asked()
    try:
        return compared(options) if options.compare else Bench(options).go()
    except Trouble as trouble:
        return complain(trouble)
    except KeyboardInterrupt:
        return 130


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures heaptap beside its peers: exact "
                                     "instruction counts, CPU time in interleaved rounds, memory and stalls.")
    parser.add_argument("--quick", action="store_true", help="instructions and a few rounds: under 3 minutes")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"rounds of timed runs (default: {ROUNDS})")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these workloads")
    parser.add_argument("--peers", nargs="+", metavar="NAME", help="only these peers (and jemalloc, the floor)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="only these parts")
    parser.add_argument("--elasticsearch", type=int, nargs="?", const=7, metavar="N",
                        help="also N rounds (default: 7) of bulk indexing into Elasticsearch")
    parser.add_argument("--compare", metavar="REV", help="only: this build beside that of another revision; "
                        "status 1 if an operation takes more instructions")
    parser.add_argument("--tap", type=Path, metavar="LIB", help="measure this library instead of heaptap's release build")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the result goes (default: target/bench)")
    return parser.parse_args()


def compared(options: argparse.Namespace) -> int:
    """`--compare`: two builds of our own, nothing else."""
    out = (options.out or folders.REPOSITORY / "target" / "bench").absolute()
    now = tap_of(options)
    steps = Steps(3)
    with steps.step(f"The build of {options.compare}") as notes:
        if not measure.has_valgrind():
            raise Trouble("valgrind is not installed: run scripts/setup bench")
        workloads.build(out / "programs")
        then = compare.build(options.compare, out / "compare")
        notes.append(str(then))
    works = [work for work in workloads.all_workloads(out / "programs") if not options.only or work.name in options.only]
    with steps.step("Instructions (callgrind)"):
        rows = compare.count(works, then, now, out / "programs")
    with steps.step("CPU time, interleaved"):
        count = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
        rounds = compare.time_both(works, then, now, count, QUICK_SECONDS if options.quick else ROUNDS_SECONDS)
    say("\n" + compare.markdown(rows, rounds, options.compare))
    return 1 if any(row.is_dearer() for row in rows) else 0


def tap_of(options: argparse.Namespace) -> Path:
    """The library that is measured."""
    tap = (options.tap or folders.RELEASE / "libheaptap.so").absolute()
    if not tap.is_file():
        raise Trouble(f"{tap} is not there: run scripts/build")
    return tap


class Bench:
    """The parts, in order; each adds to the result."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out = (options.out or folders.REPOSITORY / "target" / "bench").absolute()
        self.parts = options.parts or PARTS
        self.steps = Steps(2 + len(self.parts) + (options.elasticsearch is not None))

    def go(self) -> int:
        """Everything; returns the exit status."""
        self.prepare()
        if "instructions" in self.parts:
            self.count_instructions()
        if "rounds" in self.parts:
            self.measure_time()
        if "figures" in self.parts:
            self.measure_figures()
        if "cli" in self.parts:
            self.measure_cli()
        if self.options.elasticsearch is not None:
            self.measure_elasticsearch()
        return self.show()

    def prepare(self) -> None:
        with self.steps.step("Peers and workloads") as notes:
            tap = tap_of(self.options)
            programs = self.out / "programs"
            workloads.build(programs)
            self.programs = programs
            self.result = table.Result(date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
                                       machine=table.machine(), loads=[os.getloadavg()[0]], peers=peers.all_peers(tap),
                                       workloads=workloads.all_workloads(programs))
            notes += [f"{peer.name}: skipped: {peer.skipped}" for peer in self.result.peers if peer.skipped]

    def count_instructions(self) -> None:
        with self.steps.step("Instructions of the fast paths (callgrind)") as notes:
            if not measure.has_valgrind():
                notes.append("skipped: valgrind is not installed")
                return
            self.result.counts = instructions.count(self.chosen_workloads(), self.chosen_peers(instructions.FAST_PATHS))
        self.note_load()

    def measure_time(self) -> None:
        quick = self.options.quick
        count = self.options.rounds or (QUICK_ROUNDS if quick else ROUNDS)
        with self.steps.step(f"CPU time, up to {count} rounds"):
            chosen = self.chosen_peers(QUICK_PEERS if quick else None)
            self.result.rounds = Rounds(self.chosen_workloads(), chosen)
            self.result.rounds.go(count, time.monotonic() + (QUICK_SECONDS if quick else ROUNDS_SECONDS))
        self.note_load()

    def measure_figures(self) -> None:
        with self.steps.step("One sample, memory, dumps, scaling"):
            figures = Figures(self.programs, self.result.peers, QUICK_REPEATS if self.options.quick else REPEATS)
            self.result.figures = figures.lines
            figures.lines += java_sample.measure_all(self.programs, figures.peers, figures.repeat)
            figures.lines += start.measure_all(figures.peers, workloads.JAVA)
            figures.sample_cost()
            figures.leak()
            figures.resizes()
            if not self.options.quick:
                figures.sample_instructions()
                figures.mapping_instructions()
                figures.live_samples()
                figures.threads()
                figures.processes()
                figures.stall()
                figures.lines += living.measure_all(self.programs, figures.peers, figures.repeat)
        self.note_load()

    def measure_cli(self) -> None:
        with self.steps.step("The CLI: reports, names, the page") as notes:
            repeat = QUICK_REPEATS if self.options.quick else REPEATS
            self.result.figures += cli.measure(repeat, self.options.quick, notes.append)
        self.note_load()

    def measure_elasticsearch(self) -> None:
        with self.steps.step(f"Elasticsearch, {self.options.elasticsearch} rounds"):
            self.result.figures += elasticsearch.measure_all(self.chosen_peers(None), self.options.elasticsearch, self.out)
        self.note_load()

    def chosen_workloads(self) -> list[workloads.Workload]:
        """As asked for; the quick run has few."""
        names = self.options.only or (QUICK_WORKLOADS if self.options.quick else None)
        return [work for work in self.result.workloads if names is None or work.name in names]

    def chosen_peers(self, default: tuple[str, ...] | None) -> list[peers.Peer]:
        """As asked for, and always the floor."""
        names = self.options.peers or default
        return [peer for number, peer in enumerate(self.result.peers) if number == 0 or names is None or peer.name in names]

    def note_load(self) -> None:
        """After each part; what was measured so far is kept."""
        self.result.loads.append(os.getloadavg()[0])
        (self.out / "bench.md").write_text(self.result.markdown())
        (self.out / "bench.json").write_text(json.dumps(self.result.raw(), indent=1))

    def show(self) -> int:
        """The table, and where it and the raw data are."""
        with self.steps.step("Result") as notes:
            self.note_load()
            text = self.result.markdown()
            notes.append(f"{self.out / 'bench.md'} and bench.json (raw data)")
        say(f"\n{text}\n{self.steps.seconds():.0f} s in all")
        return 0


if __name__ == "__main__":
    sys.exit(main())
