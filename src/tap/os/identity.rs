//! The identity of this process: pid and token of its life, and whether it has become a fork child.
//!
//! A child of `fork` or raw `clone` runs on with a copy of everything; it must notice before it touches
//! what belongs to its parent. One page that the kernel zeroes in children (MADV_WIPEONFORK) tells, without
//! a system call. Children of `vfork` share our memory and see no zero; only their pid differs.
//!
//! # Safety
//! The page is mapped once and never unmapped.
#![allow(unsafe_code)]

use super::{clock, map, sys};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// The identity of this process.
pub(crate) struct ProcessIdentity {
    pid: AtomicU32,
    number: AtomicU32,
    resets: AtomicU32,
    wiped: AtomicPtr<AtomicU32>,
    start_ns: AtomicU64,
    token: AtomicU64,
    /// The user whom its files belong to.
    owner: AtomicU32,
    has_changed_user: AtomicBool,
}

impl ProcessIdentity {
    /// No life yet.
    pub(crate) const fn new() -> ProcessIdentity {
        ProcessIdentity {
            pid: AtomicU32::new(0),
            number: AtomicU32::new(0),
            resets: AtomicU32::new(0),
            wiped: AtomicPtr::new(ptr::null_mut()),
            start_ns: AtomicU64::new(0),
            token: AtomicU64::new(0),
            owner: AtomicU32::new(0),
            has_changed_user: AtomicBool::new(false),
        }
    }

    /// Begins a life, with random words that no other process has.
    pub(crate) fn begin(&self, random: [u64; 2]) {
        // A fork child in a sandbox that cannot ask goes on with its parent's, here and below.
        sys::known_user_id().into_iter().for_each(|user| self.owner.store(user, Ordering::Relaxed));
        self.start(random);
    }

    fn start(&self, random: [u64; 2]) {
        let pid = sys::known_process_id().unwrap_or(self.pid());
        let now = clock::monotonic_ns();
        self.pid.store(pid, Ordering::Relaxed);
        self.start_ns.store(now, Ordering::Relaxed);
        // One-way: half the bits are folded away, so the loader's secrets cannot be told from a token.
        let mixed = u128::from((random[0] ^ u64::from(pid)) | 1) * u128::from((random[1] ^ now) | 1);
        // Sequentially consistent, as in `token`: a thread that opens a store asks afterwards whether the life is the
        // same.
        self.token.store(mixed as u64 ^ (mixed >> 64) as u64, Ordering::SeqCst);
        self.number.fetch_add(1, Ordering::Relaxed);
        if self.wiped.load(Ordering::Relaxed).is_null() {
            self.wiped.store(wiped_page().unwrap_or(ptr::null_mut()), Ordering::Relaxed);
        }
        if let Some(word) = self.wiped() {
            word.store(1, Ordering::Relaxed);
        }
    }

    /// Begins another life if this is a child. `true`: it is. Only where the kernel cannot tell does the
    /// pid decide, which a child in a new pid namespace may share with its parent.
    pub(crate) fn begin_anew(&self) -> bool {
        let is_child = match self.wiped() {
            Some(word) => word.load(Ordering::Relaxed) == 0,
            None => self.pid() != sys::process_id(),
        };
        if !is_child {
            return false;
        }
        self.has_changed_user.store(false, Ordering::Relaxed);
        self.begin([self.token(), self.start_ns()]);
        true
    }

    /// Whether a process with these user ids is, or can become, the user whom this life's files belong to.
    pub(crate) fn belongs_to(&self, users: [u32; 3]) -> bool {
        users.contains(&self.owner.load(Ordering::Relaxed))
    }

    /// Begins another life, of the user that the process is now. `false`: another thread has done it.
    pub(crate) fn change_user(&self) -> bool {
        let (before, now) = (self.owner.load(Ordering::Relaxed), sys::user_id());
        let is_first = self.owner.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if before == now || !is_first {
            return false;
        }
        self.has_changed_user.store(true, Ordering::Relaxed);
        self.start([self.token(), self.start_ns()]);
        true
    }

    /// Whether this life began when the process became another user.
    pub(crate) fn has_changed_user(&self) -> bool {
        self.has_changed_user.load(Ordering::Relaxed)
    }

    /// Makes everything that was recorded so far another's, without being another process (`prof.reset`).
    pub(crate) fn turn_over(&self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes with each life and with each [`turn_over`](Self::turn_over): neither number ever becomes less in a
    /// process or its children.
    pub(crate) fn mark(&self) -> u16 {
        self.number().wrapping_add(self.resets.load(Ordering::Relaxed)) as u16
    }

    /// Whether this is a child that has not begun its own life yet.
    pub(crate) fn is_over(&self) -> bool {
        self.wiped().is_some_and(|word| word.load(Ordering::Relaxed) == 0)
    }

    /// Process id as this life knows it.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Number of this life, from 1, within this address space and its ancestors.
    pub(crate) fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// CLOCK_MONOTONIC when it began, nanoseconds.
    pub(crate) fn start_ns(&self) -> u64 {
        self.start_ns.load(Ordering::Relaxed)
    }

    /// Name of this life that no other process shares.
    pub(crate) fn token(&self) -> u64 {
        self.token.load(Ordering::SeqCst)
    }

    fn wiped(&self) -> Option<&AtomicU32> {
        let word = NonNull::new(self.wiped.load(Ordering::Relaxed))?;
        // SAFETY: a page mapped for this word, aligned, never unmapped.
        Some(unsafe { word.as_ref() })
    }
}

/// A page that reads as zeros in children of `fork` and `clone`; none before Linux 4.14.
fn wiped_page() -> Option<*mut AtomicU32> {
    let page = map::anonymous(map::page_size())?;
    // SAFETY: our own fresh page.
    unsafe { map::wipe_on_fork(page.as_ptr(), map::page_size()) }.then_some(page.as_ptr().cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_user_is_another_life_and_one_that_can_come_back_is_not() {
        static LIFE: ProcessIdentity = ProcessIdentity::new();
        LIFE.begin([1, 2]);
        let (own, token) = (sys::user_id(), LIFE.token());
        assert!(LIFE.belongs_to([own, 77, 78]) && LIFE.belongs_to([77, 78, own]) && !LIFE.belongs_to([77, 78, 79]));
        assert!(!LIFE.change_user() && LIFE.token() == token);
        LIFE.owner.store(own.wrapping_add(1), Ordering::Relaxed);
        assert!(LIFE.change_user() && LIFE.token() != token && LIFE.number() == 2 && LIFE.has_changed_user());
    }

    #[test]
    fn a_fork_child_notices_and_a_parent_does_not() {
        static LIFE: ProcessIdentity = ProcessIdentity::new();
        LIFE.begin([1, 2]);
        let token = LIFE.token();
        assert!(!LIFE.is_over() && !LIFE.begin_anew());
        // SAFETY: the child only looks at atomics and leaves by exit_group.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let sound = LIFE.is_over() && LIFE.begin_anew() && !LIFE.is_over();
            let own = LIFE.number() == 2 && LIFE.token() != token && LIFE.pid() == sys::process_id();
            sys::exit_group(i32::from(!(sound && own)));
        }
        let mut status = -1;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0);
        assert!(!LIFE.is_over());
    }
}
