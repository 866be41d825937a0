"""Stock jeprof as the independent judge of a dump: its text as rows, its pictures as files."""
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from trial import commands
from trial.dumps import Dump
from trial.steps import Trouble

ROW = re.compile(r"^\s*(\d+)\s+\S+%\s+\S+%\s+(\d+)\s+\S+%\s+(.+?)\s*$")


@dataclass(frozen=True)
class Row:
    """A function: bytes that it allocated itself, and with all that it called."""
    flat: int
    cumulative: int
    name: str


@dataclass(frozen=True)
class Profile:
    """The text of one dump."""
    text: str
    rows: list[Row]

    def total(self) -> int:
        """Live bytes of the process."""
        return sum(row.flat for row in self.rows)

    def cumulative(self, name: str) -> int:
        """Bytes below the functions whose whole name (without a symbol version) matches."""
        pattern = re.compile(name + r"(@@\S+)?")
        return sum(row.cumulative for row in self.rows if pattern.fullmatch(row.name))


def text_command(java: Path, dump: Dump) -> list[str]:
    """The command as a user would type it."""
    return ["jeprof", "--text", "--show_bytes", str(java), str(dump.path)]


def read(java: Path, dump: Dump) -> Profile:
    """jeprof's text of a dump."""
    text = commands.run(text_command(java, dump))
    rows = [Row(int(found[1]), int(found[2]), found[3]) for found in map(ROW.match, text.splitlines()) if found]
    if not rows:
        raise Trouble(f"jeprof finds nothing in {dump.path}")
    return Profile(text, rows)


def picture_command(java: Path, files: str) -> str:
    """The user's own command line; `files` may hold a pattern for the shell."""
    return f"jeprof --show_bytes --gif {shlex.quote(str(java))} {files}"
