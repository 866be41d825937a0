//! Unit tests of the heap: shapes, resizes and what they keep.

use super::*;
use std::sync::OnceLock;

static HEAP: SampledHeap = SampledHeap::new();

fn heap() -> &'static SampledHeap {
    static READY: OnceLock<bool> = OnceLock::new();
    assert!(READY.get_or_init(|| HEAP.reserve(1 << 40, 1 << 33)));
    &HEAP
}

fn shape(size: usize, alignment: usize, zeroed: bool) -> Shape {
    Shape { size: Size::new(size).unwrap(), alignment, zeroed }
}

fn nallocx(size: usize, alignment: usize) -> usize {
    let flags = if alignment > 1 { je::MALLOCX_ALIGN(alignment) } else { 0 };
    // SAFETY: computes from numbers.
    unsafe { je::nallocx(size.max(1), flags) }
}

fn bytes(block: &mut Block) -> &mut [u8] {
    // SAFETY: a live block of a test's.
    unsafe { std::slice::from_raw_parts_mut(block.start().as_ptr().cast(), block.usable()) }
}

#[test]
fn blocks_have_what_nallocx_says_and_keep_their_header() {
    let heap = heap();
    for size in [0, 1, 8, 9, 100, 4096, 14_337, 16_384, 32_768, 32_769, 100_000, 3 << 20] {
        for alignment in [1, 8, 16, 32, 64, 4096, 1 << 21] {
            let mut block = heap.allocate(&shape(size, alignment, true), size).unwrap();
            let start = block.start();
            assert!(heap.holds(start.as_ptr()) && (start.as_ptr() as usize).is_multiple_of(alignment));
            assert_eq!(block.usable(), nallocx(size, alignment), "{size} at {alignment}");
            assert!(size < LARGE || (start.as_ptr() as usize).is_multiple_of(64));
            assert_eq!(block.record().swap(0x1234, Ordering::Relaxed), NO_RECORD);
            assert!(bytes(&mut block).iter().all(|&byte| byte == 0));
            bytes(&mut block).fill(0xff);
            let found = heap.find(start).unwrap();
            assert_eq!((found.usable(), found.record().load(Ordering::Relaxed)), (block.usable(), 0x1234));
            // SAFETY: allocated above.
            unsafe { heap.free(block, size) };
            assert!(heap.find(start).is_none(), "a second free finds a block");
        }
    }
    assert!(!heap.holds(Box::into_raw(Box::new(1)).cast()));
    assert!(heap.allocate(&shape(1 << 62, 1, false), 0).is_none());
    assert!(heap.allocate(&shape(8, 1 << 62, false), 0).is_none());
}

#[test]
fn resizes_keep_what_was_there_and_zero_what_comes() {
    let heap = heap();
    let sizes = [1, 100, 112, 113, 5000, 14_336, 16_384, 20_000, 40_000, 33_000, 1 << 20, 3 << 20, 70_000, 9, 2 << 20];
    for zeroed in [false, true] {
        let mut block = heap.allocate(&shape(40, 1, true), 0).unwrap();
        bytes(&mut block).fill(0xee);
        for size in sizes.into_iter().cycle().take(60) {
            let before = block.usable();
            // SAFETY: the block is ours, and replaced.
            block = unsafe { heap.resize(block, &shape(size, 1, zeroed), 3) }.unwrap();
            assert_eq!((block.usable(), block.record().load(Ordering::Relaxed)), (nallocx(size, 1), NO_RECORD));
            let kept = before.min(block.usable());
            let (old, new) = bytes(&mut block).split_at(kept);
            assert!(old.iter().all(|&byte| byte == 0xee), "{before} → {size}");
            assert!(!zeroed || new.iter().all(|&byte| byte == 0), "{before} → {size}");
            bytes(&mut block).fill(0xee);
        }
        // SAFETY: it is ours.
        unsafe { heap.free(block, 0) };
    }
}

#[test]
fn a_large_block_grows_in_place_where_there_is_room() {
    let heap = heap();
    let mut block = heap.allocate(&shape(8 << 20, 1, false), 1).unwrap();
    let mut moves = 0;
    for size in ((8 << 20)..(32 << 20)).step_by(16 << 10) {
        let before = block.start();
        // SAFETY: the block is ours, and replaced.
        block = unsafe { heap.resize(block, &shape(size, 1, false), 1) }.unwrap();
        moves += u32::from(block.start() != before);
    }
    assert!(moves < 40, "{moves} of 1536 steps moved the block");
    // SAFETY: it is ours.
    unsafe { heap.free(block, 1) };
}

#[test]
fn an_alignment_survives_resizes_that_ask_for_it() {
    let heap = heap();
    let mut block = heap.allocate(&shape(100_000, 4096, false), 2).unwrap();
    for (size, alignment) in [(300_000, 4096), (50_000, 1), (900_000, 1), (900_000, 4096), (70_000, 1 << 16), (64, 64)]
    {
        // SAFETY: the block is ours, and replaced.
        block = unsafe { heap.resize(block, &shape(size, alignment, false), 2) }.unwrap();
        assert!((block.start().as_ptr() as usize).is_multiple_of(alignment), "{size} at {alignment}");
        assert!(block.usable() >= size);
    }
    // SAFETY: it is ours.
    unsafe { heap.free(block, 2) };
}

#[test]
fn in_place_means_that_the_address_stays() {
    let heap = heap();
    let at = |size| shape(size, 1, true);
    let mut block = heap.allocate(&at(1 << 20), 3).unwrap();
    block.record().store(7, Ordering::Relaxed);
    let start = block.start();
    bytes(&mut block).fill(0xee);
    for (least, most) in
        [(100_000, 100_000), (40_000, 60_000), (50_000, 4 << 20), (64_000, 64_000), (1, 100), (20 << 40, 20 << 40)]
    {
        // SAFETY: it is ours.
        let now = unsafe { heap.resize_in_place(block, &at(least), &at(most)) };
        assert_eq!((now.start(), now.record().load(Ordering::Relaxed)), (start, 7));
        assert!(now.usable() == block.usable() || (nallocx(least, 1)..=nallocx(most, 1)).contains(&now.usable()));
        assert_eq!(heap.find(start).unwrap().usable(), now.usable());
        block = now;
    }
    assert!(block.usable() < 1 << 20);
    let small = heap.allocate(&at(100), 3).unwrap();
    // SAFETY: it is ours.
    assert_eq!(unsafe { heap.resize_in_place(small, &at(1000), &at(5000)) }.usable(), 112);
    // SAFETY: they are ours.
    unsafe { heap.free(small, 3) };
    // SAFETY: as above.
    unsafe { heap.free(block, 3) };
}
