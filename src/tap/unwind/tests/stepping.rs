//! Every instruction of some calls, by the processor's trap flag: rules hold between calls, too.
//!
//! The handler of each trap walks the interrupted stack with both unwinders, in prologues, epilogues,
//! PLT stubs, the lazy binder, hand-written assembly and the vdso. Nothing in it allocates.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code)]
#![allow(clippy::undocumented_unsafe_blocks, reason = "calls of libc with values made on the line before")]

use core::ffi::{c_int, c_void};
use core::ptr;
use std::cell::Cell;
use std::sync::Mutex;

use super::{Comparison, compare};
use crate::tap::code_address::LookupAddress;
use crate::tap::unwind::cfi;
use crate::tap::unwind::refusal::Refusal;
use crate::tap::unwind::{arch, objects};

/// What the traps of this thread saw.
#[derive(Clone, Copy, Default, Debug)]
struct Steps {
    same: usize,
    refused: usize,
}

/// The trap flag of the processor's flags register.
const TRAP: i64 = 0x100;

thread_local! {
    static STEPS: Cell<Steps> = const { Cell::new(Steps { same: 0, refused: 0 }) };
    static STEPPING: Cell<bool> = const { Cell::new(false) };
}

/// The first stacks that differ without a reason. Not in TLS, where it would eat small threads' stacks.
static DIFFERENT: Mutex<Option<Comparison>> = Mutex::new(None);

/// Why this look-up address has no rule.
fn refusal(pc: u64) -> Option<Refusal> {
    let pc = LookupAddress::inside(pc as usize);
    objects::find(pc)?.with_tables(|tables| cfi::rule_for(tables, pc, &arch::CPU))?.err()
}

/// The stacks are the same as far as both go, and the shorter one ends for a reason that we state.
fn is_refused(seen: &Comparison) -> bool {
    let is_same = |own: &usize| seen.theirs.pcs().iter().skip(*own).copied().zip(seen.callers()).all(|(a, b)| a == b);
    let Some(own) = (1..=3).find(is_same) else { return false };
    let (theirs, ours) = (seen.theirs.depth - own, seen.callers().count());
    let last = if theirs < ours { seen.theirs.pcs().last().copied() } else { seen.callers().next_back() };
    match last.and_then(refusal) {
        // Our walk does not track the register: the lazy binder (rbx), prologues that realign (r10).
        Some(Refusal::CfaRegister) => ours < theirs,
        // `_init` and the like have no table; the oracle ends there, our walk may have a proved guess.
        Some(Refusal::NoEntry) => ours >= theirs,
        _ => false,
    }
}

extern "C" fn on_trap(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // The flags are changed in the interrupted context: pushing them would upset the rules we test.
    let flags = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_EFL as usize] };
    *flags = if STEPPING.get() { *flags | TRAP } else { *flags & !TRAP };
    let seen = compare();
    let mut steps = STEPS.get();
    if seen.agrees() {
        steps.same += 1;
    } else if is_refused(&seen) {
        steps.refused += 1;
    } else if let Ok(mut different) = DIFFERENT.try_lock() {
        different.get_or_insert(seen);
    }
    STEPS.set(steps);
}

/// Runs `stretch` with a trap after each instruction.
fn step_through(stretch: impl FnOnce()) -> Steps {
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = on_trap as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
    action.sa_flags = libc::SA_SIGINFO;
    assert_eq!(unsafe { libc::sigaction(libc::SIGTRAP, &action, ptr::null_mut()) }, 0);
    STEPS.set(Steps::default());
    STEPPING.set(true);
    unsafe { libc::raise(libc::SIGTRAP) };
    stretch();
    STEPPING.set(false);
    // The next trap clears the flag.
    if let Some(different) = DIFFERENT.lock().ok().and_then(|mut different| different.take()) {
        different.check("step");
    }
    STEPS.get()
}

extern "C" fn order(left: *const c_void, right: *const c_void) -> c_int {
    unsafe { *left.cast::<u64>() }.cmp(&unsafe { *right.cast::<u64>() }) as c_int
}

#[test]
fn every_instruction_of_libc_calls_is_unwound_as_libgcc_does() {
    let mut text = [0_u8; 256];
    let mut numbers: [u64; 24] = core::array::from_fn(|index| (index as u64 * 7919) % 101);
    let steps = step_through(|| {
        let to = text.as_mut_ptr().cast();
        unsafe { libc::snprintf(to, 256, c"%d %s %.9g %p".as_ptr(), 42, c"text".as_ptr(), 0.1_f64, to) };
        unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 24, 8, Some(order)) };
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
        unsafe { libc::memset(to.cast(), 1, 200) };
        let block = unsafe { libc::malloc(100_000) };
        unsafe { libc::free(block) };
    });
    assert!(steps.same > 3000 && steps.refused == 0, "{steps:?}");
}

#[test]
fn every_instruction_of_loading_and_lazy_binding_is_unwound_or_refused() {
    let steps = step_through(|| {
        // Lazily bound, so that its first calls run through the binder, whose frame hangs on rbx.
        let library = unsafe { libc::dlopen(c"libz.so.1".as_ptr(), libc::RTLD_LAZY) };
        if library.is_null() {
            return;
        }
        let bound = unsafe { libc::dlsym(library, c"compressBound".as_ptr()) };
        let bound = unsafe { core::mem::transmute::<*mut c_void, extern "C" fn(u64) -> u64>(bound) };
        bound(1000);
        unsafe { libc::dlclose(library) };
    });
    assert!(steps.same > 10_000, "{steps:?}");
}
