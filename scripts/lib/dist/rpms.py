"""Installs the rpm packages by real rpm and dnf: alone, as a set, from a repository; upgrades and removes them.

The userland is as near to Red Hat's as the registries come. It has Debian 12's files and its own rpm and dnf, with a
database in which one package is known, that we make: `glibc`, without files, which provides what rpm's own generator
would say of the libc that is there. So dependencies are resolved by rpm and dnf themselves. What is Debian's remains: its
loader looks for $LIB in lib/x86_64-linux-gnu, so the library is preloaded by the path that the package puts it to.
"""
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dist import build, installs, server, tools
from dist.roots import debian, inside, lacks, listing, put, rest, status
from trial.commands import run

PRELOAD = "/usr/lib64/heaptap/libheaptap.so"
DNF = ["dnf", "-y", "--releasever=0", "--repofrompath=here,/packages", "--repo=here", "--nogpgcheck"]
#: Where rpm keeps its books; Debian's would take a folder of its user's.
MACROS = "%_dbpath /var/lib/rpm\n"


def rpms() -> Iterator[tuple[str, str]]:
    """By rpm, then by dnf."""
    if lacking := lacks("debootstrap"):
        yield "rpm", lacking
        return
    made = sorted(build.OUTPUT.glob("*.x86_64.rpm"))
    if not made:
        yield "rpm", "skipped: no rpm was made"
        return
    root = debian("bookworm", "-rpm", ["rpm", "dnf", "createrepo-c"])
    empty_books(root)
    new = installs.next_ones("rpm")
    yield from by_rpm(root, made, new)
    yield from by_dnf(root, made, new)


def empty_books(root: Path) -> None:
    """A root in which rpm knows nothing, and none of our packages is left."""
    for name in ("var/lib/rpm", "var/lib/dnf", "var/cache/dnf", "packages", "usr/lib64/heaptap"):
        shutil.rmtree(root / name, ignore_errors=True)
    (root / "etc" / "rpm").mkdir(exist_ok=True)
    (root / "etc" / "rpm" / "macros").write_text(MACROS)
    (root / "var" / "lib" / "rpm").mkdir()
    inside(root, ["rpm", "--initdb"])


def by_rpm(root: Path, made: list[Path], new: list[Path]) -> Iterator[tuple[str, str]]:
    """-i, which wants its libc first, -V, the leak, -U below the running server, -e."""
    before = listing(root)
    old = put(root, made)
    refused = inside(root, ["rpm", "-i", *old])
    wanted = "libc.so.6(GLIBC_2.17)(64bit) is needed by libheaptap"
    yield "rpm -i without a libc is refused", "ok" if refused.returncode and wanted in refused.stderr else f"FAILED: {refused.stderr}"
    yield "rpm knows the libc", status(inside(root, ["rpm", "-i", *put(root, [libc(root)])]))
    yield "rpm -i", status(inside(root, ["rpm", "-i", *old]))
    yield "rpm -V", status(inside(root, ["rpm", "-V", "libheaptap", "heaptap"]))

    def upgrade(pid: int) -> str:
        done = status(inside(root, ["rpm", "-U", *put(root, new)]))
        return done if done != "ok" else installs.read_on(pid)

    yield "rpm: the leak is found by a server that was upgraded below", server.leak(root, PRELOAD, upgrade)
    yield "rpm: upgraded", installs.as_upgraded(versions(root))
    yield "rpm: heaptap run", server.short_run(root)
    refused = inside(root, ["rpm", "-e", "libheaptap"])
    yield "rpm: the library alone does not go", "ok" if refused.returncode else "FAILED: rpm removed it"
    yield "rpm -e", status(inside(root, ["rpm", "-e", "heaptap", "libheaptap"]))
    yield "rpm: nothing is left", rest(root, before)


def by_dnf(root: Path, made: list[Path], new: list[Path]) -> Iterator[tuple[str, str]]:
    """From a repository: install takes the library along, upgrade both; remove leaves nothing."""
    before = listing(root)
    shutil.rmtree(root / "packages")
    put(root, made)
    yield "dnf: a repository", status(inside(root, ["createrepo_c", "--quiet", "/packages"]))
    yield "dnf install", status(inside(root, [*DNF, "install", "heaptap"]))
    yield "dnf: heaptap run", server.short_run(root)
    put(root, new)
    inside(root, ["createrepo_c", "--quiet", "/packages"])
    yield "dnf upgrade", status(inside(root, [*DNF, "upgrade", "--refresh"]))
    yield "dnf: upgraded", installs.as_upgraded(versions(root))
    yield "dnf remove", status(inside(root, [*DNF, "remove", "heaptap", "libheaptap"]))
    yield "dnf: nothing is left", rest(root, before)


def versions(root: Path) -> list[str]:
    """Of the installed packages."""
    return inside(root, ["rpm", "-q", "--queryformat", "%{VERSION} ", "heaptap", "libheaptap"]).stdout.split()


def libc(root: Path) -> Path:
    """A package without files that provides what this root's libc does: `libc.so.6(GLIBC_2.17)(64bit)` and so on."""
    library = root / "usr" / "lib" / "x86_64-linux-gnu" / "libc.so.6"
    defined = run(["readelf", "-VW", library]).split("Version needs section")[0]
    found = sorted(set(re.findall(r"Name: (GLIBC_[0-9.]+)\n", defined + "\n")))
    description = {
        "name": "glibc", "arch": "amd64", "platform": "linux", "version": "2.36", "release": "0", "maintainer": "nobody",
        "description": "Stands for the libc that is there", "license": "none",
        "provides": ["libc.so.6()(64bit)", "rtld(GNU_HASH)", *(f"libc.so.6({version})(64bit)" for version in found)],
    }
    wanted = build.OUTPUT / "next" / "glibc-2.36-0.x86_64.rpm"
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "nfpm.yaml"
        configuration.write_text(json.dumps(description))
        run([tools.go("nfpm"), "package", "--config", configuration, "--packager", "rpm", "--target", wanted])
    return wanted
