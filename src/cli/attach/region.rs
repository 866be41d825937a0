//! What a region or a mirror holds, read from outside without the process's help, alive or dead.
//!
//! A region of a living process is read twice in a row (`wire::live`): what is the same in both copies was whole in
//! the first. Nothing in the file is trusted further than its layout check goes.

use super::lives::Found;
use super::{beneath, memory};
use crate::wire::heap_v2::{self, Surroundings};
use crate::wire::live::counters::{self, Counter};
use crate::wire::live::layout::{Layout, MAGIC};
use crate::wire::live::snapshot::Snapshot;
use crate::wire::live::{Copies, copy};
use crate::wire::time;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

/// Largest file that is read, bytes.
const MOST_BYTES: u64 = 16 << 30;
/// Largest mirror: it holds what is live, and a region that is full holds hardly more.
const MOST_MIRROR_BYTES: u64 = 4 << 30;

/// Whether a file is a region or a mirror.
pub(crate) fn is_region(path: &Path) -> bool {
    let mut word = [0; 8];
    let read = beneath::open(path, false).and_then(|mut file| file.read_exact(&mut word));
    read.is_ok() && u64::from_ne_bytes(word) == MAGIC
}

/// What a region holds now, or a mirror held when it was written.
pub(crate) fn snapshot(found: &Found) -> Result<Snapshot> {
    let first = words(&found.path)?;
    let reading = || format!("reading {}", found.path.display());
    let mut snapshot = if found.is_alive {
        let second = words(&found.path)?;
        Snapshot::take(&Copies { first, second }).with_context(reading)?
    } else {
        Snapshot::take(first.as_slice()).with_context(reading)?
    };
    match (found.is_alive, snapshot.is_mirror) {
        (false, _) => snapshot.tell_death(),
        (true, true) => snapshot.tell("mirror", snapshot.pulse_ns),
        (true, false) => {
            snapshot.tell("live", monotonic_ns().unwrap_or(snapshot.pulse_ns));
            let process = found.process.unwrap_or(snapshot.pid);
            look_at_process(&mut snapshot, process);
        }
    }
    Ok(snapshot)
}

/// Bytes that the live samples of a region stand for, now.
pub(crate) fn live_bytes(path: &Path) -> Result<u64> {
    let words = words(path)?;
    let layout = Layout::read(words.as_slice()).with_context(|| format!("reading {}", path.display()))?;
    Ok(counters::sum(words.as_slice(), &layout, Counter::LiveBytes as usize))
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
        let state = if found.is_alive { "lives" } else { "is dead" };
        return Some(format!("process {pid} {state}; read from its mirror {path}, written {when}: {loss}"));
    }
    let how = if snapshot.is_ending { "ended without its final dump" } else { "was killed" };
    (!found.is_alive).then(|| format!("process {pid} {how}; read from its region {path}, last sign of life {when}"))
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

/// A region or mirror as the dump that its process would write now, and where it comes from.
pub(crate) fn dump(found: &Found) -> Result<(Vec<u8>, Option<String>)> {
    let snapshot = snapshot(found)?;
    let around = Surroundings { maps: &snapshot.text.maps, metadata: &snapshot.text.metadata, accumulated: false };
    let mut dump = Vec::new();
    heap_v2::write(&snapshot, &around, &mut dump)?;
    Ok((dump, provenance(found, &snapshot)))
}

fn words(path: &Path) -> Result<Vec<u64>> {
    let context = || format!("reading {}", path.display());
    let file = beneath::open(path, false).with_context(context)?;
    let metadata = file.metadata().with_context(context)?;
    if metadata.len() > MOST_BYTES {
        bail!("{} is not a region: it is too large", path.display());
    }
    copy::words(metadata.len(), most_used(&file)?, &mut |at, piece| file.read_exact_at(piece, at)).with_context(context)
}

/// Bytes that a file can hold: a region is nearly all holes, so its length says nothing. A mirror, which some file
/// systems compress, has a checksum that is as good.
fn most_used(file: &File) -> Result<u64> {
    let metadata = file.metadata()?;
    let mut head = [0; 8 * 12];
    let is_mirror = file.read_exact_at(&mut head, 0).is_ok() && head.last_chunk() == Some(&1u64.to_ne_bytes());
    let blocks = metadata.blocks().saturating_mul(512);
    // The text's section counts as used in all of its length.
    Ok(if is_mirror { MOST_MIRROR_BYTES } else { blocks + metadata.len() / 32 + (1 << 20) })
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
    use crate::cli::attach::lives;
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
        let (dump, told) = dump(&lives::of_file(&path)).unwrap();
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
        let error = format!("{:#}", snapshot(&lives::of_file(&path)).unwrap_err());
        assert!(error.contains("claims to hold more"), "{error}");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn damaged_regions_are_errors_or_readable_but_never_a_panic() {
        let sound = region();
        for cut in [0, 7, 8, 4096, 5000, sound.len() - 8] {
            let path = file("cut", &sound[..cut]);
            assert!(cut > 4096 || snapshot(&lives::of_file(&path)).is_err(), "{cut}");
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
            let _ = dump(&lives::of_file(&path));
            fs::remove_file(path).unwrap();
        }
    }
}
