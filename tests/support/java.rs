//! Java virtual machines to test with, and the programs of `tests/java/` built for them.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Folder, Subject, which};

/// One installed virtual machine.
#[derive(Clone, Debug)]
pub(crate) struct Jvm {
    /// Its home folder.
    pub(crate) home: PathBuf,
    /// Its feature release: 8, 11, 17 …
    pub(crate) release: u32,
}

/// All machines below `/usr/lib/jvm`, and those whose homes `HEAPTAP_TEST_JDKS` names (separated by colons).
pub(crate) fn jvms() -> Vec<Jvm> {
    let installed = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten().map(|entry| entry.path());
    let named = env::var_os("HEAPTAP_TEST_JDKS").map(|paths| env::split_paths(&paths).collect::<Vec<_>>());
    let homes = installed.chain(named.into_iter().flatten());
    let jvms: BTreeMap<PathBuf, Jvm> =
        homes.filter_map(|home| Jvm::at(&home)).map(|jvm| (jvm.home.clone(), jvm)).collect();
    jvms.into_values().collect()
}

impl Jvm {
    fn at(home: &Path) -> Option<Jvm> {
        let home = home.canonicalize().ok().filter(|home| home.join("bin/java").is_file())?;
        let about = fs::read_to_string(home.join("release")).ok()?;
        let version = about.lines().find_map(|line| line.strip_prefix("JAVA_VERSION=\""))?;
        let version = version.strip_prefix("1.").unwrap_or(version);
        let release = version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        Some(Jvm { home, release })
    }

    /// Its `java` with these arguments.
    pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Subject {
        Subject::new(self.home.join("bin/java")).args(arguments)
    }

    /// Whether it starts with these options (a collector may not be built in).
    pub(crate) fn accepts(&self, options: &[&str]) -> bool {
        self.run(options).args(["-version"]).run_plain().status.success()
    }
}

/// Compiles a class of `tests/java/`: by the machine's own compiler if it has one, for any release if it has not.
pub(crate) fn compile_class(jvm: &Jvm, name: &str, into: &Folder) -> bool {
    let own = jvm.home.join("bin/javac");
    let Some(javac) = Some(own).filter(|own| own.is_file()).or_else(|| which("javac")) else {
        eprintln!("skipped: no javac");
        return false;
    };
    let mut command = Command::new(javac);
    command.args(["-g", "-nowarn", "-Xlint:none", "-XDignore.symbol.file"]);
    if !jvm.home.join("bin/javac").is_file() {
        command.args(["-source", "8", "-target", "8"]);
    }
    build(command.arg("-d").arg(into.path()).arg(source(&format!("{name}.java"))))
}

/// Builds a library of `tests/java/` against some installed machine's headers.
pub(crate) fn compile_library(name: &str, options: &[&str], into: &Folder) -> bool {
    let Some(include) =
        jvms().into_iter().map(|jvm| jvm.home.join("include")).find(|path| path.join("jvmti.h").is_file())
    else {
        eprintln!("skipped: no jvmti.h");
        return false;
    };
    let mut command = Command::new("gcc");
    command
        .args(["-O2", "-shared", "-fPIC"])
        .args(options)
        .arg("-I")
        .arg(&include)
        .arg("-I")
        .arg(include.join("linux"));
    build(command.arg("-o").arg(into.path().join(format!("lib{name}.so"))).arg(source(&format!("{name}.c"))))
}

fn source(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "java", name].iter().collect()
}

fn build(command: &mut Command) -> bool {
    let output = command.env_remove("LD_PRELOAD").output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    true
}
