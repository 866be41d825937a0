//! Acts for another user, as that user: what root reads, writes and removes in somebody's name costs and gives no more
//! than that user's own rights.
//!
//! Only the ids for files change (setfsuid(2)), and the groups go: with them the kernel takes root's rights over files
//! away, and the files that are made belong to the user. Everything is put back afterwards.
//!
//! # Safety
//! The calls take numbers, and an array of groups with its length.
#![allow(unsafe_code)]

use crate::cli::open;
use crate::wire::claim::Claim;
use anyhow::{Result, bail};
use std::io;

/// Asks for the present id: no user and no group has this number.
const NONE: u32 = u32::MAX;

/// Does some work with the rights of the user that a claim speaks for, and no others. Fails if these cannot be had.
pub(crate) fn acting_for<T>(claim: &Claim, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let owner = claim.owner();
    if owner == open::reader() {
        return work();
    }
    if open::reader() != 0 {
        bail!("it belongs to user {owner}: only that user and root may act for it");
    }
    let Some(_acting) = Acting::begin(owner, claim.group()) else {
        bail!("it belongs to user {owner}, whom this process cannot become ({})", io::Error::last_os_error());
    };
    work()
}

/// As long as this lives, files are opened and made as another user.
struct Acting {
    groups: Vec<libc::gid_t>,
    user: u32,
    group: u32,
}

impl Acting {
    fn begin(user: u32, group: u32) -> Option<Acting> {
        let before = Acting { groups: groups()?, user: set_file_user(NONE), group: set_file_group(NONE) };
        // Dropped, it puts everything back.
        (set_groups(&[]) && {
            set_file_group(group);
            set_file_user(user);
            (set_file_user(NONE), set_file_group(NONE)) == (user, group)
        })
        .then_some(before)
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        set_file_user(self.user);
        set_file_group(self.group);
        set_groups(&self.groups);
    }
}

/// Sets the user for files, and tells which it was.
fn set_file_user(user: u32) -> u32 {
    // SAFETY: a number.
    unsafe { libc::setfsuid(user) as u32 }
}

/// Sets the group for files, and tells which it was.
fn set_file_group(group: u32) -> u32 {
    // SAFETY: a number.
    unsafe { libc::setfsgid(group) as u32 }
}

fn groups() -> Option<Vec<libc::gid_t>> {
    // SAFETY: asks for their number only.
    let count = unsafe { libc::getgroups(0, std::ptr::null_mut()) };
    let mut groups = vec![0; usize::try_from(count).ok()?];
    // SAFETY: the array has room for so many.
    let count = unsafe { libc::getgroups(count, groups.as_mut_ptr()) };
    groups.truncate(usize::try_from(count).ok()?);
    Some(groups)
}

fn set_groups(groups: &[libc::gid_t]) -> bool {
    // SAFETY: an array and its length.
    unsafe { libc::setgroups(groups.len(), groups.as_ptr()) == 0 }
}
