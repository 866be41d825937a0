"""Servers on a JVM: what Maven Central has of them, started by their own scripts or by the command that those run."""
import os
import re
import shutil
import tarfile
from pathlib import Path

from fleet import client
from fleet.server import Place, Server, run
from trial import debian_jdks, folders, jdks, maven
from trial.steps import Trouble

LISTENS = "127.0.0.1"


class JavaServer(Server):
    """What they share: a JDK of one release."""
    java = 17
    coordinates = ""

    @property
    def jdk(self) -> Path:
        return jdks.find(self.java) or debian_jdks.fetch(self.java)

    def version(self) -> str:
        return f"{self.coordinates.split(':')[2]}, JDK {self.java}"

    def environment(self, place: Place) -> dict[str, str]:
        return {"JAVA_HOME": str(self.jdk)}

    def main(self, place: Place) -> int:
        """Launchers and their helpers are JVMs, too: it is the one that was started last and stayed."""
        found = [pid for pid in place.processes() if Path(os.readlink(f"/proc/{pid}/exe")).name == "java"]
        if not found:
            raise Trouble("no JVM of it is tapped")
        return found[-1]

    def unpack(self, place: Place) -> Path:
        """Its archive, without the outermost folder, below `home`."""
        with tarfile.open(maven.fetch(self.coordinates)) as archive:
            archive.extractall(place.home, filter="data")
        return next(path for path in place.home.iterdir() if path.is_dir())

    def tool(self, place: Place, *words: str) -> str:
        """A program of it, untapped."""
        return run(list(words), place, folders.user_of_servers(), {"JAVA_HOME": str(self.jdk)})

    def give(self, place: Place) -> None:
        """What was prepared belongs to the server's user."""
        user = folders.user_of_servers()
        if user is not None:
            for path in [place.home, *place.home.rglob("*")]:
                os.chown(path, user, user, follow_symlinks=False)


class ClassPathServer(JavaServer):
    """One that Central has as jars only: the command that its start script would run."""
    more: tuple[str, ...] = ()

    def fetch(self, place: Place) -> None:
        """The jars, where the server's user can read them."""
        self.jars = shutil.copytree(maven.jars(self.name.lower(), (self.coordinates, *self.more)), place.folder / "jars")

    def java_command(self, options: tuple[str, ...], words: tuple[str, ...]) -> list[str]:
        return [str(self.jdk / "bin" / "java"), "-Xms256m", "-Xmx256m", *options, "-cp", f"{self.jars}/*", *words]


class Tomcat(JavaServer):
    """bin/catalina.sh start."""
    name, title = "Tomcat", "org.apache.catalina.startup.Bootstrap"
    coordinates = "org.apache.tomcat:tomcat:10.1.20:tar.gz"

    def prepare(self, place: Place) -> None:
        self.home = self.unpack(place)
        server = self.home / "conf" / "server.xml"
        text = server.read_text().replace('port="8005"', f'port="{place.second_port}"')
        server.write_text(text.replace('port="8080"', f'port="{place.port}" address="{LISTENS}"'))
        page = self.home / "webapps" / "ROOT" / "shop.jsp"
        page.write_text('<% StringBuilder text = new StringBuilder(); for (int i = 0; i < 2000; i++) text.append(i);'
                        ' out.print(text.length() + request.getQueryString()); %>')

    def environment(self, place: Place) -> dict[str, str]:
        return super().environment(place) | {"CATALINA_OPTS": "-Xms128m -Xmx256m", "CATALINA_PID": str(place.home / "pid")}

    def command(self, place: Place) -> list[str]:
        return [str(self.home / "bin" / "catalina.sh"), "start"]

    def main(self, place: Place) -> int:
        return int((place.home / "pid").read_text())

    def work(self, place: Place) -> int:
        return client.http(place.port, "/shop.jsp")


class Artemis(JavaServer):
    """artemis create, and its instance's artemis run."""
    name, title = "Artemis", "org.apache.activemq.artemis.boot.Artemis"
    coordinates = "org.apache.activemq:apache-artemis:2.31.2:tar.gz:bin"

    def prepare(self, place: Place) -> None:
        home = self.unpack(place)
        self.give(place)
        self.instance = place.home / "instance"
        self.tool(place, str(home / "bin" / "artemis"), "create", str(self.instance), "--user", "me", "--password", "me",
                  "--allow-anonymous", "--silent", "--no-web", "--no-amqp-acceptor", "--no-mqtt-acceptor", "--no-stomp-acceptor",
                  "--no-hornetq-acceptor", "--host", LISTENS, "--http-host", LISTENS, "--default-port", str(place.port),
                  "--nio", "--no-autotune", "--java-options=-Xmx256m")
        profile = self.instance / "etc" / "artemis.profile"
        profile.write_text(re.sub(r"-Xm[sx]\S+", "-Xmx256m", profile.read_text()))

    def command(self, place: Place) -> list[str]:
        return [str(self.instance / "bin" / "artemis"), "run"]

    def work(self, place: Place) -> int:
        messages = 2000
        for word in ("producer", "consumer"):
            self.tool(place, str(self.instance / "bin" / "artemis"), word, "--url", f"tcp://{LISTENS}:{place.port}", "--user", "me",
                      "--password", "me", "--message-count", str(messages), "--silent")
        return 2 * messages


class Kafka(ClassPathServer):
    """KRaft, one node: kafka-storage format, and the class that kafka-server-start runs."""
    name, title = "Kafka", "kafka.Kafka"
    coordinates = "org.apache.kafka:kafka_2.13:3.9.0"
    more = ("org.apache.kafka:kafka-tools:3.9.0",)

    def prepare(self, place: Place) -> None:
        self.fetch(place)
        (place.home / "server.properties").write_text(
            f"process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{LISTENS}:{place.second_port}\n"
            f"listeners=PLAINTEXT://{LISTENS}:{place.port},CONTROLLER://{LISTENS}:{place.second_port}\n"
            "controller.listener.names=CONTROLLER\noffsets.topic.replication.factor=1\n"
            f"log.dirs={place.home}/logs\nnum.partitions=2\n")
        self.give(place)
        self.tool(place, *self.java_command((), ("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c",
                                                 str(place.home / "server.properties"))))

    def command(self, place: Place) -> list[str]:
        return self.java_command(("-XX:+UseG1GC",), ("kafka.Kafka", str(place.home / "server.properties")))

    def work(self, place: Place) -> int:
        records = 30_000
        self.tool(place, *self.java_command((), (
            "org.apache.kafka.tools.ProducerPerformance", "--topic", "t", "--num-records", str(records), "--record-size", "500",
            "--throughput", "-1", "--producer-props", f"bootstrap.servers={LISTENS}:{place.port}", "compression.type=gzip")))
        return records


class ZooKeeper(ClassPathServer):
    """The class that zkServer.sh runs."""
    name, title = "ZooKeeper", "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    coordinates = "org.apache.zookeeper:zookeeper:3.8.4"
    more = ("io.dropwizard.metrics:metrics-core:4.1.12.1", "org.xerial.snappy:snappy-java:1.1.10.5")

    def prepare(self, place: Place) -> None:
        self.fetch(place)
        (place.home / "zoo.cfg").write_text(
            f"tickTime=2000\ndataDir={place.home}/data\nclientPort={place.port}\nclientPortAddress={LISTENS}\n"
            "4lw.commands.whitelist=*\nadmin.enableServer=false\n")

    def command(self, place: Place) -> list[str]:
        return self.java_command((), (self.title, str(place.home / "zoo.cfg")))

    def work(self, place: Place) -> int:
        return client.four_letters(place.port, b"mntr", 600)


class Cassandra(ClassPathServer):
    """CassandraDaemon with the options of its jvm11-server.options."""
    name, title = "Cassandra", "org.apache.cassandra.service.CassandraDaemon"
    java = 11
    coordinates = "org.apache.cassandra:cassandra-all:4.1.5"
    more = ("ch.qos.logback:logback-classic:1.2.9",)
    EXPORTS = ("java.base/jdk.internal.misc", "java.base/jdk.internal.ref", "java.base/sun.nio.ch", "java.sql/java.sql",
               "java.management.rmi/com.sun.jmx.remote.internal.rmi", "java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server")
    OPENS = ("java.base/java.lang.module", "java.base/jdk.internal.loader", "java.base/jdk.internal.ref",
             "java.base/jdk.internal.reflect", "java.base/jdk.internal.math", "java.base/jdk.internal.module",
             "java.base/jdk.internal.util.jar", "jdk.management/com.sun.management.internal")

    def prepare(self, place: Place) -> None:
        self.fetch(place)
        (place.home / "cassandra.yaml").write_text(
            "cluster_name: t\nnum_tokens: 1\npartitioner: org.apache.cassandra.dht.Murmur3Partitioner\n"
            "commitlog_sync: periodic\ncommitlog_sync_period: 10s\nendpoint_snitch: SimpleSnitch\n"
            f"listen_address: {LISTENS}\nrpc_address: {LISTENS}\nstorage_port: {place.second_port}\n"
            f"native_transport_port: {place.port}\nstart_native_transport: true\nmemtable_allocation_type: offheap_objects\n"
            "seed_provider:\n  - class_name: org.apache.cassandra.locator.SimpleSeedProvider\n"
            f"    parameters:\n      - seeds: \"{LISTENS}:{place.second_port}\"\n"
            + "".join(f"{key}: {place.home}/{key}\n" for key in (
                "commitlog_directory", "saved_caches_directory", "hints_directory", "cdc_raw_directory"))
            + f"data_file_directories:\n  - {place.home}/data\n")
        (place.home / "logback.xml").write_text(
            '<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%level %msg%n</pattern>'
            '</encoder></appender><root level="WARN"><appender-ref ref="out"/></root></configuration>')

    def command(self, place: Place) -> list[str]:
        options = [f"-Dlogback.configurationFile={place.home}/logback.xml", f"-Dcassandra.config=file://{place.home}/cassandra.yaml", f"-Dcassandra.storagedir={place.home}",
                   "-Dcassandra-foreground=yes", "-Djdk.attach.allowAttachSelf=true", "-Xss512k",
                   "-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.ring_delay_ms=1000"]
        options += [f"--add-exports={name}=ALL-UNNAMED" for name in self.EXPORTS]
        options += [f"--add-opens={name}=ALL-UNNAMED" for name in self.OPENS]
        return self.java_command(tuple(options), (self.title,))

    def work(self, place: Place) -> int:
        rows = 3000
        cql = client.Cql(place.port)
        cql.query("CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        cql.query("CREATE TABLE k.t (id int PRIMARY KEY, body text)")
        for number in range(rows):
            cql.query(f"INSERT INTO k.t (id, body) VALUES ({number}, '{'x' * 500}')")
        return rows


ALL = (Tomcat, Artemis, ZooKeeper, Kafka, Cassandra)
