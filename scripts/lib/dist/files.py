"""What users get, as files: by the place that each has in an archive, a package or an image.

Man pages and completions are written by the program itself, so it must run here.
"""
import gzip
import io
import os
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dist import build
from dist.build import Built
from trial.commands import run
from trial.folders import REPOSITORY

COPYRIGHT = """heaptap {version}

Licence: MIT or Apache-2.0, at your choice. On Debian the latter is in /usr/share/common-licenses/Apache-2.0.
What is linked in has the licences below the first.

"""


@dataclass(frozen=True)
class Pages:
    """What is the same on every architecture."""

    man: dict[str, bytes]
    completions: dict[str, bytes]
    licences: bytes
    copyright: bytes


def pages(program: bytes) -> Pages:
    """Asks a program that runs here for its manual and its completions."""
    with tempfile.TemporaryDirectory() as name:
        heaptap = Path(name) / "heaptap"
        heaptap.write_bytes(program)
        heaptap.chmod(0o755)
        run([heaptap, "man", "--output", Path(name) / "man"])
        man = {path.name: path.read_bytes() for path in sorted((Path(name) / "man").iterdir())}
        shells = {"bash": "heaptap.bash", "zsh": "_heaptap", "fish": "heaptap.fish"}
        completions = {file: run([heaptap, "completions", shell]).encode() for shell, file in shells.items()}
    licences = build.licences().encode()
    head = COPYRIGHT.format(version=build.version()).encode()
    return Pages(man, completions, licences, head + text("LICENSE-MIT") + b"\n" + licences)


def runs_here(program: bytes) -> bool:
    """Whether it is for this machine, or for one that the kernel has an interpreter for."""
    with tempfile.TemporaryDirectory() as name:
        heaptap = Path(name) / "heaptap"
        heaptap.write_bytes(program)
        heaptap.chmod(0o755)
        try:
            return subprocess.run([heaptap, "--version"], check=False, capture_output=True).returncode == 0
        except OSError:
            return False


def text(name: str) -> bytes:
    """A file of the repository."""
    return (REPOSITORY / name).read_bytes()


def archive(built: Built, pages_: Pages) -> Path:
    """The tar.gz of an architecture."""
    files = {"heaptap": built.program, "libheaptap.so": built.library, "LICENSES-of-parts.txt": pages_.licences}
    for name in ("README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"):
        files[name] = text(name)
    files |= {f"man/man{name[-1]}/{name}": page for name, page in pages_.man.items()}
    files |= {f"completions/{name}": page for name, page in pages_.completions.items()}
    for name in ("heaptap.conf", "heaptap-push.service"):
        files[f"systemd/{name}"] = text(f"examples/systemd/{name}")
    return pack(f"heaptap-{build.version()}-{built.arch}-linux-gnu", files)


def debug_archive(built: Built) -> Path:
    """Debug information by build id, to be unpacked in /usr/lib/debug."""
    return pack(f"heaptap-{build.version()}-{built.arch}-linux-gnu-debug", built.debug, folder="")


def pack(name: str, files: dict[str, bytes], folder: str | None = None) -> Path:
    """An archive that depends on nothing but its content: no users, and the commit's time."""
    build.OUTPUT.mkdir(parents=True, exist_ok=True)
    path = build.OUTPUT / f"{name}.tar.gz"
    inside = f"{name}/" if folder is None else folder
    path.write_bytes(gzip.compress(tar({f"{inside}{file}": content for file, content in files.items()}), 9, mtime=0))
    return path


def tar(files: dict[str, bytes]) -> bytes:
    """Files with their folders, in the order of their names. A name that ends with a slash is an empty folder that
    everybody can write to."""
    raw = io.BytesIO()
    folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    open_to_all = {name.rstrip("/") for name in files if name.endswith("/")}
    files = {name: content for name, content in files.items() if not name.endswith("/")}
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for name in sorted(folders | open_to_all | set(files)):
            entry = tarfile.TarInfo(name)
            entry.mtime = build.date()
            if name in files:
                is_code = files[name].startswith(b"\x7fELF") and not name.endswith(".debug")
                entry.size, entry.mode = len(files[name]), 0o755 if is_code else 0o644
                out.addfile(entry, io.BytesIO(files[name]))
            else:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o777 if name in open_to_all else 0o755
                out.addfile(entry)
    return raw.getvalue()


def unpack(path: Path, folder: Path) -> Path:
    """Unpacks an archive; the folder that was in it."""
    with tarfile.open(path) as packed:
        packed.extractall(folder, filter="tar")
    return folder / path.name.removesuffix(".tar.gz")


def compressed(content: bytes) -> bytes:
    """As Debian wants manual pages."""
    return gzip.compress(content, 9, mtime=0)


def old() -> list[Path]:
    """What an earlier build left."""
    found = [path for path in build.OUTPUT.glob("*") if path.is_file()] if build.OUTPUT.is_dir() else []
    return sorted(found, key=os.fspath)
