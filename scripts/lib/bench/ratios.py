"""Ratios of one peer to the floor, round by round, and how sure one can be of their median."""
import math
import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """The median of the rounds' ratios, and the interval that holds the true median in 95 of 100 cases."""
    median: float
    low: float
    high: float
    rounds: int

    def text(self) -> str:
        """Such as `1.02 (1.01-1.04)`."""
        digits = 2 if self.median < 10 else 1
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


def ratio(costs: list[float], floors: list[float]) -> Ratio | None:
    """Of costs in rounds to the floor's in the same rounds."""
    each = sorted(cost / floor for cost, floor in zip(costs, floors, strict=True) if floor > 0)
    if not each:
        return None
    outside = outside_ranks(len(each))
    return Ratio(statistics.median(each), each[outside], each[-1 - outside], len(each))


def outside_ranks(count: int) -> int:
    """How many of the smallest and of the largest values lie outside a 95 % interval of the median.

    The number of values below the true median is binomial with p = 1/2. With five values or fewer even the whole
    range holds it less often than that; then the interval is the range.
    """
    below = 0.0
    for rank in range(count // 2):
        below += math.comb(count, rank) / 2 ** count
        if below > 0.025:
            return rank - 1 if rank else 0
    return max(0, (count - 1) // 2)
