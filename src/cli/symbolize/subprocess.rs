//! Source lines and inlined functions, read by a process of their own.
//!
//! DWARF is the largest and least trustworthy thing that heaptap reads: 500 MiB for a libjvm, and
//! a damaged section can make the reader panic, which ends a program built with `panic = "abort"`.
//! So `heaptap` starts itself once more for one file, hands it addresses and reads names; whatever
//! becomes of that process, the report only loses lines. It is given the file that was opened here, not its name, and
//! a time: a debug file may name others, which the reader of DWARF opens by itself.

use super::blaze;
use super::elf::Elf;
use super::recorded::{Frames, Recorded, RecordedModule};
use crate::cli::open;
use rustc_hash::FxHashMap;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The command that the other process is started with; not for users.
pub(crate) const COMMAND: &str = "name-places";

/// Longest wait for it: 500 MiB take some seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Names of virtual addresses of a file. The error says why there are none.
pub(super) fn ask(file: &File, addresses: &[u64]) -> Result<FxHashMap<u64, Frames>, String> {
    if leads_elsewhere(file) {
        return Err("its debug information names another file, and neither root nor you own it".to_owned());
    }
    let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
    let failed = |error: io::Error| format!("its debug information could not be read ({error})");
    let program = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .arg(COMMAND)
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let mut question = child.stdin.take().ok_or("no pipe")?;
    let text: String = addresses.iter().map(|address| format!("{address:x}\n")).collect();
    // It reads everything before it answers; if it died, its status says so.
    let _ = question.write_all(text.as_bytes());
    drop(question);
    let (status, answer) = wait(&mut child).map_err(failed)?;
    if !status.success() {
        return Err(format!("its debug information is damaged (reading it ended with {status})"));
    }
    let recorded = Recorded::read(answer.as_slice()).map_err(failed)?;
    Ok(recorded.module(&path.to_string_lossy(), None).map_or_else(FxHashMap::default, |module| module.places.clone()))
}

/// Whether reading DWARF would open files that somebody else chose.
fn leads_elsewhere(file: &File) -> bool {
    let is_ours = file.metadata().is_ok_and(|meta| [0, open::reader()].contains(&meta.uid()));
    !is_ours && Elf::read(file).is_ok_and(|elf| elf.names_other_files)
}

/// What it answers, and how it ends; one that takes too long is ended.
fn wait(child: &mut Child) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut pipe = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let reader = thread::spawn(move || {
        let mut answer = Vec::new();
        pipe.read_to_end(&mut answer).map(|_| answer)
    });
    let deadline = Instant::now() + PATIENCE;
    while !reader.is_finished() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    if !reader.is_finished() {
        child.kill()?;
    }
    let answer = reader.join().map_err(|_| io::Error::other("no answer"))??;
    Ok((child.wait()?, answer))
}

/// The other process: addresses on stdin, names on stdout.
pub(crate) fn answer(path: &Path) -> io::Result<()> {
    let lines: Vec<String> = io::stdin().lock().lines().collect::<io::Result<_>>()?;
    let addresses: Vec<u64> = lines.iter().filter_map(|line| u64::from_str_radix(line, 16).ok()).collect();
    let found = blaze::ask(&open::regular(path)?, &addresses, true);
    let places = addresses.into_iter().zip(found).filter_map(|(address, frames)| Some((address, frames?)));
    let module = RecordedModule { source: String::new(), places: places.collect() };
    let recorded = Recorded::one(path.to_string_lossy().into_owned(), module);
    let mut out = io::BufWriter::new(io::stdout().lock());
    recorded.write(&mut out)?;
    out.flush()
}
