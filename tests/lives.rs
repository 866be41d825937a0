//! Every life has a name, and is over when it is over: what an exec leaves, who gets a keeper and when, whom `status`
//! and `ps` find, and who may look. Most of it in a /dev/shm of its own, which takes root.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use support::churn::{CONF, Churn, files, wait_for};
use support::{Folder, HOWEVER_SHORT, cli, is_installed, library, skip};

/// Seconds that a program lives unless it is killed: more than a busy machine needs for what is asked of it.
const LONG: &str = "600";
const USUAL: &str = "prof:true,lg_prof_sample:17,prof_final:true";

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

fn heaptap(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(cli()).args(arguments).env_remove("LD_PRELOAD").output().unwrap();
    (output.status.code().unwrap(), text(&output))
}

fn is_root() -> bool {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) && is_installed("unshare");
    if !is_root {
        skip("only root can mount");
    }
    is_root
}

/// Words that run a command with a /dev/shm of its own, as `mount` says (`size=1m`).
fn own_shm(options: &str) -> Vec<String> {
    let script = format!("mount -t tmpfs -o {options} none /dev/shm && exec \"$@\"");
    ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

/// A program of `tests/programs/`, built.
fn build(folder: &Folder, name: &str) -> PathBuf {
    let program = folder.path().join(name);
    let source = format!("{}/tests/programs/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let built = Command::new("gcc").args(["-O1", "-g", "-fno-builtin", "-w", "-o"]).arg(&program).arg(source).status();
    assert!(built.unwrap().success());
    program
}

/// Words that run a command under the tap.
fn tapped(conf: &str) -> Vec<String> {
    vec!["env".into(), format!("LD_PRELOAD={}", library().display()), format!("MALLOC_CONF={conf}")]
}

fn command(words: &[Vec<String>], folder: &Folder) -> Command {
    let words: Vec<&String> = words.iter().flatten().collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(folder.path()).env_remove("LD_PRELOAD").env_remove("TMPDIR");
    command
}

/// A child that is killed when the test is over.
struct Running(Child);

impl Running {
    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Helpers of start scripts, by fork and exec and by chains of exec; every image samples.
#[test]
fn ten_thousand_spawns_leave_nothing() {
    let spawns = if std::env::var_os("FULL").is_some() { 10_000 } else { 150 };
    let folder = Folder::new("spawns");
    if !is_root() {
        return;
    }
    let script = format!(
        "for i in $(seq {spawns}); do (exec /bin/true); /bin/true; done
         perl -e 'exec q(sh), q(-c), q(exec sh -c \"exec true\")'
         perl -e 'my @kept = map {{ q(x) x 1000 }} 1..100; exec q(/no/such/program); exit 0' 2>/dev/null
         ls /dev/shm/heaptap-0 2>/dev/null | grep -c region"
    );
    let counting = words(&["sh", "-c", "\"$@\"; echo $(ls /dev/shm/heaptap-0 2>/dev/null | wc -l)", "sh"]);
    let conf = tapped("prof:true,lg_prof_sample:10,prof_final:true");
    let output =
        command(&[own_shm("size=256m"), counting, conf, words(&["bash", "-c", &script])], &folder).output().unwrap();
    let told = text(&output);
    assert_eq!(told.lines().last(), Some("0"), "files that are left: {told}");
    assert!(files(folder.path(), ".heap").is_empty());
}

/// A JVM starts programs by way of a helper of its own, which executes them.
#[test]
fn a_jvm_that_starts_programs_leaves_nothing() {
    let folder = Folder::new("jvm-spawns");
    if !is_root() || !is_installed("javac") {
        skip("no javac");
        return;
    }
    folder.write(
        "Spawn.java",
        "public class Spawn { public static void main(String[] words) throws Exception {
             for (int i = 0; i < 20; i++) new ProcessBuilder(\"/bin/true\").start().waitFor(); } }",
    );
    let counting =
        words(&["sh", "-c", "javac -d . Spawn.java && \"$@\"; ls /dev/shm/heaptap-0 2>/dev/null | wc -l", "sh"]);
    let java = words(&["java", "-Xmx64m", "-Xshare:auto", "-cp", ".", "Spawn"]);
    let conf = tapped("prof:true,lg_prof_sample:12,prof_final:true");
    let output = command(&[own_shm("size=256m"), counting, conf, java], &folder).output().unwrap();
    assert_eq!(text(&output).lines().last(), Some("0"), "{}", text(&output));
}

/// What serves from memory that it took at once is asked, and writes by the clock, like everything else.
#[test]
fn an_idle_process_keeps_its_promises_in_time() {
    let folder = Folder::new("idle");
    let program = build(&folder, "idle");
    let run = words(&[program.to_str().unwrap(), "40", LONG]);
    let idle = Running(command(&[tapped(&format!("{USUAL},prof_dump_seconds:2")), run], &folder).spawn().unwrap());
    wait_for("a dump by the clock", || !files(folder.path(), ".i0.heap").is_empty());
    let (code, told) = heaptap(&["dump", &idle.pid()]);
    assert!(code == 0 && told.contains(".m"), "{told}");
    // One that samples nothing at all.
    let run = words(&[program.to_str().unwrap(), "0", LONG]);
    let silent =
        Running(command(&[tapped("prof:true,lg_prof_sample:40,prof_final:true"), run], &folder).spawn().unwrap());
    wait_for("a keeper where nothing is sampled", || heaptap(&["status", &silent.pid()]).1.contains("profiled\n"));
    let (code, told) = heaptap(&["status", &silent.pid()]);
    assert!(code == 0 && told.contains("has not allocated enough for a sample yet"), "{told}");
    let (code, told) = heaptap(&["dump", &silent.pid()]);
    assert!(code == 0 && Path::new(told.trim()).is_file(), "{told}");
}

#[test]
fn what_once_was_worth_a_dump_leaves_one() {
    let folder = Folder::new("sticky");
    let program = build(&folder, "idle");
    let run = words(&[program.to_str().unwrap(), "80", "6", "free"]);
    let output = command(&[tapped(USUAL), run], &folder).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(files(folder.path(), ".f.heap").len(), 1, "{}", text(&output));
    // And of one that leaves none, whoever asked for dumps by the second hears why.
    let run = words(&[program.to_str().unwrap(), "3", "0"]);
    let output = command(&[tapped(&format!("{USUAL},prof_dump_seconds:60")), run], &folder).output().unwrap();
    assert!(text(&output).contains("was too short and small to leave a dump"), "{}", text(&output));
}

/// The region explains itself before the process confines itself, and is found and recovered afterwards.
#[test]
fn a_confined_process_keeps_its_names() {
    if !is_root() {
        return;
    }
    let folder = Folder::new("confined");
    let cell = folder.subfolder("cell");
    let run = words(&[build(&folder, "chroot_leak").to_str().unwrap(), cell.to_str().unwrap()]);
    let conf = format!("prof:true,lg_prof_sample:13,prof_final:true,{HOWEVER_SHORT}");
    let mut child = command(&[tapped(&conf), run], &folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut confined = Running(child);
    assert_eq!(line, "confined\n");
    wait_for("the region", || heaptap(&["status", &confined.pid()]).0 == 0);
    let (code, told) = heaptap(&["report", &confined.pid()]);
    assert!(code == 0 && told.contains("leak_one"), "{told}");
    let pid = confined.pid();
    confined.0.kill().unwrap();
    confined.0.wait().unwrap();
    let (code, told) = heaptap(&["recover", &pid, "-o", folder.path().to_str().unwrap()]);
    assert_eq!(code, 0, "{told}");
    let dump = files(folder.path(), ".f.heap").remove(0);
    let written = fs::read_to_string(&dump).unwrap();
    assert!(written.contains("chroot_leak") && written.contains("# build_id: "), "{written}");
    assert!(heaptap(&["report", dump.to_str().unwrap()]).1.contains("leak_one"));
}

#[test]
fn a_change_of_directory_moves_no_dump() {
    let folder = Folder::new("moved");
    let elsewhere = folder.subfolder("elsewhere");
    let script = format!("chdir q({}) or die; my @kept = map {{ q(x) x 1000 }} 1..1000;", elsewhere.display());
    let conf = format!("{USUAL},prof_prefix:out,{HOWEVER_SHORT}");
    let output = command(&[tapped(&conf), words(&["perl", "-e", &script])], &folder).output().unwrap();
    assert!(output.status.success() && files(&elsewhere, ".heap").is_empty(), "{}", text(&output));
    assert_eq!(files(folder.path(), ".f.heap").len(), 1, "{}", text(&output));
}

#[test]
fn a_folder_that_cannot_be_written_is_told_at_the_start() {
    let folder = Folder::new("probed");
    let program = build(&folder, "idle");
    let run = words(&[program.to_str().unwrap(), "80", LONG]);
    let conf = tapped(&format!("{USUAL},prof_prefix:{}/none/x", folder.path().display()));
    let mut child = command(&[conf, run], &folder).stderr(Stdio::piped()).spawn().unwrap();
    let told = BufReader::new(child.stderr.take().unwrap());
    let running = Running(child);
    let is_reason = |line: &String| line.contains("cannot write") && line.contains("No such file");
    assert!(told.lines().map_while(Result::ok).any(|line| is_reason(&line)), "it ended without a word");
    // Whoever asks is told why.
    wait_for("the reason", || heaptap(&["dump", &running.pid()]).1.contains("/none/x."));
    let (code, told) = heaptap(&["dump", &running.pid()]);
    assert!(code == 2 && told.contains("No such file") && !told.contains("stderr says why"), "{told}");
}

#[test]
fn status_finds_what_hides_its_environment_and_whom_a_launcher_started() {
    let folder = Folder::new("hidden");
    // A long title is written over the environment.
    let script = "$0 = q(nginx: worker process) . q( ) x 20000; my @kept = map { q(x) x 1000 } 1..1000; sleep 300";
    let launcher = words(&["sh", "-c", "\"$@\" & wait", "sh"]);
    let launcher =
        Running(command(&[launcher, tapped(USUAL), words(&["perl", "-e", script])], &folder).spawn().unwrap());
    let mut told = String::new();
    wait_for("the child", || {
        told = heaptap(&["status", &launcher.pid()]).1;
        told.contains("its child ")
    });
    let child = told.split("its child ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert!(heaptap(&["status", &launcher.pid()]).0 == 1, "the launcher itself is not profiled");
    wait_for("the title", || {
        fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default().contains("nginx")
    });
    let (code, told) = heaptap(&["status", &child]);
    let _ = Command::new("kill").arg(&child).status();
    assert!(code == 0 && told.contains("profiled"), "{told}");
}

#[test]
fn status_tells_that_shared_memory_is_too_small() {
    if !is_root() {
        return;
    }
    let folder = Folder::new("small-shm");
    let program = build(&folder, "idle");
    let run = || words(&[program.to_str().unwrap(), "40", LONG]);
    let small = Running(command(&[own_shm("size=1m"), tapped(USUAL), run()], &folder).spawn().unwrap());
    wait_for("what is too small", || heaptap(&["status", &small.pid()]).1.contains("its /dev/shm has"));
    assert_eq!(heaptap(&["status", &small.pid()]).0, 0, "it writes its dumps");
}

#[test]
fn ps_lists_lives_by_size_with_what_they_run() {
    let folder = Folder::new("ps");
    folder.write("shop.py", "import time\nkept = [bytes(1 << 20) for _ in range(70)]\ntime.sleep(600)\n");
    if !is_installed("python3") {
        skip("no python3");
        return;
    }
    let churn = Churn::start(&format!("{CONF},{HOWEVER_SHORT}"));
    churn.wait_for_note();
    let shop = Running(command(&[tapped(USUAL), words(&["python3", "-u", "shop.py"])], &folder).spawn().unwrap());
    let rows = || {
        let output = Command::new(cli()).args(["ps", "--json"]).env_remove("LD_PRELOAD").output().unwrap();
        let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        listed["processes"].as_array().unwrap().clone()
    };
    let row = |pid: &str| rows().into_iter().find(|row| row["pid"].as_u64() == pid.parse().ok());
    wait_for("70 MiB", || row(&shop.pid()).is_some_and(|row| row["live_bytes"].as_u64() > Some(60 << 20)));
    let shop = row(&shop.pid()).unwrap();
    assert!(shop["program"].as_str().unwrap().ends_with(" shop.py"), "{shop}");
    assert!(shop["token"].as_str().unwrap().len() == 16 && shop["started"].as_str().unwrap().ends_with('Z'), "{shop}");
    assert!(row(&churn.pid()).is_some());
    assert!(rows().is_sorted_by_key(|row| std::cmp::Reverse(row["live_bytes"].as_u64())), "the biggest comes first");
    // As a process leaves it that is killed while it makes its region.
    let unfinished = churn.regions()[0].with_file_name("4194305.00000000000000ab.region");
    fs::write(&unfinished, [0; 4096]).unwrap();
    let (_, told) = heaptap(&["ps", "--all"]);
    fs::remove_file(&unfinished).unwrap();
    assert!(!told.contains("00000000000000ab"), "{told}");
}

/// In a container: as root without SYS_PTRACE, and as the server's user with another group.
#[test]
fn whoever_may_enter_the_directory_may_read_the_region() {
    if !is_root() || !is_installed("setpriv") {
        return;
    }
    let churn = Churn::start(&format!("{CONF},{HOWEVER_SHORT}"));
    churn.wait_for_note();
    let as_other = |words: &[&str], arguments: &[&str]| {
        let output = Command::new("setpriv").args(words).arg(cli()).args(arguments).env_remove("LD_PRELOAD").output();
        text(&output.unwrap())
    };
    let weak = ["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"];
    assert!(!as_other(&weak, &["report", &churn.pid()]).contains("cannot be looked at"));
    assert!(as_other(&weak, &["report", &churn.pid()]).contains("leak_one"));
    let dump = as_other(&weak, &["dump", &churn.pid()]);
    assert!(dump.lines().any(|line| Path::new(line).is_file()), "{dump}");
    let weaker = ["--regid", "4242", "--clear-groups", "--bounding-set", "-all", "--inh-caps", "-all"];
    let told = as_other(&weaker, &["report", &churn.pid()]);
    assert!(told.contains("leak_one"), "{told}");
    // Where there is nothing to read the message names the rule.
    let plain = Running(Command::new("sleep").arg("60").env_remove("LD_PRELOAD").spawn().unwrap());
    let told = as_other(&weaker, &["report", &plain.pid()]);
    assert!(told.contains("SYS_PTRACE") && told.contains("setpriv --reuid 0 --regid 0"), "{told}");
}

/// systemd believes the main process alone: where it waits for READY=1 the program takes our place.
#[test]
fn run_becomes_a_service_that_notifies() {
    let folder = Folder::new("notify");
    let run = |arguments: &[&str], notify: bool| {
        let mut line = Command::new(cli());
        line.args(["run", "--lib"]).arg(library()).args(arguments).args(["--", "sh", "-c", "echo $$"]);
        line.current_dir(folder.path()).env_remove("LD_PRELOAD").stdout(Stdio::piped()).stderr(Stdio::null());
        if notify {
            line.env("NOTIFY_SOCKET", "/run/none");
        }
        let child = line.spawn().unwrap();
        let pid = child.id().to_string();
        (pid, String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned())
    };
    let (own, told) = run(&[], true);
    assert_eq!(own, told);
    let (own, told) = run(&["--exec"], false);
    assert_eq!(own, told);
    let (own, told) = run(&[], false);
    assert_ne!(own, told);
    assert!(!files(folder.path(), ".f.heap").is_empty(), "and it leaves its dump");
}

#[test]
fn a_library_where_nothing_is_executed_is_refused_with_the_reason() {
    if !is_root() {
        return;
    }
    let folder = Folder::new("noexec");
    let place = folder.subfolder("place");
    let script = format!(
        "mount -t tmpfs -o noexec none {0} && cp {1} {0}/libheaptap.so && {2} run --lib {0}/libheaptap.so -- true",
        place.display(),
        library().display(),
        cli().display()
    );
    let output =
        Command::new("unshare").args(["--mount", "sh", "-c", &script]).env_remove("LD_PRELOAD").output().unwrap();
    assert!(text(&output).contains("is mounted noexec"), "{}", text(&output));
}
