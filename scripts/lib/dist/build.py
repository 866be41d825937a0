"""Builds the two artefacts of an architecture with zig: the library for glibc 2.17, the program static against musl.

Both are built with debug information, which then goes into files of its own, by build id. What is built depends on
the tree, the tools and the repository's folder (cargo mixes that into symbols), and not on when, by whom or where the
target folder lies: paths are mapped away, times are the commit's. zig compiles its own parts of libc when a target first
needs them, and notes in which folder that was: so builds have a cache of their own, which is filled from `/`.
"""
import json
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dist import tools
from trial.commands import clean_environment, run
from trial.folders import REPOSITORY, cache
from trial.steps import Trouble

#: The oldest glibc that what we ship runs with.
GLIBC = "2.17"

#: What an architecture's jemalloc must be told: kernels for aarch64 have pages up to 64 KiB.
ARCHITECTURES = {"x86_64": {}, "aarch64": {"JEMALLOC_SYS_WITH_LG_PAGE": "16"}}

OUTPUT = REPOSITORY / "target" / "dist"
#: Crates of the library that the program has, too.
OF_BOTH = ("libc", "tikv-jemallocator")


@dataclass
class Built:
    """The two, stripped, and their debug information by the path that debuggers look for."""

    arch: str
    library: bytes
    program: bytes
    debug: dict[str, bytes]


def build(arch: str) -> Built:
    """Builds both for an architecture."""
    glibc, musl = f"{arch}-unknown-linux-gnu", f"{arch}-unknown-linux-musl"
    for target in (glibc, musl):
        tools.need_standard_library(target)
    zigbuild(["--lib", "--no-default-features", "--locked"], glibc, f".{GLIBC}", REPOSITORY / "Cargo.toml", arch)
    zigbuild(["--bin", "heaptap"], musl, "", program_manifest(), arch)
    built = Built(arch, b"", b"", {})
    built.library = split(target_folder() / glibc / "release" / "libheaptap.so", built.debug)
    built.program = split(target_folder() / musl / "release" / "heaptap", built.debug)
    return built


def zigbuild(words: list[str], target: str, suffix: str, manifest: Path, arch: str) -> None:
    """One build."""
    fill_zig_cache(target, suffix, arch)
    command = ["cargo", "zigbuild", "--release", "--quiet", *words, "--target", f"{target}{suffix}",
               "--manifest-path", str(manifest)]
    if subprocess.run(command, cwd=REPOSITORY, env=environment(target, arch), stdin=subprocess.DEVNULL,
                      check=False).returncode:
        raise Trouble(f"{' '.join(command)} failed (see above)")


def environment(target: str, arch: str) -> dict[str, str]:
    """What makes a build the same wherever and whenever it happens."""
    cargo_home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    maps = {target_folder(): "/heaptap/target", REPOSITORY: "/heaptap", cargo_home: "/cargo",
            Path(run(["rustc", "--print", "sysroot"]).strip()): "/rust", tools.zig().parent: "/zig"}
    # Of those that fit, compilers take the last: the innermost folder.
    innermost_last = list(reversed(maps.items()))
    flags = [f"--remap-path-prefix={place}={name}" for place, name in innermost_last]
    c_flags = " ".join(f"-ffile-prefix-map={place}={name}" for place, name in innermost_last)
    return {
        **clean_environment(),
        **ARCHITECTURES[arch],
        "PATH": tools.path_with(tools.zig()),
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join([*flags, "-Clink-arg=-Wl,--build-id=sha1"]),
        f"CFLAGS_{target.replace('-', '_')}": c_flags,
        "SOURCE_DATE_EPOCH": str(date()),
        "CARGO_TARGET_DIR": str(target_folder()),
        "CARGO_INCREMENTAL": "0",
        "ZIG_GLOBAL_CACHE_DIR": str(zig_cache()),
    }


def zig_cache() -> Path:
    """Where zig keeps what it has compiled of its own. Its debug information names the place, which so is the same for
    each target folder."""
    return cache() / "dist-zig-cache"


def fill_zig_cache(target: str, suffix: str, arch: str) -> None:
    """Has zig compile its own parts for a target, from a folder that is the same everywhere, as build scripts and the
    link will ask for them."""
    triple = target.replace("-unknown", "") + suffix
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "empty.c", Path(folder) / "output"
        source.write_text("int main(void) { return 0; }\n")
        for how in (["-shared", "-fPIC"], []):
            command = [tools.zig() / "cargo-zigbuild", "zig", "cc", "--", "-g", "-fno-sanitize=all", "-target", triple,
                       "-O2", *how, source, "-o", output]
            done = subprocess.run(command, cwd="/", env=environment(target, arch), check=False, capture_output=True,
                                  stdin=subprocess.DEVNULL, text=True)
            if done.returncode:
                raise Trouble(f"{' '.join(map(str, command))} failed: {done.stderr.strip()}")


def program_manifest() -> Path:
    """A manifest of the program alone: cargo refuses to build a cdylib's package for musl. Its crates are those of
    Cargo.lock."""
    text = (REPOSITORY / "Cargo.toml").read_text()
    dependencies = tomllib.loads(text)["dependencies"]
    taps = [name for name, value in dependencies.items()
            if name not in OF_BOTH and not (isinstance(value, dict) and value.get("optional"))]
    parts = re.split(r"(?m)^(?=\[)", text)
    kept = [part for part in parts if not part.startswith(("[lib]", "[dev-dependencies]", "[profile.release.package"))
            and not part.startswith(("[profile.dev", "[package.metadata"))]
    text = "".join(kept)
    text = re.sub(rf"(?m)^({'|'.join([*map(re.escape, taps), 'readme', 'exclude', 'default-run'])}) *=.*\n", "", text)
    text = text.replace('"src/main.rs"', f'"{REPOSITORY / "src" / "main.rs"}"') + "\n[workspace]\n"
    folder = OUTPUT / "program"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Cargo.toml").write_text(text)
    shutil.copy(REPOSITORY / "Cargo.lock", folder / "Cargo.lock")
    run(["cargo", "update", "--workspace", "--offline", "--quiet"], folder=folder)
    need_same_crates(folder / "Cargo.lock")
    return folder / "Cargo.toml"


def need_same_crates(lock: Path) -> None:
    """Nothing is built that Cargo.lock does not name."""
    def named(path: Path) -> set:
        return {(crate["name"], crate["version"], crate.get("checksum")) for crate in tomllib.loads(path.read_text())["package"]}

    strange = named(lock) - named(REPOSITORY / "Cargo.lock")
    if strange:
        raise Trouble(f"crates that Cargo.lock does not name: {sorted(map(str, strange))}")


def split(path: Path, debug: dict[str, bytes]) -> bytes:
    """The file without its debug information, which goes to `debug`."""
    found = re.search(r"Build ID: ([0-9a-f]+)", run(["readelf", "-nW", path]))
    if not found:
        raise Trouble(f"{path} has no build id")
    build_id, folder = found[1], OUTPUT / "split"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run([tools.objcopy(), "--only-keep-debug", path, folder / "debug"])
    # The probes' note is not loaded, so it would go with the symbols.
    run([tools.objcopy(), "--strip-all", "--keep-section=.note.stapsdt", path, folder / "stripped"])
    debug[f".build-id/{build_id[:2]}/{build_id[2:]}.debug"] = (folder / "debug").read_bytes()
    stripped = (folder / "stripped").read_bytes()
    shutil.rmtree(folder)
    return stripped


@contextmanager
def other_target_folder(name: str) -> Iterator[None]:
    """Builds meanwhile go there, and are removed."""
    before, other = os.environ.get("CARGO_TARGET_DIR"), target_folder() / name
    os.environ["CARGO_TARGET_DIR"] = str(other)
    try:
        yield
    finally:
        shutil.rmtree(other, ignore_errors=True)
        os.environ.pop("CARGO_TARGET_DIR")
        if before:
            os.environ["CARGO_TARGET_DIR"] = before


def target_folder() -> Path:
    """Where cargo builds."""
    return Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).absolute()


def metadata(*more: str) -> dict:
    """What cargo knows of the package and its dependencies."""
    return json.loads(run(["cargo", "metadata", "--format-version", "1", "--locked", *more], folder=REPOSITORY))


def version() -> str:
    """The package's version."""
    return metadata("--no-deps")["packages"][0]["version"]


def date() -> int:
    """The time that everything made carries: of the last commit, or what SOURCE_DATE_EPOCH says."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or run(["git", "log", "-1", "--format=%ct"], folder=REPOSITORY).strip())


def licences() -> str:
    """The licences of everything that is linked in, on either architecture, as their authors wrote them: each text once,
    below the names of those that have it."""
    linked = {}
    for arch in ARCHITECTURES:
        for package in linked_packages(f"{arch}-unknown-linux-gnu"):
            linked[package["id"]] = package
    holders: dict[str, list[str]] = {}
    for package in sorted(linked.values(), key=lambda package: (package["name"], package["version"])):
        for text in licence_texts(package):
            holders.setdefault(text, []).append(f"{package['name']} {package['version']} ({package['license']})")
    return "\n".join(f"==== {', '.join(names)}\n\n{text}\n" for text, names in holders.items())


def linked_packages(target: str) -> list[dict]:
    """The crates that are linked into library or program."""
    known = metadata("--filter-platform", target)
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    wanted, found = [known["resolve"]["root"]], set()
    while wanted:
        for dependency in nodes[wanted.pop()]["deps"]:
            is_linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_linked and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                wanted.append(dependency["pkg"])
    return [package for package in known["packages"] if package["id"] in found]


def licence_texts(package: dict) -> list[str]:
    """One package's; jemalloc's own lies a folder deeper."""
    folder = Path(package["manifest_path"]).parent
    paths = sorted(path for pattern in ("LICEN[CS]E*", "COPYING*", "jemalloc/COPYING") for path in folder.glob(pattern))
    texts = [path.read_text(errors="replace").strip() for path in paths if path.is_file()]
    return texts or [f"(It brings no text of its licence: {package['license']}.)"]
