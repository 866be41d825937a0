"""The figures of a soak: one row for each storm and machine, and the same summed up in Markdown."""
from collections import defaultdict
from dataclasses import dataclass, field

from soak.judge import CRASH, DIFFERENCE, HANG, Verdict
from soak.life import Outcome

HEAD = ("lives", "rounds", "crashes", "hangs", "differences", "samples", "largest RSS")


@dataclass
class Row:
    """Sums over the lives of a storm on a machine."""
    lives: int = 0
    rounds: int = 0
    words: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    samples: int = 0
    rss_bytes: int = 0
    seconds: float = 0.0

    def add(self, outcome: Outcome, verdict: Verdict) -> None:
        """One more life."""
        self.merge(Row(1, verdict.rounds, {verdict.word: 1}, verdict.samples, outcome.rss_bytes, outcome.seconds))

    def merge(self, other: "Row") -> None:
        """Adds another row's sums."""
        self.lives += other.lives
        self.rounds += other.rounds
        self.samples += other.samples
        self.seconds += other.seconds
        self.rss_bytes = max(self.rss_bytes, other.rss_bytes)
        for word, count in other.words.items():
            self.words[word] += count

    def bad(self) -> int:
        """Lives that went wrong."""
        return sum(self.words.get(word, 0) for word in (CRASH, HANG, DIFFERENCE))

    def cells(self) -> list[str]:
        """As they stand in the table."""
        words = [f"{self.words.get(word, 0)}" for word in (CRASH, HANG, DIFFERENCE)]
        return [f"{self.lives:,}", f"{self.rounds:,}", *words, f"{self.samples:,}", f"{self.rss_bytes >> 20} MiB"]


class Table:
    """All rows, by storm and machine."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = defaultdict(Row)

    def summed_by(self, which: int) -> dict[str, Row]:
        """Rows by storm (0) or by machine (1)."""
        sums: dict[str, Row] = defaultdict(Row)
        for key, row in self.rows.items():
            sums[key[which]].merge(row)
        return sums

    def all(self) -> Row:
        """The sum of everything."""
        total = Row()
        for row in self.rows.values():
            total.merge(row)
        return total

    def text(self) -> str:
        """Markdown: by machine, by storm, then everything."""
        machine = {key: row for key, row in self.summed_by(1).items()}
        parts = [lines("machine", sorted(machine.items(), key=machine_order), self.all()),
                 lines("storm", sorted(self.summed_by(0).items()), None),
                 lines("storm, machine", [(", ".join(key), row) for key, row in sorted(self.rows.items())], None)]
        return "\n".join(parts)


def machine_order(item: tuple[str, Row]) -> tuple[int, str]:
    """JDK 8 before 11, native ones last."""
    release = item[0].split(" ")[0]
    return (int(release) if release.isdigit() else 99, item[0])


def lines(title: str, rows: list[tuple[str, Row]], total: Row | None) -> str:
    """One table."""
    every = rows + ([("all", total)] if total else [])
    body = [f"| {name} | {' | '.join(row.cells())} |" for name, row in every]
    return "\n".join([f"| {title} | {' | '.join(HEAD)} |", "|---" * (len(HEAD) + 1) + "|", *body, ""])
