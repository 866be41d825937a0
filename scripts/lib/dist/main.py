"""The command line of scripts/dist."""
import argparse
import filecmp
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from dist import artefact, build, containers, files, image, installs, manifests, packages, roots, rpms, sums, tools, userlands
from trial.steps import Trouble


def arguments() -> argparse.Namespace:
    """What the user wants."""
    parser = argparse.ArgumentParser(prog="scripts/dist", description=(
        "Makes what users get, in target/dist: for each architecture a tar.gz, deb and rpm packages and debug files, and "
        "for both one OCI image, a list of parts, SHA256SUMS and its signature (HEAPTAP_SIGNING_KEY names minisign's "
        "secret key). The library is for glibc 2.17 and later, the program static. Checks all of it."))
    # Without choices=: Python 3.11 checks a default list as if it were one choice.
    parser.add_argument("arch", nargs="*", metavar="ARCH", help=f"{' '.join(build.ARCHITECTURES)} (default: both)")
    parser.add_argument("--try", dest="tried", action="store_true", help=(
        "also install, upgrade, use and remove it: in Debian 11, 12 and sid, by rpm and dnf, by podman and as a pod, with an "
        "empty root, and on aarch64 under qemu-user (as root; downloads 800 MB once)"))
    parser.add_argument("--again", action="store_true", help="build twice, and compare byte by byte")
    wanted = parser.parse_args()
    wanted.arch = wanted.arch or list(build.ARCHITECTURES)
    strange = [arch for arch in wanted.arch if arch not in build.ARCHITECTURES]
    if strange:
        parser.error(f"no architecture {strange[0]!r}: there are {' '.join(build.ARCHITECTURES)}")
    return wanted


class Tally:
    """What passed, failed and was skipped."""

    def __init__(self) -> None:
        self.passed, self.failed, self.skipped = 0, 0, 0

    def count(self, name: str, verdict: str) -> None:
        """Prints and counts one; a verdict is `ok`, `skipped: why` or `FAILED: what`."""
        print(f"  {name}: {verdict}", flush=True)
        self.passed += verdict == "ok"
        self.skipped += verdict.startswith("skipped")
        self.failed += not (verdict == "ok" or verdict.startswith("skipped"))

    def attempt(self, name: str, step: Callable[[], list[Path]]) -> list[Path]:
        """What a step made; nothing if this machine cannot do it."""
        try:
            made = step()
        except tools.NotPossible as reason:
            self.count(name, f"skipped: {reason}")
            return []
        for path in made:
            print(f"  {path.name} {path.stat().st_size / 1e6:.2f} MB", flush=True)
        self.count(name, "ok")
        return made


def main() -> int:
    """Builds, checks and tries; prints totals as the other scripts do."""
    wanted, tally = arguments(), Tally()
    for path in files.old():
        path.unlink()
    tally.attempt("Kubernetes examples fit the API", manifests.check)
    made = make(wanted.arch, tally)
    if made and wanted.again:
        tally.count("a second build is equal", again(wanted.arch, made))
    for name, verdict in tries(wanted.arch) if wanted.tried else []:
        tally.count(name, verdict)
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed else 0


def make(architectures: list[str], tally: Tally) -> list[Path]:
    """Everything for these architectures."""
    all_built, pages, made = [], None, []
    for arch in architectures:
        print(f"{arch}:", flush=True)
        try:
            all_built.append(build.build(arch))
        except tools.NotPossible as reason:
            tally.count(arch, f"skipped: {reason}")
    runnable = [built.program for built in all_built if files.runs_here(built.program)]
    if not all_built:
        return []
    if not runnable:
        raise Trouble("manual and completions are written by the program, and none of those built runs here")
    pages = files.pages(runnable[0])
    for built in all_built:
        archive = files.archive(built, pages)
        made += [archive, files.debug_archive(built)]
        tally.count(archive.name, checked(archive, built.arch))
        made += tally.attempt(f"packages for {built.arch}", lambda: list(packages.packages(built, pages)))
    made += tally.attempt("image", lambda: [image.image(all_built, pages)])
    tally.attempt("licences are allowed", sums.licences_allowed)
    made += tally.attempt("list of parts", lambda: [sums.parts()])
    listed = sums.of(made)
    signed = tally.attempt("signature", lambda: [sums.sign(listed)])
    return [*made, listed, *signed]


def checked(archive: Path, arch: str) -> str:
    """What readelf says of the files in it."""
    with tempfile.TemporaryDirectory() as folder:
        unpacked = files.unpack(archive, Path(folder))
        complaints = artefact.complaints(unpacked, arch)
        print(f"  {archive.name} {archive.stat().st_size / 1e6:.2f} MB: {artefact.summary(unpacked)}", flush=True)
    return f"FAILED: {'; '.join(complaints)}" if complaints else "ok"


def again(architectures: list[str], made: list[Path]) -> str:
    """Builds in another target folder; signatures carry their time, and are left out."""
    wanted = [path for path in made if path.suffix != ".minisig"]
    with tempfile.TemporaryDirectory() as name:
        first = Path(name)
        for path in wanted:
            shutil.copy(path, first)
        for folder in (build.target_folder() / "dist-again", build.zig_cache()):
            shutil.rmtree(folder, ignore_errors=True)
        with build.other_target_folder("dist-again"):
            make(architectures, Tally())
        differ = [path.name for path in wanted if not filecmp.cmp(first / path.name, path, shallow=False)]
    return f"FAILED: {' '.join(differ)} differ" if differ else "ok"


def tries(architectures: list[str]) -> Iterator[tuple[str, str]]:
    """Name and verdict of everything that is installed and used."""
    try:
        yield from sums.try_signature()
    except tools.NotPossible as reason:
        yield "signature", f"skipped: {reason}"
    yield from installs.lintian()
    for suite in roots.DEBIANS:
        yield from installs.debs(suite)
    yield from rpms.rpms()
    yield from containers.podman()
    for arch in architectures:
        yield from installs.empty(arch)
        archive = build.OUTPUT / f"heaptap-{build.version()}-{arch}-linux-gnu.tar.gz"
        if archive.is_file():
            with tempfile.TemporaryDirectory() as folder:
                yield from userlands.tries(arch, files.unpack(archive, Path(folder)))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Trouble as trouble:
        print(f"trouble: {trouble}", file=sys.stderr)
        sys.exit(2)
