//! What `/proc` says about this process that a dump needs: code mappings, thread names, resident memory.

use std::fs;

/// The executable lines of our maps, which are all that readers of dumps look at; a data node has tens
/// of thousands of others. The kernel's mark on deleted files is taken off, as jeprof wants to see a path
/// that ends in `.so`.
pub(crate) fn executable() -> Vec<u8> {
    // Of this thread: the main thread may be gone, and its maps then read as empty.
    let maps = fs::read("/proc/thread-self/maps").or_else(|_| fs::read("/proc/self/maps")).unwrap_or_default();
    code_lines(&maps)
}

fn code_lines(maps: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for line in maps.split(|&byte| byte == b'\n') {
        let is_code = line.split(|&byte| byte == b' ').nth(1).is_some_and(|flags| flags.get(2) == Some(&b'x'));
        if is_code {
            lines.extend_from_slice(line.strip_suffix(b" (deleted)").unwrap_or(line));
            lines.push(b'\n');
        }
    }
    lines
}

/// Whether a process has a file mapped, or may have: it lives and cannot be looked at.
pub(crate) fn is_mapped(pid: u32, file: &std::path::Path) -> bool {
    let Some(file) = file.to_str() else { return true };
    match fs::read_to_string(format!("/proc/{pid}/maps")) {
        Ok(maps) => maps.lines().any(|line| line.ends_with(file)),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

/// Whether a process is running that started before an instant of CLOCK_MONOTONIC: not one that got the pid later.
pub(crate) fn started_before(pid: u32, monotonic_ns: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    is_running_since_before(&stat, monotonic_ns)
}

/// The same by its `stat`. A zombie is dead, though nobody has asked for its status yet.
fn is_running_since_before(stat: &str, monotonic_ns: u64) -> bool {
    // Fields 3 and 22, the latter in ticks of 10 ms since boot; the name before them may hold blanks.
    let mut fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace();
    let is_dead = matches!(fields.next(), None | Some("Z" | "X" | "x"));
    let ticks: Option<u64> = fields.nth(18).and_then(|ticks| ticks.parse().ok());
    !is_dead && ticks.is_some_and(|ticks| ticks.saturating_mul(10_000_000) <= monotonic_ns)
}

/// The name that a thread has now; `None` once it has ended.
pub(crate) fn thread_name(tid: u32) -> Option<[u8; 16]> {
    let text = fs::read(format!("/proc/self/task/{tid}/comm")).ok()?;
    let mut name = [0; 16];
    for (slot, byte) in name.iter_mut().zip(text.trim_ascii_end()) {
        *slot = *byte;
    }
    Some(name)
}

/// Resident memory, bytes.
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * crate::tap::os::map::page_size() as u64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn code_lines_are_kept_and_deletion_marks_are_not() {
        let maps = b"1-2 r-xp 0 00:00 0 /a/b.so\n2-3 rw-p 0 00:00 0 /a/b.so\n3-4 r-xp 0 00:00 0 /c.so (deleted)\n";
        assert_eq!(super::code_lines(maps), b"1-2 r-xp 0 00:00 0 /a/b.so\n3-4 r-xp 0 00:00 0 /c.so\n");
    }

    #[test]
    fn own_figures_can_be_read() {
        assert!(super::resident_bytes().unwrap() > 100_000);
        let tid = crate::tap::os::sys::thread_id();
        assert!(super::thread_name(tid).is_some() && super::thread_name(u32::MAX).is_none());
        assert!(!super::executable().is_empty());
        let pid = crate::tap::os::sys::process_id();
        assert!(super::started_before(pid, crate::tap::os::clock::monotonic_ns()));
        assert!(!super::started_before(pid, 0) && !super::started_before(u32::MAX, u64::MAX));
    }
}
