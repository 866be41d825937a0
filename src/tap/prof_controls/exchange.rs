//! The values that go to and fro in one call of `mallctl`: the old one out, the new one in.
//!
//! Sizes, access and error numbers are those of jemalloc 5.3.1, `src/ctl.c`.
//!
//! # Safety
//! The caller's pointers are null or point at memory of the stated size, by the contract of mallctl(3).
#![allow(unsafe_code)]

use crate::tap::settings::Settings;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

/// The caller's places for the old value and the new one.
pub(crate) struct Exchange {
    /// Where the old value goes, or null.
    pub(crate) old: *mut c_void,
    /// How many bytes there are; tells how many were written.
    pub(crate) old_len: *mut usize,
    /// The new value, or null.
    pub(crate) new: *mut c_void,
    /// How many bytes it has.
    pub(crate) new_len: usize,
}

/// How a control answers: 0 or an error number.
pub(super) type Answer = Result<(), c_int>;

impl Exchange {
    /// Gives the old value (`READ` in ctl.c): where the size is wrong, as much as fits, and EINVAL.
    pub(super) fn give<T: Copy>(&self, value: T) -> Answer {
        if self.old.is_null() || self.old_len.is_null() {
            return Ok(());
        }
        // SAFETY: the caller's place for a size.
        let room = unsafe { self.old_len.read() };
        let bytes = size_of::<T>().min(room);
        // SAFETY: the caller has `room` bytes there.
        unsafe { ptr::copy_nonoverlapping((&raw const value).cast::<u8>(), self.old.cast(), bytes) };
        if room == size_of::<T>() {
            return Ok(());
        }
        // SAFETY: the caller's place for a size.
        unsafe { self.old_len.write(bytes) };
        Err(libc::EINVAL)
    }

    /// Takes the new value (`WRITE`), if there is one.
    pub(super) fn take<T: Copy>(&self) -> Result<Option<T>, c_int> {
        if self.new.is_null() {
            return Ok(None);
        }
        if self.new_len != size_of::<T>() {
            return Err(libc::EINVAL);
        }
        // SAFETY: the caller has that many bytes there, of any alignment.
        Ok(Some(unsafe { self.new.cast::<T>().read_unaligned() }))
    }

    /// A value that can only be read.
    pub(super) fn constant<T: Copy>(&self, value: T) -> Answer {
        if !self.new.is_null() || self.new_len != 0 {
            return Err(libc::EPERM);
        }
        self.give(value)
    }

    /// A value that can only be written.
    pub(super) fn only_written(&self) -> Answer {
        if self.old.is_null() && self.old_len.is_null() { Ok(()) } else { Err(libc::EPERM) }
    }

    /// A switch that can be turned where profiling is on; elsewhere it reads as off, and stays so.
    pub(super) fn switch_if(&self, profiling: bool, before: bool, set: impl FnOnce(bool)) -> Answer {
        match self.take::<u8>()? {
            Some(on) if profiling => set(on != 0),
            Some(on) if on != 0 => return Err(libc::ENOENT),
            _ => (),
        }
        self.give(before && profiling)
    }

    pub(super) fn flag(&self, settings: &Settings, flag: &AtomicBool) -> Answer {
        self.switch_if(settings.options.prof, flag.load(Ordering::Relaxed), |on| flag.store(on, Ordering::Relaxed))
    }

    /// A string that the caller passes as a pointer; `None` where there is none, or it is null.
    pub(super) fn string(&self) -> Result<Option<&CStr>, c_int> {
        let string = self.take::<*const c_char>()?.filter(|string| !string.is_null());
        // SAFETY: the caller passes a C string.
        Ok(string.map(|string| unsafe { CStr::from_ptr(string) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange<T, U>(old: Option<&mut T>, old_len: Option<&mut usize>, new: Option<&mut U>, len: usize) -> Exchange {
        Exchange {
            old: old.map_or(ptr::null_mut(), |old| ptr::from_mut(old).cast()),
            old_len: old_len.map_or(ptr::null_mut(), ptr::from_mut),
            new: new.map_or(ptr::null_mut(), |new| ptr::from_mut(new).cast()),
            new_len: len,
        }
    }

    #[test]
    fn values_of_the_wrong_size_are_refused_as_by_jemalloc() {
        let (mut old, mut len) = (0u32, 8);
        assert_eq!(exchange(Some(&mut old), Some(&mut len), None::<&mut u8>, 0).give(7u32), Err(libc::EINVAL));
        assert_eq!((old, len), (7, 4));
        let mut new = 1u32;
        assert_eq!(exchange(None::<&mut u8>, None, Some(&mut new), 4).take::<u8>(), Err(libc::EINVAL));
        assert_eq!(exchange(None::<&mut u8>, None, Some(&mut new), 4).take::<u32>(), Ok(Some(1)));
        assert_eq!(exchange(None::<&mut u8>, None, Some(&mut new), 4).constant(true), Err(libc::EPERM));
        assert_eq!(exchange(Some(&mut old), Some(&mut len), None::<&mut u8>, 0).only_written(), Err(libc::EPERM));
    }

    #[test]
    fn switches_read_as_off_without_profiling() {
        let (mut old, mut len, mut on) = (9u8, 1, 1u8);
        let read = exchange(Some(&mut old), Some(&mut len), None::<&mut u8>, 0).switch_if(false, true, |_| panic!());
        assert_eq!((read, old), (Ok(()), 0));
        let write = exchange(None::<&mut u8>, None, Some(&mut on), 1);
        assert_eq!(write.switch_if(false, true, |_| panic!()), Err(libc::ENOENT));
        let mut set = false;
        assert_eq!((write.switch_if(true, false, |on| set = on), set), (Ok(()), true));
    }
}
