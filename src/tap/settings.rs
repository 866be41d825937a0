//! Settings: the options of the process, and the few environment variables that the tap reads.
//!
//! Read once, during the first call, before jemalloc may be called: options go into its conf as
//! they are parsed, and only then are strings copied (programs overwrite their environment).
//!
//! # Safety
//! The one pointer here is null or a leaked box.
#![allow(unsafe_code)]

use super::backend::Conf;
use super::os::{environment::Environment, map, processors, stderr, sys};
use crate::wire::options::complaint::{TEXT_BYTES, Used};
use crate::wire::options::{self, Complaint, Options};
use crate::wire::pattern;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

/// Arenas for each processor, as jemalloc has them.
const ARENAS_EACH: i64 = 4;

/// The settings of this process.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Options, in force from the first allocation.
    pub(crate) options: Options<'static>,
    /// The very process that `heaptap run` was given has this pid.
    pub(crate) run_pid: Option<u32>,
    /// File to which `heaptap run` wants each dump's path added.
    pub(crate) run_report: Option<&'static [u8]>,
    /// Where dumps go if the directory of `prof_prefix` cannot be written: in this order.
    pub(crate) fallback_directories: [Option<&'static [u8]>; 2],
    prefix_text: &'static CStr,
    /// The prefix that `prof.prefix` has put in place of `prof_prefix`; null: none.
    new_prefix: AtomicPtr<&'static [u8]>,
    /// Random words from the kernel, new with each exec.
    pub(crate) random: [u64; 2],
}

impl Settings {
    /// Reads them, and fills jemalloc's conf. Nothing is read of the environment of a set-user-id program.
    pub(crate) fn read(mut conf: Conf) -> Settings {
        let environment = Environment::initial();
        let secure = |found: &Environment| found.auxiliary(libc::AT_SECURE as usize) != Some(0);
        let random = environment.map_or([0; 2], |found| found.random());
        let readable = environment.filter(|found| !secure(found));
        let variable = |name: &[u8]| readable.and_then(|found| found.variable(name));
        #[cfg(feature = "faults")]
        super::os::faults::begin(variable(b"HEAPTAP_FAULTS").unwrap_or_default());
        let mut options = Options::DEFAULT;
        if map::address_space_limit().is_some() {
            // jemalloc keeps freed address space in pieces; under a limit a large request then fails for ever.
            conf.add(b"retain", b"false");
        }
        if let Some(quota) = processors::by_quota() {
            // As many for each as jemalloc makes; what the user says comes later, and counts.
            let mut digits = [0; TEXT_BYTES];
            conf.add(b"narenas", Used::Number(i64::from(quota).saturating_mul(ARENAS_EACH)).text(&mut digits));
        }
        for name in [&b"MALLOC_CONF"[..], b"HEAPTAP_CONF"] {
            let text = variable(name).unwrap_or_default();
            let mut forward = |key: &[u8], value: &[u8]| {
                if !conf.add(key, value) {
                    stderr::say(&[b"heaptap: too many options for jemalloc, ignored: ", key]);
                }
            };
            options::parse(text, &mut options, &mut forward, &mut complain);
        }
        options.settle();
        if options.prof && readable.is_some_and(|found| !is_chosen(&options, &found)) {
            options.prof = false;
        }
        if options.prof_leak_error && !options.prof_final {
            stderr::say(&[b"<jemalloc>: prof_leak_error is set w/o prof_final."]);
        }
        options.prof_prefix = copy(options.prof_prefix);
        let prefix_text = CString::new(options.prof_prefix).map_or(c"", |text| Box::leak(text.into_boxed_c_str()));
        options.prof_prefix = from_here(&options, options.prof_prefix);
        Settings {
            options,
            run_pid: variable(b"HEAPTAP_RUN_PID").and_then(|pid| std::str::from_utf8(pid).ok()?.parse().ok()),
            run_report: variable(b"HEAPTAP_RUN_REPORT").map(copy),
            fallback_directories: [b"HEAPTAP_DIR".as_slice(), b"TMPDIR"].map(|name| variable(name).map(absolute)),
            prefix_text,
            new_prefix: AtomicPtr::new(ptr::null_mut()),
            random,
        }
    }

    /// Whether this process may have keepers.
    pub(crate) fn has_keepers(&self) -> bool {
        self.options.prof && self.options.prof_keeper
    }

    /// First part of the names of dumps: `prof_prefix`, or what `prof.prefix` was set to.
    pub(crate) fn prefix(&self) -> &'static [u8] {
        let new = NonNull::new(self.new_prefix.load(Ordering::Acquire));
        // SAFETY: a leaked box, put there by `set_prefix`.
        new.map_or(self.options.prof_prefix, |new| *unsafe { new.as_ref() })
    }

    /// `prof_prefix` for C.
    pub(crate) fn prefix_c_str(&self) -> &'static CStr {
        self.prefix_text
    }

    /// Replaces the prefix. The old one is never freed: another thread may be reading it.
    pub(crate) fn set_prefix(&self, prefix: &[u8]) {
        self.new_prefix.store(Box::into_raw(Box::new(from_here(&self.options, prefix))), Ordering::Release);
    }
}

/// `prof_exe`, `prof_arg`: whether this process is one that shall be profiled. By the path that was executed, which
/// may be a link, or by what it leads to; the last part of either unless the pattern holds a directory.
fn is_chosen(options: &Options<'_>, environment: &Environment) -> bool {
    let has_path = options.prof_exe.contains(&b'/');
    let is_it = |path: &[u8]| {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        pattern::matches(options.prof_exe, if has_path { path } else { name })
    };
    let mut place = [0; 1024];
    let by_exe = options.prof_exe.is_empty() || is_it(environment.executed()) || is_it(sys::executable(&mut place));
    by_exe
        && (options.prof_arg.is_empty()
            || environment.arguments().any(|argument| pattern::matches(options.prof_arg, argument)))
}

/// A prefix from the root: programs go elsewhere later (mod_php into the document root), and their dumps do not.
/// `prof_pid_namespace`: the names of dumps tell pid namespaces apart, as jemalloc's do (`prof_dump_filename`).
fn from_here(options: &Options<'_>, prefix: &[u8]) -> &'static [u8] {
    let is_used = options.prof && !prefix.is_empty();
    let prefix = if is_used { absolute(prefix) } else { copy(prefix) };
    if !options.prof_pid_namespace || prefix.is_empty() {
        return prefix;
    }
    copy(&[prefix, b".", sys::pid_namespace().to_string().as_bytes()].concat())
}

/// A path from the root; where the present directory is gone it stays as it is.
fn absolute(path: &[u8]) -> &'static [u8] {
    let here = if path.starts_with(b"/") { None } else { sys::current_directory() };
    copy(&here.map_or_else(|| path.to_vec(), |here| here.join(OsStr::from_bytes(path)).into_os_string().into_vec()))
}

fn copy(bytes: &[u8]) -> &'static [u8] {
    Box::leak(Box::from(bytes))
}

fn complain(complaint: Complaint<'_>) {
    match complaint {
        Complaint::BadValue { words, key, value, allowed, used } => {
            let mut digits = [0; TEXT_BYTES];
            stderr::say(&[
                b"heaptap: ",
                words.as_bytes(),
                b": ",
                key,
                b":",
                value,
                b" (allowed: ",
                allowed.as_bytes(),
                b"; ",
                used.text(&mut digits),
                b" is used)",
            ]);
        }
        Complaint::Malformed(pair) => {
            stderr::say(&[b"heaptap: Malformed conf string -- ", pair, b" (options are key:value,key:value; skipped)"]);
        }
        Complaint::Mistyped { key, meant } => {
            stderr::say(&[b"heaptap: no option is called ", key, b"; did you mean ", meant, b"?"]);
        }
        Complaint::Unsupported { key } => stderr::say(&[b"heaptap: option not supported, ignored: ", key]),
    }
}
