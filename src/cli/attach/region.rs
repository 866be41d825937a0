//! Live regions: found by pid, read from outside without the process's help, alive or dead.
//!
//! A tapped process keeps its profile in a file on tmpfs (`wire::live`). It is read twice in a row: what is
//! the same in both copies was whole in the first. Nothing in the file is trusted further than its layout
//! check goes.

use super::memory;
use crate::wire::heap_v2::{self, Surroundings};
use crate::wire::live::Copies;
use crate::wire::live::counters::Counter;
use crate::wire::live::layout::{HEADER_WORDS, Layout, MAGIC, SectionId};
use crate::wire::live::snapshot::Snapshot;
use anyhow::{Context, Result, bail};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Largest region that is read, bytes.
const MOST_BYTES: u64 = 16 << 30;
/// Where tapped processes keep their regions, one directory a user.
const PLACE: &str = "/dev/shm";

/// A region file and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The file.
    pub(crate) path: PathBuf,
    /// Process id as the process sees itself.
    pub(crate) pid: u32,
    /// Whether the process has it mapped now.
    pub(crate) is_alive: bool,
}

/// The region of a process: of the living one, else of the last one of that pid that ended without its final dump.
pub(crate) fn of_process(pid: u32) -> Result<Found> {
    if let Some(path) = mapped_by(pid) {
        return Ok(Found { path, pid, is_alive: true });
    }
    let left = all().into_iter().filter(|found| found.pid == pid && !found.is_alive);
    let age = |found: &Found| fs::metadata(&found.path).and_then(|metadata| metadata.modified()).ok();
    match left.max_by_key(age) {
        Some(found) => Ok(found),
        None if Path::new(&format!("/proc/{pid}")).exists() => bail!(
            "process {pid} has no live profile: not started under heaptap, nothing sampled yet, or no tmpfs at {PLACE} \
             (its dumps can still be read: heaptap report FILES)"
        ),
        None => {
            bail!("there is no process {pid}, and no profile of one that was killed; `heaptap ps` lists what there is")
        }
    }
}

/// All regions of this machine that can be seen.
pub(crate) fn all() -> Vec<Found> {
    let mut found: Vec<Found> =
        users().iter().flat_map(|directory| files(directory)).filter_map(|path| look(&path)).collect();
    found.sort_by(|a, b| (a.pid, &a.path).cmp(&(b.pid, &b.path)));
    found
}

fn users() -> Vec<PathBuf> {
    let is_ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("heaptap-"));
    files(Path::new(PLACE)).into_iter().filter(is_ours).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// A region by its name, `<pid>.<token>.region`.
fn look(path: &Path) -> Option<Found> {
    let name = path.file_name()?.to_str()?.strip_suffix(".region")?;
    let pid = name.split_once('.')?.0.parse().ok()?;
    let is_alive = mapped_by(pid).is_some_and(|mapped| mapped.ends_with(path.strip_prefix("/").unwrap_or(path)));
    Some(Found { path: path.to_path_buf(), pid, is_alive })
}

/// The region that a process has mapped, by a path that leads into its mount namespace.
fn mapped_by(pid: u32) -> Option<PathBuf> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let line = maps.lines().find(|line| line.ends_with(".region") && line.contains("/heaptap-"))?;
    let path = line.get(line.find('/')?..)?;
    Some(PathBuf::from(format!("/proc/{pid}/root{path}")))
}

/// Whether a file is a region.
pub(crate) fn is_region(path: &Path) -> bool {
    let mut word = [0; 8];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut word));
    read.is_ok() && u64::from_ne_bytes(word) == MAGIC
}

/// What a region holds now.
pub(crate) fn snapshot(path: &Path) -> Result<Snapshot> {
    let first = words(path)?;
    let second = words(path)?;
    let mut snapshot =
        Snapshot::take(&Copies { first, second }).with_context(|| format!("reading {}", path.display()))?;
    if path.starts_with("/proc") || look(path).is_some_and(|found| found.is_alive) {
        snapshot.tell("live", monotonic_ns().unwrap_or(snapshot.pulse_ns));
        let process = process_of(path).unwrap_or(snapshot.pid);
        look_at_process(&mut snapshot, process);
    } else {
        snapshot.tell("killed", snapshot.pulse_ns);
    }
    Ok(snapshot)
}

/// Bytes that the live samples of a region stand for, now.
pub(crate) fn live_bytes(path: &Path) -> Result<u64> {
    let words = words(path)?;
    let layout = Layout::read(words.as_slice()).with_context(|| format!("reading {}", path.display()))?;
    let counters = layout.section(SectionId::Counters);
    Ok(words.get(counters.start + Counter::LiveBytes as usize).copied().unwrap_or(0))
}

/// The process whose `/proc/<pid>/root` a path leads through.
fn process_of(path: &Path) -> Option<u32> {
    path.strip_prefix("/proc").ok()?.iter().next()?.to_str()?.parse().ok()
}

/// What `/proc` says about a living process is newer than what its keeper noted, or there is no note yet.
fn look_at_process(snapshot: &mut Snapshot, pid: u32) {
    match memory::account(pid) {
        Ok(account) => {
            snapshot.set("rss_bytes", &account.rss_bytes.to_string());
            account.to_metadata().for_each(|(word, bytes)| snapshot.set(&format!("rss_{word}"), &bytes.to_string()));
        }
        Err(_) => resident_bytes(pid).into_iter().for_each(|bytes| snapshot.set("rss_bytes", &bytes.to_string())),
    }
    if let Some(limit) = memory::limit(pid) {
        snapshot.set("memory_used_bytes", &limit.used_bytes.to_string());
        snapshot.set("memory_limit_bytes", &limit.limit_bytes.to_string());
    }
    if let Ok(exe) = fs::read_link(format!("/proc/{pid}/exe")) {
        snapshot.set("exe", &exe.display().to_string());
    }
    if let Ok(maps) = fs::read_to_string(format!("/proc/{pid}/maps")) {
        let is_code = |line: &&str| line.split(' ').nth(1).is_some_and(|flags| flags.as_bytes().get(2) == Some(&b'x'));
        let code: String = maps.lines().filter(is_code).map(|line| line.to_owned() + "\n").collect();
        snapshot.text.maps = code.into_bytes();
    }
}

fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// A region as the dump that its process would write now.
pub(crate) fn dump(path: &Path) -> Result<Vec<u8>> {
    let snapshot = snapshot(path)?;
    let around = Surroundings { maps: &snapshot.text.maps, metadata: &snapshot.text.metadata, accumulated: false };
    let mut dump = Vec::new();
    heap_v2::write(&snapshot, &around, &mut dump)?;
    Ok(dump)
}

fn words(path: &Path) -> Result<Vec<u64>> {
    let context = || format!("reading {}", path.display());
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .with_context(context)?;
    let metadata = file.metadata().with_context(context)?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES {
        bail!("{} is not a region: not a regular file, or too large", path.display());
    }
    let mut words = vec![0; usize::try_from(metadata.len())? / 8];
    read_into(&file, &mut words, 0..HEADER_WORDS).with_context(context)?;
    let layout = Layout::read(words.as_slice()).with_context(context)?;
    for id in SectionId::ALL {
        let range = layout.used(words.as_slice(), id);
        read_into(&file, &mut words, range).with_context(context)?;
    }
    Ok(words)
}

/// Reads some words of the file; what a short file lacks stays zero. The rest of a region, nearly all of it, is
/// holes, which would take longest.
fn read_into(file: &File, words: &mut [u64], range: Range<usize>) -> Result<()> {
    let Some(place) = words.get_mut(range.clone()) else { return Ok(()) };
    let mut bytes = vec![0; place.len() * 8];
    file.read_exact_at(&mut bytes, range.start as u64 * 8)?;
    for (word, chunk) in place.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = chunk.try_into().map(u64::from_ne_bytes).unwrap_or(0);
    }
    Ok(())
}

/// CLOCK_MONOTONIC, nanoseconds: what regions measure time in.
fn monotonic_ns() -> Option<u64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    // Seconds since boot; the two clocks differ by the time that the machine was suspended.
    let seconds: f64 = uptime.split(' ').next()?.parse().ok()?;
    Some((seconds * 1e9) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::live::layout::MIN_BYTES;

    fn file(name: &str, bytes: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("heaptap-region-{name}-{}", std::process::id()));
        fs::write(&path, bytes).unwrap();
        path
    }

    fn region() -> Vec<u8> {
        let layout = Layout::for_bytes(MIN_BYTES);
        let mut words = vec![0u64; layout.words()];
        words[0] = MAGIC;
        layout.header().for_each(|(index, value)| words[index] = value);
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn an_empty_region_is_an_empty_dump() {
        let path = file("empty", &region());
        assert!(is_region(&path));
        let dump = String::from_utf8(dump(&path).unwrap()).unwrap();
        assert!(dump.starts_with("heap_v2/1\n  t*: 0: 0 [0: 0]\n"), "{dump}");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn damaged_regions_are_errors_or_readable_but_never_a_panic() {
        let sound = region();
        for cut in [0, 7, 8, 4096, 5000, sound.len() - 8] {
            let path = file("cut", &sound[..cut]);
            assert!(cut > 4096 || snapshot(&path).is_err(), "{cut}");
            fs::remove_file(path).unwrap();
        }
        let mut state = 1u64;
        for round in 0..60 {
            let mut bytes = sound.clone();
            for _ in 0..200 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % if round % 2 == 0 { 1024 } else { bytes.len() };
                bytes[at] = (state >> 20) as u8;
            }
            bytes[..8].copy_from_slice(&MAGIC.to_ne_bytes());
            let path = file("flipped", &bytes);
            let _ = dump(&path);
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn processes_without_a_region_are_told_apart() {
        let own = of_process(std::process::id()).unwrap_err().to_string();
        assert!(own.contains("has no live profile"), "{own}");
        let none = of_process(u32::MAX).unwrap_err().to_string();
        assert!(none.contains("there is no process"), "{none}");
    }
}
