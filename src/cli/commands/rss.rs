//! `heaptap rss PID…`: where the resident memory of a process is, tapped or not.

use super::output::Output;
use super::terminal;
use crate::cli::analyze::rss::{Account, JvmSizes, Resident};
use crate::cli::attach::{lives, memory, region};
use crate::cli::render::rss::RssText;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show where the resident memory of a process is: Java heap, malloc, stacks, files …
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Pid of a running process, tapped or not; or a copy of its /proc/PID/smaps
    #[arg(value_name = "PID|SMAPS")]
    process: PathBuf,

    /// Write everything as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = &arguments.process;
    let resident = match path.to_str().and_then(|text| text.parse().ok()).filter(|_| !path.exists()) {
        Some(pid) => of_process(pid)?,
        None => of_file(path)?,
    };
    let text = RssText { layout: terminal::layout() };
    arguments.output.answer(&resident, arguments.json, &text)?;
    Ok(ExitCode::SUCCESS)
}

fn of_process(pid: u32) -> Result<Resident> {
    let account = memory::account(pid)?;
    let region = lives::of_process(pid, &[]).ok().filter(|found| found.is_alive);
    let live_bytes = region.and_then(|found| region::live_bytes(&found.path).ok());
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let limit = memory::limit(pid);
    Ok(Resident {
        schema: 1,
        pid: Some(pid),
        exe: exe.map(|exe| exe.display().to_string()),
        account: live_bytes.map_or_else(|| account.clone(), |live| account.with_live(live as f64)),
        live_bytes,
        memory_used_bytes: limit.map(|limit| limit.used_bytes),
        memory_limit_bytes: limit.map(|limit| limit.limit_bytes),
    })
}

fn of_file(path: &Path) -> Result<Resident> {
    let smaps =
        std::fs::read(path).with_context(|| format!("reading {} (a pid, or a file of smaps)", path.display()))?;
    let account = Account::of_smaps(&String::from_utf8_lossy(&smaps), &JvmSizes::default());
    if account.classes.is_empty() {
        anyhow::bail!(
            "{} is no copy of /proc/PID/smaps: there is no mapping with anything resident in it",
            path.display()
        );
    }
    Ok(Resident { schema: 1, account, ..Resident::default() })
}
