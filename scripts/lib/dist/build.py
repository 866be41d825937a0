"""Builds the two artefacts of an architecture with zig, and packs them with their licences."""
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from trial.commands import clean_environment, run, run_showing
from trial.folders import REPOSITORY, cache
from trial.steps import Trouble

#: Both from PyPI. Another zig may bring another libc: the check of the artefact says so.
TOOLS = ("ziglang==0.17.1", "cargo-zigbuild==0.24.1")

#: The oldest glibc that what we ship runs with.
GLIBC = "2.17"

#: The target of each architecture, and what its jemalloc must be told: kernels for aarch64 have pages up to 64 KiB.
TARGETS = {
    "x86_64": ("x86_64-unknown-linux-gnu", {}),
    "aarch64": ("aarch64-unknown-linux-gnu", {"JEMALLOC_SYS_WITH_LG_PAGE": "16"}),
}

OUTPUT = REPOSITORY / "target" / "dist"


class NotPossible(Exception):
    """This machine lacks what the architecture needs, and it cannot be installed by us."""


def archive(arch: str) -> Path:
    """Builds the archive of an architecture."""
    target, settings = TARGETS[arch]
    need_standard_library(target)
    environment = {**clean_environment(), **settings, "CARGO_PROFILE_RELEASE_STRIP": "symbols",
                   "PATH": f"{tools()}:{os.environ['PATH']}"}
    built = target_folder() / target / "release"
    files = {}
    # The program first: building it also makes a library, with the program's features.
    for what, name in ((["--bin", "heaptap"], "heaptap"), (["--lib", "--no-default-features"], "libheaptap.so")):
        command = ["cargo", "zigbuild", "--release", "--quiet", "--locked", *what, "--target", f"{target}.{GLIBC}"]
        if subprocess.run(command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, check=False).returncode:
            raise Trouble(f"{' '.join(command)} failed (see above)")
        files[name] = (built / name).read_bytes()
    for name in ("README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"):
        files[name] = (REPOSITORY / name).read_bytes()
    files["LICENSES-of-parts.txt"] = licences(target).encode()
    return pack(f"heaptap-{version()}-{arch}-linux-gnu", files)


def target_folder() -> Path:
    """Where cargo builds."""
    return Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))


def metadata(*more: str) -> dict:
    """What cargo knows of the package and its dependencies."""
    return json.loads(run(["cargo", "metadata", "--format-version", "1", "--locked", *more], folder=REPOSITORY))


def version() -> str:
    """The package's version."""
    return metadata("--no-deps")["packages"][0]["version"]


def tools() -> Path:
    """The folder of zig's wrappers, installed on first use into a virtual environment of ours."""
    folder = cache() / "dist-tools"
    stamp = folder / "installed"
    if not (stamp.is_file() and stamp.read_text() == " ".join(TOOLS)):
        print(f"installing {' and '.join(TOOLS)} into {folder}", flush=True)
        run_showing([sys.executable, "-m", "venv", folder])
        run_showing([folder / "bin" / "pip", "install", "--quiet", *TOOLS])
        stamp.write_text(" ".join(TOOLS))
    return folder / "bin"


def need_standard_library(target: str) -> None:
    """Rust's standard library for the target; rustup gets it where it is missing."""
    folder = Path(run(["rustc", "--print", "target-libdir", "--target", target]).strip())
    if folder.is_dir():
        return
    try:
        added = subprocess.run(["rustup", "target", "add", target], check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise NotPossible(f"this Rust has no standard library for {target}, and there is no rustup") from None
    if added.returncode != 0:
        raise NotPossible(f"rustup target add {target}: {added.stderr.strip()}")


def licences(target: str) -> str:
    """The licences of everything that is linked in, as their authors wrote them."""
    known = metadata("--filter-platform", target)
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    wanted, found = [known["resolve"]["root"]], []
    while wanted:
        node = nodes[wanted.pop()]
        for dependency in node["deps"]:
            is_linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_linked and dependency["pkg"] not in found:
                found.append(dependency["pkg"])
                wanted.append(dependency["pkg"])
    packages = sorted((package for package in known["packages"] if package["id"] in found), key=lambda p: p["name"])
    return "\n".join(licence(package) for package in packages)


def licence(package: dict) -> str:
    """One package's, under a heading; jemalloc's own lies a folder deeper."""
    folder = Path(package["manifest_path"]).parent
    texts = sorted(path for pattern in ("LICEN[CS]E*", "COPYING*", "jemalloc/COPYING") for path in folder.glob(pattern))
    parts = [f"==== {package['name']} {package['version']}: {package['license']}"]
    parts += [path.read_text(errors="replace").strip() for path in texts if path.is_file()]
    return "\n\n".join(parts) + "\n"


def pack(name: str, files: dict[str, bytes]) -> Path:
    """An archive that depends on nothing but its content: no times, no users."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for file, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{name}/{file}")
            entry.size, entry.mode = len(content), 0o755 if file.startswith(("heaptap", "lib")) else 0o644
            tar.addfile(entry, io.BytesIO(content))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    path = OUTPUT / f"{name}.tar.gz"
    path.write_bytes(gzip.compress(raw.getvalue(), 9, mtime=0))
    return path


def unpack(path: Path, folder: Path) -> Path:
    """Unpacks an archive; the folder that was in it."""
    with tarfile.open(path) as tar:
        tar.extractall(folder)
    return folder / path.name.removesuffix(".tar.gz")


def write_sums() -> None:
    """SHA256SUMS of all archives that are there, as sha256sum -c reads it."""
    archives = sorted(OUTPUT.glob("*.tar.gz"))
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in archives]
    (OUTPUT / "SHA256SUMS").write_text("".join(lines))
