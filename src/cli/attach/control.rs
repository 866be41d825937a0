//! Asks a running tap for something, through its control file (`wire::control`).
//!
//! The CLI writes the request to a file on tmpfs; the tap's keeper looks once a second. The kernel decides who may open
//! the file for writing: its owner, and root. The claim of the life says who the owner must be.

use super::openat;
use crate::wire::claim::Claim;
use crate::wire::control::{MAGIC, Outcome, PATH_BYTES, Verb, Word};
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
fn beside(region: &Path) -> PathBuf {
    region.with_extension("control")
}

/// Asks the process whose claim this is, and waits for the answer. `region`: its region.
pub(crate) fn ask(claim: &Claim, region: &Path, verb: Verb, argument: u64) -> Result<Answer> {
    let control = beside(region);
    let file = openat::open(&control, true).map_err(|error| refusal(&control, error))?;
    if !claim.covers(&file.metadata()?) {
        bail!("{} does not belong to user {}, as the process does", control.display(), claim.owner());
    }
    ask_through(&control, &file, verb, argument, PATIENCE)
}

fn ask_through(control: &Path, file: &File, verb: Verb, argument: u64, patience: Duration) -> Result<Answer> {
    if word(file, Word::Magic)? != MAGIC {
        bail!("{} is not a control file", control.display());
    }
    let deadline = Instant::now() + patience;
    while word(file, Word::Request)? != word(file, Word::Answer)? {
        wait(deadline, "an earlier request is still unanswered")?;
    }
    let number = word(file, Word::Request)?.wrapping_add(1);
    set(file, Word::Verb, verb as u64)?;
    set(file, Word::Argument, argument)?;
    set(file, Word::Request, number)?;
    while word(file, Word::Answer)? != number {
        wait(deadline, "no answer")?;
    }
    let Some(outcome) = Outcome::from_number(word(file, Word::Result)?) else {
        bail!("{} holds an answer of another version of heaptap", control.display());
    };
    Ok(Answer { outcome, path: path(file)? })
}

fn refusal(control: &Path, error: io::Error) -> anyhow::Error {
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => "it belongs to another user: only that user and root may control it",
        io::ErrorKind::NotFound => {
            "nobody in it listens: its helper thread has not started yet or has ended, or it is confined (chroot)"
        }
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
    let len = usize::try_from(word(file, Word::PathBytes)?)?.min(PATH_BYTES);
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, Word::Path.offset())?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

fn word(file: &File, word: Word) -> Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, word.offset()).context("reading the control file")?;
    Ok(u64::from_ne_bytes(bytes))
}

fn set(file: &File, word: Word, value: u64) -> Result<()> {
    file.write_all_at(&value.to_ne_bytes(), word.offset()).context("writing the control file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(name: &str, words: &[(Word, u64)]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("heaptap-{name}-{}.control", std::process::id()));
        let mut bytes = vec![0u8; crate::wire::control::BYTES];
        for (word, value) in words {
            let at = word.offset() as usize;
            bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        }
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn ask_for(path: &Path, verb: Verb, argument: u64, patience: Duration) -> Result<Answer> {
        let file = openat::open(path, true).map_err(|error| refusal(path, error))?;
        ask_through(path, &file, verb, argument, patience)
    }

    #[test]
    fn silence_is_an_error_that_says_what_it_may_mean() {
        let path = control("silent", &[(Word::Magic, MAGIC)]);
        let error = ask_for(&path, Verb::Dump, 0, Duration::from_millis(50)).unwrap_err().to_string();
        assert!(error.starts_with("no answer"), "{error}");
        let again = ask_for(&path, Verb::Dump, 0, Duration::from_millis(50)).unwrap_err().to_string();
        assert!(again.contains("still unanswered"), "{again}");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn answers_are_read() {
        let path = control("answered", &[(Word::Magic, MAGIC)]);
        let answering = path.clone();
        let tap = thread::spawn(move || {
            let file = File::options().read(true).write(true).open(answering).unwrap();
            while word(&file, Word::Request).unwrap() == 0 {
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(
                (word(&file, Word::Verb).unwrap(), word(&file, Word::Argument).unwrap()),
                (Verb::Rate as u64, 12)
            );
            file.write_all_at(b"/tmp/a.heap", Word::Path.offset()).unwrap();
            set(&file, Word::PathBytes, 11).unwrap();
            set(&file, Word::Result, Outcome::Done as u64).unwrap();
            set(&file, Word::Answer, 1).unwrap();
        });
        let answer = ask_for(&path, Verb::Rate, 12, Duration::from_secs(120)).unwrap();
        assert_eq!(answer, Answer { outcome: Outcome::Done, path: Some("/tmp/a.heap".into()) });
        tap.join().unwrap();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn other_files_are_refused() {
        let path = control("other", &[]);
        assert!(
            ask_for(&path, Verb::Dump, 0, Duration::from_millis(50))
                .unwrap_err()
                .to_string()
                .contains("not a control file")
        );
        std::fs::remove_file(&path).unwrap();
        let error = ask_for(&path, Verb::Dump, 0, Duration::from_millis(50)).unwrap_err().to_string();
        assert!(error.contains("has not started yet"), "{error}");
    }
}
