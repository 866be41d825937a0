"""The first command of the README: a real server under the tap, its dumps, its picture, its report."""
import argparse
import shutil
import sys
from pathlib import Path

from trial import agent, checks, commands, dumps, folders, jdks, jeprof, maven
from trial.products import QUICKSTART_SERVER, Product, SearchServer, SmallServer
from trial.run import CONF, Run
from trial.steps import Steps, Trouble, complain, end_well_when_asked, say

DOCUMENTS = 40_000
PLAN = agent.Plan(seconds=15, invoices=30, searches=120)
#: The same leak for a picture: it begins after a third of the time.
SLOW_INVOICES, SLOW_SEARCHES = 120, 480
TOP_ROWS = 20
REPORT_ROWS = 40


def main() -> int:
    options = parse_arguments()
    end_well_when_asked()
    try:
        return Quickstart(options).go()
    except Trouble as trouble:
        return complain(trouble)
    except KeyboardInterrupt:
        return 130


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/quickstart", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"Runs {QUICKSTART_SERVER.label} under heaptap while a small agent leaks native memory,\n"
                    "then shows the dumps, jeprof's text and picture of them, and heaptap's report.")
    parser.add_argument("--jvm", action="store_true", help="a small JVM server of ours instead: no download")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder for everything (default: quickstart/)")
    parser.add_argument("--keep", action="store_true", help="keep the unpacked server in that folder, too")
    parser.add_argument("--minutes", type=int, metavar="N", help="leak slowly, and only after a third of N minutes: "
                        "dumps to look at (scripts/pictures)")
    parser.add_argument("--conf", default="", metavar="OPTIONS",
                        help="more options of the tap: prof_allocator:keep runs the server on its own allocator")
    parser.add_argument("--tap", type=Path, metavar="LIB", help="preload this library instead of heaptap's")
    return parser.parse_args()


def slow(minutes: int) -> agent.Plan:
    """A plan of so many minutes. Rates are whole numbers a second, and two at least, so that sampling sees enough."""
    if not 1 <= minutes <= 60:
        raise Trouble(f"--minutes {minutes}: 1 to 60 are possible")
    quiet = 20 * minutes
    seconds = 60 * minutes - quiet
    return agent.Plan(seconds, max(2, 4 * SLOW_INVOICES // seconds), max(8, 4 * SLOW_SEARCHES // seconds), quiet)


class Quickstart:
    """The steps, in order; each leaves its result for those after it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.product: Product = SmallServer() if options.jvm else QUICKSTART_SERVER
        self.plan = slow(options.minutes) if options.minutes is not None else PLAN
        self.steps = Steps(13)

    def go(self) -> int:
        """All steps; returns the exit status."""
        self.set_up()
        self.build()
        run = self.prepare()
        try:
            self.live(run)
        finally:
            run.close()
        return self.show(run)

    def set_up(self) -> None:
        with self.steps.step("Install what is missing (scripts/setup)"):
            groups = ["build", "java", "jeprof"] + ([] if self.options.jvm else ["maven"])
            commands.run_showing([folders.REPOSITORY / "scripts" / "setup", *groups])

    def build(self) -> None:
        with self.steps.step("Build heaptap (scripts/build)"):
            commands.run_showing([folders.REPOSITORY / "scripts" / "build"])
        self.cli = folders.RELEASE / "heaptap"
        self.library = self.options.tap or folders.RELEASE / "libheaptap.so"
        if not self.library.is_file():
            raise Trouble(f"{self.library} is not there")

    def prepare(self) -> Run:
        with self.steps.step(f"Install {self.product.label} and the leaking agent") as notes:
            jdk = jdks.find(self.product.java)
            if jdk is None:
                raise Trouble(f"{self.product.label} needs a JDK {self.product.java}: run scripts/setup java")
            if isinstance(self.product, SearchServer) and not maven.is_cached(self.product.coordinates):
                say(f"      fetching {self.product.coordinates} into {folders.cache()}")
            self.out = folders.fresh(self.options.out, "quickstart")
            run = Run(self.product, jdk, self.library.resolve(), self.out, self.plan, DOCUMENTS,
                      more=f",{self.options.conf}" if self.options.conf else "")
            run.install()
            notes.append(f"in {run.home}")
        return run

    def live(self, run: Run) -> None:
        """Start, load, stop."""
        with self.steps.step(f"Start {self.product.label} under the tap, as a normal user") as notes:
            say(f"      MALLOC_CONF={CONF}{run.more}\n      LD_PRELOAD={run.preload}")
            run.start()
            notes.append(f"process {run.server_pid} answers on 127.0.0.1:{run.ports.http}")
        with self.steps.step(f"Index {DOCUMENTS:,} documents and search, while the agent leaks") as notes:
            run.work()
            notes.append(checks.served(run).figures)
            notes.append(f"leaked: {run.leaked.invoices} GZIP streams, {run.leaked.searches} inflaters")
        self.looked = self.look(run)
        with self.steps.step("Stop it (SIGTERM)") as notes:
            run.stop()
            notes.append(f"exit status {run.status}")

    def look(self, run: Run) -> list[checks.Check]:
        """The report of the running server, and of the same when it answers nobody."""
        with self.steps.step("heaptap report, while it runs, and while it is stopped (SIGSTOP)") as notes:
            say(f"      {self.cli} report {run.server_pid}")
            running = checks.names_the_method("running", self.report(run.server_pid))
            with run.stopped():
                stopped = checks.names_the_method("stopped", self.report(run.server_pid))
            notes += [running.line(), stopped.line()]
        return [running, stopped]

    def report(self, pid: int) -> str:
        """`heaptap report PID`; trouble is its text."""
        try:
            return commands.run([self.cli, "report", str(pid)])
        except Trouble as trouble:
            return str(trouble)

    def kill(self, run: Run) -> list[checks.Check]:
        """A second life of the server, ended without warning; one command explains it from what it left."""
        with self.steps.step(f"Start {self.product.label} again, and let the agent leak") as notes:
            # As fast as ever, however slowly the first life leaked.
            run.plan = PLAN
            run.start_again()
            run.wait_for_leaks()
            notes.append(f"process {run.server_pid}; {run.leaked.invoices} GZIP streams, {run.leaked.searches} inflaters")
        with self.steps.step("Kill it (SIGKILL): heaptap report, and its final dump after all") as notes:
            run.kill()
            say(f"      {self.cli} report {run.server_pid}")
            text = self.report(run.server_pid)
            (self.out / "report-killed.txt").write_text(text)
            notes += text.splitlines()[:REPORT_ROWS]
            killed = [checks.names_the_method("killed", text)]
            say(f"      {self.cli} recover {run.server_pid}")
            recovered = dumps.at(Path(commands.run([self.cli, "recover", str(run.server_pid)]).strip()))
            notes.append(str(recovered.path))
            profile = jeprof.read(jdks.java_in_path(run.jdk), recovered)
        return killed + [checks.after_the_kill(check) for check in checks.leaks(run, profile, recovered.sample_period())]

    def show(self, run: Run) -> int:
        """What it left, and whether that is right."""
        java = jdks.java_in_path(run.jdk)
        found = dumps.find(self.out)
        own = dumps.of_process(found, run.server_pid)
        self.show_dumps(found, own)
        results = checks.examine(run, found, self.show_text(java, own) if own else None)
        if own:
            self.show_pictures(java, own)
            results.append(self.show_report(own))
        results += self.looked
        try:
            results += self.kill(run)
        finally:
            run.close()
        return self.conclude(results)

    def show_dumps(self, found: list[dumps.Dump], own: list[dumps.Dump]) -> None:
        with self.steps.step("Dumps") as notes:
            notes += [str(dump.path) for dump in own] or ["none of the server"]
            notes += [f"{path} (belongs to them)" for path in dumps.beside(own)]
            others = len(found) - len(own)
            if others:
                notes.append(f"and {others} of other processes")

    def show_text(self, java: Path, own: list[dumps.Dump]) -> jeprof.Profile:
        with self.steps.step("jeprof: the last dump") as notes:
            say("      " + " ".join(jeprof.text_command(java, own[-1])))
            profile = jeprof.read(java, own[-1])
            (self.out / "jeprof.txt").write_text(profile.text)
            notes += profile.text.splitlines()[:TOP_ROWS + 1]
        return profile

    def show_pictures(self, java: Path, own: list[dumps.Dump]) -> None:
        with self.steps.step("jeprof: pictures") as notes:
            folder = own[-1].path.parent
            everything = jeprof.picture_command(java, "jeprof*.heap")
            commands.run_into(everything, self.out / "all-dumps.gif", folder)
            last = jeprof.picture_command(java, own[-1].path.name)
            commands.run_into(last, self.out / "last-dump.gif", folder)
            notes += [f"{self.out / 'all-dumps.gif'}: {everything}",
                      f"{self.out / 'last-dump.gif'}: {last}",
                      "Each dump is the whole live memory at one moment, and jeprof adds files up: several dumps of",
                      "one process count the same memory again and again. The last dump is the one to believe."]

    def show_report(self, own: list[dumps.Dump]) -> checks.Check:
        """Prints the report; a failure is one more check, so that the others are still shown."""
        with self.steps.step("heaptap report") as notes:
            say(f"      {self.cli} report {' '.join(str(dump.path) for dump in own)}")
            try:
                text = commands.run([self.cli, "report", *(dump.path for dump in own)])
            except Trouble as trouble:
                return checks.Check("heaptap report reads the dumps", False, str(trouble))
            (self.out / "report.txt").write_text(text)
            notes += text.splitlines()[:REPORT_ROWS]
        return checks.Check("heaptap report reads the dumps", bool(text.strip()), f"{len(text.splitlines())} lines")

    def conclude(self, results: list[checks.Check]) -> int:
        """The verdict; the last line names the folder."""
        say("")
        for check in results:
            say(f"  {check.line()}")
        if not self.options.keep:
            self.drop_server_files()
        say(f"\n{self.steps.seconds():.0f} s in all\n{checks.closing_line(results)}\neverything is in {self.out}")
        return 0 if all(check.good for check in results) else 1

    def drop_server_files(self) -> None:
        """The unpacked server is big and can be made again; its logs and dumps stay."""
        for name in ("modules", "jdk", "data", "tmp"):
            shutil.rmtree(self.out / "server" / name, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
