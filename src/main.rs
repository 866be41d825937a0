//! Root of the CLI: what runs on somebody's terminal.

mod cli;
#[allow(dead_code, reason = "the other root uses the rest")]
mod wire;

fn main() -> std::process::ExitCode {
    cli::main()
}
