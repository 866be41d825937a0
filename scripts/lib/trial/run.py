"""One server's life under a preload: installed, started as a normal user, loaded, stopped by SIGTERM.

Whatever happens, `close` ends what is still running, and only that: the server gets a session of its own.
"""
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trial import agent, folders, load
from trial.products import Ports, Product
from trial.steps import Trouble

#: The user's own string, letter by letter: this is what must work.
CONF = "prof:true,lg_prof_interval:30,lg_prof_sample:17,prof_final:true"

READY_SECONDS = 300
STOP_SECONDS = 180
LEAK_SECONDS = 300


@dataclass
class Run:
    """The product, its preload and its folder; then, step by step, what happened."""
    product: Product
    jdk: Path
    library: Path
    folder: Path
    plan: agent.Plan
    documents: int
    #: Added to the user's string.
    more: str = ""
    process: subprocess.Popen | None = None
    server_pid: int = 0
    launcher_pid: int | None = None
    served: load.Served = field(default_factory=load.Served)
    leaked: agent.Leaked | None = None
    status: int | None = None
    lives: int = 0

    @property
    def home(self) -> Path:
        """The server's own folder, from which it is started."""
        return self.folder / "server"

    @property
    def log(self) -> Path:
        """What the server wrote to stdout and stderr."""
        return self.folder / ("server.log" if self.lives < 2 else f"server-{self.lives}.log")

    @property
    def counts(self) -> Path:
        """The agent's exact counts."""
        return self.folder / "leaked.txt"

    @property
    def pid_file(self) -> Path:
        """Written by the server itself."""
        return self.folder / "server.pid"

    def install(self) -> None:
        """Server, agent and library, all in the trial's folder and all owned by the server's user."""
        for name in ("server", "agent", "lib", "tmp"):
            (self.folder / name).mkdir()
        self.ports = Ports(*free_ports(2))
        self.product.install(self.home, self.jdk, self.ports)
        self.jar = agent.build(self.jdk, self.folder / "agent")
        self.preload = shutil.copy(self.library, self.folder / "lib")
        folders.give_away(self.folder)

    def start(self) -> None:
        """Starts the server under the tap and waits until it answers."""
        self.lives += 1
        user = self.user()
        options = self.java_options()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.product.command(self.home, self.jdk, self.ports, self.pid_file, options),
                cwd=self.home, env=self.environment(options), stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True, user=user, group=user,
                extra_groups=None if user is None else [], umask=0o022)
        self.wait_until(self.is_ready, READY_SECONDS, "answer")
        self.server_pid = int(self.pid_file.read_text())
        self.launcher_pid = parent_jvm(self.server_pid)

    def java_options(self) -> str:
        """Options for the server's JVM."""
        return agent.java_option(self.jar, self.counts, self.plan)

    def user(self) -> int | None:
        """Whom the server is started as."""
        return folders.user_of_servers()

    def is_ready(self) -> bool:
        """Whether the server can be worked with."""
        return self.pid_file.exists() and load.is_ready(self.ports.http)

    def environment(self, options: str) -> dict[str, str]:
        """Only what a service manager would set, the product's own variables, and the tap."""
        temporary = str(self.folder / "tmp")
        plain = {"PATH": os.environ["PATH"], "HOME": temporary, "TMPDIR": temporary, "LANG": "C.UTF-8"}
        tap = {"LD_PRELOAD": str(self.preload), "MALLOC_CONF": CONF + self.more}
        return plain | self.product.environment(self.jdk, options) | tap

    def work(self) -> None:
        """Puts the load on the server, then waits until the agent has leaked all that it is to leak."""
        self.served = load.apply(self.ports.http, self.documents)
        self.wait_for_leaks()

    def wait_for_leaks(self) -> None:
        """Waits until the agent has leaked all that it is to leak; the counts are exact then."""
        self.wait_until(lambda: agent.read_counts(self.counts).finished, LEAK_SECONDS + self.plan.quiet + self.plan.seconds,
                        "finish leaking")
        self.leaked = agent.read_counts(self.counts)

    def stop(self) -> None:
        """Asks the server to end, as a service manager does, and waits for every process of its session."""
        os.kill(self.server_pid, signal.SIGTERM)
        try:
            self.status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Trouble(f"{self.product.label} did not end within {STOP_SECONDS} s of SIGTERM: {self.log}") from None
        end = time.monotonic() + STOP_SECONDS
        while self.running() and time.monotonic() < end:
            time.sleep(0.1)

    def start_again(self) -> None:
        """Another life of the same server in the same folder."""
        for file in (self.pid_file, self.counts):
            file.unlink(missing_ok=True)
        self.start()
        self.wait_until(self.counts.exists, READY_SECONDS, "load the agent")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The server answers nobody meanwhile."""
        os.kill(self.server_pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.server_pid, signal.SIGCONT)

    def kill(self) -> None:
        """Ends the server without warning, as the kernel does that runs out of memory."""
        os.kill(self.server_pid, signal.SIGKILL)
        self.close()

    def running(self) -> list[int]:
        """The processes of the server's session that are still there."""
        return session_members(self.process.pid) if self.process else []

    def close(self) -> None:
        """Ends whatever of ours is still running."""
        for pid in self.running():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process:
            self.process.wait()

    def wait_until(self, condition, seconds: float, what: str) -> None:
        """Polls; the server's early end or a time-out is Trouble with the end of its log."""
        end = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None:
                raise Trouble(f"{self.product.label} ended with status {self.process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > end:
                raise Trouble(f"{self.product.label} did not {what} within {seconds} s:\n{self.log_tail()}")
            time.sleep(0.2)

    def log_tail(self, lines: int = 12) -> str:
        """The last lines of the server's log, and where the rest is."""
        text = self.log.read_text(errors="replace").splitlines()
        return "\n".join([*text[-lines:], f"(the whole log: {self.log})"])


def free_ports(count: int) -> list[int]:
    """Ports that are free now, below those that the kernel gives to whoever asks for any."""
    ports = random.sample(range(20_000, 32_000), 1000)
    return list(itertools.islice(filter(is_free, ports), count))


def is_free(port: int) -> bool:
    """Whether nobody has that port."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def parent_jvm(pid: int) -> int | None:
    """The pid of the launcher that waits for this server (Elasticsearch 8.3 and later), if there is one."""
    parent = int(stat_fields(pid)[1])
    try:
        return parent if os.path.basename(os.readlink(f"/proc/{parent}/exe")) == "java" else None
    except OSError:
        return None


def session_members(session: int) -> list[int]:
    """The pids of a session, without those that are dead and only not yet waited for."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _parent, _group, its_session = stat_fields(int(entry.name))[:4]
            except (OSError, ValueError):
                continue
            if int(its_session) == session and state != "Z":
                members.append(int(entry.name))
    return members


def stat_fields(pid: int) -> list[str]:
    """/proc/PID/stat after the name in parentheses: state, parent, group, session … (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
