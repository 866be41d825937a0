//! Frame description entries of `.eh_frame`: from a pc to the rule that its program sets up.
//!
//! Cold path, once for each new pc (`cache` keeps the rule). The format is DWARF 4, chapter 6.4, with
//! the differences of LSB Core, chapter 10.6.1. Only three columns are followed: frame pointer, return
//! address, stack pointer. What a rule cannot hold is refused with a reason, never approximated.
//! No allocation, no unsafe; the tables may be hostile.

use super::arch::cpu::Cpu;
use super::eh_frame_hdr::{self, Tables};
use super::program::{self, Context, Row};
use super::reader::{OMIT, Reader, Segment};
use super::refusal::Refusal;
use super::rule::Rule;
use super::windows::Windows;
use crate::tap::code_address::LookupAddress;

/// A common information entry, for all functions that refer to it.
struct Common<'a> {
    code_alignment: u64,
    data_alignment: i64,
    pointer_encoding: u8,
    has_augmentation_data: bool,
    is_signal: bool,
    program: Reader<'a>,
}

/// The function around a pc: its range and the programs that describe its frame.
pub(super) struct Entry<'a> {
    common: Common<'a>,
    /// First address of the function.
    pub(super) start: usize,
    /// One past its last address.
    pub(super) end: usize,
    program: Reader<'a>,
}

/// The rule for `pc` of an object with these tables.
pub(super) fn rule_for(tables: &Tables<'_>, pc: LookupAddress, cpu: &Cpu) -> Result<Rule, Refusal> {
    let pc = pc.address();
    match entry_around(tables, pc, cpu) {
        Ok(entry) => entry.rule(pc, cpu),
        // No call ends just before a function: `makecontext` planted this return address at a root.
        Err(Refusal::NoEntry) if starts_function(tables, pc + 1, cpu) => Ok(Rule::ROOT),
        Err(refusal) => Err(refusal),
    }
}

/// The same for tables that need not be there: they are read through the kernel. `header` is the address of
/// `.eh_frame_hdr`.
pub(super) fn rule_through(
    windows: &mut Windows,
    header: usize,
    pc: LookupAddress,
    cpu: &Cpu,
) -> Result<Rule, Refusal> {
    let pc = pc.address();
    match rule_by_windows(windows, header, pc, cpu) {
        Err(Refusal::NoEntry) => match entry_by_windows(windows, header, pc + 1, cpu) {
            Ok(entry) if entry.start == pc + 1 => Ok(Rule::ROOT),
            _ => Err(Refusal::NoEntry),
        },
        other => other,
    }
}

fn rule_by_windows(windows: &mut Windows, header: usize, pc: usize, cpu: &Cpu) -> Result<Rule, Refusal> {
    entry_by_windows(windows, header, pc, cpu)?.rule(pc, cpu)
}

/// The entry around `pc`, copied.
fn entry_by_windows<'a>(windows: &'a mut Windows, header: usize, pc: usize, cpu: &Cpu) -> Result<Entry<'a>, Refusal> {
    let address = eh_frame_hdr::entry_through(windows, header, pc)?;
    windows.load_entry(address)?;
    let [entry, _] = windows.entry();
    let common = common_address(record(entry, address)?)?;
    windows.load_common(common)?;
    let [entry, common] = windows.entry();
    around(entry_of(entry, common, address, cpu)?, pc)
}

fn entry_around<'a>(tables: &Tables<'a>, pc: usize, cpu: &Cpu) -> Result<Entry<'a>, Refusal> {
    around(entry_at(tables, tables.entry_for(pc)?, cpu)?, pc)
}

fn around(entry: Entry<'_>, pc: usize) -> Result<Entry<'_>, Refusal> {
    if entry.start <= pc && pc < entry.end { Ok(entry) } else { Err(Refusal::NoEntry) }
}

fn starts_function(tables: &Tables<'_>, pc: usize, cpu: &Cpu) -> bool {
    entry_around(tables, pc, cpu).is_ok_and(|entry| entry.start == pc)
}

/// Reads the entry at this address and what it has in common with others.
pub(super) fn entry_at<'a>(tables: &Tables<'a>, address: usize, cpu: &Cpu) -> Result<Entry<'a>, Refusal> {
    entry_of(tables.segment, tables.segment, address, cpu)
}

/// Where the record begins that an entry shares with others: the entry's first word is how far before that word.
fn common_address(mut body: Reader<'_>) -> Result<usize, Refusal> {
    let id_address = body.address();
    match body.u32().ok_or(Refusal::Truncated)? as usize {
        0 => Err(Refusal::Format),
        offset => Ok(id_address.wrapping_sub(offset)),
    }
}

/// The entry at `address` of one segment, whose common part lies in another.
fn entry_of<'a>(entry: Segment<'a>, common: Segment<'a>, address: usize, cpu: &Cpu) -> Result<Entry<'a>, Refusal> {
    let mut body = record(entry, address)?;
    let common = common_at(common, common_address(body)?, cpu)?;
    body.u32().ok_or(Refusal::Truncated)?;
    let start = body.pointer(common.pointer_encoding, 0).ok_or(Refusal::Format)?;
    let length = body.offset(common.pointer_encoding).ok_or(Refusal::Format)?;
    if common.has_augmentation_data {
        skip_sized(&mut body)?;
    }
    Ok(Entry { common, start, end: start.wrapping_add(length), program: body })
}

/// The bytes of the record at `address` behind its length. 64-bit lengths do not occur in `.eh_frame`.
fn record(segment: Segment<'_>, address: usize) -> Result<Reader<'_>, Refusal> {
    let mut reader = segment.reader_at(address).ok_or(Refusal::Truncated)?;
    match reader.u32().ok_or(Refusal::Truncated)? {
        0 | u32::MAX => Err(Refusal::Format),
        length => reader.take(length as usize).ok_or(Refusal::Truncated),
    }
}

fn skip_sized(reader: &mut Reader<'_>) -> Result<(), Refusal> {
    let length = reader.uleb().ok_or(Refusal::Truncated)?;
    reader.take(length as usize).map(|_| ()).ok_or(Refusal::Truncated)
}

fn common_at<'a>(segment: Segment<'a>, address: usize, cpu: &Cpu) -> Result<Common<'a>, Refusal> {
    let mut body = record(segment, address)?;
    let id = body.u32().ok_or(Refusal::Truncated)?;
    let version = body.u8().ok_or(Refusal::Truncated)?;
    if id != 0 || !matches!(version, 1 | 3) {
        return Err(Refusal::Format);
    }
    let letters = body.string().ok_or(Refusal::Truncated)?;
    let code_alignment = body.uleb().ok_or(Refusal::Truncated)?;
    let data_alignment = body.sleb().ok_or(Refusal::Truncated)?;
    let column = if version == 1 { body.u8().map(u64::from) } else { body.uleb() };
    if column != Some(cpu.return_address) {
        return Err(Refusal::Format);
    }
    let mut common = Common {
        code_alignment,
        data_alignment,
        pointer_encoding: 0,
        has_augmentation_data: false,
        is_signal: false,
        program: body,
    };
    augment(&mut common, letters)?;
    Ok(common)
}

/// Reads the augmentation that `letters` announce; `common.program` then starts behind it.
fn augment(common: &mut Common<'_>, letters: &[u8]) -> Result<(), Refusal> {
    let Some((first, letters)) = letters.split_first() else { return Ok(()) };
    if *first != b'z' {
        return Err(Refusal::Format);
    }
    let length = common.program.uleb().ok_or(Refusal::Truncated)?;
    let mut data = common.program.take(length as usize).ok_or(Refusal::Truncated)?;
    common.has_augmentation_data = true;
    for letter in letters {
        match letter {
            b'R' => common.pointer_encoding = data.u8().ok_or(Refusal::Truncated)?,
            b'S' => common.is_signal = true,
            b'L' => data.u8().map(|_| ()).ok_or(Refusal::Truncated)?,
            b'P' => personality(&mut data)?,
            // aarch64: return addresses signed with key B; memory tagging.
            b'B' | b'G' => {}
            _ => return Err(Refusal::Format),
        }
    }
    Ok(())
}

/// Skips the pointer to a personality routine.
fn personality(data: &mut Reader<'_>) -> Result<(), Refusal> {
    let encoding = data.u8().ok_or(Refusal::Truncated)?;
    if encoding == OMIT { Ok(()) } else { data.offset(encoding).map(|_| ()).ok_or(Refusal::Format) }
}

impl Entry<'_> {
    /// The rule at `pc`, which lies inside the function.
    pub(super) fn rule(&self, pc: usize, cpu: &Cpu) -> Result<Rule, Refusal> {
        let context = Context {
            code_alignment: self.common.code_alignment,
            data_alignment: self.common.data_alignment,
            pointer_encoding: self.common.pointer_encoding,
            pc,
            cpu,
        };
        let mut row = Row::new();
        // The common program has no locations; it must not stop at any.
        program::run(self.common.program, usize::MIN, &mut row, None, &context)?;
        let initial = row;
        program::run(self.program, self.start, &mut row, Some(&initial), &context)?;
        row.rule(self.common.is_signal, cpu)
    }
}
