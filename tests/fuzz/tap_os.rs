//! The outside world of those rooms.

#[path = "../../src/tap/os/checked.rs"]
pub(crate) mod checked;
#[path = "../../src/tap/os/faults.rs"]
pub(crate) mod faults;
#[path = "../../src/tap/os/recent_pages.rs"]
pub(crate) mod recent_pages;
#[path = "../../src/tap/os/optional.rs"]
pub(crate) mod optional;

/// A clock that ticks whenever it is looked at.
pub(crate) mod clock {
    use std::sync::atomic::{AtomicU64, Ordering};

    pub(crate) fn tick_ns() -> u64 {
        static NOW: AtomicU64 = AtomicU64::new(0);
        NOW.fetch_add(1 << 20, Ordering::Relaxed)
    }
}

/// Thread and errno, as the standard library knows them.
pub(crate) mod sys {
    /// The first thread runs the fuzzer.
    pub(crate) fn thread_id() -> i32 {
        std::process::id() as i32
    }

    pub(crate) fn errno() -> i32 {
        std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
    }

    pub(crate) fn keep_errno<R>(work: impl FnOnce() -> R) -> R {
        work()
    }
}
