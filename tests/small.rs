//! Small objects that are never freed, and the big ones that they keep: a program whose truth is known.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{Folder, Schema, cli, under_tap, wait_or_kill};

#[test]
fn small_objects_that_are_never_freed_are_named_by_number_with_what_grew_with_them() {
    let folder = Folder::new("small");
    let program = folder.path().join("small_leak");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host/small_leak.c");
    let mut compiler = Command::new("gcc");
    compiler.args(["-O1", "-g", "-fno-builtin", "-w", "-o"]).arg(&program).arg(source).env_remove("LD_PRELOAD");
    assert!(compiler.status().unwrap().success());
    let mut command = Command::new(&program);
    under_tap(&mut command, "prof:true,lg_prof_sample:14", folder.path());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let pid = child.id().to_string();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(cli());
        command.args(arguments).arg(&pid).env("COLUMNS", "100").env_remove("LD_PRELOAD").output().unwrap()
    };
    let answer: serde_json::Value = serde_json::from_slice(&run(&["leaks", "--json"]).stdout).unwrap();
    let text = String::from_utf8(run(&["leaks"]).stdout).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    drop(child.stdin.take());
    wait_or_kill(&mut child, Duration::from_secs(60));
    Schema::read().check("Growth", &answer);
    let small = &answer["small"];
    let rows = small["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["frames"][0] == "open_handle").unwrap_or_else(|| panic!("{small:#}\n{text}"));
    // 16,200 were opened; the first looks are left out.
    let (growth, error) = (row["growth_objects"].as_f64().unwrap(), row["error_objects"].as_f64().unwrap());
    assert!((6_000.0..24_000.0).contains(&growth) && (500.0..5_000.0).contains(&error), "{row:#}");
    assert!(row["grew_with"]["label"].as_str().unwrap().starts_with("cache_block"), "{row:#}");
    assert!(row["grew_with"]["correlation"].as_f64().unwrap() > 0.9, "{row:#}");
    assert!(rows.iter().all(|row| row["frames"][0] != "temporary"), "{small:#}");
    let one_in = small["one_in"].as_f64().unwrap();
    assert!((102.0..104.0).contains(&one_in), "{one_in}");
    assert!(
        text.contains("Small objects that are never freed, by number:") && text.contains("with them grew cache_block"),
        "{text}"
    );
    assert!(
        text.contains(&format!("1 in 103 is sampled, so fewer than 823 do not show; `heaptap rate 12 {pid}`")),
        "{text}"
    );
}
