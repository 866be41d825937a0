"""A server that leaks, under the tap in a root: examples/leaking-server, whose method archive() leaves compressors open.

It listens on loopback; the load comes from here.
"""
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from dist.roots import ENVIRONMENT, inside, status, words
from trial.commands import run
from trial.folders import REPOSITORY

CONF = "prof:true,lg_prof_sample:17,prof_final:true"
#: Requests, each of which leaks 262 KiB, and the seconds that they are spread over: time enough for a verdict.
REQUESTS, SECONDS = 300, 25


def compile_into(folder: Path) -> None:
    """Its class, for every Java from 11 on."""
    run(["javac", "--release", "11", "-d", folder, REPOSITORY / "examples" / "leaking-server" / "InvoiceServer.java"])


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, requests: int = REQUESTS, seconds: float = SECONDS) -> None:
    """Asks for invoices."""
    for _ in range(requests):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/invoice", timeout=60) as answer:
            answer.read()
        time.sleep(seconds / requests)


def leak(root: Path, preload: str, meanwhile: Callable[[int], str]) -> str:
    """Starts the server under the tap, loads it, does something else meanwhile (which gets its pid, and says `ok` or
    what failed), stops it; its final dump must tell its leak."""
    work, port = root / "leak", free_port()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    compile_into(work)
    tap = [f"LD_PRELOAD={preload}", f"MALLOC_CONF={CONF},prof_prefix:/leak/jeprof"]
    command = words(root, ["/usr/bin/env", *tap, "java", "-XX:+UseSerialGC", "-Xmx64m", "-cp", "/leak", "InvoiceServer", str(port)])
    server = subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    try:
        said = server.stdout.readline()
        started = re.match(r"pid (\d+), port", said)
        if not started:
            return f"FAILED: the server did not start: {said}{server.stderr.read()[-400:]}"
        ask(port, REQUESTS // 2, SECONDS / 2)
        between = meanwhile(int(started[1]))
        ask(port, REQUESTS // 2, SECONDS / 2)
    except OSError as error:
        return f"FAILED: the server does not answer: {error}"
    finally:
        server.terminate()
        server.communicate()
    if between != "ok":
        return between
    dumps = sorted(path.name for path in work.glob("*.f.heap"))
    if not dumps:
        return "FAILED: no final dump"
    done = inside(root, ["heaptap", "leaks", f"/leak/{dumps[-1]}"])
    found = done.returncode == 1 and "InvoiceServer.archive" in done.stdout
    return "ok" if found else f"FAILED with status {done.returncode}: {(done.stdout + done.stderr)[-600:]}"


def is_of_old(pid: int) -> str:
    """`ok` if a process runs on under a library that is no more in its folder."""
    lines = [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "libheaptap.so" in line]
    if lines and all("(deleted)" in line or ";" in line for line in lines):
        return "ok"
    return f"FAILED: the server does not run under the replaced library: {lines[:2]}"


def short_run(root: Path) -> str:
    """`ok` if `heaptap run` finds the library by itself and a program ends well under it."""
    conf = f"{CONF},prof_prefix:/tmp/jeprof"
    return status(inside(root, ["heaptap", "run", "--conf", conf, "--", "perl", "-e", "exit 0"]))
