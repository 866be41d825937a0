"""Progress on the terminal: numbered steps, the seconds each took, and trouble as one clear sentence."""
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Trouble(Exception):
    """Something is off; the message says what, and what to do about it."""


class Steps:
    """Numbers the steps of a script and times them."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.number = 0
        self.start = time.monotonic()

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """Prints the title before and the seconds after; what is appended to the list is printed last."""
        self.number += 1
        say(f"\n[{self.number}/{self.total}] {title}")
        notes: list[str] = []
        start = time.monotonic()
        yield notes
        for note in notes:
            say(f"      {note}")
        say(f"      {time.monotonic() - start:.1f} s")

    def seconds(self) -> float:
        """Since the first step."""
        return time.monotonic() - self.start


def say(text: str) -> None:
    """One line for the person who waits, at once."""
    print(text, flush=True)


def complain(trouble: Trouble) -> int:
    """Prints what is off; returns the exit status for it."""
    print(f"\ntrouble: {trouble}", file=sys.stderr, flush=True)
    return 2


def end_well_when_asked() -> None:
    """Turns SIGTERM and SIGHUP into an ordinary exit, so that `finally` ends what we started."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(128 + signal.SIGTERM))
