//! Asks a HotSpot JVM for a garbage collection, as `jcmd PID GC.run` does, without needing a JDK.
//!
//! The way of its attach mechanism (`share/services/attachListener.cpp`, `os/posix`): a file `.attach_pid<pid>` in the process's
//! working directory or its /tmp says that somebody wants to attach; SIGQUIT makes the JVM look for it and open a socket
//! `/tmp/.java_pid<pid>`; a request is a version and four strings, each ended by NUL; the answer is a number and text.
//!
//! SIGQUIT ends a program that does not catch it, and makes a JVM without that mechanism print all its threads to stdout. So nothing
//! is sent unless the process has a libjvm.so, catches SIGQUIT, and was not started with -XX:+DisableAttachMechanism.

use super::child;
use anyhow::{Context, Result, bail};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

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
        let mut answer = Vec::new();
        socket.take(MOST_BYTES).read_to_end(&mut answer).context("waiting for the JVM's answer")?;
        let answer = String::from_utf8_lossy(&answer);
        let (code, text) = answer.split_once('\n').unwrap_or((&answer, ""));
        if code.trim() != "0" {
            bail!("the JVM answered {}: {}", code.trim().escape_debug(), text.trim().escape_debug());
        }
        Ok(text.to_owned())
    }

    /// Connects; has the JVM open its socket first if need be.
    fn socket(&self) -> Result<UnixStream> {
        let path = PathBuf::from(format!("/proc/{}/root/tmp/.java_pid{}", self.pid, self.own_pid));
        if !path.exists() {
            let wish = self.leave_wish()?;
            let opened = self.open(&path);
            let _ = fs::remove_file(wish);
            opened?;
        }
        let refused = || format!("connecting to {} (only the JVM's user and root may)", path.display());
        UnixStream::connect(&path).with_context(refused)
    }

    /// The file that says what SIGQUIT is to mean.
    fn leave_wish(&self) -> Result<PathBuf> {
        let places = [format!("/proc/{}/cwd", self.pid), format!("/proc/{}/root/tmp", self.pid)];
        let mut failure = None;
        for place in places {
            let path = Path::new(&place).join(format!(".attach_pid{}", self.own_pid));
            match OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&path)
            {
                Ok(_) => return Ok(path),
                Err(error) => failure = Some((path, error)),
            }
        }
        match failure {
            Some((path, error)) => Err(error).with_context(|| format!("writing {}", path.display())),
            None => bail!("no place for a file that the JVM looks for"),
        }
    }

    fn open(&self, socket: &Path) -> Result<()> {
        let pid = self.pid;
        child::send(pid, libc::SIGQUIT).with_context(|| format!("signalling process {pid}"))?;
        let deadline = Instant::now() + OPENING;
        while !socket.exists() {
            if Instant::now() > deadline {
                bail!("process {pid} did not open {}: it is stopped, or too busy to answer", socket.display());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
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
