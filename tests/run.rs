//! `heaptap run` as its users see it, with a library that does nothing and with stock jemalloc: exit status,
//! signals, environment, last words.

mod support;

use std::path::PathBuf;
use std::process::{Command, Output};
use support::{Dump, Folder, cli, collect_dumps, library, needs};

/// A library that can be preloaded and does nothing: the C library itself.
fn harmless() -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.contains("/libc.so") || line.contains("/libc-2")).unwrap();
    PathBuf::from(line.split_whitespace().last().unwrap())
}

fn run(options: &[&str], command: &[&str]) -> Output {
    let mut heaptap = Command::new(cli());
    heaptap.arg("run").arg("--lib").arg(harmless()).args(options).arg("--").args(command);
    heaptap.env_remove("LD_PRELOAD").env_remove("MALLOC_CONF").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_exit_status_is_the_programs() {
    assert_eq!(run(&[], &["sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(run(&[], &["sh", "-c", "kill -TERM $$"]).status.code(), Some(143));
    assert_eq!(run(&[], &["true"]).status.code(), Some(0));
}

#[test]
fn the_program_gets_the_tap_the_options_and_its_own_pid() {
    let output = run(&["--conf", "prof:true,x:y"], &["sh", "-c", "echo $$ $HEAPTAP_RUN_PID $MALLOC_CONF $LD_PRELOAD"]);
    let line = text(&output.stdout);
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words.len(), 4, "{line}");
    assert_eq!((words[0], words[2]), (words[1], "prof:true,x:y"));
    assert_eq!(PathBuf::from(words[3]), harmless().canonicalize().unwrap());
}

#[test]
fn the_program_starts_with_the_signals_that_we_started_with() {
    let ours = text(&Command::new("grep").args(["SigBlk", "/proc/self/status"]).output().unwrap().stdout);
    assert_eq!(text(&run(&[], &["grep", "SigBlk", "/proc/self/status"]).stdout), ours);
}

#[test]
fn signals_are_passed_on() {
    // The program sends its parent, which is us, a signal; it comes back to the program.
    let script = "trap 'echo got it; exit 3' USR1; kill -USR1 $PPID; n=0; \
                  while [ $n -lt 600 ]; do n=$((n+1)); sleep 0.1; done; exit 4";
    let output = run(&[], &["sh", "-c", script]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(3), "got it\n"));
}

#[test]
fn reported_dumps_are_named_by_absolute_path() {
    let folder = Folder::new("run");
    let dump = folder.write("a b.7.0.f.heap", "heap_v2/1\n");
    let script = format!(
        "echo '{}' >> $HEAPTAP_RUN_REPORT; echo '{}' >> $HEAPTAP_RUN_REPORT; echo /no/such >> $HEAPTAP_RUN_REPORT",
        dump.display(),
        dump.display()
    );
    let output = run(&[], &["sh", "-c", &script]);
    let told = text(&output.stderr);
    assert!(told.contains("One dump") && told.contains(&format!("  {}\n", dump.display())), "{told}");
    assert!(told.contains(&format!("heaptap report '{}'.7.*.heap", folder.path().join("a b").display())), "{told}");
    assert!(!told.contains("/no/such"));
}

#[test]
fn the_report_file_is_private_and_removed() {
    let output = run(&[], &["sh", "-c", "stat -c %a $HEAPTAP_RUN_REPORT; echo $HEAPTAP_RUN_REPORT"]);
    let answer = text(&output.stdout);
    let mut lines = answer.lines();
    let mode = lines.next().unwrap();
    assert!(["600", "622"].contains(&mode), "{mode}");
    assert!(!PathBuf::from(lines.next().unwrap()).exists());
    assert!(text(&output.stderr).contains("left no dump"));
}

#[test]
fn trouble_is_a_sentence_and_status_2() {
    let output = run(&[], &["no-such-program"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no such program in PATH"));
    let output = Command::new(cli()).args(["run", "--lib", "/no/such.so", "--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot use /no/such.so as the tap"));
}

/// The tap's library, as if it had been built for a glibc that nobody has.
fn of_the_future(folder: &Folder) -> PathBuf {
    let mut library = std::fs::read(library()).unwrap();
    let name = b"GLIBC_2.";
    let starts =
        library.windows(name.len()).enumerate().filter(|(_, bytes)| bytes == name).map(|(at, _)| at + name.len());
    let numbers: Vec<usize> = starts.filter(|&at| library[at + 1].is_ascii_digit() && library[at + 2] == 0).collect();
    assert!(!numbers.is_empty(), "no GLIBC_2.xx in the library");
    numbers.iter().for_each(|&at| library[at..at + 2].copy_from_slice(b"99"));
    let path = folder.path().join("libheaptap.so");
    std::fs::write(&path, library).unwrap();
    path
}

#[test]
fn a_library_for_a_newer_glibc_is_refused_before_it_is_preloaded() {
    let folder = Folder::new("glibc");
    let library = of_the_future(&folder);
    // This is what is to be spared: the program does not start.
    let preloaded = Command::new("true").env("LD_PRELOAD", &library).output().unwrap();
    assert!(!preloaded.status.success() && text(&preloaded.stderr).contains("GLIBC_2.99"));
    let script = folder.write("script", "#!/usr/bin/env sh\necho started\n");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for command in ["true", script.to_str().unwrap()] {
        let output = Command::new(cli()).args(["run", "--lib"]).arg(&library).args(["--", command]).output().unwrap();
        let told = text(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{told}");
        assert!(told.contains("needs glibc 2.99") && told.contains("would not start. Use the library of a"), "{told}");
    }
    // A process that lives: why a restart under this library would fail.
    let mut sleeper = Command::new("sleep").arg("100").env_remove("LD_PRELOAD").spawn().unwrap();
    let mut status = Command::new(cli());
    let output = status.args(["status", &sleeper.id().to_string()]).env("HEAPTAP_LIB", &library).output().unwrap();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let told = text(&output.stdout);
    assert!(output.status.code() == Some(1) && told.contains("needs glibc 2.99"), "{told}");
}

/// Runs a shell script under the real tap, its dumps beside it.
fn run_tapped(folder: &Folder, script: &str) -> Output {
    let conf = format!("prof:true,lg_prof_sample:13,prof_final:true,prof_prefix:{}/x", folder.path().display());
    let mut heaptap = Command::new(cli());
    heaptap.arg("run").arg("--lib").arg(library()).args(["--conf", &conf, "--", "sh", "-c", script]);
    heaptap.env_remove("LD_PRELOAD").env_remove("MALLOC_CONF").output().unwrap()
}

#[test]
fn a_program_that_is_killed_leaves_its_final_dump_all_the_same() {
    if !needs("perl") {
        return;
    }
    let folder = Folder::new("killed");
    let output = run_tapped(&folder, "exec perl -e 'push @kept, q(x) x 10000 for 1..3000; kill 9, $$'");
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(137), "{told}");
    assert!(told.contains("was killed by signal 9. One dump:"), "{told}");
    let dumps = collect_dumps(folder.path());
    assert!(dumps.len() == 1 && dumps[0].is_final() && told.contains(dumps[0].path.to_str().unwrap()), "{told}");
    let dump = dumps[0].text();
    let live: u64 = dump.lines().find_map(|line| line.strip_prefix("# live_bytes: ")).unwrap().parse().unwrap();
    assert!(dump.contains("# reason: killed\n") && (25_000_000..50_000_000).contains(&live), "{live}");
}

#[test]
fn what_a_killed_grandchild_held_is_recovered_too() {
    if !needs("perl") {
        return;
    }
    let folder = Folder::new("grandchild");
    // Until its keeper has noted whose it is, which it does before it writes the first mirror.
    let server = format!(
        "perl -e 'push @kept, q(x) x 100000 for 1..1000; sleep 1; push @kept, q(x) x 10000 for 1..3000; \
         select undef, undef, undef, 0.1 until glob(qq({}/x.$$.*.live)) || $n++ > 1800; kill 9, $$'",
        folder.path().display()
    );
    let output = run_tapped(&folder, &format!("{server}; exit 3"));
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    let killed = |dump: &Dump| dump.text().contains("# reason: killed\n");
    assert_eq!(collect_dumps(folder.path()).iter().filter(|dump| killed(dump)).count(), 1, "{told}");
}
