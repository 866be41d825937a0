//! The process becomes another user: a life ends, as with fork.
//!
//! Its region belongs to the user who it was. As long as it can become that user again nothing changes: servers go to
//! and fro with each request. Once none of its user ids is that user's, it must not be able to write there any more:
//! the region is taken out of its memory before the call returns, and what follows is another life, empty, in a
//! directory of the new user's. Now and then a sample of the main thread looks for calls that went past us.
//!
//! Groups and capabilities change nothing: the files have no rights for groups, and belong to a user whatever that user
//! may do. Slow work has no place here. What the old life left, if it is worth a dump, is written by the next process
//! of the old user, or by `heaptap recover`; else it is removed while the rights are still there: a server that starts
//! again and again as root would fill the tmpfs with its first milliseconds.

use crate::tap::guard::Guard;
use crate::tap::os::{shared, sys};
use crate::tap::profiler::PROFILER;
use std::ffi::c_int;

/// Stands for "leave it as it is" in setreuid(2) and setresuid(2).
const SAME: u32 = u32::MAX;

/// A change of users, as the kernel is asked for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// setuid(2).
    User(u32),
    /// setreuid(2): real and effective.
    RealAndEffective(u32, u32),
    /// setresuid(2): real, effective, saved.
    All(u32, u32, u32),
}

impl Change {
    /// The real, effective and saved ids that follow from these, if the kernel agrees.
    fn after(self, [real, effective, saved]: [u32; 3]) -> [u32; 3] {
        let or = |new: u32, old: u32| if new == SAME { old } else { new };
        match self {
            Change::User(user) if effective == 0 => [user; 3],
            Change::User(user) => [real, user, saved],
            Change::RealAndEffective(new_real, new) => {
                let is_saved = new_real != SAME || (new != SAME && new != real);
                let new = or(new, effective);
                [or(new_real, real), new, if is_saved { new } else { saved }]
            }
            Change::All(new_real, new, new_saved) => [or(new_real, real), or(new, effective), or(new_saved, saved)],
        }
    }
}

/// The root directory is about to change. A process of root's will give up root, too.
pub(crate) fn before_confinement() {
    PROFILER.settle_here();
    let is_profiling = PROFILER.settings().is_some_and(|settings| settings.options.prof) && !PROFILER.may_not_open();
    if is_profiling && sys::process_id() == PROFILER.pid() && sys::user_ids() == [0; 3] {
        shared::hold_place();
    }
}

/// It did not change.
pub(crate) fn not_confined() {
    if sys::known_process_id() == Some(PROFILER.pid()) {
        shared::forget_place();
    }
}

/// Makes a call that changes users, and ends the life if it is over then.
pub(crate) fn around(change: Change, call: impl FnOnce() -> c_int) -> c_int {
    let profiling = PROFILER.settings().is_some_and(|settings| settings.options.prof);
    if !profiling || PROFILER.may_not_open() {
        return call();
    }
    let has_left = sys::keep_errno(|| {
        let _guard = Guard::enter();
        PROFILER.would_leave(change.after(sys::user_ids())) && PROFILER.leave_if_little()
    });
    let result = call();
    sys::keep_errno(|| {
        let _guard = Guard::enter();
        let known = shared::holds_place().then(|| PROFILER.known_text()).flatten();
        match PROFILER.check_user() {
            true if shared::holds_place() => {
                // The next life's files are made while they can be: afterwards there is no way to them.
                PROFILER.begin_confined(known);
                shared::forget_place();
            }
            // Refused after all.
            false if has_left => PROFILER.begin_unnamed(),
            _ => {}
        }
    });
    result
}

/// Users may have changed without us. For the main thread: a change that others make by themselves is theirs alone.
/// `true`: the life has ended.
#[inline(never)]
pub(crate) fn changed() -> bool {
    let _guard = Guard::enter();
    !PROFILER.may_not_open() && sys::thread_id() == PROFILER.pid() && PROFILER.check_user()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_as_the_kernel_has_them_follow() {
        let after = |change: Change, before| change.after(before);
        assert_eq!(after(Change::User(7), [0, 0, 0]), [7; 3]);
        assert_eq!(after(Change::User(7), [7, 8, 9]), [7, 7, 9]);
        assert_eq!(after(Change::All(SAME, 7, SAME), [0, 0, 0]), [0, 7, 0]);
        assert_eq!(after(Change::All(7, 8, 9), [0, 0, 0]), [7, 8, 9]);
        assert_eq!(after(Change::RealAndEffective(SAME, 7), [0, 0, 0]), [0, 7, 7]);
        assert_eq!(after(Change::RealAndEffective(SAME, 0), [0, 7, 7]), [0, 0, 7]);
        assert_eq!(after(Change::RealAndEffective(7, SAME), [0, 0, 0]), [7, 0, 0]);
    }
}
