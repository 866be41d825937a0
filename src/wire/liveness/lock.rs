//! The lock that says "my process lives": shared, on a region or a mirror, held by the keeper.
//!
//! The kernel drops it with the process, whatever ended it, and shows it to other containers, where a pid says
//! nothing. Advisory (flock): it keeps no process from reading.

use std::fs::{File, TryLockError};

/// Takes it, as long as the file is open. `false`: the file system has no locks, or a process is looking at it.
pub(crate) fn take(file: &File) -> bool {
    file.try_lock_shared().is_ok()
}

/// Whether a process holds it.
pub(crate) fn is_held(file: &File) -> bool {
    let is_held = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
    let _ = file.unlock();
    is_held
}

/// Takes a dead process's file for oneself, as long as it is open. `false`: its process lives, or another process has
/// it.
pub(crate) fn claim(file: &File) -> bool {
    file.try_lock().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel what Miri does not know")]
    fn a_holder_is_seen_until_it_closes_the_file() {
        let path = std::env::temp_dir().join(format!("heaptap-life-lock-{}", std::process::id()));
        let holder = File::create(&path).unwrap();
        let looker = File::open(&path).unwrap();
        assert!(!is_held(&looker) && take(&holder) && is_held(&looker));
        assert!(!claim(&looker));
        drop(holder);
        assert!(!is_held(&looker) && claim(&looker));
        let second = File::open(&path).unwrap();
        assert!(!claim(&second) && !take(&second));
        std::fs::remove_file(path).unwrap();
    }
}
