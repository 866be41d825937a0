//! The identity of a life, `<pid>.<token>`, and the files that bear it. A pid alone is none: a restarted container has
//! the same pid on the same volume.
//!
//! Beside the dumps lie `<prefix>.<pid>.<token>.java.so` (the names of Java frames) and
//! `<prefix>.<pid>.<token>.live` (the mirror); on tmpfs `<pid>.<token>.region`, `.control` and `.claim`.

use std::path::{Path, PathBuf};

/// How the names of files with the names of Java frames end.
pub(crate) const SIDECAR: &str = ".java.so";
const MIRROR: &str = ".live";
const REGION: &str = ".region";
const CLAIM: &str = ".claim";

/// A life, and the directory and prefix of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// `prof_prefix`: directory and first part of the file names. Of a region: its directory alone.
    pub(crate) prefix: PathBuf,
    /// Process id as the process saw it.
    pub(crate) pid: u32,
    /// Token of the life.
    pub(crate) token: u64,
}

impl Identity {
    /// The file that names Java frames for jeprof.
    pub(crate) fn sidecar(&self) -> PathBuf {
        self.beside(SIDECAR)
    }

    /// The mirror.
    pub(crate) fn mirror(&self) -> PathBuf {
        self.beside(MIRROR)
    }

    fn beside(&self, end: &str) -> PathBuf {
        let mut name = self.prefix.as_os_str().to_owned();
        name.push(format!(".{}.{:016x}{end}", self.pid, self.token));
        PathBuf::from(name)
    }

    /// Takes the name of a mirror apart.
    pub(crate) fn of_mirror(path: &Path) -> Option<Identity> {
        let (rest, pid, token) = parse(path, MIRROR)?;
        Some(Identity { prefix: path.with_file_name(rest?), pid, token })
    }

    /// Takes the name of a region apart.
    pub(crate) fn of_region(path: &Path) -> Option<Identity> {
        Identity::on_tmpfs(path, REGION)
    }

    /// Takes the name of a claim apart.
    pub(crate) fn of_claim(path: &Path) -> Option<Identity> {
        Identity::on_tmpfs(path, CLAIM)
    }

    fn on_tmpfs(path: &Path, end: &str) -> Option<Identity> {
        let (rest, pid, token) = parse(path, end)?;
        rest.is_none().then(|| Identity { prefix: path.parent().unwrap_or(path).to_path_buf(), pid, token })
    }

    /// The name of a file of this life on tmpfs: `region`, `control` or `claim`.
    pub(crate) fn file_name(&self, kind: &str) -> String {
        format!("{}.{:016x}.{kind}", self.pid, self.token)
    }
}

/// A file name's parts: the text before the pid, the pid, the token.
fn parse<'a>(path: &'a Path, end: &str) -> Option<(Option<&'a str>, u32, u64)> {
    let mut parts = path.file_name()?.to_str()?.strip_suffix(end)?.rsplitn(3, '.');
    let token = u64::from_str_radix(parts.next()?, 16).ok()?;
    let pid = parts.next()?.parse().ok()?;
    Some((parts.next(), pid, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for prefix in ["/a/jeprof", "x.7.y", "/a/b.c"] {
            let name = Identity { prefix: prefix.into(), pid: 4711, token: 0xff };
            assert_eq!(name.mirror().to_str().unwrap(), format!("{prefix}.4711.00000000000000ff.live"));
            assert_eq!(Identity::of_mirror(&name.mirror()), Some(name));
        }
        let region = Identity::of_region(Path::new("/x/4711.00ff.region"));
        assert_eq!(region, Some(Identity { prefix: "/x".into(), pid: 4711, token: 255 }));
        let name = region.map(|life| life.file_name("claim")).unwrap();
        assert_eq!(name, "4711.00000000000000ff.claim");
        assert_eq!(Identity::of_claim(Path::new(&name)).map(|life| life.token), Some(255));
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["/x/4711.region", "/x/a.b.region", "/x/1.2.heap", "/x/p.1.2.region", "/"] {
            assert_eq!(Identity::of_region(Path::new(name)), None, "{name}");
        }
        for name in ["/x/1.2.live", "/x/p.1.x.live", "/x/p.1.2.live.tmp", "/"] {
            assert_eq!(Identity::of_mirror(Path::new(name)), None, "{name}");
        }
    }
}
