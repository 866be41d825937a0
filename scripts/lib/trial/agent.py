"""Builds the leaking agent of examples/leak-agent, and knows exactly what it leaks."""
from dataclasses import dataclass
from pathlib import Path

from trial import commands, folders
from trial.steps import Trouble

SOURCES = folders.REPOSITORY / "examples" / "leak-agent"

#: Classes for every JDK that a server of ours runs on.
RELEASE = "11"


@dataclass(frozen=True)
class Plan:
    """How much is leaked: so many a second of each kind, for so many seconds, after so many quiet ones."""
    seconds: int
    invoices: int
    searches: int
    quiet: int = 0


@dataclass(frozen=True)
class Leaked:
    """What the agent wrote down: exact counts, and whether it has leaked all that it was to."""
    invoices: int
    searches: int
    finished: bool


def build(jdk: Path, folder: Path) -> Path:
    """Compiles the agent and the classes that leak; returns the agent's jar."""
    compile_java(jdk, SOURCES / "work", folder / "work")
    compile_java(jdk, SOURCES / "agent", folder / "agent", classpath=folder / "work")
    manifest = folder / "manifest"
    manifest.write_text("Premain-Class: org.example.agent.LeakAgent\nBoot-Class-Path: leak-work.jar\n")
    commands.run([jdk / "bin" / "jar", "cf", folder / "leak-work.jar", "-C", folder / "work", "."])
    commands.run([jdk / "bin" / "jar", "cfm", folder / "leak-agent.jar", manifest, "-C", folder / "agent", "."])
    return folder / "leak-agent.jar"


def compile_java(jdk: Path, sources: Path, classes: Path, classpath: Path | None = None) -> None:
    """javac of a whole source tree."""
    files = sorted(sources.rglob("*.java"))
    options = ["-Xlint:all", "--release", RELEASE, "-d", classes]
    if classpath:
        options += ["-cp", classpath]
    commands.run([jdk / "bin" / "javac", *options, *files])


def java_option(jar: Path, counts: Path, plan: Plan) -> str:
    """The option that loads the agent into a JVM."""
    rates = f"invoices={plan.invoices},searches={plan.searches},seconds={plan.seconds},quiet={plan.quiet}"
    return f"-javaagent:{jar}=counts={counts},{rates}"


def read_counts(file: Path) -> Leaked:
    """What has been leaked so far."""
    try:
        numbers = dict(line.split() for line in file.read_text().splitlines())
        return Leaked(int(numbers["invoices"]), int(numbers["searches"]), numbers["finished"] == "1")
    except (OSError, KeyError, ValueError):
        raise Trouble(f"the leaking agent wrote no counts to {file} (server.log may tell why)") from None
