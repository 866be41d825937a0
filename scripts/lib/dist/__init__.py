"""What users get: built by zig, packed, checked as it is in the archive, installed and tried in other userlands.

The data's way: build (zig; library, program, debug information) -> files (archives), packages (deb, rpm), image (OCI)
-> sums (parts, sums, signature) -> artefact (what readelf says of the unpacked archive) -> installs (deb in Debian 11,
12, sid; an empty root), rpms (rpm, dnf), containers (podman, a pod), userlands (the archive; aarch64 under qemu-user).
`server` is what leaks in them, `roots` how a command runs there; `manifests` judges the Kubernetes examples. Python's
standard library alone; `tools` says what else it runs, and in which version.
"""
