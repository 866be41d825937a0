//! A program under test: what is run, once plain and once under the tap, and what came of it.
//!
//! Output goes to files, not pipes: nothing can block on a full pipe, and a grandchild that stays behind
//! with an inherited descriptor cannot hang the test. A run that does not end in time is killed and fails.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Dump, Folder, collect_dumps, library};

/// Far above what any of our programs needs on a busy machine; a bound for hangs, not a measurement.
const DEADLINE: Duration = Duration::from_secs(180);

/// A command line with its input; run as often as wanted, each time in a fresh folder.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    input: String,
    deadline: Duration,
}

/// What a run left: its streams, its status, its folder, and its dumps.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it wrote to stdout.
    pub(crate) stdout: String,
    /// What it wrote to stderr.
    pub(crate) stderr: String,
    /// The dumps of all its processes (empty when it ran plain).
    pub(crate) dumps: Vec<Dump>,
    /// The process that was started.
    pub(crate) pid: u32,
    /// Where it ran; removed with this value.
    pub(crate) folder: Folder,
}

impl Subject {
    /// A program by name (looked up in `PATH`) or path, without arguments.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Subject {
        Subject {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            input: String::new(),
            deadline: DEADLINE,
        }
    }

    /// What is run.
    pub(crate) fn program(&self) -> &OsStr {
        &self.program
    }

    /// Appends arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Subject {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Subject {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// What it reads from stdin (nothing by default).
    pub(crate) fn stdin(mut self, text: &str) -> Subject {
        text.clone_into(&mut self.input);
        self
    }

    /// How long it may run, where hanging is what it is about.
    pub(crate) fn deadline(mut self, deadline: Duration) -> Subject {
        self.deadline = deadline;
        self
    }

    /// Runs it as it is.
    pub(crate) fn run_plain(&self) -> Outcome {
        self.run(|_, _| {})
    }

    /// Runs it under the tap with this `MALLOC_CONF`; its dumps go to a folder beside its working one.
    pub(crate) fn run_tapped(&self, conf: &str) -> Outcome {
        self.run(|command, folder| under_tap(command, conf, &dump_folder(folder)))
    }

    /// The same under another library than the one that is tested otherwise.
    pub(crate) fn run_under(&self, library: &Path, conf: &str) -> Outcome {
        self.run(|command, folder| {
            under_tap(command, conf, &dump_folder(folder));
            command.env("LD_PRELOAD", library);
        })
    }

    /// Runs it in `work/` of a fresh folder, after `prepare` had a look at the command.
    fn run(&self, prepare: impl FnOnce(&mut Command, &Folder)) -> Outcome {
        let folder = Folder::new(&self.label());
        let mut command = self.command(&folder);
        prepare(&mut command, &folder);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("starting {}: {error}", self.label()));
        let status = wait_or_kill(&mut child, self.deadline);
        let status = status.unwrap_or_else(|| panic!("{} did not end within {:?}", self.label(), self.deadline));
        Outcome {
            status,
            stdout: read(&folder.path().join("stdout")),
            stderr: read(&folder.path().join("stderr")),
            dumps: collect_dumps(&dump_folder(&folder)),
            pid: child.id(),
            folder,
        }
    }

    /// The command with its folder and streams; the environment is the test's, without any preload.
    fn command(&self, folder: &Folder) -> Command {
        let stream = |name: &str| {
            File::create(folder.path().join(name)).unwrap_or_else(|error| panic!("creating {name}: {error}"))
        };
        let input = folder.write("stdin", &self.input);
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .current_dir(folder.subfolder("work"))
            .env_remove("LD_PRELOAD")
            .env_remove("MALLOC_CONF")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(File::open(&input).map_or_else(|_| Stdio::null(), Stdio::from))
            .stdout(stream("stdout"))
            .stderr(stream("stderr"));
        command
    }

    /// The program's name, for folders and messages.
    fn label(&self) -> String {
        Path::new(&self.program).file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl Outcome {
    /// The final dump of the process that was started.
    pub(crate) fn final_dump(&self) -> Option<&Dump> {
        self.dumps.iter().find(|dump| dump.pid == self.pid && dump.is_final())
    }

    /// Fails, naming the first difference, unless both runs printed the same and ended the same way.
    pub(crate) fn assert_same_as(&self, plain: &Outcome) {
        assert_eq!(self.status, plain.status, "the exit status differs; stderr was: {}", self.stderr);
        assert_eq!(self.stdout, plain.stdout, "stdout differs");
        assert_eq!(self.stderr, plain.stderr, "stderr differs");
    }
}

/// Adds the tap to a command: the library, its options, and where its dumps shall go.
pub(crate) fn under_tap(command: &mut Command, conf: &str, dumps: &Path) {
    let prefix = dumps.join("jeprof");
    command.env("LD_PRELOAD", library()).env("MALLOC_CONF", format!("{conf},prof_prefix:{}", prefix.display()));
}

/// Waits for a child, at most so long; a child that is late is killed, and the answer is `None`.
pub(crate) fn wait_or_kill(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < deadline {
        if let Some(status) = child.try_wait().expect("a child of ours can be waited for") {
            return Some(status);
        }
        sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn dump_folder(folder: &Folder) -> PathBuf {
    folder.subfolder("dumps")
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}
