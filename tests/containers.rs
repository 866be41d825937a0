//! Containers, as far as they matter here: a process is pid 1 of a pid namespace, its user has no name, its root is
//! read-only, its /dev/shm is small or missing, it is killed and started again on the same volume. By `unshare` and
//! `nsenter`, which a container engine calls by other names; that takes root.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use support::churn::{files, wait_for};
use support::{Folder, HOWEVER_SHORT, cli, is_installed, library, skip};

const USUAL: &str = "prof:true,lg_prof_sample:13,prof_final:true";
/// Seconds that a container lives unless it is ended: more than a busy machine needs for what is asked of it.
const LONG: &str = "600";
/// A user that no passwd file knows, and a group that is not the server's.
const USER: &str = "47110";
const OTHER_GROUP: &str = "47119";

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

/// What /dev/shm is in a container.
#[derive(Clone, Copy)]
enum Shm {
    /// A tmpfs with these options of mount(8).
    Tmpfs(&'static str),
    /// A folder of the read-only root.
    None,
}

/// The image: the program, the tap and the CLI where any user can read them; and the volume that dumps go to.
struct Image {
    folder: Folder,
    /// The memory group that the next container is put into.
    group: Option<PathBuf>,
}

impl Image {
    /// `None`, said aloud: containers cannot be made here.
    fn new(name: &str) -> Option<Image> {
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let can = is_root && ["unshare", "nsenter", "setpriv"].iter().all(|tool| is_installed(tool)) && {
            let tried = Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]).status();
            tried.is_ok_and(|status| status.success())
        };
        if !can {
            skip("containers take root, and unshare, nsenter and setpriv");
            return None;
        }
        let folder = Folder::new(name);
        let image = Image { folder, group: None };
        for (from, to) in [(library(), "libheaptap.so"), (cli(), "heaptap")] {
            fs::copy(from, image.path(to)).unwrap();
        }
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/idle.c");
        let mut gcc = Command::new("gcc");
        gcc.args(["-O1", "-g", "-fno-builtin", "-w", "-o"]).arg(image.path("idle")).arg(source);
        assert!(gcc.status().unwrap().success());
        for (name, mode) in [("volume", 0o777), ("empty", 0o755)] {
            fs::create_dir(image.path(name)).unwrap();
            fs::set_permissions(image.path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(image.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Some(image)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn volume(&self) -> PathBuf {
        self.path("volume")
    }

    /// Starts `idle` with these words as pid 1 of a new container, and waits until it holds its memory; `is_writable`:
    /// the volume is.
    fn start(&self, shm: Shm, is_writable: bool, conf: &str, words: &[&str]) -> Container {
        let shm = match shm {
            Shm::Tmpfs(options) => format!("mount -t tmpfs -o mode=1777,{options} shm /dev/shm"),
            Shm::None => {
                format!("mount --bind {} /dev/shm && mount -o remount,bind,ro /dev/shm", self.path("empty").display())
            }
        };
        let volume = self.volume().display().to_string();
        let mode = if is_writable { "rw" } else { "ro" };
        let group =
            self.group.as_ref().map_or(String::new(), |group| format!("echo $$ > {}/cgroup.procs;", group.display()));
        let script = format!(
            "set -e; {group} mount --make-rprivate /; mount -t proc proc /proc; {shm}; mount --bind {volume} {volume}
             mount -o remount,bind,{mode} {volume}; mount -o remount,bind,ro /; cd {volume}
             exec setpriv --reuid {USER} --regid 0 --clear-groups env -i PATH=/usr/bin:/bin LD_PRELOAD={lib} \
             MALLOC_CONF={conf} \"$@\"",
            lib = self.path("libheaptap.so").display(),
        );
        let engine = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", &script, "sh"])
            .arg(self.path("idle"))
            .args(words)
            .env_remove("LD_PRELOAD")
            .stderr(fs::File::create(self.path("stderr")).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut container = Container { engine, pid: String::new() };
        let bytes = words[0].parse::<u64>().unwrap() << 20;
        wait_for("pid 1 and its memory", || {
            let engine = container.engine.id();
            let children = fs::read_to_string(format!("/proc/{engine}/task/{engine}/children")).unwrap_or_default();
            container.pid = children.trim().to_owned();
            let is_idle = fs::read_link(format!("/proc/{}/exe", container.pid)).is_ok_and(|exe| exe.ends_with("idle"));
            is_idle && resident(&container.pid) > bytes
        });
        container
    }

    /// Fills a memory group until the kernel kills the biggest process in it. `false`: it did not.
    fn crowd(&self, group: &Path) -> bool {
        let script = format!("echo $$ > {}/cgroup.procs; exec {} 60 1", group.display(), self.path("idle").display());
        let crowd = Command::new("sh").args(["-c", &script]).env_remove("LD_PRELOAD").status().unwrap();
        let told = fs::read_to_string(group.join("memory.oom_control")).unwrap_or_default();
        crowd.success() && told.contains("oom_kill 1")
    }

    /// The CLI on the host, in an empty folder.
    fn outside(&self, arguments: &[&str]) -> (i32, String) {
        let output =
            Command::new(self.path("heaptap")).args(arguments).current_dir(self.path("empty")).output().unwrap();
        (output.status.code().unwrap(), text(&output))
    }

    /// The CLI in a container, by these words of `setpriv`.
    fn inside(&self, container: &Container, rights: &[&str], arguments: &[&str]) -> (i32, String) {
        let output = Command::new("nsenter")
            .args(["--target", &container.pid, "--mount", "--pid", "--wd", "setpriv"])
            .args(rights)
            .arg(self.path("heaptap"))
            .args(arguments)
            .env_remove("LD_PRELOAD")
            .output()
            .unwrap();
        (output.status.code().unwrap(), text(&output))
    }
}

/// Bytes of a process that are resident.
fn resident(pid: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(0, |kib| kib << 10)
}

/// A running container.
struct Container {
    engine: Child,
    /// Of its pid 1, as the host sees it.
    pid: String,
}

impl Container {
    /// Asks its pid 1 to end, and waits for that; whether it ended well.
    fn end(&mut self) -> bool {
        assert!(Command::new("kill").args(["-TERM", &self.pid]).status().unwrap().success());
        self.engine.wait().unwrap().success()
    }

    fn kill(&mut self) {
        let _ = Command::new("kill").args(["-9", &self.pid]).stderr(Stdio::null()).status();
        let _ = self.engine.wait();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.engine.kill();
        let _ = self.engine.wait();
    }
}

const AS_ITSELF: &[&str] = &["--reuid", USER, "--regid", "0", "--clear-groups"];
/// `docker exec` as root: the engine gives no SYS_PTRACE.
const WEAK_ROOT: &[&str] = &["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"];
/// `docker exec -u USER:GROUP`.
const OTHER: &[&str] =
    &["--reuid", USER, "--regid", OTHER_GROUP, "--clear-groups", "--bounding-set", "-all", "--inh-caps", "-all"];

/// The default of every engine: 64 MiB of /dev/shm.
#[test]
fn pid_1_is_seen_from_within_and_from_the_host() {
    let Some(image) = Image::new("container") else { return };
    let mut container = image.start(Shm::Tmpfs("size=64m"), true, USUAL, &["70", LONG]);
    wait_for("its region", || image.inside(&container, AS_ITSELF, &["status", "1"]).0 == 0);
    wait_for("its helper thread", || {
        let (code, told) = image.inside(&container, AS_ITSELF, &["dump", "1"]);
        code == 0 && !told.contains("from its region")
    });
    for (rights, who) in [(AS_ITSELF, "itself"), (WEAK_ROOT, "weak root"), (OTHER, "another group")] {
        let (code, told) = image.inside(&container, rights, &["report", "1"]);
        assert!(code == 0 && told.contains("main"), "{who}: {told}");
        let (code, told) = image.inside(&container, rights, &["ps"]);
        assert!(code == 0 && told.contains("idle") && told.contains(USER), "{who}: {told}");
        let (code, told) = image.inside(&container, rights, &["status", "1"]);
        assert!(code == 0 && told.contains("profiled"), "{who}: {told}");
        let (code, told) = image.inside(&container, rights, &["dump", "1"]);
        let path = told.lines().find(|line| line.ends_with(".heap")).unwrap_or_default();
        assert!(code == 0 && Path::new(path).starts_with(image.volume()), "{who}: {told}");
    }
    let (code, told) = image.outside(&["dump", &container.pid]);
    assert!(code == 0 && told.contains(".heap"), "{told}");
    assert!(image.outside(&["ps"]).1.contains(&container.pid));
    container.kill();
}

#[test]
fn a_small_or_missing_dev_shm_costs_no_dump() {
    for (shm, word) in [(Shm::Tmpfs("size=1m"), "its /dev/shm has"), (Shm::None, "/dev/shm is")] {
        let Some(image) = Image::new("no-shm") else { return };
        let mut container = image.start(shm, true, USUAL, &["70", LONG]);
        let pid = container.pid.clone();
        wait_for("its state", || image.outside(&["status", &pid]).1.contains(word));
        let (code, told) = image.outside(&["status", &pid]);
        assert!(code == 0 && told.contains("profiled"), "{told}");
        // What it keeps in its own memory is read from the mirror beside its dumps, wherever one stands.
        wait_for("its mirror", || image.outside(&["report", &pid]).1.contains("70.0 MiB"));
        for told in [
            image.outside(&["report", &pid]).1,
            image.inside(&container, AS_ITSELF, &["report", "1"]).1,
            image.inside(&container, WEAK_ROOT, &["report", image.volume().to_str().unwrap()]).1,
        ] {
            assert!(told.contains("main") && told.contains("70.0 MiB"), "{told}");
        }
        assert!(container.end());
        wait_for("its final dump", || !files(&image.volume(), ".f.heap").is_empty());
    }
}

#[test]
fn without_a_place_to_write_the_program_runs_on_and_the_reason_is_told() {
    let Some(image) = Image::new("read-only") else { return };
    let mut container = image.start(Shm::None, false, USUAL, &["70", LONG]);
    wait_for("its state", || {
        let (code, told) = image.outside(&["status", &container.pid]);
        code == 0 && told.contains("/dev/shm is")
    });
    assert!(container.end());
    let told = fs::read_to_string(image.path("stderr")).unwrap();
    assert!(told.contains("cannot write") && told.contains("Read-only"), "{told}");
}

/// The out-of-memory killer ends a pod, and its next container is pid 1 again on the same volume.
#[test]
fn a_restarted_container_is_another_life() {
    let Some(mut image) = Image::new("restarted") else { return };
    let group = MemoryGroup::new("140M");
    image.group = group.as_ref().map(|group| group.0.clone());
    let mut first = image.start(Shm::Tmpfs("size=64m"), true, USUAL, &["90", LONG]);
    wait_for("the first one's mirror", || !files(&image.volume(), ".live").is_empty());
    if image.group.take().is_some_and(|group| image.crowd(&group)) {
        let ended = first.engine.wait().unwrap();
        assert!(!ended.success(), "the kernel killed it");
    }
    first.kill();
    drop(group);
    let mut second = image.start(Shm::Tmpfs("size=64m"), true, USUAL, &["70", LONG]);
    wait_for("the first one's dump, by the second", || !files(&image.volume(), ".f.heap").is_empty());
    let dump = fs::read_to_string(files(&image.volume(), ".f.heap").remove(0)).unwrap();
    assert!(dump.contains("# reason: killed") && dump.contains("# source: mirror"), "{dump}");
    wait_for("the second one's mirror", || !files(&image.volume(), ".live").is_empty());
    let (code, told) = image.outside(&["report", image.volume().to_str().unwrap()]);
    assert!(code == 0 && told.contains("2 lives of idle") && told.contains("70.0 MiB"), "{told}");
    let (code, told) = image.outside(&["report", image.volume().to_str().unwrap(), "--life", "first"]);
    assert!(code == 0 && told.contains("90.0 MiB"), "{told}");
    second.kill();
}

/// A memory group (version 1) of containers; removed with the last of them.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// Below our own, with that limit. `None`, said aloud: it cannot be made here.
    fn new(limit: &str) -> Option<MemoryGroup> {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = groups.lines().find_map(|line| line.split_once(":memory:/")).map(|(_, own)| own.to_owned());
        let name = format!("heaptap-test-{}", std::process::id());
        let group = own.map(|own| Path::new("/sys/fs/cgroup/memory").join(own).join(name));
        let made = group.filter(|group| fs::create_dir(group).is_ok()).map(MemoryGroup);
        let made = made.filter(|made| fs::write(made.0.join("memory.limit_in_bytes"), limit).is_ok());
        if made.is_none() {
            skip("no memory group can be made: SIGKILL stands in for the out-of-memory killer");
        }
        made
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // The kernel takes a moment to forget the dead.
        wait_for("the end of the group", || fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn two_containers_on_one_volume_do_not_meet() {
    let Some(image) = Image::new("shared") else { return };
    let conf = format!("{USUAL},{HOWEVER_SHORT}");
    let mut both = ["70", "90"].map(|mib| image.start(Shm::Tmpfs("size=64m"), true, &conf, &[mib, LONG]));
    for container in &both {
        wait_for("its dump", || {
            let (code, told) = image.outside(&["dump", &container.pid]);
            code == 0 && !told.contains("from its region")
        });
    }
    for container in &mut both {
        assert!(container.end());
    }
    let tokens = |end: &str| {
        let found = files(&image.volume(), end).into_iter().map(|path| {
            let dump = fs::read_to_string(path).unwrap();
            assert!(!dump.contains("# source: mirror"), "the other one took it for dead");
            dump.lines().find(|line| line.starts_with("# token: ")).unwrap().to_owned()
        });
        found.collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!((tokens(".f.heap"), tokens(".heap")), (2, 2));
    let (code, told) = image.outside(&["report", image.volume().to_str().unwrap()]);
    assert!(code == 0 && told.contains("2 lives of idle"), "{told}");
}
