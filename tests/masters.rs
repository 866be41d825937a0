//! Masters of servers: processes that take what they need in their first second and then wait for connections. Their
//! promises in time are kept, whether they stay, go into the background or confine themselves.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use support::churn::{files, wait_for};
use support::{Folder, HOWEVER_SHORT, cli, library, skip};

const USUAL: &str = "prof:true,lg_prof_sample:13,prof_final:true";

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

fn heaptap(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(cli()).args(arguments).env_remove("LD_PRELOAD").output().unwrap();
    (output.status.code().unwrap(), text(&output))
}

fn build(folder: &Folder) -> PathBuf {
    let program = folder.path().join("master");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/master.c");
    assert!(Command::new("gcc").args(["-O1", "-g", "-o"]).arg(&program).arg(source).status().unwrap().success());
    program
}

/// A master, and what it calls itself; killed with its worker when the test is over.
struct Master {
    child: Child,
    pid: String,
}

impl Master {
    fn start(folder: &Folder, conf: &str, arguments: &[&str]) -> Master {
        let mut child = Command::new(build(folder))
            .args(arguments)
            .current_dir(folder.path())
            .env("LD_PRELOAD", library())
            .env("MALLOC_CONF", conf)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut pid = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        Master { child, pid: pid.trim().to_owned() }
    }

    fn kill(&mut self) {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid)).unwrap_or_default();
        let pids = children.split_whitespace().chain([self.pid.as_str()]);
        let _ = Command::new("kill").arg("-9").args(pids).stderr(Stdio::null()).status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Nothing is sampled, and nothing is called any more.
#[test]
fn who_listens_has_a_keeper_at_once() {
    for way in ["", "daemon"] {
        let folder = Folder::new("listens");
        let mut master = Master::start(&folder, "prof:true,lg_prof_sample:40,prof_final:true", &[way]);
        wait_for("its helper thread", || heaptap(&["status", &master.pid]).1.contains("profiled\n"));
        wait_for("a dump of its own", || {
            let (code, told) = heaptap(&["dump", &master.pid]);
            code == 0 && !told.contains("from its region")
        });
        let (code, told) = heaptap(&["ps"]);
        assert!(code == 0 && told.contains(&master.pid), "{told}");
        master.kill();
    }
}

#[test]
fn dumps_by_the_clock_come_though_nobody_calls() {
    for way in ["", "daemon", "quiet"] {
        let folder = Folder::new("clock");
        let conf = format!("{USUAL},{HOWEVER_SHORT},prof_dump_seconds:1");
        let master = Master::start(&folder, &conf, &[way]);
        let its = format!(".{}.", master.pid);
        wait_for("two dumps", || {
            let found = files(folder.path(), ".heap");
            found.iter().filter(|path| path.to_string_lossy().contains(&its)).count() >= 2
        });
    }
}

/// As HAProxy does: what it was as root goes, what it is now has names and is found, asked and recovered.
#[test]
fn who_confines_itself_and_gives_root_up_is_found_and_recovered() {
    if !fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        skip("only root can confine itself");
        return;
    }
    const USER: &str = "64123";
    let folder = Folder::new("cell");
    let cell = folder.subfolder("empty");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let arguments = ["cell", cell.to_str().unwrap(), USER];
    let mut master = Master::start(&folder, &format!("{USUAL},{HOWEVER_SHORT}"), &arguments);
    let pid = master.pid.clone();
    let (code, told) = heaptap(&["status", &pid]);
    assert!(code == 0 && told.contains("(chroot)"), "{told}");
    let (code, told) = heaptap(&["report", &pid]);
    assert!(code == 0 && told.contains("keep_one"), "{told}");
    let (code, told) = heaptap(&["dump", &pid]);
    let dump = told.lines().find(|line| line.ends_with(".heap")).unwrap_or_default().to_owned();
    assert!(code == 0 && Path::new(&dump).is_file(), "{told}");
    assert!(fs::read_to_string(dump).unwrap().contains("since: credentials changed"));
    let own = |kind: &str| {
        let entries = fs::read_dir(format!("/dev/shm/heaptap-{kind}")).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(&format!("{pid}."))).collect::<Vec<_>>()
    };
    assert_eq!(own("0"), [""; 0], "what it left as root");
    // Nothing of ours leads out of the cell any more.
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| fs::read_link(entry.unwrap().path()));
    let folders: Vec<PathBuf> = open.flatten().filter(|path| path.is_dir()).collect();
    assert!(folders.is_empty(), "{folders:?}");
    master.kill();
    let (code, told) = heaptap(&["recover", &pid]);
    assert!(code == 0 && told.contains(".f.heap"), "{told}");
    assert_eq!(own(USER), [""; 0]);
    let _ = fs::remove_dir(format!("/dev/shm/heaptap-{USER}"));
    let dump = files(folder.path(), ".f.heap").remove(0);
    assert!(heaptap(&["report", dump.to_str().unwrap()]).1.contains("keep_one"));
}
