//! Nanoseconds of a walk, ours beside libgcc's: `cargo test --release --lib unwind::tests::bench -- --ignored
//! --nocapture`.
//!
//! Distinct functions without frame pointers, warm, median of batches. Prints; asserts only what it walked.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

use super::{oracle, windows};
use crate::tap::stack::{MAX_FRAMES, StackBounds, StackTrace};
use crate::tap::unwind::{StackCache, capture_here, forget_objects, walk};
use crate::wire::stack_end::StackEnd;

type Frame = fn(usize, &mut dyn FnMut());

/// One of many functions that differ in their frames.
#[inline(never)]
fn frame<const N: usize>(depth: usize, leaf: &mut dyn FnMut()) {
    let local = black_box([N as u64; 3]);
    match depth.checked_sub(1).and_then(|depth| FRAMES.get(depth)) {
        Some(next) => next(depth - 1, leaf),
        None => leaf(),
    }
    black_box(local);
}

macro_rules! frames {
    ($($number:literal)*) => { [$(frame::<$number>),*] };
}

static FRAMES: [Frame; 48] = frames!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
    32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47);

/// Median nanoseconds of one call, of 301 batches.
fn median(batch: u32, mut call: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..301)
        .map(|_| {
            let start = Instant::now();
            (0..batch).for_each(|_| call());
            start.elapsed().as_nanos() as f64 / f64::from(batch)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

struct Figures {
    frames: usize,
    ours: f64,
    cold: f64,
    crate_backtrace: f64,
    libgcc: f64,
}

/// `foreign`: as if nobody vouched for the stack.
fn measure(foreign: bool) -> Figures {
    let mut windows = windows();
    let mut stack = StackCache::default();
    let mut trace = StackTrace::new(MAX_FRAMES);
    let mut sample = || {
        let mut at = capture_here();
        trace.reset(MAX_FRAMES);
        windows.begin();
        let mut bounds = if foreign { StackBounds::FOREIGN } else { stack.bounds(at.sp) };
        walk(&mut at, &mut bounds, &mut windows, &mut trace, true);
        black_box(&trace);
    };
    let ours = median(400, &mut sample);
    let cold = median(1, || {
        forget_objects();
        sample();
    });
    assert_eq!(trace.end(), StackEnd::Root);
    // SAFETY: nothing else uses the crate in this process.
    let crate_backtrace =
        median(4, || unsafe { backtrace::trace_unsynchronized(|frame| !black_box(frame.ip()).is_null()) });
    let libgcc = median(4, || _ = black_box(oracle()));
    Figures { frames: trace.pcs().len(), ours, cold, crate_backtrace, libgcc }
}

#[test]
#[ignore = "a measurement"]
fn nanoseconds_of_a_walk() {
    println!("frames   ours ns  /frame   cold ns  /frame   backtrace ns  libgcc ns");
    for (wanted, foreign) in [(15, false), (25, false), (30, false), (45, false), (15, true), (45, true)] {
        let mut figures = None;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // What the thread itself has below these frames: found by a walk of none of them.
                let mut base = 0;
                let mut probe = || base = oracle().depth - 2;
                probe();
                let depth = wanted - base.min(wanted);
                frame::<99>(depth, &mut || figures = Some(measure(foreign)));
            });
        });
        let Some(Figures { frames, ours, cold, crate_backtrace, libgcc }) = figures else { continue };
        let per = |total: f64| total / frames as f64;
        println!(
            "{frames:6} {ours:9.0} {:7.1} {cold:9.0} {:7.1} {crate_backtrace:14.0} {libgcc:10.0}  {}",
            per(ours),
            per(cold),
            if foreign { "on a foreign stack" } else { "" }
        );
    }
}
