//! Which frame of a stack is the user's own: the method that an operator can change.
//!
//! Between an allocation and the program's own code stand the allocator, the JDK, and libraries. Of the frames of a
//! stack, from the allocation outwards, the own one is the first of
//!
//! 1. what the reader says is theirs (`--own org.acme`, a beginning of names, or of a library's file name);
//! 2. the *program's*: in Java the packages of the main class, which the command line names, or the outermost method
//!    `main` of some stack; of a native program its executable, and libraries below its folder or outside of the
//!    system's folders;
//! 3. *others'* code: packages that nobody knows. The outermost such package is where the thread entered, so its first
//!    frame is taken: a library that nobody knows either, called by it, is not;
//! 4. a known *server's* packages. They stand behind 3, as a plug-in is what its operator can change;
//! 5. a known *library's*, where there is nothing else: then the first frame outside of the JDK;
//! 6. the program's frames without a name, where its symbols are stripped.
//!
//! Examples (`tests/places/`): zstd below `ZstdServer.consumeMessage` names that method; a plug-in `com.acme.Plugin`
//! below Elasticsearch names the plug-in; Elasticsearch alone names its own method; a Netty thread alone names Netty's.
//! A package *belongs* by its first two parts (`com.shop`), three where projects share them (`org.apache.cassandra`).
//! The names stand in `own.txt`.

use super::frames::{Kind, Kinds};
use crate::cli::profile::Profile;
use crate::cli::profile::location::{Function, FunctionId, Line, Origin};
use crate::cli::profile::mapping::Mapping;
use crate::wire::title;
use rustc_hash::{FxHashMap, FxHashSet};

const TABLE: &str = include_str!("own.txt");

/// Whose a function is, in the order in which the own frame is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// The reader says that it is theirs.
    Stated,
    /// The program's.
    Program,
    /// A package or library that nobody knows.
    Other,
    /// A known server's.
    Server,
    /// A known library's.
    Library,
    /// The program's, without a name.
    Nameless,
    /// Allocator, runtime, system.
    Platform,
}

/// Whose every function of one profile is.
pub(crate) struct Owners {
    owners: Vec<Owner>,
    /// Of functions that are [`Owner::Other`]: the package or library that they belong to.
    families: Vec<u32>,
}

impl Owners {
    /// Looks every function up, and learns the program's packages from where its threads entered.
    pub(crate) fn of(profile: &Profile, kinds: &Kinds) -> Owners {
        let rules = Rules::of(profile, Table::read());
        let mains = rules.main_packages(profile, kinds);
        let functions = || (0u32..).map(FunctionId).zip(&profile.functions);
        let owner = |(id, function)| rules.owner(function, kinds.kind(id), &mains);
        let owners = functions().map(owner).collect();
        let mut numbers: FxHashMap<String, u32> = FxHashMap::default();
        let mut number = |name: String| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            *numbers.entry(name).or_insert(next)
        };
        let families = profile.functions.iter().map(|function| number(rules.family(function))).collect();
        Owners { owners, families }
    }

    /// Whose a function is.
    pub(crate) fn owner(&self, id: FunctionId) -> Owner {
        self.owners.get(id.index()).copied().unwrap_or(Owner::Platform)
    }

    /// Where the own frame stands in a whole stack, leaf first.
    pub(crate) fn own_frame(&self, frames: &[Line]) -> Option<usize> {
        let owner = |line: &Line| self.owner(line.function);
        let mut best = (Owner::Platform, None);
        for (at, owner) in frames.iter().map(owner).enumerate() {
            if owner < best.0 {
                best = (owner, Some(at));
            }
        }
        let (best, first) = best;
        if best != Owner::Other {
            return first;
        }
        let family = |line: &Line| self.families.get(line.function.index());
        let entered = frames.iter().rfind(|line| owner(line) == Owner::Other).and_then(family);
        frames.iter().position(|line| owner(line) == Owner::Other && family(line) == entered).or(first)
    }

    /// Where the thread entered: the outermost frame that is neither runtime nor system.
    pub(crate) fn entry(&self, frames: &[Line]) -> Option<Line> {
        frames.iter().rfind(|line| self.owner(line.function) < Owner::Nameless).copied()
    }
}

/// `own.txt`, taken apart.
#[derive(Default)]
struct Table {
    libraries: Vec<&'static str>,
    servers: Vec<&'static str>,
    shared: Vec<&'static str>,
    natives: Vec<&'static str>,
    interpreters: Vec<&'static str>,
    system_paths: Vec<&'static str>,
}

impl Table {
    fn read() -> Table {
        let mut table = Table::default();
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let Some((kind, names)) = line.split_once(' ') else { continue };
            let list = match kind {
                "library" => &mut table.libraries,
                "server" => &mut table.servers,
                "shared" => &mut table.shared,
                "native" => &mut table.natives,
                "interpreter" => &mut table.interpreters,
                "system-path" => &mut table.system_paths,
                _ => continue,
            };
            list.extend(names.split(' '));
        }
        table
    }
}

/// What a function is to who looks for `main` from the outermost frame inwards.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// No Java code, or the JDK's.
    Over,
    /// A method `main`.
    Main,
    /// A library's, which may have called it.
    Launcher,
    /// Anything else: behind it stands no such method.
    End,
}

/// The table, and what of a profile it is asked about.
struct Rules<'a> {
    table: Table,
    stated: &'a [String],
    is_jvm: bool,
    /// File name of the program, unless it runs other people's code.
    program: Option<&'a str>,
    /// File names of libraries that belong to the system.
    system: FxHashSet<&'a str>,
    /// File names of libraries that stand below the program's folder.
    beside: FxHashSet<&'a str>,
}

impl<'a> Rules<'a> {
    fn of(profile: &'a Profile, table: Table) -> Rules<'a> {
        let path = profile.program().unwrap_or("");
        let name = Mapping::file_name_of(path);
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        let is_interpreter = table.interpreters.iter().any(|known| *known == stem || *known == name);
        let is_below = |file: &str, folder: &str| file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let home = (!is_interpreter).then(|| home(path)).flatten();
        let files = || profile.mappings.iter().filter(|mapping| mapping.is_file());
        let is_beside = |file: &&Mapping| home.is_some_and(|home| is_below(&file.path, home));
        let is_system = |file: &&Mapping| table.system_paths.iter().any(|folder| is_below(&file.path, folder));
        Rules {
            stated: &profile.own,
            is_jvm: profile.is_jvm(),
            program: (!is_interpreter && !name.is_empty()).then_some(name),
            system: files().filter(is_system).map(Mapping::file_name).collect(),
            beside: files().filter(is_beside).map(Mapping::file_name).collect(),
            table,
        }
    }

    /// The packages of the main classes: of methods `main` that a thread began with. A launcher (`JarLauncher.main`),
    /// which is a library's, may stand outside of the real one, and reflection between them.
    fn main_packages(&self, profile: &Profile, kinds: &Kinds) -> FxHashSet<String> {
        // What each function is to this search, so that stacks are walked by numbers.
        let is_launcher = |function: &Function| begins(&function.name, &self.table.libraries);
        let step = |(id, function): (FunctionId, &Function)| match () {
            () if kinds.kind(id) != Kind::Own || !is_java(function) => Step::Over,
            () if function.name.ends_with(".main") => Step::Main,
            () if is_launcher(function) => Step::Launcher,
            () => Step::End,
        };
        let steps: Vec<Step> = (0u32..).map(FunctionId).zip(&profile.functions).map(step).collect();
        let mut mains: FxHashSet<&str> = FxHashSet::default();
        let samples = if steps.contains(&Step::Main) { profile.samples.as_slice() } else { &[] };
        for sample in samples {
            let lines = sample.stack.iter().rev().flat_map(|id| profile.location(*id).lines.iter().rev());
            let steps = lines.map(|line| (line.function, steps.get(line.function.index()).copied()));
            let first = steps.take_while(|(_, step)| *step != Some(Step::End));
            let first = first.filter(|(_, step)| *step == Some(Step::Main));
            mains.extend(first.filter_map(|(id, _)| profile.function(id)).map(|function| function.name.as_str()));
        }
        // The thread of `main` may have no sample.
        let started =
            profile.metadata.title.as_deref().and_then(title::main_class).map(|class| format!("{class}.main"));
        mains.extend(started.as_deref());
        let is_known = |name: &str| begins(name, &self.table.libraries) || begins(name, &self.table.servers);
        mains.into_iter().filter(|name| !is_known(name)).map(|name| self.package(name)).collect()
    }

    fn owner(&self, function: &Function, kind: Kind, mains: &FxHashSet<String>) -> Owner {
        let (name, library) = (function.name.as_str(), function.library.as_str());
        let is_named = matches!(function.origin, Origin::Native | Origin::Java);
        if is_named && self.stated.iter().any(|own| is_of(name, own) || library.starts_with(own.as_str())) {
            return Owner::Stated;
        }
        if is_java(function) {
            return match kind {
                Kind::Glue | Kind::System => Owner::Platform,
                Kind::Own => self.java(name, mains),
            };
        }
        if kind == Kind::Glue {
            return Owner::Platform;
        }
        let is_program = self.program == Some(library) || self.beside.contains(library);
        match (kind, function.origin) {
            (_, Origin::Unknown) if is_program => Owner::Nameless,
            (Kind::Own, Origin::Unknown) => Owner::Other,
            (Kind::Own, _) => self.native(name, library, is_program),
            _ => Owner::Platform,
        }
    }

    fn java(&self, name: &str, mains: &FxHashSet<String>) -> Owner {
        // What is no method (`[compiling]`, `CompileBroker::…`) is the virtual machine's.
        if !name.contains('.') {
            return Owner::Library;
        }
        let package = self.package(name);
        match () {
            // Nobody ships a library without a package.
            () if mains.contains(&package) || package.is_empty() => Owner::Program,
            () if begins(name, &self.table.servers) => Owner::Server,
            () if begins(name, &self.table.libraries) => Owner::Library,
            () => Owner::Other,
        }
    }

    fn native(&self, name: &str, library: &str, is_program: bool) -> Owner {
        let is_system = self.system.contains(library) && !is_program;
        if is_system || begins(name, &self.table.natives) {
            return Owner::Library;
        }
        let is_elsewhere = self.program.is_none() || self.is_jvm && self.program != Some(library);
        match is_elsewhere {
            // Below an interpreter any library is an extension. In a JVM the Java method that calls it says more.
            true if self.is_jvm => Owner::Library,
            true if self.is_interpreters_own(library) => Owner::Library,
            true => Owner::Other,
            false => Owner::Program,
        }
    }

    /// Whether code lies in the interpreter or in its shared library.
    fn is_interpreters_own(&self, library: &str) -> bool {
        let name = library.strip_prefix("lib").unwrap_or(library);
        self.table.interpreters.iter().any(|known| {
            let rest = name.strip_prefix(known);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(|c: char| c == '.' || c.is_ascii_digit()))
        })
    }

    /// What a function belongs to: `com.shop`, or the library's file.
    fn family(&self, function: &Function) -> String {
        if is_java(function) { self.package(&function.name) } else { function.library.clone() }
    }

    /// `com.shop` of `com.shop.web.Server.handle`, `org.apache.cassandra` of `org.apache.cassandra.db.Memtable.put`;
    /// nothing of `Server.main`.
    fn package(&self, method: &str) -> String {
        let parts = if begins(method, &self.table.shared) { 3 } else { 2 };
        // Behind the package stand a class, whose name may hold further dots (`a.B$$Lambda.0x1`), and a method.
        let words: Vec<&str> = method.split('.').collect();
        let is_class = |word: &&str| word.starts_with(|c: char| c.is_uppercase() || c == '$');
        let package = words.iter().position(is_class).unwrap_or(words.len().saturating_sub(2));
        words.get(..package.min(parts)).unwrap_or_default().join(".")
    }
}

/// The folder that holds a program with its libraries: the program's, or the one above `bin`; none of the system's.
fn home(path: &str) -> Option<&str> {
    let (folder, _) = path.rsplit_once('/')?;
    let home = folder.strip_suffix("/bin").or_else(|| folder.strip_suffix("/sbin")).unwrap_or(folder);
    (!matches!(home, "" | "/bin" | "/sbin" | "/usr" | "/usr/local" | "/opt")).then_some(home)
}

fn is_java(function: &Function) -> bool {
    function.origin == Origin::Java
}

fn begins(text: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| text.starts_with(prefix))
}

/// Whether a name is `own` or stands below it: `org.acme` holds `org.acme.Shop.run`, and not `org.acmetool.X.y`.
fn is_of(name: &str, own: &str) -> bool {
    let rest = name.strip_prefix(own);
    rest.is_some_and(|rest| own.ends_with(['.', ':']) || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(table: Table) -> Rules<'static> {
        let (system, beside) = (FxHashSet::default(), FxHashSet::default());
        Rules { table, stated: &[], is_jvm: true, program: None, system, beside }
    }

    #[test]
    fn a_package_is_two_parts_or_three_where_projects_share_them() {
        let rules = rules(Table::read());
        let cases = [
            ("com.shop.web.Server.handle", "com.shop"),
            ("org.apache.cassandra.db.Memtable.put", "org.apache.cassandra"),
            ("kafka.Kafka.main", "kafka"),
            ("Server.main", ""),
            ("Server$$Lambda.0x7f.run", ""),
            ("com.shop.Server$1.run", "com.shop"),
            ("app.lower.main", "app"),
        ];
        cases.iter().for_each(|(method, package)| assert_eq!(rules.package(method), *package, "{method}"));
    }

    #[test]
    fn what_a_reader_states_ends_at_a_part_of_the_name() {
        assert!(is_of("org.acme.Shop.run", "org.acme") && is_of("acme::run", "acme::") && is_of("acme::run", "acme"));
        assert!(!is_of("org.acmetool.Shop.run", "org.acme"));
    }

    #[test]
    fn a_program_has_a_home_outside_of_the_systems_folders() {
        assert_eq!(home("/opt/acme/bin/server"), Some("/opt/acme"));
        assert_eq!(home("/home/me/build/server"), Some("/home/me/build"));
        assert_eq!([home("/usr/bin/redis"), home("/bin/x"), home("/usr/local/bin/x"), home("x")], [None; 4]);
    }

    #[test]
    fn every_line_of_the_table_has_a_known_kind_and_no_name_twice() {
        let kinds = ["library", "server", "shared", "native", "interpreter", "system-path"];
        for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (kind, names) = line.split_once(' ').unwrap();
            assert!(kinds.contains(&kind) && !names.split(' ').any(str::is_empty), "{line}");
            let is_package = matches!(kind, "library" | "server" | "shared");
            assert!(!is_package || names.split(' ').all(|name| name.ends_with('.')), "{line}");
        }
    }
}
