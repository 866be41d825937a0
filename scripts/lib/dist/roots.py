"""Roots that programs are run in: Debian's, made once and kept in the cache; how a command runs in one; what lies in it."""
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from trial.commands import clean_environment, run
from trial.folders import cache

#: Suites, and the Java that each has.
DEBIANS = {"bullseye": "openjdk-17-jre-headless", "bookworm": "openjdk-17-jre-headless", "sid": "default-jre-headless"}
#: What programs in a root get: nothing of ours.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C", "TMPDIR": "/tmp",
               "DEBIAN_FRONTEND": "noninteractive"}
#: Where package managers keep their own books, and what we put into a root ourselves.
NOT_LISTED = ("proc", "dev", "sys", "tmp", "run", "packages", "leak", "var/lib/dpkg", "var/lib/apt", "var/lib/rpm",
              "var/lib/dnf", "var/cache", "var/log", "etc/ld.so.cache", "root")


def lacks(*programs: str) -> str | None:
    """Why it cannot be tried here."""
    if os.getuid():
        return "skipped: needs root"
    if os.uname().machine != "x86_64":
        return "skipped: this machine is not x86_64"
    missing = [program for program in programs if not shutil.which(program)]
    return f"skipped: not installed: {' '.join(missing)}" if missing else None


def debian(suite: str, name: str = "", more: Iterable[str] = ()) -> Path:
    """A root in which Debian's packages are installed, with Java, made once; one of its own for what has more."""
    root = cache() / "userlands" / f"{suite}{name}-installed"
    if not (root / "complete").is_file():
        print(f"  installing Debian {suite} into {root} (some minutes, once)", flush=True)
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        packages = ",".join([DEBIANS[suite], *more])
        run(["debootstrap", "--variant=minbase", f"--include={packages}", suite, root], seconds=3600)
        for package in (root / "var" / "cache" / "apt" / "archives").glob("*.deb"):
            package.unlink()
        (root / "complete").touch()
    return root


def put(root: Path, files: Iterable[Path]) -> list[str]:
    """Copies packages into a root; their paths in it, those that others need first."""
    here = root / "packages"
    here.mkdir(exist_ok=True)
    names = [Path(shutil.copy(path, here)).name for path in files]
    return [f"/packages/{name}" for name in sorted(names, key=lambda name: name.startswith("heaptap"))]


def listing(root: Path) -> set[str]:
    """Every file, folder and link, but for the books of package managers."""
    found = set()
    for folder, folders, names in os.walk(root):
        inside_ = os.path.relpath(folder, root)
        here = "" if inside_ == "." else f"{inside_}/"
        folders[:] = [name for name in folders if f"{here}{name}" not in NOT_LISTED]
        found |= {f"{here}{name}" for name in [*folders, *names] if f"{here}{name}" not in NOT_LISTED}
    return found


def rest(root: Path, before: set[str]) -> str:
    """`ok` if a root is as it was."""
    now = listing(root)
    changed = [f"{name} is left" for name in sorted(now - before)] + [f"{name} is gone" for name in sorted(before - now)]
    return f"FAILED: {'; '.join(changed[:8])}" if changed else "ok"


def status(done: subprocess.CompletedProcess) -> str:
    """`ok` for status 0."""
    return "ok" if done.returncode == 0 else f"FAILED with status {done.returncode}: {(done.stdout + done.stderr)[-400:]}"


def outside(command: list, more: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """Runs a program of this machine."""
    return subprocess.run([str(word) for word in command], env={**clean_environment(), "LC_ALL": "C", **(more or {})},
                          check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")


def words(root: Path, command: list[str], read_only: bool = False, user: str | None = None) -> list[str]:
    """A command line that runs in a root of its own, with /proc, /dev and a /dev/shm of its own, and the network."""
    (root / "proc").mkdir(exist_ok=True)
    (root / "dev").mkdir(exist_ok=True)
    (root / "dev" / "shm").mkdir(exist_ok=True)
    lines = ['mount --bind "$1" "$1"', 'mount -t proc proc "$1/proc"', 'mount -t tmpfs tmpfs "$1/dev/shm"']
    if read_only:
        lines += ['mount --bind "$1/heaptap-volume" "$1/heaptap-volume"', 'mount -o remount,bind,ro "$1"']
    script = " && ".join([*lines, f'exec chroot {f"--userspec={user}:{user}" if user else ""} "$@"'])
    return ["unshare", "--mount", "sh", "-c", script, "sh", str(root), *command]


def inside(root: Path, command: list[str], **more) -> subprocess.CompletedProcess:
    """Runs a command in a root, to its end."""
    return subprocess.run(words(root, command, **more), env=ENVIRONMENT, stdin=subprocess.DEVNULL, check=False,
                          capture_output=True, text=True, errors="replace", timeout=600)


def beside(pid: int, command: list[str]) -> subprocess.CompletedProcess:
    """Runs a command in the root of a process, and sees what it sees."""
    return subprocess.run(["nsenter", "--mount", "--root", "--wd", "--target", str(pid), *command], env=ENVIRONMENT,
                          stdin=subprocess.DEVNULL, check=False, capture_output=True, text=True, errors="replace", timeout=600)
