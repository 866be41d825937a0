//! Whether the tap's library fits a program of musl. musl's loader takes the names of glibc's parts for itself; any
//! other library that the tap needs it would look for, and end the program for want of it.

use crate::cli::open;
use crate::cli::symbolize::needed;
use anyhow::{Result, bail};
use std::path::Path;

/// What musl's loader takes for itself, with any ending (ldso/dynlink.c, `reserved`).
const OWN: [&str; 7] = ["libc.", "libpthread.", "librt.", "libm.", "libdl.", "libutil.", "libxnet."];

/// Whether a program that names this loader is one of musl.
pub(crate) fn is_loader(loader: &str) -> bool {
    loader.rsplit('/').next().is_some_and(|name| name.starts_with("ld-musl"))
}

/// Refuses a library that musl would not load. `whose` says in words what runs with it.
pub(crate) fn check(tap: &Path, whose: &str) -> Result<()> {
    let needed = open::regular(tap).ok().and_then(|file| needed::libraries(&file)).unwrap_or_default();
    let Some(strange) = needed.iter().find(|name| !OWN.iter().any(|own| name.starts_with(own))) else { return Ok(()) };
    bail!(
        "{whose} uses musl, and {} is for glibc alone (it needs {strange}): preloading it would end the program at once. \
         Use the library of a newer heaptap",
        tap.display()
    )
}

/// What `heaptap run` says of a program of musl.
pub(crate) const LACKS: &str = "uses musl, which has no unwind tables: what musl itself allocates (strdup, getline, \
                                fopen) is shown without its callers";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loaders_are_told_by_their_names() {
        assert!(is_loader("/lib/ld-musl-x86_64.so.1") && !is_loader("/lib64/ld-linux-x86-64.so.2"));
        assert!(!is_loader("/opt/ld-musl/ld.so"));
    }

    #[test]
    fn a_library_that_needs_more_than_libc_is_refused() {
        let own = std::env::current_exe().unwrap();
        // A test unwinds from panics by libgcc_s.
        let said = check(&own, "x").unwrap_err().to_string();
        assert!(said.starts_with("x uses musl, and ") && said.contains("lib"), "{said}");
        // What is no library says nothing.
        check(Path::new("/etc/passwd"), "x").unwrap();
    }
}
