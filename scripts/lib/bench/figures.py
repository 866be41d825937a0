"""Figures with a unit of their own: one sample's cost, the resident set of small leaks, the stall of a dump, scaling."""
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import measure
from bench.peers import QUIET, Peer, with_conf
from trial.steps import Trouble, say

#: Frames above `main` in the figure of one sample.
DEPTH = 30
SAMPLED_PAIRS = 300_000
PLAIN_PAIRS = 25_000_000
LEAK_MEBIBYTES = 400
LIVE_PAIRS = 200_000
#: What is done with one large block, and the arguments of `regrow`.
RESIZES = {
    "8 to 64 MiB in steps of 16 KiB": ("steps", "8", "64", "16"),
    "64 to 192 MiB in steps of 64 KiB": ("steps", "64", "192", "64"),
    "1 to 512 MiB, a quarter more each time": ("geometric", "1", "512"),
    "64 MiB to the same size": ("same", "64", "20000"),
    "1 MiB to the same size": ("same", "1", "20000"),
}
#: One after the other in each round; the ratio is of one round, so what disturbs one disturbs its neighbour, too.
RESIZE_ROUNDS = 5
STALL_STACKS = 100_000
STALL_SECONDS = 4
#: Room for a million samples, or for 100,000 stacks.
LARGE_REGION = "prof_region_bytes:536870912"


@dataclass(frozen=True)
class Figure:
    """One line of the table of figures."""
    name: str
    peer: str
    value: str
    #: All measured values, for the raw data.
    raw: list[float]


class Figures:
    """Measures them, each several times, and keeps the lines."""

    def __init__(self, programs: Path, peers: list[Peer], repeat: int) -> None:
        self.programs = programs
        self.peers = {peer.name: peer for peer in peers}
        self.repeat = repeat
        self.lines: list[Figure] = []

    def sample_cost(self) -> None:
        """Every pair sampled (lg_prof_sample:0), over the same pairs unsampled."""
        deep = str(self.programs / "deep")
        for name in ("heaptap 17", "jeprof 17", "jeprof-lu 17"):
            def nanoseconds(peer: Peer) -> float:
                plain = measure.run(self.peers["jemalloc"], [deep, str(PLAIN_PAIRS), str(DEPTH)]).cpu_seconds / PLAIN_PAIRS
                every = with_conf(peer, f"{base(peer)},lg_prof_sample:0")
                long = measure.run(every, [deep, str(3 * SAMPLED_PAIRS), str(DEPTH)]).cpu_seconds
                short = measure.run(every, [deep, str(SAMPLED_PAIRS), str(DEPTH)]).cpu_seconds
                return ((long - short) / (2 * SAMPLED_PAIRS) - plain) * 1e9
            self.add(f"one hot sample of {DEPTH} frames, ns", name, nanoseconds, "{:.0f}")

    def sample_instructions(self) -> None:
        """The same, in instructions."""
        deep = str(self.programs / "deep")
        for name in ("heaptap 17", "jeprof 17", "jeprof-lu 17"):
            def count(peer: Peer) -> float:
                every = with_conf(peer, f"{base(peer)},lg_prof_sample:0")
                long = measure.instructions(every, [deep, "6000", str(DEPTH)])
                return (long - measure.instructions(every, [deep, "2000", str(DEPTH)])) / 4000
            self.add(f"one hot sample of {DEPTH} frames, instructions (pair included)", name, count, "{:.0f}", repeat=1)

    def mapping_instructions(self) -> None:
        """mmap and munmap: what the kernel does is not counted."""
        words = str(self.programs / "map_pair")
        for size in (4096, 65536):
            for name, conf in (("glibc", ""), ("heaptap off", "prof:false"), ("heaptap 17", f"{QUIET},lg_prof_sample:17")):
                def count(peer: Peer) -> float:
                    peer = with_conf(peer, conf) if conf else peer
                    few, many = (measure.instructions(peer, [words, pairs, str(size)]) for pairs in ("2000", "12000"))
                    return (many - few) / 10000
                self.add(f"mmap + munmap of {size >> 10} KiB, instructions", name, count, "{:.0f}", repeat=1)

    def leak(self) -> None:
        """Resident set of small blocks that stay, over the floor's."""
        words = [str(self.programs / "leak"), str(LEAK_MEBIBYTES)]
        for name in ("heaptap off", "heaptap 19", "heaptap 17", "jeprof off", "jeprof 19", "jeprof 17"):
            def tax(peer: Peer) -> float:
                floor = float(measure.run(self.peers["jemalloc"], words).output)
                return (float(measure.run(peer, words).output) / floor - 1) * 100
            self.add(f"resident set of {LEAK_MEBIBYTES} MiB of small blocks, over jemalloc, %", name, tax, "{:+.2f}")

    def live_samples(self) -> None:
        """A sampled pair while 10^4 and 10^6 other samples are alive."""
        live = str(self.programs / "live")
        def growth(peer: Peer) -> float:
            every = with_conf(peer, f"{QUIET},lg_prof_sample:0,{LARGE_REGION}")
            few, many = (float(measure.run(every, [live, str(LIVE_PAIRS), alive]).output) for alive in ("10000", "1000000"))
            return many / few
        self.add("cost of a sample, 10^6 alive over 10^4 alive", "heaptap 17", growth, "{:.2f}")

    def threads(self) -> None:
        """A sampled pair in 8 threads over one; CPU time, so the number of cores does not matter."""
        live = str(self.programs / "live")
        for name in ("heaptap 17", "jeprof-lu 17"):
            def growth(peer: Peer) -> float:
                every = with_conf(peer, f"{base(peer)},lg_prof_sample:0")
                one, eight = (float(measure.run(every, [live, str(LIVE_PAIRS), "1000", n]).output) for n in ("1", "8"))
                return eight / one
            self.add("cost of a sample, 8 threads over 1 (CPU time)", name, growth, "{:.2f}")

    def processes(self) -> None:
        """The same in two processes at once over one alone. They share no word: what is more than 1 are the machine's
        processors, which may be two halves of one core, and is in the figure of eight threads, too."""
        words = [str(self.programs / "live"), str(LIVE_PAIRS), "1000", "1"]
        def growth(peer: Peer) -> float:
            every = with_conf(peer, f"{base(peer)},lg_prof_sample:0")
            alone = float(measure.run(every, words).output)
            with ThreadPoolExecutor(2) as both:
                at_once = [float(run.output) for run in both.map(lambda _: measure.run(every, words), range(2))]
            return statistics.mean(at_once) / alone
        self.add("cost of a sample, 2 processes at once over 1 (CPU time)", "heaptap 17", growth, "{:.2f}")

    def resizes(self) -> None:
        """A call of realloc on a large block, over the same call under jemalloc's own profiler at the same rate."""
        ours, peer = self.peers["heaptap 17"], self.peers["jeprof 17"]
        if ours.skipped or peer.skipped:
            say(f"      resizes: skipped: {ours.skipped or peer.skipped}")
            return
        for what, words in RESIZES.items():
            name = f"realloc, {what}, ns"
            try:
                rounds = [[float(measure.run(each, [str(self.programs / "regrow"), *words]).output) for each in (ours, peer)]
                          for _ in range(RESIZE_ROUNDS)]
            except (Trouble, ValueError) as trouble:
                say(f"      {name}: {trouble}")
                continue
            for number, each in enumerate((ours, peer)):
                raw = [values[number] for values in rounds]
                self.lines.append(Figure(name, each.name, f"{statistics.median(raw):.0f}", raw))
            ratios = [mine / theirs for mine, theirs in rounds]
            self.lines.append(Figure(f"realloc, {what}, over jeprof 17", ours.name, f"{statistics.median(ratios):.2f}", ratios))
            say(f"      {name}: {self.lines[-3].value} / {self.lines[-2].value}, ratio {self.lines[-1].value}")

    def stall(self) -> None:
        """What a dump of many stacks does to threads that allocate meanwhile."""
        for name in ("heaptap 17", "jeprof 17"):
            conf = f"{base(self.peers[name])},lg_prof_sample:17"
            if name.startswith("heaptap"):
                conf += f",{LARGE_REGION},prof_min_seconds:0"
            # Building the stacks allocates far more than any interval: what is left of it is used up by the extra bytes.
            for label, interval in (("no dump", ""), ("during a dump", ",lg_prof_interval:37")):
                self.stall_of(name, label, conf + interval, 1 << 37 if interval else 0)

    def stall_of(self, name: str, label: str, conf: str, extra: int) -> None:
        """One line: the 99.9th percentile and the longest call."""
        peer = self.peers[name]
        if peer.skipped:
            return
        words = [str(self.programs / "stall"), str(STALL_STACKS), str(STALL_SECONDS), str(extra)]
        raw: list[list[float]] = []
        try:
            for _ in range(self.repeat):
                run = measure.run(with_conf(peer, conf), words)
                if extra and not any(".i0.heap" in name for name in run.files):
                    raise Trouble(f"there was no dump: {run.errors[-300:] or 'nothing on stderr'}")
                raw.append([float(word) for word in run.output.split()[-3:]])
        except (Trouble, ValueError) as trouble:
            say(f"      stall under {name}: {trouble}")
            return
        p50, p999, longest = (statistics.median(column) for column in zip(*raw))
        value = f"{p50:.0f} / {p999:.0f} / {longest / 1e6:.1f} ms"
        self.lines.append(Figure(f"malloc, {label} of {STALL_STACKS:,} stacks: p50 / p99.9 ns / longest", name, value,
                                 [value for row in raw for value in row]))

    def add(self, name: str, peer_name: str, measured: Callable[[Peer], float], form: str, repeat: int = 0) -> None:
        """Measures one line."""
        peer = self.peers[peer_name]
        if peer.skipped:
            self.lines.append(Figure(name, peer_name, f"skipped: {peer.skipped}", []))
            return
        try:
            raw = [measured(peer) for _ in range(repeat or self.repeat)]
        except (Trouble, ValueError) as trouble:
            say(f"      {name}, {peer_name}: {trouble}")
            return
        self.lines.append(Figure(name, peer_name, form.format(statistics.median(raw)), raw))
        say(f"      {name}, {peer_name}: {self.lines[-1].value}")


def base(peer: Peer) -> str:
    """What both heaptap and jemalloc need to profile, without final dumps."""
    return QUIET if peer.name.startswith("heaptap") else "prof:true"
