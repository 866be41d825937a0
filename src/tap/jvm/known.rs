//! The second source of HotSpot's layout: a table of builds, for a machine that does not export its own.
//!
//! `layouts.txt` beside this file has what the walker asks about some builds, under their build ids: offsets that are
//! a build's whatever its addresses are, and static fields counted from where the library lies. `scripts/layouts` makes
//! it from machines that do export their tables. A build that is not in it has no answer here. Nothing allocates.

use super::image::{BuildId, Image};

/// The architecture of this library, as the table names it.
const MACHINE: &str = if cfg!(target_arch = "x86_64") { "x86_64" } else { "aarch64" };

/// Blocks that an empty line ends: builds, each with its static fields, then what all of them share.
const LAYOUTS: &str = include_str!("layouts.txt");

/// What is known of one build.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownLayout {
    block: &'static str,
    /// The line that names the build: its static fields follow it.
    build: &'static str,
    bias: usize,
}

impl KnownLayout {
    /// The layout of a loaded machine, if its build is in the table.
    pub(super) fn of(image: &Image) -> Option<KnownLayout> {
        let id = image.build_id()?;
        known().find(|layout| layout.is_of(&id)).map(|layout| KnownLayout { bias: image.bias(), ..layout })
    }

    fn is_of(&self, id: &BuildId) -> bool {
        let mut words = self.build.split(' ').skip(1);
        let Some((digits, machine)) = words.next().zip(words.next()) else { return false };
        machine == MACHINE && spells(digits, id.bytes())
    }

    /// See [`super::vmstructs::VmStructs::offset`].
    pub(super) fn offset(&self, type_name: &str, field: &str) -> Option<usize> {
        self.field(type_name, field)?.split(' ').next()?.parse().ok()
    }

    /// See [`super::vmstructs::VmStructs::address`].
    pub(super) fn address(&self, type_name: &str, field: &str) -> Option<usize> {
        let own = self.block.lines().skip_while(|&line| line != self.build).skip(1);
        let mut own = own.take_while(|line| !line.starts_with("build "));
        let digits = own.find_map(|line| value(line, type_name, field)?.strip_prefix('@'))?;
        Some(self.bias.wrapping_add(usize::from_str_radix(digits, 16).ok()?))
    }

    /// See [`super::vmstructs::VmStructs::is_of_type`].
    pub(super) fn is_of_type(&self, type_name: &str, field: &str, declared: &str) -> bool {
        let value = self.field(type_name, field);
        value.and_then(|value| value.split_once(' ')).is_some_and(|(_, own)| own == declared)
    }

    /// See [`super::vmstructs::VmStructs::size_of`].
    pub(super) fn size_of(&self, type_name: &str) -> Option<usize> {
        self.constant("sizeof", type_name)?.parse().ok()
    }

    /// See [`super::vmstructs::VmStructs::int`].
    pub(super) fn int(&self, name: &str) -> Option<i32> {
        self.constant("int", name)?.parse().ok()
    }

    fn field(&self, type_name: &str, field: &str) -> Option<&'static str> {
        self.block.lines().find_map(|line| value(line, type_name, field).filter(|value| !value.starts_with('@')))
    }

    fn constant(&self, kind: &str, name: &str) -> Option<&'static str> {
        let after =
            |line: &'static str| line.strip_prefix(kind)?.strip_prefix(' ')?.strip_prefix(name)?.strip_prefix(' ');
        self.block.lines().find_map(after)
    }
}

/// Every build of the table, as if its library lay at address 0.
fn known() -> impl Iterator<Item = KnownLayout> {
    LAYOUTS.split("\n\n").flat_map(|block| {
        let builds = block.lines().filter(|line| line.starts_with("build "));
        builds.map(move |build| KnownLayout { block, build, bias: 0 })
    })
}

/// What stands behind a field's name: `CodeBlob._name 96`.
fn value(line: &'static str, type_name: &str, field: &str) -> Option<&'static str> {
    line.strip_prefix(type_name)?.strip_prefix('.')?.strip_prefix(field)?.strip_prefix(' ')
}

/// Whether hexadecimal digits are these bytes, all of them.
fn spells(digits: &str, bytes: &[u8]) -> bool {
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match *pair {
        [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
        _ => None,
    };
    !bytes.is_empty() && pairs.map(byte).eq(bytes.iter().map(|&byte| Some(u32::from(byte))))
}

#[cfg(test)]
mod tests {
    use super::super::blob::BlobLayout;
    use super::super::memory::Block;
    use super::super::method::MethodLayout;
    use super::super::nmethod::NmethodLayout;
    use super::super::quirks;
    use super::super::thread::ThreadLayout;
    use super::super::unsigned5::Unsigned5;
    use super::super::vmstructs::VmStructs;
    use super::*;

    #[test]
    fn every_build_has_all_that_the_walker_asks() {
        let mut builds = 0;
        for layout in known() {
            builds += 1;
            let tables = VmStructs::Known(layout);
            let numbers = Unsigned5::with_lowest(quirks::of_release(17).unwrap().lowest_digit);
            // SAFETY: no byte of it is read.
            let image = unsafe { Block::vouched(0, 0) };
            assert!(BlobLayout::derive(&tables, image).is_some(), "{}", layout.build);
            assert!(NmethodLayout::derive(&tables, numbers).is_some(), "{}", layout.build);
            assert!(MethodLayout::derive(&tables, numbers, true).is_some(), "{}", layout.build);
            assert!(ThreadLayout::derive(&tables).is_some(), "{}", layout.build);
            let is_8 = tables.address("CodeCache", "_heap").is_some();
            assert!(is_8 || tables.address("Abstract_VM_Version", "_vm_major_version").is_some(), "{}", layout.build);
            for (owner, field) in [("StubRoutines", "_call_stub_return_address"), ("AbstractInterpreter", "_code")] {
                assert!(tables.address(owner, field).is_some(), "{}: {field}", layout.build);
            }
        }
        assert!(builds >= 5, "8, 11, 17, 21 and 25");
    }

    #[test]
    fn a_build_is_known_by_all_its_digits() {
        let id = [0x12, 0xab];
        assert!(spells("12ab", &id));
        assert!(!spells("12", &id) && !spells("12ab00", &id) && !spells("12a", &id) && !spells("12ac", &id));
        assert!(!spells("", &[]));
    }

    #[test]
    fn static_fields_are_the_builds_own_and_offsets_are_shared() {
        let block = "build aa x86_64 1\nA._b @10\nbuild bb x86_64 2\nA._b @20\nA._c 4 u2\nsizeof A 8\nint x::y -6";
        let layout = |build| KnownLayout { block, build, bias: 0x1000 };
        let (first, second) = (layout("build aa x86_64 1"), layout("build bb x86_64 2"));
        assert_eq!((first.address("A", "_b"), second.address("A", "_b")), (Some(0x1010), Some(0x1020)));
        assert_eq!((first.offset("A", "_c"), first.offset("A", "_b"), first.offset("A", "_")), (Some(4), None, None));
        assert!(first.is_of_type("A", "_c", "u2") && !first.is_of_type("A", "_c", "u"));
        assert_eq!((first.size_of("A"), first.int("x::y"), first.int("x")), (Some(8), Some(-6), None));
    }
}
