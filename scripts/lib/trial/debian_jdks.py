"""JDKs that are not installed: unpacked from Debian's unstable branch into a folder of ours, and never installed.

Unstable has every release from 8 on, built for a newer C library than a stable system has. So that library is unpacked, too,
and the JDK's programs are made to start with it (patchelf). As a command it fetches releases and prints their homes:

    python3 -m trial.debian_jdks 8 11 21
"""
import os
import platform
import shutil
import sys
from pathlib import Path

from trial import commands, folders
from trial.steps import Trouble

KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SOURCE = f"deb [signed-by={KEYS}] http://deb.debian.org/debian sid main\n"

#: What HotSpot and the JDK's own libraries need to run without a screen.
LIBRARIES = ("libc6", "zlib1g", "libstdc++6", "libgcc-s1")

#: Written last of all.
READY = "ready"


def fetch(major: int) -> Path:
    """The home of that release, fetched unless it is there."""
    root = folders.jdks() / str(major)
    if not (root / READY).exists():
        for tool in ("apt-get", "dpkg", "patchelf"):
            if not shutil.which(tool):
                raise Trouble(f"no {tool} here to unpack a JDK {major} of Debian with: run scripts/setup jdks")
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        unpack([f"openjdk-{major}-jre-headless", f"openjdk-{major}-jdk-headless", *LIBRARIES], root)
        make_whole(home(root))
        make_start(root)
        (root / READY).touch()
    return home(root)


def found() -> list[Path]:
    """The homes of those that were fetched."""
    return [home(ready.parent) for ready in sorted(folders.jdks().glob(f"*/{READY}"))]


def home(root: Path) -> Path:
    return next((root / "usr" / "lib" / "jvm").glob(f"java-{root.name}-openjdk-*"))


def unpack(packages: list[str], root: Path) -> None:
    """Downloads packages of that branch with lists of our own, and unpacks them into a folder."""
    root.mkdir(parents=True, exist_ok=True)
    apt = folders.jdks() / "apt"
    for folder in ("lists", "cache/archives"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    sources = apt / "sources.list"
    sources.write_text(SOURCE)
    options = [f"-oDir::Etc::sourcelist={sources}", "-oDir::Etc::sourceparts=/dev/null",
               f"-oDir::State::lists={apt / 'lists'}", f"-oDir::Cache={apt / 'cache'}",
               f"-oAPT::Sandbox::User={'root' if os.getuid() == 0 else ''}"]
    commands.run(["apt-get", "-q", *options, "update"])
    commands.run(["apt-get", "-q", *options, "download", *packages], folder=root)
    for package in sorted(root.glob("*.deb")):
        commands.run(["dpkg", "-x", package, root])
        package.unlink()


def make_whole(jdk: Path) -> None:
    """Puts what Debian keeps in /etc where the JDK looks for it."""
    root = jdk.parents[3]
    for link in [path for path in jdk.rglob("*") if path.is_symlink()]:
        target = os.readlink(link)
        if target.startswith("/etc/"):
            link.unlink()
            inside = root / target.lstrip("/")
            if inside.exists():
                link.symlink_to(os.path.relpath(inside, link.parent))


def make_start(root: Path) -> None:
    """Makes the JDK's programs use the C library beside it."""
    machine = f"{platform.machine()}-linux-gnu"
    # Its own libraries first: where JDK 8 has them, and where the others do.
    libraries = ":".join([*(f"$ORIGIN/../lib/{part}" for part in ("", "jli", "amd64/jli", "aarch64/jli")),
                          str(root / "usr" / "lib" / machine)])
    loader = next((path for path in sorted(root.rglob("ld-linux-*.so.*")) if path.is_file()), None)
    if loader is None:
        raise Trouble(f"no dynamic loader in {root}")
    for program in [*home(root).rglob("bin/*"), *home(root).rglob("jspawnhelper")]:
        if program.is_file() and not program.is_symlink() and program.read_bytes()[:4] == b"\x7fELF":
            commands.run(["patchelf", "--set-interpreter", loader, "--force-rpath", "--set-rpath", libraries, program])
    commands.run([home(root) / "bin" / "java", "-version"])


def main() -> int:
    """Prints the homes of what could be had, separated by colons; says on stderr what could not."""
    homes = []
    for word in sys.argv[1:]:
        try:
            homes.append(str(fetch(int(word))))
        except (Trouble, StopIteration) as trouble:
            print(f"no JDK {word}: {str(trouble).splitlines()[0]}", file=sys.stderr)
    print(":".join(homes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
