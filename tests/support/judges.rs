//! Outside judges that stand in no usual place.

use std::path::{Path, PathBuf};
use std::process::Command;

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

/// The Python of `scripts/setup python`, if it has that module; says so when it has not.
pub(crate) fn python_with(module: &str) -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python3");
    let import = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if import.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skip(&format!("the Python module {module} is not installed (scripts/setup python installs it)"));
    None
}
