"""A process with a million live samples: what a report of it costs, and what its keeper does meanwhile."""
import statistics
import time
from pathlib import Path

from bench import measure
from bench.cli import cost_of
from bench.figures import LARGE_REGION, Figure
from bench.peers import QUIET, Peer, with_conf
from trial import folders
from trial.steps import Trouble, say

BLOCKS, STACKS = 1_000_000, 10_000
#: Longest that the program takes to make its blocks.
STARTS = 60
#: How long the keeper is watched, and how often: its works are far more rarely than that.
WATCHED, STEP = 30, 0.02
#: The name of the keeper's thread.
KEEPER = "heaptap"


def measure_all(programs: Path, peers: dict[str, Peer], repeat: int) -> list[Figure]:
    """The lines; what cannot be measured costs its own line only."""
    peer = with_conf(peers["heaptap 17"], f"{QUIET},lg_prof_sample:0,{LARGE_REGION}")
    words = [str(programs / "many"), str(BLOCKS), str(STACKS), str(STARTS + WATCHED + 60)]
    try:
        with measure.Started(peer, words, {}) as program:
            wait_until_ready(program)
            return [*report(program, repeat), *keeper(program.process.pid)]
    except Trouble as trouble:
        say(f"      a process with {BLOCKS:,} samples: {trouble}")
        return []


def wait_until_ready(program: measure.Started) -> None:
    """Until all blocks are there."""
    end = time.monotonic() + STARTS
    while program.printed() != "ready\n":
        if time.monotonic() > end or program.process.poll() is not None:
            raise Trouble(f"{program.what} made no blocks")
        time.sleep(0.05)


def report(program: measure.Started, repeat: int) -> list[Figure]:
    """Processor time of the command, which reads the region."""
    words = [str(folders.RELEASE / "heaptap"), "report", str(program.process.pid)]
    raw = [cost_of(words, program.folder / "report").cpu_seconds for _ in range(2 * repeat + 1)]
    return [line(f"report of a live process with {BLOCKS:,} samples, CPU s", f"{statistics.median(raw):.2f}", raw)]


def keeper(pid: int) -> list[Figure]:
    """Processor time of the helper thread: of its longest piece of work, a checkpoint with a look at all stacks, and all."""
    threads = [thread for thread in Path(f"/proc/{pid}/task").iterdir() if (thread / "comm").read_text().strip() == KEEPER]
    if not threads:
        raise Trouble("it has no helper thread")

    def spent() -> float:
        return int((threads[0] / "schedstat").read_text().split()[0]) / 1e6
    start, pieces = time.monotonic(), [spent()]
    while time.monotonic() < start + WATCHED:
        time.sleep(STEP)
        pieces.append(spent())
    works = [after - before for before, after in zip(pieces, pieces[1:])]
    share = 100 * sum(works) / 1e3 / (time.monotonic() - start)
    name = f"the helper thread with {BLOCKS:,} samples on {STACKS:,} stacks"
    return [line(f"{name}: longest work, ms", f"{max(works):.1f}", works), line(f"{name}, % of a core", f"{share:.2f}", [share])]


def line(name: str, value: str, raw: list[float]) -> Figure:
    """A line, which is shown at once."""
    say(f"      {name}: {value}")
    return Figure(name, "heaptap 17", value, raw)
