//! What a process is called by those who run it. The executable's name is `java` for all JVMs, `python3` for all
//! scripts, and `redis-check-rdb` for Redis, whose server is a link to that file.
//!
//! The tap writes it down, so that a dump names what its process was. It takes no further word of the command line,
//! which may hold passwords.

use std::path::Path;

/// Longest title, characters.
const MOST: usize = 60;
/// Options of `java` that take the next word.
const JAVA_PAIRS: [&str; 11] = [
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--upgrade-module-path",
    "--add-modules",
    "--add-opens",
    "--add-exports",
    "--add-reads",
    "--limit-modules",
];
/// Options of interpreters that take the next word.
const SCRIPT_PAIRS: [&str; 6] = ["-W", "-X", "-I", "-r", "--require", "-d"];
/// Interpreters, without a version at the end.
const INTERPRETERS: [&str; 8] = ["python", "perl", "ruby", "node", "php", "bash", "sh", "dash"];

/// A process's title: the main class or jar of a JVM, the script of an interpreter, else what it was started as where
/// that is not the executable's name.
pub(crate) fn of(executable: &str, command: &[String]) -> String {
    let name = last_part(executable);
    let arguments = command.get(1..).unwrap_or_default();
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let inner = match stem {
        "java" => java(arguments),
        _ if INTERPRETERS.contains(&stem) => script(arguments, !stem.ends_with("sh")),
        _ => None,
    };
    let title = match (inner, command.first().map(|word| started_as(word)).filter(|word| !word.is_empty())) {
        (Some(inner), _) => format!("{name} {inner}"),
        (None, Some(started)) if started != name => started,
        (None, _) => name.to_owned(),
    };
    title.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect()
}

/// Of the title of a JVM that was started by the name of a class: that class.
pub(crate) fn main_class(title: &str) -> Option<&str> {
    title.strip_prefix("java ").filter(|class| !class.ends_with(".jar"))
}

/// Whether two titles are of one program: a server's workers may be called by what they do just now.
pub(crate) fn is_same_program(title: &str, other: &str) -> bool {
    let (mut words, mut others) = (title.split(' '), other.split(' '));
    // What an older heaptap wrote has the program's name only.
    words.next() == others.next() && words.next().zip(others.next()).is_none_or(|(word, other)| word == other)
}

/// The words of a command line as `/proc/PID/cmdline` has them.
pub(crate) fn words(command_line: &[u8]) -> Vec<String> {
    let words = command_line.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let mut words: Vec<String> = words.collect();
    while words.last().is_some_and(String::is_empty) {
        words.pop();
    }
    words
}

fn last_part(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

/// `argv[0]`: a path, a login shell's name, or a title that the program has put there (`nginx: master process`).
fn started_as(word: &str) -> String {
    let title = word.trim();
    if title.contains(": ") { title.to_owned() } else { last_part(title).trim_start_matches('-').to_owned() }
}

fn java(arguments: &[String]) -> Option<String> {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-jar" => return words.next().map(|jar| last_part(jar).to_owned()),
            "-m" | "--module" => return words.next().map(|module| module.rsplit('/').next().unwrap_or(module).into()),
            pair if JAVA_PAIRS.contains(&pair) => drop(words.next()),
            option if option.starts_with('-') || option.starts_with('@') => {}
            class => return Some(class.to_owned()),
        }
    }
    None
}

/// `takes_text`: whether `-e` brings a program with it.
fn script(arguments: &[String], takes_text: bool) -> Option<String> {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-m" => return words.next().map(|module| format!("-m {module}")),
            "-c" | "-" => return Some(word.clone()),
            "-e" if takes_text => return Some(word.clone()),
            pair if SCRIPT_PAIRS.contains(&pair) => drop(words.next()),
            option if option.starts_with('-') => {}
            script => return Some(last_part(script).to_owned()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    fn title(executable: &str, command: &str) -> String {
        super::of(executable, &command.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_process_is_called_by_what_it_runs() {
        let java = "/usr/lib/jvm/17/bin/java";
        for (executable, command, expected) in [
            (
                java,
                "java -Xmx1g -cp lib/*:x org.elasticsearch.bootstrap.Elasticsearch -d",
                "java org.elasticsearch.bootstrap.Elasticsearch",
            ),
            (java, "java -Dx=y -jar /opt/app/shop.jar --port 1", "java shop.jar"),
            (java, "java --module-path /m --add-modules a,b -m org.es/org.es.Main", "java org.es.Main"),
            (java, "java -version", "java"),
            ("/usr/bin/python3.11", "/usr/bin/python3 -u /srv/app.py x", "python3.11 app.py"),
            ("/usr/bin/python3", "python3 -m gunicorn app", "python3 -m gunicorn"),
            ("/usr/bin/redis-check-rdb", "/usr/bin/redis-server *:6379", "redis-server"),
            ("/usr/sbin/nginx", "nginx:\u{a0}master", "nginx:\u{a0}master"),
            ("/usr/bin/bash", "-bash", "bash"),
            ("/usr/bin/bash", "bash -e bin/start.sh", "bash start.sh"),
            ("/usr/bin/perl", "perl -e sleep", "perl -e"),
        ] {
            assert_eq!(title(executable, command), expected);
        }
        assert_eq!(super::of("/usr/sbin/nginx", &["nginx: master process /x".into()]), "nginx: master process /x");
        assert_eq!(super::of("/bin/true", &[]), "true");
        assert_eq!(super::of("/bin/true", &["a\nb".into()]), "a b");
        assert_eq!(super::words(b"java\0\0x\0\0"), ["java", "", "x"]);
    }

    #[test]
    fn titles_are_of_one_program_by_name_and_class() {
        let same = super::is_same_program;
        assert!(same("java org.acme.Shop", "java org.acme.Shop") && same("java", "java org.acme.Shop"));
        assert!(same("postgres: main idle", "postgres: main active") && !same("java a.A", "java b.B"));
        let class = super::main_class;
        assert_eq!(
            [class("java org.acme.Shop"), class("java shop.jar"), class("python3 a")],
            [Some("org.acme.Shop"), None, None]
        );
    }
}
