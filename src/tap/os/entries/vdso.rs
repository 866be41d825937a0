//! The functions that the kernel maps into every process, found without the loader: clocks and the processor's number.
//!
//! The loader keeps its own table of them to itself, and libc's functions that use it may have been replaced. The image
//! is an ELF file in memory (vdso(7)) that comes from the kernel; it is read with checked offsets all the same. Where
//! there is none (valgrind, gVisor), the system calls do it.
//!
//! # Safety
//! Reads the image within the bounds of its one loaded segment, and calls functions by the contract of vdso(7).
#![allow(unsafe_code)]

use super::raw;
use crate::tap::os::environment::Environment;
use crate::wire::elf;
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(target_arch = "x86_64")]
const NAMES: [&CStr; 2] = [c"__vdso_clock_gettime", c"__vdso_getcpu"];
// The kernel has no getcpu for aarch64.
#[cfg(target_arch = "aarch64")]
const NAMES: [&CStr; 2] = [c"__kernel_clock_gettime", c"__kernel_getcpu"];

/// Not looked for yet.
const UNKNOWN: usize = 0;
/// There is none.
const NONE: usize = 1;

/// Addresses of the two functions. Relaxed: every thread that looks finds the same.
static CLOCK: AtomicUsize = AtomicUsize::new(UNKNOWN);
static PROCESSOR: AtomicUsize = AtomicUsize::new(UNKNOWN);

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;
type GetCpu = unsafe extern "C" fn(*mut c_uint, *mut c_uint, *mut c_void) -> c_int;

/// The address of a function, if there is one.
#[inline]
fn address(of: &AtomicUsize) -> Option<usize> {
    match of.load(Ordering::Relaxed) {
        UNKNOWN => look_up(of),
        NONE => None,
        found => Some(found),
    }
}

#[cold]
fn look_up(of: &AtomicUsize) -> Option<usize> {
    let found = Image::of_process().map_or([None; 2], |image| NAMES.map(|name| image.function(name)));
    for (place, address) in [&CLOCK, &PROCESSOR].into_iter().zip(found) {
        place.store(address.unwrap_or(NONE), Ordering::Relaxed);
    }
    Some(of.load(Ordering::Relaxed)).filter(|&address| address != NONE)
}

/// clock_gettime(2).
///
/// # Safety
/// As there.
pub(super) unsafe fn clock_gettime(clock: libc::clockid_t, place: *mut libc::timespec) -> c_int {
    if let Some(address) = address(&CLOCK) {
        // SAFETY: the kernel's function of that name has this type.
        let function = unsafe { std::mem::transmute::<usize, ClockGettime>(address) };
        // SAFETY: passed on to the caller.
        if unsafe { function(clock, place) } == 0 {
            return 0;
        }
    }
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_clock_gettime, [clock as usize, place as usize, 0, 0, 0, 0]) as c_int }
}

/// The processor that this thread runs on, as it is now.
pub(super) fn processor() -> Option<u32> {
    let mut number: c_uint = 0;
    let place = &raw mut number;
    let result = match address(&PROCESSOR) {
        Some(address) => {
            // SAFETY: the kernel's function of that name has this type.
            let function = unsafe { std::mem::transmute::<usize, GetCpu>(address) };
            // SAFETY: a place for the number; the rest is not wanted.
            unsafe { function(place, ptr::null_mut(), ptr::null_mut()) as isize }
        }
        // SAFETY: as above.
        None => unsafe { raw::asked(libc::SYS_getcpu, [place as usize, 0, 0, 0, 0, 0]) },
    };
    (result == 0).then_some(number)
}

/// The image in memory: the part of it that is loaded, which is all of it.
struct Image {
    base: *const u8,
    bytes: usize,
    /// The difference between addresses in memory and in the file.
    bias: usize,
    dynamic: usize,
}

impl Image {
    /// This process's. `None`: there is none, or it is not what it should be.
    fn of_process() -> Option<Image> {
        let base = Environment::initial()?.auxiliary(libc::AT_SYSINFO_EHDR as usize)?;
        if base == 0 {
            return None;
        }
        // Nothing is known yet but that the kernel mapped a page there.
        let mut image = Image { base: base as *const u8, bytes: 4096, bias: 0, dynamic: 0 };
        let segments = elf::Header::read(&image.read::<[u8; elf::HEADER_BYTES]>(0)?).ok()?.segments;
        let mut loaded = 0;
        let mut dynamic = None;
        for number in 0..segments.count {
            let at = (segments.offset as usize).checked_add(number * elf::SEGMENT_BYTES)?;
            let segment = elf::Segment::read(&image.read::<[u8; elf::SEGMENT_BYTES]>(at)?)?;
            match segment.kind {
                elf::PT_LOAD => {
                    image.bias = base.wrapping_add(segment.offset as usize).wrapping_sub(segment.address as usize);
                    loaded = segment.memory_bytes as usize;
                }
                elf::PT_DYNAMIC => dynamic = Some(segment.offset as usize),
                _ => (),
            }
        }
        image.bytes = loaded;
        image.dynamic = dynamic?;
        Some(image)
    }

    /// A value at an offset from the start.
    fn read<T: Copy>(&self, offset: usize) -> Option<T> {
        let end = offset.checked_add(size_of::<T>())?;
        // SAFETY: the bytes lie in the image; only types of which every bit pattern is valid are read here.
        (end <= self.bytes).then(|| unsafe { self.base.add(offset).cast::<T>().read_unaligned() })
    }

    /// The offset that an entry of the dynamic section points at.
    fn table(&self, wanted: u64) -> Option<usize> {
        let entries = (self.dynamic..).step_by(16).map_while(|at| self.read::<[u64; 2]>(at));
        let mut entries = entries.take_while(|[tag, _]| *tag != 0);
        let [_, address] = entries.find(|[tag, _]| *tag == wanted)?;
        Some((address as usize).wrapping_add(self.bias).wrapping_sub(self.base as usize))
    }

    /// The address of a function that it defines. The symbols end where their names begin.
    fn function(&self, name: &CStr) -> Option<usize> {
        const DT_STRTAB: u64 = 5;
        const DT_SYMTAB: u64 = 6;
        let (symbols, names) = (self.table(DT_SYMTAB)?, self.table(DT_STRTAB)?);
        let mut symbols = (symbols..names).step_by(24).map_while(|at| self.read::<[u64; 3]>(at));
        let [_, value, _] = symbols.find(|&[word, value, _]| {
            let (at, section) = (word as u32 as usize, word >> 48);
            section != 0 && value != 0 && self.is_named(names.wrapping_add(at), name)
        })?;
        Some((value as usize).wrapping_add(self.bias))
    }

    /// Whether this C string stands there.
    fn is_named(&self, offset: usize, name: &CStr) -> bool {
        let bytes = name.to_bytes_with_nul().iter().enumerate();
        bytes.into_iter().all(|(at, &byte)| self.read::<u8>(offset.wrapping_add(at)) == Some(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_functions_are_found_and_right() {
        let clocks = [libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC_COARSE];
        let now = |clock, ours: bool| {
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: a place for the time.
            let result = unsafe {
                if ours { clock_gettime(clock, &raw mut time) } else { libc::clock_gettime(clock, &raw mut time) }
            };
            (result, time.tv_sec, time.tv_nsec)
        };
        for clock in clocks {
            let [before, ours, after] = [false, true, false].map(|ours| now(clock, ours));
            assert!(before <= ours && ours <= after, "{before:?} {ours:?} {after:?}");
        }
        assert_eq!(now(12345, true), (-1, 0, 0));
        assert_eq!(crate::tap::os::sys::errno(), libc::EINVAL);
        if let Some(image) = Image::of_process() {
            assert!(image.function(NAMES[0]).is_some() && image.function(c"no_such").is_none());
        }
    }
}
