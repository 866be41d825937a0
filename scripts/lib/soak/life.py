"""One process, from its start to its end or its deadline, watched from outside."""
import os
import resource
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from soak.cells import Cell
from trial import commands

#: How often its end is looked for.
STEP_SECONDS = 0.02
#: How long a look from outside may take.
LOOK_SECONDS = 120


@dataclass
class Outcome:
    """What came of a process."""
    folder: Path
    pid: int
    status: int | None
    stdout: str
    stderr: str
    rss_bytes: int
    seconds: float
    #: What went wrong with looks from outside.
    looks: str = ""


@dataclass(frozen=True)
class Tap:
    """The library and program under test."""
    library: Path
    cli: Path


def live(cell: Cell, folder: Path, tap: Tap | None, looks: bool = False) -> Outcome:
    """Runs a cell in a folder of its own; without a tap it is the plain program. A process that hangs is ended."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = commands.clean_environment()
    if tap:
        environment |= {"LD_PRELOAD": str(tap.library), "MALLOC_CONF": cell.configuration}
        environment |= {"HEAPTAP_FAULTS": cell.faults} if cell.faults else {}
    begin = time.monotonic()
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(cell.command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=stdout,
                                   stderr=stderr, start_new_session=True, preexec_fn=without_cores)
    outcome = Outcome(folder, process.pid, None, "", "", 0, 0.0)
    try:
        wait(cell, process, outcome, begin, tap if looks else None)
    finally:
        end_session(process.pid)
    outcome.seconds = time.monotonic() - begin
    outcome.stdout = (folder / "stdout").read_text(errors="replace")
    outcome.stderr = (folder / "stderr").read_text(errors="replace")
    return outcome


def without_cores() -> None:
    """A crash leaves hs_err and no core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def wait(cell: Cell, process: subprocess.Popen, outcome: Outcome, begin: float, looks: Tap | None) -> None:
    """Waits for the end; kills where that is what the cell wants."""
    looked = looks is None
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        elapsed = time.monotonic() - begin
        if pid:
            outcome.status = os.waitstatus_to_exitcode(status)
            outcome.rss_bytes = usage.ru_maxrss * 1024
            process.returncode = outcome.status
            return
        if not looked and elapsed > 0.6 * cell.seconds:
            looked = True
            outcome.looks = look(looks, process.pid)
        if cell.end == "kill" and elapsed > 0.9 * cell.seconds:
            os.kill(process.pid, signal.SIGKILL)
        elif elapsed > cell.deadline:
            keep_evidence(process.pid, outcome.folder)
            end_session(process.pid)
            os.wait4(process.pid, 0)
            process.returncode = -9
            return
        time.sleep(STEP_SECONDS)


def look(tap: Tap, pid: int) -> str:
    """Reads the running process from outside and asks it for a dump; what failed, as text."""
    failed = []
    for words in (["report", str(pid)], ["status", str(pid)], ["dump", str(pid)]):
        try:
            done = subprocess.run([tap.cli, *words], env=commands.clean_environment(), timeout=LOOK_SECONDS, check=False,
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        except subprocess.TimeoutExpired:
            failed.append(f"heaptap {words[0]} did not end within {LOOK_SECONDS} s")
            continue
        # The process may have ended meanwhile.
        if done.returncode not in (0, 1) and Path(f"/proc/{pid}/exe").exists():
            failed.append(f"heaptap {words[0]}: status {done.returncode}: {done.stderr.strip()[-500:]}")
    return "; ".join(failed)


def keep_evidence(pid: int, folder: Path) -> None:
    """What each thread of a process that hangs is doing."""
    lines = []
    for task in sorted(Path(f"/proc/{pid}/task").glob("*")):
        try:
            words = [(task / name).read_text().strip() for name in ("comm", "wchan", "syscall")]
        except OSError as gone:
            words = [str(gone)]
        lines.append(f"{task.name} {' | '.join(words)}")
    (folder / "threads").write_text("\n".join(lines) + "\n")
    if shutil.which("gdb"):
        with (folder / "stacks").open("wb") as stacks:
            try:
                subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 40"], check=False, timeout=120,
                               env=commands.clean_environment(), stdin=subprocess.DEVNULL, stdout=stacks, stderr=stacks)
            except subprocess.TimeoutExpired:
                pass
    try:
        # A Java VM answers with its own view of its threads, on stdout.
        os.kill(pid, signal.SIGQUIT)
        time.sleep(3)
    except ProcessLookupError:
        pass


def end_session(pid: int) -> None:
    """Ends what is left of the process and of what it started: all of that is in a session of its own."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == pid and int(stat.parent.name) != os.getpid():
                os.kill(int(stat.parent.name), signal.SIGKILL)
        except (OSError, IndexError, ValueError):
            continue
