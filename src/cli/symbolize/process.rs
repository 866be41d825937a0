//! Is the process that wrote a dump still there? A pid is not a name, the place of the program is.

use crate::cli::profile::Profile;
use crate::cli::profile::mapping::Mapping;
use std::path::Path;

/// The user that a process makes files as.
pub(crate) fn user(pid: u32) -> Option<u32> {
    let status = crate::cli::open::kernel(Path::new(&format!("/proc/{pid}/status"))).ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_ascii_whitespace().next_back()?.parse().ok()
}

/// Whether that process runs and is the one of the profile: its program lies at the same address,
/// which is drawn anew at each start.
pub(super) fn is_that_of(pid: u32, profile: &Profile) -> bool {
    let Some(program) = profile.program_mapping() else { return false };
    let Ok(maps) = crate::cli::open::maps(pid) else { return false };
    maps.lines()
        .filter_map(Mapping::parse)
        .any(|mapping| mapping.start == program.start && mapping.path == program.path)
}
