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
    _group, artifact, version, kind = coordinates.split(":")
    return folders.cache() / f"{artifact}-{version}.{kind}"
