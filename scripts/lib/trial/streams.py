"""Kafka Streams with a known leak and without: 4.3.0 forgets to close options of RocksDB each time that a store is opened
(KAFKA-20616), 4.3.1 closes them. `heaptap leaks` must name the object in the one, and accuse nobody in the other.

The application is tests/java/Streams.java: its stores are opened and closed again and again, as rebalances do it. No broker is
needed: Kafka's own TopologyTestDriver runs the topology.
"""
import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from trial import commands, folders, jdks, maven
from trial.checks import Check
from trial.steps import Steps, Trouble, complain, end_well_when_asked, say

SECONDS = 90
OBJECT = "org.rocksdb.ColumnFamilyOptions"
MAKER = "org.apache.kafka.streams.state.internals.RocksDBStore.createOffsetsCFOptions"
#: Is there a leak?
VERSIONS = {"4.3.0": True, "4.3.1": False}
#: The user's string; and one that samples small objects, too, whatever that costs.
CONF = {"as users run it": "prof:true,lg_prof_sample:17", "every 4 KiB": "prof:true,lg_prof_sample:12,prof_max_overhead:0"}
STARTS = 120


@dataclass
class Answer:
    """What `heaptap leaks` said of an application."""
    status: int
    growth: dict
    text: str
    lives: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/servers --streams", description=f"Kafka Streams {' and '.join(VERSIONS)} under heaptap.")
    parser.add_argument("--seconds", type=int, default=SECONDS, metavar="N", help=f"how long each opens and closes stores (default: {SECONDS})")
    parser.add_argument("--tap", type=Path, metavar="LIB", help="preload this library instead of heaptap's")
    parser.add_argument("--cli", type=Path, metavar="FILE", help="ask this program instead of heaptap's")
    options = parser.parse_args()
    end_well_when_asked()
    try:
        return go(options)
    except Trouble as trouble:
        return complain(trouble)
    except KeyboardInterrupt:
        return 130


def go(options: argparse.Namespace) -> int:
    """All versions, each way."""
    jdk = jdks.find(17)
    if jdk is None:
        raise Trouble("Kafka Streams needs a JDK 17: run scripts/setup java")
    library = (options.tap or folders.RELEASE / "libheaptap.so").resolve()
    cli = (options.cli or folders.RELEASE / "heaptap").resolve()
    steps = Steps(len(VERSIONS) * len(CONF))
    found: list[Check] = []
    for version, leaks in VERSIONS.items():
        jars = maven.jars("streams", (f"org.apache.kafka:kafka-streams-test-utils:{version}",))
        for way, conf in CONF.items():
            with steps.step(f"Kafka Streams {version}, {way}") as notes, tempfile.TemporaryDirectory(prefix="heaptap-streams-") as folder:
                place = Path(folder)
                commands.run([jdk / "bin" / "javac", "-nowarn", "-cp", f"{jars}/*", "-d", place,
                              folders.REPOSITORY / "tests" / "java" / "Streams.java"])
                java = [jdk / "bin" / "java", "-Xmx256m", f"-Djava.io.tmpdir={place}", "-cp", f"{place}:{jars}/*", "Streams", options.seconds]
                answer = live(java, place, {"LD_PRELOAD": str(library), "MALLOC_CONF": conf}, cli, options.seconds)
                checks = names(answer) if leaks else [is_quiet(answer)]
                found += checks
                notes += [f"{answer.lives} lives", *(check.line() for check in checks)]
                if not all(check.good for check in checks):
                    notes += answer.text.splitlines()
    good = sum(check.good for check in found)
    say(f"\n{good} of {len(found)} checks")
    return 0 if good == len(found) else 1


def live(java: list, place: Path, tapping: dict[str, str], cli: Path, seconds: int) -> Answer:
    """Runs the application until it has opened and closed stores for so long, and asks while it still lives."""
    environment = {**commands.clean_environment(), **tapping}
    with (place / "err").open("wb") as err, subprocess.Popen(
            list(map(str, java)), cwd=place, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True) as process:
        try:
            line = process.stdout.readline()
            if not line.startswith("ready after "):
                raise Trouble(f"it ended early: {(place / 'err').read_text()[-1000:]}")
            ask = [cli, "leaks", str(process.pid)]
            done = subprocess.run([*ask, "--json"], env=commands.clean_environment(), capture_output=True, text=True, check=False, timeout=STARTS)
            text = subprocess.run(ask, env=commands.clean_environment(), capture_output=True, text=True, check=False, timeout=STARTS)
            if not done.stdout:
                raise Trouble(f"heaptap leaks: {done.stderr}")
            return Answer(done.returncode, json.loads(done.stdout), text.stdout, line.split()[-1])
        finally:
            process.stdin.close()
            try:
                process.wait(STARTS)
            except subprocess.TimeoutExpired:
                process.kill()
            shutil.rmtree(place / "state", ignore_errors=True)


def names(answer: Answer) -> list[Check]:
    """The leak is found, at the object that nobody closes and the method that makes it."""
    rows = answer.growth["rows"]
    makers = [row["maker"] for row in rows if row["maker"]]
    told = ", ".join(f"{maker['class']} by {maker['by']}" for maker in makers) or "no object"
    return [Check("it leaks", answer.status == 1, f"status {answer.status}, {len(rows)} places"),
            Check("the unclosed object is named", {"class": OBJECT, "by": MAKER} in makers, told)]


def is_quiet(answer: Answer) -> Check:
    """Nothing of RocksDB is accused, by bytes or by number. A short time may be too short to acquit everybody (status 3)."""
    rows = [*answer.growth["rows"], *answer.growth["small"]["rows"]]
    accused = [row["label"] for row in rows]
    return Check("it is quiet", not accused and answer.status in (0, 3), f"status {answer.status}, accused: {', '.join(accused) or 'nobody'}")


if __name__ == "__main__":
    sys.exit(main())
