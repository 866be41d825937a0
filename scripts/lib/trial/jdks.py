"""Finds JDKs by their major version: installed ones, and those that were unpacked (debian_jdks)."""
import os
import re
import shutil
from pathlib import Path

from trial import debian_jdks


def find(major: int) -> Path | None:
    """The home of a JDK of exactly this major version, if one is installed."""
    return next((home for home in homes() if major_version(home) == major), None)


def java_in_path(home: Path) -> Path:
    """`$(which java)` when that is this JDK's, else the JDK's own `bin/java`."""
    found = shutil.which("java")
    own = home / "bin" / "java"
    return Path(found) if found and os.path.realpath(found) == os.path.realpath(own) else own


def homes() -> list[Path]:
    """Candidates: JAVA_HOME, the java in PATH, what packages install below /usr/lib/jvm, and what was unpacked."""
    candidates = [Path(home) for home in [os.environ.get("JAVA_HOME")] if home]
    if java := shutil.which("java"):
        candidates.append(Path(os.path.realpath(java)).parents[1])
    candidates += sorted(Path("/usr/lib/jvm").glob("*")) if Path("/usr/lib/jvm").is_dir() else []
    candidates += debian_jdks.found()
    return [home for home in candidates if (home / "bin" / "javac").exists()]


def major_version(home: Path) -> int | None:
    """From the file `release` that JDKs carry, but for Debian's 8."""
    try:
        release = (home / "release").read_text()
    except OSError:
        return 8 if home in debian_jdks.found() and home.name.startswith("java-8-") else None
    found = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', release, re.MULTILINE)
    return int(found[1]) if found else None
