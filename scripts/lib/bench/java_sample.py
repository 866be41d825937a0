"""One sample below fifty Java frames, names included, beside AsyncGetCallTrace and async-profiler at the same point."""
import statistics
from pathlib import Path

from bench import measure
from bench.figures import Figure
from bench.peers import QUIET, Peer, with_conf
from bench.workloads import CFLAGS, SOURCES
from trial import commands, jdks
from trial.steps import Trouble, say

RELEASES = (8, 11, 17, 21, 25)
#: Rounds of 64 stacks: until everything is compiled, and those that count.
WARM, ROUNDS = 3000, 3000
FLAGS = ("-XX:+UseSerialGC", "-Xms128m", "-Xmx128m")
#: async-profiler, sampling every allocation.
EVERY = "start,nativemem=1,collapsed,file=/dev/null"


def measure_all(folder: Path, peers: dict[str, Peer], repeat: int) -> list[Figure]:
    """One line for each JDK that is there; the runs of the three take turns, and the medians of their percentiles stand."""
    lines = []
    for jdk in filter(None, map(jdks.find, RELEASES)):
        try:
            lines += of_jdk(jdk, build(jdk, folder), peers, repeat)
        except Trouble as trouble:
            say(f"      Java sample on {jdk}: {trouble}")
    return lines


def build(jdk: Path, folder: Path) -> Path:
    """The program and its library, for this JDK."""
    home = folder / f"deep-java-{jdks.major_version(jdk)}"
    home.mkdir(exist_ok=True)
    commands.run([jdk / "bin" / "javac", "-nowarn", "-d", home, SOURCES / "DeepJava.java"])
    include = ["-I", jdk / "include", "-I", jdk / "include" / "linux"]
    commands.run(["gcc", *CFLAGS, "-fPIC", "-shared", *include, SOURCES / "deepjava.c", "-o", home / "libdeepjava.so"])
    return home


def of_jdk(jdk: Path, home: Path, peers: dict[str, Peer], repeat: int) -> list[Figure]:
    """The lines of one JDK."""
    def command(mode: str, *options: str) -> list[str]:
        return [str(jdk / "bin" / "java"), *options, *FLAGS, f"-Djava.library.path={home}", "-cp", str(home), "DeepJava",
                str(WARM), str(ROUNDS), mode]
    floor, other = peers["jemalloc"], peers["async-profiler 17"]
    ways = {"heaptap 17": (with_conf(peers["heaptap 17"], f"{QUIET},lg_prof_sample:0"), command("malloc")),
            "AsyncGetCallTrace": (floor, command("agct", f"-agentpath:{home / 'libdeepjava.so'}"))}
    if not other.skipped:
        library = other.java_options[0].partition("=")[0]
        ways[other.name] = (floor, command("malloc", f"{library}={EVERY}"))
    found: dict[str, list[list[int]]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, (peer, words) in ways.items():
            # Agents may say on stdout that they have started.
            found[name].append([int(word) for word in measure.run(peer, words).output.splitlines()[-1].split()])
    label = f"one sample below 50 Java frames, JDK {jdks.major_version(jdk)}, and its free: p50 / p99, ns"
    lines = []
    for name, raw in found.items():
        p50, p99 = (statistics.median(column) for column in list(zip(*raw))[:2])
        lines.append(Figure(label, name, f"{p50:.0f} / {p99:.0f}", [value for row in raw for value in row]))
        say(f"      {label}, {name}: {lines[-1].value}")
    return lines
