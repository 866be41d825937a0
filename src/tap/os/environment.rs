//! The environment as the kernel put it on the stack, readable before libc is initialised.
//!
//! A `malloc` from `.preinit_array` runs before glibc sets `environ`, so the arrays are found by the stack's start.
//! Programs may overwrite these strings later (process titles), so callers copy what they need at once.
//!
//! # Safety
//! Reads the initial stack, whose shape the System V ABI fixes, once, during the first call.
#![allow(unsafe_code)]

use super::initial_stack;
use std::ffi::{CStr, c_char};

/// The strings that the process was started with, and what the kernel told it.
#[derive(Clone, Copy)]
pub(crate) struct Environment {
    argv: *const *const c_char,
    envp: *const *const c_char,
    auxv: *const [usize; 2],
}

impl Environment {
    /// Finds it. `None` if the loader left no trace of it.
    pub(crate) fn initial() -> Option<Environment> {
        let stack = initial_stack::start();
        if stack.is_null() {
            return None;
        }
        // SAFETY: the first word there is argc (System V ABI, "Process Initialization").
        let argc = unsafe { stack.read() };
        // SAFETY: argv begins behind argc.
        let argv = unsafe { stack.add(1) }.cast::<*const c_char>();
        // SAFETY: argv has argc entries and a null, then envp begins.
        let envp = unsafe { stack.add(1 + argc + 1) }.cast::<*const c_char>();
        let mut end = envp;
        // SAFETY: envp is ended by a null entry.
        while !unsafe { end.read() }.is_null() {
            // SAFETY: not yet at the null, so one further entry exists.
            end = unsafe { end.add(1) };
        }
        // SAFETY: the auxiliary vector begins behind that null.
        let auxv = unsafe { end.add(1) }.cast();
        Some(Environment { argv, envp, auxv })
    }

    /// The value of a variable, as it stands in memory now.
    pub(crate) fn variable(&self, name: &[u8]) -> Option<&'static [u8]> {
        strings(self.envp).find_map(|string| string.strip_prefix(name)?.strip_prefix(b"="))
    }

    /// The words that the program was called with, as they stand in memory now.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &'static [u8]> + use<> {
        strings(self.argv)
    }

    /// The path that was executed, as the caller gave it.
    pub(crate) fn executed(&self) -> &'static [u8] {
        let address = self.auxiliary(libc::AT_EXECFN as usize).unwrap_or(0) as *const c_char;
        if address.is_null() {
            return &[];
        }
        // SAFETY: AT_EXECFN points at a C string of the initial stack (getauxval(3)).
        unsafe { CStr::from_ptr(address) }.to_bytes()
    }

    /// An entry of the auxiliary vector (`AT_SECURE`, `AT_RANDOM`, …).
    pub(crate) fn auxiliary(&self, kind: usize) -> Option<usize> {
        let mut entry = self.auxv;
        loop {
            // SAFETY: the vector is ended by an AT_NULL entry; the walk stops there.
            let [found, value] = unsafe { entry.read() };
            if found == kind {
                return Some(value);
            }
            if found == libc::AT_NULL as usize {
                return None;
            }
            // SAFETY: not at AT_NULL yet.
            entry = unsafe { entry.add(1) };
        }
    }

    /// Sixteen random bytes from the kernel, as two words; zeros where there are none.
    pub(crate) fn random(&self) -> [u64; 2] {
        let address = self.auxiliary(libc::AT_RANDOM as usize).unwrap_or(0) as *const [u64; 2];
        if address.is_null() {
            return [0; 2];
        }
        // SAFETY: AT_RANDOM points at 16 readable bytes (getauxval(3)), of any alignment.
        unsafe { address.read_unaligned() }
    }
}

/// The strings of an array that a null entry ends. Only for the two arrays of the initial stack.
fn strings(array: *const *const c_char) -> impl Iterator<Item = &'static [u8]> {
    let mut entry = array;
    std::iter::from_fn(move || {
        // SAFETY: a null ends this array (System V ABI), and the walk stops there.
        let string = unsafe { entry.read() };
        if string.is_null() {
            return None;
        }
        // SAFETY: not at the null yet.
        entry = unsafe { entry.add(1) };
        // SAFETY: the entries are C strings that live as long as the process.
        Some(unsafe { CStr::from_ptr(string) }.to_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::Environment;

    #[test]
    fn finds_what_std_finds() {
        let environment = Environment::initial().unwrap();
        for (name, value) in std::env::vars_os() {
            let found = environment.variable(name.as_encoded_bytes()).unwrap();
            assert_eq!(found, value.as_encoded_bytes(), "{name:?}");
        }
        assert_eq!(environment.variable(b"HEAPTAP_NO_SUCH"), None);
        assert_eq!(environment.auxiliary(libc::AT_PAGESZ as usize), Some(4096));
        assert_ne!(environment.random(), [0, 0]);
        let arguments: Vec<_> = std::env::args_os().collect();
        assert!(environment.arguments().eq(arguments.iter().map(|argument| argument.as_encoded_bytes())));
        let name = std::env::current_exe().unwrap();
        assert!(environment.executed().ends_with(name.file_name().unwrap().as_encoded_bytes()));
    }
}
