//! Takes the call stack of an allocation: native frames, and Java frames between them.
//!
//! The first frame is an address inside the exported function that was called, because jeprof takes the
//! first address for a pc, not for a return address; frames of our own above it are dropped.

use crate::tap::os::own_code;
use crate::tap::stack::StackTrace;
use crate::wire::stack_end::StackEnd;

/// Fills `trace` with the stack that called the export whose code begins at `entry`.
pub(crate) fn capture(entry: usize, trace: &mut StackTrace) {
    // One byte in: jeprof wants a pc inside the function.
    let _ = trace.push(entry as u64 + 1);
    trace.set_end(StackEnd::Root);
    let mut outside = false;
    // SAFETY: the guard keeps this thread out of here while it unwinds, so the crate's lock is not needed.
    #[allow(unsafe_code)]
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            let pc = frame.ip() as usize;
            outside |= !own_code::holds(pc);
            !outside || pc == 0 || trace.push(pc as u64)
        });
    }
}
