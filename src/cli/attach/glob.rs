//! Patterns that no shell expanded: quoted ones, of more dumps than a command line holds, in unit files. Only `*`.

use crate::wire::pattern;
use std::path::{Component, Path, PathBuf};

/// Whether an argument is a pattern: no file has its name, and there is a star in it.
pub(super) fn is_pattern(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().contains(&b'*') && path.symlink_metadata().is_err()
}

/// The files that fit, in order of name. Hidden ones fit only a pattern that begins with a dot.
pub(super) fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = component.as_os_str().to_string_lossy();
        found = match component {
            Component::Normal(_) if name.contains('*') => {
                found.iter().flat_map(|directory| entries(directory, &name)).collect()
            }
            _ => found.into_iter().map(|directory| directory.join(component)).collect(),
        };
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found.sort();
    found
}

fn entries(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let place = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let names = std::fs::read_dir(place).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.file_name()));
    let fitting = names.filter(|name| fits(pattern, &name.to_string_lossy()));
    fitting.map(|name| directory.join(name)).collect()
}

/// Whether a name fits; a hidden one fits only a pattern that begins with a dot.
fn fits(pattern: &str, name: &str) -> bool {
    (pattern.starts_with('.') || !name.starts_with('.')) && pattern::fits(pattern.as_bytes(), name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_their_patterns() {
        let cases = [
            ("*.heap", "x.1.0.f.heap", true),
            ("*.heap", ".heap", false),
            ("x.*.f.heap", "x.1.0.f.heap", true),
            ("x.*.f.heap", "x.1.0.i0.heap", false),
            ("a*a", "a", false),
            ("*", "anything", true),
            (".*", ".hidden", true),
            ("*", ".hidden", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_are_expanded_in_every_part_of_a_path() {
        let top = std::env::temp_dir().join(format!("heaptap-glob-{}", std::process::id()));
        for (directory, name) in [("a1", "x.heap"), ("a2", "y.heap"), ("b", "z.heap"), ("a1", "x.log")] {
            std::fs::create_dir_all(top.join(directory)).unwrap();
            std::fs::write(top.join(directory).join(name), "").unwrap();
        }
        assert_eq!(expand(&top.join("a*/*.heap")), [top.join("a1/x.heap"), top.join("a2/y.heap")]);
        assert!(is_pattern(&top.join("a*")) && !is_pattern(&top.join("a1")) && expand(&top.join("q*")).is_empty());
        std::fs::remove_dir_all(top).unwrap();
    }
}
