//! A Java VM that cannot or will not help: deadlocked, stopped, killed, killed with its memory gone. One command names
//! the leaking Java method each time.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
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
            &format!("prof:true,lg_prof_sample:13,prof_final:true,prof_mirror_seconds:1,{HOWEVER_SHORT}"),
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
        let report = |arguments: &[&str]| {
            let mut command = Command::new(cli());
            command.arg("report").args(arguments).arg(self.pid()).current_dir(self.folder.path());
            let output = command.output().unwrap();
            assert!(output.status.success(), "{state}: {}", String::from_utf8_lossy(&output.stderr));
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
        };
        let (shown, told) = report(&[]);
        assert!(shown.contains("Hung.leakDeflaters"), "{state}: {shown}");
        let json: serde_json::Value = serde_json::from_str(&report(&["--json", "-n", "50"]).0).unwrap();
        let sites = json["sites"].as_array().or_else(|| json["places"].as_array()).unwrap();
        let its = sites.iter().filter(|site| site.to_string().contains("Hung.leakDeflaters"));
        let bytes =
            |site: &serde_json::Value| site["bytes"].as_f64().or_else(|| site["live"]["bytes"].as_f64()).unwrap();
        let bytes: f64 = its.map(bytes).sum();
        assert!((0.9..1.1).contains(&(bytes / LEAKED)), "{state}: {bytes} of {LEAKED}");
        told
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.pid()]).status().unwrap().success());
        std::thread::sleep(Duration::from_millis(50));
    }
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
        // The first is written when the VM starts; a second later, the next.
        std::thread::sleep(Duration::from_secs(3));
        wait_for("a mirror", || !mirrors(&hung).is_empty());
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
            told.contains("read from its mirror") && told.contains(" ago): what came after it is missing, 1 s"),
            "{told}"
        );
        let output = Command::new(cli()).arg("recover").arg(hung.folder.path()).output().unwrap();
        let dump = String::from_utf8(output.stdout).unwrap();
        assert!(dump.contains(".f.heap") && mirrors(&hung).is_empty(), "{dump}");
        let text = fs::read_to_string(dump.trim()).unwrap();
        assert!(text.contains("# source: mirror\n") && text.contains(" Hung leakDeflaters "), "{dump}");
    }
}
