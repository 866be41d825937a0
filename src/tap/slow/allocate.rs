//! An allocation whose thread's wait is over: sampled, or served plainly.
//!
//! The visit begins here: what is sampled passes through `profiler::sampling`.

use super::counted::{CountedRequest, notice};
use super::plain::{early, note_refusal};
use super::wait;
use crate::tap::heap::Block;
use crate::tap::lifecycle;
use crate::tap::os::tls;
use crate::tap::profiler::{PROFILER, Request};
use crate::tap::visit::Visit;
use std::ffi::c_void;

/// Serves a request whose bytes were counted and are due: sampled, or by `plain`.
#[cold]
#[inline(never)]
pub(crate) fn allocate(request: &Request, plain: impl FnOnce() -> *mut c_void) -> *mut c_void {
    match sample(request) {
        Ok(block) => block.start().as_ptr(),
        Err(counted) => serve_plainly(request, counted, plain),
    }
}

/// Serves a request that was not sampled. Not inlined: sampling needs the stack.
#[cold]
#[inline(never)]
fn serve_plainly(
    request: &Request,
    counted: Option<CountedRequest>,
    plain: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    if let Some(early) = early(request) {
        return early.as_ptr();
    }
    let block = plain();
    if block.is_null() {
        note_refusal(request.bytes, request.entry);
    }
    if let Some(counted) = counted {
        counted.settle(request, !block.is_null());
    }
    block
}

/// Samples a request whose thread's wait is over. An error: jemalloc is to serve the request, which is settled then.
pub(super) fn sample(request: &Request) -> Result<Block, Option<CountedRequest>> {
    let Some(visit) = Visit::begin() else {
        // Nested: libc allocates for the profiler, or a signal handler interrupted it. The wait is used up
        // all the same, and would come round only after 2^64 bytes.
        wait::draw_anew(tls::thread());
        return Err(None);
    };
    lifecycle::ensure_started();
    let thread = visit.thread();
    PROFILER.check_life(thread);
    let mut counted = CountedRequest::begin(thread);
    let Some(shape) = request.shape() else { return Err(Some(counted)) };
    counted.look_at_age();
    if !counted.ends_wait(shape.size, thread) {
        return Err(None);
    }
    let wait = counted.end_wait(thread);
    let taken = PROFILER.sample(&visit, request, &shape, wait);
    if taken.is_check_due && PROFILER.is_user_look_due(thread) {
        lifecycle::credentials::changed();
    }
    if taken.block.is_some() {
        notice(taken.interval_over, taken.is_check_due, wait);
    }
    counted.is_lost = taken.is_lost;
    taken.block.ok_or(Some(counted))
}
