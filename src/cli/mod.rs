//! Root of the CLI's floors: turns what the tap left, or what it keeps alive, into answers.
//!
//! Floors, imports go down only: commands > push > attach > send > render > analyze > symbolize > profile > open,
//! inert, held > wire.

mod analyze;
mod attach;
mod commands;
mod held;
mod inert;
mod open;
mod profile;
mod push;
mod render;
mod send;
mod symbolize;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// Finds native memory leaks in running Linux servers, above all JVMs
#[derive(Parser, Debug)]
#[command(version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Run(commands::run::Arguments),
    Install(commands::install::Arguments),
    Unit(commands::unit::Arguments),
    Report(commands::report::Arguments),
    Growth(commands::growth::Arguments),
    Leaks(commands::leaks::Arguments),
    Diff(commands::diff::Arguments),
    Fleet(commands::fleet::Arguments),
    Top(commands::top::Arguments),
    Tree(commands::tree::Arguments),
    Callers(commands::callers::Arguments),
    Page(commands::page::Arguments),
    Flame(commands::flame::Arguments),
    Convert(commands::convert::Arguments),
    Pack(commands::pack::Arguments),
    Push(commands::push::Arguments),
    Symbols(commands::symbols::Arguments),
    Info(commands::info::Arguments),
    Rss(commands::rss::Arguments),
    Holders(commands::holders::Arguments),
    Watch(commands::watch::Arguments),
    Ps(commands::ps::Arguments),
    Status(commands::status::Arguments),
    Mcp(commands::mcp::Arguments),
    /// Make running processes write a dump each
    Dump(commands::control::Processes),
    /// Make running processes sample
    Start(commands::control::Processes),
    /// Make running processes stop sampling; what is live stays recorded
    Stop(commands::control::Processes),
    Rate(commands::control::Rate),
    /// Make running processes forget all samples and begin again
    Reset(commands::control::Processes),
    /// Make the allocators of running processes give back what they keep unused, and say how much that was
    Trim(commands::control::Processes),
    Recover(commands::recover::Arguments),
    Verdicts(commands::verdicts::Arguments),
    Completions(commands::completions::Arguments),
    Man(commands::man::Arguments),
    Help(commands::help::Arguments),
    /// For heaptap itself: names addresses of a file in a process apart
    #[command(name = symbolize::subprocess::COMMAND, hide = true)]
    NamePlaces {
        /// The file
        file: std::path::PathBuf,
    },
}

/// Runs the command line and returns its exit status: 0 done, 1 a finding, 2 trouble, 3 not judged.
pub(crate) fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => commands::run::run(&arguments),
        Command::Install(arguments) => commands::install::run(&arguments),
        Command::Unit(arguments) => commands::unit::run(&arguments),
        Command::Report(arguments) => commands::report::run(&arguments),
        Command::Growth(arguments) => commands::growth::run(&arguments),
        Command::Leaks(arguments) => commands::leaks::run(&arguments),
        Command::Diff(arguments) => commands::diff::run(&arguments),
        Command::Fleet(arguments) => commands::fleet::run(&arguments),
        Command::Holders(arguments) => commands::holders::run(&arguments),
        Command::Rss(arguments) => commands::rss::run(&arguments),
        Command::Watch(arguments) => commands::watch::run(&arguments),
        Command::Ps(arguments) => commands::ps::run(&arguments),
        Command::Recover(arguments) => commands::recover::run(&arguments),
        Command::Dump(processes) => commands::control::dump(&processes),
        Command::Start(processes) => commands::control::start(&processes),
        Command::Stop(processes) => commands::control::stop(&processes),
        Command::Reset(processes) => commands::control::reset(&processes),
        Command::Trim(processes) => commands::control::trim(&processes),
        Command::Status(arguments) => commands::status::run(&arguments),
        Command::Mcp(arguments) => commands::mcp::run(&arguments),
        Command::Rate(arguments) => commands::control::rate(&arguments),
        Command::Tree(arguments) => commands::tree::run(&arguments),
        Command::Page(arguments) => commands::page::run(&arguments),
        Command::Flame(arguments) => commands::flame::run(&arguments),
        Command::Convert(arguments) => commands::convert::run(&arguments),
        Command::Top(arguments) => commands::top::run(&arguments),
        Command::Callers(arguments) => commands::callers::run(&arguments),
        Command::Pack(arguments) => commands::pack::run(&arguments),
        Command::Push(arguments) => commands::push::run(&arguments),
        Command::Symbols(arguments) => commands::symbols::run(&arguments),
        Command::Info(arguments) => commands::info::run(&arguments),
        Command::Verdicts(arguments) => commands::verdicts::run(&arguments),
        Command::Completions(arguments) => commands::completions::run(&arguments, Arguments::command()),
        Command::Man(arguments) => commands::man::run(&arguments, Arguments::command()),
        Command::Help(arguments) => commands::help::run(&arguments, Arguments::command()),
        Command::NamePlaces { file } => {
            symbolize::subprocess::answer(&file).map(|()| ExitCode::SUCCESS).map_err(anyhow::Error::from)
        }
    };
    result.unwrap_or_else(|error| failure(&error))
}

/// Tells what failed; a reader that closed the pipe has seen enough, which is no failure.
fn failure(error: &anyhow::Error) -> ExitCode {
    let is_broken_pipe = error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    });
    if is_broken_pipe {
        return ExitCode::SUCCESS;
    }
    inert::say(&format!("{error:#}"));
    ExitCode::from(2)
}
