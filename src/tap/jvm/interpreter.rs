//! Interpreter frames: fixed places around the frame pointer.
//!
//! ```text
//! fp[+1] return pc   fp[0] caller's fp   fp[-1] caller's sp   fp[-3] Method*   fp[bcp_slot] bytecode pointer
//! ```
//!
//! (`cpu/x86/frame_x86.hpp`, `cpu/aarch64/frame_aarch64.hpp`.) Nothing here allocates or locks.

use super::memory::{Block, Pages};
use super::quirks::{METHOD_SLOT, Quirks, SENDER_SP_SLOT};
use super::vmstructs::VmStructs;
use crate::tap::code_address::ReturnAddress;
use crate::tap::stack::Registers;

/// Bytecode indices are smaller (JVM specification 4.7.3), and no address is.
const MAX_BYTECODES: usize = 1 << 16;

/// Where the interpreter's code lies, and what its frames look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interpreter {
    low: usize,
    high: usize,
    bcp_slot: isize,
    bcp_may_be_index: bool,
}

/// One frame of the interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InterpreterFrame {
    /// The `Method*`; unproven.
    pub(super) method: usize,
    /// Its caller.
    pub(super) sender: Registers,
    /// The bytecode pointer, as the frame has it.
    pub(super) bcp: usize,
    bcp_may_be_index: bool,
}

impl Interpreter {
    pub(super) fn find(tables: &VmStructs, vm: Block, quirks: &Quirks) -> Option<Interpreter> {
        let queue = vm.read_at::<usize>(tables.address("AbstractInterpreter", "_code")?).filter(|&queue| queue != 0)?;
        let (buffer, limit) =
            (tables.offset("StubQueue", "_stub_buffer")?, tables.offset("StubQueue", "_buffer_limit")?);
        // The machine's own pointer to the queue object, which it never deletes.
        let queue = Pages::new().block(queue, buffer.max(limit) + 8)?;
        let low = queue.read::<usize>(buffer)?;
        let high = low.checked_add(usize::try_from(queue.read::<i32>(limit)?).ok()?)?;
        (low != 0).then_some(Interpreter {
            low,
            high,
            bcp_slot: quirks.bcp_slot,
            bcp_may_be_index: quirks.bcp_may_be_index,
        })
    }

    /// Whether `pc` belongs to the interpreter.
    #[inline]
    pub(super) fn contains(&self, pc: usize) -> bool {
        self.low <= pc && pc < self.high
    }

    /// Reads the frame that `at` stands in. `None`: it is not plausible.
    #[inline]
    pub(super) fn frame(&self, at: &Registers, stack: Block) -> Option<InterpreterFrame> {
        let slot = |index: isize| stack.read_at::<usize>(at.fp.wrapping_add_signed(8 * index));
        let sender_sp = slot(SENDER_SP_SLOT)?;
        // The caller's sp lies above the frame, but not always above the return address: method handle linkers drop
        // their last argument, and the caller, being interpreted too, does not miss it.
        if at.fp <= at.sp || sender_sp <= at.fp {
            return None;
        }
        Some(InterpreterFrame {
            method: slot(METHOD_SLOT)?,
            sender: Registers { pc: ReturnAddress::from_stack(slot(1)?), sp: sender_sp, fp: slot(0)? },
            bcp: slot(self.bcp_slot)?,
            bcp_may_be_index: self.bcp_may_be_index,
        })
    }
}

impl InterpreterFrame {
    /// The bytecode index, given where the method's bytecodes begin and how many there are. `None`: it is not in the
    /// method.
    #[inline]
    pub(super) fn bci(&self, (bytecodes, count): (usize, u16)) -> Option<i32> {
        let index =
            if self.bcp_may_be_index && self.bcp < MAX_BYTECODES { self.bcp } else { self.bcp.wrapping_sub(bytecodes) };
        if count == 0 {
            return Some(-1);
        }
        (index < usize::from(count)).then_some(index as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bcp: usize, bcp_may_be_index: bool) -> InterpreterFrame {
        InterpreterFrame { method: 0, sender: Registers::default(), bcp, bcp_may_be_index }
    }

    #[test]
    fn the_bytecode_index_must_lie_in_the_method() {
        let code = (0x7f00_0000_0000, 10);
        assert_eq!(frame(0x7f00_0000_0009, false).bci(code), Some(9));
        assert_eq!((frame(0x7f00_0000_000a, false).bci(code), frame(3, false).bci(code)), (None, None));
        assert_eq!(frame(3, true).bci(code), Some(3), "JDK 8 while a collection runs");
        assert_eq!(frame(0, false).bci((0x7f00_0000_0000, 0)), Some(-1), "a native method has no bytecodes");
    }
}
