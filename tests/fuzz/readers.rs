//! What reads bytes that somebody else wrote, one function a reader: nothing may panic, overflow, hang, or take more
//! memory than the input has. `scripts/fuzz` runs each with coverage as its guide, from the inputs in `seeds/`.

#![allow(dead_code)]

mod cli;
mod tap;
#[path = "../../src/wire/mod.rs"]
mod wire;

use cli::attach::hprof::{self, Addresses, Stream};
use cli::attach::pack::{self, Input};
use cli::profile::heap_v2 as dump;
use cli::symbolize::recorded::Recorded;
use std::io::{self, Cursor};
use std::path::PathBuf;
use std::sync::OnceLock;
use wire::crc::Crc;
use wire::heap_v2::{self, Surroundings};
use wire::live::snapshot::{JavaMethod, Snapshot};
use wire::live::{copy, mirror};
use wire::options::complaint::TEXT_BYTES;
use wire::options::{self, Complaint, Options};
use wire::sidecar;

/// An option string, as `MALLOC_CONF` may hold it.
pub fn options(data: &[u8]) {
    let mut options = Options::DEFAULT;
    let mut forwarded = 0;
    options::parse(data, &mut options, &mut |key, value| forwarded += key.len() + value.len(), &mut |complaint| {
        if let Complaint::BadValue { used, .. } = complaint {
            assert!(!used.text(&mut [0; TEXT_BYTES]).is_empty());
        }
    });
    options.settle();
    assert!(forwarded <= data.len(), "nothing is forwarded that was not there");
}

/// A region file.
pub fn region(data: &[u8]) {
    snapshot_of(whole_words(data));
}

/// A mirror whose checksum is right, so that what lies behind that check is reached.
pub fn mirror(data: &[u8]) {
    let mut bytes = whole_words(data).to_vec();
    if let Some(end) = bytes.len().checked_sub(8) {
        let mut crc = Crc::new();
        crc.add(&bytes[..end]);
        let seal = 0x5ea1 << 32 | u64::from(crc.value());
        bytes[end..].copy_from_slice(&seal.to_ne_bytes());
        snapshot_of(&bytes);
    }
}

fn whole_words(data: &[u8]) -> &[u8] {
    &data[..data.len() / 8 * 8]
}

/// Reads it, and writes what came as a dump, a side-car and a mirror.
fn snapshot_of(bytes: &[u8]) {
    let length = bytes.len() as u64;
    let words = copy::words(length, length, &mut |at, piece| {
        let at = at as usize;
        piece.copy_from_slice(bytes.get(at..at + piece.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    });
    let Ok(words) = words else { return };
    let Ok(mut snapshot) = Snapshot::take(words.as_slice()) else { return };
    snapshot.tell_death();
    let _ = snapshot.wall_ns();
    let around = Surroundings { maps: &snapshot.text.maps, metadata: &snapshot.text.metadata, accumulated: true };
    let mut text = Vec::new();
    heap_v2::write(&snapshot, &around, &mut text).expect("memory takes all");
    let _ = dump::parse(text.as_slice());
    let _ = sidecar::bytes(&snapshot, &[]);
    mirror::write(&snapshot, &mut io::sink()).expect("a sink takes all");
}

/// A side-car that an older life left, whose names the next one keeps.
pub fn sidecar(data: &[u8]) {
    let mut snapshot = Snapshot::default();
    snapshot.java_methods.insert(1, JavaMethod { class: b"Own".to_vec(), method: b"<init>".to_vec() });
    if let Some(bytes) = sidecar::bytes(&snapshot, data) {
        assert!(bytes.len() <= data.len() + 4096, "{} bytes from {}", bytes.len(), data.len());
    }
}

/// A dump, ours or a stock jemalloc's.
pub fn heap_v2(data: &[u8]) {
    let Ok(profile) = dump::parse(data) else { return };
    let _ = (profile.total(), profile.program(), profile.program_mapping());
    let mut merger = cli::profile::merge::Merger::default();
    merger.add(&profile);
    merger.add(&profile);
    let _ = merger.finish().total();
}

/// Unwind tables, and one pc: `.eh_frame_hdr` begins behind two bytes of where the pc lies and two of where the header
/// lies.
pub fn eh_frame(data: &[u8]) {
    let Some(([a, b, c, d], tables)) = data.split_first_chunk::<4>() else { return };
    let (offset, header) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
    // Pointers in tables are relative to where they stand: a page's start is what they are always relative to.
    let mut bytes = vec![0_u128; tables.len().div_ceil(16) + 1];
    // SAFETY: the vector's own bytes.
    let place = unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast::<u8>(), tables.len()) };
    place.copy_from_slice(tables);
    tap::unwind::rule(place, usize::from(header), usize::from(offset));
}

/// Where the machine of an input lies: seeds hold pointers.
const MACHINE: usize = 0x20_0000_0000;
const MACHINE_BYTES: usize = 1 << 20;

/// A HotSpot's exported tables, with code blobs, methods and debug records behind them.
pub fn vmstructs(data: &[u8]) {
    static PLACE: OnceLock<usize> = OnceLock::new();
    let place = *PLACE.get_or_init(|| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping that replaces none.
        let place = unsafe { libc::mmap(MACHINE as *mut _, MACHINE_BYTES, protection, flags, -1, 0) };
        assert_eq!(place as usize, MACHINE, "the place of the machine is taken");
        MACHINE
    });
    let length = data.len().min(MACHINE_BYTES) & !7;
    // SAFETY: as many bytes as were mapped above, which only this function knows.
    unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), place as *mut u8, length) };
    // SAFETY: mapped above for as long as the process is.
    unsafe { tap::jvm::machine(place, length) };
}

/// A pack as it is read behind gzip, which damaged bytes would never pass, with headers whose sums are right; and a
/// gzipped file as it comes.
pub fn pack(data: &[u8]) {
    let mut recorded = Recorded::default();
    let mut each = |_name: &str, _time: Option<std::time::SystemTime>, text: &mut dyn io::BufRead| {
        let _ = dump::parse(text);
    };
    let _ = pack::read(&mut Cursor::new(with_sums(data)), &mut recorded, &mut each);
    let mut written = Vec::new();
    recorded.write(&mut written).expect("memory takes all");
    assert_eq!(Recorded::read(written.as_slice()).expect("what we write"), recorded, "what is written is read");
    if let Ok(Input::Pack(mut plain)) = pack::open(Box::new(Cursor::new(data.to_vec()))) {
        let _ = pack::read(&mut plain, &mut recorded, &mut each);
    }
}

/// The archive with the sum and the mark of its format in each header, as far as sizes lead from one to the next.
fn with_sums(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let mut at = 0;
    while let Some(header) = bytes.get_mut(at..at + 512).filter(|header| header.iter().any(|byte| *byte != 0)) {
        header[148..156].copy_from_slice(b"        ");
        header[257..262].copy_from_slice(b"ustar");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&header[124..135]).ok().and_then(|size| usize::from_str_radix(size, 8).ok());
        let Some(next) = size.and_then(|size| at.checked_add(512 + size.next_multiple_of(512))) else { break };
        at = next;
    }
    bytes
}

/// A runtime's names of compiled code.
pub fn perf_map(data: &[u8]) {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    let place = PLACE.get_or_init(|| PathBuf::from(format!("/dev/shm/heaptap-fuzz-{}.map", std::process::id())));
    std::fs::write(place, data).expect("a file of our own");
    let number = |word: &[u8]| word.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let addresses: Vec<u64> = data.chunks(5).take(64).map(number).chain([0, u64::MAX, 0x7f00_0000_1000]).collect();
    cli::symbolize::functions_of(place, &addresses);
    let _ = std::fs::remove_file(place);
}

/// A Java heap dump, and some addresses that its objects may have.
pub fn hprof(data: &[u8]) {
    let ranges = (0..32u64).map(|n| (n << 16, (n << 16) + 0xff, n as u32)).collect();
    let Ok(stream) = Stream::new(Cursor::new(data), data.len() as u64) else { return };
    let Ok(told) = hprof::owners(stream, &Addresses::of(ranges), &mut |_, _, _| ()) else { return };
    assert!(told.owners.len() <= data.len(), "an owner has at least a long");
}
