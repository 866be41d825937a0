"""Debian packages, unpacked into the cache and not installed."""
import shutil
from pathlib import Path

from trial import commands, folders
from trial.steps import Trouble

READY = "ready"


def unpack(package: str) -> Path:
    """The folder of a package's files; fetched unless it is there."""
    folder = folders.cache() / "suites" / package
    if (folder / READY).exists():
        return folder
    for tool in ("apt-get", "dpkg"):
        if not shutil.which(tool):
            raise Trouble(f"no {tool} here to unpack {package} with")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    commands.run(["apt-get", "-q", "download", package], folder=folder)
    for file in folder.glob("*.deb"):
        commands.run(["dpkg", "-x", file, folder])
        file.unlink()
    (folder / READY).touch()
    return folder
