"""Elasticsearch under the same bulk load, again and again: processor time of the server, and its peak memory."""
import os
import random
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure
from bench.peers import Peer
from bench.ratios import ratio
from trial import agent, folders, jdks, load
from trial.products import QUICKSTART_SERVER
from trial.run import CONF, Run
from trial.steps import Trouble, say

DOCUMENTS = 60_000
#: The user's own string for those that profile; the floor has none.
SETTINGS = {"jemalloc": "", "heaptap 17": CONF, "jeprof 17": CONF}
#: The trial's agent is there, as in the quickstart, and leaks nothing.
PLAN = agent.Plan(seconds=1, invoices=0, searches=0)


@dataclass(frozen=True)
class Cost:
    """Of one run."""
    cpu_seconds: float
    peak_mib: float
    documents_per_second: float


class BulkRun(Run):
    """A run under one peer's settings."""
    conf = ""

    def environment(self, options: str) -> dict[str, str]:
        return super().environment(options) | {"MALLOC_CONF": self.conf}


def measure_all(peers: list[Peer], rounds: int, out: Path) -> list[Figure]:
    """All peers in shuffled rounds; ratios to the floor, round by round."""
    jdk = jdks.find(QUICKSTART_SERVER.java)
    if jdk is None:
        raise Trouble(f"{QUICKSTART_SERVER.label} needs a JDK {QUICKSTART_SERVER.java}: run scripts/setup java")
    chosen = [peer for peer in peers if peer.name in SETTINGS and not peer.skipped]
    costs: dict[str, list[Cost]] = {peer.name: [] for peer in chosen}
    chance = random.Random(rounds)
    for number in range(rounds):
        order = chance.sample(chosen, len(chosen))
        one_round = {peer.name: measure(peer, jdk, out) for peer in order}
        for name, cost in one_round.items():
            costs[name].append(cost)
        say("      " + ", ".join(f"{name}: {one_round[name].cpu_seconds:.1f} s" for name in costs) + f" (round {number + 1})")
    return figures(costs)


def measure(peer: Peer, jdk: Path, out: Path) -> Cost:
    """One server: started, loaded, stopped, removed."""
    run = BulkRun(QUICKSTART_SERVER, jdk, peer.library, folders.fresh(enterable(out), "bench-server"), PLAN, DOCUMENTS)
    run.conf = SETTINGS[peer.name]
    try:
        run.install()
        run.start()
        before, start = cpu_seconds(run.server_pid), time.monotonic()
        served = load.apply(run.ports.http, DOCUMENTS)
        seconds = time.monotonic() - start
        if served.errors:
            raise Trouble(f"{QUICKSTART_SERVER.label} under {peer.name}: {served.errors[0]}")
        cost = Cost(cpu_seconds(run.server_pid) - before, peak_mib(run.server_pid), served.documents / seconds)
        run.stop()
    finally:
        run.close()
    shutil.rmtree(run.folder)
    return cost


def enterable(out: Path) -> Path | None:
    """A folder below `out`, where the server's user can get to it."""
    return out / "server" if folders.can_enter(out) else None


def figures(costs: dict[str, list[Cost]]) -> list[Figure]:
    """Lines of the table."""
    floors = costs["jemalloc"]
    lines = []
    for name, own in costs.items():
        seconds = [cost.cpu_seconds for cost in own]
        label = f"Elasticsearch 7.17 bulk, CPU time of the server over jemalloc's, {len(own)} rounds"
        if name == "jemalloc":
            spread = f"{min(seconds):.1f}-{max(seconds):.1f} s"
            lines.append(Figure(label, name, f"1 ({spread})", seconds))
        elif found := ratio(seconds, [cost.cpu_seconds for cost in floors]):
            lines.append(Figure(label, name, found.text(), seconds))
        more = sorted(cost.peak_mib - floor.peak_mib for cost, floor in zip(own, floors, strict=True))
        value = f"{floors[0].peak_mib:.0f}" if name == "jemalloc" else f"{more[len(more) // 2]:+.0f}"
        lines.append(Figure("the same, peak resident set, MiB (others: over jemalloc's, median)", name, value,
                            [cost.peak_mib for cost in own]))
    return lines


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    """Highest resident set of a process so far."""
    found = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0
