"""Runs the tools of the toolchain (cargo, mvn, javac, jeprof), never under a preload, and explains failures."""
import os
import subprocess
from pathlib import Path

from trial.steps import Trouble

#: How much of a failed tool's output is shown.
SHOWN_LINES = 15


def clean_environment() -> dict[str, str]:
    """Ours, without what would tap the tools themselves."""
    tapping = ("LD_PRELOAD", "MALLOC_CONF", "JAVA_TOOL_OPTIONS")
    return {name: value for name, value in os.environ.items() if name not in tapping}


def run(command: list[str | Path], folder: Path | None = None, seconds: float = 600) -> str:
    """Runs a command to its end and returns what it printed; a failure is Trouble with its last lines."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, cwd=folder, env=clean_environment(), timeout=seconds, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except FileNotFoundError:
        raise Trouble(f"{words[0]} is not installed: run scripts/setup") from None
    except subprocess.TimeoutExpired:
        raise Trouble(f"{' '.join(words)} did not end within {seconds:.0f} s") from None
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-SHOWN_LINES:])
        raise Trouble(f"{' '.join(words)} failed with status {done.returncode}:\n{tail}")
    return done.stdout


def run_into(command: str, output: Path, folder: Path) -> None:
    """Runs a shell command line in a folder, its stdout into a file; the file must not stay empty."""
    with output.open("wb") as file:
        done = subprocess.run(["sh", "-c", command], cwd=folder, env=clean_environment(), check=False,
                              stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0 or output.stat().st_size == 0:
        raise Trouble(f"{command} failed with status {done.returncode}:\n{done.stderr.strip()}")


def run_showing(command: list[str | Path]) -> None:
    """Runs a command whose own output is progress that the person wants to see."""
    words = [str(word) for word in command]
    if subprocess.run(words, env=clean_environment(), stdin=subprocess.DEVNULL, check=False).returncode != 0:
        raise Trouble(f"{' '.join(words)} failed (see above)")
