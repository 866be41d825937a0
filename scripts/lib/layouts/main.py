"""`scripts/layouts`: adds the layouts of the JDKs that are here to src/tap/jvm/layouts.txt."""
import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from layouts.image import Image
from layouts.tables import Layout, read
from trial import commands, debian_jdks, folders, jdks
from trial.steps import Trouble, complain, say

FILE = folders.REPOSITORY / "src" / "tap" / "jvm" / "layouts.txt"
RELEASES = (8, 11, 17, 21, 25)
START_SECONDS = 60

HEAD = """\
# Layouts of HotSpot by libjvm's build id, for builds that do not export their tables. Made by scripts/layouts; read by
# known.rs. A block: builds, each with the addresses of its own static fields counted from where the library lies, then
# the offsets, sizes and constants that all of them share, up to an empty line.
"""

WAIT = "public class Wait { public static void main(String[] none) throws Exception { System.in.read(); } }\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/layouts", description=__doc__)
    parser.add_argument("homes", nargs="*", type=Path, metavar="JAVA_HOME", help="other JDKs than those that are found")
    options = parser.parse_args()
    try:
        found = known()
        for home in options.homes or usual():
            layout, name = look(home)
            found[layout.build_id, layout.machine] = (layout, name)
            say(f"{layout.build_id} {layout.machine} {name}")
        FILE.write_text(text(found))
        say(f"{len(found)} builds in {FILE.relative_to(folders.REPOSITORY)}, {FILE.stat().st_size} bytes")
        return 0
    except Trouble as trouble:
        return complain(trouble)


def usual() -> list[Path]:
    """A JDK of each release, if it can be had."""
    homes = []
    for release in RELEASES:
        try:
            homes.append(jdks.find(release) or debian_jdks.fetch(release))
        except (Trouble, StopIteration) as trouble:
            say(f"skipped: JDK {release}: {(str(trouble).splitlines() or ['?'])[0]}")
    return homes


def look(home: Path) -> tuple[Layout, str]:
    """Starts a Java VM and reads its tables."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "Wait.java"
        source.write_text(WAIT)
        commands.run([home / "bin" / "javac", "-d", folder, source])
        process = subprocess.Popen([home / "bin" / "java", "-Xmx32m", "-cp", folder, "Wait"], stdin=subprocess.PIPE,
                                   env=commands.clean_environment())
        try:
            return from_process(process.pid), version(home)
        finally:
            process.kill()
            process.wait()


def from_process(pid: int) -> Layout:
    """The tables, as soon as they are filled in."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            image = Image(pid, "libjvm.so")
            try:
                return read(image)
            finally:
                image.close()
        except (ValueError, OSError) as trouble:
            if time.monotonic() > end:
                raise Trouble(f"the Java VM cannot be read: {trouble}") from None
            time.sleep(0.1)


def version(home: Path) -> str:
    """What the JDK calls itself."""
    done = subprocess.run([home / "bin" / "java", "-Xinternalversion"], env=commands.clean_environment(), check=False,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    words = done.stdout.replace("(", " ").replace(")", " ").split()
    return next((word for word in words if word[0].isdigit() and "." in word), "?")


def known() -> dict[tuple[str, str], tuple[Layout, str]]:
    """What the file has already."""
    found: dict[tuple[str, str], tuple[Layout, str]] = {}
    text = FILE.read_text() if FILE.exists() else ""
    for block in text.split("\n\n"):
        heads, fields = [], []
        for line in block.splitlines():
            if line.startswith("build "):
                heads.append((line.split(" "), []))
            elif " @" in line and heads:
                heads[-1][1].append(line)
            elif line and not line.startswith("#"):
                fields.append(line)
        for (_, build_id, machine, name), statics in heads:
            found[build_id, machine] = (Layout(build_id, machine, tuple(statics), tuple(fields)), name)
    return found


def text(found: dict[tuple[str, str], tuple[Layout, str]]) -> str:
    """The file: builds of the same layout together."""
    blocks: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for layout, name in sorted(found.values(), key=lambda one: (one[0].machine, [int(word) if word.isdigit() else 0 for word in one[1].split(".")])):
        lines = [f"build {layout.build_id} {layout.machine} {name}", *layout.statics]
        blocks.setdefault((layout.machine, layout.fields), []).append("\n".join(lines))
    return HEAD + "".join("\n" + "\n".join([*builds, *fields]) + "\n" for (_, fields), builds in blocks.items())


if __name__ == "__main__":
    sys.exit(main())
