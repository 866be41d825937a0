//! Source lines and inlined functions, read by a process of their own.
//!
//! DWARF is the largest and least trustworthy thing that heaptap reads: 500 MiB for a libjvm, and
//! a damaged section can make the reader panic, which ends a program built with `panic = "abort"`.
//! So `heaptap` starts itself once more for one file, hands it addresses and reads names; whatever
//! becomes of that process, the report only loses lines.

use super::native;
use super::recorded::{Frames, Recorded, RecordedModule};
use rustc_hash::FxHashMap;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// The command that the other process is started with; not for users.
pub(crate) const COMMAND: &str = "name-places";

/// Names of virtual addresses of a file. The error says why there are none.
pub(super) fn ask(path: &Path, addresses: &[u64]) -> Result<FxHashMap<u64, Frames>, String> {
    let failed = |error: io::Error| format!("its debug information could not be read ({error})");
    let program = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .arg(COMMAND)
        .arg(path)
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
    let answer = child.wait_with_output().map_err(failed)?;
    if !answer.status.success() {
        return Err(format!("its debug information is damaged (reading it ended with {})", answer.status));
    }
    let recorded = Recorded::read(answer.stdout.as_slice()).map_err(failed)?;
    Ok(recorded.module(&path.to_string_lossy(), None).map_or_else(FxHashMap::default, |module| module.places.clone()))
}

/// The other process: addresses on stdin, names on stdout.
pub(crate) fn answer(path: &Path) -> io::Result<()> {
    let lines: Vec<String> = io::stdin().lock().lines().collect::<io::Result<_>>()?;
    let addresses: Vec<u64> = lines.iter().filter_map(|line| u64::from_str_radix(line, 16).ok()).collect();
    let found = native::ask(path, &addresses, true);
    let places = addresses.into_iter().zip(found).filter_map(|(address, frames)| Some((address, frames?)));
    let module = RecordedModule { source: String::new(), places: places.collect() };
    let recorded = Recorded::one(path.to_string_lossy().into_owned(), module);
    let mut out = io::BufWriter::new(io::stdout().lock());
    recorded.write(&mut out)?;
    out.flush()
}
