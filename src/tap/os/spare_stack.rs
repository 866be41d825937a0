//! A stack of our own for work that needs room, on threads that may have none: coroutines, signal stacks,
//! threads of 16 KiB. And a way out of it when memory runs out.
//!
//! A part of every errand (`errand`), and for nothing else. The stack is mapped for the call, above a page that nothing
//! can be stored into, and unmapped after it. Signals must wait meanwhile: their handlers may want to
//! know the stack that they run on (HotSpot's do). The guard's word is moved along, so that nested
//! allocations still stand below it. Where the work cannot get memory, Rust would end the process;
//! [`give_up`] ends the work instead, as longjmp would: what it holds is leaked.
//!
//! # Safety
//! The switch is one assembly function that puts the stack pointer back, and the registers that a caller may rely
//! on. The work does not unwind out of it (panics abort), and holds nothing that must not be leaked.
#![allow(unsafe_code)]

use super::{map, tls};
use std::arch::naked_asm;
use std::ffi::c_void;
use std::ptr::NonNull;

/// Room for a dump, which formats text and walks maps, several times over; touched page by page.
const BYTES: usize = 256 << 10;

/// A mapping with a guard below the stack.
struct Stack {
    start: NonNull<u8>,
    bytes: usize,
}

impl Stack {
    fn new() -> Option<Stack> {
        let bytes = map::page_size() + BYTES;
        let stack = Stack { start: map::reserve(bytes)?, bytes };
        // SAFETY: the upper part of our own new mapping.
        unsafe { map::renew(stack.top().wrapping_sub(BYTES), BYTES) }.then_some(stack)
    }

    fn top(&self) -> *mut u8 {
        self.start.as_ptr().wrapping_add(self.bytes)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped above; nothing runs on it any more.
        unsafe { map::unmap(self.start.as_ptr(), self.bytes) };
    }
}

/// Runs `work` on a spare stack. `None`: there is no memory for the stack, or was none for the work.
pub(crate) fn with_room<T, F: FnOnce() -> T>(work: F) -> Option<T> {
    let stack = Stack::new()?;
    let mut task = Task::<T, F> { work: Some(work), result: None };
    let data = (&raw mut task).cast::<c_void>();
    let (thread, top) = (tls::thread(), stack.top());
    let (guard, way_out) = (thread.guard.get(), thread.way_out.get());
    if guard != 0 {
        thread.guard.set(top as usize);
    }
    // SAFETY: `run` gets the task that it is made for; the top of the stack is aligned to a page; the word is
    // this thread's.
    unsafe { switch(data, run::<T, F>, top.cast(), thread.way_out.as_ptr()) };
    thread.guard.set(guard);
    thread.way_out.set(way_out);
    task.result
}

/// Ends the work of this thread's innermost [`with_room`]; returns if there is none.
pub(crate) fn give_up() {
    let way_out = tls::thread().way_out.get();
    if way_out != 0 {
        // SAFETY: `switch` stored it, and its frame stands as long as the word is not zero.
        unsafe { leave(way_out) };
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

/// Calls `function(data)` with the stack pointer at `top`, and stores the own one in `way_out` for `leave`, which
/// is also its end. The frame pointer keeps the way back, for us and for unwinders. (On aarch64 the lower
/// halves of v8 to v15 are the caller's, too.)
#[unsafe(naked)]
unsafe extern "C" fn switch(
    data: *mut c_void,
    function: unsafe extern "C" fn(*mut c_void),
    top: *mut c_void,
    way_out: *mut usize,
) {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov qword ptr [rcx], rsp",
        "mov rsp, rdx",
        "call rsi",
        "lea rdi, [rbp - 40]",
        "jmp {leave}",
        ".cfi_endproc",
        leave = sym leave,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-160]!",
        ".cfi_def_cfa_offset 160",
        ".cfi_offset x29, -160",
        ".cfi_offset x30, -152",
        "mov x29, sp",
        ".cfi_def_cfa_register x29",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "str x29, [x3]",
        "mov sp, x2",
        "blr x1",
        "mov x0, x29",
        "b {leave}",
        ".cfi_endproc",
        leave = sym leave,
    );
}

/// Returns from the `switch` that stored this word.
#[unsafe(naked)]
unsafe extern "C" fn leave(way_out: usize) -> ! {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov rsp, rdi", "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp", "ret");
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        "mov sp, x0",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "ldp x29, x30, [sp], #160",
        "ret",
    );
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
        let (there, text) = with_room(move || (address(), text + " and brought back")).unwrap();
        assert!(there.abs_diff(here) > BYTES, "{there:#x} {here:#x}");
        assert_eq!(text, "taken along and brought back");
        assert!(address().abs_diff(here) < 4096);
    }

    #[test]
    fn a_guard_still_refuses_nested_entries_there() {
        let outer = crate::tap::guard::Guard::enter();
        assert!(outer.is_some() && with_room(|| crate::tap::guard::Guard::enter().is_none()) == Some(true));
        assert!(crate::tap::guard::Guard::enter().is_none());
        drop(outer);
        assert_eq!(with_room(|| crate::tap::guard::Guard::enter().is_some()), Some(true));
    }

    #[test]
    fn below_the_stack_lies_a_page_that_cannot_be_touched() {
        let stack = Stack::new().unwrap();
        let peek = crate::tap::os::peek::Peek::default();
        let readable = |below: usize| peek.at(stack.top() as usize - below, &mut [0; 8]);
        assert!(readable(8) && readable(BYTES) && !readable(BYTES + 8) && !readable(BYTES + map::page_size()));
    }

    #[test]
    fn work_that_gives_up_comes_back_with_nothing() {
        give_up();
        let reached = std::cell::Cell::new(0);
        let result = with_room(|| {
            assert_eq!(with_room(|| 5), Some(5));
            reached.set(7);
            give_up();
            reached.set(8);
        });
        assert_eq!((result, reached.get()), (None, 7));
        assert_eq!(tls::thread().way_out.get(), 0);
        give_up();
    }
}
