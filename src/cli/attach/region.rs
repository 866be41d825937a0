//! What a region or a mirror holds, read from outside without the process's help, alive or dead.
//!
//! A region of a living process is read twice in a row (`wire::live`): what is the same in both copies was whole in
//! the first. Nothing in the file is trusted further than its layout check goes.

use super::discovery::Found;
use super::process::Process;
use super::{memory, openat};
use crate::cli::analyze::rss::Areas;
use crate::cli::open;
use crate::cli::profile::{Profile, builder};
use crate::wire::heap_v2::{self, Contents, Surroundings};
use crate::wire::live::copy;
use crate::wire::live::counters::Counter;
use crate::wire::live::layout::{Layout, LayoutError, MAGIC};
use crate::wire::live::snapshot::Snapshot;
use crate::wire::live::words::Copies;
use crate::wire::liveness::Liveness;
use crate::wire::maps_line::MapsLine;
use crate::wire::{proc_status, time};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

/// Largest file that is read, bytes.
const MOST_BYTES: u64 = 16 << 30;
/// Largest mirror: it holds what is live, and a region that is full holds hardly more.
const MOST_MIRROR_BYTES: u64 = 4 << 30;
/// Most of a region's text that is read although it is a hole.
const MOST_TEXT_BYTES: u64 = 256 << 20;

/// Whether a file is a region or a mirror.
pub(crate) fn is_region(path: &Path) -> bool {
    let mut word = [0; 8];
    let read = openat::open(path, false).and_then(|mut file| file.read_exact(&mut word));
    read.is_ok() && u64::from_ne_bytes(word) == MAGIC
}

/// What a region holds now, or a mirror held when it was written.
pub(crate) fn snapshot(found: &Found) -> Result<Snapshot> {
    let file = openat::open(&found.path, false).with_context(|| format!("reading {}", found.path.display()))?;
    snapshot_of(&file, found, Memory::Looked)
}

/// Whether a region could not be read because it is not finished: its process is making it, or was killed meanwhile.
pub(crate) fn is_unfinished(error: &anyhow::Error) -> bool {
    // The copy of a region, which comes first, says by an error of input what is wrong with it.
    let of_copy = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref()?.downcast_ref());
    of_copy == Some(&LayoutError::Unfinished)
}

/// Whether the kernel is asked where a living process's memory is: it walks all its pages for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// It is.
    Looked,
    /// Resident bytes as a whole are enough.
    Sum,
}

/// The same of a file that is held open: its name may be gone.
pub(crate) fn snapshot_of(file: &File, found: &Found, memory: Memory) -> Result<Snapshot> {
    let reading = || format!("reading {}", found.path.display());
    let first = words_of(file, &found.path)?;
    let mut snapshot = if !found.is_dead() {
        let second = words_of(file, &found.path)?;
        Snapshot::take(&Copies { first, second }).with_context(reading)?
    } else {
        Snapshot::take(first.as_slice()).with_context(reading)?
    };
    match (found.state, snapshot.is_mirror) {
        (Liveness::Dead, _) => snapshot.tell_death(),
        (Liveness::Unknown, _) | (Liveness::Alive, true) => snapshot.tell("mirror", snapshot.pulse_ns),
        (Liveness::Alive, false) => {
            snapshot.tell("live", monotonic_ns().unwrap_or(snapshot.pulse_ns));
            let process = found.process.unwrap_or(snapshot.pid);
            look_at_process(&mut snapshot, process, memory);
        }
    }
    Ok(snapshot)
}

/// Bytes that the live samples of a region stand for, now.
pub(crate) fn live_bytes(path: &Path) -> Result<u64> {
    let words = words(path)?;
    let layout = Layout::read(words.as_slice()).with_context(|| format!("reading {}", path.display()))?;
    Ok(layout.counter(words.as_slice(), Counter::LiveBytes as usize))
}

/// What a reader should know of where a profile comes from: nothing, if it is a living process's region.
pub(crate) fn provenance(found: &Found, snapshot: &Snapshot) -> Option<String> {
    let (pid, path) = (snapshot.pid, found.path.display());
    let at = snapshot.wall_ns();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let when = format!("{} ({} ago)", time::rfc3339(at), age(now.saturating_sub(at) / 1_000_000_000));
    if snapshot.is_mirror {
        let seconds = snapshot.metadata("mirror_seconds").and_then(|text| text.parse().ok()).unwrap_or(0u64);
        let loss = format!("what came after it is missing, {seconds} s of the process's life as a rule");
        let state = if found.is_alive() { "lives" } else { "is dead" };
        return Some(format!("process {pid} {state}; read from its mirror {path}, written {when}: {loss}"));
    }
    let how = match () {
        () if !found.is_dead() => "may live, which cannot be told from here",
        () if snapshot.is_other_user => "went on as another user",
        () if snapshot.is_ending => "ended without its final dump",
        () => "was killed",
    };
    (!found.is_alive()).then(|| format!("process {pid} {how}; read from its region {path}, last sign of life {when}"))
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// What `/proc` says about a living process is newer than what its keeper noted, or there is no note yet.
fn look_at_process(snapshot: &mut Snapshot, pid: u32, memory: Memory) {
    let look = (memory == Memory::Looked).then(|| memory::look(pid, snapshot.known.clone()));
    match look {
        Some(Ok((account, areas))) => {
            keep_mapped(snapshot, &areas, pid);
            snapshot.set("rss_bytes", &account.rss_bytes.to_string());
            account.to_metadata().for_each(|(word, bytes)| snapshot.set(&format!("rss_{word}"), &bytes.to_string()));
        }
        _ => resident_bytes(pid).into_iter().for_each(|bytes| snapshot.set("rss_bytes", &bytes.to_string())),
    }
    if let Some(limit) = memory::limit(pid) {
        snapshot.set("memory_used_bytes", &limit.used_bytes.to_string());
        snapshot.set("memory_limit_bytes", &limit.limit_bytes.to_string());
    }
    if let Ok(exe) = fs::read_link(format!("/proc/{pid}/exe")) {
        snapshot.set("exe", &exe.display().to_string());
    }
    if let Some(title) = (Process { pid }).title() {
        snapshot.set("title", &title);
    }
    if let Ok(maps) = fs::read(format!("/proc/{pid}/maps")) {
        // With the kernel's mark on deleted files, which a dump has not: names are not looked for in their successors.
        let is_code = |line: &&[u8]| MapsLine::read(line.trim_ascii_end()).is_some_and(|line| line.is_code());
        snapshot.text.maps = maps.split_inclusive(|&byte| byte == b'\n').filter(is_code).flatten().copied().collect();
    }
}

/// Keeps of the recorded mappings what is mapped, and of stacks those of threads that run; what of them is resident.
fn keep_mapped(snapshot: &mut Snapshot, areas: &Areas, pid: u32) {
    // In another pid namespace its threads have other numbers here.
    let is_same = snapshot.pid == pid;
    let runs = |tid: u32| tid == 0 || !is_same || Path::new(&format!("/proc/{pid}/task/{tid}")).exists();
    snapshot.mappings.retain_mut(|mapping| {
        let (mapped, resident) = areas.within(mapping.start, mapping.end());
        (mapping.bytes, mapping.resident) = (mapped, Some(resident));
        mapped > 0 && runs(mapping.tid)
    });
}

/// Resident bytes of a process, by `/proc/PID/status`.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    proc_status::bytes(&status, "VmRSS:")
}

/// What a region or mirror holds as a profile, and where it comes from.
pub(crate) fn profile(found: &Found) -> Result<(Profile, Option<String>)> {
    let snapshot = snapshot(found)?;
    Ok((profile_of(&snapshot), provenance(found, &snapshot)))
}

/// A snapshot as a profile.
pub(crate) fn profile_of(snapshot: &Snapshot) -> Profile {
    builder::of_contents(&Contents::of(snapshot, &around(snapshot)))
}

/// The same as the dump that its process would write now.
pub(crate) fn dump(found: &Found) -> Result<(Vec<u8>, Option<String>)> {
    let snapshot = snapshot(found)?;
    let mut dump = Vec::new();
    heap_v2::write(&snapshot, &around(&snapshot), &mut dump)?;
    Ok((dump, provenance(found, &snapshot)))
}

fn around(snapshot: &Snapshot) -> Surroundings<'_> {
    Surroundings { maps: &snapshot.text.maps, metadata: &snapshot.text.metadata, accumulated: false }
}

fn words(path: &Path) -> Result<Vec<u64>> {
    let context = || format!("reading {}", path.display());
    words_of(&openat::open(path, false).with_context(context)?, path)
}

fn words_of(file: &File, path: &Path) -> Result<Vec<u64>> {
    let context = || format!("reading {}", path.display());
    let metadata = file.metadata().with_context(context)?;
    if metadata.len() > MOST_BYTES {
        bail!("{} is not a region: it is too large", path.display());
    }
    copy::words(metadata.len(), most_used(file)?, &mut |at, piece| file.read_exact_at(piece, at)).with_context(context)
}

/// Bytes that a file can hold: a region is nearly all holes, so its length says nothing. A mirror has none, but some
/// file systems compress it.
fn most_used(file: &File) -> Result<u64> {
    let metadata = file.metadata()?;
    let mut head = [0; 8 * 12];
    let is_mirror = file.read_exact_at(&mut head, 0).is_ok() && head.last_chunk() == Some(&1u64.to_ne_bytes());
    let blocks = metadata.blocks().saturating_mul(512);
    // The text's section counts as used in all of its length.
    Ok(if is_mirror {
        MOST_MIRROR_BYTES.min(open::most_bytes(&metadata))
    } else {
        blocks + (metadata.len() / 32).min(MOST_TEXT_BYTES) + (1 << 20)
    })
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
    use crate::cli::attach::discovery;
    use crate::wire::live::layout::{Layout, MIN_BYTES};
    use std::path::PathBuf;

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
        let (dump, told) = dump(&discovery::of_file(&path)).unwrap();
        assert!(told.unwrap().starts_with("process 0 was killed; read from its region "));
        let dump = String::from_utf8(dump).unwrap();
        assert!(dump.starts_with("heap_v2/1\n  t*: 0: 0 [0: 0]\n"), "{dump}");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_small_file_that_claims_to_hold_much_is_refused() {
        let path = file("claims", &[]);
        let layout = Layout::for_bytes(1 << 30);
        let mut head = vec![0u64; 512];
        head[0] = MAGIC;
        layout.header().for_each(|(index, value)| head[index] = value);
        for id in crate::wire::live::layout::SectionId::ALL {
            head[Layout::used_word(id)] = u64::MAX;
        }
        let bytes: Vec<u8> = head.iter().flat_map(|word| word.to_ne_bytes()).collect();
        fs::write(&path, bytes).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(layout.words() as u64 * 8).unwrap();
        let error = format!("{:#}", snapshot(&discovery::of_file(&path)).unwrap_err());
        assert!(error.contains("claims to hold more"), "{error}");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn damaged_regions_are_errors_or_readable_but_never_a_panic() {
        let sound = region();
        for cut in [0, 7, 8, 4096, 5000, sound.len() - 8] {
            let path = file("cut", &sound[..cut]);
            assert!(cut > 4096 || snapshot(&discovery::of_file(&path)).is_err(), "{cut}");
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
            let _ = dump(&discovery::of_file(&path));
            fs::remove_file(path).unwrap();
        }
    }
}
