//! The claim of a life: the one file that says on whose behalf, and where, others may act once its process is dead.
//!
//! A region is measurement: other processes may read it, and never act on it. What makes others write or unlink stands
//! in `<pid>.<token>.claim` beside it: a few lines, placed whole when the life begins, never mapped, not written again.
//! A file speaks for its owner alone, so a claim does not name one: `fstat` does. A [`Claim`] can only be
//! made from an open file that was looked at, and whatever acts for a dead process takes one.
//!
//! A mirror is a claim of its own: it lies among the dumps, so its directory and prefix are where it lies.
//!
//! ```text
//! heaptap claim 1
//! pid: 4711
//! token: 00000000000000ff
//! start_ns: 81234567890
//! pid_namespace: 4026531836
//! min_bytes: 67108864
//! run: /run/user/1000/heaptap-run-1
//! prefix: /var/log/app/jeprof
//! ```

use super::identity::Identity;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// First line: the version of this file. A reader refuses another one.
const TITLE: &[u8] = b"heaptap claim 1\n";
/// Largest claim: two paths, and a little.
pub(crate) const MOST_BYTES: usize = 10 << 10;

/// The terms of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Process id as the process sees itself.
    pub(crate) pid: u32,
    /// Token of the life.
    pub(crate) token: u64,
    /// CLOCK_MONOTONIC when the life began, nanoseconds.
    pub(crate) start_ns: u64,
    /// Inode of the pid namespace that the pid belongs to; 0: unknown.
    pub(crate) pid_namespace: u64,
    /// Live bytes from which on the life is worth a file, however short it was (`prof_min_bytes`).
    pub(crate) min_bytes: u64,
    /// The report of `heaptap run` that the process was started by.
    pub(crate) run: Option<PathBuf>,
    /// Directory and first part of the names of its dumps, from the root; empty: it was to leave none.
    pub(crate) prefix: PathBuf,
}

impl Terms {
    /// The bytes of the claim.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = TITLE.to_vec();
        let Terms { pid, token, start_ns, pid_namespace, min_bytes, .. } = self;
        let numbers = format!(
            "pid: {pid}\ntoken: {token:016x}\nstart_ns: {start_ns}\npid_namespace: {pid_namespace}\n\
             min_bytes: {min_bytes}\n"
        );
        bytes.extend_from_slice(numbers.as_bytes());
        if let Some(run) = self.run.as_ref().map(|run| run.as_os_str().as_bytes()).filter(|run| !run.contains(&b'\n')) {
            bytes.extend_from_slice(&[b"run: ", run, b"\n"].concat());
        }
        // A path of several lines is none that can be told.
        let prefix = Some(self.prefix.as_os_str().as_bytes()).filter(|prefix| !prefix.contains(&b'\n'));
        bytes.extend_from_slice(&[b"prefix: ", prefix.unwrap_or_default(), b"\n"].concat());
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; `None` for anything else.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Terms> {
        let mut rest = bytes.strip_prefix(TITLE)?;
        let mut terms = Terms::default();
        loop {
            if let Some(prefix) = rest.strip_prefix(b"prefix: ") {
                // The last line: a claim that was cut is none.
                terms.prefix = path(prefix.strip_suffix(b"\n").filter(|prefix| !prefix.contains(&b'\n'))?);
                return (terms.prefix.is_absolute() || terms.prefix.as_os_str().is_empty()).then_some(terms);
            }
            let end = rest.iter().position(|&byte| byte == b'\n')?;
            let (line, after) = rest.split_at_checked(end + 1)?;
            let line = line.trim_ascii_end();
            let colon = line.windows(2).position(|two| two == b": ")?;
            let (key, value) = (line.get(..colon)?, line.get(colon + 2..)?);
            let text = std::str::from_utf8(value);
            let number = |radix| u64::from_str_radix(text.ok()?, radix).ok();
            match key {
                b"pid" => terms.pid = u32::try_from(number(10)?).ok()?,
                b"token" => terms.token = number(16)?,
                b"start_ns" => terms.start_ns = number(10)?,
                b"pid_namespace" => terms.pid_namespace = number(10)?,
                b"min_bytes" => terms.min_bytes = number(10)?,
                b"run" => terms.run = Some(path(value)),
                _ => {}
            }
            rest = after;
        }
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

/// Why a file is no claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not a regular file, or one of several names, or too large.
    NotPlain,
    /// Its owner is not the directory's, or others may write to it or to the directory.
    NotPrivate,
    /// It does not say what a claim of that name says, or is of another version.
    Contents,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Refusal::NotPlain => "it is not a plain file of a single name",
            Refusal::NotPrivate => "it does not belong to the owner of a directory that only the owner can enter",
            Refusal::Contents => "it does not say what its name says, or another version of heaptap wrote it",
        })
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> io::Error {
        io::Error::other(refusal)
    }
}

/// A claim that was looked at. A function that writes or unlinks for a life takes one.
#[derive(Debug)]
pub(crate) struct Claim {
    file: File,
    owner: u32,
    group: u32,
    terms: Terms,
}

impl Claim {
    /// Looks at an open file `<pid>.<token>.claim` that lies in this directory, which is open too.
    pub(crate) fn of(file: File, name: &OsStr, directory: &Metadata) -> io::Result<Claim> {
        let metadata = file.metadata()?;
        check_plain(&metadata, MOST_BYTES as u64)?;
        let is_private = directory.is_dir()
            && directory.mode() & 0o077 == 0
            && metadata.mode() & 0o077 == 0
            && metadata.uid() == directory.uid();
        if !is_private {
            return Err(Refusal::NotPrivate.into());
        }
        let mut bytes = Vec::new();
        (&file).take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        let life = Identity::of_claim(Path::new(name));
        let terms = Terms::parse(&bytes)
            .filter(|terms| life.is_some_and(|life| (life.pid, life.token) == (terms.pid, terms.token)));
        let Some(terms) = terms else { return Err(Refusal::Contents.into()) };
        Ok(Claim { file, owner: metadata.uid(), group: metadata.gid(), terms })
    }

    /// Looks at an open mirror, which lies at this path. It speaks for its owner; the directory may have another one.
    pub(crate) fn of_mirror(file: File, path: &Path) -> io::Result<Claim> {
        let metadata = file.metadata()?;
        check_plain(&metadata, u64::MAX)?;
        if metadata.mode() & 0o022 != 0 {
            return Err(Refusal::NotPrivate.into());
        }
        let Some(life) = std::path::absolute(path).ok().and_then(|path| Identity::of_mirror(&path)) else {
            return Err(Refusal::Contents.into());
        };
        let terms = Terms { pid: life.pid, token: life.token, prefix: life.prefix, ..Terms::default() };
        Ok(Claim { file, owner: metadata.uid(), group: metadata.gid(), terms })
    }

    /// The file: its lock tells whether the process lives, and who acts for it.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Its terms.
    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The user that it speaks for.
    pub(crate) fn owner(&self) -> u32 {
        self.owner
    }

    /// That user's group, as the file has it.
    pub(crate) fn group(&self) -> u32 {
        self.group
    }

    /// The names of the life's files beside its dumps; `None`: it was to leave none.
    pub(crate) fn life(&self) -> Option<Identity> {
        let Terms { pid, token, prefix, .. } = &self.terms;
        (!prefix.as_os_str().is_empty()).then(|| Identity { prefix: prefix.clone(), pid: *pid, token: *token })
    }

    /// Whether an open file may be taken for one of the same life: a plain file of the same owner.
    pub(crate) fn covers(&self, file: &Metadata) -> bool {
        check_plain(file, u64::MAX).is_ok() && file.uid() == self.owner
    }

    /// Whether the life left what is worth a file, by what its region says of it.
    pub(crate) fn is_worth_a_file(&self, is_significant: bool, live_bytes: u64) -> bool {
        is_significant || live_bytes >= self.terms.min_bytes
    }
}

fn check_plain(metadata: &Metadata, most_bytes: u64) -> Result<(), Refusal> {
    let is_plain = metadata.is_file() && metadata.nlink() == 1 && metadata.len() <= most_bytes;
    if is_plain { Ok(()) } else { Err(Refusal::NotPlain) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn terms() -> Terms {
        Terms {
            pid: 4711,
            token: 0xff,
            start_ns: 5,
            pid_namespace: 6,
            min_bytes: 7,
            run: Some("/run/report: 1".into()),
            prefix: path(b"/var/\xff/a: b prefix: c"),
        }
    }

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("heaptap-claim-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            let place = Place(path);
            place.give("", 0o700);
            place
        }

        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            fs::write(self.0.join(name), bytes).unwrap();
            self.give(name, 0o400);
            self.0.join(name)
        }

        fn give(&self, name: &str, mode: u32) {
            fs::set_permissions(self.0.join(name), Permissions::from_mode(mode)).unwrap();
        }

        fn open(&self, name: &str) -> Result<Claim, String> {
            let directory = fs::metadata(&self.0).unwrap();
            let file = File::open(self.0.join(name)).unwrap();
            Claim::of(file, OsStr::new(name), &directory).map_err(|error| error.to_string())
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const NAME: &str = "4711.00000000000000ff.claim";

    #[test]
    fn terms_survive_their_bytes_whatever_the_prefix_holds() {
        assert_eq!(Terms::parse(&terms().to_bytes()), Some(terms()));
        let silent = Terms { prefix: PathBuf::new(), run: None, ..terms() };
        assert_eq!(Terms::parse(&silent.to_bytes()), Some(silent.clone()));
        let broken = Terms { prefix: "/a\nprefix: /etc/x".into(), run: Some("/r\npid: 1".into()), ..terms() };
        assert_eq!(Terms::parse(&broken.to_bytes()), Some(silent));
    }

    #[test]
    fn damage_is_refused_or_harmless_and_relative_prefixes_lead_nowhere() {
        let sound = terms().to_bytes();
        for cut in 0..sound.len() {
            assert_eq!(Terms::parse(&sound[..cut]).map(|terms| terms.prefix), None, "{cut}");
        }
        for bytes in [&b""[..], b"heaptap claim 2\nprefix: /a\n", b"heaptap claim 1\nprefix: a/b\n"] {
            assert_eq!(Terms::parse(bytes), None);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel what Miri does not know")]
    fn a_claim_is_a_private_plain_file_that_says_what_its_name_says() {
        let place = Place::new("plain");
        place.write(NAME, &terms().to_bytes());
        let claim = place.open(NAME).unwrap();
        assert_eq!((claim.terms(), claim.owner()), (&terms(), fs::metadata(&place.0).unwrap().uid()));
        let other = "4712.00000000000000ff.claim";
        place.write(other, &terms().to_bytes());
        assert!(place.open(other).unwrap_err().contains("its name says"));
        place.write(other, &vec![b'x'; MOST_BYTES + 1]);
        assert!(place.open(other).unwrap_err().contains("plain file"));
        place.give(NAME, 0o404);
        assert!(place.open(NAME).unwrap_err().contains("only the owner"));
        place.give(NAME, 0o400);
        fs::hard_link(place.0.join(NAME), place.0.join("second")).unwrap();
        assert!(place.open(NAME).unwrap_err().contains("single name"));
        fs::remove_file(place.0.join("second")).unwrap();
        place.give("", 0o755);
        assert!(place.open(NAME).unwrap_err().contains("only the owner"));
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel what Miri does not know")]
    fn a_mirror_claims_the_place_where_it_lies() {
        let place = Place::new("mirror");
        let path = place.write("jeprof.7.00000000000000aa.live", b"");
        let claim = Claim::of_mirror(File::open(&path).unwrap(), &path).unwrap();
        assert_eq!(claim.life(), Identity::of_mirror(&path));
        assert!(claim.is_worth_a_file(false, 0));
        place.give("jeprof.7.00000000000000aa.live", 0o622);
        assert!(Claim::of_mirror(File::open(&path).unwrap(), &path).is_err());
        let device = File::open("/dev/null").unwrap();
        assert!(Claim::of_mirror(device, &path).is_err());
        symlink(&path, place.0.join("link")).unwrap();
    }
}
