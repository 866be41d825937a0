"""What must be true of the files in an archive, by what readelf says of them."""
import re
from pathlib import Path

from dist.build import GLIBC
from trial.commands import run
from trial.folders import REPOSITORY

#: Libraries that every glibc brings along.
GLIBCS_OWN = {"libc.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libm.so.6"}
LOADERS = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}
MACHINES = {"x86_64": "X86-64", "aarch64": "AArch64"}


def complaints(folder: Path, arch: str) -> list[str]:
    """What is wrong with an unpacked archive."""
    library, program = folder / "libheaptap.so", folder / "heaptap"
    wrong = [f"{name} is missing" for name in ("README.md", "LICENSE-MIT", "LICENSE-APACHE", "LICENSES-of-parts.txt")
             if not (folder / name).is_file()]
    # Redistributing jemalloc in binary form asks for its copyright notice.
    if "Jason Evans" not in (folder / "LICENSES-of-parts.txt").read_text():
        wrong.append("jemalloc's licence is missing")
    for path in (library, program):
        wrong += [f"{path.name}: {what}" for what in of_both(path, arch)]
    allowed = set((REPOSITORY / "tests" / "tidy" / "exports.txt").read_text().split())
    if exports(library) != allowed:
        wrong.append(f"libheaptap.so: exports differ: {sorted(exports(library) ^ allowed)}")
    # libm is not loaded in every process, and need not be.
    if "libm.so.6" in needed(library):
        wrong.append("libheaptap.so: needs libm")
    return wrong


def of_both(path: Path, arch: str) -> list[str]:
    """What is wrong with one file, be it library or program."""
    wrong = []
    if MACHINES[arch] not in run(["readelf", "-h", path]):
        wrong.append(f"is not for {arch}")
    strange = needed(path) - GLIBCS_OWN - {LOADERS[arch]}
    if strange:
        wrong.append(f"needs {sorted(strange)}")
    if newest(path) > numbers(GLIBC):
        wrong.append(f"needs GLIBC_{'.'.join(map(str, newest(path)))}, which is newer than {GLIBC}")
    if re.search(r"\((RPATH|RUNPATH|TEXTREL)\)", run(["readelf", "-dW", path])):
        wrong.append("has a RPATH, RUNPATH or TEXTREL")
    return wrong


def summary(folder: Path) -> str:
    """The figures, in words."""
    library, program = folder / "libheaptap.so", folder / "heaptap"
    return ", ".join(f"{path.name} {path.stat().st_size / 1e6:.2f} MB needs GLIBC_{'.'.join(map(str, newest(path)))}"
                     for path in (library, program))


def needed(path: Path) -> set[str]:
    """DT_NEEDED."""
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", run(["readelf", "-dW", path])))


def newest(path: Path) -> tuple[int, ...]:
    """The newest version of glibc that a symbol asks for, weak or not: the loader makes no difference."""
    return max(numbers(found) for found in re.findall(r"Name: GLIBC_([0-9.]+)", run(["readelf", "-VW", path])))


def exports(path: Path) -> set[str]:
    """Names of the symbols that it defines for others."""
    lines = (line.split() for line in run(["readelf", "-W", "--dyn-syms", path]).splitlines())
    return {words[7].split("@")[0] for words in lines
            if len(words) >= 8 and words[4] in ("GLOBAL", "WEAK") and words[6] not in ("UND", "Ndx")}


def numbers(version: str) -> tuple[int, ...]:
    """2.17 as (2, 17)."""
    return tuple(map(int, version.split(".")))
