"""deb and rpm, by nfpm: `heaptap` (program, manual, completions) and `libheaptap` (the library).

The library lies in a folder of its own below the library folder of its architecture: /usr/lib/<triplet>/heaptap on
Debian, /usr/lib64/heaptap on Red Hat's. The loader expands `$LIB` to the middle part, so that
LD_PRELOAD=/usr/$LIB/heaptap/libheaptap.so fits both.
"""
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from dist import build, files, tools
from dist.build import Built
from dist.files import Pages
from trial.commands import run

DESCRIPTION = ("Native-memory profiler for Linux servers, above all JVMs\n"
               "Finds native memory leaks in running servers: a preloaded jemalloc keeps a\n"
               "live profile with native and Java frames, and the command line tells which\n"
               "method leaks, also after the process was killed.\n")
#: Whom packages name: HEAPTAP_MAINTAINER, as in `Name <address>`.
MAINTAINER = os.environ.get("HEAPTAP_MAINTAINER", "heaptap developers <heaptap@example.org>")
#: What lintian cannot know: the program is static on purpose, and this is no upload to Debian.
OVERRIDES = "heaptap: statically-linked-binary *\n{name}: initial-upload-closes-no-bugs *\n"
#: nfpm's names of the architectures; it knows what deb and rpm call them.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Release:
    """What packages call themselves, and where they go."""

    version: str
    folder: Path


def packages(built: Built, pages: Pages) -> Iterator[Path]:
    """The four packages of an architecture."""
    release = Release(build.version(), build.OUTPUT)
    for kind in ("deb", "rpm"):
        yield from of_kind(kind, built, pages, release)


def of_kind(kind: str, built: Built, pages: Pages, release: Release) -> Iterator[Path]:
    """The two packages of an architecture for a package manager. The program wants the library of the same version: both
    read and write one layout."""
    exactly = f"libheaptap (= {release.version}-1)" if kind == "deb" else f"libheaptap = {release.version}-1"
    yield package(kind, built, "libheaptap", library(kind, built, pages, release), {}, release)
    yield package(kind, built, "heaptap", program(kind, built, pages, release), {"depends": [exactly]}, release)


def next_ones(kind: str, built: Built, pages: Pages, folder: Path) -> list[Path]:
    """The same files as packages of the next version, to try an upgrade with."""
    *others, patch = build.version().split(".")
    return list(of_kind(kind, built, pages, Release(".".join([*others, str(int(patch) + 1)]), folder)))


def library(kind: str, built: Built, pages: Pages, release: Release) -> dict[str, bytes]:
    """The library's package."""
    folder = f"/usr/lib/{built.arch}-linux-gnu/heaptap" if kind == "deb" else "/usr/lib64/heaptap"
    return {f"{folder}/libheaptap.so": built.library, **documents(kind, "libheaptap", pages, release)}


def program(kind: str, built: Built, pages: Pages, release: Release) -> dict[str, bytes]:
    """The program's package."""
    share = "/usr/share"
    zsh, fish = ("vendor-completions", "vendor_completions.d") if kind == "deb" else ("site-functions", "vendor_completions.d")
    found = {"/usr/bin/heaptap": built.program, **documents(kind, "heaptap", pages, release)}
    found |= {f"{share}/man/man{name[-1]}/{name}.gz": files.compressed(page) for name, page in pages.man.items()}
    found[f"{share}/bash-completion/completions/heaptap"] = pages.completions["heaptap.bash"]
    found[f"{share}/zsh/{zsh}/_heaptap"] = pages.completions["_heaptap"]
    found[f"{share}/fish/{fish}/heaptap.fish"] = pages.completions["heaptap.fish"]
    found[f"{share}/doc/heaptap/README.md"] = files.text("README.md")
    for name in ("heaptap.conf", "heaptap-push.service"):
        found[f"{share}/doc/heaptap/{name}"] = files.text(f"examples/systemd/{name}")
    return found


def documents(kind: str, name: str, pages: Pages, release: Release) -> dict[str, bytes]:
    """Licences, and what changed."""
    if kind == "rpm":
        return {f"/usr/share/licenses/{name}/LICENSES": pages.copyright}
    overrides = OVERRIDES.format(name=name).splitlines(keepends=True)
    changes = f"heaptap ({release.version}-1) unstable; urgency=low\n\n  * See README.md and the project's CHANGELOG.md.\n\n" \
              f" -- {MAINTAINER}  {time().strftime('%a, %d %b %Y %H:%M:%S +0000')}\n"
    return {f"/usr/share/doc/{name}/copyright": without_apache(pages.copyright),
            f"/usr/share/lintian/overrides/{name}": "".join(line for line in overrides if line.startswith(f"{name}:")).encode(),
            f"/usr/share/doc/{name}/changelog.Debian.gz": files.compressed(changes.encode())}


def without_apache(copyright_: bytes) -> bytes:
    """Debian has the Apache License once for all packages, and wants no other copy of it."""
    parts = copyright_.decode().split("\n==== ")
    def shortened(part: str) -> str:
        names = part.split("\n", 1)[0]
        is_apache = "Apache License" in part and "TERMS AND CONDITIONS" in part
        return f"{names}\n\n(The Apache License, version 2.0: /usr/share/common-licenses/Apache-2.0)\n" if is_apache else part

    return "\n==== ".join(map(shortened, parts)).encode()


def time() -> datetime:
    """The time that everything carries."""
    return datetime.fromtimestamp(build.date(), timezone.utc)


def package(kind: str, built: Built, name: str, contents: dict[str, bytes], more: dict, release: Release) -> Path:
    """Has nfpm make one."""
    moment = time().strftime("%Y-%m-%dT%H:%M:%SZ")
    glibc = {"deb": f"libc6 (>= {build.GLIBC})", "rpm": f"libc.so.6(GLIBC_{build.GLIBC})(64bit)"}[kind]
    with tempfile.TemporaryDirectory() as folder:
        entries = []
        for number, (place, content) in enumerate(sorted(contents.items())):
            source = Path(folder) / str(number)
            source.write_bytes(content)
            mode = 0o755 if place.startswith("/usr/bin/") else 0o644
            kinds = {"type": "doc"} if kind == "rpm" and "/doc/" in place else {}
            entries.append({"src": str(source), "dst": place, "file_info": {"mode": mode, "mtime": moment}, **kinds})
        # dpkg removes folders that are empty; rpm those that the package owns, be it one of several.
        own = {folder for place in contents if kind == "rpm" for folder in own_folders(place)}
        entries += [{"dst": place, "type": "dir", "file_info": {"mode": 0o755, "mtime": moment}} for place in sorted(own)]
        description = {
            "name": name, "arch": ARCHITECTURES[built.arch], "platform": "linux", "version": release.version,
            "version_schema": "none", "release": "1", "section": "devel" if name == "heaptap" else "libs",
            "priority": "optional", "maintainer": MAINTAINER,
            "description": DESCRIPTION, "license": "MIT OR Apache-2.0", "mtime": moment,
            "depends": [] if name == "heaptap" else [glibc], "contents": entries,
            "deb": {"compression": "xz", "fields": {"Multi-Arch": "same"} if name == "libheaptap" else {}},
            "rpm": {"compression": "gzip", "buildhost": "heaptap", "summary": DESCRIPTION.splitlines()[0]},
        } | more
        configuration = Path(folder) / "nfpm.yaml"
        configuration.write_text(json.dumps(description))
        wanted = release.folder / file_name(kind, built, name, release.version)
        run([tools.go("nfpm"), "package", "--config", configuration, "--packager", kind, "--target", wanted])
    return wanted


def own_folders(place: str) -> list[str]:
    """Folders on the way to a file that not every system has."""
    folders = map(str, Path(place).parents)
    always = {"/", "/usr", "/usr/bin", "/usr/lib64", "/usr/share", "/usr/share/doc", "/usr/share/man"}
    return [folder for folder in folders if folder not in always and not folder.startswith("/usr/share/man/")]


def file_name(kind: str, built: Built, name: str, version: str) -> str:
    """As each distribution names its packages."""
    if kind == "deb":
        return f"{name}_{version}-1_{ARCHITECTURES[built.arch]}.deb"
    return f"{name}-{version}-1.{built.arch}.rpm"
