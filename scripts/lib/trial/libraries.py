"""Java libraries that have native memory, for the test of who holds it: as a command it fetches them and prints their folder.

    python3 -m trial.libraries
"""
import shutil
import sys

from trial import maven
from trial.steps import Trouble

COORDINATES = ("com.github.luben:zstd-jni:1.5.6-9", "org.rocksdb:rocksdbjni:9.7.3", "net.java.dev.jna:jna:5.15.0")


def main() -> int:
    """Prints nothing where they cannot be had, and says on stderr why."""
    if not shutil.which("mvn"):
        print("no mvn here to fetch Java libraries with: run scripts/setup maven", file=sys.stderr)
        return 0
    try:
        print(maven.jars("libraries", COORDINATES))
    except Trouble as trouble:
        print(f"no Java libraries: {str(trouble).splitlines()[0]}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
