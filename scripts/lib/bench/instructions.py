"""Instructions of one operation, exactly: two runs of different length under callgrind, subtracted."""
from dataclasses import dataclass

from bench import measure
from bench.peers import Peer, with_conf
from bench.workloads import Workload
from trial.steps import Trouble, say

#: Peers whose fast path is compared. Those that sample are left out: their sampled calls would be in the figure.
FAST_PATHS = ("jemalloc", "heaptap off", "heaptap keep", "jeprof off", "glibc", "tcmalloc")

#: Valgrind has no room for the reserved range below all other memory, so that every `free` would look at the range
#: twice, which it does nowhere else. Without a range the instructions of the fast path are the same.
IN_CALLGRIND = {"heaptap off": "prof:false", "heaptap keep": "prof:false,prof_allocator:keep"}


@dataclass(frozen=True)
class Count:
    """Instructions per operation of one workload under one peer."""
    workload: str
    peer: str
    per_operation: float


def count(workloads: list[Workload], peers: list[Peer]) -> list[Count]:
    """All exact workloads under all peers that can be compared."""
    counts = []
    for workload in workloads:
        for peer in peers:
            if workload.instructions and peer.name in FAST_PATHS and not peer.skipped:
                try:
                    counts.append(Count(workload.name, peer.name, per_operation(workload, peer, workload.instructions)))
                except Trouble as trouble:
                    say(f"      {workload.name} under {peer.name}: {trouble}")
    return counts


def per_operation(workload: Workload, peer: Peer, lengths: tuple[int, int]) -> float:
    """What starting and ending cost is in both runs, and goes out."""
    short, long = lengths
    if peer.name in IN_CALLGRIND:
        peer = with_conf(peer, IN_CALLGRIND[peer.name])
    few = measure.instructions(peer, workload.words(peer, short))
    many = measure.instructions(peer, workload.words(peer, long))
    return (many - few) / (long - short)
