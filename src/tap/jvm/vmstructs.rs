//! Where each field of the machine's C++ types lies, from one of two sources.
//!
//! The first are the tables that HotSpot exports about itself for the serviceability agent: `gHotSpotVMStructs`,
//! `…Types`, `…IntConstants`. The second, for a build that does not export them, is [`super::known`]. Read once, while
//! [`super::machine`] is built; nothing here allocates or locks.

use super::image::Image;
use super::known::KnownLayout;
use super::memory::Block;

/// Entries a table may have before it is called damaged (JDK 17 has 1,500).
const MANY: usize = 16_384;
/// Bytes that one may have (48 so far).
const MOST_STRIDE: usize = 4096;
/// No type of the machine has a megabyte: a larger offset or size is a damaged table.
const MOST_BYTES: usize = 1 << 20;

/// One exported table: records of `stride` bytes, ended by a record without a name.
#[derive(Clone, Copy, Debug)]
struct Table {
    memory: Block,
    first: usize,
    stride: usize,
    name: usize,
}

impl Table {
    /// The table whose symbols all begin with `prefix`.
    fn open(image: &Image, symbols: [&[u8]; 3]) -> Option<Table> {
        let [first, stride, name] = symbols.map(|symbol| value_of(image, symbol));
        let stride = stride.filter(|stride| (1..=MOST_STRIDE).contains(stride))?;
        let first = first.filter(|&first| image.memory().contains(first))?;
        Some(Table { memory: image.memory(), first, stride, name: name.filter(|&name| name < stride)? })
    }

    /// The offset of a field in each record, stored in an exported variable.
    fn place(&self, image: &Image, symbol: &[u8]) -> Option<usize> {
        value_of(image, symbol).filter(|&place| place < self.stride)
    }

    /// The address of the first record that `matches`.
    fn find(&self, matches: impl Fn(usize) -> bool) -> Option<usize> {
        let records = (0..MANY).map(|index| self.first + index * self.stride);
        let named = |&record: &usize| self.text_at(record + self.name).is_some();
        records.take_while(named).find(|&record| matches(record))
    }

    /// The non-null string pointer stored at `address`.
    fn text_at(&self, address: usize) -> Option<usize> {
        self.memory.stored::<usize>(address.wrapping_sub(self.memory.start())).filter(|&text| text != 0)
    }

    fn says(&self, address: usize, text: &str) -> bool {
        self.text_at(address).is_some_and(|stored| self.memory.text_is(stored, text.as_bytes()))
    }
}

/// Whether the machine's tables can be asked: its library is relocated, and its constructors, which some builds fill
/// in the records' sizes by, have run. A sample may come from before that. Also true where there are no tables.
pub(super) fn are_filled(image: &Image) -> bool {
    let tables: [(&[u8], &[u8]); 3] = [
        (b"gHotSpotVMStructs", b"gHotSpotVMStructEntryArrayStride"),
        (b"gHotSpotVMTypes", b"gHotSpotVMTypeEntryArrayStride"),
        (b"gHotSpotVMIntConstants", b"gHotSpotVMIntConstantEntryArrayStride"),
    ];
    tables.iter().all(|(first, stride)| {
        value_of(image, first).is_none_or(|first| image.memory().contains(first))
            && value_of(image, stride).is_none_or(|stride| stride != 0)
    })
}

/// The value of an exported pointer or size variable.
fn value_of(image: &Image, symbol: &[u8]) -> Option<usize> {
    image.memory().read_at::<usize>(image.symbol(symbol)?)
}

/// Who says where the fields lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The machine itself.
    Exported,
    /// Our table of builds.
    BuildId,
}

/// The layout of one virtual machine.
#[derive(Clone, Copy, Debug)]
pub(super) enum VmStructs {
    Exported(Exported),
    Known(KnownLayout),
}

impl VmStructs {
    /// Asks this source about a loaded machine; `None` if it has no answer (OpenJ9, minimal builds; an unknown build).
    pub(super) fn open(image: &Image, source: Source) -> Option<VmStructs> {
        match source {
            Source::Exported => Exported::open(image).map(VmStructs::Exported),
            Source::BuildId => KnownLayout::of(image).map(VmStructs::Known),
        }
    }

    /// Offset of an instance field.
    pub(super) fn offset(&self, type_name: &str, field: &str) -> Option<usize> {
        let offset = match self {
            VmStructs::Exported(tables) => tables.offset(type_name, field),
            VmStructs::Known(layout) => layout.offset(type_name, field),
        };
        offset.filter(|&offset| offset < MOST_BYTES)
    }

    /// Address of a static field.
    pub(super) fn address(&self, type_name: &str, field: &str) -> Option<usize> {
        match self {
            VmStructs::Exported(tables) => tables.address(type_name, field),
            VmStructs::Known(layout) => layout.address(type_name, field),
        }
    }

    /// Whether a field is declared with this C++ type.
    pub(super) fn is_of_type(&self, type_name: &str, field: &str, declared: &str) -> bool {
        match self {
            VmStructs::Exported(tables) => tables.is_of_type(type_name, field, declared),
            VmStructs::Known(layout) => layout.is_of_type(type_name, field, declared),
        }
    }

    /// `sizeof` of a type.
    pub(super) fn size_of(&self, type_name: &str) -> Option<usize> {
        let size = match self {
            VmStructs::Exported(tables) => tables.size_of(type_name),
            VmStructs::Known(layout) => layout.size_of(type_name),
        };
        size.filter(|&size| size < MOST_BYTES)
    }

    /// An integer constant.
    pub(super) fn int(&self, name: &str) -> Option<i32> {
        match self {
            VmStructs::Exported(tables) => tables.int(name),
            VmStructs::Known(layout) => layout.int(name),
        }
    }
}

/// The exported tables of one virtual machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exported {
    structs: Table,
    field_name: usize,
    type_string: usize,
    is_static: usize,
    offset: usize,
    address: usize,
    types: Table,
    size: usize,
    ints: Table,
    int_value: usize,
}

impl Exported {
    fn open(image: &Image) -> Option<Exported> {
        let structs = Table::open(
            image,
            [b"gHotSpotVMStructs", b"gHotSpotVMStructEntryArrayStride", b"gHotSpotVMStructEntryTypeNameOffset"],
        )?;
        let types = Table::open(
            image,
            [b"gHotSpotVMTypes", b"gHotSpotVMTypeEntryArrayStride", b"gHotSpotVMTypeEntryTypeNameOffset"],
        )?;
        let ints = Table::open(
            image,
            [
                b"gHotSpotVMIntConstants",
                b"gHotSpotVMIntConstantEntryArrayStride",
                b"gHotSpotVMIntConstantEntryNameOffset",
            ],
        )?;
        Some(Exported {
            structs,
            field_name: structs.place(image, b"gHotSpotVMStructEntryFieldNameOffset")?,
            type_string: structs.place(image, b"gHotSpotVMStructEntryTypeStringOffset")?,
            is_static: structs.place(image, b"gHotSpotVMStructEntryIsStaticOffset")?,
            offset: structs.place(image, b"gHotSpotVMStructEntryOffsetOffset")?,
            address: structs.place(image, b"gHotSpotVMStructEntryAddressOffset")?,
            types,
            size: types.place(image, b"gHotSpotVMTypeEntrySizeOffset")?,
            ints,
            int_value: ints.place(image, b"gHotSpotVMIntConstantEntryValueOffset")?,
        })
    }

    fn field(&self, type_name: &str, field: &str) -> Option<usize> {
        let table = self.structs;
        table.find(|record| table.says(record + self.field_name, field) && table.says(record + table.name, type_name))
    }

    fn is_static(&self, record: usize) -> Option<bool> {
        Some(self.structs.memory.read_at::<i32>(record + self.is_static)? != 0)
    }

    fn offset(&self, type_name: &str, field: &str) -> Option<usize> {
        let record = self.field(type_name, field)?;
        if self.is_static(record)? {
            return None;
        }
        usize::try_from(self.structs.memory.read_at::<u64>(record + self.offset)?).ok()
    }

    fn address(&self, type_name: &str, field: &str) -> Option<usize> {
        let record = self.field(type_name, field)?;
        let address = self.structs.memory.read_at::<usize>(record + self.address)?;
        (self.is_static(record)? && address != 0).then_some(address)
    }

    fn is_of_type(&self, type_name: &str, field: &str, declared: &str) -> bool {
        let record = self.field(type_name, field);
        record.is_some_and(|record| self.structs.says(record + self.type_string, declared))
    }

    fn size_of(&self, type_name: &str) -> Option<usize> {
        let table = self.types;
        let record = table.find(|record| table.says(record + table.name, type_name))?;
        usize::try_from(table.memory.read_at::<u64>(record + self.size)?).ok()
    }

    fn int(&self, name: &str) -> Option<i32> {
        let table = self.ints;
        let record = table.find(|record| table.says(record + table.name, name))?;
        table.memory.read_at::<i32>(record + self.int_value)
    }
}

#[cfg(test)]
#[allow(unsafe_code, reason = "a block over the test's own tables")]
mod tests {
    use super::*;
    use std::ffi::CStr;

    /// type name, field name, declared type, is static, offset, address: one 8-byte word each.
    type Field = [usize; 6];

    fn text(text: &'static CStr) -> usize {
        text.as_ptr().expose_provenance()
    }

    fn tables(fields: &[Field], types: &[[usize; 2]], ints: &[[usize; 2]]) -> VmStructs {
        // SAFETY: only addresses that stand in these tables are read, and all of them are alive.
        let memory = unsafe { Block::vouched(0, usize::MAX) };
        let table = |first: *const usize, words: usize| Table {
            memory,
            first: first.expose_provenance(),
            stride: 8 * words,
            name: 0,
        };
        VmStructs::Exported(Exported {
            structs: table(fields.as_ptr().cast(), 6),
            field_name: 8,
            type_string: 16,
            is_static: 24,
            offset: 32,
            address: 40,
            types: table(types.as_ptr().cast(), 2),
            size: 8,
            ints: table(ints.as_ptr().cast(), 2),
            int_value: 8,
        })
    }

    #[test]
    fn fields_are_found_by_type_and_name() {
        let (method, blob) = (text(c"Method"), text(c"CodeBlob"));
        let fields = [
            [method, text(c"_name"), text(c"int"), 0, 8, 0],
            [blob, text(c"_name"), text(c"const char*"), 0, 96, 0],
            [blob, text(c"_heap"), 0, 1, 0, 0x7000],
            [blob, text(c"_wild"), 0, 0, 1 << 20, 0],
            [0; 6],
            [blob, text(c"_behind"), 0, 0, 8, 0],
        ];
        let types = [[blob, 104], [0, 0]];
        let ints = [[text(c"frame::x"), -6_i32 as u32 as usize], [0, 0]];
        let tables = tables(&fields, &types, &ints);
        assert_eq!((tables.offset("Method", "_name"), tables.offset("CodeBlob", "_name")), (Some(8), Some(96)));
        assert_eq!((tables.address("CodeBlob", "_heap"), tables.offset("CodeBlob", "_heap")), (Some(0x7000), None));
        assert_eq!((tables.address("CodeBlob", "_name"), tables.offset("Method", "_heap")), (None, None));
        assert_eq!(tables.offset("CodeBlob", "_wild"), None, "no type is that large");
        assert_eq!(tables.offset("CodeBlob", "_behind"), None, "behind the end");
        assert!(
            tables.is_of_type("CodeBlob", "_name", "const char*") && !tables.is_of_type("CodeBlob", "_name", "const")
        );
        assert_eq!((tables.size_of("CodeBlob"), tables.size_of("Method")), (Some(104), None));
        assert_eq!((tables.int("frame::x"), tables.int("frame::y")), (Some(-6), None));
    }
}
