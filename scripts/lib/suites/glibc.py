"""glibc's own tests. No package has them built, and few of those in Debian's glibc-source can be built without all of glibc."""
from pathlib import Path

from trial.steps import Trouble


class Glibc:
    """The suite of the C library: said aloud, not run."""
    name = "glibc"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Says why there is nothing to run."""
        raise Trouble("no package has them built; of 87 in glibc-source that concern malloc, fork, cancellation and timers, 2 build alone")

    def cases(self) -> list[str]:
        """None."""
        return []

    def run(self, case: str, environment: dict[str, str]) -> dict[str, str]:
        """Nothing."""
        return {}
