//! Every row of every table of large libraries, against an independent reading of the same bytes (gimli).
//!
//! For each row our rule is applied to a made-up stack, and gimli's row is evaluated on the same one:
//! CFA, return address and frame pointer must come out equal, or our refusal must have a reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, Encoding, Evaluation, EvaluationResult, Expression,
    FrameDescriptionEntry, LittleEndian, Location, Register, RegisterRule, UnwindContext, UnwindExpression,
    UnwindSection, UnwindTableRow, Value,
};

use crate::tap::code_address::{LookupAddress, ReturnAddress};
use crate::tap::stack::{Registers, StackBounds};
use crate::tap::unwind::arch::cpu::{AARCH64, Cpu, X86_64};
use crate::tap::unwind::cfi;
use crate::tap::unwind::eh_frame_hdr::Tables;
use crate::tap::unwind::elf;
use crate::tap::unwind::reader::Segment;
use crate::tap::unwind::refusal::Refusal;
use crate::tap::unwind::rule::{Rule, Step, Words};
use crate::wire::elf::{Header, Segments};

type Slice<'a> = gimli::EndianSlice<'a, LittleEndian>;

/// Words of the made-up stack.
const WORDS: usize = 1 << 18;

/// A made-up stack: every word is the address of a word in its upper half, so that loaded frame
/// addresses are plausible ones; the stack pointer is low in it, the frame pointer above.
struct Scene {
    words: Vec<usize>,
    at: Registers,
    bounds: StackBounds,
    cpu: Cpu,
}

/// What stands in the link register of the scene.
const LINK: usize = 0x7777;

impl Scene {
    fn new(cpu: Cpu) -> Scene {
        let mut words = vec![0; WORDS];
        let low = words.as_ptr() as usize;
        for (index, word) in words.iter_mut().enumerate() {
            *word = low + (WORDS / 2 + index.wrapping_mul(40_503) % (WORDS / 2)) * 8;
        }
        let at = Registers { pc: ReturnAddress::ZERO, sp: low + WORDS / 8 * 8, fp: low + WORDS / 3 * 8 };
        Scene { words, at, bounds: StackBounds { low, high: low + WORDS * 8 }, cpu }
    }

    fn word(&self, address: u64) -> Option<u64> {
        let offset = address.checked_sub(self.bounds.low as u64)?;
        self.words.get(offset as usize / 8).filter(|_| offset % 8 == 0).map(|word| *word as u64)
    }

    fn register(&self, register: Register, pc: u64) -> Option<u64> {
        match u64::from(register.0) {
            number if number == self.cpu.stack_pointer => Some(self.at.sp as u64),
            number if number == self.cpu.frame_pointer => Some(self.at.fp as u64),
            number if number == self.cpu.return_address && !self.cpu.has_link_register => Some(pc),
            _ => None,
        }
    }

    /// The value of an expression; `None`: it needs a register or memory that the scene has not.
    fn evaluate(&self, expression: Expression<Slice<'_>>, cfa: Option<u64>, pc: u64) -> Option<u64> {
        let encoding = Encoding { address_size: 8, format: gimli::Format::Dwarf32, version: 4 };
        let mut evaluation: Evaluation<Slice<'_>> = expression.evaluation(encoding);
        if let Some(cfa) = cfa {
            evaluation.set_initial_value(cfa);
        }
        let mut state = evaluation.evaluate().ok()?;
        loop {
            state = match state {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    evaluation.resume_with_register(Value::Generic(self.register(register, pc)?)).ok()?
                }
                EvaluationResult::RequiresMemory { address, .. } => {
                    evaluation.resume_with_memory(Value::Generic(self.word(address)?)).ok()?
                }
                _ => return None,
            };
        }
        match evaluation.result().first()?.location {
            Location::Address { address } => Some(address),
            _ => None,
        }
    }
}

/// A library's file and what gimli needs to read its tables.
struct Library {
    bytes: Vec<u8>,
    segment: elf::Range,
    file_offset: usize,
    header: usize,
    cpu: Cpu,
}

impl Library {
    fn open(path: &Path) -> Option<Library> {
        let bytes = std::fs::read(path).ok()?;
        let segments = Segments::of_object(&bytes)?;
        let header = elf::eh_frame_header(segments, 0)?;
        let segment = elf::segment_of(segments, 0, header)?;
        let load = segments.loaded().find(|load| load.address as usize == segment.start)?;
        let cpu = if Header::read(&bytes).ok()?.machine == libc::EM_AARCH64 { AARCH64 } else { X86_64 };
        let file_offset = load.offset as usize;
        Some(Library { file_offset, bytes, segment, header, cpu })
    }

    fn bytes_from(&self, address: usize) -> &[u8] {
        let start = self.file_offset + address - self.segment.start;
        &self.bytes[start..self.file_offset + self.segment.end - self.segment.start]
    }

    fn tables(&self) -> Tables<'_> {
        let segment = Segment { bytes: self.bytes_from(self.segment.start), address: self.segment.start };
        Tables { segment, header: self.header }
    }
}

/// What gimli says that the caller's registers are; `None`: by means that no walk has.
enum Expected {
    Caller(Registers),
    Root,
    Beyond,
}

fn saved(
    scene: &Scene,
    rule: RegisterRule<usize>,
    cfa: u64,
    pc: u64,
    same: u64,
    section: &EhFrame<Slice<'_>>,
) -> Option<u64> {
    let expression = |unwind: UnwindExpression<usize>| unwind.get(section).ok();
    match rule {
        RegisterRule::Undefined | RegisterRule::SameValue => Some(same),
        RegisterRule::Offset(offset) => scene.word(cfa.wrapping_add_signed(offset)),
        RegisterRule::ValOffset(offset) => Some(cfa.wrapping_add_signed(offset)),
        RegisterRule::Expression(unwind) => {
            scene.evaluate(expression(unwind)?, Some(cfa), pc).and_then(|address| scene.word(address))
        }
        RegisterRule::ValExpression(unwind) => scene.evaluate(expression(unwind)?, Some(cfa), pc),
        _ => None,
    }
}

fn expected(scene: &Scene, row: &UnwindTableRow<usize>, pc: u64, section: &EhFrame<Slice<'_>>) -> Expected {
    let said = |number: u64| {
        row.registers().find(|(register, _)| u64::from(register.0) == number).map(|(_, rule)| rule.clone())
    };
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => scene
            .register(*register, pc)
            .filter(|_| u64::from(register.0) != scene.cpu.return_address)
            .map(|base| base.wrapping_add_signed(*offset)),
        CfaRule::Expression(unwind) => unwind.get(section).ok().and_then(|code| scene.evaluate(code, None, pc)),
    };
    let Some(cfa) = cfa else { return Expected::Beyond };
    let unsaid = if scene.cpu.has_link_register { RegisterRule::SameValue } else { RegisterRule::Undefined };
    let return_rule = said(scene.cpu.return_address).unwrap_or(unsaid);
    if return_rule == RegisterRule::Undefined {
        return Expected::Root;
    }
    let frame_rule = said(scene.cpu.frame_pointer).unwrap_or(RegisterRule::SameValue);
    let stack_rule = said(scene.cpu.stack_pointer).unwrap_or(RegisterRule::ValOffset(0));
    let find = |rule, same| saved(scene, rule, cfa, pc, same, section).map(|value| value as usize);
    let found = (find(return_rule, LINK as u64), find(frame_rule, scene.at.fp as u64), find(stack_rule, 0));
    match found {
        (Some(pc), Some(fp), Some(sp)) => Expected::Caller(Registers { pc: ReturnAddress::new(pc), sp, fp }),
        _ => Expected::Beyond,
    }
}

/// What a sweep over one library found.
#[derive(Default, Debug)]
struct Count {
    rows: usize,
    refused: BTreeMap<Refusal, usize>,
    off_scene: usize,
    wrong: Vec<String>,
}

impl Count {
    fn row(&mut self, scene: &Scene, library: &Library, row: &UnwindTableRow<usize>, section: &EhFrame<Slice<'_>>) {
        for pc in [row.start_address(), row.end_address() - 1] {
            self.rows += 1;
            let expected = expected(scene, row, pc, section);
            match cfi::rule_for(&library.tables(), LookupAddress::inside(pc as usize), &library.cpu) {
                Ok(rule) => self.compare(scene, rule, &expected, pc),
                Err(refusal) => self.refuse(refusal, &expected, pc),
            }
        }
    }

    fn compare(&mut self, scene: &Scene, rule: Rule, expected: &Expected, pc: u64) {
        let is_right = match (rule.step(&scene.at, &mut Words::within(&scene.bounds), LINK), expected) {
            (Step::Caller(ours), Expected::Caller(theirs)) => ours == *theirs,
            (Step::Root, Expected::Root) => true,
            // The made-up stack is too small for this frame, or the frame lies below its own stack pointer.
            (Step::Outside(_), Expected::Beyond | Expected::Caller(_)) => {
                self.off_scene += 1;
                true
            }
            _ => false,
        };
        if !is_right {
            self.wrong.push(format!("{pc:#x}: {rule:?}"));
        }
    }

    /// A refusal is right unless gimli finds everything in the registers that a walk has. (On aarch64 large
    /// frames are too wide: their return address is saved at the far end, up to 16 KiB from the CFA.)
    fn refuse(&mut self, refusal: Refusal, expected: &Expected, pc: u64) {
        *self.refused.entry(refusal).or_default() += 1;
        if refusal != Refusal::TooWide && matches!(expected, Expected::Caller(_) | Expected::Root) {
            self.wrong.push(format!("{pc:#x}: refused, {refusal:?}"));
        }
    }
}

fn sweep(path: &Path) -> Option<Count> {
    let library = Library::open(path)?;
    let bases = BaseAddresses::default().set_eh_frame_hdr(library.header as u64);
    let header = EhFrameHdr::new(library.bytes_from(library.header), LittleEndian).parse(&bases, 8).ok()?;
    let gimli::Pointer::Direct(start) = header.eh_frame_ptr() else { return None };
    let bases = bases.set_eh_frame(start);
    let mut section = EhFrame::new(library.bytes_from(start as usize), LittleEndian);
    if library.cpu == AARCH64 {
        section.set_vendor(gimli::Vendor::AArch64);
    }
    let (scene, mut count, mut context) = (Scene::new(library.cpu), Count::default(), UnwindContext::new());
    let mut entries = section.entries(&bases);
    while let Ok(Some(entry)) = entries.next() {
        let gimli::CieOrFde::Fde(partial) = entry else { continue };
        let entry: FrameDescriptionEntry<Slice<'_>> = partial.parse(EhFrame::cie_from_offset).ok()?;
        if u64::from(entry.cie().return_address_register().0) != library.cpu.return_address {
            // One function of aarch64's libc; our reading says `Format`.
            continue;
        }
        let mut rows = entry.rows(&section, &bases, &mut context).ok()?;
        while let Ok(Some(row)) = rows.next_row() {
            if row.start_address() < row.end_address() {
                count.row(&scene, &library, row, &section);
            }
        }
    }
    Some(count)
}

/// Checks a library if this system has it.
fn check(path: &Path, rows: usize) {
    let Some(count) = sweep(path) else { return };
    println!("{}: {} rows, refused {:?}, off scene {}", path.display(), count.rows, count.refused, count.off_scene);
    assert!(count.wrong.is_empty(), "{} wrong: {:#?}", count.wrong.len(), &count.wrong[..count.wrong.len().min(20)]);
    assert!(count.rows > rows, "{} rows", count.rows);
    let refused: usize = count.refused.values().sum();
    assert!(refused * 100 < count.rows, "more than one in a hundred refused: {:?}", count.refused);
}

fn system(name: &str) -> PathBuf {
    let directories = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64"];
    directories
        .map(|directory| Path::new(directory).join(name))
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_default()
}

#[test]
fn every_row_of_libc_is_a_rule_or_refused_with_a_reason() {
    check(&system("libc.so.6"), 30_000);
    check(&system("ld-linux-x86-64.so.2"), 1000);
}

#[test]
fn every_row_of_the_cpp_runtime_is_a_rule_or_refused_with_a_reason() {
    check(&system("libstdc++.so.6"), 30_000);
    check(&system("libgcc_s.so.1"), 500);
}

#[test]
fn every_row_of_our_own_code_is_a_rule_or_refused_with_a_reason() {
    check(&std::env::current_exe().expect("has a path"), 10_000);
}

/// Where a cross compiler for aarch64 is installed, its libraries are read as any others.
#[test]
fn every_row_of_aarch64_libraries_is_a_rule_or_refused_with_a_reason() {
    for name in ["libc.so.6", "ld-linux-aarch64.so.1", "libstdc++.so.6", "libgcc_s.so.1"] {
        check(&Path::new("/usr/aarch64-linux-gnu/lib").join(name), 500);
    }
}

/// Minutes in a debug build: run it by `--ignored` where a JVM, node or OpenSSL is installed.
#[test]
#[ignore = "large"]
fn every_row_of_large_programs_is_a_rule_or_refused_with_a_reason() {
    let machines = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    for machine in machines {
        check(&machine.path().join("lib/server/libjvm.so"), 100_000);
    }
    for name in ["libcrypto.so.3", "libpython3.11.so.1.0", "libnode.so.108", "libLLVM-14.so.1"] {
        check(&system(name), 10_000);
    }
    check(Path::new("/usr/bin/node"), 10_000);
    check(Path::new("/usr/bin/python3"), 10_000);
}
