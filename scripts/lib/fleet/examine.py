"""What must hold of a server under the tap, while it runs and after its end."""
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from fleet.server import Place, Server
from trial import dumps, folders

#: What the tap says on stderr without anything being wrong.
USUAL_WORDS = re.compile(r"^heaptap: (profiling|process \d+|pid \d+|\S+ \(pid \d+\))")


@dataclass(frozen=True)
class Check:
    """One column of the table."""
    name: str
    good: bool
    told: str = ""


#: Of `heaptap leaks`: nobody is accused, nor acquitted.
CANNOT_TELL = 3

COLUMNS = ("ps", "status", "dump", "dumps", "silent", "leaks")


def heaptap(place: Place, *words: object) -> subprocess.CompletedProcess:
    """The CLI, untapped; beside the dumps, as somebody who looks for them would be."""
    return subprocess.run([str(folders.RELEASE / "heaptap"), *map(str, words)], cwd=place.dumps, env=place.plain(),
                          capture_output=True, text=True, errors="replace", timeout=180, check=False)


def settle(place: Place, pid: int) -> None:
    """Lets a server alone until its keeper has begun, as `status` has it; a server that never gets there fails its checks."""
    deadline = time.monotonic() + 60
    while heaptap(place, "status", pid).returncode != 0 and time.monotonic() < deadline:
        time.sleep(0.5)


def running(server: Server, place: Place, pid: int) -> list[Check]:
    """`ps`, `status` and `dump`."""
    listed = json.loads(heaptap(place, "ps", "--json").stdout)["processes"]
    row = next((row for row in listed if row["pid"] == pid), None)
    named = row is not None and server.title in row["program"]
    status = heaptap(place, "status", pid)
    asked = heaptap(place, "dump", pid)
    path = Path(asked.stdout.strip() or "/none")
    return [
        Check("ps", named and row["state"] == "alive", f"{pid}: " + (row["program"] if row else f"not among {len(listed)}")),
        Check("status", status.returncode == 0 and " profiled" in status.stdout, status.stdout.strip() + status.stderr.strip()),
        Check("dump", asked.returncode == 0 and path.is_file() and path.parent == place.dumps, (asked.stdout + asked.stderr).strip()),
    ]


def ended(server: Server, place: Place, pid: int, others: set[int], killed: int) -> list[Check]:
    """What it left: its dumps where it was started, no helper's, and no accusation."""
    if server.is_recovered:
        heaptap(place, "recover", *(["--all-users"] if os.getuid() == 0 else []), place.dumps)
    found = dumps.find(place.folder)
    own = dumps.of_process(found, pid)
    astray = [dump.path for dump in found if dump.path.parent != place.dumps]
    has_final = any(dump.kind == "f" for dump in own)
    helpers = [dump for dump in found if dump.pid not in others | {pid} and not dump.is_significant()]
    if server.more_options:
        # Which make its launcher, the same program, worth a dump.
        helpers = [dump for dump in helpers if dump.program() != own[-1].program()] if own else helpers
    files = left_files(place)
    spoken = strange_words(place)
    verdict = heaptap(place, "leaks", "--pid", pid, ".")
    return [
        Check("dumps", has_final and not astray and not killed,
              f"{len(own)} of {pid}, {len(found)} in all" + (", the last one recovered" if server.is_recovered else "") + ("" if has_final else ", no final one") + f"{astray or ''}"
              + (f", {killed} processes had to be killed" if killed else "")),
        Check("silent", not helpers and not files and not spoken,
              ", ".join([*(f"{dump.program()} {dump.pid}" for dump in helpers), *files, *spoken])),
        Check("leaks", verdict.returncode in (0, CANNOT_TELL), " ".join((verdict.stdout + verdict.stderr).split())[:300]),
    ]


def left_files(place: Place) -> list[str]:
    """Files on tmpfs of lives that wrote, or would have written, to this place."""
    deadline = time.monotonic() + 60
    while True:
        found = [claim.name for claim in Path("/dev/shm").glob("heaptap-*/*.claim") if names(claim, place)]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def names(claim: Path, place: Place) -> bool:
    try:
        return str(place.dumps).encode() in claim.read_bytes()
    except OSError:
        return False


def strange_words(place: Place) -> list[str]:
    """What the tap said that is not usual."""
    logs = [place.log, *place.home.glob("*.log")]
    lines = [line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines()]
    said = [line[line.index("heaptap:"):] for line in lines if "heaptap:" in line]
    return sorted({line for line in said if not USUAL_WORDS.match(line)})[:3]
