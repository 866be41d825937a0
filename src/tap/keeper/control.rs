//! The tap's side of the control file (`wire::control`): the keeper looks for requests and answers them.
//!
//! The file exists as long as the keeper runs. It is read and written, never mapped: a file that is emptied loses
//! a request and not the process. It is opened anew each time: a later keeper may answer, and descriptors are each
//! keeper's own.

use crate::tap::os::shared::{self, Path};
use crate::wire::control::{BYTES, MAGIC, Outcome, PATH_BYTES, Verb, Word};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// A request that has not been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    number: u64,
    /// The request; `None`: an unknown one.
    pub(crate) verb: Option<Verb>,
    /// Its argument.
    pub(crate) argument: u64,
}

/// The control file of this process.
pub(crate) struct Control {
    path: Path,
}

impl Control {
    /// Makes the file beside the region. `None`: no tmpfs; the process cannot be controlled from outside.
    pub(crate) fn open(region: &Path) -> Option<Control> {
        let path = region.control();
        shared::place(&path, &empty(), 0o600).then_some(Control { path })
    }

    /// The newest request, if it has not been answered.
    pub(crate) fn request(&self) -> Option<Request> {
        let file = shared::open(&self.path, true)?;
        if word(&file, Word::Magic) != Some(MAGIC) {
            // Emptied, or overwritten: requests can be made again.
            let _ = file.set_len(0).and_then(|()| file.write_all_at(&empty(), 0));
            return None;
        }
        let number = word(&file, Word::Request)?;
        if number == word(&file, Word::Answer)? {
            return None;
        }
        // Read after the number, before which they were written.
        Some(Request {
            number,
            verb: Verb::from_number(word(&file, Word::Verb)?),
            argument: word(&file, Word::Argument)?,
        })
    }

    /// Answers a request; a path that is too long is left out.
    pub(crate) fn answer(&self, request: &Request, outcome: Outcome, path: &[u8]) {
        let Some(file) = shared::open(&self.path, true) else { return };
        let path = if path.len() <= PATH_BYTES { path } else { &[] };
        let set = |word: Word, value: u64| file.write_all_at(&value.to_ne_bytes(), word.offset());
        // The number is last: a CLI that sees it sees the rest. An answer that cannot be written is none.
        let _ = file
            .write_all_at(path, Word::Path.offset())
            .and_then(|()| set(Word::PathBytes, path.len() as u64))
            .and_then(|()| set(Word::Result, outcome as u64))
            .and_then(|()| set(Word::Answer, request.number));
    }

    /// Removes the file.
    pub(crate) fn remove(&self) {
        shared::remove(&self.path);
    }
}

/// A file without a request.
fn empty() -> Vec<u8> {
    let mut bytes = MAGIC.to_ne_bytes().to_vec();
    bytes.resize(BYTES, 0);
    bytes
}

fn word(file: &File, word: Word) -> Option<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, word.offset()).ok()?;
    Some(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(file: &File, words: &[(Word, u64)]) {
        words.iter().for_each(|(word, value)| file.write_all_at(&value.to_ne_bytes(), word.offset()).unwrap());
    }

    fn control(token: u64) -> Option<(Control, File)> {
        let control = Path::region(crate::tap::os::sys::process_id(), token).and_then(|region| Control::open(&region));
        if control.is_none() {
            eprintln!("skipped: no tmpfs");
        }
        control.map(|control| {
            let file = File::options().read(true).write(true).open(control.path.as_str()).unwrap();
            (control, file)
        })
    }

    #[test]
    fn requests_are_seen_until_they_are_answered() {
        let Some((control, file)) = control(0x77) else { return };
        assert_eq!(control.request(), None);
        set(&file, &[(Word::Verb, Verb::Rate as u64), (Word::Argument, 12), (Word::Request, 1)]);
        let request = control.request().unwrap();
        assert_eq!((request.verb, request.argument), (Some(Verb::Rate), 12));
        control.answer(&request, Outcome::Done, b"/tmp/some.heap");
        assert_eq!(control.request(), None);
        let bytes = std::fs::read(control.path.as_str()).unwrap();
        assert_eq!((&bytes[64..78], bytes[48], bytes[40]), (&b"/tmp/some.heap"[..], 14, Outcome::Done as u8));
        set(&file, &[(Word::Verb, 99), (Word::Request, 2)]);
        assert_eq!(control.request().map(|request| request.verb), Some(None));
        control.answer(&request, Outcome::Refused, &[b'x'; 5000]);
        control.remove();
        assert_eq!(control.request(), None);
    }

    #[test]
    fn a_file_that_was_emptied_is_filled_again() {
        let Some((control, file)) = control(0x78) else { return };
        for damage in [0, 5, 4000] {
            set(&file, &[(Word::Magic, 7)]);
            file.set_len(damage).unwrap();
            assert_eq!(control.request(), None);
            assert_eq!(std::fs::read(control.path.as_str()).unwrap(), empty(), "{damage}");
        }
        set(&file, &[(Word::Verb, Verb::Dump as u64), (Word::Request, 1)]);
        assert!(control.request().is_some());
        control.remove();
    }
}
