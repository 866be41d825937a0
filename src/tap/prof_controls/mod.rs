//! jemalloc's controls of its profiler, answered by this one (`prof.*`, `thread.prof.*`, `opt.prof*`).
//!
//! The embedded jemalloc is built without its profiler and refuses these names. Names, types, access and error numbers
//! are those of jemalloc 5.3.1, `src/ctl.c`; the first match in [`CONTROLS`] answers. Controls that are not in it
//! (`prof.stats.*`, `prof.log_*`, `experimental.prof_recent.*`) are refused with ENOENT, as by a jemalloc without that
//! part. `exports/mallctl.rs` is the way in, `backend/mallctl.rs` our own questions to jemalloc.

mod exchange;

pub(crate) use exchange::Exchange;

use super::dump::Reason;
use super::errand::Errand;
use super::guard::Guard;
use super::lifecycle;
use super::os::tls;
use super::profiler::PROFILER;
use super::settings::Settings;
use exchange::Answer;
use std::cell::Cell;
use std::ffi::{CStr, OsStr, c_char, c_int, c_uint};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How a control answers an exchange.
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
    (b"opt.prof_pid_namespace", |exchange, settings| exchange.constant(settings.options.prof_pid_namespace)),
    (b"opt.prof_usdt", |exchange, settings| exchange.constant(settings.options.prof_usdt)),
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
    PROFILER.check_life(tls::thread());
    control(exchange, settings).err().unwrap_or(0)
}

fn needs_profiling(settings: &Settings) -> Answer {
    if settings.options.prof { Ok(()) } else { Err(libc::ENOENT) }
}

/// `prof.dump`: to the named file, or to the next of the series.
fn dump(exchange: &Exchange, settings: &Settings) -> Answer {
    needs_profiling(settings)?;
    exchange.only_written()?;
    let path = exchange.string()?;
    // Not for a thread that is inside an allocation, or writes a dump already.
    drop(Guard::enter().ok_or(libc::EFAULT)?);
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
        return on_errand(|| settings.set_prefix(prefix.to_bytes()));
    }
    Ok(())
}

fn reset(exchange: &Exchange, settings: &Settings) -> Answer {
    needs_profiling(settings)?;
    exchange.only_written()?;
    let lg_period = exchange.take::<usize>()?.map(|lg| lg.min(63) as u32);
    on_errand(|| PROFILER.reset(lg_period))
}

/// Runs what allocates or touches files.
fn on_errand<T>(work: impl FnOnce() -> T) -> Result<T, c_int> {
    if PROFILER.may_not_sample() {
        return Err(libc::EFAULT);
    }
    Errand::run(|_| work()).ok_or(libc::EFAULT)
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
    on_errand(|| name.set(Box::leak(Box::<CStr>::from(new)).as_ptr()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_their_depth() {
        assert_eq!(find(b"prof.dump").map(depth), Some(2));
        assert_eq!(find(b"thread.prof.name").map(depth), Some(3));
        assert_eq!(find(b"prof"), None);
    }
}
