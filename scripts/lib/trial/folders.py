"""Where things lie: the repository, the cache of downloads, and the one folder of a trial."""
import os
import shutil
import tempfile
from pathlib import Path

from trial.steps import Trouble

REPOSITORY = Path(__file__).resolve().parents[3]

#: What scripts/build makes.
RELEASE = REPOSITORY / "target" / "release"

#: Marks a folder as ours, so that nothing else is ever emptied.
MARK = ".heaptap-trial"

#: The normal user that servers run as when we are root (nobody): servers refuse to run as root.
NORMAL_USER = 65534


def user_of_servers() -> int | None:
    """The uid to change to, or None when we are a normal user already."""
    return NORMAL_USER if os.getuid() == 0 else None


def cache() -> Path:
    """Downloads are kept here: $HEAPTAP_CACHE, else the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "heaptap"
    folder = Path(os.environ.get("HEAPTAP_CACHE", default))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def jdks() -> Path:
    """JDKs that are only unpacked: in the cache, or where the server's user can get to them."""
    folder = cache() / "jdks"
    if not can_enter(cache()):
        folder = Path(tempfile.gettempdir()) / "heaptap-jdks"
    folder.mkdir(mode=0o755, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise Trouble(f"{folder} belongs to somebody else: remove it, or set HEAPTAP_CACHE to a folder of yours")
    return folder


def fresh(wanted: Path | None, name: str) -> Path:
    """An empty folder that the server's user can enter: `wanted`, else `name` in the repository."""
    folder = wanted if wanted else REPOSITORY / name
    if not can_enter(folder.absolute().parent):
        if wanted:
            raise Trouble(f"user {NORMAL_USER}, who runs the server, cannot enter {folder.parent}: give another --out")
        folder = Path(tempfile.gettempdir()) / f"heaptap-{name}"
    folder = folder.absolute()
    empty(folder)
    return folder


def can_enter(folder: Path) -> bool:
    """True when the server's user gets through every folder down to this one."""
    if user_of_servers() is None:
        return True
    return all(part.stat().st_mode & 0o001 for part in [folder, *folder.parents] if part.exists())


def empty(folder: Path) -> None:
    """Makes the folder, or removes what an earlier trial left in it."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise Trouble(f"{folder} is not empty and not of a trial of ours: choose another --out")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    (folder / MARK).touch()


def give_away(folder: Path) -> None:
    """Makes the server's user the owner of a whole folder."""
    user = user_of_servers()
    if user is None:
        return
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, user, user, follow_symlinks=False)
