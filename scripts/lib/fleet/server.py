"""One server under the tap: a folder of its own, its start, its processes, its end.

Servers go into the background, change users and overwrite their environment. What is theirs is known by a copy of the
library that no other process has mapped.
"""
import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

from trial import folders
from trial.run import CONF, free_ports, stat_fields
from trial.steps import Trouble

#: On a busy machine; Cassandra takes a minute and a half there.
READY_SECONDS = 300
STOP_SECONDS = 180
COMMAND_SECONDS = 300


@dataclass
class Place:
    """The folder of one server's run. `dumps` is where it is started, so that is where its dumps belong."""
    folder: Path
    library: Path
    port: int = 0
    second_port: int = 0
    started: list[subprocess.Popen] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("dumps", "home", "tmp", "lib"):
            (self.folder / name).mkdir(parents=True)
        self.tap = self.folder / "lib" / "libheaptap.so"
        shutil.copy(self.library, self.tap)
        self.port, self.second_port = free_ports(2)
        # Who writes dumps may be another user than who started the server.
        for name in ("dumps", "tmp"):
            (self.folder / name).chmod(0o1777)
        for path in (self.folder, self.folder / "lib"):
            path.chmod(0o755)

    @property
    def dumps(self) -> Path:
        return self.folder / "dumps"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def plain(self) -> dict[str, str]:
        """What a service manager would set."""
        temporary = str(self.folder / "tmp")
        return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": temporary,
                "TMPDIR": temporary, "LANG": "C.UTF-8"}

    def tapped(self, more_options: str) -> dict[str, str]:
        """The same with the tap."""
        return self.plain() | {"LD_PRELOAD": str(self.tap), "MALLOC_CONF": CONF + more_options}

    def processes(self) -> list[int]:
        """Those that have our copy of the library mapped, oldest first."""
        found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self.has_tap(entry)]
        return sorted(found, key=started_at)

    def has_tap(self, entry: Path) -> bool:
        try:
            return str(self.tap) in (entry / "maps").read_text(errors="replace")
        except OSError:
            return False


class Server(ABC):
    """A server and its usual way."""
    name: str
    #: Packages of apt that bring it, and programs that say that they are there.
    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    java: int | None = None
    #: Whether `scripts/test` runs it without --full.
    is_light = False
    #: What `heaptap ps` must call its main process.
    title: str = ""
    #: It cannot write its final dump (SIGTERM kills it, or it sits in a chroot): `heaptap recover` does.
    is_recovered = False
    #: Options beside the user's own.
    more_options = ""
    #: It refuses root.
    as_normal_user = True

    @abstractmethod
    def version(self) -> str:
        """For the table."""

    @abstractmethod
    def prepare(self, place: Place) -> None:
        """Makes its files, untapped."""

    @abstractmethod
    def command(self, place: Place) -> list[str]:
        """The usual command line, run in the folder of the dumps."""

    @abstractmethod
    def work(self, place: Place) -> int:
        """A bounded load; the number of answers."""

    def environment(self, place: Place) -> dict[str, str]:
        """What it needs besides the tap."""
        return {}

    def is_ready(self, place: Place) -> bool:
        return answers(place.port)

    def main(self, place: Place) -> int:
        """The process that is meant when somebody says the server: the oldest tapped one that is no shell."""
        found = [pid for pid in place.processes() if executable(pid) not in ("sh", "bash", "dash")]
        if not found:
            raise Trouble("no process of it is tapped")
        return found[0]

    def stop(self, place: Place, pid: int) -> None:
        """Asks it to end, as a service manager does."""
        os.kill(pid, signal.SIGTERM)

    def start(self, place: Place) -> None:
        user = folders.user_of_servers() if self.as_normal_user else None
        if user is not None:
            for path in [place.home, *place.home.rglob("*")]:
                os.chown(path, user, user, follow_symlinks=False)
        with place.log.open("ab") as log:
            place.started.append(subprocess.Popen(
                self.command(place), cwd=place.dumps, env=place.tapped(self.more_options) | self.environment(place),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, umask=0o022,
                user=user, group=user, extra_groups=None if user is None else []))
        wait("answer", READY_SECONDS, lambda: self.is_ready(place), place.log)

    def end(self, place: Place, pid: int) -> int:
        """Ends it and waits for all its processes; how many had to be killed."""
        self.stop(place, pid)
        try:
            wait("end", STOP_SECONDS, lambda: not reap(place) and not place.processes(), place.log)
        except Trouble:
            return self.close(place)
        return 0

    def close(self, place: Place) -> int:
        """Kills what is left of it."""
        left = place.processes()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for child in place.started:
            if child.poll() is None:
                child.kill()
                child.wait()
        return len(left)


def reap(place: Place) -> bool:
    """Takes the ends of what we started; whether any still runs."""
    return any([child.poll() is None for child in place.started])


def wait(what: str, seconds: float, is_so, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            tail = log.read_text(errors="replace").strip().splitlines()[-6:] if log.exists() else []
            raise Trouble(f"it did not {what} within {seconds:.0f} s: {' / '.join(tail)}")
        time.sleep(0.05)


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def run(words: list, place: Place, user: int | None = None, env: dict[str, str] | None = None, text: str = "") -> str:
    """A helper program, untapped; what it printed."""
    with place.log.open("a") as log:
        done = subprocess.run([str(word) for word in words], cwd=place.home, env=place.plain() | (env or {}),
                              input=text, stdout=subprocess.PIPE, stderr=log, text=True, errors="replace",
                              timeout=COMMAND_SECONDS, check=False, user=user, group=user,
                              extra_groups=None if user is None else [])
    if done.returncode != 0:
        raise Trouble(f"{Path(words[0]).name} failed with status {done.returncode}: {done.stdout[-300:]}; see {place.log}")
    return done.stdout


def printed(*words: str) -> str:
    """What a program says of itself, on whatever channel."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr


def executable(pid: int) -> str:
    try:
        return Path(os.readlink(f"/proc/{pid}/exe")).name
    except OSError:
        return "?"


def started_at(pid: int) -> tuple[int, int]:
    try:
        return int(stat_fields(pid)[19]), pid
    except (OSError, IndexError):
        return 0, pid
