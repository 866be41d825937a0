//! A program that says when it is ready and goes on when it is told to.

use super::{Folder, HOWEVER_SHORT, under_tap};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A process under the tap that says when it is ready, goes on with each line, and is killed in the end.
pub(crate) struct Talker {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) folder: Folder,
}

impl Talker {
    pub(crate) fn start(mut command: Command, folder: Folder, conf: &str) -> Talker {
        under_tap(&mut command, &format!("{conf},{HOWEVER_SHORT}"), folder.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Talker { child, lines, folder }
    }

    /// A program of the tests below a launcher, with these words.
    pub(crate) fn launch(name: &str, source: &str, words: &[&str], launcher: &[&str], conf: &str) -> Talker {
        let folder = Folder::new(name);
        let program = compile(source, &folder);
        let mut command = match launcher {
            [] => Command::new(&program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&program);
                command
            }
        };
        command.args(words);
        Talker::start(command, folder, conf)
    }

    pub(crate) fn expect(&mut self, word: &str) {
        assert_eq!(self.next().as_deref(), Some(word));
    }

    pub(crate) fn next(&mut self) -> Option<String> {
        self.lines.next().and_then(Result::ok)
    }

    pub(crate) fn go_on(&mut self) {
        writeln!(self.child.stdin.as_mut().unwrap()).unwrap();
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Builds a C program of the tests.
pub(crate) fn compile(source: &str, folder: &Folder) -> PathBuf {
    let program = folder.path().join("program");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let mut gcc = Command::new("gcc");
    gcc.args(["-O1", "-g", "-pthread", "-w", "-o"]).arg(&program).arg(source);
    assert!(gcc.status().unwrap().success());
    program
}
