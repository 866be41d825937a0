//! Commands that show or write what is small: top, callers, info, completions, man; and what all share: a pager on a
//! terminal, no colour where none is wanted, a result file everywhere, and names that do no harm anywhere.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Folder, cli, needs};

fn dumps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps")
}

fn heaptap(arguments: &[&str], files: &[&Path]) -> Output {
    Command::new(cli()).args(arguments).args(files).env("COLUMNS", "100").env_remove("LD_PRELOAD").output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text is UTF-8")
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// What 80 columns cannot hold gives way where names are, never where a sentence says what is or what to do.
#[test]
fn growth_fits_eighty_columns_and_ends_no_sentence_early() {
    let output = Command::new(cli()).args(["growth", "--all"]).arg(dumps().join("shop")).env("COLUMNS", "80").output();
    let text = stdout(&output.unwrap());
    let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert_eq!(long, [""; 0], "{text}");
    assert!(text.contains("KiB/s") || text.contains("/min"), "{text}");
    let sentence = text.split("for the total").nth(1).unwrap();
    assert!(sentence.contains("95 of") && !sentence.lines().next().unwrap().ends_with('…'), "{text}");
}

#[test]
fn top_is_jeprofs_table_without_allocator_frames() {
    let shop = dumps().join("shop");
    let top = json(&heaptap(&["top", "--json"], &[&shop]));
    let report = json(&heaptap(&["report", "--json"], &[&shop]));
    assert_eq!((&top["schema"], &top["bytes"]), (&1.into(), &report["bytes"]));
    let rows = top["rows"].as_array().unwrap();
    let selves: f64 = rows.iter().map(|row| row["self_bytes"].as_f64().unwrap()).sum();
    assert!((selves - report["bytes"].as_f64().unwrap()).abs() < 1.0);
    assert!(rows.iter().all(|row| row["name"] != "malloc"));
    let text = stdout(&heaptap(&["top", "--cum", "-n", "3"], &[&shop]));
    let lines: Vec<&str> = text.lines().collect();
    // Head, the largest place, columns, three rows, what is left out.
    assert_eq!(lines.len(), 7, "{text}");
    assert!(lines[3].contains("91.5 %") && lines[3].ends_with("com.shop.Server.handle"), "{text}");
    let packages = stdout(&heaptap(&["top", "--by", "package"], &[&shop]));
    assert!(packages.contains("com.shop") && packages.contains("java.util.zip"), "{packages}");
}

#[test]
fn callers_stand_above_a_function_and_callees_below() {
    let shop = dumps().join("shop");
    let text = stdout(&heaptap(&["callers", "GZIPInputStream.<init>"], &[&shop]));
    let at = |name: &str| text.lines().position(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    assert!(at("com.shop.Catalog.unpack") < at("java.util.zip.GZIPInputStream.<init>"));
    assert!(at("java.util.zip.GZIPInputStream.<init>") < at("java.util.zip.Inflater.<init>"));
    let none = heaptap(&["callers", "no_such_function"], &[&shop]);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("heaptap top"));
}

#[test]
fn info_tells_what_a_file_is() {
    let ours = stdout(&heaptap(&["info"], &[&dumps().join("shop/shop.4711.2.f.heap")]));
    for part in
        ["written by  heaptap", "4711, token 9f3a12bc, /srv/jdk/bin/java", "(final)", "one sample per 128 KiB", "cost"]
    {
        assert!(ours.contains(part), "{part}: {ours}");
    }
    let files = json(&heaptap(&["info", "--json"], &[&dumps().join("shop"), &dumps().join("small.heap")]));
    let files = files["files"].as_array().unwrap();
    assert_eq!(files.len(), 4);
    let lost = files[0]["lost"].as_array().unwrap();
    assert!(lost.iter().all(|entry| entry[0].is_string() && entry[1].is_u64()) && files[0]["profiler_ns"].is_u64());
    let stock = stdout(&heaptap(&["info"], &[&dumps().join("small.heap")]));
    assert!(stock.contains("a stock jemalloc") && stock.contains("lost        not told"), "{stock}");
}

#[test]
fn completions_and_manual_know_every_command() {
    let help = stdout(&heaptap(&["--help"], &[]));
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() >= 20 && !help.contains("name-places"), "{help}");
    let manual = stdout(&heaptap(&["man"], &[]));
    let shells = ["bash", "zsh", "fish", "elvish"].map(|shell| stdout(&heaptap(&["completions", shell], &[])));
    for command in &commands {
        assert!(manual.contains(&format!("heaptap\\-{command}(1)")), "{command}");
        assert!(shells.iter().all(|script| script.contains(command)), "{command}");
    }
    let folder = Folder::new("man");
    assert!(heaptap(&["man", "-o", folder.path().to_str().unwrap()], &[]).status.success());
    assert!(fs::read_dir(folder.path()).unwrap().count() > commands.len());
    if needs("bash") {
        let script = folder.write("completion", &shells[0]);
        let tried = format!(
            ". {}; COMP_WORDS=(heaptap gro) COMP_CWORD=1; _heaptap heaptap gro heaptap; echo \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        let output = Command::new("bash").args(["-c", &tried]).output().unwrap();
        assert_eq!(stdout(&output).trim(), "growth");
    }
}

/// The long tables of options are a page of the tree, of the manual, and of the command line.
#[test]
fn help_knows_commands_and_options() {
    let options = stdout(&heaptap(&["help", "options"], &[]));
    assert!(options.contains("\n  lg_prof_sample\n") && !options.contains('`'), "{options}");
    assert!(options.lines().all(|line| line.chars().count() <= 100), "{options}");
    assert_eq!(stdout(&heaptap(&["help", "report"], &[])), stdout(&heaptap(&["report", "--help"], &[])));
    assert_eq!(stdout(&heaptap(&["help"], &[])), stdout(&heaptap(&["--help"], &[])));
    assert_eq!(heaptap(&["help", "no-such-topic"], &[]).status.code(), Some(2));
    let folder = Folder::new("options");
    assert!(heaptap(&["man", "-o", folder.path().to_str().unwrap()], &[]).status.success());
    let page = fs::read_to_string(folder.path().join("heaptap-options.7")).unwrap();
    assert!(page.contains("lg_prof_sample") && page.starts_with(".TH heaptap-options 7\n"), "{page}");
}

/// Code of a Markdown page: indented lines, and what stands between backticks.
fn code(page: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let mut code: Vec<String> = text.lines().filter(|line| line.starts_with("    ")).map(str::to_owned).collect();
    code.extend(text.lines().flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned)));
    code
}

#[test]
fn what_the_pages_tell_to_type_exists() {
    let mut seen = 0;
    for line in ["README.md", "examples/fleet/README.md", "src/cli/OPTIONS.md"].iter().flat_map(|page| code(page)) {
        for command in line.split("heaptap ").skip(1).filter(|_| line.contains("heaptap ")) {
            let mut words = command.split(['|', ';', '#', '`']).next().unwrap().split_whitespace();
            let name = words.next().unwrap_or("");
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase()) {
                continue;
            }
            let help = heaptap(&[name, "--help"], &[]);
            assert!(help.status.success(), "no command {name}: {line}");
            let help = stdout(&help);
            // Behind `--` stands another program's command line.
            for flag in words.take_while(|word| *word != "--").filter(|word| word.starts_with("--")) {
                let flag = flag.trim_end_matches([',', '.', ')']);
                assert!(help.contains(flag), "heaptap {name} has no {flag}: {line}");
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn every_command_writes_its_result_to_a_file() {
    let folder = Folder::new("files");
    let shop = dumps().join("shop");
    let commands: [&[&str]; 9] = [
        &["report"],
        &["growth"],
        &["top"],
        &["tree"],
        &["callers", "handle"],
        &["symbols"],
        &["info"],
        &["convert", "--to", "folded"],
        &["flame"],
    ];
    for command in commands {
        let path = folder.path().join(format!("{}.html", command[0]));
        let output = heaptap(&[command, &["-o", path.to_str().unwrap()]].concat(), &[&shop]);
        assert!(output.status.success() && output.stdout.is_empty(), "{command:?}");
        // No terminal on either side: the same bytes.
        if command[0] != "flame" {
            assert_eq!(fs::read(&path).unwrap(), heaptap(command, &[&shop]).stdout, "{command:?}");
        }
    }
}

/// Runs a command line with a terminal as its stdout; what came out.
fn on_terminal(variables: &[(&str, &str)], arguments: &str) -> Option<String> {
    if !needs("script") {
        return None;
    }
    let line = format!("{} {arguments}", cli().display());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("COLUMNS", "100").env("TERM", "xterm");
    for name in ["PAGER", "HEAPTAP_PAGER", "NO_COLOR", "LESS", "LD_PRELOAD"] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_terminal_gets_colour_and_a_pager_and_both_can_be_refused() {
    let report = format!("report {}", dumps().join("shop").display());
    let Some(paged) = on_terminal(&[("PAGER", "sed s/^/PAGED:/")], &report) else { return };
    assert!(paged.contains("PAGED:") && paged.contains("\u{1b}[1m"), "{paged}");
    let ours = on_terminal(&[("PAGER", "false"), ("HEAPTAP_PAGER", "sed s/^/OURS:/")], &report).unwrap();
    assert!(ours.contains("OURS:"), "{ours}");
    for none in [("PAGER", "cat"), ("PAGER", ""), ("PAGER", "no-such-pager-anywhere")] {
        let plain = on_terminal(&[none, ("NO_COLOR", "1")], &report).unwrap();
        assert!(plain.contains("com.shop") && !plain.contains('\u{1b}'), "{none:?}: {plain}");
    }
    // A pager that has seen enough is no failure (`on_terminal` looks at the status).
    on_terminal(&[("PAGER", "head -n 1 > /dev/null")], &format!("tree --least 0 {}", dumps().join("shop").display()));
    // A conversion is not for reading.
    let folded = on_terminal(
        &[("PAGER", "sed s/^/PAGED:/")],
        &format!("convert --to folded {}", dumps().join("shop").display()),
    );
    assert!(!folded.unwrap().contains("PAGED:"));
}

/// A dump whose method, thread, library, program and metadata are called what no tool expects.
fn hostile(folder: &Folder, name: &str, scale: &str) -> PathBuf {
    let dump = fs::read_to_string(dumps().join("shop/shop.4711.2.f.heap")).unwrap();
    let evil = "</script><script>alert(1)</script>\u{1b}]0;owned\u{7}\u{1b}[31m\"'&;`$(id)";
    let long = "x".repeat(1 << 20);
    let mut bytes = dump
        .replace("1300: 52000000", scale)
        .replace("com/shop/Catalog unpack", &format!("com/shop/Catalog {evil}{long}"))
        .replace("http-worker-1", evil)
        .replace("/srv/lib/libz.so.1.2.13", &format!("/srv/lib/{evil}.so"))
        .replace("/srv/jdk/bin/java", &format!("/srv/{evil}"))
        .replace("# reason: final", &format!("# reason: {evil}\n# {}: {evil}", "colour"))
        .into_bytes();
    // And what is no text at all.
    for at in 0..bytes.len() - 6 {
        if bytes[at..].starts_with(b"Server") {
            bytes[at] = 0xff;
        }
    }
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn hostile_names_are_inert_in_every_output() {
    let folder = Folder::new("hostile");
    let before = hostile(&folder, "x.4711.0.i0.heap", "300: 12000000");
    let after = hostile(&folder, "x.4711.1.f.heap", "1300: 52000000");
    let text = fs::read(&before).map(|bytes| String::from_utf8_lossy(&bytes).replace("22:20:00", "22:10:00")).unwrap();
    fs::write(&before, text).unwrap();
    let both = [before.as_path(), after.as_path()];
    let texts: [&[&str]; 9] = [
        &["report", "--modules"],
        &["growth", "--all"],
        &["leaks"],
        &["diff", "--all"],
        &["top", "-n", "99"],
        &["tree", "--least", "0"],
        &["callers", "Catalog"],
        &["symbols"],
        &["info"],
    ];
    for command in texts {
        let output = heaptap(command, &both);
        assert!(
            output.status.code().is_some_and(|code| code < 2),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        for stream in [&output.stdout, &output.stderr] {
            let text = String::from_utf8(stream.clone()).expect("text is UTF-8");
            let harm = text.chars().find(|c| c.is_control() && *c != '\n');
            assert_eq!(harm, None, "{command:?}");
        }
        assert!(output.stdout.len() < 200_000, "{command:?}: {} bytes", output.stdout.len());
    }
    for command in [
        &["report", "--json"][..],
        &["top", "--json"],
        &["info", "--json"],
        &["convert", "--to", "json"],
        &["convert", "--to", "speedscope"],
    ] {
        json(&heaptap(command, &both));
    }
    let folded = stdout(&heaptap(&["convert", "--to", "folded"], &both));
    assert!(folded.lines().all(|line| line.rsplit_once(' ').is_some_and(|(_, number)| number.parse::<u64>().is_ok())));
    assert!(!folded.contains('\u{1b}'));
    let pprof = folder.path().join("x.pb.gz");
    assert!(heaptap(&["convert", "--to", "pprof", "-o", pprof.to_str().unwrap()], &both).status.success());
    support::Pprof::read(&pprof);
    let pack = folder.path().join("x.heaptap.tgz");
    assert!(heaptap(&["pack", "-o", pack.to_str().unwrap()], &both).status.success());
    let (packed, plain) =
        (json(&heaptap(&["report", "--json"], &[&pack])), json(&heaptap(&["report", "--json"], &both)));
    assert_eq!(packed["sites"], plain["sites"]);
    for name in ["x.html", "x.svg"] {
        let path = folder.path().join(name);
        assert!(heaptap(&["flame", "-o", path.to_str().unwrap()], &both).status.success());
        let page = fs::read_to_string(&path).unwrap();
        assert!(!page.contains("<script>alert") && !page.contains('\u{1b}'), "{name}");
    }
}
