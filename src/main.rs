//! Root of the CLI: what runs on somebody's terminal.

mod cli;
mod wire;

fn main() -> std::process::ExitCode {
    cli::main()
}
