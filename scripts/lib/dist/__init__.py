"""What users get: built by zig, packed, checked as it is in the archive, installed and tried in other userlands.

The data's way: build (zig; library, program, debug information) -> files (archives), packages (deb, rpm), image (OCI)
-> sums (parts, sums, signature) -> artefact (what readelf says of the unpacked archive) -> userlands (Debian 11, 12,
sid, rpm's, an empty root, aarch64 under qemu-user). Python's standard library alone; `tools` says what else it runs,
and in which version.
"""
