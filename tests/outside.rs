//! Asked from outside: is it on, do this; of processes of all kinds, other users' included.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::churn::{CONF, Churn, files, wait_for};
use support::{Folder, HOWEVER_SHORT, cli, is_installed, library};

fn heaptap(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(cli()).args(arguments).output().unwrap();
    (output.status.code().unwrap(), text(&output))
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].concat().escape_ascii().to_string().replace("\\n", "\n")
}

/// A child that is killed when the test is over.
struct Sleeper(std::process::Child);

impl Sleeper {
    fn start(command: &mut Command) -> Sleeper {
        Sleeper(command.env_remove("LD_PRELOAD").spawn().unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn status_says_that_it_is_on_and_what_it_found() {
    let churn = Churn::start(&format!("{CONF},{HOWEVER_SHORT}"));
    churn.wait_for_note();
    let (code, told) = heaptap(&["status", &churn.pid()]);
    assert!(code == 0 && told.contains("churn: profiled\n"), "{told}");
    assert!(told.contains("one sample per 8192 bytes") && told.contains("/jeprof.*.heap"), "{told}");
    churn.ask(&["stop", &churn.pid()]);
    wait_for("the switch being seen", || heaptap(&["status", &churn.pid()]).1.contains("sampling is switched off"));
    assert_eq!(heaptap(&["status", &churn.pid()]).0, 1);
    churn.ask(&["start", &churn.pid()]);
    churn.signal("-STOP");
    let (_, told) = heaptap(&["status", &churn.pid()]);
    assert!(told.contains("it is stopped"), "{told}");
    let (code, told) = heaptap(&["dump", &churn.pid()]);
    let dump = told.lines().find(|line| line.ends_with(".heap")).map(Path::new);
    assert!(code == 0 && told.contains("is stopped and cannot answer") && told.contains("from its region"), "{told}");
    assert!(dump.is_some_and(|dump| fs::read_to_string(dump).unwrap().contains("# reason: request")), "{told}");
    let (code, told) = heaptap(&["rate", "12", &churn.pid()]);
    assert!(code == 2 && told.contains("is stopped and cannot answer"), "{told}");
}

#[test]
fn status_says_why_nothing_appears() {
    let folder = Folder::new("status");
    let expect = |sleeper: &Sleeper, reason: &str| {
        // Before its exec it is what started it.
        wait_for(reason, || {
            let (code, told) = heaptap(&["status", &sleeper.pid()]);
            assert_eq!(code, 1, "{told}");
            told.contains(reason)
        });
    };
    let plain = Sleeper::start(Command::new("sleep").arg("600"));
    expect(&plain, "LD_PRELOAD was not set when it was started");
    let tapped = |conf: &str| {
        let mut command = Command::new("env");
        command.arg(format!("LD_PRELOAD={}", library().display())).arg(format!("MALLOC_CONF={conf}"));
        Sleeper::start(command.args(["sleep", "600"]))
    };
    expect(&tapped("narenas:2"), "prof:true is not in MALLOC_CONF");
    expect(&tapped("prof:true,prof_exe:java"), "prof_exe or prof_arg do not choose it");
    let silent = tapped("prof:true,lg_prof_sample:40");
    wait_for("it samples, and that is known without a sample", || {
        let (code, told) = heaptap(&["status", &silent.pid()]);
        code == 0 && told.contains("profiled; nothing of it can be read yet")
    });
    // A static program takes no notice.
    let source = folder.write("idle.c", "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n");
    let program = folder.path().join("idle");
    let built = Command::new("gcc").args(["-static", "-o"]).args([&program, &source]).status().unwrap();
    assert!(built.success());
    let mut command = Command::new("env");
    command.arg(format!("LD_PRELOAD={}", library().display())).arg(&program);
    expect(&Sleeper::start(&mut command), "statically linked");
    let mut command = Command::new("env");
    command.args(["LD_PRELOAD=/no/such/libheaptap.so", "sleep", "600"]).stderr(std::process::Stdio::null());
    expect(&Sleeper::start(&mut command), "which is not there in its file system");
}

#[test]
fn reset_forgets_and_goes_on() {
    let churn = Churn::start(&format!("{CONF},{HOWEVER_SHORT}"));
    churn.wait_for_note();
    // The program slows down once it has leaked so much: what follows is little.
    wait_for("leaks", || churn.leaked() > 200_000);
    let live = || {
        let dump = fs::read_to_string(churn.ask(&["dump", &churn.pid()]).trim()).unwrap();
        dump.lines().find_map(|line| line.strip_prefix("# live_bytes: ")).unwrap().parse::<f64>().unwrap()
    };
    let before = live();
    churn.ask(&["reset", &churn.pid()]);
    let after = live();
    assert!(after < before / 2.0, "{before} before, {after} after");
    wait_for("the new region's note", || {
        let told = heaptap(&["status", &churn.pid()]).1;
        told.contains("profiled\n") && told.contains("/jeprof.*.heap")
    });
}

#[test]
fn other_users_are_refused() {
    if !is_installed("setpriv")
        || fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0)
    {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let churn = Churn::start(&format!("{CONF},{HOWEVER_SHORT}"));
    churn.wait_for_note();
    // A copy that anybody may run.
    let place = PathBuf::from(format!("/tmp/heaptap-outside-{}", std::process::id()));
    fs::copy(cli(), &place).unwrap();
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&place).args(arguments);
        let output = command.current_dir("/").output().unwrap();
        (output.status.code(), text(&output))
    };
    for arguments in [["dump", &churn.pid()], ["stop", &churn.pid()], ["report", &churn.pid()]] {
        let (code, told) = as_nobody(&arguments);
        assert!(code == Some(2) && told.contains("belongs to another user"), "{arguments:?}: {told}");
    }
    fs::remove_file(place).unwrap();
    assert!(files(churn.folder.path(), ".heap").is_empty(), "nothing was done for nobody");
}

/// A directory of that name that somebody else made keeps nobody from surviving.
#[test]
fn a_directory_that_is_not_ours_is_left_alone() {
    let isolated = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /dev/shm && exec \"$@\"", "sh"];
    let taken = "mount -t tmpfs none /dev/shm && mkdir -m 755 /dev/shm/heaptap-0 && exec \"$@\"";
    let probe = Command::new("unshare").args(&isolated[1..]).arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no mount namespaces here");
        return;
    }
    let launcher = ["unshare", "--mount", "sh", "-c", taken, "sh"];
    let churn = Churn::launch(Folder::new("taken"), &launcher, &format!("{CONF},{HOWEVER_SHORT}"));
    churn.wait_for_note();
    assert!(churn.leaked_bytes(&churn.pid()) > 0.0);
    churn.ask(&["dump", &churn.pid()]);
    let shm = PathBuf::from(format!("/proc/{}/root/dev/shm", churn.pid()));
    assert!(files(&shm.join("heaptap-0"), "").is_empty() && !files(&shm.join("heaptap-0.1"), ".region").is_empty());
}

/// Another container that shares the pid namespace, as far as files go: a mount namespace with a tmpfs of its own.
#[test]
fn a_process_in_another_mount_namespace_is_read_and_controlled() {
    let isolated = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /dev/shm && exec \"$@\"", "sh"];
    let probe = Command::new("unshare").args(&isolated[1..]).arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no mount namespaces here");
        return;
    }
    let churn = Churn::launch(Folder::new("container"), &isolated, &format!("{CONF},{HOWEVER_SHORT}"));
    churn.wait_for_note();
    assert!(churn.regions().is_empty(), "its region lies in its own tmpfs");
    assert!(churn.leaked_bytes(&churn.pid()) > 0.0);
    assert!(churn.ask(&["ps"]).lines().any(|line| line.contains(&churn.pid()) && line.contains("alive")));
    let dump = churn.ask(&["dump", &churn.pid()]);
    assert!(Path::new(dump.trim()).is_file(), "{dump}");
    // Whoever rules there cannot lead us to files of ours.
    let root = PathBuf::from(format!("/proc/{}/root/dev/shm", churn.pid()));
    let control = files(&root.join("heaptap-0"), ".control").remove(0);
    let victim = churn.folder.write("victim", "precious");
    fs::remove_file(&control).unwrap();
    std::os::unix::fs::symlink(&victim, &control).unwrap();
    let (code, told) = heaptap(&["dump", &churn.pid()]);
    assert!(code == 2 && told.contains("it cannot be controlled"), "{told}");
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
}
