//! A Java VM that cannot or will not help: deadlocked, stopped, killed, killed with its memory gone. One command names
//! the leaking Java method each time.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::churn::{files, wait_for};
use support::java::{Jvm, compile_class, jvms};
use support::{Folder, HOWEVER_SHORT, cli, under_tap};

/// Usable bytes of a `java.util.zip.Deflater` (see tests/java_frames.rs), and how many are leaked.
const LEAKED: f64 = 60.0 * 268_288.0;

/// The VM, killed with this value; what it left is removed.
struct Hung {
    child: Child,
    folder: Folder,
}

impl Hung {
    fn start(jvm: &Jvm) -> Option<Hung> {
        let folder = Folder::new("hung");
        if !compile_class("Hung", &folder) {
            return None;
        }
        let mut command = jvm.command();
        command.args(["-Xmx64m", "-XX:+UseSerialGC", "-cp", ".", "Hung"]).current_dir(folder.path());
        under_tap(
            &mut command,
            &format!(
                "prof:true,lg_prof_sample:13,prof_max_overhead:0,prof_final:true,prof_mirror_seconds:1,{HOWEVER_SHORT}"
            ),
            folder.path(),
        );
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "deadlocked\n");
        Some(Hung { child, folder })
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// What `heaptap report PID` says on stdout and stderr; fails unless it names the method with its bytes.
    fn assert_named(&self, state: &str) -> String {
        let pid = PathBuf::from(self.pid());
        let (shown, told) = self.report(&[], &pid);
        assert!(shown.contains("Hung.leakDeflaters"), "{state}: {shown}");
        let bytes = leaked(&self.report(&["--json", "-n", "50"], &pid).0);
        assert!(is_all(bytes), "{state}: {bytes} of {LEAKED}");
        told
    }

    /// What `heaptap report` says of a pid or a file on stdout and stderr.
    fn report(&self, arguments: &[&str], input: &Path) -> (String, String) {
        let mut command = Command::new(cli());
        command.arg("report").args(arguments).arg(input).current_dir(self.folder.path());
        let output = command.output().unwrap();
        let (shown, told) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{}: {told}", input.display());
        (shown, told)
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.pid()]).status().unwrap().success());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Bytes below the method that leaks, of a report's JSON.
fn leaked(report: &str) -> f64 {
    let json: serde_json::Value = serde_json::from_str(report).unwrap();
    let sites = json["sites"].as_array().or_else(|| json["places"].as_array()).unwrap();
    let its = sites.iter().filter(|site| site.to_string().contains("Hung.leakDeflaters"));
    its.map(|site| site["bytes"].as_f64().or_else(|| site["live"]["bytes"].as_f64()).unwrap()).sum()
}

fn is_all(bytes: f64) -> bool {
    (0.9..1.1).contains(&(bytes / LEAKED))
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = Command::new(cli()).args(["recover", &self.pid()]).current_dir(self.folder.path()).output();
    }
}

#[test]
fn deadlocked_stopped_killed_and_forgotten_it_is_explained_by_one_command() {
    for jvm in jvms() {
        let Some(mut hung) = Hung::start(&jvm) else { return };
        hung.assert_named("deadlocked");
        let mirrors = |hung: &Hung| files(hung.folder.path(), ".live");
        // The first may have been written before it leaked.
        wait_for("a mirror with all of it", || {
            let files = mirrors(&hung);
            files.first().is_some_and(|mirror| is_all(leaked(&hung.report(&["--json", "-n", "50"], mirror).0)))
        });
        hung.signal("-STOP");
        hung.assert_named("stopped");
        hung.child.kill().unwrap();
        hung.child.wait().unwrap();
        let told = hung.assert_named("killed");
        assert!(told.contains("was killed; read from its region"), "{told}");
        // A container's tmpfs goes with it; the volume with the dumps stays.
        let life = mirrors(&hung)[0].file_stem().unwrap().to_str().unwrap().replace("jeprof.", "");
        for user in files(Path::new("/dev/shm"), "") {
            let _ = fs::remove_file(user.join(format!("{life}.region")));
        }
        let told = hung.assert_named("forgotten");
        assert!(
            told.contains("read from its mirror")
                && told.contains(" ago): what came after it is missing, ")
                && told.contains(" s of the process's life as a rule"),
            "{told}"
        );
        let output = Command::new(cli()).arg("recover").arg(hung.folder.path()).output().unwrap();
        let dump = String::from_utf8(output.stdout).unwrap();
        assert!(dump.contains(".f.heap") && mirrors(&hung).is_empty(), "{dump}");
        let text = fs::read_to_string(dump.trim()).unwrap();
        assert!(text.contains("# source: mirror\n") && text.contains(" Hung leakDeflaters "), "{dump}");
    }
}
