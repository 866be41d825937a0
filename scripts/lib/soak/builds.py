"""Compiles the storms: Java classes for each release that can run them, their native library, and the native programs."""
import shutil
from dataclasses import dataclass
from pathlib import Path

from soak.machines import Machine
from trial import commands, folders
from trial.steps import Trouble

JAVA = folders.REPOSITORY / "tests" / "soak" / "java"
NATIVE = folders.REPOSITORY / "tests" / "soak" / "native"
HOST = folders.REPOSITORY / "tests" / "host"

#: The Java storms, and the first release that has what they are about.
STORMS = {
    "Threads": 8, "Loaders": 8, "Hidden": 8, "Deopt": 8, "Exceptions": 8, "Recursion": 8, "Direct": 8, "Weak": 8,
    "Spawns": 8, "Attach": 8, "Virtual": 21, "Ffm": 22,
}

#: Programs of tests/host that do again and again what is hard.
HAZARDS = (
    "detached_workers", "sigev_thread", "fork_in_thread", "fork_mt", "unloads", "ucontext", "resizes", "thread_churn",
    "throw_race", "signal_storm", "tls_dtors", "cancel", "cancel_inside", "vfork_spawn", "raw_clone", "exit_race", "altstack",
    "small_stack", "late_free", "thread_ends", "siglongjmp", "exit_in_loader", "neighbour_stacks",
)


@dataclass(frozen=True)
class Builds:
    """Folders of what was compiled."""
    folder: Path

    def class_path(self, release: int) -> str:
        """What a machine of that release can load."""
        return ":".join(str(self.folder / name) for name in sorted({f"java{first}" for first in STORMS.values()
                                                                    if first <= release}))

    def program(self, name: str) -> Path:
        """A native one."""
        return self.folder / "native" / name


def build(folder: Path, machines: list[Machine]) -> Builds:
    """Compiles everything that these machines can run."""
    builds = Builds(folder)
    for first in sorted(set(STORMS.values())):
        able = [machine for machine in machines if machine.release >= first]
        if able:
            compile_classes(builds, first, able[0])
    native(builds, machines)
    return builds


def compile_classes(builds: Builds, first: int, machine: Machine) -> None:
    """Compiles what needs this release; the machine is the oldest one that can run it."""
    own = [JAVA / f"{name}.java" for name, needs in STORMS.items() if needs == first]
    if first == 8:
        own += [JAVA / f"{name}.java" for name in ("Storm", "Soak", "Work")]
    target = builds.folder / f"java{first}"
    target.mkdir()
    release = ["-source", "8", "-target", "8"] if first == 8 else []
    base = [] if first == 8 else ["-cp", builds.folder / "java8"]
    commands.run([machine.home / "bin" / "javac", "-g", "-nowarn", "-Xlint:none", "-XDignore.symbol.file", *release, *base,
                  "-d", target, *own])


def native(builds: Builds, machines: list[Machine]) -> None:
    """The library that the class Attach loads, the storm of all native hazards at once, and programs of tests/host."""
    target = builds.folder / "native"
    target.mkdir()
    if not shutil.which("gcc"):
        raise Trouble("no gcc here: run scripts/setup build")
    include = next((machine.home / "include" for machine in machines if (machine.home / "include/jni.h").exists()), None)
    if include:
        commands.run(["gcc", "-O2", "-fomit-frame-pointer", "-shared", "-fPIC", "-I", include, "-I", include / "linux",
                      "-o", target / "libcallers.so", JAVA / "callers.c", "-lpthread"])
    plugin = target / "plugin.so"
    commands.run(["gcc", "-O1", "-g", "-shared", "-fPIC", "-w", "-o", plugin, HOST / "plugin.c"])
    flags = ["-O1", "-g", "-pthread", "-fno-builtin", "-w", f'-DPLUGIN="{plugin}"', "-I", HOST]
    for source in [NATIVE / "mix.c", *(found for name in HAZARDS for found in HOST.glob(f"{name}.c*"))]:
        compiler = ["gcc"] if source.suffix == ".c" else ["g++", "-std=c++17"]
        commands.run([*compiler, *flags, "-o", target / source.stem, source, "-ldl", "-lm", "-lrt"])
