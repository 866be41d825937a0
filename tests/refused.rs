//! Memory that a program asked malloc for and did not get: every way of asking is told, with who asked and the limit
//! that was met, once; sizes that overflow are no want of memory.

mod support;

use serde_json::Value;
use std::process::Command;
use support::churn::wait_for;
use support::talker::Talker;
use support::{Group, Schema, cli, needs, skip};

fn heaptap(arguments: &[&str]) -> String {
    let output = Command::new(cli()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn report(input: &str) -> Value {
    let answer = serde_json::from_str(&heaptap(&["report", "--json", input])).unwrap();
    Schema::read().check("Report", &answer);
    answer
}

const WAYS: [&str; 8] = [
    "ask_malloc",
    "ask_calloc",
    "ask_realloc",
    "ask_reallocarray",
    "ask_memalign",
    "ask_aligned",
    "ask_posix",
    "ask_valloc",
];

/// Where the tap looks at every request, `report` tells of each refused one, whichever allocator serves. A refusal of
/// the fast path is seen by nobody: there `report` tells of the thread's next refused request.
#[test]
fn memory_that_was_refused_is_told_whichever_way_it_was_asked_for() {
    if !needs("gcc") {
        return;
    }
    let every = ("prof:true,lg_prof_sample:0", "1");
    let kept = ("prof:true,lg_prof_sample:0,prof_allocator:keep", "1");
    let hardly_any = ("prof:true,lg_prof_sample:45", "2");
    for (conf, times) in [every, kept, hardly_any] {
        let mut subject = Talker::launch("refused", "tests/programs/refused.c", &[times], &[], conf);
        subject.expect("ready");
        let told = report(&subject.pid());
        let told = told["failures"].as_array().unwrap();
        let places: Vec<&str> = told.iter().map(|failure| failure["place"].as_str().unwrap()).collect();
        assert_eq!(places, WAYS, "{conf}");
        for failure in told {
            assert_eq!((&failure["what"], &failure["bytes"]), (&"memory".into(), &(4u64 << 30).into()), "{failure}");
            assert_eq!(failure["limit"]["name"], "RLIMIT_AS (ulimit -v)", "{failure}");
        }
    }
}

/// A container's limit on memory: the kernel gives no error, and kills. What the process had when it was last seen says
/// why, also when it is dead.
#[test]
fn a_container_that_was_killed_for_memory_is_told_its_limit() {
    if !needs("gcc") {
        return;
    }
    let limit: u64 = 160 << 20;
    let mut files = ["memory.limit_in_bytes", "memory.max"].into_iter();
    let group = files.find_map(|name| Group::new("memory", &[(name, &limit.to_string())]));
    let Some(group) = group else {
        return skip("no control group with a limit on memory can be made");
    };
    let launcher = ["sh", "-c", &group.entry(), "sh"];
    let conf = "prof:true,lg_prof_sample:17";
    let mut subject = Talker::launch("refused-group", "tests/programs/mapped.c", &["fill"], &launcher, conf);
    subject.expect("ready");
    let pid = subject.pid();
    // The keeper has seen it with 136 MiB.
    let seen = || {
        let told: Value = serde_json::from_str(&heaptap(&["rss", "--json", &pid])).unwrap();
        let moments = told["past"]["moments"].as_array().cloned().unwrap_or_default();
        moments.len().checked_sub(2).is_some_and(|at| moments[at]["rss_bytes"].as_u64() > Some(130 << 20))
    };
    wait_for("a look at what it holds", seen);
    subject.go_on();
    assert_eq!(subject.next(), None, "the kernel kills it");
    let _ = subject.child.wait();
    let told = report(&pid);
    let end = &told["failures"][0];
    assert_eq!((&end["what"], &end["limit"]["value"]), (&"life".into(), &limit.into()), "{told}");
    let text = heaptap(&["report", &pid]).replace('\n', " ");
    assert!(text.contains("killed: memory.max of the control group is 160 MiB"), "{text}");
}
