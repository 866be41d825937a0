//! What tracers of the host are told of sampled blocks (`os/usdt`), if `prof_usdt` lets them be told.
//!
//! A block is told of once it has a record, and its end before its memory can be another's: so a tracer that counts
//! both knows what is live. What has no record (tables are full) is not told of. `free` is also told where no `alloc`
//! was: of blocks from before the tracer came, or that a fork child has from its parent. Tracers look a pointer up in
//! what they have heard. A resize is a free and, where a wait ends with it, an allocation.
//!
//! Nobody listens: one load and a branch for each sampled block, and again for each one that is freed.

use super::profiler::Profiler;
use crate::tap::heap::NO_RECORD;
use crate::tap::os::usdt;
use crate::tap::sampler::Sampler;
use std::ffi::c_void;
use std::ptr::NonNull;

impl Profiler {
    /// Tells of a block that has its record now.
    #[inline(always)]
    pub(super) fn tell_alloc(&self, address: u64, requested: u64, period: u64) {
        if usdt::hears_alloc() {
            self.tell_of_alloc(address, requested, period);
        }
    }

    /// Tells of a block that is about to be given back, if it has a record.
    #[inline(always)]
    pub(super) fn tell_free(&self, record: u64, start: NonNull<c_void>) {
        if usdt::hears_free() {
            self.tell_of_free(record, start);
        }
    }

    /// The bytes are those that the program asked for, as OpenTelemetry wants them; our own reports count usable ones.
    #[cold]
    #[inline(never)]
    fn tell_of_alloc(&self, address: u64, requested: u64, period: u64) {
        if self.may_tell() {
            let weighted = requested as f64 * Sampler::new(period).weight(requested) + 0.5;
            usdt::alloc(address, requested, weighted as u64);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_of_free(&self, record: u64, start: NonNull<c_void>) {
        if record != NO_RECORD && self.store().is_some() && self.may_tell() {
            usdt::free(start.as_ptr() as u64);
        }
    }

    fn may_tell(&self) -> bool {
        self.settings().is_some_and(|settings| settings.options.prof_usdt)
    }
}
