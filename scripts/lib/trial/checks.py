"""Is what the trial left right? Each check has a name, a verdict and the figures behind it.

The bound of the two byte checks follows from the sampling: a block of s bytes is seen with probability
p = 1 - exp(-s/R) and then counts s/p, so N objects made of blocks s_i have the variance N * sum(s_i^2 (1-p_i)/p_i).
Six standard deviations are exceeded by chance once in 500 million checks.
"""
import math
import re
from dataclasses import dataclass

from trial import jeprof
from trial.dumps import Dump, of_process
from trial.run import Run

DEVIATIONS = 6

#: Of all stacks that a server took.
LEAST_COMPLETE = 0.999

#: Blocks that zlib allocates for one object (usable sizes, measured alike on JDK 8 to 25).
DEFLATER_BLOCKS = (6144, 65536, 65536, 65536, 65536)
INFLATER_BLOCKS = (7168, 32768)
#: The JDK's own z_stream: below the Java method, but not below zlib's functions.
STREAM_BLOCK = 112

#: Objects that a healthy JVM server holds itself: an Inflater per open jar (90 to 130), hardly a Deflater.
OWN_DEFLATERS = 4
OWN_INFLATERS = 160

DEFLATE = r"deflateInit2_"
INFLATE = r"inflateInit2_"
#: The window, allocated at first use. In a stripped zlib the function carries the name of the export before it.
WINDOW = r"updatewindow|inflateBackEnd"
#: What leaks, as the agent's sources call it.
COMPRESS = r"org\.example\.billing\.InvoiceArchive\.compressAndForget"
EXPAND = r"org\.example\.search\.SearchCache\.inflateAndForget"

GOOD_STATUS = (0, 143)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""
    name: str
    good: bool
    figures: str

    def line(self) -> str:
        """As it is printed."""
        return f"{'ok  ' if self.good else 'FAIL'}  {self.name}: {self.figures}"


def examine(run: Run, dumps: list[Dump], java_profile: jeprof.Profile | None) -> list[Check]:
    """All checks of a finished run; the profile is that of the server's last dump."""
    checks = [served(run), ended(run), nothing_left(run), only_the_server(run, dumps)]
    own = of_process(dumps, run.server_pid)
    if java_profile is None or not own:
        return [*checks, Check("stock jeprof reads the last dump", False, "there is no dump of the server")]
    period = own[-1].sample_period()
    total = f"{java_profile.total():,} bytes live in {own[-1].path.name}"
    return [*checks, Check("stock jeprof reads the last dump", java_profile.total() > 0, total),
            *([complete(own[-1])] if own[-1].stack_ends() else []), *([kept(own[-1])] if "keep" in run.more else []),
            *leaks(run, java_profile, period)]


def complete(dump: Dump) -> Check:
    """Stacks that reach the root of their thread; the others say why they do not."""
    ends = dump.stack_ends()
    total = sum(ends.values())
    reasons = ", ".join(f"{count} {word}" for word, count in sorted(ends.items()) if word != "root")
    share = ends.get("root", 0) / max(total, 1)
    figures = f"{100 * share:.4f} % of {total:,} ({reasons or 'no other'})"
    return Check("stacks are complete to the thread's root", share >= LEAST_COMPLETE, figures)


def kept(dump: Dump) -> Check:
    """The dump says which allocator serves, and what it keeps."""
    said = {key: dump.said(f"allocator{key}") for key in ("", "_in_use_bytes", "_kept_bytes", "_arenas")}
    figures = ", ".join(f"allocator{key} {value}" for key, value in said.items())
    return Check("the server's own allocator serves, and is accounted for", None not in said.values(), figures)


def served(run: Run) -> Check:
    """Every document and search was answered."""
    served = run.served
    figures = f"{served.documents:,} documents, {served.searches} searches, {len(served.errors)} errors"
    figures += "".join(f", the first: {error}" for error in served.errors[:1])
    complete = served.documents == run.documents and not served.errors
    return Check("the load was served without an error", complete, figures)


def ended(run: Run) -> Check:
    """A JVM that ends by SIGTERM has status 143."""
    return Check("SIGTERM ended it well", run.status in GOOD_STATUS, f"exit status {run.status}")


def nothing_left(run: Run) -> Check:
    """The whole session is gone."""
    left = run.running()
    return Check("nothing is left running", not left, f"{len(left)} processes left")


def only_the_server(run: Run, dumps: list[Dump]) -> Check:
    """The server's JVM left a final dump; besides it only its launcher may have left files, and what was significant."""
    own = of_process(dumps, run.server_pid)
    others = [dump for dump in dumps if dump.pid not in (run.server_pid, run.launcher_pid)
              and not dump.is_significant()]
    rest = len(dumps) - len(own) - len(others)
    figures = f"{len(own)} of the server, {rest} of its launcher or significant, {len(others)} of others"
    if others:
        programs = sorted({dump.program().rpartition("/")[2] for dump in others})
        figures += f" ({', '.join(programs)})"
    has_final = any(dump.kind == "f" for dump in own)
    return Check("only the server left dumps, the final one too", has_final and not others, figures)


def leaks(run: Run, profile: jeprof.Profile, period: int) -> list[Check]:
    """jeprof's bytes against the agent's exact counts: by zlib's functions, and by the Java methods that leak."""
    def check(name: str, seen: int, leaked: int, own: int, blocks: tuple[int, ...]) -> Check:
        return agrees(f"{name} bytes agree", seen, leaked, own, blocks, period)

    window = profile.cumulative(INFLATE) + profile.cumulative(WINDOW)
    compress, expand = profile.cumulative(COMPRESS), profile.cumulative(EXPAND)
    invoices, searches = run.leaked.invoices, run.leaked.searches
    return [
        check("deflateInit2_", profile.cumulative(DEFLATE), invoices, OWN_DEFLATERS, DEFLATER_BLOCKS),
        check("inflateInit2_ and window", window, searches, OWN_INFLATERS, INFLATER_BLOCKS),
        check("InvoiceArchive.compressAndForget", compress, invoices, 0, (*DEFLATER_BLOCKS, STREAM_BLOCK)),
        check("SearchCache.inflateAndForget", expand, searches, 0, (*INFLATER_BLOCKS, STREAM_BLOCK)),
    ]


def names_the_method(state: str, report: str) -> Check:
    """A report of a server in some state leads to the Java method that leaks."""
    row = next((line.strip() for line in report.splitlines() if re.search(COMPRESS, line)), None)
    tail = " / ".join(report.strip().splitlines()[-3:])
    return Check(f"{state}: heaptap report PID names the leaking method", row is not None, row or f"it does not: {tail}")


def after_the_kill(check: Check) -> Check:
    """The same check of what was recovered."""
    return Check(f"recovered after SIGKILL: {check.name}", check.good, check.figures)


def agrees(name: str, seen: int, leaked: int, own: int, blocks: tuple[int, ...], period: int) -> Check:
    """Between what the agent leaked and that plus the JVM's own, give or take the sampling error."""
    size = sum(blocks)
    error = DEVIATIONS * math.sqrt(leaked * variance(blocks, period))
    low, high = leaked * size - error, (leaked + own) * size + error
    truth = f"{leaked} leaked x {size:,} = {leaked * size:,}"
    jvm = f" (and at most {own} of the JVM)" if own else ""
    figures = f"{seen:,} seen; {truth}{jvm}, sampling allows {low:,.0f} to {high:,.0f}"
    return Check(name, low <= seen <= high, figures)


def variance(blocks: tuple[int, ...], period: int) -> float:
    """Of one object's estimated bytes."""
    seen = [1 - math.exp(-size / period) for size in blocks]
    return sum(size * size * (1 - p) / p for size, p in zip(blocks, seen, strict=True))


def closing_line(checks: list[Check], skipped: int = 0) -> str:
    """How many were good."""
    good = sum(check.good for check in checks)
    return f"{good} passed, {len(checks) - good} failed" + (f", {skipped} skipped" if skipped else "")
