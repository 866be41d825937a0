//! `--redact`: what a process was told, where it ran and who ran it is not in the pack, nor in the picture, and every
//! command still opens the pack.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Folder, HOWEVER_SHORT, cli, needs, under_tap};

/// What must not be told.
const SECRETS: [&str; 5] = ["alice", "acme-corp", "db-west", "hunter2", "pool-of-9"];

fn heaptap(arguments: &[&str], files: &[&Path]) -> Output {
    Command::new(cli()).args(arguments).args(files).env_remove("LD_PRELOAD").output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// The shop's last dump as it would be on a host whose paths, threads and command line tell who runs it.
fn shop(folder: &Folder) -> PathBuf {
    let dump = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps/shop/shop.4711.2.f.heap");
    let text = fs::read_to_string(dump).unwrap();
    let text = text
        .replace("/srv/jdk", "/home/alice/jdk")
        .replace("/srv/dumps/shop.", "/var/acme-corp/db-west.")
        .replacen("[0: 0]\n@", "[0: 0] pool-of-9\n@", 1)
        .replace(
            "# reason",
            "# prefix: /var/acme-corp/db-west\n# title: java hunter2.jar\n# run: /tmp/alice\n# reason",
        );
    assert!(SECRETS.iter().all(|secret| text.contains(secret)));
    folder.write("db-west.4711.2.f.heap", &text)
}

/// Names and contents of everything in a pack.
fn unpacked(pack: &Path) -> String {
    let tar = |option: &str| Command::new("tar").arg(option).arg(pack).output().unwrap();
    let [names, contents] = ["-tvzf", "-xzOf"].map(|option| String::from_utf8_lossy(&tar(option).stdout).into_owned());
    format!("{names}{contents}")
}

fn found<'a>(text: &str, secrets: &[&'a str]) -> Vec<&'a str> {
    secrets.iter().copied().filter(|secret| text.contains(secret)).collect()
}

#[test]
fn a_redacted_pack_tells_no_secret_and_every_command_opens_it() {
    let folder = Folder::new("redact");
    let dump = shop(&folder);
    let [plain, redacted] = ["plain.tgz", "redacted.tgz"].map(|name| folder.path().join(name));
    assert!(heaptap(&["pack", "-o"], &[&plain, &dump]).status.success());
    assert_eq!(found(&unpacked(&plain), &SECRETS), SECRETS);
    let output = heaptap(&["pack", "--redact", "-o"], &[&redacted, &dump]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = unpacked(&redacted);
    assert_eq!(found(&text, &SECRETS), [""; 0], "{text}");
    assert!(text.contains("redacted: yes") && text.contains("com/shop/Catalog unpack"));
    let [plain_report, report] = [&plain, &redacted].map(|pack| json(&heaptap(&["report", "--json"], &[pack])));
    assert_eq!(report["sites"], plain_report["sites"]);
    for command in [
        &["report"][..],
        &["growth"],
        &["leaks"],
        &["rss"],
        &["tree"],
        &["top"],
        &["top", "--by", "thread"],
        &["callers", "malloc"],
        &["symbols"],
        &["info"],
        &["convert", "--to", "folded"],
        &["convert", "--to", "speedscope"],
        &["convert", "--to", "json"],
    ] {
        let (shown, expected) = (heaptap(command, &[&redacted]), heaptap(command, &[&plain]));
        let told = String::from_utf8_lossy(&shown.stdout);
        assert_eq!(shown.status.code(), expected.status.code(), "{command:?}: {told}");
        assert_eq!(found(&told, &SECRETS), [""; 0], "{command:?}: {told}");
    }
}

#[test]
fn a_redacted_picture_tells_no_secret() {
    let folder = Folder::new("redact");
    let dump = shop(&folder);
    for (name, more) in [("x.svg", &[][..]), ("x.html", &["--lines"]), ("d.html", &["--diff"])] {
        let path = folder.path().join(name);
        let before = more.contains(&"--diff").then_some(dump.as_path());
        let files: Vec<&Path> = before.into_iter().chain([dump.as_path(), Path::new("-o"), &path]).collect();
        let output = heaptap(&[&["flame", "--redact"], more].concat(), &files);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let text = pictured(&path);
        assert!(text.contains("Catalog.unpack"), "{name}");
        assert_eq!(found(&text, &SECRETS), [""; 0], "{name}: {text}");
        assert_eq!(found(&text, &["heaptap-pack"]), [""; 0], "{name}");
    }
}

/// A picture's text, with the data of a page unpacked: packed they are letters at random, which may spell anything.
fn pictured(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let Some(at) = text.find("H4sI") else { return text };
    let is_base64 = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '/' | '=');
    let packed: String = text[at..].chars().take_while(|letter| is_base64(*letter)).collect();
    let file = path.with_extension("base64");
    fs::write(&file, &packed).unwrap();
    let output = Command::new("sh").args(["-c", "base64 -d \"$1\" | gzip -dc", "sh"]).arg(&file).output().unwrap();
    assert!(output.status.success());
    format!("{}{}", text.replace(&packed, ""), String::from_utf8_lossy(&output.stdout))
}

#[test]
fn what_a_process_was_told_is_in_no_redacted_pack() {
    if !needs("perl") {
        return;
    }
    let folder = Folder::new("redact");
    let (home, dumps) = (folder.subfolder("alice"), folder.subfolder("acme-corp"));
    let program = home.join("server");
    fs::copy(support::which("perl").unwrap(), &program).unwrap();
    let mut command = Command::new(&program);
    let conf = format!("prof:true,lg_prof_sample:10,prof_final:true,{HOWEVER_SHORT}");
    under_tap(&mut command, &conf, &dumps);
    command.args(["-e", "my @kept = map { 'x' x 5000 } 1 .. 500; $0 = 'db-west: hunter2'", "--", "--password=hunter2"]);
    assert!(command.env("DB_PASSWORD", "hunter2").status().unwrap().success());
    let [plain, pack] = ["plain.tgz", "pack.tgz"].map(|name| folder.path().join(name));
    assert!(heaptap(&["pack", "-o"], &[&plain, &dumps]).status.success());
    assert_eq!(found(&unpacked(&plain), &["alice", "acme-corp"]), ["alice", "acme-corp"]);
    assert!(heaptap(&["pack", "--redact", "--lines", "-o"], &[&pack, &dumps]).status.success());
    let text = unpacked(&pack);
    assert_eq!(found(&text, &SECRETS), [""; 0], "{text}");
    let folder_name = folder.path().file_name().unwrap().to_string_lossy();
    assert_eq!(found(&text, &[&folder_name]), [""; 0]);
    assert!(text.contains("/server") && text.contains("Perl_"), "{text}");
    let report = json(&heaptap(&["report", "--json"], &[&pack]));
    assert!(report["sites"].as_array().is_some_and(|sites| !sites.is_empty()));
}
