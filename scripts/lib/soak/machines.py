"""The Java VMs of a soak: each JDK that is here or can be unpacked, with each collector that it has."""
import subprocess
from dataclasses import dataclass
from pathlib import Path

from trial import commands, debian_jdks, jdks
from trial.steps import Trouble

RELEASES = (8, 11, 17, 21, 25)

EXPERIMENTAL = "-XX:+UnlockExperimentalVMOptions"
COLLECTORS = {
    "serial": ("-XX:+UseSerialGC",),
    "parallel": ("-XX:+UseParallelGC",),
    "g1": ("-XX:+UseG1GC",),
    "zgc": (EXPERIMENTAL, "-XX:+UseZGC"),
    "zgc-gen": (EXPERIMENTAL, "-XX:+UseZGC", "-XX:+ZGenerational"),
    "shenandoah": (EXPERIMENTAL, "-XX:+UseShenandoahGC"),
}

#: How code is made: what walks over frames meets others under each.
VARIANTS = (
    (), (), (),
    ("-XX:ReservedCodeCacheSize=10m",),
    ("-Xint",),
    ("-XX:TieredStopAtLevel=1",),
    ("-XX:-TieredCompilation",),
    ("-XX:+PreserveFramePointer",),
    ("-XX:-UseCompressedOops",),
    ("-Xcomp",),
    ("-XX:+UseCompactObjectHeaders",),
)


@dataclass(frozen=True)
class Machine:
    """A JDK with one of its collectors."""
    release: int
    home: Path
    collector: str

    @property
    def java(self) -> Path:
        """The program."""
        return self.home / "bin" / "java"

    @property
    def label(self) -> str:
        """As it stands in the table."""
        return f"{self.release} {self.collector}"

    def options(self) -> list[str]:
        """For this collector."""
        return list(COLLECTORS[self.collector])

    def has_collector(self) -> bool:
        """Whether the collector is built in; ZGC has a choice of generations in JDK 21 only."""
        return (self.collector != "zgc-gen" or self.release == 21) and self.starts(()).returncode == 0

    def accepts(self, options: tuple[str, ...]) -> bool:
        """Whether it starts with these options; what is merely ignored counts as not accepted."""
        done = self.starts(options)
        return done.returncode == 0 and "warning" not in done.stderr.lower()

    def starts(self, options: tuple[str, ...]) -> subprocess.CompletedProcess:
        """Prints its version."""
        return subprocess.run([self.java, *self.options(), *options, "-version"], env=commands.clean_environment(),
                              check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")


def find(releases: tuple[int, ...]) -> tuple[list[Machine], list[str]]:
    """All machines of these releases, and what could not be had."""
    machines, missing = [], []
    for release in releases:
        try:
            home = jdks.find(release) or debian_jdks.fetch(release)
        except (Trouble, StopIteration, OSError) as trouble:
            missing.append(f"JDK {release}: {(str(trouble).splitlines() or ['not there'])[0]}")
            continue
        every = [Machine(release, home, collector) for collector in COLLECTORS]
        machines += [machine for machine in every if machine.has_collector()]
    return machines, missing
