//! Asks a running tap for something, through its control file (`wire::control`).
//!
//! The request is written with plain writes to a file on tmpfs, which the tap has mapped; its keeper looks once
//! a second. Who may open the file for writing is decided by the kernel: its owner, and root.

use super::beneath;
use crate::wire::control::{ANSWER, ARGUMENT, BYTES, MAGIC, Outcome, PATH, PATH_BYTES, REQUEST, RESULT, VERB, Verb};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for an answer: a dump of a large profile takes some seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// How it went.
    pub(crate) outcome: Outcome,
    /// The dump that was written, as the process names it.
    pub(crate) path: Option<PathBuf>,
}

/// The control file that lies beside a region.
pub(crate) fn beside(region: &Path) -> PathBuf {
    region.with_extension("control")
}

/// Asks, and waits for the answer.
pub(crate) fn ask(control: &Path, verb: Verb, argument: u64) -> Result<Answer> {
    ask_for(control, verb, argument, PATIENCE)
}

fn ask_for(control: &Path, verb: Verb, argument: u64, patience: Duration) -> Result<Answer> {
    let file = beneath::open(control, true).map_err(|error| refusal(control, error))?;
    if word(&file, 0)? != MAGIC {
        bail!("{} is not a control file", control.display());
    }
    let deadline = Instant::now() + patience;
    while word(&file, REQUEST)? != word(&file, ANSWER)? {
        wait(deadline, "an earlier request is still unanswered")?;
    }
    let number = word(&file, REQUEST)?.wrapping_add(1);
    set(&file, VERB, verb as u64)?;
    set(&file, ARGUMENT, argument)?;
    set(&file, REQUEST, number)?;
    while word(&file, ANSWER)? != number {
        wait(deadline, "no answer")?;
    }
    let Some(outcome) = Outcome::from_number(word(&file, RESULT)?) else {
        bail!("{} holds an answer of another version of heaptap", control.display());
    };
    Ok(Answer { outcome, path: path(&file)? })
}

fn refusal(control: &Path, error: io::Error) -> anyhow::Error {
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => "it belongs to another user: only that user and root may control it",
        io::ErrorKind::NotFound => "its helper thread has not started yet, or has ended",
        _ => "it cannot be controlled",
    };
    anyhow::Error::new(error).context(format!("{why}: opening {}", control.display()))
}

fn wait(deadline: Instant, what: &str) -> Result<()> {
    if Instant::now() > deadline {
        bail!("{what}: the process is stopped, its helper thread has ended, or a seccomp filter keeps it from files");
    }
    thread::sleep(Duration::from_millis(20));
    Ok(())
}

fn path(file: &File) -> Result<Option<PathBuf>> {
    let len = usize::try_from(word(file, PATH_BYTES)?)?.min(BYTES - PATH * 8);
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, (PATH * 8) as u64)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

fn word(file: &File, index: usize) -> Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, (index * 8) as u64).context("reading the control file")?;
    Ok(u64::from_ne_bytes(bytes))
}

fn set(file: &File, index: usize, value: u64) -> Result<()> {
    file.write_all_at(&value.to_ne_bytes(), (index * 8) as u64).context("writing the control file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(name: &str, words: &[(usize, u64)]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("heaptap-{name}-{}.control", std::process::id()));
        let mut bytes = vec![0u8; BYTES];
        for (index, value) in words {
            bytes[index * 8..index * 8 + 8].copy_from_slice(&value.to_ne_bytes());
        }
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn silence_is_an_error_that_says_what_it_may_mean() {
        let path = control("silent", &[(0, MAGIC)]);
        let error = ask_for(&path, Verb::Dump, 0, Duration::from_millis(50)).unwrap_err().to_string();
        assert!(error.starts_with("no answer"), "{error}");
        let again = ask_for(&path, Verb::Dump, 0, Duration::from_millis(50)).unwrap_err().to_string();
        assert!(again.contains("still unanswered"), "{again}");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn answers_are_read() {
        let path = control("answered", &[(0, MAGIC)]);
        let answering = path.clone();
        let tap = thread::spawn(move || {
            let file = File::options().read(true).write(true).open(answering).unwrap();
            while word(&file, REQUEST).unwrap() == 0 {
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!((word(&file, VERB).unwrap(), word(&file, ARGUMENT).unwrap()), (Verb::Rate as u64, 12));
            file.write_all_at(b"/tmp/a.heap", (PATH * 8) as u64).unwrap();
            set(&file, PATH_BYTES, 11).unwrap();
            set(&file, RESULT, Outcome::Done as u64).unwrap();
            set(&file, ANSWER, 1).unwrap();
        });
        let answer = ask_for(&path, Verb::Rate, 12, Duration::from_secs(10)).unwrap();
        assert_eq!(answer, Answer { outcome: Outcome::Done, path: Some("/tmp/a.heap".into()) });
        tap.join().unwrap();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn other_files_are_refused() {
        let path = control("other", &[]);
        assert!(ask(&path, Verb::Dump, 0).unwrap_err().to_string().contains("not a control file"));
        std::fs::remove_file(&path).unwrap();
        let error = ask(&path, Verb::Dump, 0).unwrap_err().to_string();
        assert!(error.contains("has not started yet"), "{error}");
    }
}
