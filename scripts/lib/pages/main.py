"""scripts/pages: one leak in Python under heaptap and memray, one in Java under heaptap and async-profiler; each tool's page, a picture of
it, and a table. What cannot be had (PyPI, Maven Central) is left out aloud. A page lasts --seconds; twenty by default.
"""
import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

from trial import commands, folders, maven
from trial.steps import Trouble, say

HERE = Path(__file__).resolve().parent
ASYNC_PROFILER = "tools.profiler:async-profiler:4.6:jar"
MEMRAY = "memray==1.20.0"


class Pages:
    """Makes the pages into one folder."""

    def __init__(self, out: Path, seconds: int) -> None:
        self.out, self.seconds = out, str(seconds)
        self.heaptap = folders.RELEASE / "heaptap"
        self.made: list[tuple[str, Path, str]] = []

    def run(self, command: list[str | Path], **more: str) -> None:
        """Runs a program under test to its end."""
        words = [str(word) for word in command]
        done = subprocess.run(words, cwd=self.out, env=commands.clean_environment() | more, check=False, timeout=600,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise Trouble(f"{' '.join(words)} failed with status {done.returncode}:\n{done.stderr[-2000:]}")

    def ours(self, name: str, command: list[str | Path]) -> None:
        """A program under heaptap, and its page at two tabs."""
        dumps = self.out / f"{name}-dumps"
        dumps.mkdir()
        conf = f"prof:true,lg_prof_sample:16,prof_dump_seconds:4,prof_final:true,prof_min_seconds:5,prof_min_bytes:0,prof_prefix:{dumps}/jeprof"
        self.run(command, LD_PRELOAD=str(folders.RELEASE / "libheaptap.so"), MALLOC_CONF=conf)
        page = self.out / f"{name}-heaptap.html"
        commands.run([self.heaptap, "page", dumps, "-o", page])
        self.made += [(f"{name}: heaptap, over time", page, "#tab=time"), (f"{name}: heaptap, flame", page, "#tab=flame")]

    def memray(self) -> None:
        """A virtual environment with memray, and its three pages."""
        home = folders.cache() / MEMRAY.replace("==", "-")
        if not (home / "bin" / "memray").exists():
            venv.create(home, with_pip=True)
            commands.run([home / "bin" / "pip", "install", "-q", MEMRAY])
        memray, capture = home / "bin" / "memray", self.out / "python.bin"
        self.run([memray, "run", "--native", "-f", "-o", capture, HERE / "leak.py", self.seconds], PYTHONMALLOC="malloc")
        for name, options in [("flamegraph", ["flamegraph", "--leaks"]), ("temporal", ["flamegraph", "--temporal", "--leaks"]),
                              ("table", ["table", "--leaks"])]:
            page = self.out / f"python-memray-{name}.html"
            commands.run([memray, *options, "-f", "-o", page, capture])
            self.made.append((f"python: memray, {name}", page, ""))

    def async_profiler(self, java: Path) -> None:
        """The agent from Maven Central, and the page that it writes as the program ends."""
        machine = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}[platform.machine()]
        with zipfile.ZipFile(maven.fetch(ASYNC_PROFILER)) as archive:
            agent = self.out / "libasyncProfiler.so"
            agent.write_bytes(archive.read(f"{machine}/libasyncProfiler.so"))
        page = self.out / "java-async-profiler.html"
        self.run([java, f"-agentpath:{agent}=start,event=nativemem,total,file={page}", HERE / "Leak.java", self.seconds])
        self.made.append(("java: async-profiler, flame graph", page, ""))

    def table(self) -> None:
        """Looks at each page and says what was found."""
        browser = shutil.which("chromium") or shutil.which("google-chrome")
        if not browser:
            raise Trouble("there is no chromium: run scripts/setup tests")
        lines = ["| page | KiB | loaded after, ms | asks the network for |", "|---|---:|---:|---|"]
        for title, page, fragment in self.made:
            picture = self.out / (title.replace(": ", "-").replace(", ", "-").replace(" ", "-") + ".png")
            told = json.loads(commands.run(["node", HERE / "look.js", browser, page, picture, fragment]))
            elsewhere = ", ".join(sorted({address.split("/")[2] for address in told["elsewhere"]})) or "nothing"
            lines.append(f"| {title} | {told['bytes'] / 1024:.0f} | {told['opened']} | {elsewhere} |")
        (self.out / "pages.md").write_text("\n".join(lines) + "\n")
        say("\n".join(lines))


def main() -> int:
    """Parses the arguments and makes everything."""
    parser = argparse.ArgumentParser(prog="scripts/pages", description=__doc__)
    parser.add_argument("--out", type=Path, default=folders.REPOSITORY / "pages", help="folder for pages and pictures")
    parser.add_argument("--seconds", type=int, default=20, help="how long each program leaks")
    options = parser.parse_args()
    folders.empty(options.out)
    pages, java = Pages(options.out.absolute(), options.seconds), Path(shutil.which("java") or "java")
    works = [
        ("python under heaptap", lambda: pages.ours("python", [sys.executable, HERE / "leak.py", pages.seconds])),
        ("python under memray", pages.memray),
        ("java under heaptap", lambda: pages.ours("java", [java, HERE / "Leak.java", pages.seconds])),
        ("java under async-profiler", lambda: pages.async_profiler(java)),
    ]
    for title, work in works:
        say(title)
        try:
            work()
        except Trouble as reason:
            say(f"skipped: {title}: {reason}")
    pages.table()
    return 0


if __name__ == "__main__":
    try:
        os.umask(0o022)
        sys.exit(main())
    except Trouble as trouble:
        print(f"trouble: {trouble}", file=sys.stderr)
        sys.exit(2)
