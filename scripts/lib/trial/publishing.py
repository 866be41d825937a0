"""The leak of 2017, live: Elasticsearch 5.1.1 on JDK 8, two nodes, and nobody but Elasticsearch leaks.

Each cluster state that one node publishes costs the other an Inflater that is never closed (fixed by elastic/elasticsearch pull
request 22711). The receiver is the node that is not the master. Inflaters have finalizers: a young generation
large enough for the whole trial keeps collections from cleaning up what the program forgot.
"""
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from trial import agent, checks, dumps, folders, jdks, jeprof, load, maven
from trial.products import Ports, Product, unpack
from trial.run import READY_SECONDS, Run, free_ports

COORDINATES = "org.elasticsearch.distribution.zip:elasticsearch:5.1.1:zip"
LABEL = "Elasticsearch 5.1.1, two nodes"
JAVA = 8
HEAP = "-Xms1g -Xmx1g -Xmn700m"
UPDATES = 1000
#: States that are published beside the updates: joining, the index, its shards.
OTHER_STATES = 60
#: What a user would look for on the receiver.
RECEIVE = r"org\.elasticsearch\.discovery\.zen\.PublishClusterStateAction\.handleIncomingClusterStateRequest"

#: Elasticsearch 5 cannot read /proc/self/cgroup where cgroup v1 and v2 are both mounted: it must not find either.
WITHOUT_CGROUPS = 'mount -t tmpfs none /sys/fs/cgroup && exec setpriv --reuid {user} --regid {user} --clear-groups "$@"'


@dataclass(frozen=True)
class OldNode(Product):
    """One of the two nodes."""
    name: str
    #: Transport ports of both.
    peers: tuple[int, ...]
    label: str = LABEL
    java: int = JAVA

    def install(self, folder: Path, jdk: Path, ports: Ports) -> None:
        unpack(maven.fetch(COORDINATES), folder)
        hosts = ", ".join(f'"127.0.0.1:{port}"' for port in self.peers)
        (folder / "config" / "elasticsearch.yml").write_text("\n".join([
            "cluster.name: heaptap-trial",
            f"node.name: {self.name}",
            "network.host: 127.0.0.1",
            f"http.port: {ports.http}",
            f"transport.tcp.port: {ports.transport}",
            f"discovery.zen.ping.unicast.hosts: [{hosts}]",
            f"discovery.zen.minimum_master_nodes: {len(self.peers)}",
            "cluster.routing.allocation.disk.threshold_enabled: false",
            "",
        ]))

    def command(self, folder: Path, jdk: Path, ports: Ports, pid_file: Path, options: str) -> list[str]:
        start = ["bin/elasticsearch", "-p", str(pid_file)]
        user = folders.user_of_servers()
        if user is None:
            return start
        return ["unshare", "--mount", "sh", "-c", WITHOUT_CGROUPS.format(user=user), "sh", *start]

    def environment(self, jdk: Path, options: str) -> dict[str, str]:
        return {"JAVA_HOME": str(jdk), "ES_JAVA_OPTS": f"{HEAP} {options}"}


@dataclass
class NodeRun(Run):
    """One node's life: without an agent, and as the user that its own command changes to."""
    ports: Ports = Ports(0, 0)

    def install(self) -> None:
        for name in ("server", "lib", "tmp"):
            (self.folder / name).mkdir(parents=True)
        self.product.install(self.home, self.jdk, self.ports)
        self.preload = shutil.copy(self.library, self.folder / "lib")
        folders.give_away(self.folder)

    def java_options(self) -> str:
        return ""

    def user(self) -> int | None:
        return None

    def is_ready(self) -> bool:
        return self.pid_file.exists()


def live(jdk: Path, library: Path, folder: Path) -> list[checks.Check]:
    """Both nodes from their installation to the checks of the receiver's last dump."""
    plan = agent.Plan(seconds=0, invoices=0, searches=0)
    ports = [Ports(*free_ports(2)) for _ in range(2)]
    peers = tuple(own.transport for own in ports)
    nodes = [NodeRun(OldNode(f"node{n}", peers), jdk, library, folder / f"node{n}", plan, 0, ports=own)
             for n, own in enumerate(ports)]
    try:
        for node in nodes:
            node.install()
            node.start()
        client = load.Client(nodes[0].ports.http)
        nodes[0].wait_until(lambda: load.is_ready(nodes[0].ports.http), READY_SECONDS, "form a cluster")
        client.ask("GET", "/_cluster/health?wait_for_nodes=2&timeout=60s")
        publish(client)
        master = master_of(client)
        for node in nodes:
            node.stop()
    finally:
        for node in nodes:
            node.close()
    sender, receiver = sorted(nodes, key=lambda node: node.product.name != master)
    return examine(sender, receiver)


def publish(client: load.Client) -> None:
    """Changes a setting again and again: one cluster state each."""
    client.ask("PUT", "/i", json.dumps({"settings": {"number_of_shards": 1, "number_of_replicas": 1}}).encode())
    client.ask("GET", "/_cluster/health/i?wait_for_status=green&timeout=60s")
    for update in range(UPDATES):
        client.ask("PUT", "/i/_settings", json.dumps({"index.max_result_window": 10_001 + update}).encode())


def master_of(client: load.Client) -> str:
    """The name of the node that publishes."""
    state = client.ask("GET", "/_cluster/state/master_node,nodes")
    return state["nodes"][state["master_node"]]["name"]


def examine(sender: NodeRun, receiver: NodeRun) -> list[checks.Check]:
    """What jeprof says of the receiver, and that the sender has nothing of the kind."""
    found = []
    for node in (receiver, sender):
        own = dumps.of_process(dumps.find(node.folder), node.server_pid)
        found += [checks.ended(node), checks.nothing_left(node)]
        if not own:
            return [*found, checks.Check("both nodes left dumps", False, f"none of {node.product.name}")]
        found.append(checks.complete(own[-1]))
        received = jeprof.read(jdks.java_in_path(node.jdk), own[-1]).cumulative(RECEIVE)
        what = f"what the {'receiver' if node is receiver else 'sender'} of the cluster states leaks by receiving them"
        leaked, others = (UPDATES, OTHER_STATES) if node is receiver else (0, OTHER_STATES)
        blocks = (*checks.INFLATER_BLOCKS, checks.STREAM_BLOCK)
        found.append(checks.agrees(what, received, leaked, others, blocks, own[-1].sample_period()))
    return found
