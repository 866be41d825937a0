"""Tries an unpacked archive where it will be used: in Debian 11's userland, and on aarch64 under qemu-user.

A userland is what debootstrap downloads, unpacked and not installed; it needs root for chroot. Under qemu-user no
child can exec (nothing is registered with the kernel), and nothing is learnt about memory ordering.
"""
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from trial.commands import clean_environment, run
from trial.folders import REPOSITORY, cache

#: Suite, Debian's name of the architecture, and what the programs are started by.
USERLANDS = {
    "x86_64": ("bullseye", "amd64", []),
    "aarch64": ("bookworm", "arm64", ["/usr/bin/qemu-aarch64-static"]),
}
#: Programs beside the minimal set.
PACKAGES = "openjdk-17-jre-headless,python3-minimal,perl-base"
#: As users run it, and with everything on.
SETTINGS = {
    "default": "prof:true,lg_prof_interval:30,lg_prof_sample:17,prof_final:true",
    "everything": "prof:true,lg_prof_sample:0,prof_final:true,lg_prof_interval:22,prof_min_seconds:0,prof_min_bytes:0",
}
#: A bound for hangs; Java under qemu with every allocation sampled takes a minute on a busy machine.
SECONDS = 400


def tries(arch: str, unpacked: Path) -> Iterator[tuple[str, str]]:
    """Name and verdict of each program, run plain and then under the tap in both settings."""
    suite, debian, starter = USERLANDS[arch]
    where = f"Debian {'11' if suite == 'bullseye' else '12'}{' under qemu-user' if starter else ''}"
    missing = [tool for tool in ("debootstrap", *(Path(word).name for word in starter)) if not shutil.which(tool)]
    if os.getuid() != 0 or missing:
        yield where, f"skipped: {'needs root' if os.getuid() else 'not installed: ' + ' '.join(missing)}"
        return
    if not starter and os.uname().machine != arch:
        yield where, f"skipped: this machine is not {arch}"
        return
    root = userland(suite, debian, starter)
    shutil.rmtree(root / "heaptap", ignore_errors=True)
    shutil.copytree(unpacked, root / "heaptap")
    for name, command in programs(debian, root):
        yield f"{name} in {where}", verdict(root, starter, command)
    yield f"heaptap report in {where}", report(root, starter)


def userland(suite: str, debian: str, starter: list[str]) -> Path:
    """The root of a userland, downloaded once."""
    root = cache() / "userlands" / f"{suite}-{debian}"
    if not (root / "complete").is_file():
        print(f"downloading {suite} for {debian} into {root}", flush=True)
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        run(["debootstrap", "--foreign", "--variant=minbase", f"--arch={debian}", f"--include={PACKAGES}", suite, root])
        for package in sorted((root / "var" / "cache" / "apt" / "archives").glob("*.deb")):
            run(["dpkg-deb", "-x", package, root])
            package.unlink()
        for name in ("proc", "dev", "tmp"):
            (root / name).mkdir(exist_ok=True)
        for word in starter:
            shutil.copy(word, root / word.lstrip("/"))
        (root / "complete").touch()
    return root


def programs(debian: str, root: Path) -> list[tuple[str, list[str]]]:
    """What is run: names and command lines inside the userland."""
    scripts = root / "heaptap" / "programs"
    shutil.copytree(REPOSITORY / "tests" / "programs", scripts)
    found = [
        ("bash", ["/bin/bash", "-c", 'x=(); for i in {1..3000}; do x+=("item $i"); done; echo "${#x[@]} ${x[7]}"; exit 3']),
        ("python", ["/usr/bin/python3", "-c", "d = {i: str(i) * 9 for i in range(20000)}; print(len(d), d[77])"]),
        ("perl", ["/usr/bin/perl", "-e", 'my %h; $h{$_ % 991} .= "x$_" for 1..20000; print length $h{5}, "\\n"; exit 4']),
    ]
    if shutil.which("javac"):
        run(["javac", "--release", "17", "-d", scripts, scripts / "Everyday.java"])
        java = f"/usr/lib/jvm/java-17-openjdk-{debian}/bin/java"
        found.append(("java", [java, "-XX:+UseSerialGC", "-XX:-UsePerfData", "-cp", "/heaptap/programs", "Everyday"]))
    return found


def start(root: Path, starter: list[str], command: list[str], tap: dict[str, str]) -> subprocess.CompletedProcess:
    """Runs a command in the userland, with /proc, and with the tap's variables if there are any."""
    settings = [f"{name}={value}" for name, value in tap.items()]
    # qemu takes the preload by an option of its own, which knows no commas; the rest it inherits.
    if starter and tap:
        first = [*starter, "-E", settings[0]]
        outside = dict(list(tap.items())[1:])
    else:
        first = starter if starter else ["/usr/bin/env", *settings]
        outside = {}
    script = 'mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" && shift && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(root), "chroot", str(root), *first, *command]
    return subprocess.run(words, env={**clean_environment(), "LC_ALL": "C", **outside}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False)


def verdict(root: Path, starter: list[str], command: list[str]) -> str:
    """Plain, then tapped in both settings: the same status and stdout, and a final dump with everything on."""
    try:
        plain = start(root, starter, command, {})
        if plain.returncode not in (0, 3, 4):
            return f"skipped: it fails without the tap: {plain.stderr.strip()[-200:]}"
        for name, conf in SETTINGS.items():
            dumps = root / "heaptap" / name
            shutil.rmtree(dumps, ignore_errors=True)
            dumps.mkdir()
            conf = f"{conf},prof_prefix:/heaptap/{name}/jeprof"
            tapped = start(root, starter, command, {"LD_PRELOAD": "/heaptap/libheaptap.so", "MALLOC_CONF": conf})
            if (tapped.returncode, tapped.stdout) != (plain.returncode, plain.stdout):
                return f"FAILED, {name}: status {tapped.returncode}: {(tapped.stdout + tapped.stderr)[-400:]}"
            finals = [path.read_text(errors="replace") for path in dumps.glob("*.f.heap")]
            if name == "everything" and not any(text.startswith("heap_v2/1\n") and "\n@ 0x" in text for text in finals):
                return f"FAILED, {name}: no final dump: {tapped.stderr[-400:]}"
    except subprocess.TimeoutExpired:
        return f"FAILED: not over within {SECONDS} s"
    return "ok"


def report(root: Path, starter: list[str]) -> str:
    """The archive's own program reads what its library left."""
    dumps = sorted(path.name for path in (root / "heaptap" / "everything").glob("*.f.heap"))
    done = start(root, starter, ["/heaptap/heaptap", "report", f"/heaptap/everything/{dumps[-1]}"], {})
    return "ok" if done.returncode == 0 and "live in" in done.stdout else f"FAILED: {done.stdout}{done.stderr}"
