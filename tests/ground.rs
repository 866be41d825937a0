//! What limits and control groups do to the tap: it goes on seeing, and where it does not it says so.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::churn::wait_for;
use support::{Folder, HOWEVER_SHORT, HeapV2, Outcome, Subject, cli, skip, under_tap};

const CONF: &str = "prof:true,lg_prof_sample:17,prof_final:true";
const MIB: f64 = 1048576.0;

/// Compiles a program of `tests/programs/`.
fn compile(folder: &Folder, name: &str) -> PathBuf {
    let program = folder.path().join(name);
    let source = format!("{}/tests/programs/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("gcc");
    command.args(["-O1", "-g", "-pthread", "-fno-builtin", "-w", "-o"]).arg(&program).arg(source).arg("-ldl");
    let result = command.env_remove("LD_PRELOAD").output().expect("gcc starts");
    assert!(result.status.success(), "{name}: {}", String::from_utf8_lossy(&result.stderr));
    program
}

fn live_bytes(outcome: &Outcome) -> f64 {
    let dump = outcome.final_dump().unwrap_or_else(|| panic!("no final dump; stderr: {}", outcome.stderr));
    HeapV2::parse(&dump.text()).unwrap().scaled().1
}

/// Elasticsearch under the usual limit, and each start of Cassandra: the call fails, with the tap and without.
#[test]
fn what_leaks_after_a_refused_mlockall_is_seen() {
    let folder = Folder::new("ground-locked");
    let program = compile(&folder, "locked_leak");
    for (mib, bytes) in [(96, 65536), (96, 1 << 20)] {
        let subject = Subject::new(&program).args([mib.to_string(), bytes.to_string()]);
        if subject.run_plain().stdout != "refused\n" {
            return skip("mlockall is allowed to whoever asks here");
        }
        let outcome = subject.run_tapped(&format!("{CONF},{HOWEVER_SHORT}"));
        assert_eq!(outcome.stdout, "refused\n", "{}", outcome.stderr);
        let (truth, found) = (f64::from(mib) * MIB, live_bytes(&outcome));
        // Six standard deviations at least.
        let bound = 6.0 * (131_072.0 * truth).sqrt();
        assert!((found - truth).abs() < bound, "blocks of {bytes}: {found} of {truth}");
        let text = outcome.final_dump().unwrap().text();
        assert!(text.contains("# lost_range: 0\n") && text.contains("# unfollowed_bytes: 0\n"), "{text}");
    }
}

/// A process that ends with the test.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(arguments: &[&str]) -> String {
    let output = Command::new(cli()).args(arguments).output().expect("the CLI starts");
    String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where the range of sampled blocks cannot grow most of a leak has no record. It is no retention of the allocator's.
#[test]
fn what_could_not_be_followed_is_told_and_not_taken_for_retention() {
    let folder = Folder::new("ground-walled");
    let program = compile(&folder, "walled_leak");
    let out = folder.path().join("out");
    let mut command = Command::new(program);
    under_tap(&mut command, &format!("{CONF},{HOWEVER_SHORT}"), &folder.subfolder("dumps"));
    let streams = command.stdout(fs::File::create(&out).unwrap()).stderr(Stdio::null());
    let mut child = Waiting(streams.spawn().expect("it starts"));
    wait_for("the leak", || {
        let ended = child.0.try_wait().unwrap();
        assert!(ended.is_none(), "it ended: {ended:?}");
        fs::read_to_string(&out).unwrap() == "leaked\n"
    });
    let pid = child.0.id().to_string();
    let status = ask(&["status", &pid]);
    assert!(status.contains("samples were lost") && status.contains("address range"), "{status}");
    let report = ask(&["report", &pid]);
    assert!(report.contains("CANNOT TELL") && !report.contains("retention:"), "{report}");
    assert!(report.contains("could not be followed") && report.contains("To be able to tell:"), "{report}");
    let json: serde_json::Value = serde_json::from_str(&ask(&["report", "--json", &pid])).unwrap();
    let lost = json["unfollowed_bytes"].as_f64().unwrap();
    let seen = json["bytes"].as_f64().unwrap();
    // What is seen and what is lost are all of it.
    let truth = 301.0 * MIB;
    assert!((seen + lost - truth).abs() < 6.0 * (131_072.0 * truth).sqrt(), "{seen} and {lost} of {truth}");
    assert_eq!(json["outlook"]["state"], "cannot-tell");
    // After a reset nothing was lost.
    ask(&["reset", &pid]);
    assert!(!ask(&["status", &pid]).contains("lost"));
}

/// A control group with a quota of one processor, as far as this machine has such and lets us.
struct Quota(PathBuf);

impl Quota {
    fn of_one() -> Option<Quota> {
        let name = format!("heaptap-ground-{}", std::process::id());
        let first = Path::new("/sys/fs/cgroup/cpu").join(&name);
        let second = Path::new("/sys/fs/cgroup").join(&name);
        let is_first = first.parent()?.join("cpu.cfs_quota_us").exists();
        let quota = Quota(if is_first { first } else { second });
        fs::create_dir(&quota.0).ok()?;
        let (file, text) = if is_first { ("cpu.cfs_quota_us", "100000") } else { ("cpu.max", "100000 100000") };
        let file = quota.0.join(file);
        (file.exists() && fs::write(file, text).is_ok()).then_some(quota)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn arenas_are_made_for_the_processors_of_the_quota() {
    let folder = Folder::new("ground-quota");
    let program = compile(&folder, "idle_arenas");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let Some(quota) = Quota::of_one().filter(|_| processors > 1) else {
        return skip("no control group can be given a quota here, or there is one processor");
    };
    let run = |conf: &str| {
        let script = format!("echo $$ >{}/cgroup.procs && exec {}", quota.0.display(), program.display());
        Subject::new("sh").args(["-c", &script]).run_tapped(conf).stdout
    };
    assert_eq!(run(CONF), "4 arenas\n");
    assert_eq!(run("prof:false"), "4 arenas\n");
    assert_eq!(run(&format!("{CONF},narenas:7")), "7 arenas\n");
}

#[test]
fn memory_of_idle_arenas_is_given_back() {
    let folder = Folder::new("ground-idle");
    let subject = Subject::new(compile(&folder, "idle_arenas")).args(["idle"]);
    let conf = format!("{CONF},dirty_decay_ms:500,muzzy_decay_ms:0,narenas:8");
    assert_eq!(subject.run_tapped(&conf).stdout, "8 arenas\ngiven back\n");
}

#[test]
fn arenas_of_sampled_blocks_keep_pages_for_a_second_unless_the_user_says_otherwise() {
    let folder = Folder::new("ground-kept");
    let subject = Subject::new(compile(&folder, "kept_pages"));
    let run = |conf: &str| {
        let text = subject.run_tapped(&format!("prof:true,lg_prof_sample:0,prof_final:false{conf}")).stdout;
        let mut kept: Vec<i64> = text.lines().map(|line| line.parse().unwrap()).collect();
        kept.dedup();
        kept
    };
    // The program's own, those of sampled blocks, and that of large ones, where jemalloc's own may stand beside.
    assert_eq!(run("")[..3], [10_000, 1_000, 0]);
    assert_eq!(run(",dirty_decay_ms:7000")[..2], [7_000, 0]);
    assert_eq!(run(",dirty_decay_ms:-1")[..2], [-1, 0]);
}
