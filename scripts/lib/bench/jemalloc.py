"""Builds jemalloc 5.3.1 as a shared library, from the source that cargo has fetched for heaptap itself."""
import json
import os
import shutil
from pathlib import Path

from trial import commands, folders
from trial.steps import Trouble, say

#: What each build is configured with. `plain` is what tikv-jemalloc-sys does for heaptap.
FLAVOURS = {
    "plain": ["--disable-stats"],
    "prof": ["--enable-prof"],
    "prof-libunwind": ["--enable-prof", "--enable-prof-libunwind"],
}
COMMON = ["--disable-cxx", "--enable-doc=no", "--disable-static"]
#: The cc crate's flags of a release build.
CFLAGS = "-O3 -ffunction-sections -fdata-sections -fPIC"
CRATE = "tikv-jemalloc-sys"


def build(flavour: str) -> Path:
    """The library of this flavour, built unless it is in the cache."""
    source, version = crate()
    prefix = folders.cache() / f"jemalloc-{version.split('-')[0]}-{flavour}"
    library = prefix / "lib" / "libjemalloc.so.2"
    if not library.exists():
        if flavour == "prof-libunwind" and not list(Path("/usr/include").rglob("libunwind.h")):
            raise Trouble("libunwind-dev is not installed")
        say(f"      building jemalloc ({flavour}) into {prefix}")
        make(source, version, prefix, FLAVOURS[flavour])
    return library


def make(source: Path, version: str, prefix: Path, options: list[str]) -> None:
    """configure, make, install: in a folder beside the result, which is removed afterwards."""
    work = prefix.with_name(f"{prefix.name}.build")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source / "jemalloc", work)
    shutil.copy(source / "configure" / "configure", work)
    command = ["sh", "configure", f"--prefix={prefix}", f"--with-version={version}", *COMMON, *options, f"CFLAGS={CFLAGS}"]
    commands.run(command, work)
    commands.run(["make", f"-j{os.cpu_count() or 1}", "build_lib_shared"], work, seconds=1800)
    commands.run(["make", "install_lib_shared"], work)
    shutil.rmtree(work)


def crate() -> tuple[Path, str]:
    """Where cargo keeps the crate's source, and the jemalloc version in it, such as 5.3.1-0-g81034ce."""
    text = commands.run(["cargo", "metadata", "--format-version", "1", "--locked"], folders.REPOSITORY)
    for package in json.loads(text)["packages"]:
        if package["name"] == CRATE:
            return Path(package["manifest_path"]).parent, package["version"].split("+")[-1]
    raise Trouble(f"cargo metadata names no {CRATE}")
