//! A Java frame as the walk hands it on, and the trait by which the live region takes it.
//!
//! The one interface between `jvm`, which reads names out of the virtual machine, and `store`, which keeps them. Plain
//! data.

/// Longest class name that is kept; what is longer is cut at the end.
pub(crate) const MAX_CLASS: usize = 512;
/// Longest method name that is kept.
pub(crate) const MAX_METHOD: usize = 256;

/// The kind of a Java frame.
///
/// Interpreted, compiled and inlined runs of a method are one kind on purpose: the compiler moves a hot method through
/// all three, and a leak must not look like three stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FrameKind {
    /// A method with bytecodes.
    Method,
    /// A native method (its C function is the next inner, native frame).
    NativeMethod,
    /// Not a method: a [`enum@Mark`] of the walk. It has no class.
    Mark,
}

/// A note of the walk in a trace, beside methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mark {
    /// The rest of a virtual thread lies frozen in the heap, between the frames before and after this mark.
    Frozen = 1,
    /// A collector's barrier, called from the method that follows.
    Barrier = 2,
    /// A compiler thread; the method before is the one it was compiling.
    Compiling = 3,
}

impl Mark {
    /// How the mark reads in a stack.
    pub(crate) fn text(self) -> &'static [u8] {
        match self {
            Mark::Frozen => b"[frozen frames]",
            Mark::Barrier => b"[gc barrier]",
            Mark::Compiling => b"[compiling]",
        }
    }
}

/// One Java frame, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct JavaFrame<'a> {
    /// Internal name (`java/lang/String`), without the suffix that makes hidden classes unique; empty for a mark.
    pub(crate) class: &'a [u8],
    /// Method name as in the class file (`<init>`), or the text of a mark.
    pub(crate) method: &'a [u8],
    /// Source line; 0: unknown.
    pub(crate) line: u32,
    /// Its kind.
    pub(crate) kind: FrameKind,
}

impl<'a> JavaFrame<'a> {
    /// A frame that is no method.
    pub(super) fn of_mark(mark: Mark) -> JavaFrame<'a> {
        JavaFrame { class: &[], method: mark.text(), line: 0, kind: FrameKind::Mark }
    }
}

/// The keeper of Java frames: gives each distinct [`JavaFrame`] a fake pc.
///
/// Called while an allocation is being sampled: implementations must not allocate, block or unwind.
pub(crate) trait JavaFrames {
    /// The fake pc of a frame, new or known. `None`: no room; asked again next time.
    fn intern(&self, frame: &JavaFrame<'_>) -> Option<u64>;

    /// The fake pc that stands for a frame whose name could not be kept. Always there.
    fn unnamed(&self) -> u64;

    /// Another number whenever fake pcs that were handed out are void: in a fork child, whose region is empty, and when
    /// methods are about to be forgotten.
    fn generation(&self) -> u32;
}
