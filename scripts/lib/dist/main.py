"""The command line of scripts/dist."""
import argparse
import sys
import tempfile
from pathlib import Path

from dist import artefact, build, userlands
from trial.steps import Trouble


def arguments() -> argparse.Namespace:
    """What the user wants."""
    parser = argparse.ArgumentParser(prog="scripts/dist", description=(
        "Builds target/dist/heaptap-VERSION-ARCH-linux-gnu.tar.gz with zig, for glibc 2.17 and later, checks what is in "
        "the archive, and writes SHA256SUMS beside it."))
    parser.add_argument("arch", nargs="*", metavar="ARCH", default=list(build.TARGETS), choices=list(build.TARGETS),
                        help="x86_64, aarch64 (default: both)")
    parser.add_argument("--try", dest="tried", action="store_true", help=(
        "also run programs under what was built: in Debian 11, and on aarch64 in Debian 12 under qemu-user "
        "(as root; downloads 300 MB once)"))
    return parser.parse_args()


def main() -> int:
    """Builds, checks and tries; prints totals as the other scripts do."""
    wanted = arguments()
    passed, failed, skipped = 0, 0, 0
    for arch in wanted.arch:
        try:
            archive = build.archive(arch)
        except build.NotPossible as reason:
            print(f"{arch}: skipped: {reason}")
            skipped += 1
            continue
        with tempfile.TemporaryDirectory() as folder:
            unpacked = build.unpack(archive, Path(folder))
            complaints = artefact.complaints(unpacked, arch)
            print(f"{archive.name}: {archive.stat().st_size / 1e6:.1f} MB, {artefact.summary(unpacked)}")
            for complaint in complaints:
                print(f"  FAILED: {complaint}")
            passed, failed = passed + (not complaints), failed + bool(complaints)
            for name, verdict in userlands.tries(arch, unpacked) if wanted.tried else []:
                print(f"  {arch}: {name}: {verdict}")
                passed += verdict == "ok"
                skipped += verdict.startswith("skipped")
                failed += not (verdict == "ok" or verdict.startswith("skipped"))
    if passed + failed:
        build.write_sums()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Trouble as trouble:
        print(f"trouble: {trouble}", file=sys.stderr)
        sys.exit(2)
