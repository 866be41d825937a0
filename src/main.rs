//! Root of the CLI: what runs on somebody's terminal.

mod cli;
#[allow(dead_code, reason = "the other root uses the rest")]
mod wire;

use tikv_jemallocator::Jemalloc;

/// A profile is some million small blocks. The archive's CLI is linked with musl, whose malloc takes several times as
/// long for them.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
