//! The program gives up system calls (seccomp): the tap gives up what would be deadly from then on.
//!
//! On the thread that calls, around the call: what the filter would do to us is found out before (after it, the
//! question itself may be deadly), the keeper ends and nothing is sampled while the kernel decides, and what the
//! decision means is noted by memory stores alone. A call that the kernel refuses leaves everything as it was; the next
//! sample starts a keeper again.
//!
//! A call that a filter refuses with an error does no harm and is not looked at. It counts for the whole process,
//! though it may be meant for one thread: threads inherit it, and who will is not known.

use crate::tap::guard::Guard;
use crate::tap::keeper;
use crate::tap::os::filter::{self, Deadly, Filter};
use crate::tap::os::{optional, stderr, sys};
use crate::tap::profiler::PROFILER;
use std::ffi::c_long;

/// Lets the program install a filter by `call`.
///
/// # Safety
/// `call` is seccomp(2) or prctl(2) with this program, and says what the kernel said; `is_success` tells whether it was
/// yes.
#[allow(unsafe_code)]
pub(crate) unsafe fn install(
    program: *const libc::sock_fprog,
    call: impl FnOnce() -> c_long,
    is_success: impl FnOnce(c_long) -> bool,
) -> c_long {
    if !is_profiling() {
        return call();
    }
    let known = match sys::keep_errno(|| filter::examine(program)) {
        Filter::Refused => return call(),
        Filter::Kills(deadly) if deadly == (Deadly { speech: deadly.speech, ..Deadly::NOTHING }) => return call(),
        Filter::Kills(deadly) => Some(deadly),
        Filter::Unknown => None,
    };
    let pause = Pause::begin(known.unwrap_or(Deadly::EVERYTHING));
    let result = call();
    pause.end(|| {
        // SAFETY: passed on to the caller; the kernel has just accepted it.
        is_success(result).then(|| known.unwrap_or_else(|| unsafe { filter::examine_accepted(program) }))
    });
    result
}

/// Lets the program enter the strict mode by `call`.
pub(crate) fn install_strict(call: impl FnOnce() -> c_long) -> c_long {
    if !is_profiling() {
        return call();
    }
    let pause = Pause::begin(Deadly::EVERYTHING);
    let result = call();
    pause.end(|| (result == 0).then_some(Deadly::EVERYTHING));
    result
}

fn is_profiling() -> bool {
    PROFILER.settings().is_some_and(|settings| settings.options.prof)
}

/// Neither sampling nor files nor a keeper, until the kernel has decided.
struct Pause {
    /// Whether a line says what stops, and whether it can be written after the call.
    speaks: bool,
    speaks_after: bool,
}

impl Pause {
    fn begin(expected: Deadly) -> Pause {
        sys::keep_errno(|| {
            let _guard = Guard::enter();
            let is_news = expected.files && !PROFILER.may_not_open();
            let speaks = is_news && PROFILER.is_significant();
            PROFILER.forbid(true, true);
            let _ = keeper::give_way();
            let pause = Pause { speaks, speaks_after: !expected.speech };
            if speaks && expected.speech {
                say(b"would kill for what the profiler needs: it stops if the kernel accepts that");
            }
            pause
        })
    }

    /// The work that is deadly now; none: the kernel refused.
    fn end(self, accepted: impl FnOnce() -> Option<Deadly>) {
        let deadly = accepted().unwrap_or(Deadly::NOTHING);
        optional::give_up(deadly.optional);
        PROFILER.permit(!deadly.sampling, !deadly.files);
        if self.speaks && self.speaks_after && deadly.files {
            let _guard = Guard::enter();
            sys::keep_errno(|| match deadly.sampling {
                true => say(b"kills for what the profiler needs: profiling stops"),
                false => say(b"kills for what the profiler needs: no dumps from now on"),
            });
        }
    }
}

fn say(what: &[u8]) {
    stderr::say(&[b"heaptap: a seccomp filter of the program ", what]);
}
