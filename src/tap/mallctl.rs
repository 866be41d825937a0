//! Floor 6: jemalloc's controls of its profiler, answered by this one.
//!
//! The embedded jemalloc is built without its profiler and knows these names only to refuse them. Names, types,
//! access and error numbers are those of jemalloc 5.3.1, `src/ctl.c`; the first match in [`CONTROLS`] answers.
//! What is not there (`prof.stats.*`, `prof.log_*`, `experimental.prof_recent.*`) is refused with ENOENT, as by a
//! jemalloc without that part.
//!
//! # Safety
//! The caller's pointers are null or point at memory of the stated size, by the contract of mallctl(3).
#![allow(unsafe_code)]

use super::dump::Reason;
use super::guard::Guard;
use super::lifecycle;
use super::os::tls;
use super::profiler::PROFILER;
use super::settings::Settings;
use std::cell::Cell;
use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
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
type Answer = Result<(), c_int>;
type Control = fn(&Exchange, &Settings) -> Answer;

/// The controls that are ours.
const CONTROLS: &[(&[u8], Control)] = &[
    (b"prof.active", |exchange, settings| {
        exchange.switch_if(settings.options.prof, PROFILER.is_active(), |on| PROFILER.set_active(on))
    }),
    (b"prof.thread_active_init", |exchange, settings| exchange.flag(settings, &PROFILER.thread_active)),
    (b"prof.gdump", |exchange, settings| exchange.flag(settings, &PROFILER.gdump)),
    (b"prof.dump", dump),
    (b"prof.prefix", prefix),
    (b"prof.reset", reset),
    (b"prof.interval", |exchange, _| exchange.constant(PROFILER.interval())),
    (b"prof.lg_sample", |exchange, _| exchange.constant(PROFILER.period().ilog2() as usize)),
    (b"thread.prof.active", |exchange, settings| {
        PROFILER.check_life(tls::thread());
        let muted = &tls::thread().muted;
        exchange.switch_if(settings.options.prof, !muted.get(), |on| muted.set(!on))
    }),
    (b"thread.prof.name", thread_name),
    (b"config.prof", |exchange, _| exchange.constant(true)),
    (b"config.prof_libgcc", |exchange, _| exchange.constant(false)),
    (b"config.prof_libunwind", |exchange, _| exchange.constant(false)),
    (b"config.prof_frameptr", |exchange, _| exchange.constant(false)),
    (b"opt.prof", |exchange, settings| exchange.constant(settings.options.prof)),
    (b"opt.prof_active", |exchange, settings| exchange.constant(settings.options.prof_active)),
    (b"opt.prof_accum", |exchange, settings| exchange.constant(settings.options.prof_accum)),
    (b"opt.prof_final", |exchange, settings| exchange.constant(settings.options.prof_final)),
    (b"opt.prof_gdump", |exchange, settings| exchange.constant(settings.options.prof_gdump)),
    (b"opt.prof_leak", |exchange, settings| exchange.constant(settings.options.prof_leak)),
    (b"opt.prof_leak_error", |exchange, settings| exchange.constant(settings.options.prof_leak_error)),
    (b"opt.prof_thread_active_init", |exchange, settings| exchange.constant(settings.options.prof_thread_active_init)),
    (b"opt.prof_sys_thread_name", |exchange, settings| exchange.constant(settings.options.prof_sys_thread_name)),
    (b"opt.prof_pid_namespace", |exchange, _| exchange.constant(false)),
    (b"opt.prof_stats", |exchange, _| exchange.constant(false)),
    (b"opt.prof_recent_alloc_max", |exchange, _| exchange.constant(0isize)),
    (b"opt.prof_bt_max", |exchange, settings| exchange.constant(settings.options.prof_bt_max as c_uint)),
    (b"opt.lg_prof_sample", |exchange, settings| exchange.constant(settings.options.lg_prof_sample as usize)),
    (b"opt.lg_prof_interval", |exchange, settings| {
        exchange.constant(settings.options.lg_prof_interval.map_or(-1, |lg| lg as isize))
    }),
    (b"opt.prof_prefix", |exchange, settings| exchange.constant(settings.prefix_c_str().as_ptr())),
    (b"opt.prof_time_resolution", |exchange, _| exchange.constant(c"default".as_ptr())),
];

/// The number of the control of this name, if it is ours.
pub(crate) fn find(name: &[u8]) -> Option<usize> {
    CONTROLS.iter().position(|(known, _)| *known == name)
}

/// Parts of a control's name: how long its number in jemalloc's manner is.
pub(crate) fn depth(number: usize) -> usize {
    CONTROLS.get(number).map_or(0, |(name, _)| name.split(|&byte| byte == b'.').count())
}

/// Reads or writes a control of ours.
pub(crate) fn call(number: usize, exchange: &Exchange) -> c_int {
    lifecycle::ensure_started();
    let (Some((_, control)), Some(settings)) = (CONTROLS.get(number), PROFILER.settings()) else {
        return libc::ENOENT;
    };
    control(exchange, settings).err().unwrap_or(0)
}

impl Exchange {
    /// Gives the old value (`READ` in ctl.c): where the size is wrong, as much as fits, and EINVAL.
    fn give<T: Copy>(&self, value: T) -> Answer {
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
    fn take<T: Copy>(&self) -> Result<Option<T>, c_int> {
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
    fn constant<T: Copy>(&self, value: T) -> Answer {
        if !self.new.is_null() || self.new_len != 0 {
            return Err(libc::EPERM);
        }
        self.give(value)
    }

    /// A value that can only be written.
    fn only_written(&self) -> Answer {
        if self.old.is_null() && self.old_len.is_null() { Ok(()) } else { Err(libc::EPERM) }
    }

    /// A switch that can be turned where profiling is on; elsewhere it reads as off, and stays so.
    fn switch_if(&self, profiling: bool, before: bool, set: impl FnOnce(bool)) -> Answer {
        match self.take::<u8>()? {
            Some(on) if profiling => set(on != 0),
            Some(on) if on != 0 => return Err(libc::ENOENT),
            _ => (),
        }
        self.give(before && profiling)
    }

    fn flag(&self, settings: &Settings, flag: &AtomicBool) -> Answer {
        self.switch_if(settings.options.prof, flag.load(Ordering::Relaxed), |on| flag.store(on, Ordering::Relaxed))
    }

    /// A string that the caller passes as a pointer; `None` where there is none, or it is null.
    fn string(&self) -> Result<Option<&CStr>, c_int> {
        let string = self.take::<*const c_char>()?.filter(|string| !string.is_null());
        // SAFETY: the caller passes a C string.
        Ok(string.map(|string| unsafe { CStr::from_ptr(string) }))
    }
}

fn needs_profiling(settings: &Settings) -> Answer {
    if settings.options.prof { Ok(()) } else { Err(libc::ENOENT) }
}

/// `prof.dump`: to the named file, or to the next of the series.
fn dump(exchange: &Exchange, settings: &Settings) -> Answer {
    needs_profiling(settings)?;
    exchange.only_written()?;
    let path = exchange.string()?;
    let _guard = Guard::enter().ok_or(libc::EFAULT)?;
    let written = match path {
        Some(path) => PROFILER.dump_to(Path::new(OsStr::from_bytes(path.to_bytes()))).is_some(),
        None => !settings.prefix().is_empty() && PROFILER.dump(Reason::Request).is_some(),
    };
    if written { Ok(()) } else { Err(libc::EFAULT) }
}

fn prefix(exchange: &Exchange, settings: &Settings) -> Answer {
    needs_profiling(settings)?;
    exchange.only_written()?;
    if let Some(prefix) = exchange.string()? {
        let _guard = Guard::enter();
        settings.set_prefix(prefix.to_bytes());
    }
    Ok(())
}

fn reset(exchange: &Exchange, settings: &Settings) -> Answer {
    needs_profiling(settings)?;
    exchange.only_written()?;
    let lg = exchange.take::<usize>()?.unwrap_or(PROFILER.period().ilog2() as usize);
    let _guard = Guard::enter();
    PROFILER.reset(lg.min(63) as u32);
    Ok(())
}

/// `thread.prof.name`: kept for who asks; dumps show the system's name, which `prof_sys_thread_name` wants.
fn thread_name(exchange: &Exchange, settings: &Settings) -> Answer {
    needs_profiling(settings)?;
    let name: &Cell<*const c_char> = &tls::thread().name;
    if exchange.new.is_null() {
        let name = if name.get().is_null() { c"".as_ptr() } else { name.get() };
        return exchange.give(name);
    }
    exchange.only_written()?;
    if settings.options.prof_sys_thread_name {
        return Err(libc::ENOENT);
    }
    let new = exchange.string()?.ok_or(libc::EINVAL)?;
    if !new.to_bytes().iter().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t')) {
        return Err(libc::EFAULT);
    }
    // The old one may still be read by who asked for it.
    name.set(Box::leak(Box::<CStr>::from(new)).as_ptr());
    Ok(())
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

    #[test]
    fn names_are_found_with_their_depth() {
        assert_eq!(find(b"prof.dump").map(depth), Some(2));
        assert_eq!(find(b"thread.prof.name").map(depth), Some(3));
        assert_eq!(find(b"prof"), None);
    }
}
