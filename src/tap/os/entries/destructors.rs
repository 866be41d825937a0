//! Destructors of thread-specific data, on a stack that is aligned as the ABI of x86-64 wants it.
//!
//! musl up to 1.2.3 ends a thread that is cancelled at any instruction (PTHREAD_CANCEL_ASYNCHRONOUS) with the stack
//! pointer of that instruction, which may be off by eight bytes. jemalloc's destructor, which runs for every thread
//! that allocated, stores vectors to its stack: SIGSEGV. aarch64 keeps its stack pointer aligned.
//!
//! # Safety
//! A door calls the destructor that was put behind it before its key was made.
#![allow(unsafe_code)]

use std::arch::global_asm;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

type Destructor = unsafe extern "C" fn(*mut c_void);

/// What each door leads to, 0: nothing yet. jemalloc has one destructor, and so have the tap and the standard library.
static BEHIND: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

const DOORS: [Destructor; 4] = [heaptap_door_0, heaptap_door_1, heaptap_door_2, heaptap_door_3];

unsafe extern "C" {
    fn heaptap_door_0(value: *mut c_void);
    fn heaptap_door_1(value: *mut c_void);
    fn heaptap_door_2(value: *mut c_void);
    fn heaptap_door_3(value: *mut c_void);
}

/// A function that aligns the stack and calls this one; this one, where all doors are taken.
pub(super) fn aligned(destructor: Destructor) -> Destructor {
    let wanted = destructor as *const () as usize;
    let takes = |place: &AtomicUsize| {
        let before = place.compare_exchange(0, wanted, Ordering::AcqRel, Ordering::Acquire);
        before.is_ok() || before == Err(wanted)
    };
    BEHIND.iter().position(takes).map_or(destructor, |number| DOORS[number])
}

/// One door, `at` bytes into the table: a frame, the alignment, the call.
macro_rules! door {
    ($name:literal, $at:literal) => {
        global_asm!(
            concat!(".pushsection .text.", $name, ",\"ax\",@progbits"),
            concat!(".globl ", $name),
            concat!(".hidden ", $name),
            concat!(".type ", $name, ",@function"),
            concat!($name, ":"),
            ".cfi_startproc",
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "mov rbp, rsp",
            ".cfi_def_cfa_register rbp",
            "and rsp, -16",
            concat!("call qword ptr [rip + {behind} + ", $at, "]"),
            "leave",
            ".cfi_def_cfa rsp, 8",
            "ret",
            ".cfi_endproc",
            concat!(".size ", $name, ", . - ", $name),
            ".popsection",
            behind = sym BEHIND,
        );
    };
}
door!("heaptap_door_0", "0");
door!("heaptap_door_1", "8");
door!("heaptap_door_2", "16");
door!("heaptap_door_3", "24");

#[cfg(test)]
mod tests {
    use super::*;
    use std::arch::{asm, naked_asm};

    /// Notes the stack pointer that it is called with.
    #[unsafe(naked)]
    unsafe extern "C" fn notes(value: *mut c_void) {
        naked_asm!("mov qword ptr [rdi], rsp", "ret");
    }

    #[unsafe(naked)]
    unsafe extern "C" fn notes_twice(value: *mut c_void) {
        naked_asm!("mov qword ptr [rdi], rsp", "mov qword ptr [rdi], rsp", "ret");
    }

    /// The stack pointer that `destructor` sees if it is called with the stack pointer at `off` bytes beside a multiple
    /// of 16.
    fn seen(destructor: Destructor, off: usize) -> usize {
        let mut seen = 0usize;
        // SAFETY: a call with the argument in its register, on a stack that is put back.
        unsafe {
            asm!(
                "mov r12, rsp",
                "and rsp, -16",
                "sub rsp, {off}",
                "call {destructor}",
                "mov rsp, r12",
                off = in(reg) off,
                destructor = in(reg) destructor,
                in("rdi") &raw mut seen,
                out("r12") _,
                clobber_abi("C"),
            );
        }
        seen % 16
    }

    #[test]
    fn a_destructor_finds_its_stack_aligned_wherever_its_thread_was() {
        assert_eq!((seen(notes, 0), seen(notes, 8)), (8, 0), "the test sees what it is about");
        for destructor in [notes, notes_twice, notes] {
            let door = aligned(destructor);
            assert_ne!(door as *const (), destructor as *const ());
            assert_eq!([0, 8, 1, 15].map(|off| seen(door, off)), [8; 4]);
        }
        assert_eq!(BEHIND.iter().filter(|place| place.load(Ordering::Relaxed) != 0).count(), 2);
    }
}
