//! Control groups, where they can be made: of version 1, as here, or 2.

use std::fs;
use std::path::{Path, PathBuf};

/// A control group with limits, gone when the test is over.
pub(crate) struct Group(pub(crate) PathBuf);

impl Group {
    /// One of a controller, with these limits. `None`: none can be made here.
    pub(crate) fn new(controller: &str, limits: &[(&str, &str)]) -> Option<Group> {
        let roots = [Path::new("/sys/fs/cgroup").join(controller), PathBuf::from("/sys/fs/cgroup")];
        let root = roots.into_iter().find(|root| root.join("cgroup.procs").exists())?;
        let folder = root.join(format!("heaptap-test-{controller}-{}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        let group = Group(folder);
        limits.iter().all(|(name, limit)| fs::write(group.0.join(name), limit).is_ok()).then_some(group)
    }

    /// A script for `sh -c` that runs its arguments in the group.
    pub(crate) fn entry(&self) -> String {
        format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
