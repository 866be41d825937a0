"""`scripts/peers`: test suites of CPython and glibc, plainly, under the user's string, and with everything on."""
import argparse
import sys
import tempfile
import time
from pathlib import Path

from suites.cpython import CPython
from suites.glibc import Glibc
from trial import commands, folders
from trial.run import CONF
from trial.steps import Trouble, complain, end_well_when_asked, say

#: Every allocation is sampled, and dumps are written all the time by processes that live long enough. Others stay silent: a
#: line on stderr, as prof_min_seconds:0 would have each of them write, is what tests of subprocesses look for.
EVERYTHING = f"{CONF},lg_prof_sample:0,lg_prof_interval:22,prof_accum:true,prof_dump_seconds:2,prof_max_dumps:3"
WAYS = {"user": CONF, "everything": EVERYTHING}


def main() -> int:
    options = parse_arguments()
    end_well_when_asked()
    if not options.tap.is_file():
        return complain(Trouble(f"{options.tap} is not there: run scripts/build"))
    passed = failed = skipped = 0
    for suite in (CPython, Glibc):
        if options.suite and options.suite != suite.name:
            continue
        with tempfile.TemporaryDirectory(prefix="heaptap-peers-") as folder:
            try:
                sums = run(suite(Path(folder)), options)
            except Trouble as trouble:
                say(f"skipped: {suite.name}'s tests: {str(trouble).splitlines()[0]}")
                continue
            passed, failed, skipped = (old + new for old, new in zip((passed, failed, skipped), sums, strict=True))
    say(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/peers", description=(
        "Runs CPython's and glibc's own tests from Debian's packages, plainly and under the tap. "
        "A test that passes plainly and not under the tap is a failure, unless it passes at a second try."))
    parser.add_argument("--suite", choices=(CPython.name, Glibc.name), help="only this one")
    parser.add_argument("--only", default="", metavar="NAME,NAME", help="only these modules or programs")
    parser.add_argument("--tap", type=Path, default=folders.RELEASE / "libheaptap.so", metavar="LIB", help="preload this library")
    return parser.parse_args()


def run(suite: CPython | Glibc, options: argparse.Namespace) -> tuple[int, int, int]:
    """How many tests passed under the tap, did not though they do plainly, and do not plainly."""
    suite.prepare()
    only = [word for word in options.only.split(",") if word]
    passed, failed, skipped = 0, 0, 0
    for case in suite.cases():
        if only and case not in only:
            continue
        plain = suite.run(case, commands.clean_environment())
        good = {name for name, word in plain.items() if word in ("ok", "ended")}
        skipped += len(plain) - len(good)
        for way, configuration in WAYS.items():
            begin = time.monotonic()
            environment = tapped(options.tap, configuration, suite.folder)
            bad = wrong(good, suite.run(case, environment))
            # Tests of time fail on a busy machine.
            if bad:
                again = wrong(good, suite.run(case, environment))
                bad = {name: word for name, word in bad.items() if name in again}
            failed += len(bad)
            passed += len(good) - len(bad)
            say(f"{suite.name} {case}, {way}: {len(good) - len(bad)} of {len(good)} as without the tap, {time.monotonic() - begin:.0f} s")
            for name, word in sorted(bad.items()):
                say(f"      {name}: {word}")
    return passed, failed, skipped


def tapped(library: Path, configuration: str, folder: Path) -> dict[str, str]:
    """The environment of a tapped run; dumps go to a folder that is removed."""
    dumps = folder / "dumps"
    dumps.mkdir(exist_ok=True)
    conf = f"{configuration},prof_prefix:{dumps / 'jeprof'}"
    return commands.clean_environment() | {"LD_PRELOAD": str(library.absolute()), "MALLOC_CONF": conf}


def wrong(good: set[str], results: dict[str, str]) -> dict[str, str]:
    """What passes plainly and did not here."""
    return {name: results.get(name, "not run") for name in good if results.get(name) not in ("ok", "ended")}


if __name__ == "__main__":
    sys.exit(main())
