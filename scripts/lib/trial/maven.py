"""Fetches an archive from Maven Central by its coordinates, once."""
import shutil
import tempfile
from pathlib import Path

from trial import commands, folders
from trial.steps import Trouble


def is_cached(coordinates: str) -> bool:
    """True when no download is needed."""
    return cached_path(coordinates).exists()


def fetch(coordinates: str) -> Path:
    """The archive of `group:artifact:version:type`, downloaded unless it is in the cache."""
    kept = cached_path(coordinates)
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            options = [f"-Dartifact={coordinates}", f"-DoutputDirectory={folder}"]
            commands.run(["mvn", "-q", "-B", "dependency:copy", *options], folder=Path(folder))
            fetched = Path(folder) / kept.name
            if not fetched.exists():
                raise Trouble(f"mvn dependency:copy of {coordinates} ended well but left no {kept.name}")
            shutil.move(fetched, kept)
    return kept


def cached_path(coordinates: str) -> Path:
    """Where the archive lies after the fetch; the type is also the file's suffix."""
    _group, artifact, version, kind, *classifier = coordinates.split(":")
    return folders.cache() / f"{'-'.join([artifact, version, *classifier])}.{kind}"


def jars(name: str, coordinates: tuple[str, ...]) -> Path:
    """A folder with these jars (`group:artifact:version`) and all that they need."""
    kept = folders.cache() / f"jars-{name}-{coordinates[0].split(':')[2]}"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            (Path(folder) / "pom.xml").write_text(pom(coordinates))
            commands.run(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=jars"],
                         folder=Path(folder))
            shutil.move(Path(folder) / "jars", kept)
    return kept


def pom(coordinates: tuple[str, ...]) -> str:
    """A project that needs them."""
    def element(one: str) -> str:
        group, artifact, version = one.split(":")
        return (f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
                f"<version>{version}</version></dependency>")

    return ('<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>org.example</groupId>'
            f"<artifactId>jars</artifactId><version>1</version><dependencies>{''.join(map(element, coordinates))}"
            "</dependencies></project>")
