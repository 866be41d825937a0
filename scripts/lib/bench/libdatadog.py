"""Builds libdatadog's heap sampler, from crates, as a library to preload: examples/bench/libdatadog."""
import os
import shutil
from pathlib import Path

from trial import commands, folders
from trial.steps import say

#: Of libdd-profiling-heap-gotter, as its Cargo.toml has it.
VERSION = "1.0.0"


def build() -> Path:
    """The library, built unless it is in the cache."""
    kept = folders.cache() / f"libdatadog-{VERSION}" / "liblibdatadog.so"
    if not kept.exists():
        say(f"      building libdatadog's heap sampler into {kept.parent}")
        target = kept.with_name("target")
        manifest = folders.REPOSITORY / "examples" / "bench" / "libdatadog" / "Cargo.toml"
        commands.run(["cargo", "build", "--release", "--quiet", "--manifest-path", manifest, "--target-dir", target])
        os.replace(target / "release" / kept.name, kept)
        shutil.rmtree(target)
    return kept
