"""CPython's own tests of threads, forks, processes and signals, run by the system's Python."""
import os
import re
import shutil
import signal
import subprocess
import xml.etree.ElementTree as xml
from pathlib import Path

from suites import packages
from trial import commands
from trial.steps import Trouble

PYTHON = Path("/usr/bin/python3")
MODULES = (
    "test_threading", "test_thread", "test_fork1", "test_subprocess", "test_signal", "test_posix", "test_wait3", "test_wait4",
    "test_concurrent_futures", "test_multiprocessing_fork", "test_multiprocessing_forkserver", "test_multiprocessing_spawn",
    "test_faulthandler", "test_gc", "test_weakref", "test_contextlib", "test_queue", "test_ctypes", "test_mmap", "test_atexit",
)
#: A bound for hangs.
SECONDS = 900


class CPython:
    """The suite of the system's Python."""
    name = "CPython"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules = MODULES

    def prepare(self) -> None:
        """A Python of links to the installed one, and with the whole suite: programs that ignore PYTHONPATH find it, too."""
        if not PYTHON.exists():
            raise Trouble(f"no {PYTHON}")
        words = commands.run([PYTHON, "-c", "import sys, sysconfig; print(*sys.version_info[:2], sysconfig.get_path('stdlib'))"])
        major, minor, installed = words.split()
        suite = packages.unpack(f"libpython{major}.{minor}-testsuite") / installed.lstrip("/") / "test"
        library = self.folder / "lib" / f"python{major}.{minor}"
        library.mkdir(parents=True)
        for entry in Path(installed).iterdir():
            if entry.name != "test":
                (library / entry.name).symlink_to(entry)
        for source in (suite, Path(installed) / "test"):
            shutil.copytree(source, library / "test", symlinks=True, dirs_exist_ok=True)
        self.python = self.folder / "bin" / f"python{major}.{minor}"
        self.python.parent.mkdir()
        shutil.copy(PYTHON.resolve(), self.python)
        commands.run([self.python, "-I", "-c", "import test.test_threading, ctypes"])

    def cases(self) -> list[str]:
        """What is run by itself."""
        return list(self.modules)

    def run(self, module: str, environment: dict[str, str]) -> dict[str, str]:
        """Results by test; one pseudo test says how the run ended."""
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        # The interpreter that runs the tests is tapped, and so is whatever it starts.
        command = [self.python, "-m", "test", "--junit-xml", report, "--timeout", str(SECONDS), module]
        process = subprocess.Popen(command, cwd=self.folder, env=environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            output, _ = process.communicate(timeout=SECONDS + 60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return {f"{module}: the run": "hang"}
        (self.folder / f"{module}.log").write_bytes(output)
        results = {f"{module}: the run": "ended" if process.returncode >= 0 else f"signal {-process.returncode}"}
        return results | (read(report) if report.exists() else {})


def read(report: Path) -> dict[str, str]:
    """A word for each test."""
    words = {}
    for case in xml.parse(report).getroot().iter("testcase"):
        word = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "ok")
        name = re.sub(r"0x[0-9a-f]+", "0x…", case.get("name", "?"))
        # A test may have several entries, one for each of its parts: the worst counts.
        if words.get(name, "ok") in ("ok", "skipped"):
            words[name] = word
    return words

