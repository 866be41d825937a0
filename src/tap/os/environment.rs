//! The environment as the kernel put it on the stack, readable before libc is initialised.
//!
//! A `malloc` from `.preinit_array` runs before `environ` is set; the loader's `__libc_stack_end`
//! points at argc, argv, envp and the auxiliary vector from the very start. Programs may overwrite
//! these strings later (process titles), so whoever needs one copies it at once.
//!
//! # Safety
//! Reads the initial stack, whose shape the System V ABI fixes, once, during the first call.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};

unsafe extern "C" {
    static __libc_stack_end: *const usize;
}

/// The strings that the process was started with, and what the kernel told it.
#[derive(Clone, Copy)]
pub(crate) struct Environment {
    envp: *const *const c_char,
    auxv: *const [usize; 2],
}

impl Environment {
    /// Finds it. `None` if the loader left no trace of it.
    pub(crate) fn initial() -> Option<Environment> {
        // SAFETY: the loader sets this variable before it runs any code of a library.
        let stack = unsafe { __libc_stack_end };
        if stack.is_null() {
            return None;
        }
        // SAFETY: the first word there is argc (System V ABI, "Process Initialization").
        let argc = unsafe { stack.read() };
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
        Some(Environment { envp, auxv })
    }

    /// The value of a variable, as it stands in memory now.
    pub(crate) fn variable(&self, name: &[u8]) -> Option<&'static [u8]> {
        let mut entry = self.envp;
        loop {
            // SAFETY: `initial` found the null that ends this array; the walk stops there.
            let string = unsafe { entry.read() };
            if string.is_null() {
                return None;
            }
            // SAFETY: entries of envp are C strings that live as long as the process.
            let string = unsafe { CStr::from_ptr(string) }.to_bytes();
            if let Some(value) = string.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"=")) {
                return Some(value);
            }
            // SAFETY: not at the null yet.
            entry = unsafe { entry.add(1) };
        }
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
    }
}
