//! Retiring: the record of a sampled block goes when the block is freed or resized.
//!
//! ```text
//! slow::free → heap: the block's header → retire: slot, life, check → store::retire: the record is taken back
//! ```
//!
//! The header says which record is the block's. Where the program wrote over it, the record is looked up by address. No
//! lock, no allocation: a thread that is ending may come here.

use super::profiler::Profiler;
use super::scratch::{Pass, SCRATCH};
use super::stopwatch::Stopwatch;
use crate::tap::hash;
use crate::tap::heap::NO_RECORD;
use crate::tap::os::clock;
use crate::tap::os::tls::ThreadBlock;
use crate::tap::store::Store;
use crate::tap::visit::Visit;
use crate::wire::live::counters::Counter;
use std::ffi::c_void;
use std::ptr::NonNull;

impl Profiler {
    /// Takes back what `record` names: the record of a block that began at `start` and is freed. Blocks that a parent
    /// sampled before fork have none here.
    pub(crate) fn retire(&self, visit: &Visit, record: u64, start: NonNull<c_void>) {
        self.tell_free(record, start);
        self.take_back(visit, record, start);
    }

    /// The same, of a block whose end was told already.
    pub(super) fn take_back(&self, visit: &Visit, record: u64, start: NonNull<c_void>) {
        let thread = visit.thread();
        let Some(store) = self.store() else { return };
        if record == NO_RECORD {
            return;
        }
        let address = start.as_ptr() as u64;
        let slot = record as u32;
        let watch = Stopwatch::start(thread);
        if record == self.name_of(slot, address) {
            if !retire_in_lane(store, slot, address, thread) {
                store.region().count(Counter::HeaderLost, 1);
            }
            return self.end_visit(watch, store);
        }
        if record >> 48 == check(address) {
            // Sampled by another life of the process, before a fork; or before a reset, which may have come between
            // the record and the header. There is no other block at this address, so no other record is hit.
            retire_in_lane(store, slot, address, thread);
            return self.end_visit(watch, store);
        }
        self.take_back_unnamed(visit, start);
    }

    /// The same where the header was written over: the record is looked up by address.
    #[cold]
    pub(crate) fn retire_unnamed(&self, visit: &Visit, start: NonNull<c_void>) {
        if let Some(slot) = self.take_back_unnamed(visit, start) {
            self.tell_free(self.name_of(slot, start.as_ptr() as u64), start);
        }
    }

    /// The slot of the record that was taken back.
    #[cold]
    fn take_back_unnamed(&self, visit: &Visit, start: NonNull<c_void>) -> Option<u32> {
        let store = self.store()?;
        let address = start.as_ptr() as u64;
        store.region().count(Counter::HeaderDamaged, 1);
        let found = store.find(address).filter(|&slot| retire_in_lane(store, slot, address, visit.thread()));
        if found.is_none() {
            store.region().count(Counter::HeaderLost, 1);
        }
        found
    }

    /// Usable bytes of a block whose header was written over, as far as its record tells.
    #[cold]
    pub(crate) fn recorded_usable(&self, start: NonNull<c_void>) -> Option<usize> {
        let store = self.store()?;
        store.usable(store.find(start.as_ptr() as u64)?)
    }

    /// The name of a record, as the block's header has it: slot, life, and a check against the address.
    pub(super) fn name_of(&self, slot: u32, address: u64) -> u64 {
        let life = u64::from(self.life.mark());
        check(address) << 48 | life << 32 | u64::from(slot)
    }
}

/// Takes a record back, if it is that of a block at this address: in a lane, if one is free.
fn retire_in_lane(store: &Store, slot: u32, address: u64, thread: &ThreadBlock) -> bool {
    let pass = SCRATCH.pass(thread.hint());
    store.retire(slot, address, clock::tick_ns(), pass.as_ref().map(Pass::lane))
}

/// Fifteen bits that the name of a record must share with its block's address.
fn check(address: u64) -> u64 {
    (hash::spread(address) >> 48) & 0x7fff
}
