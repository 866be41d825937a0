"""Runs one program under one peer, and says what it cost: CPU seconds, resident set, instructions, or its own words."""
import os
import re
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bench.peers import Peer
from trial import commands
from trial.steps import Trouble

#: Longest run of one program.
SECONDS = 300


@dataclass(frozen=True)
class Run:
    """What a run cost, and what it printed to stdout and stderr."""
    cpu_seconds: float
    resident_kib: int
    output: str
    errors: str
    #: Names of the files that it left.
    files: tuple[str, ...]


def run(peer: Peer, words: list[str], variables: dict[str, str] | None = None) -> Run:
    """Runs a program to its end under a peer. Files that it leaves are thrown away."""
    with Started(peer, words, variables or {}) as program:
        return program.end()


def run_server(peer: Peer, words: list[str], client: list[str], stop: list[str]) -> Run:
    """Runs a server under a peer while a client, which is not under it, puts a load on it and then stops it."""
    with Started(peer, words, {}) as server:
        server.wait_for("redis.sock")
        commands.run(client, server.folder, SECONDS)
        # What the client says is of no interest: the connection ends with the server.
        subprocess.run(stop, cwd=server.folder, env=commands.clean_environment(), stdin=subprocess.DEVNULL,
                       capture_output=True, check=False)
        return server.end()


class Started:
    """A program that was started under a peer, in a folder of its own; killed if it is still there at the end."""

    def __init__(self, peer: Peer, words: list[str], variables: dict[str, str]) -> None:
        self.what = f"{' '.join(words)} under {peer.name}"
        self.temporary = tempfile.TemporaryDirectory(prefix="heaptap-bench-")
        self.folder = Path(self.temporary.name)
        self.streams = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
        self.process = subprocess.Popen(words, cwd=self.folder, env=peer.environment() | variables,
                                        stdin=subprocess.DEVNULL, stdout=self.streams[0], stderr=self.streams[1])

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        for stream in self.streams:
            stream.close()
        self.temporary.cleanup()

    def wait_for(self, name: str) -> None:
        """Until the program has made this file."""
        end = time.monotonic() + 20
        while not (self.folder / name).exists():
            if time.monotonic() > end:
                raise Trouble(f"{self.what} made no {name}")
            time.sleep(0.01)

    def printed(self) -> str:
        """What it has written to stdout so far."""
        return os.pread(self.streams[0].fileno(), 1 << 16, 0).decode(errors="replace")

    def end(self) -> Run:
        """Waits for its end; a bad status is Trouble."""
        alarm = threading.Timer(SECONDS, self.process.kill)
        # Interrupted, we end without waiting for it.
        alarm.daemon = True
        alarm.start()
        try:
            _, status, usage = os.wait4(self.process.pid, 0)
        finally:
            alarm.cancel()
        self.process.returncode = os.waitstatus_to_exitcode(status)
        for stream in self.streams:
            stream.seek(0)
        output, errors = (stream.read().decode(errors="replace") for stream in self.streams)
        if self.process.returncode != 0:
            raise Trouble(f"{self.what} ended with status {self.process.returncode}: {(output + errors)[-300:]}")
        files = tuple(sorted(path.name for path in self.folder.iterdir()))
        return Run(usage.ru_utime + usage.ru_stime, usage.ru_maxrss, output, errors, files)


def instructions(peer: Peer, words: list[str]) -> int:
    """Instructions of a whole run, as callgrind counts them."""
    # --trace-children: not needed, the program is started directly and starts none.
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}"]
    text = run(peer, valgrind + words).errors
    found = re.search(r"Collected : (\d+)", text)
    if not found:
        raise Trouble(f"callgrind counted nothing:\n{text[-500:]}")
    return int(found[1])


def has_valgrind() -> bool:
    """Whether instructions can be counted."""
    return any((Path(folder) / "valgrind").exists() for folder in os.get_exec_path())
