"""The libraries that are compared, each with its settings; what cannot be had is skipped with a reason."""
import os
import platform
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import jemalloc, libdatadog
from trial import commands, folders, maven
from trial.steps import Trouble

ASYNC_PROFILER_VERSION = "4.6"
ASYNC_PROFILER = f"tools.profiler:async-profiler:{ASYNC_PROFILER_VERSION}:jar"

#: Where the settings are compared that say little about whole programs.
STRESS = ("pair", "working set", "deep")

#: Settings of every run of heaptap: no files, as in the other profilers' runs, and no limit to what sampling costs:
#: with the usual one of 1 % the stress workloads would be sampled less.
QUIET = "prof:true,prof_final:false,prof_max_overhead:0"


@dataclass(frozen=True)
class Peer:
    """One library in one setting: how a program is run under it."""
    name: str
    about: str
    library: Path | None = None
    variables: dict[str, str] = field(default_factory=dict)
    java_options: tuple[str, ...] = ()
    skipped: str = ""
    #: Many times slower than the floor: run with a part of the work, in few rounds.
    slow: bool = False
    #: Run in these workloads only; empty: in all.
    only: tuple[str, ...] = ()
    #: Another library, preloaded behind it.
    behind: Path | None = None

    def environment(self) -> dict[str, str]:
        """Variables for a program under this peer."""
        preload = ":".join(str(library) for library in (self.library, self.behind) if library)
        return commands.clean_environment() | ({"LD_PRELOAD": preload} if preload else {}) | self.variables


def all_peers(tap: Path) -> list[Peer]:
    """All of them; the floor is the first."""
    return [floor(), *heaptap(tap), *jemalloc_profiles(), glibc(), *tcmalloc(), heaptrack(), datadog(), async_profiler()]


def floor() -> Peer:
    """What everything is measured against. Without it there is nothing to say, so trouble stays trouble."""
    return Peer("jemalloc", "jemalloc 5.3.1 as heaptap embeds it: no statistics, no profiling", jemalloc.build("plain"))


def heaptap(tap: Path) -> list[Peer]:
    """Ours: off (but drawing, so that it can be switched on), at jemalloc's default rate, and at the issue's."""
    def ours(name: str, about: str, conf: str) -> Peer:
        return Peer(name, about, tap, {"MALLOC_CONF": f"{QUIET},{conf}"})
    return [
        ours("heaptap off", "profiling inactive", "prof_active:false"),
        ours("heaptap keep", "profiling inactive, glibc's malloc serves: compare with glibc",
             "prof_active:false,prof_allocator:keep"),
        ours("heaptap 19", "a sample every 512 KiB", "lg_prof_sample:19"),
        ours("heaptap 17", "a sample every 128 KiB", "lg_prof_sample:17"),
    ]


def jemalloc_profiles() -> list[Peer]:
    """jemalloc's own profiler, with both of its unwinders."""
    libgcc = attempt("jemalloc prof", lambda: jemalloc.build("prof"))
    libunwind = attempt("jemalloc prof, libunwind", lambda: jemalloc.build("prof-libunwind"))
    def stress(peer: Peer) -> Peer:
        return replace(peer, only=STRESS)
    return [
        named(libgcc, "jeprof off", "jemalloc 5.3.1 --enable-prof, inactive", "prof:true,prof_active:false"),
        stress(named(libgcc, "jeprof 19", "the same at 512 KiB (libgcc's unwinder)", "prof:true,lg_prof_sample:19")),
        named(libgcc, "jeprof 17", "the same at 128 KiB", "prof:true,lg_prof_sample:17"),
        stress(named(libunwind, "jeprof-lu 19", "jemalloc 5.3.1 with libunwind, 512 KiB", "prof:true,lg_prof_sample:19")),
        named(libunwind, "jeprof-lu 17", "the same at 128 KiB", "prof:true,lg_prof_sample:17"),
    ]


def named(found: Peer, name: str, about: str, conf: str) -> Peer:
    """A library that was found, under the name of a setting."""
    return Peer(name, about, found.library, {"MALLOC_CONF": conf}, skipped=found.skipped, only=found.only)


def with_conf(peer: Peer, conf: str) -> Peer:
    """The same library with another setting."""
    return named(peer, peer.name, peer.about, conf)


def glibc() -> Peer:
    return Peer("glibc", f"glibc {platform.libc_ver()[1]}")


def tcmalloc() -> list[Peer]:
    """gperftools, without sampling and at our rate."""
    found = attempt("tcmalloc", lambda: debian_library("libtcmalloc.so.4"))
    rate = {"TCMALLOC_SAMPLE_PARAMETER": str(1 << 17)}
    return [Peer("tcmalloc", "gperftools 2.10, not sampling", found.library, skipped=found.skipped),
            Peer("tcmalloc 17", "the same, a sample every 128 KiB", found.library, rate, skipped=found.skipped, only=STRESS)]


def heaptrack() -> Peer:
    """Its preload part alone, the record going nowhere: the least that it can cost."""
    found = attempt("heaptrack", heaptrack_library)
    variables = {"DUMP_HEAPTRACK_OUTPUT": "/dev/null"}
    return Peer("heaptrack", "heaptrack 1.4, its preload alone", found.library, variables, skipped=found.skipped, slow=True)


def heaptrack_library() -> Path:
    for folder in (f"/usr/lib/{platform.machine()}-linux-gnu/heaptrack", "/usr/lib/heaptrack"):
        found = Path(folder) / "libheaptrack_preload.so"
        if found.exists():
            return found
    raise Trouble("not installed (package heaptrack)")


def datadog() -> Peer:
    """Over the floor's malloc, with nobody who listens: what is left is what each allocation costs."""
    found = attempt("libdatadog", libdatadog.build)
    about = f"libdd-profiling-heap-gotter {libdatadog.VERSION}, 128 KiB, nobody listening, over jemalloc"
    return Peer("libdatadog 17", about,
                found.library, behind=jemalloc.build("plain"), skipped=found.skipped, only=STRESS)


def async_profiler() -> Peer:
    """For the JVM only: over the floor's malloc, as one would run it."""
    found = attempt("async-profiler", async_profiler_library)
    options = (f"-agentpath:{found.library}=start,nativemem={1 << 17},collapsed,file=/dev/null",)
    return Peer("async-profiler 17", f"async-profiler {ASYNC_PROFILER_VERSION} nativemem=128k, over jemalloc", jemalloc.build("plain"),
                java_options=options, skipped=found.skipped, only=("java",))


def async_profiler_library() -> Path:
    """Taken out of the jar, once."""
    kept = folders.cache() / f"async-profiler-{ASYNC_PROFILER_VERSION}" / "libasyncProfiler.so"
    if not kept.exists():
        jar = maven.fetch(ASYNC_PROFILER)
        machine = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}.get(platform.machine(), platform.machine())
        kept.parent.mkdir(exist_ok=True)
        # Written beside and renamed, so that an interrupted run leaves no half library.
        partial = kept.with_suffix(".partial")
        with open_member(jar, f"{machine}/libasyncProfiler.so") as packed, partial.open("wb") as library:
            shutil.copyfileobj(packed, library)
        os.replace(partial, kept)
    return kept


def open_member(jar: Path, name: str):
    """One file of a jar, opened."""
    try:
        return zipfile.ZipFile(jar).open(name)
    except KeyError:
        raise Trouble(f"{jar.name} has no {name}") from None


def debian_library(name: str) -> Path:
    """A library that a Debian package installs."""
    found = Path(f"/usr/lib/{platform.machine()}-linux-gnu") / name
    if not found.exists():
        raise Trouble(f"{found} is not installed")
    return found


def attempt(name: str, find: Callable[[], Path]) -> Peer:
    """A peer with its library, or with the reason why there is none."""
    try:
        return Peer(name, "", find())
    except Trouble as trouble:
        return Peer(name, "", skipped=str(trouble).splitlines()[0])
