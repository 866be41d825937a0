//! Is the process that wrote a dump still there? A pid is not a name, the place of the program is.

use crate::cli::profile::Profile;
use crate::cli::profile::mapping::Mapping;

/// Whether that process runs and is the one of the profile: its program lies at the same address,
/// which is drawn anew at each start.
pub(super) fn is_that_of(pid: u32, profile: &Profile) -> bool {
    let Some(program) = profile.program_mapping() else { return false };
    let Ok(maps) = std::fs::read(format!("/proc/{pid}/maps")) else { return false };
    let maps = String::from_utf8_lossy(&maps);
    maps.lines()
        .filter_map(Mapping::parse)
        .any(|mapping| mapping.start == program.start && mapping.path == program.path)
}
