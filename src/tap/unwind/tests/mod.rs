//! The unwinder against libgcc's, frame by frame, and against gimli, table row by table row.
#![allow(unsafe_code)]

mod bench;
mod situations;
mod stepping;
mod sweep;

use core::ffi::{c_int, c_void};

use crate::tap::stack::{MAX_FRAMES, StackTrace};
use crate::tap::unwind::{Stop, Windows, capture_here, stack_bounds, walk};
use crate::wire::stack_end::StackEnd;

/// Frames that the oracle records at most.
const ORACLE_FRAMES: usize = 1024;

unsafe extern "C" {
    fn _Unwind_Backtrace(visit: extern "C" fn(*mut c_void, *mut c_void) -> c_int, data: *mut c_void) -> c_int;
    fn _Unwind_GetIPInfo(context: *mut c_void, before: *mut c_int) -> usize;
}

/// Look-up addresses of a stack, leaf first: the byte before a return address, or an interrupted pc.
struct Oracle {
    pcs: [u64; ORACLE_FRAMES],
    depth: usize,
}

impl Oracle {
    fn pcs(&self) -> &[u64] {
        &self.pcs[..self.depth]
    }
}

extern "C" fn record(context: *mut c_void, data: *mut c_void) -> c_int {
    // SAFETY: `oracle` passes its own record.
    let oracle = unsafe { &mut *data.cast::<Oracle>() };
    let mut before = 0;
    // SAFETY: the unwinder's context and an integer.
    let pc = unsafe { _Unwind_GetIPInfo(context, &mut before) } as u64;
    if pc == 0 || oracle.depth == ORACLE_FRAMES {
        return 5;
    }
    oracle.pcs[oracle.depth] = pc - u64::from(before == 0);
    oracle.depth += 1;
    0
}

/// What libgcc's unwinder sees from here, its own frames and this one included. Allocates nothing.
#[inline(never)]
fn oracle() -> Oracle {
    let mut oracle = Oracle { pcs: [0; ORACLE_FRAMES], depth: 0 };
    // SAFETY: `record` gets the record that lives as long as the call.
    unsafe { _Unwind_Backtrace(record, (&raw mut oracle).cast()) };
    oracle
}

/// Room for what a walk reads through the kernel. Made in place: the stacks of some tests are smaller.
fn windows() -> Box<Windows> {
    // SAFETY: nothing copied is all zeros.
    unsafe { Box::new_zeroed().assume_init() }
}

/// What both unwinders saw from one point.
struct Comparison {
    ours: StackTrace,
    stop: Stop,
    theirs: Oracle,
}

impl Comparison {
    /// Our frames as look-up addresses, without the leaf, which is the comparing function itself.
    fn callers(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.ours.pcs().iter().skip(1).map(|pc| pc - 1)
    }

    /// The stacks agree from the caller of the comparing function to the root.
    fn agrees(&self) -> bool {
        let count = self.ours.pcs().len() - 1;
        self.ours.end() == StackEnd::Root
            && self.theirs.depth > count
            && self.theirs.pcs()[self.theirs.depth - count..].iter().copied().eq(self.callers())
            // What the oracle has more are its own frames and the comparing function's, in our code.
            && self.theirs.depth - count <= 3
    }

    fn check(&self, what: &str) {
        let ours: Vec<u64> = self.callers().collect();
        assert!(
            self.agrees(),
            "{what}: {:?} {:?}\n ours   {ours:x?}\n theirs {:x?}",
            self.stop,
            self.ours.end(),
            self.theirs.pcs()
        );
    }
}

/// Walks from here with both unwinders.
#[inline(never)]
fn compare() -> Comparison {
    let mut at = capture_here();
    let mut ours = StackTrace::new(MAX_FRAMES);
    let mut bounds = stack_bounds(at.sp);
    let stop = walk(&mut at, &mut bounds, &mut windows(), &mut ours, true);
    Comparison { ours, stop, theirs: oracle() }
}

/// The index of the first of our frames that lies in the function at `start` of at most 4 KiB.
fn frame_in(comparison: &Comparison, start: usize) -> Option<usize> {
    comparison.ours.pcs().iter().position(|pc| (start as u64..start as u64 + 4096).contains(pc))
}
