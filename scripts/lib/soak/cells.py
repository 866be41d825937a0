"""What is run: every storm on every machine, native storms between; in an order that shows each kind early."""
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from soak.builds import HAZARDS, STORMS, Builds
from soak.machines import VARIANTS, Machine

#: All storms of a machine at once.
MIX = "all at once"
#: The native storm of many kinds.
NATIVE_MIX = "mix"

#: The user's own string, in a process that counts as long-lived from its first sample.
USER = "prof:true,lg_prof_interval:30,lg_prof_sample:17,prof_final:true,prof_min_seconds:0"
#: Dumps, mirrors and samples all the time; what varies is how many samples.
RICH = ("prof:true,prof_final:true,prof_accum:true,lg_prof_interval:27,prof_dump_seconds:1,prof_dump_growth:20%,prof_mirror_seconds:1,"
        "prof_min_seconds:0,prof_min_bytes:0,prof_max_overhead:0,prof_max_dumps:6")
#: Every allocation is sampled, and there is room for all of them.
EVERYTHING = f"{RICH},lg_prof_sample:0,prof_region_bytes:1073741824"
OFTEN = f"{RICH},lg_prof_sample:12"
CONFIGURATIONS = (EVERYTHING, EVERYTHING, OFTEN, USER)

#: Percent of the reads that are bad.
FAULTS = ("0.01", "0.1", "1", "10")

#: How a life ends, and its exit status; "kill" is by us.
JAVA_ENDS = {"return": 0, "exit": 3, "halt": 4, "term": 143, "kill": -9}
NATIVE_ENDS = {"return": 0, "exit": 3, "_exit": 4, "quick_exit": 5, "kill": -9}

#: How long the programs of tests/host take at most, and a Java VM to start and to end, on a busy machine and under
#: -Xcomp. A bound for hangs only.
PATIENCE_SECONDS = 150


@dataclass(frozen=True)
class Cell:
    """One process to run: with these options, this configuration, and this end."""
    storm: str
    machine: Machine | None
    command: tuple[str, ...]
    #: Other ways to make code: part of the command.
    variant: tuple[str, ...]
    status: int
    end: str
    configuration: str
    seconds: float
    #: `HEAPTAP_FAULTS` of a build with faults: percent of its reads that are bad, and a seed.
    faults: str = ""

    @property
    def row(self) -> tuple[str, str]:
        """Storm and machine."""
        return self.storm, self.machine.label if self.machine else "native"

    def usual(self) -> "Cell":
        """The same without the variant."""
        return replace(self, command=tuple(word for word in self.command if word not in self.variant), variant=())

    @property
    def deadline(self) -> float:
        """Seconds after which it hangs."""
        return 10 * self.seconds + PATIENCE_SECONDS


class Order:
    """All cells, for ever: each pass in another order, with other options, configurations and ends."""

    def __init__(self, builds: Builds, machines: list[Machine], seconds: float, seed: int, only: list[str],
                 faults: bool) -> None:
        self.builds = builds
        self.machines = machines
        self.seconds = seconds
        self.chance = random.Random(seed)
        self.only = only
        self.faults = faults

    def __iter__(self) -> Iterator[Cell]:
        for number in itertools.count():
            yield from self.one_pass(number)

    def one_pass(self, number: int) -> Iterator[Cell]:
        """All at once on one machine of each release and the native mix first, then everything."""
        first = {machine.release: machine for machine in self.chance.sample(self.machines, len(self.machines))}
        opening = [(MIX, machine) for machine in first.values()] + [(NATIVE_MIX, None)]
        rest = [(storm, machine) for machine in self.machines for storm in self.storms_of(machine)]
        rest += [(name, None) for name in HAZARDS] + [(NATIVE_MIX, None)] * 8
        self.chance.shuffle(rest)
        every = (opening if number == 0 else []) + rest
        return (self.cell(storm, machine) for storm, machine in every if not self.only or storm in self.only)

    def storms_of(self, machine: Machine) -> list[str]:
        """Those that it can run; all at once is the most like a server, and comes more often."""
        return [*able(machine), MIX, MIX, MIX]

    def cell(self, storm: str, machine: Machine | None) -> Cell:
        configuration, variant = self.chance.choice(CONFIGURATIONS), ()
        if storm in HAZARDS:
            command, end, status = (str(self.builds.program(storm)),), "return", 0
        elif machine is None:
            end, status = self.chance.choice(list(NATIVE_ENDS.items()))
            command = (str(self.builds.program(storm)), str(self.seconds), end)
        else:
            end, status = self.chance.choice(list(JAVA_ENDS.items()))
            variant = self.variant(machine)
            command = self.java(storm, machine, end, variant)
        faults = f"{self.chance.choice(FAULTS)}:{self.chance.randrange(1 << 30)}" if self.faults else ""
        return Cell(storm, machine, command, variant, status, end, configuration, self.seconds, faults)

    def java(self, storm: str, machine: Machine, end: str, variant: tuple[str, ...]) -> tuple[str, ...]:
        """The command line of a Java VM."""
        options = [*machine.options(), *variant, "-Xmx192m", "-XX:MaxDirectMemorySize=512m",
                   f"-Djava.library.path={self.builds.folder / 'native'}", "-XX:ErrorFile=hs_err.log",
                   "-cp", self.builds.class_path(machine.release)]
        if machine.release >= 9:
            options.append("-XX:-CreateCoredumpOnCrash")
        if machine.release >= 17:
            options.append("--enable-native-access=ALL-UNNAMED")
        storms = able(machine) if storm == MIX else [storm]
        return (str(machine.java), *options, "Soak", str(self.seconds), "exit" if end == "kill" else end, *storms)

    def variant(self, machine: Machine) -> tuple[str, ...]:
        """Other ways to make code, if the machine has them."""
        chosen = self.chance.choice(VARIANTS)
        return chosen if not chosen or machine.accepts(chosen) else ()


def able(machine: Machine) -> list[str]:
    """The storms whose subject this release has."""
    return [storm for storm, first in STORMS.items() if machine.release >= first]
