//! Compiled methods: from an exact return address to the Java methods that were compiled into it.
//!
//! For each call the compiler leaves a `PcDesc` (sorted by pc) that points into a stream of scopes: the innermost
//! inlined method with its bytecode index, then its caller, and so on (`share/code/pcDesc.hpp`, `scopeDesc.cpp`). Only
//! an *exact* pc counts: what a compiler says of a neighbouring pc is another point of the program. Nothing here
//! allocates or locks; all is read from the method on the running stack, which cannot be freed, nor can its side tables
//! (JDK 23 and later keep them outside the code cache).

use super::memory::{Block, Bytes, Pages};
use super::unsigned5::Unsigned5;
use super::vmstructs::VmStructs;
use crate::tap::code_address::ReturnAddress;

/// Bytecode indices are stored one higher, so that "before the first bytecode" is not negative.
const INVOCATION_ENTRY_BCI: i32 = -1;
/// Inlined methods in one frame before we call the stream damaged (HotSpot's own limit is 15 levels).
const MANY_SCOPES: usize = 128;

/// Where a table of an nmethod begins.
#[derive(Clone, Copy, Debug)]
enum PartStart {
    /// At an offset (stored in the field) from the blob.
    InBlob(usize),
    /// At the pointer stored in the field, into the blob.
    Pointer(usize),
    /// At an offset (stored in the field) into the immutable data.
    InImmutable(usize),
    /// At a short offset (stored in the second field) from the data section, whose offset stands in the first.
    InData(usize, usize),
    /// Behind the relocations (whose size stands in the field) in the mutable data.
    InMutable(usize),
}

/// Where the fields of an nmethod stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct NmethodLayout {
    method: usize,
    /// Where, from its blob on, the number of a compilation stands.
    pub(super) compile_id: usize,
    pcs: PartStart,
    pcs_end: PartStart,
    scopes: PartStart,
    metadata: PartStart,
    immutable: Option<(usize, usize)>,
    mutable: Option<(usize, usize)>,
    deopt_handlers: [Option<PartStart>; 2],
    orig_pc: usize,
    pc_desc_size: usize,
    pc_desc_pc: usize,
    pc_desc_scope: usize,
    numbers: Unsigned5,
}

impl NmethodLayout {
    pub(super) fn derive(tables: &VmStructs, numbers: Unsigned5) -> Option<NmethodLayout> {
        let own = |field| tables.offset("nmethod", field);
        let own_or_compiled = |field| own(field).or_else(|| tables.offset("CompiledMethod", field));
        let pair = |object, first, second| tables.offset(object, first).zip(tables.offset(object, second));
        let immutable = pair("nmethod", "_immutable_data", "_immutable_data_size");
        let mutable = pair("CodeBlob", "_mutable_data", "_mutable_data_size");
        let side = |field| if immutable.is_some() { PartStart::InImmutable(field) } else { PartStart::InBlob(field) };
        let scopes = match own_or_compiled("_scopes_data_begin") {
            Some(field) => PartStart::Pointer(field),
            None => side(own("_scopes_data_offset")?),
        };
        let pcs_end = if immutable.is_some() { "_scopes_data_offset" } else { "_dependencies_offset" };
        Some(NmethodLayout {
            method: own_or_compiled("_method")?,
            compile_id: own("_compile_id")?,
            pcs: side(own("_scopes_pcs_offset")?),
            pcs_end: side(own(pcs_end)?),
            scopes,
            metadata: metadata_place(tables, mutable.is_some())?,
            immutable,
            mutable,
            deopt_handlers: deopt_handlers(tables),
            orig_pc: own("_orig_pc_offset")?,
            pc_desc_size: tables.size_of("PcDesc").filter(|&size| size > 0)?,
            pc_desc_pc: tables.offset("PcDesc", "_pc_offset")?,
            pc_desc_scope: tables.offset("PcDesc", "_scope_decode_offset")?,
            numbers,
        })
    }
}

fn metadata_place(tables: &VmStructs, mutable: bool) -> Option<PartStart> {
    if mutable {
        return tables.offset("CodeBlob", "_relocation_size").map(PartStart::InMutable);
    }
    let field = tables.offset("nmethod", "_metadata_offset")?;
    Some(match tables.is_of_type("nmethod", "_metadata_offset", "u2") {
        true => PartStart::InData(tables.offset("CodeBlob", "_data_offset")?, field),
        false => PartStart::InBlob(field),
    })
}

/// The handlers that return addresses of deoptimised frames are patched to: plain calls, method handle calls.
fn deopt_handlers(tables: &VmStructs) -> [Option<PartStart>; 2] {
    let offset = |field| tables.offset("nmethod", field).map(PartStart::InBlob);
    let pointer = |field| tables.offset("CompiledMethod", field).map(PartStart::Pointer);
    [
        pointer("_deopt_handler_begin")
            .or_else(|| offset("_deopt_handler_offset"))
            .or_else(|| offset("_deopt_handler_entry_offset"))
            .or_else(|| offset("_deoptimize_offset")),
        pointer("_deopt_mh_handler_begin")
            .or_else(|| offset("_deopt_mh_handler_offset"))
            .or_else(|| offset("_deoptimize_mh_offset")),
    ]
}

/// Where the scopes of one exact pc begin in their stream; 0: the compiler left none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScopesAt(u32);

/// A method and a point in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// The `Method*`.
    pub(super) method: usize,
    /// The bytecode index; negative before the first bytecode.
    pub(super) bci: i32,
}

/// One compiled method, or the wrapper of a native one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nmethod<'a> {
    blob: Block,
    code_begin: usize,
    layout: &'a NmethodLayout,
}

impl<'a> Nmethod<'a> {
    /// The nmethod in `blob`, whose code begins at `code_begin`.
    pub(super) fn new(blob: Block, code_begin: usize, layout: &'a NmethodLayout) -> Nmethod<'a> {
        Nmethod { blob, code_begin, layout }
    }

    /// The outermost method that was compiled here.
    #[inline]
    pub(super) fn method(&self) -> Option<usize> {
        self.blob.read::<usize>(self.layout.method)
    }

    /// A number that no other compilation in this process has.
    #[inline]
    pub(super) fn compile_id(&self) -> Option<u32> {
        self.blob.read::<u32>(self.layout.compile_id)
    }

    /// Whether `pc` is what the machine writes over the return address of a frame that it has deoptimised.
    #[inline]
    pub(super) fn is_deopt_handler(&self, pc: ReturnAddress) -> bool {
        let pc = pc.address();
        let [plain, method_handle] = self.layout.deopt_handlers;
        self.begins_at(plain, pc) || self.begins_at(method_handle, pc)
    }

    #[inline]
    fn begins_at(&self, place: Option<PartStart>, pc: usize) -> bool {
        match place {
            Some(PartStart::Pointer(field)) => self.blob.read::<usize>(field) == Some(pc),
            Some(PartStart::InBlob(field)) => {
                let offset = self.blob.read::<i32>(field).and_then(|offset| usize::try_from(offset).ok());
                offset.is_some_and(|offset| offset != 0 && self.blob.start() + offset == pc)
            }
            _ => false,
        }
    }

    /// Where, from the frame's stack pointer on, a deoptimised frame keeps its real pc.
    pub(super) fn orig_pc_offset(&self) -> Option<usize> {
        usize::try_from(self.blob.read::<i32>(self.layout.orig_pc)?).ok()
    }

    /// The debug record of exactly this return address.
    pub(super) fn scopes_at(&self, pc: ReturnAddress, pages: &Pages) -> Option<ScopesAt> {
        let layout = self.layout;
        let table = self.place(layout.pcs, pages)?;
        let bytes = self.place(layout.pcs_end, pages)?.start().checked_sub(table.start())?;
        let wanted = i32::try_from(pc.address().checked_sub(self.code_begin)?).ok()?;
        let (mut low, mut high) = (0, bytes / layout.pc_desc_size);
        while low < high {
            let middle = low + (high - low) / 2;
            let record = middle * layout.pc_desc_size;
            let offset = table.read::<i32>(record + layout.pc_desc_pc)?;
            if offset == wanted {
                return table.read::<u32>(record + layout.pc_desc_scope).map(ScopesAt);
            }
            if offset < wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        None
    }

    /// The methods at a debug record, innermost first. `None` items: a damaged stream.
    pub(super) fn scopes(&self, at: ScopesAt, pages: &Pages) -> Option<Scopes> {
        Some(Scopes {
            stream: self.place(self.layout.scopes, pages)?,
            metadata: self.place(self.layout.metadata, pages)?,
            next: at.0,
            left: MANY_SCOPES,
            numbers: self.layout.numbers,
        })
    }

    /// The bytes from a table's begin to the end of what holds it.
    fn place(&self, place: PartStart, pages: &Pages) -> Option<Block> {
        match place {
            PartStart::InBlob(field) => self.blob.rest(self.blob.read::<u32>(field)? as usize),
            PartStart::Pointer(field) => {
                self.blob.rest(self.blob.read::<usize>(field)?.checked_sub(self.blob.start())?)
            }
            PartStart::InImmutable(field) => {
                self.side_data(self.layout.immutable?, pages)?.rest(self.blob.read::<u32>(field)? as usize)
            }
            PartStart::InData(data, field) => {
                let data = self.blob.read::<u32>(data)? as usize;
                self.blob.rest(data + usize::from(self.blob.read::<u16>(field)?))
            }
            PartStart::InMutable(field) => {
                self.side_data(self.layout.mutable?, pages)?.rest(self.blob.read::<u32>(field)? as usize)
            }
        }
    }

    fn side_data(&self, (pointer, size): (usize, usize), pages: &Pages) -> Option<Block> {
        let start = self.blob.read::<usize>(pointer).filter(|&start| start != 0)?;
        let size = usize::try_from(self.blob.read::<i32>(size)?).ok()?;
        // The nmethod owns these bytes, and it is on the running stack, so it is not freed.
        pages.block(start, size)
    }
}

/// The chain of inlined methods at one pc, innermost first.
#[derive(Debug)]
pub(super) struct Scopes {
    stream: Block,
    metadata: Block,
    next: u32,
    left: usize,
    numbers: Unsigned5,
}

impl Scopes {
    fn decode(&self) -> Option<(u32, Scope)> {
        let mut bytes = Bytes::new(self.stream, self.next as usize);
        let sender = self.numbers.read(&mut bytes)?;
        let method = self.numbers.read(&mut bytes)?.checked_sub(1)?;
        let bci = self.numbers.read(&mut bytes)?.cast_signed().checked_add(INVOCATION_ENTRY_BCI)?;
        let method = self.metadata.read::<usize>(8 * method as usize).filter(|&method| method != 0)?;
        Some((sender, Scope { method, bci }))
    }
}

impl Iterator for Scopes {
    type Item = Option<Scope>;

    fn next(&mut self) -> Option<Option<Scope>> {
        if self.next == 0 {
            return None;
        }
        self.left = self.left.saturating_sub(1);
        let decoded = if self.left == 0 { None } else { self.decode() };
        self.next = decoded.map_or(0, |(sender, _)| sender);
        Some(decoded.map(|(_, scope)| scope))
    }
}

#[cfg(test)]
#[allow(unsafe_code, reason = "blocks over the tests' own words")]
mod tests {
    use super::*;

    /// Two scopes in the JDK 20+ encoding: `inner` (bci 7) at offset 4, inlined into `outer` (bci 2) at offset 1.
    #[test]
    fn scopes_lead_from_the_innermost_method_outwards() {
        let stream = [0_u8, 1, 2, 4, 2, 3, 9, 0];
        let metadata = [0x1000_usize, 0x2000];
        // SAFETY: both arrays outlive the iterator.
        let (stream, metadata) = unsafe {
            (
                Block::vouched(stream.as_ptr().expose_provenance(), stream.len()),
                Block::vouched(metadata.as_ptr().expose_provenance(), 16),
            )
        };
        let scopes = |next| Scopes { stream, metadata, next, left: 8, numbers: Unsigned5::with_lowest(1) };
        let found: Vec<_> = scopes(4).collect();
        assert_eq!(found, [Some(Scope { method: 0x2000, bci: 7 }), Some(Scope { method: 0x1000, bci: 2 })]);
        assert_eq!(scopes(0).count(), 0);
        assert_eq!(scopes(7).collect::<Vec<_>>(), [None], "a damaged stream ends the chain and says so");
    }

    /// An nmethod of one word per field, with three debug records (pcs -1, 5, 40) of 16 bytes at offset 64.
    const LAYOUT: NmethodLayout = NmethodLayout {
        method: 0,
        compile_id: 8,
        pcs: PartStart::InBlob(16),
        pcs_end: PartStart::InBlob(24),
        scopes: PartStart::InBlob(16),
        metadata: PartStart::InBlob(16),
        immutable: None,
        mutable: None,
        deopt_handlers: [Some(PartStart::InBlob(32)), None],
        orig_pc: 40,
        pc_desc_size: 16,
        pc_desc_pc: 0,
        pc_desc_scope: 4,
        numbers: Unsigned5::with_lowest(1),
    };

    #[test]
    fn only_exact_pcs_have_records() {
        let record = |pc: i32, scope: u64| [u64::from(pc.cast_unsigned()) | scope << 32, 0];
        let mut words = vec![0x1000, 7, 64, 64 + 3 * 16, 200, 0, 0, 0];
        words.extend([record(-1, 0), record(5, 11), record(40, 12)].concat());
        // SAFETY: the words outlive the block.
        let blob = unsafe { Block::vouched(words.as_ptr().expose_provenance(), 8 * words.len()) };
        let nmethod = Nmethod::new(blob, blob.start() + 48, &LAYOUT);
        let at = |offset: usize| nmethod.scopes_at(ReturnAddress::new(blob.start() + 48 + offset), &Pages::new());
        assert_eq!([5, 40].map(at), [Some(ScopesAt(11)), Some(ScopesAt(12))]);
        assert_eq!([0, 4, 6, 39, 41, 4096].map(at), [None; 6]);
        assert_eq!(nmethod.scopes_at(ReturnAddress::new(blob.start()), &Pages::new()), None, "before the code");
        assert_eq!((nmethod.method(), nmethod.compile_id()), (Some(0x1000), Some(7)));
        let is_handler = |offset: usize| nmethod.is_deopt_handler(ReturnAddress::new(blob.start() + offset));
        assert!(is_handler(200) && !is_handler(0));
    }
}
