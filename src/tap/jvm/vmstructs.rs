//! The tables that HotSpot exports about itself: `gHotSpotVMStructs`, `…Types`, `…IntConstants`, `…LongConstants`.
//!
//! They were made for the serviceability agent and say where each field of the machine's C++ types lies. Read
//! once, while [`super::layout`] is derived; nothing here allocates or locks.

use super::image::Image;
use super::memory::Block;

/// Entries a table may have before it is called damaged (JDK 17 has 1,500).
const MANY: usize = 16_384;

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
        let stride = stride?;
        (stride > 0).then_some(Table { memory: image.memory(), first: first?, stride, name: name? })
    }

    /// The address of the first record that `matches`.
    fn find(&self, matches: impl Fn(usize) -> bool) -> Option<usize> {
        let records = (0..MANY).map(|index| self.first + index * self.stride);
        let named = |&record: &usize| self.text_at(record + self.name).is_some();
        records.take_while(named).find(|&record| matches(record))
    }

    /// The non-null string pointer stored at `address`.
    fn text_at(&self, address: usize) -> Option<usize> {
        self.memory.read_at::<usize>(address).filter(|&text| text != 0)
    }

    fn says(&self, address: usize, text: &str) -> bool {
        self.text_at(address).is_some_and(|stored| self.memory.text_is(stored, text.as_bytes()))
    }
}

/// The value of an exported pointer or size variable.
fn value_of(image: &Image, symbol: &[u8]) -> Option<usize> {
    image.memory().read_at::<usize>(image.symbol(symbol)?)
}

/// All four tables of one virtual machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct VmStructs {
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

impl VmStructs {
    /// Opens the tables of a loaded machine; `None` if it exports none (OpenJ9, minimal builds).
    pub(super) fn open(image: &Image) -> Option<VmStructs> {
        let value = |symbol: &[u8]| value_of(image, symbol);
        Some(VmStructs {
            structs: Table::open(
                image,
                [b"gHotSpotVMStructs", b"gHotSpotVMStructEntryArrayStride", b"gHotSpotVMStructEntryTypeNameOffset"],
            )?,
            field_name: value(b"gHotSpotVMStructEntryFieldNameOffset")?,
            type_string: value(b"gHotSpotVMStructEntryTypeStringOffset")?,
            is_static: value(b"gHotSpotVMStructEntryIsStaticOffset")?,
            offset: value(b"gHotSpotVMStructEntryOffsetOffset")?,
            address: value(b"gHotSpotVMStructEntryAddressOffset")?,
            types: Table::open(
                image,
                [b"gHotSpotVMTypes", b"gHotSpotVMTypeEntryArrayStride", b"gHotSpotVMTypeEntryTypeNameOffset"],
            )?,
            size: value(b"gHotSpotVMTypeEntrySizeOffset")?,
            ints: Table::open(
                image,
                [
                    b"gHotSpotVMIntConstants",
                    b"gHotSpotVMIntConstantEntryArrayStride",
                    b"gHotSpotVMIntConstantEntryNameOffset",
                ],
            )?,
            int_value: value(b"gHotSpotVMIntConstantEntryValueOffset")?,
        })
    }

    fn field(&self, type_name: &str, field: &str) -> Option<usize> {
        let table = self.structs;
        table.find(|record| table.says(record + self.field_name, field) && table.says(record + table.name, type_name))
    }

    fn is_static(&self, record: usize) -> Option<bool> {
        Some(self.structs.memory.read_at::<i32>(record + self.is_static)? != 0)
    }

    /// Offset of an instance field.
    pub(super) fn offset(&self, type_name: &str, field: &str) -> Option<usize> {
        let record = self.field(type_name, field)?;
        if self.is_static(record)? {
            return None;
        }
        let offset = self.structs.memory.read_at::<u64>(record + self.offset)?;
        // No type of the machine has a megabyte; a larger offset is a damaged table.
        usize::try_from(offset).ok().filter(|&offset| offset < 1 << 20)
    }

    /// Address of a static field.
    pub(super) fn address(&self, type_name: &str, field: &str) -> Option<usize> {
        let record = self.field(type_name, field)?;
        let address = self.structs.memory.read_at::<usize>(record + self.address)?;
        (self.is_static(record)? && address != 0).then_some(address)
    }

    /// Whether a field is declared with this C++ type.
    pub(super) fn is_of_type(&self, type_name: &str, field: &str, declared: &str) -> bool {
        let record = self.field(type_name, field);
        record.is_some_and(|record| self.structs.says(record + self.type_string, declared))
    }

    /// `sizeof` of a type.
    pub(super) fn size_of(&self, type_name: &str) -> Option<usize> {
        let table = self.types;
        let record = table.find(|record| table.says(record + table.name, type_name))?;
        usize::try_from(table.memory.read_at::<u64>(record + self.size)?).ok()
    }

    /// An integer constant.
    pub(super) fn int(&self, name: &str) -> Option<i32> {
        let table = self.ints;
        let record = table.find(|record| table.says(record + table.name, name))?;
        table.memory.read_at::<i32>(record + self.int_value)
    }
}
