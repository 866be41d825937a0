//! Code blobs: what kind of code a blob holds, and how large its frames are.
//!
//! Every piece of machine code that HotSpot makes is a `CodeBlob`: a header, then code and data. Its kind is told by
//! its name, which has been the same since JDK 8; a name is copied by the kernel when it is met first. Nothing here
//! allocates or locks.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::memory::{self, Block};
use super::vmstructs::VmStructs;
use crate::tap::hash::Hash;

/// The kind of code in a blob.
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
    /// Where the machine's own names lie: those do not change.
    image: Block,
    /// Names that were read, by their addresses, each with what it says: a name is read once, not per frame. Relaxed:
    /// each word stands for itself.
    known: [AtomicUsize; 64],
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
    pub(super) fn derive(tables: &VmStructs, image: Block) -> Option<BlobLayout> {
        let pointer = tables.offset("CodeBlob", "_code_begin").map(CodeStart::Pointer);
        let offset = || tables.offset("CodeBlob", "_code_offset").map(CodeStart::Offset);
        Some(BlobLayout {
            name: tables.offset("CodeBlob", "_name")?,
            frame_size: tables.offset("CodeBlob", "_frame_size")?,
            code: pointer.or_else(offset)?,
            image,
            known: [const { AtomicUsize::new(0) }; 64],
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
            CodeStart::Offset(field) => blob.start().wrapping_add(blob.read::<u32>(field)? as usize),
        };
        blob.contains(begin).then_some(begin)
    }

    /// The kind of code in this blob.
    #[inline]
    pub(super) fn kind(&self, blob: Block) -> Option<Kind> {
        Some(match self.named(blob)? {
            Named::Compiled => Kind::Compiled,
            Named::Wrapper => Kind::Wrapper,
            _ if self.frame_bytes(blob).is_some() => Kind::Stub,
            Named::Continuation => Kind::Continuation,
            Named::FramePointer => Kind::FramePointer,
            Named::Deoptimising | Named::Other => Kind::Formless,
        })
    }

    /// Whether a stub is one of those that turn a compiled frame into interpreter frames.
    pub(super) fn deoptimises(&self, blob: Block) -> bool {
        self.named(blob) == Some(Named::Deoptimising)
    }

    /// What the blob's name says.
    #[inline]
    fn named(&self, blob: Block) -> Option<Named> {
        let name = blob.read::<usize>(self.name).filter(|&name| (1..1 << 48).contains(&name))?;
        let place = self.known.get(Hash::new().with(name as u64).finish() as usize % self.known.len())?;
        let known = place.load(Ordering::Relaxed);
        if known >> 8 == name { Named::of_number(known & 0xff) } else { self.read_name(name, place) }
    }

    #[cold]
    fn read_name(&self, name: usize, place: &AtomicUsize) -> Option<Named> {
        let mut buffer = [0; LONGEST];
        let length = memory::copy_some(name, &mut buffer);
        let text = buffer.get(..length)?;
        let text = text.split(|&byte| byte == 0).next().filter(|text| !text.is_empty())?;
        let named = Named::of(text);
        // A name that was made for a blob may be freed with it.
        if self.image.contains(name) {
            place.store(name << 8 | named as usize, Ordering::Relaxed);
        }
        Some(named)
    }
}

/// Longest beginning of a name that is looked at.
const LONGEST: usize = 32;

/// What kind of blob a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Compiled = 1,
    Wrapper,
    Continuation,
    FramePointer,
    Deoptimising,
    Other,
}

impl Named {
    fn of(text: &[u8]) -> Named {
        match text {
            b"nmethod" => Named::Compiled,
            b"native nmethod" => Named::Wrapper,
            _ if DEOPTIMISING.contains(&text) => Named::Deoptimising,
            _ if text.starts_with(CONTINUATION) => Named::Continuation,
            _ if WITH_FRAME_POINTER.iter().any(|prefix| text.starts_with(prefix)) => Named::FramePointer,
            _ => Named::Other,
        }
    }

    fn of_number(number: usize) -> Option<Named> {
        use Named::{Compiled, Continuation, Deoptimising, FramePointer, Other, Wrapper};
        [Compiled, Wrapper, Continuation, FramePointer, Deoptimising, Other].get(number.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_kinds_and_numbers_tell_names() {
        let of = |text: &str| Named::of(text.as_bytes());
        assert_eq!(
            (of("nmethod"), of("nmethods"), of("native nmethod")),
            (Named::Compiled, Named::Other, Named::Wrapper)
        );
        assert_eq!((of("StubRoutines (1)"), of("DeoptimizationBlob")), (Named::FramePointer, Named::Deoptimising));
        assert_eq!(of("StubRoutines (continuation stubs"), Named::Continuation);
        for number in 1..=6 {
            assert_eq!(Named::of_number(number).map(|named| named as usize), Some(number));
        }
        assert_eq!((Named::of_number(0), Named::of_number(7)), (None, None));
    }
}
