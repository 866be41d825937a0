//! The live screen, used as a person does under tmux; what it writes where there is no terminal; and the first screen
//! of `report`, which shows the same course.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::churn::wait_for;
use support::{Folder, HOWEVER_SHORT, cli, needs, under_tap};

/// The program under the tap, which holds what it allocated.
struct Paths {
    child: Child,
    folder: Folder,
}

impl Paths {
    fn start() -> Paths {
        let folder = Folder::new("watch");
        let program = folder.path().join("paths");
        let source = format!("{}/tests/programs/paths.cpp", env!("CARGO_MANIFEST_DIR"));
        let built = Command::new("g++").args(["-O1", "-g", "-fno-builtin", "-o"]).arg(&program).arg(source).status();
        assert!(built.unwrap().success());
        let mut command = Command::new(&program);
        under_tap(&mut command, &format!("prof:true,lg_prof_sample:15,{HOWEVER_SHORT}"), folder.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        writeln!(child.stdin.as_mut().unwrap(), "hold").unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
        Paths { child, folder }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Waits until its keeper has noted some moments.
    fn wait_for_moments(&self) {
        wait_for("some moments", || {
            let output = Command::new(cli()).args(["info", "--json", &self.pid()]).output().unwrap();
            let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            told["files"][0]["history"]["timeline"].as_array().map_or(0, Vec::len) > 3
        });
    }
}

impl Drop for Paths {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = Command::new(cli()).args(["recover", &self.pid()]).current_dir(self.folder.path()).output();
    }
}

/// A terminal of 100 by 30.
struct Terminal<'a> {
    folder: &'a Folder,
    /// Its server's socket: one that is just ending takes no session.
    socket: &'static str,
}

impl Terminal<'_> {
    fn start<'a>(folder: &'a Folder, socket: &'static str, command: &str) -> Terminal<'a> {
        let terminal = Terminal { folder, socket };
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", command]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let socket = self.folder.path().join(self.socket);
        let output = Command::new("tmux").arg("-S").arg(socket).args(arguments).env("TERM", "xterm").output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn key(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen shows all of these.
    fn shows(&self, texts: &[&str]) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let screen = self.screen();
            if texts.iter().all(|text| screen.contains(text)) {
                return;
            }
            assert!(Instant::now() < end, "{texts:?} is not on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn a_person_watches_a_life() {
    if !needs("tmux") {
        return;
    }
    let paths = Paths::start();
    paths.wait_for_moments();
    let folder = Folder::new("tmux");
    let terminal = Terminal::start(&folder, "list", &format!("{} watch", cli().display()));
    // The list, and one life of it.
    terminal.shows(&["tapped lives", &paths.pid(), "sampling"]);
    terminal.key("Enter");
    terminal.shows(&["one sample per", "p sampling"]);
    terminal.key("Escape");
    terminal.shows(&["tapped lives"]);
    drop(terminal);

    let terminal = Terminal::start(&folder, "life", &format!("{} watch {}", cli().display(), paths.pid()));
    terminal.shows(&["paths", "live v", "resident", "MiB│", "path<", "one sample per 32.0 KiB"]);
    // The stack of a place, and back.
    terminal.key("Enter");
    terminal.shows(&["in", "objects", "main"]);
    terminal.key("Escape");
    terminal.shows(&["live v"]);
    // Sorted by the next column, then the other way round.
    terminal.key("s");
    terminal.shows(&["change v"]);
    terminal.key("S");
    terminal.shows(&["change ^"]);
    // Sampling off, and a dump.
    terminal.key("p");
    terminal.shows(&["sampling is off"]);
    terminal.key("d");
    terminal.shows(&["wrote", ".heap"]);
    terminal.key("Escape");
    terminal.shows(&["tapped lives"]);
    // It ends and leaves the terminal as it was: then tmux has no session any more.
    terminal.key("q");
    wait_for("the end", || terminal.tmux(&["list-sessions"]).is_empty());
    let dumps = std::fs::read_dir(paths.folder.path()).unwrap().flatten();
    assert!(dumps.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().ends_with(".heap")));
}

#[test]
fn a_pipe_gets_lines_and_the_first_screen_of_a_report_has_the_answer() {
    let paths = Paths::start();
    paths.wait_for_moments();
    let output = Command::new(cli()).args(["watch", &paths.pid(), "--count", "2", "--every", "0.2"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let looks: Vec<&str> = text.lines().filter(|line| line.contains(&format!("pid {}  live ", paths.pid()))).collect();
    assert_eq!(looks.len(), 2, "{text}");
    assert!(text.contains("path<") && looks[0].contains("MiB") && !text.contains('\u{1b}'), "{text}");

    let report = Command::new(cli()).args(["report", &paths.pid()]).env("COLUMNS", "80").output().unwrap();
    let text = String::from_utf8(report.stdout).unwrap();
    let screen: Vec<&str> = text.lines().take(24).collect();
    assert!(screen.iter().all(|line| line.chars().count() <= 80), "{text}");
    for what in ["live bytes, and resident memory", "B│", "now", " 1.", "path<"] {
        assert!(screen.iter().any(|line| line.contains(what)), "{what} is not on the first screen:\n{text}");
    }

    // No process has that number: Linux counts to 2^22.
    let gone = Command::new(cli()).args(["watch", "--count", "1", "4194304"]).output().unwrap();
    assert_eq!(gone.status.code(), Some(2));
    assert_eq!(Command::new(cli()).args(["watch", "--every", "0"]).output().unwrap().status.code(), Some(2));
}
