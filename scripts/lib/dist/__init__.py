"""What users get: built for glibc 2.17 by zig, checked as it is in the archive, tried in other userlands.

The data's way: build (zig, licences, archive) -> artefact (what readelf says of the unpacked archive)
-> userlands (Debian 11, and Debian 12 for aarch64 under qemu-user: programs with and without the tap).
Only Python's standard library; zig and cargo-zigbuild come from PyPI, userlands from Debian.
"""
