//! Java virtual machines to test with, and the programs of `tests/java/` built for them.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Folder, Subject, needs, skip, which};

/// One installed virtual machine.
#[derive(Clone, Debug)]
pub(crate) struct Jvm {
    /// Its home folder.
    pub(crate) home: PathBuf,
    /// What is run: its `java`, or another of its tools.
    pub(crate) java: PathBuf,
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
    /// Asks the `java` of a folder what it is; not all have a `release` file.
    pub(crate) fn at(home: &Path) -> Option<Jvm> {
        let home = home.canonicalize().ok()?;
        let java = ["bin/java", "jre/bin/java"].map(|name| home.join(name)).into_iter().find(|java| java.is_file())?;
        let mut command = Command::new(&java);
        command.args(["-XshowSettings:properties", "-version"]).env_remove("LD_PRELOAD");
        let output = command.output().ok().filter(|output| output.status.success())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let version = said.lines().find_map(|line| line.trim().strip_prefix("java.specification.version = "))?;
        Some(Jvm { home, java, release: version.trim_start_matches("1.").parse().ok()? })
    }

    /// Its `java` with these arguments.
    pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Subject {
        Subject::new(&self.java).args(arguments)
    }

    /// The same as a plain command.
    pub(crate) fn command(&self) -> Command {
        Command::new(&self.java)
    }

    /// Whether it starts with these options (a collector may not be built in).
    pub(crate) fn accepts(&self, options: &[&str]) -> bool {
        self.run(options).args(["-version"]).run_plain().status.success()
    }
}

/// Compiles a class of `tests/java/` for every machine from release 8 on.
pub(crate) fn compile_class(name: &str, into: &Folder) -> bool {
    let Some(javac) = which("javac") else {
        skip("no javac");
        return false;
    };
    let mut command = Command::new(javac);
    command.args(["-source", "8", "-target", "8"]);
    compile(command, name, into)
}

/// The same of a class that uses the jars of a folder.
pub(crate) fn compile_class_with(name: &str, jars: &Path, into: &Folder) -> bool {
    let Some(javac) = which("javac") else {
        skip("no javac");
        return false;
    };
    let mut command = Command::new(javac);
    command.args(["-source", "8", "-target", "8", "-cp"]).arg(jars.join("*"));
    compile(command, name, into)
}

/// The folder of Java libraries with native code that `HEAPTAP_TEST_JARS` names (`scripts/test` fetches them).
pub(crate) fn jars() -> Option<PathBuf> {
    let folder = env::var_os("HEAPTAP_TEST_JARS").map(PathBuf::from).filter(|folder| folder.is_dir());
    if folder.is_none() {
        skip("HEAPTAP_TEST_JARS names no folder of Java libraries (python3 -m trial.libraries in scripts/lib)");
    }
    folder
}

/// The same of several that use each other.
pub(crate) fn compile_classes(names: &[impl AsRef<str>], into: &Folder) -> bool {
    let Some(javac) = which("javac") else {
        skip("no javac");
        return false;
    };
    let mut command = Command::new(javac);
    command
        .args(["-source", "8", "-target", "8", "-nowarn", "-Xlint:none", "-XDignore.symbol.file", "-g", "-d"])
        .arg(into.path());
    build(command.args(names.iter().map(|name| source(&format!("{}.java", name.as_ref())))))
}

impl Jvm {
    /// Compiles a class that needs this machine's library.
    pub(crate) fn compile_class(&self, name: &str, into: &Folder) -> bool {
        let javac = self.home.join("bin/javac");
        javac.is_file() && compile(Command::new(javac), name, into)
    }
}

fn compile(mut javac: Command, name: &str, into: &Folder) -> bool {
    javac.args(["-g", "-nowarn", "-Xlint:none", "-XDignore.symbol.file"]);
    build(javac.arg("-d").arg(into.path()).arg(source(&format!("{name}.java"))))
}

/// Leaves nothing of how to unwind a library.
pub(crate) const UNTABLED: &[&str] = &[
    "-fomit-frame-pointer",
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-nostartfiles",
    "-Wl,--no-eh-frame-hdr",
    "-Wl,--no-ld-generated-unwind-info",
];

/// A class and its library, built for all machines; `None`: there are no tools.
pub(crate) fn built(class: &str, library: &str, options: &[&str]) -> Option<Folder> {
    let folder = Folder::new(&format!("java-{class}"));
    let done = needs("gcc") && compile_library(library, options, &folder) && compile_class(class, &folder);
    done.then_some(folder)
}

/// Builds a library of `tests/java/` against some installed machine's headers.
pub(crate) fn compile_library(name: &str, options: &[&str], into: &Folder) -> bool {
    let Some(include) =
        jvms().into_iter().map(|jvm| jvm.home.join("include")).find(|path| path.join("jvmti.h").is_file())
    else {
        skip("no jvmti.h");
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
