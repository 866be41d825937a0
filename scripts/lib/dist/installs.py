"""Installs what was made as an administrator does, and has it find a leak: deb in Debian 11, 12 and sid, rpm by rpm
itself, the image's files where there is nothing else.

The leak is that of examples/leaking-server: a Java server whose method archive() leaves compressors open. It listens on
loopback; the load comes from here.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from dist import build
from trial.commands import clean_environment, run
from trial.folders import REPOSITORY, cache

#: Suites, and the Java that each has.
DEBIANS = {"bullseye": "openjdk-17-jre-headless", "bookworm": "openjdk-17-jre-headless", "sid": "default-jre-headless"}
#: What programs in a root get: nothing of ours.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TMPDIR": "/tmp", "DEBIAN_FRONTEND": "noninteractive"}
PRELOAD = "/usr/$LIB/heaptap/libheaptap.so"
CONF = "prof:true,lg_prof_sample:17,prof_final:true"
#: Requests, each of which leaks 262 KiB, and the seconds that they are spread over: time enough for a verdict.
REQUESTS, SECONDS = 300, 25


def debs(suite: str) -> Iterator[tuple[str, str]]:
    """dpkg -i, the leak, an upgrade below a running server, removal."""
    name = f"deb in Debian {suite}"
    if lacking := lacks("debootstrap"):
        yield name, lacking
        return
    root = debian(suite)
    here = root / "packages"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir()
    packages = [path.name for path in build.OUTPUT.glob("*_amd64.deb") if shutil.copy(path, here)]
    if not packages:
        yield name, "skipped: no deb was made"
        return
    files = sorted(f"/packages/{package}" for package in packages)
    yield f"{name}: dpkg -i", status(inside(root, ["dpkg", "-i", *files]))
    yield f"{name}: the leak is found", leak(root, "/usr/bin/heaptap", PRELOAD, lambda: inside(root, ["dpkg", "-i", *files]))
    yield f"{name}: heaptap run", status(inside(root, ["heaptap", "run", "--", "perl", "-e", "exit 0"]))
    yield f"{name}: dpkg -P", status(inside(root, ["dpkg", "-P", "heaptap", "libheaptap"]))
    left = [path for pattern in ("usr/lib/*/heaptap", "usr/bin/heaptap", "usr/share/doc/*heaptap*") for path in root.glob(pattern)]
    yield f"{name}: nothing is left", f"FAILED: {left}" if left else "ok"


def rpms() -> Iterator[tuple[str, str]]:
    """rpm -i, -U, -V and -e below a root of Debian's: the only one that can be had here."""
    name = "rpm"
    if lacking := lacks("rpm", "debootstrap"):
        yield name, lacking
        return
    root = debian("bookworm")
    files = sorted(build.OUTPUT.glob("*.x86_64.rpm"))
    if not files:
        yield name, "skipped: no rpm was made"
        return
    # Its database is empty: what the packages want is compared by hand.
    database = root / "rpm"
    shutil.rmtree(database, ignore_errors=True)
    rpm = ["rpm", "--root", root, "--dbpath", "/rpm", "--nodeps"]
    yield f"{name} -i", status(outside([*rpm, "--ignorearch", "-i", *files]))
    wants = run(["rpm", "-qp", "--requires", *files])
    wanted = {"libc.so.6(GLIBC_2.17)(64bit)", f"libheaptap = {build.version()}-1"}
    yield f"{name}: what it needs", "ok" if wanted <= set(wants.splitlines()) else f"FAILED: {wants}"
    yield f"{name} -V", status(outside([*rpm, "-V", "libheaptap", "heaptap"]))
    yield f"{name}: the leak is found", leak(root, "/usr/bin/heaptap", "/usr/lib64/heaptap/libheaptap.so", lambda: None)
    yield f"{name}: heaptap run", status(inside(root, ["heaptap", "run", "--", "perl", "-e", "exit 0"]))
    yield f"{name} -U", status(outside([*rpm, "--ignorearch", "-U", "--force", *files]))
    yield f"{name} -e", status(outside([*rpm, "-e", "heaptap", "libheaptap"]))
    left = [path for path in (root / "usr/lib64/heaptap", root / "usr/bin/heaptap") if path.exists()]
    yield f"{name}: nothing is left", f"FAILED: {left}" if left else "ok"


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


def podman() -> Iterator[tuple[str, str]]:
    """The image by podman: loaded, run with a read-only root to fill a volume, under which a Debian's perl then runs."""
    name, image = "the image in podman", next(iter(build.OUTPUT.glob("*-oci.tar")), None)
    if (lacking := lacks("podman", "runc", "debootstrap")) or image is None:
        yield name, lacking or "skipped: no image was made"
        return
    place = Path(tempfile.mkdtemp(prefix="heaptap-podman-"))
    # Limits as they are: a machine that is a container itself may not raise them.
    limits = [f"--ulimit={limit}=1024:1024" for limit in ("nofile", "nproc")]
    podman_ = ["podman", "--root", place / "root", "--runroot", place / "run", "--storage-driver=vfs",
               "--cgroup-manager=cgroupfs", "--runtime=runc"]
    run_ = [*podman_, "run", "--rm", "--network=none", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", *limits]
    tag = f"localhost/heaptap:{build.version()}"
    try:
        yield f"{name}: load", status(outside([*podman_, "load", "-i", image]))
        probe = outside([*run_, tag, "--version"])
        if probe.returncode:
            yield f"{name}: run", f"skipped: containers do not run here: {probe.stderr.strip()[-200:]}"
            return
        volume = [f"--volume={place}-volume:/heaptap-volume"]
        Path(f"{place}-volume").mkdir(mode=0o777)
        Path(f"{place}-volume").chmod(0o777)
        yield f"{name}: install", status(outside([*run_, *volume, tag, "install", "/heaptap-volume"]))
        script = "push @kept, q(x) x 10000 for 1..3000; kill 9, $$"
        wrapped = outside([*run_, f"--volume={place}-volume:/heaptap", "--tmpfs=/dumps", "--rootfs", f"{debian('bookworm')}",
                           "/heaptap/heaptap", "run", "--conf", f"{CONF},prof_prefix:/dumps/jeprof", "--verdict",
                           "/heaptap/verdict", "--", "perl", "-e", script])
        log = Path(f"{place}-volume") / "verdict"
        said = log.read_text() if log.is_file() else wrapped.stderr[-400:]
        yield f"{name}: a verdict by process 1", "ok" if "was killed by signal 9" in said else f"FAILED: {said}"
    finally:
        outside([*podman_, "rmi", "--all", "--force"])
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(f"{place}-volume", ignore_errors=True)


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


def lacks(*programs: str) -> str | None:
    """Why it cannot be tried here."""
    if os.getuid():
        return "skipped: needs root"
    if os.uname().machine != "x86_64":
        return "skipped: this machine is not x86_64"
    missing = [program for program in programs if not shutil.which(program)]
    return f"skipped: not installed: {' '.join(missing)}" if missing else None


def debian(suite: str) -> Path:
    """A root in which Debian's packages are installed, with Java, made once."""
    root = cache() / "userlands" / f"{suite}-installed"
    if not (root / "complete").is_file():
        print(f"  installing Debian {suite} into {root} (some minutes, once)", flush=True)
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        run(["debootstrap", "--variant=minbase", f"--include={DEBIANS[suite]}", suite, root], seconds=3600)
        for package in (root / "var" / "cache" / "apt" / "archives").glob("*.deb"):
            package.unlink()
        (root / "complete").touch()
    return root


def status(done: subprocess.CompletedProcess) -> str:
    """`ok` for status 0."""
    return "ok" if done.returncode == 0 else f"FAILED with status {done.returncode}: {(done.stdout + done.stderr)[-400:]}"


def outside(command: list) -> subprocess.CompletedProcess:
    """Runs a program of this machine."""
    return subprocess.run([str(word) for word in command], env={**clean_environment(), "LC_ALL": "C"}, check=False,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")


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


def leak(root: Path, heaptap: str, preload: str, meanwhile) -> str:
    """Starts the server under the tap, loads it, does something else meanwhile, stops it; the dump must tell its leak."""
    work = root / "leak"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    run(["javac", "--release", "11", "-d", work, REPOSITORY / "examples" / "leaking-server" / "InvoiceServer.java"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tap = [f"LD_PRELOAD={preload}", f"MALLOC_CONF={CONF},prof_prefix:/leak/jeprof"]
    command = words(root, ["/usr/bin/env", *tap, "java", "-XX:+UseSerialGC", "-Xmx64m", "-cp", "/leak", "InvoiceServer", str(port)])
    server = subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    try:
        said = server.stdout.readline()
        if not re.match(r"pid \d+, port", said):
            return f"FAILED: the server did not start: {said}{server.stderr.read()[-400:]}"
        for number in range(REQUESTS):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/invoice", timeout=60) as answer:
                answer.read()
            if number == REQUESTS // 2:
                meanwhile()
            time.sleep(SECONDS / REQUESTS)
    finally:
        server.terminate()
        server.communicate()
    dumps = sorted(path.name for path in work.glob("*.f.heap"))
    if not dumps:
        return "FAILED: no final dump"
    done = inside(root, [heaptap, "leaks", f"/leak/{dumps[-1]}"])
    found = done.returncode == 1 and "InvoiceServer.archive" in done.stdout
    return "ok" if found else f"FAILED with status {done.returncode}: {(done.stdout + done.stderr)[-600:]}"
