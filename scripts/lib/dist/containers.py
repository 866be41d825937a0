"""The image in podman: by its own command line with a read-only root, and examples/kubernetes/pod.yaml by `kube play`.

What podman 4 does not know of a pod is put in its place by hand: a side container among the init containers becomes an
ordinary one (as before Kubernetes 1.29), the termination log is a file of this machine's, and the pod has this machine's
network, because the load comes from here.
"""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dist import build, manifests, server
from dist.roots import debian, lacks, outside, status

#: As users are told to run it.
CAREFUL = ["--network=none", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"]
#: Limits as they are: a machine that is a container itself may not raise them. No journal, no systemd.
CONFIGURATION = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
#: A bound for what must happen soon.
SECONDS = 60


@dataclass
class Podman:
    """podman with a store of its own."""

    place: Path

    def __call__(self, *command: str | Path) -> subprocess.CompletedProcess:
        words = ["podman", "--root", self.place / "root", "--runroot", self.place / "run", "--storage-driver=overlay"]
        return outside([*words, *command], {"CONTAINERS_CONF": str(self.place / "containers.conf")})


@contextmanager
def own_podman() -> Iterator[Podman]:
    """One that leaves nothing."""
    place = Path(tempfile.mkdtemp(prefix="heaptap-podman-"))
    (place / "containers.conf").write_text(CONFIGURATION)
    podman_ = Podman(place)
    try:
        yield podman_
    finally:
        podman_("pod", "rm", "--all", "--force", "--time=1")
        podman_("rm", "--all", "--force", "--time=1")
        podman_("rmi", "--all", "--force")
        podman_("volume", "rm", "--all", "--force")
        shutil.rmtree(place, ignore_errors=True)


def podman() -> Iterator[tuple[str, str]]:
    """Loaded, run with a read-only root to fill a volume, under which a Debian's programs then run."""
    name, image = "the image in podman", next(iter(build.OUTPUT.glob("*-oci.tar")), None)
    if (lacking := lacks("podman", "runc", "debootstrap")) or image is None:
        yield name, lacking or "skipped: no image was made"
        return
    with own_podman() as podman_:
        yield f"{name}: load", status(podman_("load", "-i", image))
        probe = podman_("run", "--rm", *CAREFUL, tag(), "--version")
        if probe.returncode:
            yield f"{name}: run", f"skipped: containers do not run here: {probe.stderr.strip()[-200:]}"
            return
        yield from by_hand(name, podman_)
        yield from pod(podman_)


def tag() -> str:
    """What the image calls itself."""
    return f"localhost/heaptap:{build.version()}"


def by_hand(name: str, podman_: Podman) -> Iterator[tuple[str, str]]:
    """The README's two commands, and `heaptap run` as process 1."""
    volume = podman_.place / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    mounted = f"--volume={volume}:/heaptap-volume"
    yield f"{name}: install", status(podman_("run", "--rm", *CAREFUL, mounted, tag(), "install", "/heaptap-volume"))
    script = "push @kept, q(x) x 10000 for 1..3000; kill 9, $$"
    wrapped = podman_("run", "--rm", *CAREFUL, f"--volume={volume}:/heaptap", "--tmpfs=/dumps", "--rootfs",
                      debian("bookworm"), "/heaptap/heaptap", "run", "--conf", f"{server.CONF},prof_prefix:/dumps/jeprof",
                      "--verdict", "/heaptap/verdict", "--", "perl", "-e", script)
    log = volume / "verdict"
    said = log.read_text() if log.is_file() else wrapped.stderr[-400:]
    yield f"{name}: a verdict by process 1", "ok" if "was killed by signal 9" in said else f"FAILED: {said}"


def pod(podman_: Podman) -> Iterator[tuple[str, str]]:
    """The pod of the examples: its server leaks and is killed; the container beside it must name the method."""
    name = "examples/kubernetes/pod.yaml by podman kube play"
    log, port = podman_.place / "termination-log", server.free_port()
    log.touch()
    log.chmod(0o666)
    made = server_image(podman_)
    if made != "ok":
        yield f"{name}: an image for the server", made
        return
    podman_("tag", tag(), "registry.example/heaptap:0.1.0")
    played = podman_.place / "pod.json"
    played.write_text(json.dumps(playable(port, log)))
    started = status(podman_("kube", "play", "--network=host", played))
    yield f"{name}: started", started
    if started != "ok":
        return
    if not listens(port):
        yield f"{name}: the server", f"FAILED: it does not answer: {podman_('logs', 'shop-server').stderr[-400:]}"
        return
    writable = podman_("exec", "shop-server", "/usr/bin/touch", "/x")
    yield f"{name}: its root is read-only", "ok" if "Read-only" in writable.stderr else f"FAILED: {writable.stderr}"
    try:
        server.ask(port)
    except OSError as error:
        yield f"{name}: the load", f"FAILED: {error}"
        return
    pid = int(podman_("inspect", "--format", "{{.State.Pid}}", "shop-server").stdout)
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + SECONDS
    while not log.read_text() and time.monotonic() < until:
        time.sleep(0.5)
    said = log.read_text()
    found = "InvoiceServer.archive" in said
    yield f"{name}: the verdict after a kill", "ok" if found else f"FAILED: {said!r} {podman_('logs', 'shop-heaptap').stderr[-400:]}"
    volume = Path(podman_("volume", "inspect", "--format", "{{.Mountpoint}}", "dumps").stdout.strip())
    finals = [path.name for path in volume.glob("*.f.heap")]
    yield f"{name}: a final dump after a kill", "ok" if len(finals) == 1 else f"FAILED: {sorted(os.listdir(volume))}"


def server_image(podman_: Podman) -> str:
    """registry.example/shop:1: a Debian with Java and the leaking server."""
    classes = podman_.place / "classes" / "shop"
    classes.mkdir(parents=True)
    server.compile_into(classes)
    packed = podman_.place / "shop.tar"
    root = debian("bookworm")
    kept = ["bin", "etc", "lib", "lib64", "usr", "sbin", "tmp", "var"]
    # The Java is what ld.so and Debian's alternatives lead to; documents and package lists are left out.
    done = outside(["tar", "-cf", packed, "-C", root, "--exclude=usr/share/doc", "--exclude=usr/share/locale",
                    "--exclude=var/lib/apt", "--exclude=var/cache", *kept, "-C", classes.parent, "shop"])
    if done.returncode:
        return status(done)
    return status(podman_("import", "--change", 'ENTRYPOINT ["/usr/bin/java", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xmx64m", '
                          '"-cp", "/shop", "InvoiceServer"]', packed, "registry.example/shop:1"))


def playable(port: int, log: Path) -> dict:
    """The example as podman can play it."""
    pod_ = manifests.read(manifests.environment(), [manifests.EXAMPLES / "pod.yaml"])[0]
    spec = pod_["spec"]
    beside = [container for container in spec["initContainers"] if container.get("restartPolicy")]
    spec["initContainers"] = [container for container in spec["initContainers"] if container not in beside]
    for container in beside:
        container.pop("restartPolicy")
        container["volumeMounts"].append({"name": "log", "mountPath": "/dev/termination-log"})
    spec["volumes"].append({"name": "log", "hostPath": {"path": str(log), "type": "File"}})
    spec["containers"][0]["args"] = [str(port)]
    spec["containers"] += beside
    spec["restartPolicy"] = "Never"
    return pod_


def listens(port: int) -> bool:
    """Whether the server answers within a bound."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        try:
            server.ask(port, 1, 0)
            return True
        except OSError:
            time.sleep(0.5)
    return False
