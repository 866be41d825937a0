//! Commands to type next: paths as a shell takes them.

use crate::wire::dump_name::DumpName;
use std::path::{Path, PathBuf};

/// One shell pattern per process.
pub(super) fn patterns(dumps: &[PathBuf]) -> Vec<String> {
    let mut patterns: Vec<String> = Vec::new();
    for path in dumps {
        let pattern = match DumpName::parse(path) {
            Some(name) => format!("{}.{}.*.heap", quoted(&name.prefix), name.pid),
            None => quoted(path),
        };
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    patterns
}

/// Paths as arguments.
pub(super) fn words(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| quoted(path)).collect()
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@,".contains(c));
    if is_plain { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_of_one_process_are_one_pattern() {
        let paths = ["/a b/x.7.0.i0.heap", "/a b/x.7.1.f.heap", "/a b/x.8.0.f.heap"].map(PathBuf::from);
        assert_eq!(patterns(&paths), ["'/a b/x'.7.*.heap", "'/a b/x'.8.*.heap"]);
    }

    #[test]
    fn paths_are_quoted_when_a_shell_would_take_them_apart() {
        assert_eq!(quoted(Path::new("/a/b-c.7")), "/a/b-c.7");
        assert_eq!(quoted(Path::new("it's")), r"'it'\''s'");
    }
}
