//! HotSpot's tables and debug records, in memory that an input fills.

#[path = "../../src/tap/jvm/blob.rs"]
mod blob;
#[path = "../../src/tap/jvm/frame.rs"]
mod frame;
#[path = "../../src/tap/jvm/heap.rs"]
mod heap;
#[path = "../../src/tap/jvm/known.rs"]
mod known;
#[path = "../../src/tap/jvm/lines.rs"]
mod lines;
#[path = "../../src/tap/jvm/memory.rs"]
mod memory;
#[path = "../../src/tap/jvm/method.rs"]
mod method;
#[path = "../../src/tap/jvm/names.rs"]
mod names;
#[path = "../../src/tap/jvm/nmethod.rs"]
mod nmethod;
#[path = "../../src/tap/jvm/unsigned5.rs"]
mod unsigned5;
#[path = "../../src/tap/jvm/vmstructs.rs"]
mod vmstructs;

/// The bytes of a machine; its exported variables are its first words.
pub(crate) mod image {
    use super::memory::Block;

    pub(crate) struct Image(pub(super) Block);

    /// The name of a build, as the table of builds knows it.
    pub(crate) struct BuildId([u8; 20]);

    impl BuildId {
        pub(super) fn bytes(&self) -> &[u8] {
            &self.0
        }
    }

    impl Image {
        pub(super) fn memory(&self) -> Block {
            self.0
        }

        pub(super) fn bias(&self) -> usize {
            self.0.start()
        }

        /// The build that the first byte chooses: its layout, laid over bytes that another build might have.
        pub(super) fn build_id(&self) -> Option<BuildId> {
            let builds = include_str!("../../src/tap/jvm/layouts.txt").lines().filter_map(|line| {
                let mut words = line.strip_prefix("build ")?.split(' ');
                words.next().zip(words.next()).filter(|(_, machine)| *machine == "x86_64")
            });
            let (digits, _) = builds.cycle().nth(self.0.read::<u8>(0)?.into())?;
            let byte = |at: usize| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok();
            Some(BuildId(std::array::from_fn(|at| byte(at).expect("twenty bytes of hexadecimal digits"))))
        }

        pub(super) fn symbol(&self, name: &[u8]) -> Option<usize> {
            let place = SYMBOLS.iter().position(|symbol| symbol.as_bytes() == name)?;
            Some(self.0.start() + 8 * place)
        }
    }

    const SYMBOLS: [&str; 16] = [
        "gHotSpotVMStructs",
        "gHotSpotVMStructEntryArrayStride",
        "gHotSpotVMStructEntryTypeNameOffset",
        "gHotSpotVMStructEntryFieldNameOffset",
        "gHotSpotVMStructEntryTypeStringOffset",
        "gHotSpotVMStructEntryIsStaticOffset",
        "gHotSpotVMStructEntryOffsetOffset",
        "gHotSpotVMStructEntryAddressOffset",
        "gHotSpotVMTypes",
        "gHotSpotVMTypeEntryArrayStride",
        "gHotSpotVMTypeEntryTypeNameOffset",
        "gHotSpotVMTypeEntrySizeOffset",
        "gHotSpotVMIntConstants",
        "gHotSpotVMIntConstantEntryArrayStride",
        "gHotSpotVMIntConstantEntryNameOffset",
        "gHotSpotVMIntConstantEntryValueOffset",
    ];
}

use super::code_address::ReturnAddress;
use memory::{Block, Pages};
use method::{NameBuffer, Trust};
use unsigned5::Unsigned5;
use vmstructs::{Source, VmStructs};

/// Understands a machine whose bytes begin at `start`, and walks what it holds.
///
/// # Safety
/// The bytes must be readable while this runs.
pub(crate) unsafe fn machine(start: usize, len: usize) {
    // SAFETY: the caller's promise.
    let memory = unsafe { Block::vouched(start, len) };
    let image = image::Image(memory);
    let tables = VmStructs::open(&image, Source::Exported).or_else(|| VmStructs::open(&image, Source::BuildId));
    let Some(tables) = tables else { return };
    let numbers = Unsigned5::with_lowest((len / 8 % 2) as u8);
    let _ = tables.int("frame::entry_frame_call_wrapper_offset");
    let pages = Pages::new();
    let pcs = (start..start + len).step_by(61);
    if let Some(methods) = method::MethodLayout::derive(&tables, numbers, true) {
        for at in (start..start + len).step_by(64) {
            let scope = nmethod::Scope { method: at, bci: (at % 7) as i32 - 1 };
            for trust in [Trust::Checked, Trust::Guessed, Trust::Proven] {
                let _ = methods.describe(scope, trust, &pages, &mut NameBuffer::new());
                let _ = methods.bytecodes(at, trust, &pages);
            }
            let _ = methods.identity(at, &pages);
        }
    }
    let blobs = blob::BlobLayout::derive(&tables, memory);
    let nmethods = nmethod::NmethodLayout::derive(&tables, numbers);
    let heaps = heap::CodeHeaps::find(&tables, memory);
    let (Some(blobs), Some(nmethods)) = (blobs, nmethods) else { return };
    for pc in pcs {
        let found = heaps.as_ref().and_then(|heaps| heaps.blob_at(pc));
        let Some(blob) = found.or_else(|| memory.rest((pc - start) & !7)) else { continue };
        let _ = (blobs.kind(blob), blobs.frame_bytes(blob), blobs.deoptimises(blob));
        let Some(code) = blobs.code_begin(blob) else { continue };
        let nmethod = nmethod::Nmethod::new(blob, code, &nmethods);
        let _ = (nmethod.is_deopt_handler(ReturnAddress::new(pc)), nmethod.orig_pc_offset(), nmethod.compile_id());
        for offset in 0..8 {
            let Some(record) = nmethod.scopes_at(ReturnAddress::new(code.wrapping_add(offset)), &pages) else {
                continue;
            };
            assert!(nmethod.scopes(record, &pages).into_iter().flatten().count() <= 128, "scopes without end");
        }
    }
}
