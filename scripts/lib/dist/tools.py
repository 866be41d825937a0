"""The tools that make what ships, each of a fixed version, installed on first use into the cache.

zig and cargo-zigbuild come from PyPI, nfpm, minisign, kustomize and kubeconform from the Go module proxy,
cargo-cyclonedx and cargo-deny from crates, llvm-objcopy from rustup.
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

from trial.commands import clean_environment, run, run_showing
from trial.folders import cache
from trial.steps import Trouble

#: Another zig may bring another libc: the check of the artefact says so.
FROM_PYPI = ("ziglang==0.17.1", "cargo-zigbuild==0.24.1")
FROM_GO = {
    "nfpm": "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2",
    "minisign": "aead.dev/minisign/cmd/minisign@v0.3.0",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0",
    "kustomize": "sigs.k8s.io/kustomize/kustomize/v5@v5.8.1",
}
FROM_CRATES = {"cargo-cyclonedx": "0.5.9", "cargo-deny": "0.20.2"}


class NotPossible(Trouble):
    """This machine lacks what is needed, and it cannot be installed by us."""


def zig() -> Path:
    """The folder of zig's wrappers, in a virtual environment of ours."""
    folder = cache() / "dist-tools"
    stamp = folder / "installed"
    if not (stamp.is_file() and stamp.read_text() == " ".join(FROM_PYPI)):
        print(f"installing {' and '.join(FROM_PYPI)} into {folder}", flush=True)
        run_showing([sys.executable, "-m", "venv", folder])
        run_showing([folder / "bin" / "pip", "install", "--quiet", *FROM_PYPI])
        stamp.write_text(" ".join(FROM_PYPI))
    return folder / "bin"


def go(name: str) -> Path:
    """A program written in Go."""
    package = FROM_GO[name]
    program = cache() / "dist-tools-go" / package.rsplit("@", 1)[1] / name
    if not program.is_file():
        if not shutil.which("go"):
            raise NotPossible(f"{name} is built from its Go module, and go is not installed")
        print(f"installing {package} into {program.parent}", flush=True)
        settings = {"GOBIN": str(program.parent), "GOFLAGS": "-modcacherw"}
        done = subprocess.run(["go", "install", package], env={**clean_environment(), **settings}, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise NotPossible(f"go install {package}: {done.stderr.strip().splitlines()[-1]}")
    return program


def of_cargo(name: str) -> Path:
    """Where a subcommand of cargo lies once it is installed."""
    return cache() / "dist-tools-cargo" / f"{name}-{FROM_CRATES[name]}" / "bin" / name


def cargo(name: str) -> Path:
    """A subcommand of cargo."""
    wanted, program = FROM_CRATES[name], of_cargo(name)
    root = program.parent.parent
    if not program.is_file():
        print(f"installing {name} {wanted} into {root} (some minutes, once)", flush=True)
        command = ["cargo", "install", "--quiet", "--locked", "--version", wanted, "--root", root, name]
        settings = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
                    "CARGO_TARGET_DIR": str(root / "target")}
        done = subprocess.run(command, env={**clean_environment(), **settings}, check=False, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True)
        shutil.rmtree(root / "target", ignore_errors=True)
        if done.returncode:
            raise NotPossible(f"cargo install {name}: {done.stderr.strip().splitlines()[-1]}")
    return program


def need_standard_library(target: str) -> None:
    """Rust's standard library for the target; rustup gets it where it is missing."""
    folder = Path(run(["rustc", "--print", "target-libdir", "--target", target]).strip())
    if not folder.is_dir():
        rustup(["target", "add", target], f"this Rust has no standard library for {target}")


def objcopy() -> Path:
    """LLVM's, which knows every architecture."""
    host = next(line.split()[1] for line in run(["rustc", "-vV"]).splitlines() if line.startswith("host:"))
    program = Path(run(["rustc", "--print", "sysroot"]).strip()) / "lib" / "rustlib" / host / "bin" / "llvm-objcopy"
    if not program.is_file():
        rustup(["component", "add", "llvm-tools"], "this Rust has no llvm-objcopy")
    if not program.is_file():
        raise Trouble(f"rustup added llvm-tools, and {program} is not there")
    return program


def rustup(words: list[str], lack: str) -> None:
    """Has rustup add something."""
    try:
        added = subprocess.run(["rustup", *words], check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise NotPossible(f"{lack}, and there is no rustup") from None
    if added.returncode != 0:
        raise NotPossible(f"rustup {' '.join(words)}: {added.stderr.strip()}")


def path_with(folder: Path) -> str:
    """PATH with this folder in front."""
    return f"{folder}:{os.environ['PATH']}"


def main() -> int:
    """`python3 -m dist.tools [--installed] NAME`, for scripts in bash: prints where a subcommand of cargo is; installs it
    where it is missing, unless only what is installed is wanted."""
    *options, name = sys.argv[1:]
    if options != ["--installed"]:
        try:
            cargo(name)
        except NotPossible as reason:
            print(reason, file=sys.stderr)
    program = of_cargo(name)
    if program.is_file():
        print(program)
    return 0 if program.is_file() else 1


if __name__ == "__main__":
    sys.exit(main())
