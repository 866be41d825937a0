//! The program gives up system calls (seccomp): the tap gives up what would be deadly from then on.
//!
//! Called before the kernel gets the filter, on the thread that installs it. What a filter refuses with an error
//! does no harm and is not looked at. It counts for the whole process, though it may be meant for one thread:
//! threads inherit it, and who will is not known.

use crate::tap::guard::Guard;
use crate::tap::keeper;
use crate::tap::os::filter::{self, Deadly};
use crate::tap::os::sys;
use crate::tap::profiler::PROFILER;

/// Looks at a filter that is about to be installed.
///
/// # Safety
/// `program` is what a caller passes to seccomp(2).
#[allow(unsafe_code)]
pub(crate) unsafe fn prepare(program: *const libc::sock_fprog) {
    // SAFETY: passed on to the caller.
    give_up(unsafe { filter::examine(program) });
}

/// The strict mode is about to begin.
pub(crate) fn prepare_strict() {
    give_up(Deadly::EVERYTHING);
}

fn give_up(deadly: Deadly) {
    let profiling = PROFILER.settings().is_some_and(|settings| settings.options.prof);
    if !profiling || !deadly.files || PROFILER.may_not_open() && !deadly.sampling {
        return;
    }
    let _guard = Guard::enter();
    PROFILER.forbid(deadly);
    keeper::give_way();
    if PROFILER.is_significant() {
        let what: &[u8] = if deadly.sampling { b"profiling stops" } else { b"no dumps from now on" };
        sys::say(&[b"heaptap: a seccomp filter of the program kills for what the profiler needs: ", what]);
    }
}
