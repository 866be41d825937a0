//! A libjemalloc that the program is linked to (Debian's redis is): no call reaches it, the exports being ours, but it
//! reads the same options.
//!
//! With `prof_final` it writes a dump at the end, of nothing, after ours and under the very name that ours has:
//! jemalloc creates over what is there. So it is told to write where nothing can be written, and its complaint about
//! that is taken away at the end. A libjemalloc before 5.3.0 cannot be told.
//!
//! Where it is kept as the process's allocator (`prof_allocator:keep`) the calls do reach it: its profiler is switched
//! off.
//!
//! # Safety
//! `mallctl` and `malloc_message` are called and set by their contracts, jemalloc(3).
#![allow(unsafe_code)]

use crate::tap::backend::{keep, next};
use crate::tap::guard::Guard;
use crate::tap::os::libc_names::weak_address;
use crate::tap::profiler::PROFILER;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

type Mallctl = unsafe extern "C" fn(*const c_char, *mut c_void, *mut usize, *mut c_void, usize) -> c_int;
type Message = extern "C" fn(*mut c_void, *const c_char);

/// No such folder, and none can be made.
const NOWHERE: &CStr = c"/proc/heaptap-writes-the-dumps/jeprof";

/// Where its `malloc_message` is, null: there is no such library, or it writes nothing.
static MESSAGE: AtomicPtr<Message> = AtomicPtr::new(ptr::null_mut());

/// Makes it write nowhere. From the constructor.
pub(super) fn silence() {
    if keep::is_next_kept() && PROFILER.settings().is_some_and(|settings| settings.options.prof) {
        // It serves, and may be built with a profiler: two would sample one process.
        let _guard = Guard::enter();
        let (mut active, size) = (false, size_of::<bool>());
        // SAFETY: the control takes a `bool`; an allocator without it refuses the name.
        unsafe {
            let new = (&raw mut active).cast();
            next::mallctl(c"prof.active".as_ptr(), ptr::null_mut(), ptr::null_mut(), new, size);
        }
    }
    // Asked of the loader's own work: a look-up that fails has it make up a sentence, which costs a short process a
    // dozen page faults.
    if !writes() || weak_address!("malloc_message") == 0 {
        return;
    }
    // Of what this allocates nothing is the program's.
    let _guard = Guard::enter();
    // Looked up now: a look-up may allocate, and `exit` may be called where a signal has interrupted malloc.
    if let (Some(found), Some(message)) = (find(c"mallctl"), find(c"malloc_message")) {
        MESSAGE.store(message.as_ptr().cast(), Ordering::Relaxed);
        // SAFETY: the function of this name has this type.
        let mallctl = unsafe { std::mem::transmute::<NonNull<c_void>, Mallctl>(found) };
        let mut prefix = NOWHERE.as_ptr();
        let (new, size) = ((&raw mut prefix).cast(), size_of_val(&prefix));
        // SAFETY: the control takes a pointer to a string, which it copies.
        unsafe { mallctl(c"prof.prefix".as_ptr(), ptr::null_mut(), ptr::null_mut(), new, size) };
    }
}

/// Takes its complaint away. From our destructor: handlers that constructors have registered run later.
pub(super) extern "C" fn hush() {
    if let Some(message) = NonNull::new(MESSAGE.load(Ordering::Relaxed)) {
        // SAFETY: the variable of this name is a pointer to such a function, and the process is at its end.
        unsafe { message.write(say_nothing) };
    }
}

extern "C" fn say_nothing(_: *mut c_void, _: *const c_char) {}

/// Whether it has been told to write a final dump.
fn writes() -> bool {
    PROFILER.settings().is_some_and(|settings| settings.options.prof && settings.options.prof_final)
}

/// The meaning of the name in a library behind this one; only a libjemalloc's counts. That there is none is no error
/// that the program's `dlerror` should tell.
fn find(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: looks a NUL-terminated name up in the libraries behind this one.
    let found = NonNull::new(unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) });
    if found.is_none() {
        // SAFETY: takes the error away, and the text with it at the next call.
        unsafe { libc::dlerror() };
    }
    found
}
