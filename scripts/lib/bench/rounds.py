"""CPU time: all peers of a workload in shuffled rounds, so that what disturbs one disturbs its neighbours, too."""
import random
import time

from bench import measure
from bench.peers import Peer
from bench.ratios import Ratio, ratio
from bench.workloads import Workload
from trial.steps import Trouble, say

#: Rounds of slow peers: their ratios are far from 1.
SLOW_ROUNDS = 1


class Rounds:
    """The costs of all (workload, peer) pairs, one a round; `None` where a run failed."""

    def __init__(self, workloads: list[Workload], peers: list[Peer]) -> None:
        self.pairs = [(workload, peer) for workload in workloads for peer in peers
                      if not workload.skipped and not peer.skipped and (not peer.only or workload.name in peer.only)
                      and peer.name not in workload.without]
        self.peers = peers
        self.costs: dict[str, dict[str, list[float | None]]] = {}
        self.failed: dict[tuple[str, str], str] = {}
        self.done = 0

    def go(self, count: int, until: float) -> None:
        """Up to `count` rounds, none begun after `until` (monotonic seconds)."""
        chance = random.Random(count)
        for number in range(count):
            start = time.monotonic()
            if number > 0 and start > until:
                say(f"      time is over after {number} of {count} rounds")
                break
            self.one_round(number, chance)
            self.done = number + 1
            if number == 0:
                say(f"      one round takes {time.monotonic() - start:.0f} s")

    def one_round(self, number: int, chance: random.Random) -> None:
        """Every pair once. A workload's peers run next to each other, in a new order each time."""
        workloads = list(dict.fromkeys(workload for workload, _ in self.pairs))
        chance.shuffle(workloads)
        for workload in workloads:
            peers = [peer for other, peer in self.pairs if other is workload]
            chance.shuffle(peers)
            for peer in peers:
                if peer.slow and number >= SLOW_ROUNDS or (workload.name, peer.name) in self.failed:
                    continue
                cost = self.cost(workload, peer)
                self.costs.setdefault(workload.name, {}).setdefault(peer.name, []).append(cost)

    def cost(self, workload: Workload, peer: Peer) -> float | None:
        """CPU seconds for the workload's whole count of operations."""
        count = workload.count_for(peer)
        try:
            if workload.client:
                run = measure.run_server(peer, workload.words(peer, count), workload.client_words(count), list(workload.stop))
            else:
                run = measure.run(peer, workload.words(peer, count), dict(workload.variables))
        except Trouble as trouble:
            self.failed[workload.name, peer.name] = str(trouble)
            say(f"      {trouble}")
            return None
        return run.cpu_seconds * workload.count / count

    def ratio(self, workload: Workload, peer: Peer) -> Ratio | None:
        """The peer's costs over the floor's, in the rounds that both have."""
        costs = self.costs.get(workload.name, {})
        floors, own = costs.get(self.peers[0].name, []), costs.get(peer.name, [])
        both = [(cost, floor) for cost, floor in zip(own, floors) if cost is not None and floor is not None]
        return ratio([cost for cost, _ in both], [floor for _, floor in both])
