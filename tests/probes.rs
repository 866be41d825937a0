//! The USDT probes `otel_memory`: where the file says that they are, what a tracer hears there, and when nothing is
//! heard. The tracers are a program that sets breakpoints in itself (`tests/host/probes.c`), gdb, and bpftrace.

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use support::talker::Talker;
use support::{Folder, Subject, library, needs, skip};

/// A program that says "not possible here" ends so.
const NOT_POSSIBLE: i32 = 77;

/// Compiles a program of `tests/host/`.
fn compile(folder: &Folder, name: &str) -> PathBuf {
    let program = folder.path().join(name);
    let source = format!("{}/tests/host/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let arguments = ["-O1", "-g", "-pthread", "-fno-builtin", "-w", "-o"];
    let built = Command::new("gcc").args(arguments).arg(&program).arg(&source).status().expect("gcc starts");
    assert!(built.success(), "{name}");
    program
}

/// What `readelf` says of the probes of a file: name and arguments of each.
fn probes(file: &Path) -> BTreeSet<(String, String)> {
    let told = Command::new("readelf").args(["-nW"]).arg(file).env("LC_ALL", "C").output().expect("readelf starts");
    let told = String::from_utf8(told.stdout).unwrap();
    let mut found = BTreeSet::new();
    let (mut name, mut addresses) = ("", "");
    for line in told.lines().skip_while(|line| !line.contains(".note.stapsdt")).map(str::trim) {
        match line.split_once(": ") {
            Some(("Provider", provider)) => assert_eq!(provider, "otel_memory"),
            Some(("Name", of)) => name = of,
            Some(("Location", rest)) => addresses = rest,
            Some(("Arguments", arguments)) => {
                // Location, base and semaphore.
                let numbers: Vec<&str> = addresses.split([' ', ',']).filter(|word| word.starts_with("0x")).collect();
                let is_zero = |number: &&str| number.trim_start_matches("0x").bytes().all(|digit| digit == b'0');
                assert!(numbers.len() == 3 && !numbers.iter().any(is_zero), "{name}: {addresses}");
                assert!(found.insert((name.to_owned(), arguments.to_owned())), "{name} is there twice");
            }
            _ => (),
        }
    }
    found
}

/// What they must be: where OpenTelemetry's profiler reads them without a look at the note.
fn expected() -> BTreeSet<(String, String)> {
    let [alloc, free] =
        if cfg!(target_arch = "x86_64") { ["8@%rdi 8@%rsi 8@%rdx", "8@%rdi"] } else { ["8@x0 8@x1 8@x2", "8@x0"] };
    [("alloc", alloc), ("free", free)].map(|(name, arguments)| (name.to_owned(), arguments.to_owned())).into()
}

#[test]
fn the_file_tells_of_its_probes_also_when_it_is_stripped() {
    assert_eq!(probes(&library()), expected());
    let folder = Folder::new("probes-stripped");
    let stripped = folder.path().join("stripped.so");
    for how in ["--strip-all", "--strip-debug", "--strip-unneeded"] {
        let done = Command::new("strip").arg(how).arg("-o").arg(&stripped).arg(library()).status().unwrap();
        assert!(done.success());
        assert_eq!(probes(&stripped), expected(), "{how}");
    }
}

/// Runs the program that listens to itself; what it printed, or nothing where that cannot be done.
fn listen(how: &str, conf: &str) -> Option<String> {
    let folder = Folder::new("probes");
    let outcome = Subject::new(compile(&folder, "probes")).args([how]).run_tapped(conf);
    if outcome.status.code() == Some(NOT_POSSIBLE) {
        skip(&outcome.stdout);
        return None;
    }
    assert!(outcome.status.success(), "{how} {conf}: {} {}{}", outcome.status, outcome.stdout, outcome.stderr);
    Some(outcome.stdout)
}

#[test]
fn each_sampled_block_is_told_of_and_its_end_once() {
    for more in ["", ",prof_allocator:keep", ",prof_keeper:false"] {
        let Some(printed) = listen("heard", &format!("prof:true,lg_prof_sample:0,prof_usdt:true{more}")) else {
            return;
        };
        assert!(printed.starts_with("alloc 8@"), "{printed}");
    }
}

/// Without the option, and where nothing is sampled.
#[test]
fn whoever_listens_unasked_hears_nothing() {
    for conf in [
        "prof:true,lg_prof_sample:0",
        "prof:true,lg_prof_sample:0,prof_usdt:false",
        "prof:true,lg_prof_sample:0,prof_active:false,prof_usdt:true",
        "prof:false,prof_usdt:true",
    ] {
        listen("silent", conf);
    }
}

/// 40 MB are allocated in 200,000 blocks; one in 4 KiB is sampled, so the sum errs by 1.1 % on average.
#[test]
fn samples_stand_for_the_bytes_that_were_asked_for() {
    let Some(printed) = listen("weights", "prof:true,lg_prof_sample:12,prof_usdt:true") else { return };
    let numbers: Vec<f64> = printed.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [wanted, sum, births, deaths] = numbers[..] else { panic!("{printed}") };
    assert!((sum / wanted - 1.0).abs() < 0.06, "{printed}");
    assert!(births > 8000.0 && births < 11_500.0 && (births - deaths).abs() < 1.0, "{printed}");
}

/// gdb finds the probes, counts the semaphore up, reads the arguments by the note, and unwinds from there.
#[test]
fn a_debugger_reads_the_arguments() {
    if !needs("gdb") {
        return;
    }
    let folder = Folder::new("probes-gdb");
    let program = compile(&folder, "probed");
    let script = format!(
        "set confirm off\nset startup-with-shell off\nset debuginfod enabled off\nset environment LD_PRELOAD {}\n\
         set environment MALLOC_CONF prof:true,lg_prof_sample:0,prof_usdt:true\nbreak begin\nrun\ninfo probes stap otel_memory\n\
         break -probe-stap otel_memory:alloc\ncommands\nsilent\nprintf \"alloc %#lx %lu %lu\\n\", $_probe_arg0, $_probe_arg1, \
         $_probe_arg2\nbacktrace\ncontinue\nend\n\
         break -probe-stap otel_memory:free\ncommands\nsilent\nprintf \"free %#lx\\n\", $_probe_arg0\ncontinue\nend\n\
         continue\n",
        library().display()
    );
    let script = folder.write("script", &script);
    let told = Command::new("gdb")
        .args(["-nx", "-batch", "-x"])
        .arg(&script)
        .arg(&program)
        .env_remove("LD_PRELOAD")
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let (out, trouble) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    if trouble.contains("ptrace") && !out.contains("Breakpoint 1,") {
        return skip(&format!("gdb may not trace here: {trouble}"));
    }
    // The program prints the address of its block of 12,345 bytes.
    let block = out.lines().find_map(|line| line.strip_prefix("block ")).unwrap_or_else(|| panic!("{out}{trouble}"));
    let all: Vec<&str> = out.lines().collect();
    let born = all.iter().position(|line| line.starts_with(&format!("alloc {block} 12345 "))).expect(&out);
    assert_eq!(all[born].rsplit(' ').next(), Some("12345"), "at lg 0 a block stands for itself: {}", all[born]);
    assert!(all[born..].iter().take(12).any(|line| line.contains("gives_block")), "no way from the probe: {out}");
    let ends = all.iter().filter(|line| **line == format!("free {block}")).count();
    assert_eq!(ends, 1, "{out}");
    for name in ["alloc", "free"] {
        let row = all.iter().find(|line| line.starts_with("stap") && line.contains(&format!(" {name} "))).expect(&out);
        assert!(row.contains("otel_memory") && row.contains("libheaptap.so") && !row.contains("n/a"), "{row}");
    }
}

/// bpftrace at work on a process; it tells twice a second what it has heard.
struct Tracer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tracer {
    /// Counts blocks of 1000 bytes, and what they stand for. `None`: programs may not be loaded into this kernel.
    fn attach(pid: &str) -> Option<Tracer> {
        let script = format!(
            "usdt:{0}:otel_memory:alloc /arg1 == 1000/ {{ @blocks++; @bytes += arg2; }}
             usdt:{0}:otel_memory:free {{ @ends++; }}
             interval:ms:500 {{ printf(\"heard %d %d %d\\n\", @blocks, @bytes, @ends); }}",
            library().display()
        );
        let mut command = Command::new("bpftrace");
        command.args(["-p", pid, "-e", &script]).env_remove("LD_PRELOAD").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut tracer = Tracer { child, lines };
        if tracer.heard().is_some() {
            return Some(tracer);
        }
        let mut why = String::new();
        std::io::Read::read_to_string(&mut tracer.child.stderr.take().unwrap(), &mut why).unwrap();
        skip(&format!("bpftrace may not trace here: {}", why.trim()));
        None
    }

    /// Blocks, bytes and ends, when it tells them the next time.
    fn heard(&mut self) -> Option<[u64; 3]> {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        let line = lines.find(|line| line.starts_with("heard "))?;
        let numbers: Vec<u64> = line.split(' ').skip(1).map(|number| number.parse().unwrap()).collect();
        numbers.try_into().ok()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The kernel counts the semaphore up, stops at the probe, and reads the arguments, without a debugger.
#[test]
#[ignore = "with scripts/test --full"]
fn bpftrace_sums_what_samples_stand_for() {
    if !needs("bpftrace") {
        return;
    }
    let conf = "prof:true,lg_prof_sample:0,prof_usdt:true";
    let mut leaking = Talker::launch("probes-bpf", "tests/programs/forgets.c", &[], &[], conf);
    leaking.expect("forgotten");
    let Some(mut tracer) = Tracer::attach(&leaking.pid()) else { return };
    // It may be heard before the last probe is attached.
    let before = loop {
        leaking.go_on();
        leaking.expect("forgotten");
        let heard = tracer.heard().expect("bpftrace goes on");
        if heard[0] > 0 {
            break tracer.heard().unwrap();
        }
    };
    for _ in 0..3 {
        leaking.go_on();
        leaking.expect("forgotten");
    }
    let mut after = tracer.heard().unwrap();
    while after[0] < before[0] + 3000 {
        after = tracer.heard().unwrap();
    }
    assert_eq!((after[0] - before[0], after[1] - before[1], after[2]), (3000, 3_000_000, before[2]));
    assert_eq!(tracer.heard(), Some(after));
}
