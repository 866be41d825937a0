//! A systemd service as its files say it: the unit and its drop-ins, in the order in which systemd reads them
//! (systemd.unit(5)), below a root folder. Nothing is asked of systemd itself: the answer is the same in a container
//! that builds an image.

use crate::cli::open;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where units lie, the strongest first.
const FOLDERS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
/// Bytes of a file that is read, at most.
const MOST_BYTES: u64 = 1 << 20;

/// The settings of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnitFile {
    /// The files that were read, in order.
    pub(crate) files: Vec<PathBuf>,
    /// Keys and values of `[Service]`, in order.
    settings: Vec<(String, String)>,
}

impl UnitFile {
    /// The service of this name (`elasticsearch.service`), without the drop-ins of this name: ours may lie there
    /// already. `None`: there is no such unit.
    pub(crate) fn find(root: &Path, name: &str, without: &str) -> Option<UnitFile> {
        let names = names(name);
        let folders = FOLDERS.map(|folder| root.join(folder));
        let main = names
            .iter()
            .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
            .find(|path| path.is_file())?;
        let mut unit = UnitFile::default();
        unit.read(&main);
        for path in drop_ins(&folders, &names, without) {
            unit.read(&path);
        }
        Some(unit)
    }

    fn read(&mut self, path: &Path) {
        let text = open::regular(path).and_then(|file| open::bytes(&file, MOST_BYTES)).unwrap_or_default();
        self.settings.extend(service_settings(&String::from_utf8_lossy(&text)));
        self.files.push(path.to_path_buf());
    }

    /// The value in force of a setting that has one.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.values(key).last().copied()
    }

    /// All values of a setting that is a list; an empty one clears those before it.
    pub(crate) fn values(&self, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for (_, value) in self.settings.iter().filter(|(name, _)| name == key) {
            match value.as_str() {
                "" => values.clear(),
                value => values.push(value),
            }
        }
        values
    }

    /// Whether a switch is on, as systemd reads it.
    pub(crate) fn is_on(&self, key: &str) -> bool {
        self.value(key)
            .is_some_and(|value| ["1", "yes", "true", "on", "y", "t"].contains(&value.to_lowercase().as_str()))
    }

    /// A variable of `Environment=`.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let assignments = self.values("Environment").into_iter().flat_map(words);
        let values = assignments.filter_map(|word| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned()));
        values.reduce(|_, later| later)
    }

    /// The files of `EnvironmentFile=`, which win over `Environment=`.
    pub(crate) fn environment_files(&self) -> Vec<PathBuf> {
        self.values("EnvironmentFile").into_iter().map(|path| PathBuf::from(path.trim_start_matches('-'))).collect()
    }

    /// The program of the last `ExecStart=`.
    pub(crate) fn program(&self) -> Option<PathBuf> {
        let command = words(self.value("ExecStart")?).into_iter().next()?;
        let program = command.trim_start_matches(['@', '-', ':', '+', '!', '|']);
        program.starts_with('/').then(|| PathBuf::from(program))
    }
}

/// Whether a file of environment variables sets one of this name.
pub(crate) fn sets(file: &Path, name: &str) -> bool {
    let text = open::regular(file).and_then(|file| open::bytes(&file, MOST_BYTES)).unwrap_or_default();
    let sets = |line: &str| line.trim_start().strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='));
    String::from_utf8_lossy(&text).lines().any(sets)
}

/// The unit's own name, and its template's where it is an instance.
fn names(name: &str) -> Vec<String> {
    let template = name.split_once('@').map(|(stem, _)| format!("{stem}@.service"));
    [Some(name.to_owned()), template].into_iter().flatten().collect()
}

/// Files of `NAME.service.d`, one for each file name: the strongest folder's; in the order of their names.
fn drop_ins(folders: &[PathBuf], names: &[String], without: &str) -> Vec<PathBuf> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    let places = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(format!("{name}.d"))));
    for entry in places.filter_map(|place| place.read_dir().ok()).flatten().filter_map(Result::ok) {
        if let Some(name) = entry.file_name().to_str().filter(|name| name.ends_with(".conf") && *name != without) {
            found.entry(name.to_owned()).or_insert_with(|| entry.path());
        }
    }
    found.into_values().collect()
}

/// Keys and values of `[Service]`. A line that ends with a backslash goes on in the next.
fn service_settings(text: &str) -> Vec<(String, String)> {
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        let part = line.trim_end();
        let (part, continues) = part.strip_suffix('\\').map_or((part, false), |part| (part, true));
        match lines.last_mut().filter(|_| goes_on) {
            Some(last) => *last = format!("{last} {}", part.trim()),
            None => lines.push(part.trim().to_owned()),
        }
        goes_on = continues;
    }
    let mut is_service = false;
    let mut settings = Vec::new();
    for line in lines {
        if line.starts_with('[') {
            is_service = line == "[Service]";
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_service) {
            settings.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    settings
}

/// Words of a value: blanks part them, unless they stand between quotes.
fn words(value: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for letter in value.chars() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (None, '"' | '\'') => quote = Some(letter),
            (None, letter) if letter.is_whitespace() => words.push(std::mem::take(&mut word)),
            _ => word.push(letter),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> UnitFile {
        UnitFile { files: Vec::new(), settings: service_settings(text) }
    }

    #[test]
    fn settings_are_read_as_systemd_reads_them() {
        let unit =
            of("[Unit]\nPrivateTmp=no\n[Service]\n# Type=x\nExecStart=-/usr/bin/a b \\\n  c\nPrivateTmp = yes\n\
                       Environment=A=1 \"B=x y\" 'C=z'\nEnvironment=A=2\nEnvironmentFile=-/etc/default/a\n");
        assert!(unit.is_on("PrivateTmp") && !unit.is_on("ProtectHome"));
        assert_eq!(unit.value("ExecStart"), Some("-/usr/bin/a b c"));
        assert_eq!(unit.program(), Some(PathBuf::from("/usr/bin/a")));
        let of = |name| unit.variable(name);
        assert_eq!((of("A").unwrap(), of("B").unwrap(), of("C").unwrap()), ("2".into(), "x y".into(), "z".into()));
        assert_eq!(unit.environment_files(), [PathBuf::from("/etc/default/a")]);
    }

    #[test]
    fn an_empty_value_clears_the_list() {
        let unit = of("[Service]\nEnvironment=A=1\nEnvironment=\nEnvironment=B=2\nExecStart=\n");
        assert_eq!((unit.variable("A"), unit.variable("B")), (None, Some("2".into())));
        assert_eq!((unit.program(), of("").program()), (None, None));
    }

    #[test]
    fn an_instance_has_its_template() {
        assert_eq!(names("a@b.service"), ["a@b.service", "a@.service"]);
        assert_eq!(names("a.service"), ["a.service"]);
    }
}
