//! Starts a program, passes on the signals that we get, and waits for its end.
//!
//! Stays the parent, also as pid 1 of a container: then it reaps orphans as well.
//!
//! # Safety
//! Raw system calls that std has no safe form of: `execve` with an environment that is completed
//! after `fork` (the child's own pid stands in it), `sigtimedwait`-style waiting, `kill`, `waitpid`.
//! All memory passed to them is owned by the caller of the block.
#![allow(unsafe_code)]

use anyhow::{Context, Result};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Signals that somebody sends to a service: handed to the child.
const FORWARDED: [libc::c_int; 8] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGCONT,
];

/// Digits that a pid can have.
const PID_DIGITS: usize = 10;

/// How the child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It exited with this status.
    Exited(u8),
    /// This signal killed it.
    Killed(u8),
}

impl End {
    /// What a shell would report: the status, or 128 + signal.
    pub(crate) fn status(self) -> u8 {
        match self {
            End::Exited(status) => status,
            End::Killed(signal) => signal.wrapping_add(128),
        }
    }
}

/// Runs `path` with `argv` in `environment` plus `pid_key=<pid of the child>` until it ends.
/// Returns its pid and how it ended.
pub(crate) fn run(
    path: &Path,
    argv: &[OsString],
    environment: &[(OsString, OsString)],
    pid_key: &str,
) -> Result<(u32, End)> {
    let mut image = Image::new(path, argv, environment, pid_key).context("a NUL byte in an argument")?;
    let (signals, before) = block_signals().context("cannot block signals")?;
    let mut command = Command::new(path);
    // SAFETY: the closure only writes into memory made before `fork` and calls async-signal-safe
    // functions (pthread_sigmask, getpid, execve).
    unsafe { command.pre_exec(move || Err(image.exec(&before))) };
    let child = command.spawn().with_context(|| format!("cannot run {}", path.display()))?;
    let end = wait(child.id(), &signals)?;
    Ok((child.id(), end))
}

/// Becomes `path` with `argv` in `environment` plus `pid_key=<our own pid>`. Returns only on failure.
pub(crate) fn become_program(
    path: &Path,
    argv: &[OsString],
    environment: &[(OsString, OsString)],
    pid_key: &str,
) -> Result<std::convert::Infallible> {
    let mut image = Image::new(path, argv, environment, pid_key).context("a NUL byte in an argument")?;
    let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: asks for the present mask only.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr()) };
    // Rust ignores the signal of broken pipes, and what is ignored stays so in the program.
    // SAFETY: puts the default back.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // SAFETY: filled above; zeros would be a mask, too.
    let error = image.exec(&unsafe { mask.assume_init() });
    Err(error).with_context(|| format!("cannot run {}", path.display()))
}

/// Signals that ask us to stop, held back: process 1 of a container would not even get them.
pub(crate) struct HeldSignals(libc::sigset_t);

/// Holds them back from now on.
pub(crate) fn hold_signals() -> Result<HeldSignals> {
    block(&[libc::SIGTERM, libc::SIGINT]).map(|(set, _)| HeldSignals(set)).context("cannot block signals")
}

impl HeldSignals {
    /// Waits for a while, or until we are asked to stop: `true`.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let time = libc::timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() };
        // SAFETY: a valid set and time; what came is not asked for.
        unsafe { libc::sigtimedwait(&self.0, std::ptr::null_mut(), &time) > 0 }
    }
}

/// Sends a signal to a process that was looked at just before.
pub(super) fn send(pid: u32, signal: libc::c_int) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    // SAFETY: plain system call, no memory is passed.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Everything that `execve` needs, made before `fork` because afterwards nothing may allocate.
struct Image {
    path: CString,
    argv: Vec<CString>,
    environment: Vec<CString>,
    /// `KEY=          ` with room for the digits, and its NUL.
    pid_entry: Vec<u8>,
    /// Pointers into the fields above, NULL at the end.
    argv_pointers: Vec<*const libc::c_char>,
    environment_pointers: Vec<*const libc::c_char>,
}

// SAFETY: the pointers lead into heap memory that the same value owns and never moves.
unsafe impl Send for Image {}
// SAFETY: as above; nothing is changed through a shared reference.
unsafe impl Sync for Image {}

impl Image {
    fn new(path: &Path, argv: &[OsString], environment: &[(OsString, OsString)], pid_key: &str) -> Result<Image> {
        let text = |text: &OsStr| CString::new(text.as_bytes());
        let entry =
            |(key, value): &(OsString, OsString)| CString::new([key.as_bytes(), b"=", value.as_bytes()].concat());
        let mut image = Image {
            path: text(path.as_os_str())?,
            argv: argv.iter().map(|word| text(word)).collect::<Result<_, _>>()?,
            environment: environment.iter().map(entry).collect::<Result<_, _>>()?,
            pid_entry: [pid_key.as_bytes(), b"=", &[0; PID_DIGITS + 1]].concat(),
            argv_pointers: Vec::new(),
            environment_pointers: Vec::new(),
        };
        image.argv_pointers = image.argv.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
        let entries = image.environment.iter().map(|entry| entry.as_ptr());
        let pid_entry = image.pid_entry.as_ptr().cast();
        image.environment_pointers = entries.chain([pid_entry, std::ptr::null()]).collect();
        Ok(image)
    }

    /// Becomes the program, with the signal mask that we were started with. Returns only on failure.
    fn exec(&mut self, mask: &libc::sigset_t) -> io::Error {
        let mut number = std::process::id();
        let mut digits = [0; PID_DIGITS];
        let mut count = 0;
        for digit in digits.iter_mut() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            count += 1;
            if number == 0 {
                break;
            }
        }
        let start = self.pid_entry.len() - PID_DIGITS - 1;
        for (slot, digit) in self.pid_entry.iter_mut().skip(start).zip(digits.iter().take(count).rev()) {
            *slot = *digit;
        }
        // SAFETY: `mask` is valid; the present mask is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) };
        // SAFETY: path and both arrays are NUL-terminated and owned by self.
        unsafe { libc::execve(self.path.as_ptr(), self.argv_pointers.as_ptr(), self.environment_pointers.as_ptr()) };
        io::Error::last_os_error()
    }
}

/// Blocks what [`wait`] waits for, so that nothing is lost before it does. Returns the set, and the
/// mask that stood before: the child must start with that one.
fn block_signals() -> io::Result<(libc::sigset_t, libc::sigset_t)> {
    let mut signals = FORWARDED.to_vec();
    signals.push(libc::SIGCHLD);
    block(&signals)
}

/// Blocks these; the set of them, and the mask that stood before.
fn block(signals: &[libc::c_int]) -> io::Result<(libc::sigset_t, libc::sigset_t)> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `set` is writable memory of the right type; sigemptyset makes it valid.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for &signal in signals {
        // SAFETY: the set was made valid above.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    }
    // SAFETY: sigemptyset above initialised it.
    let set = unsafe { set.assume_init() };
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` is valid, `before` is writable memory of the right type.
    let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, before.as_mut_ptr()) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: pthread_sigmask succeeded, so it wrote the old mask.
    Ok((set, unsafe { before.assume_init() }))
}

fn wait(child: u32, signals: &libc::sigset_t) -> Result<End> {
    let child = libc::pid_t::try_from(child).context("an impossible pid")?;
    loop {
        let mut what = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: both point to valid memory of the right types.
        let signal = unsafe { libc::sigwaitinfo(signals, what.as_mut_ptr()) };
        // SAFETY: all-zero is a valid siginfo_t, and sigwaitinfo only overwrites it.
        let what = unsafe { what.assume_init() };
        match signal {
            libc::SIGCHLD => {
                if let Some(end) = reap(child) {
                    return Ok(end);
                }
            }
            // The terminal's own signals reach the child by themselves: it is in our group.
            1.. if what.si_code <= 0 => {
                // SAFETY: plain system call; the child is ours and not reaped yet, so its pid is its own.
                unsafe { libc::kill(child, signal) };
            }
            _ => {}
        }
    }
}

/// Reaps all that ended; returns how `child` did if it is among them.
fn reap(child: libc::pid_t) -> Option<End> {
    let mut end = None;
    loop {
        let mut status = 0;
        // SAFETY: `status` is writable.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
        if pid <= 0 {
            return end;
        }
        if pid == child {
            end = ended(status).or(end);
        }
    }
}

fn ended(status: libc::c_int) -> Option<End> {
    if libc::WIFEXITED(status) {
        return Some(End::Exited(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX)));
    }
    libc::WIFSIGNALED(status).then(|| End::Killed(u8::try_from(libc::WTERMSIG(status)).unwrap_or(0)))
}
