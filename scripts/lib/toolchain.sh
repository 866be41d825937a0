# Sourced by the scripts that build: puts a cargo that is new enough into PATH, wherever it was installed.
# Sets nothing when there is none; `have_rust` tells.

# The oldest Rust that builds heaptap: `rust-version` in Cargo.toml.
RUST_NEEDED=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "${BASH_SOURCE[0]}")/../../Cargo.toml")

# is_at_least WANTED VERSION
is_at_least() {
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

# is_new_cargo CARGO: true when it runs and is new enough
is_new_cargo() {
    local version
    version=$("$1" --version 2>/dev/null | cut -d' ' -f2) && [ -n "$version" ] && is_at_least "$RUST_NEEDED" "$version"
}

# find_cargo: prints the folder of the first cargo that will do
find_cargo() {
    local candidate
    for candidate in "$(command -v cargo)" "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" /usr/bin/cargo; do
        if [ -x "$candidate" ] && is_new_cargo "$candidate"; then
            dirname "$candidate"
            return
        fi
    done
    return 1
}

have_rust() {
    find_cargo > /dev/null
}

use_rust() {
    local folder
    folder=$(find_cargo) || { echo "trouble: no cargo >= $RUST_NEEDED: run scripts/setup build" >&2; return 2; }
    export PATH="$folder:$PATH"
    export CARGO_BUILD_JOBS=${CARGO_BUILD_JOBS:-$(sensible_jobs)}
}

# has_nightly: whether a nightly cargo has Miri and the standard library's source, for the sanitizers
has_nightly() {
    local root
    root=$(rustc +nightly --print sysroot 2> /dev/null) && [ -d "$root/lib/rustlib/src/rust/library" ] &&
        cargo +nightly miri --version > /dev/null 2>&1
}

# One job a core, but only as many as have 2 GiB of memory each: a job that swaps is slower than one that waits.
sensible_jobs() {
    local cores gigabytes
    cores=$(nproc)
    gigabytes=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
    local jobs=$((gigabytes / 2 < cores ? gigabytes / 2 : cores))
    echo $((jobs > 0 ? jobs : 1))
}
