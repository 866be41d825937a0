"""Installs what was made as an administrator does, and has it find a leak: deb in Debian 11, 12 and sid, the image's
files where there is nothing else. rpm: dist.rpms; containers: dist.containers.
"""
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dist import build, files, packages, server
from dist.build import Built
from dist.roots import beside, debian, inside, lacks, listing, outside, put, rest, status
from trial.folders import cache

PRELOAD = "/usr/$LIB/heaptap/libheaptap.so"


def debs(suite: str) -> Iterator[tuple[str, str]]:
    """dpkg -i, the leak, an upgrade below a running server, removal, purge."""
    name = f"deb in Debian {suite}"
    if lacking := lacks("debootstrap"):
        yield name, lacking
        return
    made = sorted(build.OUTPUT.glob("*_amd64.deb"))
    if not made:
        yield name, "skipped: no deb was made"
        return
    root = debian(suite)
    shutil.rmtree(root / "packages", ignore_errors=True)
    inside(root, ["dpkg", "-P", "heaptap", "libheaptap"])
    before = listing(root)
    old, new = put(root, made), put(root, next_ones("deb"))
    yield f"{name}: dpkg -i", status(inside(root, ["dpkg", "-i", *old]))

    def upgrade(pid: int) -> str:
        done = status(inside(root, ["dpkg", "-i", *new]))
        return done if done != "ok" else read_on(pid)

    yield f"{name}: the leak is found by a server that was upgraded below", server.leak(root, PRELOAD, upgrade)
    versions = inside(root, ["dpkg-query", "-W", "-f", "${Version} ", "heaptap", "libheaptap"]).stdout.split()
    yield f"{name}: upgraded", as_upgraded([version.removesuffix("-1") for version in versions])
    yield f"{name}: heaptap run", server.short_run(root)
    # The library alone must not stay behind with a program that wants it.
    refused = inside(root, ["dpkg", "-r", "libheaptap"])
    yield f"{name}: the library alone does not go", "ok" if refused.returncode else "FAILED: dpkg removed it"
    yield f"{name}: dpkg -r", status(inside(root, ["dpkg", "-r", "heaptap", "libheaptap"]))
    yield f"{name}: nothing is left", rest(root, before)
    yield f"{name}: dpkg -P", status(inside(root, ["dpkg", "-P", "heaptap", "libheaptap"]))
    known = inside(root, ["dpkg-query", "-W", "heaptap", "libheaptap"])
    yield f"{name}: dpkg has forgotten them", "ok" if known.returncode and not known.stdout else f"FAILED: {known.stdout}"


def lintian() -> Iterator[tuple[str, str]]:
    """Debian's judge of packages has nothing to say, down to its warnings."""
    made = sorted(build.OUTPUT.glob("*.deb"))
    if not made or not shutil.which("lintian"):
        yield "lintian", f"skipped: {'not installed: lintian' if made else 'no deb was made'}"
        return
    for path in made:
        done = outside(["lintian", "--allow-root", "--fail-on", "error,warning", path])
        said = (done.stdout + done.stderr).strip()
        yield f"lintian {path.name}", "ok" if done.returncode == 0 and not said else f"FAILED: {said[-400:]}"


def next_ones(kind: str) -> list[Path]:
    """Packages of the next version, for this machine, made of what is in the archive."""
    archive = build.OUTPUT / f"heaptap-{build.version()}-{os.uname().machine}-linux-gnu.tar.gz"
    folder = build.OUTPUT / "next"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        unpacked = files.unpack(archive, Path(name))
        parts = [(unpacked / part).read_bytes() for part in ("libheaptap.so", "heaptap")]
    return packages.next_ones(kind, Built(os.uname().machine, *parts, {}), files.pages(parts[1]), folder)


def read_on(pid: int) -> str:
    """`ok` if a server runs on under the library that was replaced, and the new program reads it."""
    if (verdict := server.is_of_old(pid)) != "ok":
        return verdict
    done = beside(pid, ["heaptap", "report", str(pid)])
    found = done.returncode == 0 and "InvoiceServer.archive" in done.stdout
    return "ok" if found else f"FAILED: report of the running server: {(done.stdout + done.stderr)[-400:]}"


def as_upgraded(versions: list[str]) -> str:
    """`ok` if these are of the next version."""
    return "ok" if len(versions) == 2 and all(found > build.version() for found in versions) else f"FAILED: {versions}"


def empty(arch: str) -> Iterator[tuple[str, str]]:
    """The image's layer as a root: no libc, no shell. `install` copies to a volume, and a second time changes nothing."""
    name = f"the image for {arch}"
    image = next(iter(build.OUTPUT.glob("*-oci.tar")), None)
    if os.getuid() or image is None or os.uname().machine != arch:
        yield name, "skipped: " + ("needs root" if os.getuid() else "no image was made" if image is None else f"this machine is not {arch}")
        return
    root = cache() / "userlands" / "empty"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    layer(image, arch, root)
    # A root file system that cannot be written to, but for the volume.
    done = inside(root, ["/heaptap", "install", "/heaptap-volume"], read_only=True, user="65534")
    yield f"{name}: install", status(done)
    installed = sorted(path.name for path in (root / "heaptap-volume").iterdir())
    yield f"{name}: what is on the volume", "ok" if installed == ["heaptap", "libheaptap.so"] else f"FAILED: {installed}"
    yield f"{name}: report of nothing", "ok" if inside(root, ["/heaptap", "ps"], read_only=True).returncode == 0 else "FAILED"
    shutil.rmtree(root)


def layer(image: Path, arch: str, root: Path) -> None:
    """Unpacks the layers of an image for an architecture, as a runtime does: from the index down."""
    with tarfile.open(image) as packed:
        def blob(descriptor: dict) -> bytes:
            return packed.extractfile("blobs/" + descriptor["digest"].replace(":", "/")).read()

        index = json.loads(packed.extractfile("index.json").read())
        manifests = json.loads(blob(index["manifests"][0]))["manifests"]
        oci = {"x86_64": "amd64", "aarch64": "arm64"}[arch]
        manifest = json.loads(blob(next(m for m in manifests if m["platform"]["architecture"] == oci)))
        for descriptor in manifest["layers"]:
            content = subprocess.run(["tar", "-xz", "-C", root], input=blob(descriptor), check=False)
            assert content.returncode == 0
