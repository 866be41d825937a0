//! A table of the loaded objects, for a glibc without `_dl_find_object` (2.17 to 2.34).
//!
//! Rebuilt outside of the hook (`refresh`: it takes the loader's lock), read inside of it without one.
//! Two buffers: a rebuild fills the one that is not in use and then publishes it by the epoch; a reader
//! that was overtaken by two rebuilds sees that the epoch has moved and looks again. 80 KiB of zero
//! pages that are never touched where the loader answers by itself.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::elf::Range;
use super::modules::modules;
use super::objects::{Object, Place};

const OBJECTS: usize = 1024;
/// Look-ups that were overtaken by rebuilds before one gives up.
const ATTEMPTS: usize = 8;

/// Mapping, segment of the tables, and their header (0: none).
struct Row([AtomicUsize; 5]);

impl Row {
    const fn new() -> Row {
        Row([const { AtomicUsize::new(0) }; 5])
    }

    // Relaxed: the epoch orders whole buffers, and is checked again after reading.
    fn load(&self) -> Object {
        let [start, end, first, last, header] = self.0.each_ref().map(|word| word.load(Ordering::Relaxed));
        let place = Place { segment: Range { start: first, end: last }, header };
        Object { mapping: Range { start, end }, tables: (header != 0).then_some(place) }
    }

    fn store(&self, object: &Object) {
        let none = Place { segment: Range { start: 0, end: 0 }, header: 0 };
        let Place { segment, header } = object.tables.unwrap_or(none);
        let words = [object.mapping.start, object.mapping.end, segment.start, segment.end, header];
        for (word, value) in self.0.iter().zip(words) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

struct Buffer {
    rows: [Row; OBJECTS],
    used: AtomicUsize,
}

impl Buffer {
    const fn new() -> Buffer {
        Buffer { rows: [const { Row::new() }; OBJECTS], used: AtomicUsize::new(0) }
    }

    fn find(&self, pc: usize) -> Option<Object> {
        let rows = self.rows.iter().take(self.used.load(Ordering::Relaxed));
        rows.map(Row::load).find(|object| object.mapping.contains(pc))
    }
}

static BUFFERS: [Buffer; 2] = [Buffer::new(), Buffer::new()];
/// Number of rebuilds; its lowest bit names the buffer in use.
static EPOCH: AtomicUsize = AtomicUsize::new(0);
static REBUILDING: AtomicBool = AtomicBool::new(false);
static STALE: AtomicBool = AtomicBool::new(true);

/// The object that `pc` belongs to, as of the last rebuild; a miss marks the table stale.
pub(super) fn find(pc: usize) -> Option<Object> {
    for _ in 0..ATTEMPTS {
        let epoch = EPOCH.load(Ordering::Acquire);
        let found = BUFFERS[epoch % 2].find(pc);
        // The rows were read before the epoch is read again.
        std::sync::atomic::fence(Ordering::Acquire);
        if EPOCH.load(Ordering::Relaxed) == epoch {
            if found.is_none() {
                STALE.store(true, Ordering::Relaxed);
            }
            return found;
        }
    }
    None
}

/// Whether a pc was looked for in vain since the last rebuild (generated code does that, too).
pub(super) fn is_stale() -> bool {
    STALE.load(Ordering::Relaxed)
}

/// Rebuilds the table. Takes the loader's lock: for the first call of a process, for the keeper and
/// after `dlopen`, never while sampling. Does nothing while another thread rebuilds.
pub(super) fn refresh() {
    if REBUILDING.swap(true, Ordering::Acquire) {
        return;
    }
    STALE.store(false, Ordering::Relaxed);
    let epoch = EPOCH.load(Ordering::Relaxed);
    let spare = &BUFFERS[(epoch + 1) % 2];
    let mut used = 0;
    modules(&mut |module| {
        if let Some(row) = spare.rows.get(used) {
            row.store(&module.object());
            used += 1;
        }
    });
    spare.used.store(used, Ordering::Relaxed);
    EPOCH.store(epoch + 1, Ordering::Release);
    REBUILDING.store(false, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::unwind::objects;

    #[test]
    fn the_table_knows_what_the_loader_knows() {
        refresh();
        for pc in [refresh as *const () as usize, libc::qsort as *const () as usize, libc::dlopen as *const () as usize]
        {
            let (ours, loaders) = (find(pc).expect("loaded"), objects::find(pc).expect("loaded"));
            assert_eq!(ours.tables, loaders.tables);
            assert!(ours.mapping.contains(pc));
        }
        assert!(find(0x10).is_none() && is_stale(), "a miss asks for a rebuild");
    }
}
