"""What can be put on trial: servers of Maven Central and the small server of examples/, and how each is installed."""
import os
import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from trial import agent, folders, maven

ELASTICSEARCH = "org.elasticsearch.distribution.integ-test-zip:elasticsearch"
OPENSEARCH = "org.opensearch.distribution.integ-test-zip:opensearch"


@dataclass(frozen=True)
class Ports:
    """Free loopback ports for one server."""
    http: int
    transport: int


class Product(ABC):
    """A server that can be installed into a folder and started there."""
    label: str
    java: int

    @abstractmethod
    def install(self, folder: Path, jdk: Path, ports: Ports) -> None:
        """Makes the folder ready to start from."""

    @abstractmethod
    def command(self, folder: Path, jdk: Path, ports: Ports, pid_file: Path, options: str) -> list[str]:
        """The command line, run in that folder; it stays in the foreground."""

    @abstractmethod
    def environment(self, jdk: Path, options: str) -> dict[str, str]:
        """Variables that the command needs besides the tap's."""


@dataclass(frozen=True)
class SearchServer(Product):
    """Elasticsearch or OpenSearch: a zip with start scripts, configured by one YAML file."""
    label: str
    coordinates: str
    java: int
    settings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`elasticsearch` or `opensearch`: of the artifact, the start script and the variables."""
        return self.coordinates.split(":")[1]

    def install(self, folder: Path, jdk: Path, ports: Ports) -> None:
        unpack(maven.fetch(self.coordinates), folder)
        (folder / "config" / f"{self.name}.yml").write_text("\n".join([
            "cluster.name: heaptap-trial",
            "discovery.type: single-node",
            "network.host: 127.0.0.1",
            f"http.port: {ports.http}",
            f"transport.port: {ports.transport}",
            "cluster.routing.allocation.disk.threshold_enabled: false",
            *self.settings,
            "",
        ]))

    def command(self, folder: Path, jdk: Path, ports: Ports, pid_file: Path, options: str) -> list[str]:
        return [f"bin/{self.name}", "-p", str(pid_file)]

    def environment(self, jdk: Path, options: str) -> dict[str, str]:
        prefix = {"elasticsearch": "ES", "opensearch": "OPENSEARCH"}[self.name]
        return {f"{prefix}_JAVA_HOME": str(jdk), f"{prefix}_JAVA_OPTS": f"-Xms512m -Xmx512m {options}"}


@dataclass(frozen=True)
class SmallServer(Product):
    """examples/small-server: nothing to download."""
    label: str = "the small server of examples/"
    java: int = 17

    def install(self, folder: Path, jdk: Path, ports: Ports) -> None:
        agent.compile_java(jdk, folders.REPOSITORY / "examples" / "small-server", folder / "classes")

    def command(self, folder: Path, jdk: Path, ports: Ports, pid_file: Path, options: str) -> list[str]:
        return [str(jdk / "bin" / "java"), "-Xms256m", "-Xmx256m", *options.split(), "-cp", "classes",
                "org.example.shop.ShopServer", "--port", str(ports.http), "--pid", str(pid_file)]

    def environment(self, jdk: Path, options: str) -> dict[str, str]:
        return {}


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a zip without its outermost folder, start scripts executable."""
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            inner = member.filename.split("/", 1)[1]
            if inner:
                member.filename = inner
                packed.extract(member, folder)
    for script in (folder / "bin").iterdir():
        os.chmod(script, 0o755)


NO_SECURITY = ("xpack.security.enabled: false",)

#: The quickstart's server, then those that scripts/servers adds.
QUICKSTART_SERVER = SearchServer("Elasticsearch 7.17.29", f"{ELASTICSEARCH}:7.17.29:zip", 17)
SERVERS = (
    QUICKSTART_SERVER,
    SearchServer("Elasticsearch 8.11.4", f"{ELASTICSEARCH}:8.11.4:zip", 17, NO_SECURITY),
    SearchServer("Elasticsearch 9.2.0", f"{ELASTICSEARCH}:9.2.0:zip", 25, NO_SECURITY),
    SearchServer("OpenSearch 2.19.1", f"{OPENSEARCH}:2.19.1:zip", 17),
    SearchServer("OpenSearch 3.4.0", f"{OPENSEARCH}:3.4.0:zip", 25),
)
