"""What a process's start costs: wall time of a program that does nothing, from its spawn to its end, over the floor's."""
import os
import statistics
import time

from bench.figures import Figure
from bench.peers import Peer, with_conf
from trial import jdks
from trial.run import CONF
from trial.steps import say

#: Starts of a program under each peer, one after the other, so that what disturbs one disturbs its neighbour, too.
NOTHING, MACHINE = 300, 15


def measure_all(peers: dict[str, Peer], java: int) -> list[Figure]:
    """A C program and a Java VM, as users run them; a table line for each."""
    jdk = jdks.find(java)
    programs = [("start and end of `true`, over jemalloc, us", ["/bin/true"], NOTHING)]
    if jdk:
        programs.append(("`java -version`, over jemalloc, us", [str(jdk / "bin" / "java"), "-version"], MACHINE))
    ours = {"heaptap off": with_conf(peers["heaptap off"], f"{CONF},prof_active:false"), "heaptap 17": with_conf(peers["heaptap 17"], CONF)}
    jeprof = peers.get("jeprof 17")
    if jeprof and not jeprof.skipped:
        ours["jeprof 17"] = with_conf(jeprof, CONF.replace("prof_final:true", "prof_final:false"))
    return [line for name, command, count in programs for line in lines(name, command, count, peers["jemalloc"], ours)]


def lines(name: str, command: list[str], count: int, floor: Peer, peers: dict[str, Peer]) -> list[Figure]:
    """The median difference of each peer to the floor, of the same round."""
    differences: dict[str, list[float]] = {peer: [] for peer in peers}
    for _ in range(count):
        base = seconds(floor, command)
        for label, peer in peers.items():
            differences[label].append((seconds(peer, command) - base) * 1e6)
    found = [Figure(name, label, f"{statistics.median(raw):+.0f}", raw) for label, raw in differences.items()]
    for figure in found:
        say(f"      {name}, {figure.peer}: {figure.value}")
    return found


def seconds(peer: Peer, command: list[str]) -> float:
    """One run, its streams closed to the terminal."""
    quiet = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in (1, 2)]
    start = time.perf_counter()
    process = os.posix_spawn(command[0], command, peer.environment(), file_actions=quiet)
    os.waitpid(process, 0)
    return time.perf_counter() - start
