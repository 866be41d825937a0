//! The processor, as the unwinder knows it: register numbers of the DWARF rules, call instructions, and how to read
//! the three registers here and now.
//!
//! One file per architecture with the same items; everything else in `unwind` is written once.

#[cfg(target_arch = "aarch64")]
mod aarch64;
pub(super) mod cpu;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::capture_here;
#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::{
    CONTROL_BLOCK, CPU, MUSLS_CONTROL_BLOCK, dl_find_object, first_call, follows_call, thread_pointer,
};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::capture_here;
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{
    CONTROL_BLOCK, CPU, MUSLS_CONTROL_BLOCK, dl_find_object, first_call, follows_call, thread_pointer,
};
