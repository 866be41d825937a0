"""Crash, hang or difference? A tapped life is compared with plain ones, and its last dump with what it leaked."""
import math
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from soak.builds import HAZARDS
from soak.cells import Cell
from soak.life import Outcome, Tap
from trial import checks, commands, dumps

#: Size class of the blocks that leak, of 40,000 bytes each.
LEAK_CLASS = 40960
#: The size of the leak's blocks, give or take.
LEAST_SIZE, LARGEST_SIZE = 24_000, 120_000
#: One wrong alarm in 500 million judgements.
DEVIATIONS = 6
#: So many blocks more or less, for where a sample is hardly ever missed: that is no normal distribution.
RARE = 3

CRASH, HANG, DIFFERENCE = "crash", "hang", "difference"


@dataclass
class Verdict:
    """What was found: a word, or none, and the figures."""
    word: str = ""
    why: str = ""
    samples: int = 0
    rounds: int = 0
    lost: int = 0


def judge(cell: Cell, outcome: Outcome, plain: dict[str, str], tap: Tap) -> Verdict:
    """`plain`: what rounds of this storm come to, by "storm round"; rounds that are not known yet are not compared."""
    verdict = Verdict()
    verdict.word, verdict.why = by_end(cell, outcome)
    if verdict.word in (CRASH, HANG):
        return verdict
    found = results(cell, outcome.stdout)
    verdict.rounds = sum(last_rounds(found).values()) or 1
    complaints = [verdict.why] if verdict.word else []
    complaints += [f"{key}: {value}, not {plain[key]}" for key, value in found.items() if plain.get(key, value) != value][:2]
    complaints += [line for line in outcome.stdout.splitlines() if " failed " in line][:2]
    complaints += [outcome.looks] if outcome.looks else []
    complaints += of_dump(cell, outcome, tap, verdict)
    if complaints:
        verdict.word, verdict.why = DIFFERENCE, "; ".join(complaints)
    return verdict


def by_end(cell: Cell, outcome: Outcome) -> tuple[str, str]:
    """How the process ended."""
    if outcome.status is None:
        return HANG, f"no end within {cell.deadline:.0f} s"
    if (outcome.folder / "hs_err.log").exists():
        return CRASH, "hs_err.log"
    if outcome.status == cell.status:
        return "", ""
    why = f"status {outcome.status}, not {cell.status}: {(outcome.stdout + outcome.stderr)[-300:].strip()}"
    return (CRASH if outcome.status < 0 or outcome.status == 134 else DIFFERENCE), why


def results(cell: Cell, stdout: str) -> dict[str, str]:
    """What rounds came to, by "storm round"; a program of tests/host has one."""
    if cell.storm in HAZARDS:
        return {f"{cell.storm} 1": stdout}
    found = re.finditer(r"^(\w+ \d+) ([0-9a-f]+)$", stdout, re.MULTILINE)
    return {one[1]: one[2] for one in found if not one[1].startswith("leaked ")}


def last_rounds(found: dict[str, str]) -> dict[str, int]:
    """The last round of each storm that was printed."""
    return {storm: int(number) for storm, number in (key.split(" ") for key in found)}


def of_dump(cell: Cell, outcome: Outcome, tap: Tap, verdict: Verdict) -> list[str]:
    """The final dump, or the last one, is whole and holds the leak, within what the sampling allows."""
    if cell.end == "kill":
        recover(outcome, tap)
    own = dumps.of_process(dumps.find(outcome.folder), outcome.pid)
    leaked = re.search(r"^leaked (\d+) \d+(?: (0x[0-9a-f]+) (0x[0-9a-f]+))?$", outcome.stdout, re.MULTILINE)
    if not own:
        return ["no dump was left"] if leaked or cell.end == "kill" else []
    # Threads go on while a process ends, and may have more dumps written.
    last = next((dump for dump in own if dump.kind == "f"), own[-1])
    text = last.path.read_text(errors="replace")
    figures = {key: int(value) for key, value in re.findall(r"^# (\w+): (\d+)$", text, re.MULTILINE)}
    verdict.samples = figures.get("samples", 0)
    verdict.lost = sum(value for key, value in figures.items() if key.startswith("lost_"))
    # With faults a stack may end before the method that leaks.
    if not leaked or verdict.lost or (cell.machine and cell.faults):
        return []
    period = last.sample_period()
    seen, count = leak_in(text, period, leaking_pcs(text, leaked)), int(leaked[1])
    error = DEVIATIONS * math.sqrt(count * checks.variance((LEAK_CLASS,), period)) + (RARE * LEAK_CLASS if period > 1 else 1)
    if abs(seen - count * LEAK_CLASS) > error:
        return [f"{seen:.0f} bytes of the leak in {last.path.name}, not {count * LEAK_CLASS} ± {error:.0f}"]
    return []


def recover(outcome: Outcome, tap: Tap) -> None:
    """Has the dump of a killed process written."""
    subprocess.run([tap.cli, "recover", str(outcome.pid)], env=commands.clean_environment(), cwd=outcome.folder, check=False,
                   stdin=subprocess.DEVNULL, capture_output=True, timeout=120)


def leaking_pcs(text: str, leaked: re.Match) -> Callable[[set[str]], bool]:
    """Whether frames are those of the leak: by the bounds of its code that a native storm prints, or by its Java methods."""
    if leaked[2]:
        first, last = int(leaked[2], 16), int(leaked[3], 16)
        return lambda frames: any(first < int(pc, 16) <= last for pc in frames)
    leaking = set(re.findall(r"^# java: (0x[0-9a-f]+) Soak leak ", text, re.MULTILINE))
    # The VM allocates for itself there, too.
    allocating = set(re.findall(r"^# java: (0x[0-9a-f]+) \S*/Unsafe allocateMemory\w* ", text, re.MULTILINE))
    return lambda frames: not leaking.isdisjoint(frames) and not allocating.isdisjoint(frames)


def leak_in(text: str, period: int, is_leak: Callable[[set[str]], bool]) -> float:
    """Estimated bytes of the leak: blocks of about its size below its code.

    About: where the period has changed meanwhile, a dump's lines are made to suit the correction by the last period.
    """
    seen = 0.0
    for pcs, objects, size in re.findall(r"^@ (.*)\n  t\*: (\d+): (\d+) ", text, re.MULTILINE):
        objects, size = int(objects), int(size)
        if objects and LEAST_SIZE < size / objects < LARGEST_SIZE and is_leak(set(pcs.split(" "))):
            seen += size / -math.expm1(-size / objects / period)
    return seen


def evidence(outcome: Outcome, to: Path) -> None:
    """Keeps the folder of a life that went wrong."""
    to.parent.mkdir(parents=True, exist_ok=True)
    outcome.folder.rename(to)
