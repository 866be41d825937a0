//! One running HotSpot: everything about it that does not change after its start.
//!
//! Built once from its layout, by the thread that meets the first pc without an ELF object; at that moment
//! the interpreter and the code cache exist by construction. Nothing here allocates but its two cache mappings.

use super::blob::BlobLayout;
use super::cache::Cache;
use super::continuation::Continuations;
use super::heap::CodeHeaps;
use super::holdings::Holdings;
use super::image::Image;
use super::interpreter::Interpreter;
use super::memory::{self, Block, Copied};
use super::method::MethodLayout;
use super::nmethod::NmethodLayout;
use super::quirks;
use super::thread::ThreadLayout;
use super::unsigned5::Unsigned5;
use super::vmstructs::{self, Source, VmStructs};
use crate::tap::code_address::ReturnAddress;
use crate::tap::errand::Errand;

/// Why there is no machine to walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// No `libjvm.so` is loaded, or it has not come far enough: ask again later.
    NotYet,
    /// Its layout is not known: never ask again.
    Unknown,
}

/// A virtual machine that can be walked.
#[derive(Debug)]
pub(super) struct Machine {
    /// Feature release: 8, 11, 17, …
    pub(super) release: i32,
    /// Who says where its fields lie.
    pub(super) source: Source,
    /// The bytes of `libjvm.so`.
    pub(super) image: Block,
    pub(super) code: CodeHeaps,
    pub(super) blobs: BlobLayout,
    pub(super) nmethods: NmethodLayout,
    pub(super) methods: MethodLayout,
    pub(super) interpreter: Interpreter,
    /// Where the stub by which C++ calls Java returns to.
    pub(super) call_stub_return: ReturnAddress,
    /// Absent: stacks that the native unwinder loses are not picked up again.
    pub(super) threads: Option<ThreadLayout>,
    /// Where virtual threads are entered.
    pub(super) continuations: Continuations,
    /// Absent: where its memory lies is not told.
    pub(super) holdings: Option<Holdings>,
    pub(super) cache: Cache,
}

impl Machine {
    /// Finds and understands the machine of this process.
    pub(super) fn find(errand: &Errand) -> Result<Machine, Unfit> {
        let image = Image::find(errand).filter(vmstructs::are_filled).ok_or(Unfit::NotYet)?;
        match Machine::understand(&image, Source::Exported) {
            Err(Unfit::Unknown) => Machine::understand(&image, Source::BuildId),
            understood => understood,
        }
    }

    /// The same by one source of its layout.
    fn understand(image: &Image, source: Source) -> Result<Machine, Unfit> {
        let tables = VmStructs::open(image, source).ok_or(Unfit::Unknown)?;
        let vm = image.memory();
        // Before it has its stubs, nothing else that it says of itself is taken for its last word.
        let call_stub = tables.address("StubRoutines", "_call_stub_return_address").ok_or(Unfit::Unknown)?;
        let call_stub_return =
            vm.read_at(call_stub).map(ReturnAddress::new).filter(|pc| !pc.is_zero()).ok_or(Unfit::NotYet)?;
        let release = release(&tables, vm).ok_or(Unfit::Unknown)?;
        let quirks = quirks::of_release(release).ok_or(Unfit::Unknown)?;
        let numbers = Unsigned5::with_lowest(quirks.lowest_digit);
        let tested = quirks::TESTED.contains(&release);
        if !tested && memory::copy(vm.start(), &mut [0_u8; 8]) == Copied::Refused {
            return Err(Unfit::Unknown);
        }
        Ok(Machine {
            holdings: Holdings::derive(&tables, vm),
            release,
            source,
            image: vm,
            blobs: BlobLayout::derive(&tables, vm).ok_or(Unfit::Unknown)?,
            nmethods: NmethodLayout::derive(&tables, numbers).ok_or(Unfit::Unknown)?,
            methods: MethodLayout::derive(&tables, numbers, tested).ok_or(Unfit::Unknown)?,
            code: CodeHeaps::find(&tables, vm).ok_or(Unfit::NotYet)?,
            interpreter: Interpreter::find(&tables, vm, &quirks).ok_or(Unfit::NotYet)?,
            call_stub_return,
            threads: ThreadLayout::derive(&tables),
            continuations: Continuations::new(),
            cache: Cache::new().ok_or(Unfit::NotYet)?,
        })
    }
}

/// The feature release. JDK 8 calls itself HotSpot 25, and is the last with a single code heap.
fn release(tables: &VmStructs, vm: Block) -> Option<i32> {
    if tables.address("CodeCache", "_heap").is_some() {
        return Some(8);
    }
    vm.read_at::<i32>(tables.address("Abstract_VM_Version", "_vm_major_version")?)
}
