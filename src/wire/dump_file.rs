//! A snapshot becomes a dump on the disk: its side-car, then the `heap_v2` file.
//!
//! One code for the dumps that a process writes of itself, for those that the next process writes of a dead one,
//! and for `heaptap recover`.

use super::dump_name::{DumpKind, DumpName};
use super::heap_v2::{self, Surroundings};
use super::live::counters::Counter;
use super::live::snapshot::Snapshot;
use super::live::text::Text;
use super::{sidecar, whole_file};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that could not be written, and why.
pub(crate) type Failure = (PathBuf, io::Error);

/// Writes a snapshot with its side-car; returns the name that the dump got.
pub(crate) fn save(snapshot: &Snapshot, text: &Text, name: DumpName, accumulated: bool) -> Result<DumpName, Failure> {
    let maps = maps_with_sidecar(snapshot, text, &name.prefix);
    let around = Surroundings { maps: &maps, metadata: &text.metadata, accumulated };
    let mut write = |out: &mut dyn Write| {
        let mut out = BufWriter::new(out);
        heap_v2::write(snapshot, &around, &mut out)?;
        // Dropping it would hide the last error: a dump cut off by a full disk would pass for a whole one.
        out.flush()
    };
    whole_file::create(name, snapshot.token, &mut write).map_err(|(name, error)| (name.path(), error))
}

/// Writes the final dump of a process that could not, with this prefix; the file's path from the root.
pub(crate) fn save_last(snapshot: &Snapshot, prefix: &Path, accumulated: bool) -> Result<PathBuf, Failure> {
    // The region's own words are not trusted.
    let (pid, seq) = (snapshot.pid, snapshot.counter(Counter::Dumps).min(u64::MAX >> 1));
    let name = DumpName { prefix: prefix.to_path_buf(), pid, seq, kind: DumpKind::Final };
    save(snapshot, &snapshot.text, name, accumulated).map(|name| whole_file::absolute(&name.path()))
}

/// The code mappings, with the line that leads to the side-car; writes that first.
pub(crate) fn maps_with_sidecar(snapshot: &Snapshot, text: &Text, prefix: &Path) -> Vec<u8> {
    let mut maps = text.maps.clone();
    maps.extend(write_sidecar(snapshot, prefix));
    maps
}

/// Writes the file that names Java frames for jeprof, before the dump that needs it. It keeps the names of the one
/// before, so the newest serves all dumps of a token.
fn write_sidecar(snapshot: &Snapshot, prefix: &Path) -> Vec<u8> {
    let path = snapshot.life(prefix).sidecar();
    let older = whole_file::read(&path).unwrap_or_default();
    let Some(bytes) = sidecar::bytes(snapshot, &older) else { return Vec::new() };
    if whole_file::replace(&path, &mut |file| file.write_all(&bytes)).is_err() {
        return Vec::new();
    }
    sidecar::maps_line(snapshot, &whole_file::absolute(&path)).unwrap_or_default().into_bytes()
}
