//! Java methods: the names and the line of a `Method*`, and an identity that tells when its memory is used anew.
//!
//! `Method` → `ConstMethod` → `ConstantPool` → holder `Klass` → `Symbol`. A `Method*` of an exactly unwound frame is
//! alive, but nothing proves that it *is* a `Method*` when it is met for the first time: it is then read through the
//! kernel ([`Trust::Checked`]), later by plain loads of pages that the kernel finds readable. Nothing here allocates or
//! locks.

use super::frame::{FrameKind, JavaFrame, MAX_CLASS, MAX_METHOD};
use super::lines;
use super::memory::{self, Block, Copied, Pages, Plain};
use super::names;
use super::nmethod::Scope;
use super::unsigned5::Unsigned5;
use super::vmstructs::VmStructs;
use crate::tap::hash::Hash;

/// Bytecode index of a method of which only the name is wanted.
pub(super) const NO_BCI: i32 = i32::MIN;
/// JVM specification, table 4.6-A.
const ACC_NATIVE: u16 = 0x100;
/// Bytes of a line table that are copied at a time.
const LINE_CHUNK: usize = 64;

/// Where the fields of methods, constant pools, classes and symbols stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct MethodLayout {
    size: usize,
    const_method: usize,
    access_flags: usize,
    const_size: usize,
    const_words: usize,
    const_flags: usize,
    has_lines: u16,
    constants: usize,
    code_size: usize,
    name_index: usize,
    pool_size: usize,
    pool_length: usize,
    pool_holder: usize,
    class_name: usize,
    symbol_length: usize,
    symbol_body: usize,
    symbol_hash: Option<usize>,
    numbers: Unsigned5,
    tested: bool,
}

/// How memory is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Through the kernel, 0.5-2.5 µs a value: nothing is known of it.
    Checked,
    /// The same, and nothing where the kernel refuses: a guess has led to it.
    Guessed,
    /// By plain loads of pages that can be read: it belongs to a method that was described before.
    Proven,
}

/// Room for the names of one frame: lies on the stack of a sample that meets a new method.
#[derive(Debug)]
pub(super) struct NameBuffer {
    class: [u8; MAX_CLASS],
    method: [u8; MAX_METHOD],
}

impl NameBuffer {
    pub(super) const fn new() -> NameBuffer {
        NameBuffer { class: [0; MAX_CLASS], method: [0; MAX_METHOD] }
    }
}

impl MethodLayout {
    /// `tested`: whether plain loads may stand in for checked ones that the kernel refuses.
    pub(super) fn derive(tables: &VmStructs, numbers: Unsigned5, tested: bool) -> Option<MethodLayout> {
        let constant = |field| tables.offset("ConstMethod", field);
        let bit = |name| tables.int(name).and_then(|bit| u16::try_from(bit).ok());
        let hash_and_refcount = tables.offset("Symbol", "_hash_and_refcount").map(|offset| offset + 2);
        Some(MethodLayout {
            size: tables.size_of("Method")?,
            const_method: tables.offset("Method", "_constMethod")?,
            access_flags: tables.offset("Method", "_access_flags")?,
            const_size: tables.size_of("ConstMethod")?,
            const_words: constant("_constMethod_size")?,
            const_flags: constant("_flags").or_else(|| constant("_flags._flags"))?,
            has_lines: bit("ConstMethod::_has_linenumber_table")
                .or_else(|| bit("ConstMethodFlags::_misc_has_linenumber_table"))?,
            constants: constant("_constants")?,
            code_size: constant("_code_size")?,
            name_index: constant("_name_index")?,
            pool_size: tables.size_of("ConstantPool")?,
            pool_length: tables.offset("ConstantPool", "_length")?,
            pool_holder: tables.offset("ConstantPool", "_pool_holder")?,
            class_name: tables.offset("Klass", "_name")?,
            symbol_length: tables.offset("Symbol", "_length")?,
            symbol_body: tables.offset("Symbol", "_body").or_else(|| tables.offset("Symbol", "_body[0]"))?,
            symbol_hash: hash_and_refcount.or_else(|| tables.offset("Symbol", "_identity_hash")),
            numbers,
            tested,
        })
    }

    /// Reads the names and the line of a method. `None`: it is no method, or `bci` is not in it.
    pub(super) fn describe<'a>(
        &self,
        scope: Scope,
        trust: Trust,
        pages: &Pages,
        buffer: &'a mut NameBuffer,
    ) -> Option<JavaFrame<'a>> {
        let memory = Memory { trust, tested: self.tested, pages };
        let const_method = memory.read::<usize>(scope.method, self.const_method)?;
        let native = memory.read::<u16>(scope.method, self.access_flags)? & ACC_NATIVE != 0;
        let code_size = memory.read::<u16>(const_method, self.code_size)?;
        if !native && scope.bci >= i32::from(code_size) {
            return None;
        }
        let constants = memory.read::<usize>(const_method, self.constants)?;
        let name_index = usize::from(memory.read::<u16>(const_method, self.name_index)?);
        let pool_length = usize::try_from(memory.read::<i32>(constants, self.pool_length)?).ok()?;
        if name_index == 0 || name_index >= pool_length {
            return None;
        }
        let name = memory.read::<usize>(constants, self.pool_size + 8 * name_index)?;
        let holder = memory.read::<usize>(constants, self.pool_holder)?;
        let class = memory.read::<usize>(holder, self.class_name)?;
        let line = if native { 0 } else { self.line(memory, const_method, code_size, scope.bci) };
        let kind = if native { FrameKind::NativeMethod } else { FrameKind::Method };
        let class = self.text(memory, class, &mut buffer.class)?;
        let method = self.text(memory, name, &mut buffer.method)?;
        Some(JavaFrame { class: names::folded(class), method, line, kind })
    }

    /// A number that changes when the method's memory holds another method: read plainly, for methods described before.
    #[inline]
    pub(super) fn identity(&self, method: usize, pages: &Pages) -> Option<u64> {
        let vouched = |start: usize, len: usize| pages.block(start, len);
        let method = vouched(method, self.size)?;
        let const_method = vouched(method.read(self.const_method)?, self.const_size)?;
        let name_index = usize::from(const_method.read::<u16>(self.name_index)?);
        let constants = vouched(const_method.read(self.constants)?, self.pool_size + 8 * (name_index + 1))?;
        let name = vouched(constants.read(self.pool_size + 8 * name_index)?, self.symbol_body)?;
        let holder = vouched(constants.read(self.pool_holder)?, self.class_name + 8)?;
        let class = vouched(holder.read(self.class_name)?, self.symbol_body)?;
        let hash = Hash::new().with(const_method.start() as u64).with(constants.start() as u64);
        let hash = hash.with(holder.start() as u64).with(name.start() as u64).with(class.start() as u64);
        Some(hash.with(u64::from(self.symbol_mark(name)?) << 32 | u64::from(self.symbol_mark(class)?)).finish())
    }

    /// Length and random hash of a symbol: all of its header but the reference count.
    #[inline]
    fn symbol_mark(&self, symbol: Block) -> Option<u32> {
        let hash = self.symbol_hash.and_then(|offset| symbol.read::<u16>(offset)).unwrap_or(0);
        Some(u32::from(symbol.read::<u16>(self.symbol_length)?) << 16 | u32::from(hash))
    }

    /// Where a method's bytecodes begin, and how many there are.
    #[inline]
    pub(super) fn bytecodes(&self, method: usize, trust: Trust, pages: &Pages) -> Option<(usize, u16)> {
        let memory = Memory { trust, tested: self.tested, pages };
        let const_method = memory.read::<usize>(method, self.const_method)?;
        Some((const_method.wrapping_add(self.const_size), memory.read::<u16>(const_method, self.code_size)?))
    }

    fn line(&self, memory: Memory<'_>, const_method: usize, code_size: u16, bci: i32) -> u32 {
        let flags = memory.read::<u16>(const_method, self.const_flags).unwrap_or(0);
        let words = memory.read::<i32>(const_method, self.const_words).and_then(|words| usize::try_from(words).ok());
        let first = const_method.wrapping_add(self.const_size).wrapping_add(code_size.into());
        let end = const_method.wrapping_add(8 * words.unwrap_or(0));
        if bci == NO_BCI || flags & self.has_lines == 0 || end <= first {
            return 0;
        }
        let mut bytes = Fetched { memory, next: first, end, chunk: [0; LINE_CHUNK], at: LINE_CHUNK };
        lines::line_of(bci.max(0), &mut bytes, self.numbers)
    }

    /// Copies a symbol's text, cut to the buffer.
    fn text<'a>(&self, memory: Memory<'_>, symbol: usize, into: &'a mut [u8]) -> Option<&'a [u8]> {
        let length = usize::from(memory.read::<u16>(symbol, self.symbol_length)?).min(into.len());
        let into = into.get_mut(..length)?;
        memory.copy(symbol.wrapping_add(self.symbol_body), into).then_some(&*into)
    }
}

/// The machine's metadata, of methods on the running stack.
#[derive(Clone, Copy, Debug)]
struct Memory<'a> {
    trust: Trust,
    pages: &'a Pages,
    /// Whether plain loads will do where the kernel refuses to copy: on releases that we have tested.
    tested: bool,
}

impl Memory<'_> {
    #[inline]
    fn read<T: Plain>(self, base: usize, offset: usize) -> Option<T> {
        let address = base.wrapping_add(offset);
        if self.trust != Trust::Proven {
            match memory::copy_value(address) {
                Err(Copied::Refused) if self.tested && self.trust == Trust::Checked => {}
                checked => return checked.ok(),
            }
        }
        self.pages.block(address, size_of::<T>())?.read(0)
    }

    fn copy(self, address: usize, into: &mut [u8]) -> bool {
        if self.trust != Trust::Proven {
            match memory::copy(address, into) {
                Copied::Refused if self.tested && self.trust == Trust::Checked => {}
                checked => return checked == Copied::Whole,
            }
        }
        let Some(block) = self.pages.block(address, into.len()) else { return false };
        into.iter_mut().zip(memory::Bytes::new(block, 0)).for_each(|(into, byte)| *into = byte);
        true
    }
}

/// Bytes that are fetched in chunks.
struct Fetched<'a> {
    memory: Memory<'a>,
    next: usize,
    end: usize,
    chunk: [u8; LINE_CHUNK],
    at: usize,
}

impl Iterator for Fetched<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.at == LINE_CHUNK {
            let length = LINE_CHUNK.min(self.end.saturating_sub(self.next));
            self.chunk = [0; LINE_CHUNK];
            if length == 0 || !self.memory.copy(self.next, self.chunk.get_mut(..length)?) {
                return None;
            }
            self.next += length;
            self.at = 0;
        }
        let byte = self.chunk.get(self.at).copied();
        self.at += 1;
        byte
    }
}
