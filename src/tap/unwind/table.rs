//! A table of the loaded objects, for a glibc without `_dl_find_object` (2.17 to 2.34).
//!
//! Rebuilt outside of the hook (`refresh`: it reads the mappings), read inside of it without a lock.
//! Two buffers: a rebuild fills the one that is not in use and then publishes it by the epoch; a reader
//! that was overtaken by two rebuilds sees that the epoch has moved and looks again. 80 KiB of zero
//! pages that are never touched where the loader answers by itself.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::elf::Range;
use super::modules::modules;
use super::object::{Object, UnwindTables};
use super::own_object;
use crate::tap::code_address::LookupAddress;

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
        let place = UnwindTables { segment: Some(Range { start: first, end: last }), header };
        Object { mapping: Range { start, end }, tables: (header != 0).then_some(place), is_permanent: false }
    }

    fn store(&self, object: &Object) {
        let place = object.tables.and_then(|place| Some((place.segment?, place.header)));
        let (segment, header) = place.unwrap_or((Range { start: 0, end: 0 }, 0));
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

    fn find(&self, pc: LookupAddress) -> Option<Object> {
        let rows = self.rows.iter().take(self.used.load(Ordering::Relaxed));
        let object = rows.map(Row::load).find(|object| object.mapping.contains(pc.address()))?;
        Some(Object { is_permanent: own_object::is_essential(&object.mapping), ..object })
    }
}

static BUFFERS: [Buffer; 2] = [Buffer::new(), Buffer::new()];
/// Number of rebuilds; its lowest bit names the buffer in use.
static EPOCH: AtomicUsize = AtomicUsize::new(0);
static REBUILDING: AtomicBool = AtomicBool::new(false);
static STALE: AtomicBool = AtomicBool::new(true);

/// The object that `pc` belongs to, as of the last rebuild; a miss marks the table stale.
pub(super) fn find(pc: LookupAddress) -> Option<Object> {
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

/// Rebuilds the table from the mappings (`/proc/PID/maps`). For errands, never while sampling. Does nothing while
/// another thread rebuilds.
pub(super) fn refresh(maps: &[u8]) {
    rebuild(|| {
        let mut objects = Vec::new();
        modules(maps, &mut |module| objects.extend(module.object()));
        objects
    });
}

/// Nothing allocates while the flag is set: work that is given up for want of memory (`spare_stack`) clears no flag.
fn rebuild(list: impl FnOnce() -> Vec<Object>) {
    let objects = list();
    if REBUILDING.swap(true, Ordering::Acquire) {
        return;
    }
    STALE.store(false, Ordering::Relaxed);
    let epoch = EPOCH.load(Ordering::Relaxed);
    let spare = &BUFFERS[(epoch + 1) % 2];
    spare.rows.iter().zip(&objects).for_each(|(row, object)| row.store(object));
    spare.used.store(objects.len().min(OBJECTS), Ordering::Relaxed);
    EPOCH.store(epoch + 1, Ordering::Release);
    REBUILDING.store(false, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::errand::Errand;
    use crate::tap::os::spare_stack;

    /// Also after a rebuild that was given up: in one test, for there is one table.
    #[test]
    fn the_table_knows_what_the_loader_knows() {
        let give_up = || {
            spare_stack::give_up();
            Vec::new()
        };
        assert!(Errand::run(|_| rebuild(give_up)).is_none());
        refresh(&std::fs::read("/proc/self/maps").expect("readable"));
        for pc in [refresh as *const () as usize, libc::qsort as *const () as usize, libc::dlopen as *const () as usize]
        {
            let pc = LookupAddress::inside(pc);
            let (ours, loaders) = (find(pc).expect("loaded"), super::super::objects::find(pc).expect("loaded"));
            assert_eq!(ours.tables.map(|place| place.header), loaders.tables.map(|place| place.header));
            assert!(ours.mapping.contains(pc.address()));
        }
        assert!(find(LookupAddress::inside(0x10)).is_none() && is_stale(), "a miss asks for a rebuild");
    }
}
