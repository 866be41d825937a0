//! Java methods: the names and the line of a `Method*`, and an identity that tells when its memory is used anew.
//!
//! `Method` → `ConstMethod` → `ConstantPool` → holder `Klass` → `Symbol`. A `Method*` of an exactly unwound frame is alive, but
//! what is met for the first time is read through the kernel ([`describe`](MethodLayout::describe)): nothing proves yet that it *is* a `Method*`.
//! Later reads ([`identity`](MethodLayout::identity)) are plain loads. Nothing here allocates or locks.
//!
//! # Safety
//!
//! Plain reads are made only of methods that were described before and are on the running stack again.
#![allow(unsafe_code)]

use super::frame::{FrameKind, JavaFrame, MAX_CLASS, MAX_METHOD};
use super::hash::Hash;
use super::lines;
use super::memory::{self, Block, Copied, Plain};
use super::names;
use super::nmethod::Scope;
use super::unsigned5::Unsigned5;
use super::vmstructs::VmStructs;

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
    checked: bool,
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
    /// `checked`: whether the kernel lets us read through it.
    pub(super) fn derive(tables: &VmStructs, numbers: Unsigned5, checked: bool) -> Option<MethodLayout> {
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
            checked,
        })
    }

    /// Reads the names and the line of a method that nothing is known of yet. `None`: it is no method, or `bci` is not in it.
    pub(super) fn describe<'a>(&self, scope: Scope, buffer: &'a mut NameBuffer) -> Option<JavaFrame<'a>> {
        let const_method = self.fetch::<usize>(scope.method + self.const_method)?;
        let native = self.fetch::<u16>(scope.method + self.access_flags)? & ACC_NATIVE != 0;
        let code_size = self.fetch::<u16>(const_method + self.code_size)?;
        if !native && scope.bci >= i32::from(code_size) {
            return None;
        }
        let constants = self.fetch::<usize>(const_method + self.constants)?;
        let name_index = usize::from(self.fetch::<u16>(const_method + self.name_index)?);
        let pool_length = usize::try_from(self.fetch::<i32>(constants + self.pool_length)?).ok()?;
        if name_index == 0 || name_index >= pool_length {
            return None;
        }
        let name = self.fetch::<usize>(constants + self.pool_size + 8 * name_index)?;
        let holder = self.fetch::<usize>(constants + self.pool_holder)?;
        let class = self.fetch::<usize>(holder + self.class_name)?;
        let line = if native { 0 } else { self.line(const_method, code_size, scope.bci) };
        let kind = if native { FrameKind::NativeMethod } else { FrameKind::Method };
        let (class, method) = (self.text(class, &mut buffer.class)?, self.text(name, &mut buffer.method)?);
        Some(JavaFrame { class: names::folded(class), method, line, kind })
    }

    /// A number that changes when the method's memory holds another method: read plainly, for methods described before.
    #[inline]
    pub(super) fn identity(&self, method: usize) -> Option<u64> {
        let method = self.vouched(method, self.size)?;
        let const_method = self.vouched(method.read(self.const_method)?, self.const_size)?;
        let name_index = usize::from(const_method.read::<u16>(self.name_index)?);
        let constants = self.vouched(const_method.read(self.constants)?, self.pool_size + 8 * (name_index + 1))?;
        let name = self.vouched(constants.read(self.pool_size + 8 * name_index)?, self.symbol_body)?;
        let holder = self.vouched(constants.read(self.pool_holder)?, self.class_name + 8)?;
        let class = self.vouched(holder.read(self.class_name)?, self.symbol_body)?;
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

    /// The code behind a method's constant part: where its bytecodes begin.
    pub(super) fn bytecodes(&self, method: usize) -> Option<(usize, u16)> {
        let const_method = self.fetch::<usize>(method + self.const_method)?;
        Some((const_method + self.const_size, self.fetch::<u16>(const_method + self.code_size)?))
    }

    /// The same for a method described before, by plain loads.
    #[inline]
    pub(super) fn known_bytecodes(&self, method: usize) -> Option<(usize, u16)> {
        let const_method = self.vouched(method, self.size)?.read(self.const_method)?;
        let const_method = self.vouched(const_method, self.const_size)?;
        Some((const_method.start() + self.const_size, const_method.read(self.code_size)?))
    }

    fn line(&self, const_method: usize, code_size: u16, bci: i32) -> u32 {
        let flags = self.fetch::<u16>(const_method + self.const_flags).unwrap_or(0);
        let words = self.fetch::<i32>(const_method + self.const_words).and_then(|words| usize::try_from(words).ok());
        let first = const_method + self.const_size + usize::from(code_size);
        let end = const_method + 8 * words.unwrap_or(0);
        if flags & self.has_lines == 0 || end <= first {
            return 0;
        }
        let mut bytes = Fetched { layout: self, next: first, end, chunk: [0; LINE_CHUNK], at: LINE_CHUNK };
        lines::line_of(bci.max(0), &mut bytes, self.numbers)
    }

    /// Copies a symbol's text, cut to the buffer.
    fn text<'a>(&self, symbol: usize, into: &'a mut [u8]) -> Option<&'a [u8]> {
        let length = usize::from(self.fetch::<u16>(symbol + self.symbol_length)?).min(into.len());
        let into = into.get_mut(..length)?;
        self.fetch_bytes(symbol + self.symbol_body, into).then_some(&*into)
    }

    fn fetch<T: Plain>(&self, address: usize) -> Option<T> {
        if self.checked {
            return memory::copy_value(address).ok();
        }
        self.vouched(address, size_of::<T>())?.read(0)
    }

    fn fetch_bytes(&self, address: usize, into: &mut [u8]) -> bool {
        if self.checked {
            return memory::copy(address, into) == Copied::Whole;
        }
        let Some(block) = self.vouched(address, into.len()) else { return false };
        into.iter_mut().zip(memory::Bytes::new(block, 0)).for_each(|(into, byte)| *into = byte);
        true
    }

    /// Metadata of a live method. Addresses of the first page and beyond user space are never metadata.
    #[inline]
    fn vouched(&self, start: usize, len: usize) -> Option<Block> {
        let plausible = (4096..1 << 48).contains(&start);
        // SAFETY: the method is on the running stack, so it and what it points to are alive; it has been proven to be a
        // method by a checked read, or (`checked` unset) the kernel refuses and the release is one we have tested.
        plausible.then(|| unsafe { Block::vouched(start, len) })
    }
}

/// Bytes that are fetched in chunks.
struct Fetched<'a> {
    layout: &'a MethodLayout,
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
            if length == 0 || !self.layout.fetch_bytes(self.next, self.chunk.get_mut(..length)?) {
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
