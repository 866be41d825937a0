"""What proves the rest: a list of parts (CycloneDX), SHA256SUMS, and its signature with a key that the environment
names."""
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dist import build, tools
from trial.commands import clean_environment, run
from trial.folders import REPOSITORY
from trial.steps import Trouble

#: Names the file of minisign's secret key (without a password, or one that the second holds).
KEY, PASSWORD = "HEAPTAP_SIGNING_KEY", "HEAPTAP_SIGNING_PASSWORD"


def parts() -> Path:
    """The crates that are built in, as CycloneDX JSON: by cargo-cyclonedx, without its own time and serial number."""
    name = f"heaptap-{build.version()}.cdx"
    with tempfile.TemporaryDirectory() as folder:
        for file in ("Cargo.toml", "Cargo.lock"):
            shutil.copy(REPOSITORY / file, folder)
        (Path(folder) / "src").symlink_to(REPOSITORY / "src")
        command = [tools.cargo("cargo-cyclonedx"), "cyclonedx", "--format", "json", "--spec-version", "1.5",
                   "--target", "all", "--override-filename", name]
        done = subprocess.run(command, cwd=folder, env=clean_environment(), check=False, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True)
        if done.returncode:
            raise Trouble(f"cargo cyclonedx failed:\n{done.stderr[-800:]}")
        document = json.loads((Path(folder) / f"{name}.json").read_text().replace(f"path+file://{folder}", "path+file:///heaptap"))
    document.pop("serialNumber", None)
    document["metadata"].pop("timestamp", None)
    path = build.OUTPUT / f"{name}.json"
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    return path


def licences_allowed() -> list[Path]:
    """Makes nothing, and complains of a crate whose licence or source deny.toml does not allow. Advisories need their
    database from the network, and are for CI on a forge. Crates of other platforms are judged, too."""
    run(["cargo", "fetch", "--locked", "--quiet"], folder=REPOSITORY)
    done = subprocess.run([tools.cargo("cargo-deny"), "--offline", "check", "licenses", "bans", "sources"],
                          cwd=REPOSITORY, env=clean_environment(), check=False, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    if done.returncode:
        raise Trouble(f"cargo deny:\n{done.stderr[-1500:]}")
    return []


def of(paths: list[Path]) -> Path:
    """SHA256SUMS, as sha256sum -c reads it."""
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(paths)]
    path = build.OUTPUT / "SHA256SUMS"
    path.write_text("".join(lines))
    return path


def sign(path: Path) -> Path:
    """SHA256SUMS.minisig, where there is a key."""
    key = os.environ.get(KEY)
    if not key:
        raise tools.NotPossible(f"{KEY} names no key")
    signature = path.with_name(f"{path.name}.minisig")
    signature.unlink(missing_ok=True)
    comment = f"heaptap {build.version()}"
    done = subprocess.run([tools.go("minisign"), "-S", "-s", key, "-m", path, "-x", signature, "-t", comment],
                          input=os.environ.get(PASSWORD, "") + "\n", check=False,
                          capture_output=True, text=True, env=clean_environment())
    if done.returncode or not signature.is_file():
        raise Trouble(f"minisign could not sign with {key} ({KEY}): {done.stderr.strip() or done.stdout.strip()}")
    return signature


def try_signature() -> Iterator[tuple[str, str]]:
    """Signs with keys made for it: one that another implementation of minisign (Debian's, in C) makes with a password,
    and one of ours without. Both implementations must accept it, and neither what was changed."""
    ours, other = tools.go("minisign"), shutil.which("minisign")
    yield "signature", signed_and_verified(ours, ours, "")
    if not other:
        yield "signature, by another implementation", "skipped: not installed: minisign"
        return
    yield "signature, verified by another implementation", signed_and_verified(ours, other, "")
    yield "signature, with a key of another implementation", signed_and_verified(other, other, "a password")


def signed_and_verified(maker: Path | str, judge: Path | str, password: str) -> str:
    """Makes a key, signs SHA256SUMS with it as a release is signed, and has a program judge that."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, public = folder / "SHA256SUMS", folder / "key.pub"
        making = [maker, "-G", *([] if password else ["-W"]), "-p", public, "-s", folder / "key"]
        made = subprocess.run(making, input=f"{password}\n" * 2, check=False, capture_output=True, text=True)
        if made.returncode:
            return f"FAILED: no key was made: {made.stderr.strip()}"
        with environment({KEY: str(folder / "key"), PASSWORD: password}):
            file.write_text("a\n")
            sign(file)
        verify = [judge, "-V", "-p", public, "-m", file]
        accepted = subprocess.run(verify, check=False, capture_output=True, text=True)
        if accepted.returncode:
            return f"FAILED: {accepted.stderr.strip()}"
        file.write_text("b\n")
        if subprocess.run(verify, check=False, capture_output=True).returncode == 0:
            return "FAILED: a changed file passes"
    return "ok"


@contextmanager
def environment(more: dict[str, str]) -> Iterator[None]:
    """Has these variables meanwhile."""
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
