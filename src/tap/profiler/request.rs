//! A request on its way through the profiler: what was asked for, the wait that it ends, and what became of it.

use crate::tap::heap::{Block, Shape, Size};
use crate::tap::os::tls::ThreadBlock;
use crate::tap::stack::Registers;

/// A request that was chosen, or may be chosen, to be sampled.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    /// Bytes asked for, however many.
    pub(crate) bytes: usize,
    /// Alignment asked for, a power of two; 1 where none was.
    pub(crate) alignment: usize,
    /// Whether the memory must read as zeros.
    pub(crate) zeroed: bool,
    /// Code address of `malloc`, which begins every stack.
    pub(crate) entry: usize,
    /// The frame that called, where the export knows it; else unwinding begins in our own frames.
    pub(crate) caller: Option<Registers>,
}

impl Request {
    /// The shape of the block. `None`: no object is that large, and the request will fail.
    pub(crate) fn shape(&self) -> Option<Shape> {
        Some(Shape { size: Size::new(self.bytes)?, alignment: self.alignment, zeroed: self.zeroed })
    }
}

/// A wait that is over: how it was drawn, and how far the thread came.
#[derive(Clone, Copy)]
pub(crate) struct Wait {
    /// Sampling period that it was drawn with, bytes.
    pub(crate) period: u64,
    /// Bytes that the thread has allocated since.
    pub(crate) used: u64,
}

impl Wait {
    /// The wait of this thread, before the next one is drawn.
    pub(crate) fn of(thread: &ThreadBlock) -> Wait {
        let used = thread.drawn.get().wrapping_sub(thread.bytes_left.get());
        Wait { period: thread.period.get(), used }
    }
}

/// The outcome of a request.
#[derive(Default)]
pub(crate) struct Taken {
    /// The block in the range; `None`: to be served as if nothing had happened.
    pub(crate) block: Option<Block>,
    /// An interval between dumps is over.
    pub(crate) interval_over: bool,
    /// True once in a while: time for what need not be looked at each time.
    pub(crate) is_check_due: bool,
    /// It would have been sampled if there had been room.
    pub(crate) is_lost: bool,
}

impl Taken {
    /// There was no room for it.
    pub(super) fn lost() -> Taken {
        Taken { is_lost: true, ..Taken::default() }
    }
}
