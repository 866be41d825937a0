//! What `--redact` makes of texts that tell of a machine or a user: names of folders, of threads, of files that hold
//! data. Names of functions, classes and program files stay: without them there is no profile.
//!
//! The same text becomes the same mark everywhere, so that what lies in one folder still does:
//! `/home/alice/shop/bin/server` is `/home/d1/d2/bin/server`, and a library beside it `/home/d1/d2/bin/libshop.so`.

use crate::cli::symbolize::recorded::Text;
use crate::wire::dump_name::DumpName;
use crate::wire::identity::SIDECAR;
use crate::wire::{file_group, title};
use rustc_hash::FxHashMap;
use std::path::Path;

/// Folders that all machines have: they tell nothing, and say what is a part of the system.
const COMMON: [&str; 40] = [
    "aarch64-linux-gnu",
    "amd64",
    "bin",
    "build",
    "conda",
    "core",
    "data",
    "debug",
    "dev",
    "home",
    "include",
    "java",
    "jdk",
    "jre",
    "jvm",
    "lib",
    "lib32",
    "lib64",
    "libexec",
    "library",
    "local",
    "main",
    "nix",
    "opt",
    "proc",
    "root",
    "run",
    "sbin",
    "server",
    "share",
    "shm",
    "snap",
    "src",
    "srv",
    "std",
    "store",
    "tmp",
    "usr",
    "var",
    "x86_64-linux-gnu",
];
/// A name of a thread that the tap gives.
const OTHER_THREADS: &str = "(other threads)";

/// The marks that were given so far.
#[derive(Debug, Default)]
pub(crate) struct Redaction {
    folders: FxHashMap<String, usize>,
    threads: FxHashMap<String, usize>,
}

impl Redaction {
    /// The path of a program, library or source file: its last part stays. A side-car keeps pid and token.
    pub(crate) fn path(&mut self, path: &str) -> String {
        let (folders, file) = path.rsplit_once('/').map_or((None, path), |(folders, file)| (Some(folders), file));
        let file = sidecar(file).unwrap_or_else(|| file.to_owned());
        folders.map_or(file.clone(), |folders| format!("{}/{file}", self.folders(folders)))
    }

    /// The name of a function. Some runtimes put a script's path into it: `py::handle:/home/alice/shop.py`.
    pub(crate) fn name(&mut self, name: &str) -> String {
        if file_group::is_group(name.as_bytes()) {
            return self.group(name);
        }
        // Also `java/util/Map`, `operator/` and `github.com/x/y` have slashes.
        let goes_on = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$' | ')' | ']' | '>');
        let is_start = |at: &usize| !name.get(..*at).and_then(|before| before.chars().next_back()).is_some_and(goes_on);
        let first = name.match_indices('/').map(|(at, _)| at).find(is_start);
        let (Some(first), Some(last)) = (first, name.rfind('/')) else { return name.to_owned() };
        let part = |range: std::ops::Range<usize>| name.get(range).unwrap_or_default();
        format!("{}{}{}", part(0..first), self.folders(part(first..last)), part(last..name.len()))
    }

    /// The name of a thread, which often has a host or a user in it.
    pub(crate) fn thread(&mut self, name: &str) -> String {
        if name == OTHER_THREADS {
            return name.to_owned();
        }
        let next = self.threads.len() + 1;
        format!("thread-{}", self.threads.entry(name.to_owned()).or_insert(next))
    }

    /// What a process is called: a main class stays, any other word of its command line does not. `program`: the last
    /// part of its executable's path.
    pub(crate) fn title(title: &str, program: &str) -> String {
        let is_word = |part: &str| {
            let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$');
            !part.is_empty() && part.chars().all(is_name) && !part.starts_with(|first: char| first.is_ascii_digit())
        };
        let class = title::main_class(title).filter(|class| class.split('.').all(is_word));
        class.map_or(program, |_| title).to_owned()
    }

    /// The file name of a dump, without its prefix. `number`: where it stands among the dumps.
    pub(crate) fn dump_name(path: &Path, number: usize) -> String {
        match DumpName::parse(path) {
            Some(name) => DumpName { prefix: "heap".into(), ..name }.to_string(),
            None => format!("dump-{number}.heap"),
        }
    }

    /// Any text that is recorded with names.
    pub(crate) fn text(&mut self, text: &Text<'_>) -> String {
        match text {
            Text::Name(name) => self.name(name),
            Text::Path(path) => self.path(path),
            // `debug file /home/alice/x.debug`, `none: /srv/x is gone`
            Text::Source(source) => source.split('/').next().unwrap_or_default().trim_end().to_owned(),
        }
    }

    /// `[/data/acme/*/_*.cfs]`: of files that hold data the extension stays.
    fn group(&mut self, name: &str) -> String {
        let path = name.trim_start_matches('[').trim_end_matches(']');
        let Some((folders, file)) = path.rsplit_once('/') else { return name.to_owned() };
        let (stem, extension) = file.rsplit_once('.').unwrap_or((file, ""));
        let is_extension =
            (1..=5).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_lowercase());
        let file = if is_extension { format!("{}.{extension}", self.folder(stem)) } else { self.folder(file) };
        format!("[{}/{file}]", self.folders(folders))
    }

    fn folders(&mut self, path: &str) -> String {
        path.split('/').map(|name| self.folder(name)).collect::<Vec<_>>().join("/")
    }

    fn folder(&mut self, name: &str) -> String {
        if COMMON.contains(&name) || !name.contains(char::is_alphanumeric) {
            return name.to_owned();
        }
        let next = self.folders.len() + 1;
        format!("d{}", self.folders.entry(name.to_owned()).or_insert(next))
    }
}

/// `heap.PID.TOKEN.java.so`, if it is a side-car's name: without the prefix.
fn sidecar(file: &str) -> Option<String> {
    let mut parts = file.strip_suffix(SIDECAR)?.rsplitn(3, '.');
    let (token, pid) = (parts.next()?, parts.next().unwrap_or_default());
    let is_told = pid.parse::<u32>().is_ok() && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(if is_told { format!("heap.{pid}.{token}{SIDECAR}") } else { format!("heap{SIDECAR}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_become_marks_that_keep_what_lies_together() {
        let mut redaction = Redaction::default();
        for (path, expected) in [
            ("/home/alice/shop/bin/server", "/home/d1/d2/bin/server"),
            ("/home/alice/shop/bin/libshop.so", "/home/d1/d2/bin/libshop.so"),
            ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
            ("/srv/alice/db17.4711.9f3a12bc.java.so", "/srv/d1/heap.4711.9f3a12bc.java.so"),
            ("db17.java.so", "heap.java.so"),
            ("[vdso]", "[vdso]"),
            ("/memfd:jit", "/memfd:jit"),
            ("", ""),
        ] {
            assert_eq!(redaction.path(path), expected);
        }
    }

    #[test]
    fn names_of_functions_stay_but_for_paths_in_them() {
        let mut redaction = Redaction::default();
        for name in [
            "java/util/Map get",
            "operator/(A, B)",
            "github.com/x/y.F",
            "a.B$$Lambda/0x00ff.run",
            "main",
            "[gc barrier]",
        ] {
            assert_eq!(redaction.name(name), name);
        }
        for (name, expected) in [
            ("py::handle:/home/alice/my shop/x.py", "py::handle:/home/d1/d2/x.py"),
            ("LazyCompile:~f file:///home/alice/x.js:1", "LazyCompile:~f file:///home/d1/x.js:1"),
            ("[/data/indices/acme/*/_*.cfs]", "[/data/d3/d4/*/_*.cfs]"),
            ("[/data/acme.db]", "[/data/d4.db]"),
            ("[other files]", "[other files]"),
        ] {
            assert_eq!(redaction.name(name), expected);
        }
    }

    #[test]
    fn titles_keep_a_main_class_only() {
        for (title, expected) in [
            ("java org.acme.Shop", "java org.acme.Shop"),
            ("java shop-of-alice.jar", "java"),
            ("java 21", "java"),
            ("postgres: alice db", "java"),
        ] {
            assert_eq!(Redaction::title(title, "java"), expected);
        }
    }

    #[test]
    fn threads_and_dumps_get_numbers() {
        let mut redaction = Redaction::default();
        let names = ["http-db17", "worker", "http-db17", OTHER_THREADS].map(|name| redaction.thread(name));
        assert_eq!(names, ["thread-1", "thread-2", "thread-1", OTHER_THREADS]);
        assert_eq!(Redaction::dump_name(Path::new("/x/db17.7.0.f.heap"), 3), "heap.7.0.f.heap");
        assert_eq!(Redaction::dump_name(Path::new("/x/db17.heap"), 3), "dump-3.heap");
    }
}
