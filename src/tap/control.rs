//! The tap's side of the control file (`wire::control`): the keeper looks for requests and answers them.
//!
//! Floor 3. The file exists as long as the keeper runs.
//!
//! # Safety
//! The page is a shared mapping that is never unmapped; every access is atomic. Another process of the same
//! user may write anything into it: every word is checked when it is read.
#![allow(unsafe_code)]

use super::os::shared::{self, Path};
use crate::wire::control::{ANSWER, ARGUMENT, BYTES, MAGIC, Outcome, PATH, PATH_BYTES, REQUEST, RESULT, VERB, Verb};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// A request that has not been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    number: u64,
    /// What is asked for; `None`: something unknown.
    pub(crate) verb: Option<Verb>,
    /// Its argument.
    pub(crate) argument: u64,
}

/// The control page of this process.
pub(crate) struct Control {
    words: NonNull<AtomicU64>,
    path: Path,
}

impl Control {
    /// Makes the file beside the region. `None`: no tmpfs; the process cannot be controlled from outside.
    pub(crate) fn open(region: &Path) -> Option<Control> {
        let path = region.control();
        let words = shared::create(&path, BYTES, 0o600)?.cast();
        let control = Control { words, path };
        control.word(0).store(MAGIC, Ordering::Release);
        Some(control)
    }

    /// The newest request, if it has not been answered.
    pub(crate) fn request(&self) -> Option<Request> {
        // Acquire: the CLI wrote verb and argument before the number.
        let number = self.word(REQUEST).load(Ordering::Acquire);
        let load = |word: usize| self.word(word).load(Ordering::Relaxed);
        (number != load(ANSWER)).then(|| Request {
            number,
            verb: Verb::from_number(load(VERB)),
            argument: load(ARGUMENT),
        })
    }

    /// Answers a request; a path that is too long is left out.
    pub(crate) fn answer(&self, request: &Request, outcome: Outcome, path: &[u8]) {
        let path = if path.len() <= BYTES - PATH * 8 { path } else { &[] };
        for (n, chunk) in path.chunks(8).enumerate() {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.word(PATH + n).store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
        self.word(PATH_BYTES).store(path.len() as u64, Ordering::Relaxed);
        self.word(RESULT).store(outcome as u64, Ordering::Relaxed);
        self.word(ANSWER).store(request.number, Ordering::Release);
    }

    /// Removes the file.
    pub(crate) fn remove(&self) {
        shared::remove(&self.path);
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        // SAFETY: within the page: no index of `wire::control` exceeds it, and `answer` stays below its end.
        unsafe { self.words.add(index.min(BYTES / 8 - 1)).as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_seen_until_they_are_answered() {
        let Some(control) = Control::open(&Path::region(crate::tap::os::sys::process_id(), 0x77)) else {
            eprintln!("skipped: no tmpfs with room, or a kernel before 5.14");
            return;
        };
        assert_eq!(control.request(), None);
        control.word(VERB).store(Verb::Rate as u64, Ordering::Relaxed);
        control.word(ARGUMENT).store(12, Ordering::Relaxed);
        control.word(REQUEST).store(1, Ordering::Release);
        let request = control.request().unwrap();
        assert_eq!((request.verb, request.argument), (Some(Verb::Rate), 12));
        control.answer(&request, Outcome::Done, b"/tmp/some.heap");
        assert_eq!(control.request(), None);
        let file = std::fs::read(control.path.as_str()).unwrap();
        assert_eq!((&file[64..78], file[48], file[40]), (&b"/tmp/some.heap"[..], 14, Outcome::Done as u8));
        control.word(VERB).store(99, Ordering::Relaxed);
        control.word(REQUEST).store(2, Ordering::Release);
        assert_eq!(control.request().map(|request| request.verb), Some(None));
        control.answer(&request, Outcome::Refused, &[b'x'; 5000]);
        control.remove();
    }
}
