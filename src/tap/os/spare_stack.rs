//! A stack of our own for work that needs room, on threads that may have none: coroutines, signal stacks,
//! threads of 16 KiB.
//!
//! For what is done once or seldom: opening the store, starting the keeper, writing a dump. The stack is
//! mapped for the call and unmapped after it. Signals wait meanwhile: their handlers may want to
//! know the stack that they run on (HotSpot's do). The guard's word is moved along, so that nested
//! allocations still stand below it.
//!
//! # Safety
//! The switch is one assembly function that puts the stack pointer back before it returns; the work does
//! not unwind out of it (panics abort) and is not left by longjmp.
#![allow(unsafe_code)]

use super::{map, signals, tls};
use std::arch::naked_asm;
use std::ffi::c_void;

/// Room for a dump, which formats text and walks maps, several times over; touched page by page.
const BYTES: usize = 256 << 10;

/// Runs `work` on a spare stack; on the caller's, if there is no memory for one.
pub(crate) fn with_room<T, F: FnOnce() -> T>(work: F) -> T {
    let Some(stack) = map::anonymous(BYTES) else { return work() };
    let mut task = Task::<T, F> { work: Some(work), result: None };
    let data = (&raw mut task).cast::<c_void>();
    let top = stack.as_ptr().wrapping_add(BYTES);
    signals::held_back(|| {
        let guard = &tls::thread().guard;
        let before = guard.get();
        if before != 0 {
            guard.set(top as usize);
        }
        // SAFETY: `run` gets the task that it is made for; the top of the stack is aligned to a page.
        unsafe { switch(data, run::<T, F>, top.cast()) };
        guard.set(before);
    });
    // SAFETY: mapped above; nothing runs on it any more.
    unsafe { map::unmap(stack.as_ptr(), BYTES) };
    match task {
        Task { result: Some(result), .. } => result,
        // `run` always leaves a result; without one the work was not done, and is done here.
        Task { work: Some(work), .. } => work(),
        Task { .. } => std::process::abort(),
    }
}

struct Task<T, F> {
    work: Option<F>,
    result: Option<T>,
}

unsafe extern "C" fn run<T, F: FnOnce() -> T>(data: *mut c_void) {
    // SAFETY: `with_room` passes its own task, which nobody else uses meanwhile.
    let task = unsafe { &mut *data.cast::<Task<T, F>>() };
    task.result = task.work.take().map(|work| work());
}

/// Calls `function(data)` with the stack pointer at `top`. The frame pointer keeps the way back, for us and
/// for whoever unwinds.
#[unsafe(naked)]
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn switch(data: *mut c_void, function: unsafe extern "C" fn(*mut c_void), top: *mut c_void) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rdx",
        "call rsi",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}

/// As above (not run on hardware yet).
#[unsafe(naked)]
#[cfg(target_arch = "aarch64")]
unsafe extern "C" fn switch(data: *mut c_void, function: unsafe extern "C" fn(*mut c_void), top: *mut c_void) {
    naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "mov x29, sp",
        ".cfi_def_cfa_register x29",
        "mov sp, x2",
        "blr x1",
        "mov sp, x29",
        "ldp x29, x30, [sp], #16",
        ".cfi_def_cfa sp, 0",
        ".cfi_restore x29",
        ".cfi_restore x30",
        "ret",
        ".cfi_endproc",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn address() -> usize {
        let mark = 0u8;
        std::hint::black_box(&raw const mark) as usize
    }

    #[test]
    fn work_runs_elsewhere_and_comes_back() {
        let here = address();
        let text = String::from("taken along");
        let (there, text) = with_room(move || (address(), text + " and brought back"));
        assert!(there.abs_diff(here) > BYTES, "{there:#x} {here:#x}");
        assert_eq!(text, "taken along and brought back");
        assert!(address().abs_diff(here) < 4096);
    }

    #[test]
    fn a_guard_still_refuses_nested_entries_there() {
        let outer = crate::tap::guard::Guard::enter();
        assert!(outer.is_some() && with_room(|| crate::tap::guard::Guard::enter().is_none()));
        assert!(crate::tap::guard::Guard::enter().is_none());
        drop(outer);
        assert!(with_room(|| crate::tap::guard::Guard::enter().is_some()));
    }
}
