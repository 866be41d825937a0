"""What must be true of the files in an archive, by what readelf says of them."""
import re
import tomllib
from pathlib import Path

from dist.build import GLIBC
from trial.commands import run
from trial.folders import REPOSITORY

#: Libraries that every glibc brings along, and whose names musl's loader takes for itself.
GLIBCS_OWN = {"libc.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libm.so.6"}
#: Names with an underscore that musl has, too: all others must be weak, or musl ends the program.
OF_BOTH = {"__cxa_atexit", "__cxa_finalize", "__errno_location", "__xpg_strerror_r"}
MACHINES = {"x86_64": "X86-64", "aarch64": "AArch64"}


def complaints(folder: Path, arch: str) -> list[str]:
    """What is wrong with an unpacked archive."""
    library, program = folder / "libheaptap.so", folder / "heaptap"
    wanted = ("README.md", "LICENSE-MIT", "LICENSE-APACHE", "LICENSES-of-parts.txt", "systemd/heaptap.conf",
              "systemd/heaptap-push.service", "man/man1/heaptap-push.1",
              "man/man1/heaptap.1", "man/man1/heaptap-report.1", "man/man7/heaptap-options.7",
              "completions/heaptap.bash", "completions/_heaptap", "completions/heaptap.fish")
    wrong = [f"{name} is missing" for name in wanted if not (folder / name).is_file()]
    # Redistributing jemalloc in binary form asks for its copyright notice.
    if "Jason Evans" not in (folder / "LICENSES-of-parts.txt").read_text():
        wrong.append("jemalloc's licence is missing")
    for path in (library, program):
        wrong += [f"{path.name}: {what}" for what in of_both(path, arch)]
    wrong += [f"heaptap: {what}" for what in of_program(program)]
    if newest(library) > numbers(GLIBC):
        wrong.append(f"libheaptap.so: needs GLIBC_{'.'.join(map(str, newest(library)))}, newer than {GLIBC}")
    allowed = set((REPOSITORY / "tests" / "tidy" / "exports.txt").read_text().split())
    if exports(library) != allowed:
        wrong.append(f"libheaptap.so: exports differ: {sorted(exports(library) ^ allowed)}")
    glibcs = {name for name in strongly_wanted(library) if name.startswith(("_", "gnu_"))} - OF_BOTH
    if glibcs:
        wrong.append(f"libheaptap.so: musl has no {sorted(glibcs)}")
    if probes(library) != {"alloc", "free"}:
        wrong.append(f"libheaptap.so: its note tells of the probes {sorted(probes(library))}")
    wrong += of_binstall(folder, arch)
    # libm is not loaded in every process, and need not be.
    if "libm.so.6" in needed(library):
        wrong.append("libheaptap.so: needs libm")
    return wrong


def of_both(path: Path, arch: str) -> list[str]:
    """What is wrong with one file, be it library or program."""
    wrong = []
    if MACHINES[arch] not in run(["readelf", "-h", path]):
        wrong.append(f"is not for {arch}")
    strange = needed(path) - GLIBCS_OWN
    if strange:
        wrong.append(f"needs {sorted(strange)}")
    if ".debug_info" in run(["readelf", "-SW", path]):
        wrong.append("has debug information")
    # What was mapped away: where it was built, and by whom.
    places = [str(REPOSITORY), str(Path.home() / ".cargo")]
    wrong += [f"names {place}" for place in places if place.encode() in path.read_bytes()]
    if re.search(r"\((RPATH|RUNPATH|TEXTREL)\)", run(["readelf", "-dW", path])):
        wrong.append("has a RPATH, RUNPATH or TEXTREL")
    return wrong


def of_binstall(folder: Path, arch: str) -> list[str]:
    """Where cargo binstall would look for the program, once `repository` is set, by what Cargo.toml tells it."""
    package = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["package"]
    values = {"repo": "", "name": package["name"], "version": package["version"], "target-arch": arch, "bin": "heaptap",
              "binary-ext": ""}
    fill = lambda text: re.sub(r"\{ ([a-z-]+) \}", lambda found: values[found[1]], text)
    told = package["metadata"]["binstall"]
    archive, program = fill(told["pkg-url"]).rsplit("/", 1)[1], fill(told["bin-dir"])
    fits = archive == f"{folder.name}.tar.gz" and (folder.parent / program).is_file()
    return [] if fits else [f"cargo binstall would look for {program} in {archive}"]


def of_program(path: Path) -> list[str]:
    """It runs where there is no libc at all."""
    segments = run(["readelf", "-lW", path])
    wrong = [] if "INTERP" not in segments else ["is not static: it names a loader"]
    return wrong + [f"needs {name}" for name in sorted(needed(path))]


def summary(folder: Path) -> str:
    """The figures, in words."""
    library, program = folder / "libheaptap.so", folder / "heaptap"
    return (f"{library.name} {library.stat().st_size / 1e6:.2f} MB needs GLIBC_{'.'.join(map(str, newest(library)))}, "
            f"{program.name} {program.stat().st_size / 1e6:.2f} MB is static")


def needed(path: Path) -> set[str]:
    """DT_NEEDED."""
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", run(["readelf", "-dW", path])))


def newest(path: Path) -> tuple[int, ...]:
    """The newest version of glibc that a symbol asks for, weak or not: the loader makes no difference."""
    found = re.findall(r"Name: GLIBC_([0-9.]+)", run(["readelf", "-VW", path]))
    return max(map(numbers, found), default=(0,))


def probes(path: Path) -> set[str]:
    """Names of its USDT probes."""
    return set(re.findall(r"Provider: otel_memory\s+Name: (\w+)", run(["readelf", "-nW", path])))


def exports(path: Path) -> set[str]:
    """Names of the symbols that it defines for others."""
    lines = (line.split() for line in run(["readelf", "-W", "--dyn-syms", path]).splitlines())
    return {words[7].split("@")[0] for words in lines
            if len(words) >= 8 and words[4] in ("GLOBAL", "WEAK") and words[6] not in ("UND", "Ndx")}


def strongly_wanted(path: Path) -> set[str]:
    """Names of the symbols that others must define."""
    lines = (line.split() for line in run(["readelf", "-W", "--dyn-syms", path]).splitlines())
    return {words[7].split("@")[0] for words in lines if len(words) >= 8 and words[6] == "UND" and words[4] == "GLOBAL"}


def numbers(version: str) -> tuple[int, ...]:
    """2.17 as (2, 17)."""
    return tuple(map(int, version.split(".")))
