//! The option string of the embedded jemalloc, which reads it at its first call. The tap's own options are not in it.
//!
//! # Safety
//! The buffer is written by one thread, before that call, and only read after it.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;

/// Bytes that jemalloc's options may take, with the NUL.
const CONF_BYTES: usize = 4096;

std::arch::global_asm!(
    // jemalloc's own definition is weak; hidden, or it would be one more export.
    ".pushsection .bss.heaptap_conf,\"aw\",@nobits",
    ".globl heaptap_conf",
    ".hidden heaptap_conf",
    "heaptap_conf: .zero 4096",
    ".popsection",
    ".pushsection .data.rel.ro.heaptap_conf,\"aw\"",
    ".p2align 3",
    ".globl _rjem_malloc_conf",
    ".hidden _rjem_malloc_conf",
    ".type _rjem_malloc_conf,@object",
    ".size _rjem_malloc_conf,8",
    "_rjem_malloc_conf: .quad heaptap_conf",
    ".popsection",
);

unsafe extern "C" {
    static heaptap_conf: UnsafeConf;
}

#[repr(transparent)]
struct UnsafeConf(UnsafeCell<[u8; CONF_BYTES]>);

// SAFETY: written only by `Conf`, before jemalloc's first call, and read only by jemalloc after.
unsafe impl Sync for UnsafeConf {}

/// jemalloc's option string, to be filled before its first call.
pub(crate) struct Conf {
    len: usize,
}

impl Conf {
    /// An empty option string.
    ///
    /// # Safety
    /// One thread, once, before anything calls jemalloc.
    pub(crate) unsafe fn begin() -> Conf {
        Conf { len: 0 }
    }

    /// Adds a pair. `false`: no room left, the pair is dropped.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> bool {
        let separator: &[u8] = if self.len == 0 { b"" } else { b"," };
        let parts = [separator, key, b":", value];
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if self.len + bytes >= CONF_BYTES {
            return false;
        }
        // SAFETY: `begin`'s caller promised that nobody else uses the buffer now.
        let buffer = unsafe { &mut *heaptap_conf.0.get() };
        for byte in parts.into_iter().flatten() {
            if let Some(room) = buffer.get_mut(self.len) {
                *room = *byte;
                self.len += 1;
            }
        }
        true
    }
}
