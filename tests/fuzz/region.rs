//! Reads any bytes as a region and as a mirror with the right checksum, and writes a dump, a side-car and a mirror of
//! what came: nothing may panic, overflow or take more memory than the file has.
//!
//! For longer runs than `cargo test` makes (`tap::dump::mirror`, `cli::attach::region` mutate sound files):
//!
//! ```text
//! mkdir -p tests/fuzz/corpus/region && cp *.live tests/fuzz/corpus/region/     # mirrors of real processes
//! RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz region -- -max_total_time=60 -max_len=2000000
//! ```
#![no_main]
#![allow(dead_code)]

#[path = "../../src/wire/mod.rs"]
mod wire;

use libfuzzer_sys::fuzz_target;
use std::io;
use wire::crc::Crc;
use wire::heap_v2::{self, Surroundings};
use wire::live::{copy, mirror, snapshot::Snapshot};
use wire::sidecar;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    bytes.truncate(bytes.len() / 8 * 8);
    read(&bytes);
    if let Some(end) = bytes.len().checked_sub(8) {
        let mut crc = Crc::new();
        crc.add(&bytes[..end]);
        let seal = 0x5ea1 << 32 | u64::from(crc.value());
        bytes[end..].copy_from_slice(&seal.to_ne_bytes());
        read(&bytes);
    }
});

fn read(bytes: &[u8]) {
    let length = bytes.len() as u64;
    let words = copy::words(length, length, &mut |at, piece| {
        let at = at as usize;
        piece.copy_from_slice(bytes.get(at..at + piece.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    });
    let Ok(words) = words else { return };
    let Ok(mut snapshot) = Snapshot::take(words.as_slice()) else { return };
    snapshot.tell_death();
    let _ = (snapshot.wall_ns(), snapshot.is_worth_a_file());
    let around = Surroundings { maps: &snapshot.text.maps, metadata: &snapshot.text.metadata, accumulated: true };
    heap_v2::write(&snapshot, &around, &mut io::sink()).unwrap();
    let _ = sidecar::bytes(&snapshot);
    mirror::write(&snapshot, &mut io::sink()).unwrap();
}
