"""What is run: the programs of examples/bench, built into a folder, with how much of it."""
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.peers import Peer
from trial import commands, folders, jdks
from trial.steps import Trouble

SOURCES = folders.REPOSITORY / "examples" / "bench"
C_PROGRAMS = ("pair", "working_set", "zeroed", "grow", "regrow", "exchange", "deep", "leak", "live", "stall", "map_pair", "many")
#: No frame pointers: unwinders must know the tables, as in a distribution's libraries.
CFLAGS = ("-O2", "-g", "-Wall", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-pthread")
#: Slow peers get this part of the work.
SLOW_PART = 20
JAVA = 17


@dataclass(frozen=True)
class Workload:
    """One row of the table: a command with a number of operations, fixed for good."""
    name: str
    about: str
    #: Words of the command; `{count}` is the number of operations, `{java_options}` the peer's.
    command: tuple[str, ...]
    count: int
    variables: tuple[tuple[str, str], ...] = ()
    skipped: str = ""
    #: Operations of the two runs whose instructions are subtracted, or none.
    instructions: tuple[int, int] | None = None
    #: For a server: what puts the load on it, and what then stops it. Both run without the peer.
    client: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    #: Peers that do not come into effect here.
    without: tuple[str, ...] = ()

    def words(self, peer: Peer, count: int) -> list[str]:
        """The command line under this peer."""
        words: list[str] = []
        for word in self.command:
            words += peer.java_options if word == "{java_options}" else [word.replace("{count}", str(count))]
        return words

    def client_words(self, count: int) -> list[str]:
        """The command line of the load."""
        return [word.replace("{count}", str(count)) for word in self.client]

    def count_for(self, peer: Peer) -> int:
        """Operations of a timed run under this peer."""
        return self.count // SLOW_PART if peer.slow else self.count


def build(folder: Path) -> None:
    """Compiles the C programs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in C_PROGRAMS:
        commands.run(["gcc", *CFLAGS, SOURCES / f"{name}.c", "-o", folder / name])


def all_workloads(folder: Path) -> list[Workload]:
    """All rows, in the order of the table."""
    def c(name: str, about: str, count: int, *words: str, program: str = "", exact: bool = False) -> Workload:
        command = (str(folder / (program or name)), "{count}", *words)
        return Workload(name, about, command, count, instructions=(20_000, 120_000) if exact else None)
    return [
        c("pair", "malloc + free, 16-512 B", 25_000_000, exact=True),
        c("working set", "10,000 blocks, 526 B mean", 6_000_000, program="working_set", exact=True),
        c("calloc", "calloc + free, 16-512 B", 8_000_000, program="zeroed", exact=True),
        c("realloc", "one block, 64-1,087 B", 12_000_000, program="grow", exact=True),
        c("deep", "pair under 30 frames", 25_000_000, "30", exact=True),
        c("exchange", "one thread allocates, one frees", 3_000_000),
        c("two threads", "working set in each", 3_000_000, "2", program="working_set"),
        java(folder),
        Workload("python", "json, PYTHONMALLOC=malloc", (sys.executable, "-S", str(SOURCES / "churn.py"), "{count}"), 110,
                 (("PYTHONMALLOC", "malloc"),)),
        redis(),
    ]


def redis() -> Workload:
    """Debian's server brings a jemalloc of its own, so without a preload it would not be glibc's malloc."""
    about = "pipelined mix, CPU time of the server"
    if not shutil.which("redis-server") or not shutil.which("redis-benchmark"):
        return Workload("redis", about, (), 0, skipped="redis-server is not installed")
    server = ("redis-server", "--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no")
    client = ("redis-benchmark", "-s", "redis.sock", "-n", "{count}", "-P", "32", "-r", "100000", "-d", "100", "-q",
              "-t", "set,get,incr,lpush,rpop,sadd,hset,zadd")
    return Workload("redis", about, server, 60_000, client=client,
                    stop=("redis-cli", "-s", "redis.sock", "shutdown", "nosave"), without=("glibc",))


def java(folder: Path) -> Workload:
    """The JVM; skipped where there is none."""
    about = "inflate, deflate, direct, Unsafe"
    try:
        jdk = jdks.find(JAVA)
        if jdk is None:
            raise Trouble(f"no JDK {JAVA}")
        classes = folder / "classes"
        classes.mkdir(exist_ok=True)
        commands.run([jdk / "bin" / "javac", "-nowarn", "-d", classes, SOURCES / "Churn.java"])
    except Trouble as trouble:
        return Workload("java", about, (), 0, skipped=str(trouble).splitlines()[0])
    flags = ("-Xmx256m", "-Xms256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
    command = (str(jdk / "bin" / "java"), "{java_options}", *flags, "-cp", str(classes), "Churn", "{count}")
    return Workload("java", about, command, 3000)
