//! Asks a HotSpot JVM for a garbage collection, as `jcmd PID GC.run` does, without needing a JDK.
//!
//! The way of its attach mechanism (`share/services/attachListener.cpp`, `os/posix`): a file `.attach_pid<pid>` in the
//! process's working directory or its /tmp says that somebody wants to attach; SIGQUIT makes the JVM look for it and
//! open a socket `/tmp/.java_pid<pid>`; a request is a version and four strings, each ended by NUL; the answer is a
//! number and text.
//!
//! SIGQUIT ends a program that does not catch it, and makes a JVM without that mechanism print all its threads to
//! stdout. So nothing is sent unless the process has a libjvm.so, catches SIGQUIT, and was not started with
//! -XX:+DisableAttachMechanism.

use super::{child, openat};
use anyhow::{Context, Result, bail};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Longest wait for the socket.
const OPENING: Duration = Duration::from_secs(10);
/// Longest collection.
const COLLECTING: Duration = Duration::from_secs(300);

/// Longest answer that is read: a histogram of many classes takes some MiB.
const MOST_BYTES: u64 = 64 << 20;

/// How a collection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collected {
    /// As asked.
    Run,
    /// The JVM refuses System.gc() (-XX:+DisableExplicitGC); counting its objects collects as well.
    ByHistogram,
}

/// Has a JVM collect its garbage, all of it, and waits for the end of that.
pub(crate) fn collect(pid: u32) -> Result<Collected> {
    let target = Target::look(pid)?;
    let answer = target.ask("GC.run")?;
    if !answer.contains("Explicit GC is disabled") {
        return Ok(Collected::Run);
    }
    target.ask("GC.class_histogram")?;
    Ok(Collected::ByHistogram)
}

/// A heap dump that a JVM wrote for us; it is removed with this.
pub(crate) struct HeapDump {
    /// By a path that leads there from here.
    pub(crate) path: PathBuf,
}

impl Drop for HeapDump {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Has a JVM write all its objects, also those that wait for a collection, to a new file in a folder of its own world.
/// It stands still meanwhile.
pub(crate) fn heap_dump(pid: u32, folder: &Path) -> Result<HeapDump> {
    let target = Target::look(pid)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let inside = folder.join(format!("heaptap-{}-{now}.hprof", target.own_pid));
    let path = dump_folder(pid, folder).join(inside.file_name().unwrap_or_default());
    // Removed, too, if the JVM fails half way; it takes no name that is there already.
    let dump = HeapDump { path };
    let answer = target.ask(&format!("GC.heap_dump -all {}", inside.display()))?;
    if !answer.contains("Heap dump file created") {
        bail!("the JVM wrote no heap dump: {}", answer.trim().escape_debug());
    }
    Ok(dump)
}

/// A folder of a process's world, as it is reached from here.
pub(crate) fn dump_folder(pid: u32, folder: &Path) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root")).join(folder.strip_prefix("/").unwrap_or(folder))
}

/// A JVM that can be attached to.
struct Target {
    pid: u32,
    /// Its pid as it sees itself.
    own_pid: u32,
}

impl Target {
    fn look(pid: u32) -> Result<Target> {
        let read = |what: &str| fs::read_to_string(format!("/proc/{pid}/{what}"));
        let status = read("status").with_context(|| format!("there is no process {pid}"))?;
        let maps = read("maps").with_context(|| format!("looking at process {pid} (only its user and root may)"))?;
        if !maps.lines().any(|line| line.ends_with("/libjvm.so")) {
            bail!("process {pid} is no HotSpot JVM: only a garbage collector can be asked to collect");
        }
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&arguments).split('\0').any(|word| word == "-XX:+DisableAttachMechanism") {
            bail!("process {pid} was started with -XX:+DisableAttachMechanism: it cannot be asked for a collection");
        }
        if !catches_quit(&status) {
            bail!(
                "process {pid} does not catch SIGQUIT (-Xrs, or still starting): it cannot be asked for a collection"
            );
        }
        Ok(Target { pid, own_pid: own_pid(&status).unwrap_or(pid) })
    }

    /// One command of `jcmd`; its text.
    fn ask(&self, command: &str) -> Result<String> {
        let mut socket = self.socket()?;
        socket.set_read_timeout(Some(COLLECTING))?;
        let request = ["1", "jcmd", command, "", ""].map(|word| format!("{word}\0")).concat();
        socket.write_all(request.as_bytes()).context("asking the JVM")?;
        let answer = read_answer(&mut socket).context("waiting for the JVM's answer")?;
        let answer = String::from_utf8_lossy(&answer);
        let (code, text) = answer.split_once('\n').unwrap_or((&answer, ""));
        if code.trim() != "0" {
            bail!("the JVM answered {}: {}", code.trim().escape_debug(), text.trim().escape_debug());
        }
        Ok(text.to_owned())
    }

    /// Connects; has the JVM open its socket first if need be. Neither folder nor socket may be a link: who rules in a
    /// container could lead us out of it.
    fn socket(&self) -> Result<UnixStream> {
        let place = format!("/proc/{}/root/tmp", self.pid);
        let folder = openat::folder(Path::new(&place)).with_context(|| format!("looking into {place}"))?;
        let path = openat::below(&folder, Path::new(&format!(".java_pid{}", self.own_pid)));
        if path.symlink_metadata().is_err() {
            let wish = self.leave_wish(&folder)?;
            let opened = self.open(&path);
            let _ = fs::remove_file(wish);
            opened?;
        }
        let refused = || format!("connecting to {place}/.java_pid{} (only the JVM's user and root may)", self.own_pid);
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let held = OpenOptions::new().read(true).custom_flags(flags).open(&path).with_context(refused)?;
        let metadata = held.metadata()?;
        if !metadata.file_type().is_socket() || metadata.uid() != fs::metadata(format!("/proc/{}", self.pid))?.uid() {
            bail!("{place}/.java_pid{} is not a socket of process {}", self.own_pid, self.pid);
        }
        UnixStream::connect(format!("/proc/self/fd/{}", held.as_raw_fd())).with_context(refused)
    }

    /// The file that says what SIGQUIT is to mean: in the process's working directory, or in its /tmp.
    fn leave_wish(&self, tmp: &File) -> Result<PathBuf> {
        let name = format!(".attach_pid{}", self.own_pid);
        let places =
            [PathBuf::from(format!("/proc/{}/cwd", self.pid)).join(&name), openat::below(tmp, Path::new(&name))];
        let mut failure = None;
        for path in places {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            match made {
                Ok(_) => return Ok(path),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(path),
                Err(error) => failure = Some(error),
            }
        }
        let error = failure.unwrap_or_else(|| std::io::ErrorKind::NotFound.into());
        Err(error)
            .with_context(|| format!("writing {name} into the working directory or the /tmp of process {}", self.pid))
    }

    /// Has the JVM look for that file.
    fn open(&self, socket: &Path) -> Result<()> {
        let pid = self.pid;
        child::send(pid, libc::SIGQUIT).with_context(|| format!("signalling process {pid}"))?;
        let deadline = Instant::now() + OPENING;
        while socket.symlink_metadata().is_err() {
            if Instant::now() > deadline {
                bail!("process {pid} did not open its attach socket: it is stopped, or too busy to answer");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// All that it says within the time of a collection, however slowly it comes.
fn read_answer(socket: &mut UnixStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + COLLECTING;
    let (mut answer, mut piece) = (Vec::new(), [0; 1 << 16]);
    loop {
        let read = socket.read(&mut piece)?;
        answer.extend(piece.iter().take(read));
        if read == 0 || answer.len() as u64 > MOST_BYTES {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// Whether a process has a handler for SIGQUIT, by its `status`.
fn catches_quit(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (libc::SIGQUIT - 1) & 1 == 1
}

/// The pid in the innermost namespace.
fn own_pid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_ascii_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_the_handler_and_the_inner_pid() {
        assert!(catches_quit("Name:\tjava\nSigCgt:\t2000000181005ccf\n"));
        assert!(!catches_quit("SigCgt:\t0000000000000002\n") && !catches_quit(""));
        assert_eq!((own_pid("NSpid:\t4711\t7\n"), own_pid("")), (Some(7), None));
    }

    #[test]
    fn what_is_no_jvm_gets_no_signal() {
        let error = collect(std::process::id()).unwrap_err().to_string();
        assert!(error.contains("is no HotSpot JVM"), "{error}");
        assert!(collect(u32::MAX).unwrap_err().to_string().contains("there is no process"));
    }
}
