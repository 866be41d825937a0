//! Heap dumps made by hand: small ones with a known answer, and damaged ones.

use super::*;
use std::io::Cursor;

/// A dump that is written record by record.
struct Dump {
    bytes: Vec<u8>,
    heap: Vec<u8>,
    names: u64,
}

impl Dump {
    fn new() -> Dump {
        let mut bytes = b"JAVA PROFILE 1.0.2\0".to_vec();
        bytes.extend(8u32.to_be_bytes());
        bytes.extend(7u64.to_be_bytes());
        Dump { bytes, heap: Vec::new(), names: 0 }
    }

    fn record(&mut self, tag: u8, body: &[u8]) {
        self.bytes.push(tag);
        self.bytes.extend([0; 4]);
        self.bytes.extend((body.len() as u32).to_be_bytes());
        self.bytes.extend(body);
    }

    fn name(&mut self, text: &str) -> u64 {
        self.names += 1;
        let id = 0x10_000 + self.names;
        self.record(1, &[&id.to_be_bytes()[..], text.as_bytes()].concat());
        id
    }

    fn put(&mut self, numbers: &[u64]) {
        numbers.iter().for_each(|number| self.heap.extend(number.to_be_bytes()));
    }

    /// A class with static references or longs, and fields.
    fn class(&mut self, id: u64, superclass: u64, name: &str, statics: &[(&str, u8, u64)], fields: &[(&str, u8)]) {
        let name = self.name(name);
        self.record(2, &[&[0; 4][..], &id.to_be_bytes(), &[0; 4], &name.to_be_bytes()].concat());
        let statics: Vec<(u64, u8, u64)> = statics.iter().map(|it| (self.name(it.0), it.1, it.2)).collect();
        let fields: Vec<(u64, u8)> = fields.iter().map(|it| (self.name(it.0), it.1)).collect();
        self.heap.push(0x20);
        self.put(&[id]);
        self.heap.extend([0; 4]);
        self.put(&[superclass, 0, 0, 0, 0, 0]);
        self.heap.extend([0; 4]);
        self.heap.extend([0; 2]);
        self.heap.extend((statics.len() as u16).to_be_bytes());
        for (name, kind, value) in statics {
            self.put(&[name]);
            self.heap.push(kind);
            self.put(&[value]);
        }
        self.heap.extend((fields.len() as u16).to_be_bytes());
        for (name, kind) in fields {
            self.put(&[name]);
            self.heap.push(kind);
        }
    }

    fn object(&mut self, id: u64, class: u64, values: &[u64]) {
        self.heap.push(0x21);
        self.put(&[id]);
        self.heap.extend([0; 4]);
        self.put(&[class]);
        self.heap.extend((values.len() as u32 * 8).to_be_bytes());
        self.put(values);
    }

    fn array(&mut self, id: u64, class: u64, values: &[u64]) {
        self.heap.push(0x22);
        self.put(&[id]);
        self.heap.extend([0; 4]);
        self.heap.extend((values.len() as u32).to_be_bytes());
        self.put(&[class]);
        self.put(values);
    }

    fn finish(mut self) -> Vec<u8> {
        let heap = std::mem::take(&mut self.heap);
        self.record(0x1c, &heap);
        self.record(0x2c, &[]);
        self.bytes
    }
}

const BUFFER: u64 = 0x100;
const REFERENCE: u64 = 0x200;
const PHANTOM: u64 = 0x208;
const ENTRY: u64 = 0x300;
const CACHE: u64 = 0x400;
const LIST: u64 = 0x500;

/// A cache that holds a buffer through a list; one that only a weak reference and a cleaner lead to; one in a thread.
fn dump() -> Vec<u8> {
    let mut dump = Dump::new();
    dump.class(BUFFER, 0, "java/nio/DirectByteBuffer", &[], &[("att", 2), ("address", 11)]);
    dump.class(REFERENCE, 0, "java/lang/ref/Reference", &[], &[("referent", 2)]);
    dump.class(PHANTOM, REFERENCE, "java/lang/ref/PhantomReference", &[], &[]);
    dump.class(0x210, PHANTOM, "jdk/internal/ref/Cleaner", &[("first", 2, 0x3000)], &[("thunk", 2)]);
    dump.class(0x218, 0, "java/nio/DirectByteBuffer$Deallocator", &[], &[("address", 11)]);
    dump.class(ENTRY, REFERENCE, "acme/Entry", &[], &[("value", 2), ("eetop", 11)]);
    dump.class(CACHE, 0, "acme/Cache", &[("LIST", 2, 0x4000), ("handle", 11, 0x7777_0000)], &[]);
    dump.class(LIST, 0, "java/util/ArrayList", &[], &[("elementData", 2)]);
    dump.class(0x508, 0, "[Ljava/lang/Object;", &[], &[]);
    dump.object(0x1000, BUFFER, &[0, 0x5555_0000]);
    dump.object(0x1008, BUFFER, &[0, 0x6666_0000]);
    dump.object(0x1010, BUFFER, &[0x1000, 0x5555_0040]);
    dump.object(0x1018, BUFFER, &[0, 0x8888_0000]);
    dump.object(0x2000, 0x218, &[0x6666_0000]);
    // The cleaner's own field, then the referent.
    dump.object(0x3000, 0x210, &[0x2000, 0x1008]);
    // It owns a block itself, so a way from a root to it is known before what it holds is.
    dump.object(0x3008, ENTRY, &[0x1020, 0x9999_0000, 0x1008]);
    dump.array(0x1020, 0x508, &[0x1018]);
    dump.heap.push(0x08);
    dump.put(&[0x3008, 0]);
    dump.object(0x4000, LIST, &[0x4008]);
    dump.array(0x4008, 0x508, &[0, 0x1000, 0]);
    dump.finish()
}

fn read(bytes: &[u8]) -> io::Result<Told> {
    let starts = [0x5555_0000, 0x6666_0000, 0x7777_0000, 0x8888_0000, 0x9999_0000];
    let ranges = starts.iter().zip(0..).map(|(start, number)| (*start, *start + 0xff, number));
    let stream = Stream::new(Cursor::new(bytes), bytes.len() as u64)?;
    owners(stream, &Addresses::of(ranges.collect()), &mut |_, _, _| ())
}

#[test]
fn owners_are_found_with_the_way_from_a_root() {
    let told = read(&dump()).unwrap();
    assert!(!told.is_cut);
    let by = |block: u32| told.owners.iter().filter(move |owner| owner.block == block).collect::<Vec<_>>();
    let buffer = "java.nio.DirectByteBuffer.address";
    let [whole, part] = by(0)[..] else { panic!("{told:?}") };
    let steps = ["java.util.ArrayList.elementData", "java.lang.Object[]"].map(str::to_owned).to_vec();
    assert_eq!((whole.place.as_str(), whole.offset, whole.is_part), (buffer, 0, false));
    assert_eq!(whole.reach, Reach::By("static acme.Cache.LIST".to_owned(), steps));
    assert_eq!((part.offset, part.is_part, &part.reach), (0x40, true, &Reach::Not));
    // Neither the cleaner nor what is weak keeps it.
    assert_eq!(by(1).iter().map(|owner| &owner.reach).collect::<Vec<_>>(), [&Reach::Not, &Reach::Not]);
    assert!(by(1).iter().all(|owner| owner.is_cleaned) && !part.is_cleaned);
    assert_eq!(by(2)[0].reach, Reach::By("static acme.Cache.handle".to_owned(), vec![]));
    assert_eq!(
        by(3)[0].reach,
        Reach::By("a thread".to_owned(), vec!["acme.Entry.value".to_owned(), "java.lang.Object[]".to_owned()])
    );
    assert_eq!((by(4).len(), by(4)[0].place.as_str()), (1, "acme.Entry.eetop"));
}

#[test]
fn what_is_no_heap_dump_is_refused_and_a_cut_one_is_told() {
    assert!(read(b"").is_err() && read(b"JAVA PROFILE 2\0").is_err() && read(&[0x1f; 100]).is_err());
    let whole = dump();
    for length in 31..whole.len() {
        let told = read(&whole[..length]).unwrap();
        assert!(told.is_cut || length >= whole.len() - 9 || told.owners.is_empty(), "{length} {told:?}");
    }
}

#[test]
fn damaged_dumps_never_panic() {
    let whole = dump();
    let mut state = 7u64;
    for _ in 0..3000 {
        let mut bytes = whole.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] = (state >> 20) as u8;
        }
        let _ = read(&bytes);
    }
}

#[test]
fn a_number_that_somebody_noted_is_told_from_a_field_of_an_owner() {
    let mut dump = Dump::new();
    dump.class(0x600, 0, "java/lang/Long", &[], &[("value", 11)]);
    dump.class(0x608, 0, "com/sun/jna/Memory", &[], &[("peer", 11)]);
    dump.object(0x1000, 0x600, &[0x5555_0000]);
    dump.object(0x1008, 0x608, &[0x5555_0000]);
    let told = read(&dump.finish()).unwrap();
    let owners: Vec<(&str, bool)> = told.owners.iter().map(|owner| (owner.place.as_str(), owner.is_note)).collect();
    assert_eq!(owners, [("java.lang.Long.value", true), ("com.sun.jna.Memory.peer", false)]);
}
