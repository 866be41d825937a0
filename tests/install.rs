//! `heaptap install` and `heaptap unit`: what an administrator or an init container types before a server is started.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Folder, cli, library, needs, skip};

fn heaptap(arguments: &[&str]) -> Command {
    let mut heaptap = Command::new(cli());
    heaptap.args(arguments).env_remove("LD_PRELOAD").env_remove("MALLOC_CONF").env("HEAPTAP_LIB", library());
    heaptap
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_installed_can_be_run_and_loaded_by_everybody() {
    let folder = Folder::new("install");
    let volume = folder.path().join("new/volume");
    let shown = volume.to_str().unwrap();
    // As in an image that is careful.
    let script = format!("umask 077; exec {} install {shown}", cli().display());
    let output = Command::new("sh").args(["-c", &script]).env("HEAPTAP_LIB", library()).output().unwrap();
    let (status, stdout, stderr) = told(&output);
    assert_eq!((status, stdout), (Some(0), format!("{shown}/libheaptap.so\n{shown}/heaptap\n")), "{stderr}");
    assert!(stderr.contains(&format!("LD_PRELOAD={shown}/libheaptap.so")), "{stderr}");
    assert_eq!(names(&volume), ["heaptap", "libheaptap.so"]);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&volume), mode(&volume.join("libheaptap.so")), mode(&volume.join("heaptap"))),
        (0o755, 0o755, 0o755)
    );
    assert_eq!(fs::read(volume.join("libheaptap.so")).unwrap(), fs::read(library()).unwrap());
    // The copy finds the copy beside it.
    let output =
        Command::new(volume.join("heaptap")).args(["run", "--", "true"]).env_remove("HEAPTAP_LIB").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn an_older_library_is_replaced_and_an_equal_one_is_left_alone() {
    let folder = Folder::new("install-again");
    let place = folder.path().join("libheaptap.so");
    fs::write(&place, "an older one").unwrap();
    let install = || heaptap(&["install", "--library-only", folder.path().to_str().unwrap()]).output().unwrap();
    let held = fs::File::open(&place).unwrap().metadata().unwrap().ino();
    assert_eq!(told(&install()).0, Some(0));
    let first = place.metadata().unwrap();
    // A process that has the older one mapped keeps its file.
    assert!(first.ino() != held && first.len() == library().metadata().unwrap().len());
    assert_eq!(told(&install()).0, Some(0));
    assert_eq!(place.metadata().unwrap().ino(), first.ino());
    assert_eq!(names(folder.path()), ["libheaptap.so"]);
}

#[test]
fn trouble_of_install_says_what_to_do() {
    let folder = Folder::new("install-trouble");
    let of = |place: &str| told(&heaptap(&["install", place]).output().unwrap());
    let (status, _, stderr) = of(&format!("{}/a b", folder.path().display()));
    assert!(status == Some(2) && stderr.contains("blanks or colons"), "{stderr}");
    let file = folder.write("file", "");
    let (status, _, stderr) = of(file.to_str().unwrap());
    assert!(status == Some(2) && stderr.contains("is no folder"), "{stderr}");
    folder.subfolder("taken/libheaptap.so");
    let (status, _, stderr) = of(&format!("{}/taken", folder.path().display()));
    assert!(status == Some(2) && stderr.contains("remove it, or name another place"), "{stderr}");
    let (status, _, stderr) = of("/proc/heaptap");
    assert!(status == Some(2) && stderr.contains("cannot make /proc/heaptap as user"), "{stderr}");
    let musl = told(&heaptap(&["install", folder.path().to_str().unwrap(), "--for", "no-such"]).output().unwrap());
    assert!(musl.0 == Some(2) && musl.2.contains("no such program"), "{}", musl.2);
}

/// A system with one service.
fn system(unit: &str) -> Folder {
    let root = Folder::new("unit");
    let folder = root.subfolder("usr/lib/systemd/system");
    fs::write(folder.join("shop.service"), format!("[Unit]\nDescription=Shop\n\n[Service]\n{unit}")).unwrap();
    root
}

fn unit(root: &Folder, more: &[&str]) -> (Option<i32>, String, String) {
    told(&heaptap(&["unit", "shop", "--root", root.path().to_str().unwrap()]).args(more).output().unwrap())
}

#[test]
fn the_drop_in_says_where_library_options_and_dumps_are() {
    let root = system("ExecStart=/bin/true\n");
    let (status, text, warnings) = unit(&root, &["--lib", library().to_str().unwrap()]);
    assert_eq!(status, Some(0), "{warnings}");
    let settings: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let preload = format!("Environment=LD_PRELOAD={}", library().display());
    assert_eq!(
        settings,
        [
            "[Service]",
            &preload,
            "Environment=MALLOC_CONF=prof:true,lg_prof_sample:17,prof_final:true,prof_prefix:/var/log/heaptap/shop/jeprof",
            "LogsDirectory=heaptap/shop",
            "LogsDirectoryMode=0750",
        ]
    );
    assert!(text.contains("systemctl revert shop.service") && text.contains("daemon-reload"), "{text}");
    let (_, text, _) = unit(&root, &["--conf", "prof:true,prof_active:false", "--dumps", "/srv/dumps"]);
    assert!(text.contains("MALLOC_CONF=prof:true,prof_active:false,prof_prefix:/srv/dumps/jeprof\n"), "{text}");
    assert!(!text.contains("LogsDirectory"), "{text}");
}

#[test]
fn what_the_unit_says_already_is_kept() {
    let root = system(
        "ExecStart=/bin/true\nLogsDirectory=shop other\nEnvironment=LD_PRELOAD=libagent.so MALLOC_CONF=narenas:2\n",
    );
    let (_, text, _) = unit(&root, &[]);
    assert!(text.contains("libheaptap.so:libagent.so\n"), "{text}");
    assert!(
        text.contains("MALLOC_CONF=narenas:2,prof:true") && text.contains("prof_prefix:/var/log/shop/jeprof\n"),
        "{text}"
    );
    // Another one would change what the service reads in $LOGS_DIRECTORY.
    assert!(!text.contains("LogsDirectory="), "{text}");
    // Made again, it does not pile up.
    assert_eq!(unit(&root, &["--write"]).0, Some(0));
    assert_eq!(unit(&root, &[]).1, text);
}

#[test]
fn what_may_be_in_the_way_is_told() {
    let root = system("ExecStart=/bin/true\n");
    let (_, _, quiet) = unit(&root, &[]);
    let words = [
        ("PrivateTmp=yes", "PrivateTmp=: its /tmp is its own"),
        ("ProtectSystem=strict", "ProtectSystem=strict: it can write to few places"),
        ("MemoryDenyWriteExecute=true", "prof_allocator:keep cannot change"),
        ("DynamicUser=yes", "systemd empties /dev/shm"),
        ("RootDirectory=/srv/x", "RootDirectory=: "),
        ("SystemCallFilter=@system-service", "SystemCallFilter=: "),
        ("InaccessiblePaths=-/dev/shm", "its /dev/shm is hidden"),
        ("EnvironmentFile=-/etc/default/shop", "/etc/default/shop sets MALLOC_CONF, and wins"),
    ];
    for (setting, expected) in words {
        let root = system(&format!("ExecStart=/bin/true\n{setting}\n"));
        fs::write(root.subfolder("etc/default").join("shop"), "MALLOC_CONF=x:y\n").unwrap();
        let (status, _, warnings) = unit(&root, &[]);
        assert!(status == Some(0) && warnings.contains(expected) && !quiet.contains(expected), "{setting}: {warnings}");
    }
    // A drop-in of the administrator's counts, too.
    fs::write(root.subfolder("etc/systemd/system/shop.service.d").join("x.conf"), "[Service]\nPrivateTmp=1\n").unwrap();
    assert!(unit(&root, &[]).2.contains("PrivateTmp="));
}

#[test]
fn a_service_that_would_not_start_or_not_be_profiled_is_refused() {
    let Some(setcap) =
        support::which("setcap").or_else(|| Some(PathBuf::from("/sbin/setcap")).filter(|path| path.is_file()))
    else {
        return skip("setcap is not installed");
    };
    let root = system("ExecStart=/bin/true\n");
    let program = root.path().join("program");
    fs::copy("/bin/true", &program).unwrap();
    if !Command::new(setcap).arg("cap_net_bind_service+ep").arg(&program).status().unwrap().success() {
        return skip("this file system takes no file capabilities");
    }
    // Programs are judged where they run: in the machine's own root.
    let folder = PathBuf::from("/run/systemd/system");
    let name = format!("heaptap-test-{}.service", std::process::id());
    if fs::create_dir_all(&folder).is_err() {
        return skip("/run/systemd/system cannot be made");
    }
    fs::write(folder.join(&name), format!("[Service]\nExecStart={}\n", program.display())).unwrap();
    let (status, stdout, stderr) = told(&heaptap(&["unit", &name]).output().unwrap());
    fs::remove_file(folder.join(&name)).unwrap();
    assert!(status == Some(2) && stdout.is_empty() && stderr.contains("has file capabilities (setcap)"), "{stderr}");
}

#[test]
fn a_unit_that_is_not_there_is_not_written_for() {
    let root = Folder::new("no-unit");
    let (status, text, warnings) = unit(&root, &[]);
    assert!(
        status == Some(0) && text.contains("[Service]") && warnings.contains("there is no shop.service"),
        "{warnings}"
    );
    let (status, _, stderr) = unit(&root, &["--write"]);
    assert!(status == Some(2) && stderr.contains("there is no shop.service"), "{stderr}");
    assert!(names(root.path()).is_empty());
    let wrong = told(&heaptap(&["unit", "../../etc/x"]).output().unwrap());
    assert!(wrong.0 == Some(2) && wrong.2.contains("no name of a service"), "{}", wrong.2);
}

#[test]
fn systemd_accepts_what_is_written() {
    let root = system("ExecStart=/bin/true\nProtectSystem=strict\n");
    let (status, stdout, stderr) = unit(&root, &["--write", "--dumps", "/srv/dumps"]);
    let written = root.path().join("etc/systemd/system/shop.service.d/heaptap.conf");
    assert_eq!((status, stdout), (Some(0), format!("{}\n", written.display())), "{stderr}");
    assert!(stderr.contains("systemctl daemon-reload") && stderr.contains("systemctl revert shop.service"), "{stderr}");
    assert_eq!(written.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    assert!(fs::read_to_string(&written).unwrap().contains("\nReadWritePaths=-/srv/dumps\n"));
    if !needs("systemd-analyze") {
        return;
    }
    // Behind them the machine's own: every service is after sysinit.target.
    let own = ["etc/systemd/system", "usr/lib/systemd/system"].map(|part| root.path().join(part).display().to_string());
    let folders = own.join(":") + ":/usr/lib/systemd/system:/lib/systemd/system";
    let verify = || {
        let mut analyze = Command::new("systemd-analyze");
        told(&analyze.args(["verify", "shop.service"]).env("SYSTEMD_UNIT_PATH", &folders).output().unwrap())
    };
    let (status, _, stderr) = verify();
    if stderr.contains("Failed to") && !stderr.contains("heaptap.conf") {
        return skip("systemd-analyze verify does not run here");
    }
    assert!(status == Some(0) && stderr.is_empty(), "{stderr}");
    // It looks into drop-ins: a damaged one is complained about.
    fs::write(&written, "[Service]\nLogsDirectoryMode=x\n").unwrap();
    assert!(verify().2.contains("heaptap.conf"), "systemd-analyze did not read the drop-in");
}

#[test]
fn the_agents_unit_is_the_one_in_the_examples_and_systemd_accepts_it() {
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/systemd/heaptap-push.service");
    let packaged = fs::read_to_string(packaged).unwrap();
    let (status, printed, stderr) = told(&heaptap(&["unit", "--agent"]).output().unwrap());
    assert_eq!(status, Some(0), "{stderr}");
    let own = format!("ExecStart={} ", fs::canonicalize(cli()).unwrap().display());
    assert_eq!(printed, packaged.replace("ExecStart=/usr/bin/heaptap ", &own));
    // In another system it is the package's, as it is.
    let root = Folder::new("agent");
    let write = ["unit", "--agent", "--write", "--root", root.path().to_str().unwrap()];
    let (status, stdout, stderr) = told(&heaptap(&write).output().unwrap());
    let written = root.path().join("etc/systemd/system/heaptap-push.service");
    assert_eq!((status, stdout), (Some(0), format!("{}\n", written.display())), "{stderr}");
    assert!(stderr.contains("/etc/default/heaptap-push") && stderr.contains("systemctl enable --now"), "{stderr}");
    assert_eq!(fs::read_to_string(&written).unwrap(), packaged);
    for wrong in [&["unit"][..], &["unit", "shop", "--agent"], &["unit", "--agent", "--conf", "prof:true"]] {
        assert_eq!(heaptap(wrong).output().unwrap().status.code(), Some(2), "{wrong:?}");
    }
    if !needs("systemd-analyze") {
        return;
    }
    let verify = |text: &str| {
        fs::write(&written, text).unwrap();
        let mut analyze = Command::new("systemd-analyze");
        told(&analyze.args(["verify", "--man=no"]).arg(&written).output().unwrap())
    };
    let (status, _, stderr) = verify(&printed);
    if stderr.contains("Failed to") && !stderr.contains("heaptap-push") {
        return skip("systemd-analyze verify does not run here");
    }
    assert!(status == Some(0) && stderr.is_empty(), "{stderr}");
    // It reads the unit: a key that no systemd knows is complained about.
    assert!(verify(&printed.replace("StateDirectory=", "StateFolder=")).2.contains("StateFolder"), "not read");
}
