"""`scripts/bench --compare REV`: this build of heaptap beside that of another revision, so that no change loses unseen."""
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import instructions, measure, table, workloads
from bench.peers import QUIET, Peer, with_conf
from bench.rounds import Rounds
from trial import commands, folders

#: Instructions of one operation that a build may be dearer by: the compiler's taste. Of a sampled operation, the share.
FAST_TOLERANCE, SAMPLED_TOLERANCE = 1.0, 0.01
#: Sampled operations: frames above `main`, and the lengths of the two runs that are subtracted.
DEPTH, SAMPLED = 30, (2_000, 6_000)
#: Without a helper thread, whose instructions are not of the path.
EVERY = f"{QUIET},lg_prof_sample:0,prof_keeper:false"
TIMED = ("pair", "working set", "deep", "java")


@dataclass(frozen=True)
class Row:
    """Instructions of one operation under both builds."""
    name: str
    then: float
    now: float
    tolerance: float

    def is_dearer(self) -> bool:
        """Beyond what is no change."""
        return self.now > self.then + self.tolerance

    def cells(self) -> list[str]:
        """As a row of the table."""
        return [self.name, f"{self.then:.1f}", f"{self.now:.1f}", f"{self.now - self.then:+.1f}", "DEARER" if self.is_dearer() else ""]


def build(revision: str, out: Path) -> Path:
    """The tap of another revision, built from a checkout that is removed again; kept by its commit."""
    found = commands.run(["git", "rev-parse", "--verify", f"{revision}^{{commit}}"], folders.REPOSITORY, 60).strip()
    library = out / f"{found[:12]}.so"
    if library.exists():
        return library
    tree = out / "tree"
    git = ["git", "-C", str(folders.REPOSITORY), "worktree"]
    subprocess.run([*git, "remove", "--force", str(tree)], capture_output=True, check=False)
    commands.run([*git, "add", "--detach", str(tree), found], folders.REPOSITORY, 60)
    try:
        target = out / "build"
        commands.run([tree / "scripts" / "build", "--lib", "--no-default-features", "--target-dir", target], tree, 3600)
        shutil.copy(target / "release" / "libheaptap.so", library)
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], capture_output=True, check=False)
    return library


def count(works: list[workloads.Workload], then: Path, now: Path, programs: Path) -> list[Row]:
    """The fast paths, and a sample with its free."""
    def both(name: str, of: Callable[[Peer], float], tolerance: Callable[[float], float]) -> Row:
        before, after = (of(Peer(label, "", library)) for label, library in (("then", then), ("now", now)))
        return Row(name, before, after, tolerance(before))

    rows = []
    for work in works:
        if work.instructions:
            def fast(peer: Peer, work: workloads.Workload = work) -> float:
                return instructions.per_operation(work, with_conf(peer, "prof:false"), work.instructions)
            rows.append(both(work.name, fast, lambda _: FAST_TOLERANCE))
    deep, (short, long) = str(programs / "deep"), SAMPLED

    def sampled(peer: Peer) -> float:
        every = with_conf(peer, EVERY)
        few, many = (measure.instructions(every, [deep, str(length), str(DEPTH)]) for length in (short, long))
        return (many - few) / (long - short)
    rows.append(both(f"sample of {DEPTH} frames and its free", sampled, lambda before: SAMPLED_TOLERANCE * before))
    return rows


def time_both(works: list[workloads.Workload], then: Path, now: Path, rounds: int, seconds: float) -> Rounds:
    """CPU time at the issue's rate, in interleaved rounds."""
    peers = [Peer(label, "", library, {"MALLOC_CONF": f"{QUIET},lg_prof_sample:17"}) for label, library in (("then", then), ("now", now))]
    measured = Rounds([work for work in works if work.name in TIMED], peers)
    measured.go(rounds, time.monotonic() + seconds)
    return measured


def markdown(rows: list[Row], rounds: Rounds | None, revision: str) -> str:
    """Both tables."""
    text = f"Instructions of an operation (callgrind), this build over {revision}:\n\n"
    text += table.grid(["", "then", "now", "more", ""], [row.cells() for row in rows])
    if rounds and rounds.done:
        ratios = [(work, rounds.ratio(work, rounds.peers[1])) for work in dict.fromkeys(work for work, _ in rounds.pairs)]
        text += f"\n\nCPU time at lg 17, this build over {revision}, median of {rounds.done} rounds:\n\n"
        text += table.grid(["", "now over then"], [[work.name, ratio.text()] for work, ratio in ratios if ratio])
    return text + "\n"
