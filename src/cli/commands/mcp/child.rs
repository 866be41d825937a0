//! Runs a command of heaptap as a child process, so that nothing that happens to it happens to us: it has a time and a
//! size, and can be given up. It reads no stdin (that is the protocol's) and is not tapped itself.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of an answer, and of what is said beside it, at most.
const MOST_ANSWER: u64 = 256 << 20;
const MOST_WORDS: u64 = 64 << 10;
/// How often the child is looked at.
const TICK: Duration = Duration::from_millis(10);
/// How long the ends of its pipes are waited for when it is over: something that it started may hold them.
const GRACE: Duration = Duration::from_secs(2);

/// A child that is given up is gone after so long.
pub(super) const ENDED: Duration = Duration::from_secs(1);

/// What a command said.
#[derive(Debug)]
pub(super) struct Said {
    /// `None`: a signal ended it.
    pub(super) status: Option<i32>,
    pub(super) answer: Vec<u8>,
    pub(super) words: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It took too long.
    Late,
    /// Nobody wants it any more.
    Cancelled,
    /// Its answer is too large.
    TooLarge,
    /// The system says why.
    System(io::Error),
}

/// Runs heaptap with these arguments until it ends, the time is over, or it is cancelled.
pub(super) fn run(arguments: &[String], time: Duration, is_cancelled: &AtomicBool) -> Result<Said, Trouble> {
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments).env_remove("LD_PRELOAD").env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Trouble::System)?;
    let answer = reader(child.stdout.take(), MOST_ANSWER);
    let words = reader(child.stderr.take(), MOST_WORDS);
    let end = wait(&mut child, Instant::now() + time, is_cancelled);
    if end.is_err() {
        // It may have ended by itself by now.
        let _ = child.kill();
        let _ = child.wait();
    }
    let status = end?;
    let answer = answer.recv_timeout(GRACE).unwrap_or_default();
    if answer.len() as u64 > MOST_ANSWER {
        return Err(Trouble::TooLarge);
    }
    let words = words.recv_timeout(GRACE).unwrap_or_default();
    Ok(Said { status, answer, words: String::from_utf8_lossy(&words).into_owned() })
}

fn wait(child: &mut Child, until: Instant, is_cancelled: &AtomicBool) -> Result<Option<i32>, Trouble> {
    loop {
        if let Some(status) = child.try_wait().map_err(Trouble::System)? {
            return Ok(status.code());
        }
        // A flag that nothing else hangs on.
        if is_cancelled.load(Ordering::Relaxed) {
            return Err(Trouble::Cancelled);
        }
        if Instant::now() >= until {
            return Err(Trouble::Late);
        }
        thread::sleep(TICK);
    }
}

/// Reads a pipe to its end on a thread of its own: a full pipe would stop the child. What is more than `most` and a
/// byte is read and forgotten.
fn reader(pipe: Option<impl Read + Send + 'static>, most: u64) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let read = (&mut pipe).take(most + 1).read_to_end(&mut bytes);
            let rest = read.and_then(|_| io::copy(&mut pipe, &mut io::sink()));
            // What was read before an error is what there is.
            drop(rest);
        }
        // Nobody may wait for it any more.
        let _ = sender.send(bytes);
    });
    receiver
}
