//! The walk: from a pc in the code cache, frame by frame, to the native code that called Java.
//!
//! Each step asks which code owns the pc, pushes the Java methods that stand there, and computes the caller's
//! registers from that code's own rule. Every value is checked before it is used; the first implausible one
//! ends the trace with its reason. Nothing here allocates, locks or guesses.

use super::blob::Kind;
use super::cache::{CompiledFrame, Known, Owner, Pushed};
use super::continuation::Continuations;
use super::counters::Counters;
use super::frame::{FrameKind, JavaFrame, JavaFrames, Mark};
use super::machine::Machine;
use super::memory::{Block, Pages};
use super::method::{NO_BCI, NameBuffer, Trust};
use super::nmethod::{Nmethod, Scope};
use crate::tap::code_address::ReturnAddress;
use crate::tap::stack::{Registers, StackTrace};
use crate::wire::stack_end::StackEnd;

/// Marks, in the place of a bytecode index, that a `Method*` has been proven.
const PROVEN: u16 = 0xfffd;

/// Addresses beyond are not user space.
const ADDRESS_BITS: u32 = 48;

/// Why a walk goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The trace ends here, for this reason.
    End(StackEnd),
    /// The trace is full, and says so itself.
    Full,
}

/// What the stub of entry barriers pushes, to be overwritten with a stack pointer when the method must not be entered
/// (`stubGenerator_x86_64.cpp`, `generate_method_entry_barrier`).
const ENTRY_BARRIER_COOKIE: ReturnAddress = ReturnAddress::new(usize::MAX);

const IMPLAUSIBLE: Stop = Stop::End(StackEnd::JavaImplausible);

/// One walk.
pub(super) struct Walk<'a, N> {
    machine: &'a Machine,
    counters: &'a Counters,
    names: &'a N,
    stack: Block,
    pages: Pages,
    trace: &'a mut StackTrace,
    generation: u32,
    /// Java methods pushed in this walk.
    pushed: usize,
    /// The next frame has just been entered: it is complete, but its pc has no debug record.
    entering: bool,
    /// Only exact steps have led here: a `Method*` on the stack is alive.
    is_exact: bool,
    /// Where Java was left for the native code that called the last Java frames.
    outer: Option<Registers>,
}

impl<'a, N: JavaFrames> Walk<'a, N> {
    pub(super) fn new(
        machine: &'a Machine,
        counters: &'a Counters,
        names: &'a N,
        stack: Block,
        trace: &'a mut StackTrace,
    ) -> Walk<'a, N> {
        let generation = names.generation();
        Walk {
            machine,
            counters,
            names,
            stack,
            pages: Pages::of_walk(),
            trace,
            generation,
            pushed: 0,
            entering: false,
            is_exact: true,
            outer: None,
        }
    }

    /// Whether methods that were described before are believed to be there still; if not, everything is read through
    /// the kernel.
    pub(super) fn trusting(&mut self, is_exact: bool) -> &mut Self {
        self.is_exact = is_exact;
        self
    }

    /// Walks until native code calls. `at` is left at that native frame, or where the walk stopped.
    pub(super) fn run(&mut self, at: &mut Registers) -> Result<Option<Registers>, Stop> {
        self.steps(at).map(|()| self.outer)
    }

    /// Pushes the method that a compiler thread compiles, and the mark that says so.
    pub(super) fn push_compiling(&mut self, method: usize) -> Result<(), Stop> {
        self.push_method(Scope { method, bci: NO_BCI })?;
        self.push_mark(Mark::Compiling)
    }

    fn steps(&mut self, at: &mut Registers) -> Result<(), Stop> {
        loop {
            let (next, may_be_native) = self.step(*at)?;
            if next.sp <= at.sp || !self.stack.contains(next.sp - 1) {
                return Err(Stop::End(StackEnd::BadStack));
            }
            *at = next;
            if !self.machine.code.contains(at.pc.address()) {
                return if may_be_native { Ok(()) } else { Err(IMPLAUSIBLE) };
            }
        }
    }

    /// Pushes what stands at `at`, and finds the caller; and whether that may be native code.
    fn step(&mut self, at: Registers) -> Result<(Registers, bool), Stop> {
        let machine = self.machine;
        if machine.interpreter.contains(at.pc.address()) {
            return Ok((self.interpreted(at)?, false));
        }
        if at.pc == machine.call_stub_return {
            self.outer = machine.threads.as_ref().and_then(|threads| threads.outer_java_frame(at.fp, self.stack));
            return Ok((self.sender_by_fp(at)?, true));
        }
        if !self.entering
            && let Some(sender) = self.remembered(at)
        {
            return Ok((sender?, false));
        }
        let blob = machine.code.blob_at(at.pc.address()).ok_or(Stop::End(StackEnd::JavaUnknownBlob))?;
        let entering = std::mem::take(&mut self.entering);
        match machine.blobs.kind(blob).ok_or(IMPLAUSIBLE)? {
            Kind::Compiled if entering => Ok((self.entered(at, blob)?, false)),
            Kind::Compiled => Ok((self.compiled(at, blob)?, false)),
            Kind::Wrapper => Ok((self.wrapper(at, blob)?, false)),
            Kind::Stub => Ok((self.sized_stub(at, blob)?, true)),
            Kind::FramePointer => Ok((self.framed_stub(at)?, true)),
            Kind::Continuation => Ok((self.frozen(at)?, false)),
            Kind::Formless if self.pushed == 0 => self.barrier(None),
            Kind::Formless => Err(Stop::End(StackEnd::JavaUnknownBlob)),
        }
    }

    fn interpreted(&mut self, at: Registers) -> Result<Registers, Stop> {
        match self.interpreter_scope(at) {
            Some((scope, sender)) => {
                self.push_method(scope)?;
                Ok(sender)
            }
            // Entries of intrinsic methods call a barrier before there is a frame.
            None if self.pushed == 0 => self.barrier(None),
            None => Err(IMPLAUSIBLE),
        }
    }

    /// The method and the caller of an interpreter frame, if it is plausible.
    fn interpreter_scope(&self, at: Registers) -> Option<(Scope, Registers)> {
        let frame = self.machine.interpreter.frame(&at, self.stack)?;
        let code = self.machine.methods.bytecodes(frame.method, self.trust(frame.method), &self.pages)?;
        // While a loop migrates to compiled code (`SharedRuntime::OSR_migration_begin` allocates), the bytecode
        // pointer's register holds the compiled method, and its slot with it.
        let migrating = || self.machine.code.contains(frame.bcp).then_some(NO_BCI);
        Some((Scope { method: frame.method, bci: frame.bci(code).or_else(migrating)? }, frame.sender))
    }

    /// Pushes a frame that was met before, if its code is still there, and finds the caller.
    #[inline]
    fn remembered(&mut self, at: Registers) -> Option<Result<Registers, Stop>> {
        let machine = self.machine;
        let is_current = |owner: Owner| {
            let compile_id = machine.code.committed::<u32>(owner.blob, machine.nmethods.compile_id);
            machine.code.is_used(owner.blob) && compile_id == Some(owner.compile_id)
        };
        match machine.cache.push_frame(at.pc, self.generation, self.trace, is_current) {
            Pushed::Frame { count, bytes } => {
                self.pushed += count;
                Some(self.sender_by_size(at, bytes))
            }
            Pushed::Full => Some(Err(Stop::Full)),
            Pushed::Nothing => None,
        }
    }

    fn compiled(&mut self, mut at: Registers, blob: Block) -> Result<Registers, Stop> {
        let machine = self.machine;
        let code_begin = machine.blobs.code_begin(blob).ok_or(IMPLAUSIBLE)?;
        let nmethod = Nmethod::new(blob, code_begin, &machine.nmethods);
        if nmethod.is_deopt_handler(at.pc) {
            at.pc = self.pc_before_deopt(at, nmethod).filter(|pc| blob.contains(pc.address())).ok_or(IMPLAUSIBLE)?;
            if let Some(sender) = self.remembered(at) {
                return sender;
            }
        }
        let bytes = self.decode(at.pc, blob, nmethod)?;
        self.sender_by_size(at, bytes)
    }

    /// A method that has just been entered: it stands before its first bytecode.
    fn entered(&mut self, at: Registers, blob: Block) -> Result<Registers, Stop> {
        let code_begin = self.machine.blobs.code_begin(blob).ok_or(IMPLAUSIBLE)?;
        let method = Nmethod::new(blob, code_begin, &self.machine.nmethods).method().ok_or(IMPLAUSIBLE)?;
        self.push_method(Scope { method, bci: -1 })?;
        self.sender_by_size(at, self.machine.blobs.frame_bytes(blob).ok_or(IMPLAUSIBLE)?)
    }

    /// The pc that a deoptimised frame had.
    fn pc_before_deopt(&self, at: Registers, nmethod: Nmethod<'_>) -> Option<ReturnAddress> {
        self.stack.read_at::<usize>(at.sp.checked_add(nmethod.orig_pc_offset()?)?).map(ReturnAddress::new)
    }

    /// Reads the debug record of a compiled frame, pushes its methods, and remembers them. Returns the frame's size.
    #[cold]
    fn decode(&mut self, pc: ReturnAddress, blob: Block, nmethod: Nmethod<'_>) -> Result<usize, Stop> {
        self.counters.decoded.add(1);
        let Some(record) = nmethod.scopes_at(pc, &self.pages) else {
            return if self.pushed == 0 { self.barrier(nmethod.method()) } else { Err(IMPLAUSIBLE) };
        };
        let bytes = self.machine.blobs.frame_bytes(blob).ok_or(IMPLAUSIBLE)?;
        let mut frame = CompiledFrame::new(owner(blob, nmethod)?, bytes);
        let mut lasting = true;
        for scope in nmethod.scopes(record, &self.pages).ok_or(IMPLAUSIBLE)? {
            let (fake, named) = self.pc_of(scope.ok_or(IMPLAUSIBLE)?)?;
            lasting &= frame.push(fake) && named;
            self.push(fake)?;
        }
        if lasting {
            self.machine.cache.insert_frame(pc, self.generation, &frame);
        }
        Ok(bytes)
    }

    /// The wrapper of a native method: one frame, whatever its pc.
    fn wrapper(&mut self, at: Registers, blob: Block) -> Result<Registers, Stop> {
        let machine = self.machine;
        let code_begin = machine.blobs.code_begin(blob).ok_or(IMPLAUSIBLE)?;
        let nmethod = Nmethod::new(blob, code_begin, &machine.nmethods);
        let method = nmethod.method().ok_or(IMPLAUSIBLE)?;
        let bytes = machine.blobs.frame_bytes(blob).ok_or(IMPLAUSIBLE)?;
        let mut frame = CompiledFrame::new(owner(blob, nmethod)?, bytes);
        let (fake, named) = self.pc_of(Scope { method, bci: -1 })?;
        self.push(fake)?;
        machine.continuations.note_frame(method, at.pc);
        if frame.push(fake) && named {
            machine.cache.insert_frame(at.pc, self.generation, &frame);
        }
        self.sender_by_size(at, machine.blobs.frame_bytes(blob).ok_or(IMPLAUSIBLE)?)
    }

    /// A stub with frames of one size. When the one that deoptimises seems to be called by the interpreter, it is
    /// writing the interpreter frames that it returns to: what they hold now is rubbish.
    fn sized_stub(&mut self, at: Registers, blob: Block) -> Result<Registers, Stop> {
        let sender = self.sender_by_size(at, self.machine.blobs.frame_bytes(blob).ok_or(IMPLAUSIBLE)?)?;
        let unfinished = self.machine.interpreter.contains(sender.pc.address()) && self.machine.blobs.deoptimises(blob);
        if unfinished { Err(IMPLAUSIBLE) } else { Ok(sender) }
    }

    /// A stub with a frame pointer: array copy, upcalls, entry barriers.
    fn framed_stub(&mut self, at: Registers) -> Result<Registers, Stop> {
        let sender = self.sender_by_fp(at)?;
        if self.pushed == 0 && sender.pc == ENTRY_BARRIER_COOKIE {
            return self.entry_barrier(sender);
        }
        Ok(sender)
    }

    /// The stub that thaws a virtual thread: either it is at work, or the oldest thawed frame will return to it. Both
    /// times the walk goes on at the method that entered the thread.
    fn frozen(&mut self, at: Registers) -> Result<Registers, Stop> {
        let at_work = self.pushed == 0;
        self.push_mark(Mark::Frozen)?;
        let pc = self.machine.continuations.return_pc().ok_or(Stop::End(StackEnd::JavaFrozen))?;
        let blob = self.machine.code.blob_at(pc.address()).ok_or(IMPLAUSIBLE)?;
        let bytes = self.machine.blobs.frame_bytes(blob).ok_or(IMPLAUSIBLE)?;
        let end = if at_work { at.fp.wrapping_add(16).wrapping_sub(bytes) } else { at.sp };
        let gap = Continuations::candidates(end).take(if at_work { 1 } else { usize::MAX });
        let entries = gap.map(|sp| Registers { pc, sp, fp: 0 });
        let mut plausible = entries.filter(|entry| self.is_called_from_java(*entry, bytes));
        let entry = plausible.next().ok_or(Stop::End(StackEnd::JavaFrozen))?;
        self.wrapper(entry, blob)
    }

    /// Whether the caller of a frame of this size stands at a call in a Java method.
    fn is_called_from_java(&self, at: Registers, bytes: usize) -> bool {
        let Ok(Registers { pc, .. }) = self.sender_by_size(at, bytes) else { return false };
        let machine = self.machine;
        let is_call = |blob: Block| {
            let nmethod = Nmethod::new(blob, machine.blobs.code_begin(blob)?, &machine.nmethods);
            let compiled = machine.blobs.kind(blob)? == Kind::Compiled;
            Some(compiled && (nmethod.is_deopt_handler(pc) || nmethod.scopes_at(pc, &self.pages).is_some()))
        };
        machine.interpreter.contains(pc.address()) || machine.code.blob_at(pc.address()).and_then(is_call) == Some(true)
    }

    /// A collector wants a compiled method to be looked at when it is entered. The method calls a stub for that when
    /// its frame is complete, and the stub has pushed a word between its frame pointer and its return address.
    fn entry_barrier(&mut self, above: Registers) -> Result<Registers, Stop> {
        let pc = self.stack.read_at::<usize>(above.sp).ok_or(Stop::End(StackEnd::BadStack))?;
        self.entering = true;
        self.push_mark(Mark::Barrier)?;
        Ok(Registers { pc: ReturnAddress::from_stack(pc), sp: above.sp.wrapping_add(8), ..above })
    }

    /// The innermost Java frame called the collector from a point without a debug record: name its method, if it is
    /// known, and stop.
    fn barrier<T>(&mut self, method: Option<usize>) -> Result<T, Stop> {
        self.push_mark(Mark::Barrier)?;
        if let Some(method) = method {
            self.push_method(Scope { method, bci: NO_BCI })?;
        }
        Err(Stop::End(StackEnd::JavaBarrier))
    }

    fn sender_by_fp(&self, at: Registers) -> Result<Registers, Stop> {
        let word = |address: usize| self.stack.read_at::<usize>(address).ok_or(Stop::End(StackEnd::BadStack));
        let (fp, pc) = (word(at.fp)?, word(at.fp.wrapping_add(8))?);
        Ok(Registers { pc: ReturnAddress::from_stack(pc), sp: at.fp.wrapping_add(16), fp })
    }

    fn sender_by_size(&self, at: Registers, bytes: usize) -> Result<Registers, Stop> {
        let sp = at.sp.wrapping_add(bytes);
        let word = |address: usize| self.stack.read_at::<usize>(address).ok_or(Stop::End(StackEnd::BadStack));
        let (fp, pc) = (word(sp.wrapping_sub(16))?, word(sp.wrapping_sub(8))?);
        Ok(Registers { pc: ReturnAddress::from_stack(pc), sp, fp })
    }

    fn push_method(&mut self, scope: Scope) -> Result<(), Stop> {
        let (fake, _) = self.pc_of(scope)?;
        self.push(fake)
    }

    /// Marks are remembered like methods, under keys that no method can have.
    fn push_mark(&mut self, mark: Mark) -> Result<(), Stop> {
        let (cache, generation, key) = (&self.machine.cache, self.generation, mark as u64);
        let known = cache.method(key, generation, || Some(key));
        if let Known::Pc(fake) = known {
            return self.push(fake);
        }
        let Some(fake) = self.names.intern(&JavaFrame::of_mark(mark)) else { return self.push(self.names.unnamed()) };
        cache.insert_method(key, key, generation, fake);
        self.push(fake)
    }

    #[inline]
    fn push(&mut self, fake: u64) -> Result<(), Stop> {
        self.pushed += 1;
        if self.trace.push(fake) { Ok(()) } else { Err(Stop::Full) }
    }

    /// The fake pc of a method at a bytecode index, and whether it bears that method's name.
    #[inline]
    fn pc_of(&self, scope: Scope) -> Result<(u64, bool), Stop> {
        let key = method_key(scope.method, bci_code(scope.bci)).ok_or(IMPLAUSIBLE)?;
        let methods = &self.machine.methods;
        if !self.is_exact {
            return self.unsure_pc_of(scope);
        }
        match self.machine.cache.method(key, self.generation, || methods.identity(scope.method, &self.pages)) {
            Known::Pc(fake) => Ok((fake, true)),
            Known::Changed | Known::Nothing => self.new_pc_of(scope, key),
        }
    }

    /// How far a `Method*` may be trusted: whether one was described at this address.
    #[inline]
    fn trust(&self, method: usize) -> Trust {
        let proven = method_key(method, PROVEN).is_some_and(|key| self.machine.cache.has_method(key));
        if !self.is_exact {
            return Trust::Guessed;
        }
        if proven { Trust::Proven } else { Trust::Checked }
    }

    /// The same for a method that may be gone: nothing is remembered of it.
    #[cold]
    #[inline(never)]
    fn unsure_pc_of(&self, scope: Scope) -> Result<(u64, bool), Stop> {
        let mut buffer = NameBuffer::new();
        let frame =
            self.machine.methods.describe(scope, Trust::Guessed, &self.pages, &mut buffer).ok_or(IMPLAUSIBLE)?;
        self.counters.named.add(1);
        let fake = self.names.intern(&frame);
        Ok((fake.unwrap_or_else(|| self.names.unnamed()), false))
    }

    #[cold]
    #[inline(never)]
    fn new_pc_of(&self, scope: Scope, key: u64) -> Result<(u64, bool), Stop> {
        let mut buffer = NameBuffer::new();
        let (methods, trust) = (&self.machine.methods, self.trust(scope.method));
        let frame = methods.describe(scope, trust, &self.pages, &mut buffer).ok_or(IMPLAUSIBLE)?;
        self.counters.named.add(1);
        if frame.kind == FrameKind::NativeMethod {
            self.machine.continuations.note_method(frame.class, frame.method, scope.method);
        }
        let identity = methods.identity(scope.method, &self.pages).ok_or(IMPLAUSIBLE)?;
        let Some(fake) = self.names.intern(&frame) else {
            self.counters.unnamed.add(1);
            return Ok((self.names.unnamed(), false));
        };
        self.machine.cache.insert_method(key, identity, self.generation, fake);
        if let Some(proven) = method_key(scope.method, PROVEN) {
            self.machine.cache.insert_method(proven, 0, 0, 0);
        }
        Ok((fake, true))
    }
}

/// Which compilation a blob holds.
fn owner(blob: Block, nmethod: Nmethod<'_>) -> Result<Owner, Stop> {
    Ok(Owner { blob: blob.start(), compile_id: nmethod.compile_id().ok_or(IMPLAUSIBLE)? })
}

/// Bytecode indices end at 65,534 (JVM specification 4.7.3); the codes above are ours.
fn bci_code(bci: i32) -> u16 {
    match bci {
        NO_BCI => 0xfffe,
        bci => u16::try_from(bci).unwrap_or(0xffff),
    }
}

/// The cache key of a plausible `Method*` at a bytecode index.
fn method_key(method: usize, bci: u16) -> Option<u64> {
    let plausible = method.is_multiple_of(8) && (4096..1 << ADDRESS_BITS).contains(&method);
    plausible.then(|| (method as u64) << 16 | u64::from(bci))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_methods_and_indices_apart_and_refuse_rubbish() {
        assert_eq!(method_key(0x7f00_0000_1008, 5), Some(0x7f00_0000_1008_0005));
        assert!([0, 7, 0x7f00_0000_1001, 1 << 48, usize::MAX].iter().all(|&method| method_key(method, 0).is_none()));
        assert_eq!([-1, 0, 65_533, NO_BCI].map(bci_code), [0xffff, 0, 65_533, 0xfffe]);
    }
}
