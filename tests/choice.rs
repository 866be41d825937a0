//! Which processes are profiled, and which leave files: by executable, by argument, children by exec and by fork.

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use support::{Folder, HOWEVER_SHORT, collect_dumps, library};

/// Runs a shell script under the tap; the names of the programs that left dumps.
fn programs(script: &str, conf: &str) -> Vec<String> {
    let folder = Folder::new("choice");
    for name in ["server", "helper"] {
        let source = format!("{}/tests/host/leaker.c", env!("CARGO_MANIFEST_DIR"));
        let built = Command::new("gcc")
            .args(["-O1", "-fno-builtin", "-w", "-o"])
            .arg(folder.path().join(name))
            .arg(source)
            .status();
        assert!(built.unwrap().success());
    }
    let conf = format!("prof:true,lg_prof_sample:0,prof_final:true,{HOWEVER_SHORT},prof_prefix:x,{conf}");
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(folder.path());
    let output = command.env("LD_PRELOAD", library()).env("MALLOC_CONF", conf).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let of = |dump: &support::Dump| {
        let text = dump.text();
        let exe = text.lines().find_map(|line| line.strip_prefix("# exe: ")).unwrap();
        exe.rsplit('/').next().unwrap().to_owned()
    };
    let names: BTreeSet<String> = collect_dumps(folder.path()).iter().map(of).collect();
    names.into_iter().collect()
}

#[test]
fn executables_are_chosen_by_name_and_by_path() {
    let script = "./helper 10; ./server 10; true";
    let all = programs(script, "");
    assert!(all.contains(&"helper".into()) && all.contains(&"server".into()) && all.len() > 2, "{all:?}");
    assert_eq!(programs(script, "prof_exe:server"), ["server"]);
    assert_eq!(programs(script, "prof_exe:serv*|nobody"), ["server"]);
    assert_eq!(programs(script, "prof_exe:*/helper"), ["helper"]);
    assert_eq!(programs(script, "prof_exe:erver"), [""; 0]);
}

#[test]
fn processes_are_chosen_by_a_word_of_their_arguments() {
    let script = "./server 10 --helper; ./server 10 org.example.Server";
    let counted = |conf: &str| programs(script, conf).len();
    assert_eq!(counted("prof_exe:server,prof_arg:org.example.Server"), 1);
    assert_eq!(counted("prof_exe:server,prof_arg:*.Server"), 1);
    assert_eq!(counted("prof_exe:server,prof_arg:example"), 0);
    assert_eq!(programs(script, "prof_arg:10"), ["server"]);
}

#[test]
fn children_of_a_chosen_process_are_tapped_only_if_wanted() {
    let script = "perl -e 'system(\"./helper 10\"); print $ENV{LD_PRELOAD} // \"none\", qq(\\n)' > said; cat said";
    let with = programs(script, "prof_exe:perl|helper");
    assert_eq!(with, ["helper", "perl"]);
    let without = programs(script, "prof_exe:perl|helper,prof_exec:false");
    assert_eq!(without, ["perl"]);
    // A start script that is not chosen itself passes the variables on.
    assert_eq!(programs("sh -c './server 10; true'", "prof_exe:server,prof_exec:false"), ["server"]);
}

#[test]
fn fork_children_are_profiled_only_if_wanted() {
    let script = "perl -e 'my @keep; if (!fork) { push @keep, \"x\" x 1000 for 1..1000; exit } wait'; true";
    let count = |conf: &str| {
        let folder = Folder::new("fork");
        let conf =
            format!("prof:true,lg_prof_sample:0,prof_final:true,{HOWEVER_SHORT},prof_prefix:x,prof_exe:perl,{conf}");
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(folder.path());
        assert!(command.env("LD_PRELOAD", library()).env("MALLOC_CONF", conf).status().unwrap().success());
        collect_dumps(folder.path()).len()
    };
    assert_eq!((count("prof_fork:true"), count("prof_fork:false")), (2, 1));
}
