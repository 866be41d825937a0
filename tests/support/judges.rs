//! Outside judges that stand in no usual place.

use std::path::{Path, PathBuf};

use super::{skip, which};

/// A Chromium to show pages in; says so when there is none.
pub(crate) fn chromium() -> Option<PathBuf> {
    let found = ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| which(name));
    if found.is_none() {
        skip("no chromium is installed");
    }
    found
}

/// A package of npm that `scripts/setup judges` installed; says so when it is not there.
pub(crate) fn npm_package(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/judges/node_modules").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    skip(&format!("the npm package {name} is not installed (scripts/setup judges installs it)"));
    None
}
