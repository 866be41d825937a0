//! Code blobs: what kind of code a blob holds, and how large its frames are.
//!
//! Every piece of machine code that HotSpot makes is a `CodeBlob`: a header, then code and data. Its kind is told by
//! its name, which has been the same since JDK 8. Nothing here allocates or locks.
//!
//! # Safety
//!
//! A blob's bytes are vouched for by [`super::heap`]; its name is a NUL-terminated string that lives as long as the blob.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::memory::Block;
use super::vmstructs::VmStructs;

/// What a code blob holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A compiled Java method.
    Compiled,
    /// The wrapper of a native method.
    Wrapper,
    /// A stub of the machine with frames of a fixed size.
    Stub,
    /// Hand-written stubs (array copy, upcalls): no fixed size, but a frame pointer.
    FramePointer,
    /// The stubs that freeze and thaw virtual threads; all their frames are torn down by hand.
    Continuation,
    /// Code that only passes through (adapters): its stack cannot be told.
    Formless,
}

/// How the name of the continuation stubs begins (JDK 21 and later).
const CONTINUATION: &[u8] = b"StubRoutines (continuation";
/// How the names of other code with a frame pointer begin.
const WITH_FRAME_POINTER: [&[u8]; 4] = [b"StubRoutines", b"Stub Generator", b"upcall_stub", b"Upcall"];

/// Names of the stubs that deoptimise.
const DEOPTIMISING: [&[u8]; 2] = [b"DeoptimizationBlob", b"UncommonTrapBlob"];

/// Where the fields of a blob stand.
#[derive(Debug)]
pub(super) struct BlobLayout {
    name: usize,
    frame_size: usize,
    code: CodeStart,
    /// Addresses of the names of compiled methods and wrappers, once seen: names are compared once, not per frame.
    compiled_name: AtomicUsize,
    wrapper_name: AtomicUsize,
}

/// How a blob tells where its code begins.
#[derive(Clone, Copy, Debug)]
enum CodeStart {
    /// JDK 9-22: a pointer.
    Pointer(usize),
    /// JDK 8, and 23 on: an offset from the blob.
    Offset(usize),
}

impl BlobLayout {
    pub(super) fn derive(tables: &VmStructs) -> Option<BlobLayout> {
        let pointer = tables.offset("CodeBlob", "_code_begin").map(CodeStart::Pointer);
        let offset = || tables.offset("CodeBlob", "_code_offset").map(CodeStart::Offset);
        Some(BlobLayout {
            name: tables.offset("CodeBlob", "_name")?,
            frame_size: tables.offset("CodeBlob", "_frame_size")?,
            code: pointer.or_else(offset)?,
            compiled_name: AtomicUsize::new(0),
            wrapper_name: AtomicUsize::new(0),
        })
    }

    /// Bytes from the stack pointer of one of the blob's frames to that of its caller.
    #[inline]
    pub(super) fn frame_bytes(&self, blob: Block) -> Option<usize> {
        let words = blob.read::<i32>(self.frame_size)?;
        // A frame holds at least the return address; a megabyte is a damaged header.
        (1..1 << 17).contains(&words).then(|| 8 * words as usize)
    }

    /// Address of the blob's first instruction.
    #[inline]
    pub(super) fn code_begin(&self, blob: Block) -> Option<usize> {
        let begin = match self.code {
            CodeStart::Pointer(field) => blob.read(field)?,
            CodeStart::Offset(field) => blob.start() + blob.read::<u32>(field)? as usize,
        };
        blob.contains(begin).then_some(begin)
    }

    /// What the blob holds.
    #[inline]
    pub(super) fn kind(&self, blob: Block) -> Option<Kind> {
        let name = blob.read::<usize>(self.name)?;
        // Relaxed: the words stand for themselves; a lost store costs one more comparison.
        if name == self.compiled_name.load(Ordering::Relaxed) {
            return Some(Kind::Compiled);
        }
        if name == self.wrapper_name.load(Ordering::Relaxed) {
            return Some(Kind::Wrapper);
        }
        self.kind_by_text(blob, name)
    }

    /// Whether a stub is one of those that turn a compiled frame into interpreter frames.
    pub(super) fn deoptimises(&self, blob: Block) -> bool {
        let name = blob.read::<usize>(self.name).filter(|&name| name != 0);
        name.is_some_and(|name| DEOPTIMISING.iter().any(|text| text_of(name).text_is(name, text)))
    }

    #[cold]
    fn kind_by_text(&self, blob: Block, name: usize) -> Option<Kind> {
        if name == 0 {
            return None;
        }
        let text = text_of(name);
        if text.text_is(name, b"nmethod") {
            self.compiled_name.store(name, Ordering::Relaxed);
            return Some(Kind::Compiled);
        }
        if text.text_is(name, b"native nmethod") {
            self.wrapper_name.store(name, Ordering::Relaxed);
            return Some(Kind::Wrapper);
        }
        if self.frame_bytes(blob).is_some() {
            return Some(Kind::Stub);
        }
        if text.text_begins(name, CONTINUATION) {
            return Some(Kind::Continuation);
        }
        let framed = WITH_FRAME_POINTER.iter().any(|prefix| text.text_begins(name, prefix));
        Some(if framed { Kind::FramePointer } else { Kind::Formless })
    }
}

/// The bytes of a blob's name, for comparisons from its start only.
fn text_of(name: usize) -> Block {
    // SAFETY: a NUL-terminated string of a live blob; a comparison stops at the first difference, so it never passes
    // the NUL.
    unsafe { Block::vouched(name, 64) }
}
