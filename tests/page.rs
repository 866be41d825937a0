//! The page of `heaptap page` and `heaptap flame`: its arithmetic in node, the page itself in a headless browser, and
//! hostile names that must stay inert.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Folder, chromium, cli, needs};

fn dumps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps")
}

fn page(folder: &Folder, command: &str, name: &str, arguments: &[&Path]) -> PathBuf {
    let path = folder.path().join(name);
    let output = Command::new(cli()).arg(command).args(arguments).arg("-o").arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

fn node(arguments: &[&Path]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/model.js");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/render/page/js");
    Command::new("node").arg(script).arg(scripts).args(arguments).output().unwrap()
}

#[test]
fn the_pages_sums_are_the_reports_in_every_view() {
    if !needs("node") {
        return;
    }
    let folder = Folder::new("flame");
    let page = page(&folder, "page", "shop.html", &[&dumps().join("shop")]);
    let report = Command::new(cli()).args(["report", "--json"]).arg(dumps().join("shop")).output().unwrap();
    let report = folder.write("report.json", &String::from_utf8(report.stdout).unwrap());
    let output = node(&[&page, &report]);
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("all checks passed"), "{told}");
}

#[test]
fn the_page_needs_nothing_else_and_hostile_names_are_inert() {
    let folder = Folder::new("hostile");
    let dump = evil(&folder);
    let html = std::fs::read_to_string(page(&folder, "page", "evil.html", &[&dump])).unwrap();
    assert!(!html.contains("alert(1)") && html.matches("</script>").count() == 2);
    assert!(html.contains("default-src 'none'"));
    assert!(!["src=", "href=", "http:", "https:", "@import", "fetch("].iter().any(|way| html.contains(way)));
    let svg = std::fs::read_to_string(page(&folder, "flame", "evil.svg", &[&dump])).unwrap();
    assert!(!svg.contains("<script>window.evil") && !svg.contains("<img"));
}

/// A dump like `shop` whose names would do harm, if any program took them for more than text.
fn evil(folder: &Folder) -> PathBuf {
    let dump = std::fs::read_to_string(dumps().join("shop/shop.4711.2.f.heap")).unwrap();
    let evil = "</script><script>window.evil=1;alert(1)</script><img/src=x/onerror=alert(2)>";
    let long = "x".repeat(1 << 20);
    folder.write("x.7.0.f.heap", &dump.replace("com/shop/Catalog unpack", &format!("com/shop/Catalog {evil}{long}")))
}

/// A dump of a process that maps files and starts threads, with what it had mapped a minute and two before; a class of
/// the Java VM; threads and descriptors over time.
fn mapped(folder: &Folder) -> PathBuf {
    const TEN: u64 = 1_795_644_000;
    let times = [0, 60, 120].map(|second| format!(" {}000000000", TEN + second)).concat();
    let moment = |second: u64, threads: u64| {
        let classes = " 1048576".repeat(4);
        let objects = threads << 16;
        format!("# moment: {}000000000 1000 {objects} 2000 512 300000000 - - {threads} 40 - -{classes}\n", TEN + second)
    };
    let text = format!(
        "heap_v2/512\n  t*: 1: 4096 [0: 0]\n@ 0x1050\n  t*: 1: 4096 [0: 0]\n\nMAPPED_LIBRARIES:\n\
         1000-2000 r-xp 0 00:00 1 /srv/no/such/server\n5000-6000 r-xp 0 00:00 2 /srv/no/such/libjvm.so\n# heaptap 1\n\
         # pid: 9\n# token: ab\n# time: 2026-11-25T22:02:00Z\n{}{}{}\
         # mapped: thread stack - 310 325058560 0 3174400 312 327155712 0x9001 0x1010\n\
         # mapped: mapping file - 65 201326592 0 131072 65 201326592 0x9002 0x1020\n\
         # mapped: mapping anonymous java_heap 1 268435456 0 1048576 1 268435456 0x9002 0x5010 0x1040\n\
         # past_times:{times}\n# past_other: 0/0/0/0 0/0/0/0 0/0/0/0\n\
         # mapped_past: 0 0/655360/10485760/0/0 1/13107200/209715200/65536/1048576\n\
         # mapped_past: 1 0/65536/65536/0/0 1/4259840/100663296/0/0\n# ages: 1\n",
        moment(0, 10),
        moment(60, 200),
        moment(120, 310),
    );
    folder.write("x.9.0.f.heap", &text)
}

/// A dump of 40,000 stacks that share little, each of which was something else at 32 looks, and dumps before it: more
/// frames and more numbers than a page shows.
fn big(folder: &Folder) -> PathBuf {
    let dumps = folder.path().join("big");
    std::fs::create_dir(&dumps).unwrap();
    for dump in 0..4 {
        std::fs::write(dumps.join(format!("x.8.{dump}.i{dump}.heap")), big_dump(dump)).unwrap();
    }
    dumps
}

fn big_dump(dump: u64) -> String {
    let (mut text, mut past) = (String::from("heap_v2/1\n  t*: 0: 0 [0: 0]\n  t0: 0: 0 [0: 0] main\n"), String::new());
    for number in 0..40_000u64 {
        let frame = |depth: u64| format!(" {:#x}", 0x40_0000 + ((number * 7) >> depth) % 30_000 * 32 + depth);
        let frames: String = (0..10).map(frame).collect();
        let bytes = 1024 + (number * 13 + dump * 7919) % 70_000;
        text += &format!("@{frames}\n  t*: 1: {bytes} [0: 0]\n  t0: 1: {bytes} [0: 0]\n");
        let looks: String =
            (0..24).map(|look| format!(" {look}/65536/{}/0/0", 100 + (number * 31 + look * 977) % 3000)).collect();
        past += &format!("# past: {number}{looks}\n");
    }
    text += "\nMAPPED_LIBRARIES:\n00400000-7000000 r-xp 00000000 00:00 7 /srv/no/such/program\n\n# heaptap 1\n# pid: 8\n# token: ab\n";
    let second = |at: u64| format!("{}000000000", 1_795_644_000 + 60 * at);
    let hour = dump * 25;
    let times: String = (0..25).map(|look| format!(" {}", second(hour + look))).collect();
    let other = " 65536/999999999/65536/999999999".repeat(25);
    text += &format!(
        "# time: 2026-11-25T{:02}:{:02}:00Z\n# past_times:{times}\n# past_other:{other}\n{past}",
        22 + (hour + 24) / 60,
        (hour + 24) % 60
    );
    text
}

#[test]
fn a_page_of_fifty_thousand_frames_and_a_hundred_moments_is_at_most_a_megabyte() {
    let folder = Folder::new("big");
    let page = page(&folder, "page", "big.html", &[&big(&folder)]);
    let bytes = std::fs::metadata(page).unwrap().len();
    assert!((100_000..=1_000_000).contains(&bytes), "{bytes}");
}

#[test]
fn a_browser_uses_the_page_as_a_person_does() {
    let (Some(browser), true) = (chromium(), needs("node")) else { return };
    let folder = Folder::new("browser");
    let pages = [
        ("shop.html", dumps().join("shop")),
        ("evil.html", evil(&folder)),
        ("big.html", big(&folder)),
        ("mapped.html", mapped(&folder)),
    ];
    let pages = pages.map(|(name, dump)| page(&folder, "page", name, &[&dump]));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/page.js");
    let output = Command::new("node").arg(script).arg(browser).args(pages).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("all checks passed"), "{told:.2000}");
}

#[test]
fn flame_is_the_same_page_at_its_tab() {
    let folder = Folder::new("tabs");
    let shop = dumps().join("shop");
    let [page, flame] = ["page", "flame"].map(|command| page(&folder, command, &format!("{command}.html"), &[&shop]));
    let [page, flame] = [page, flame].map(|path| std::fs::read_to_string(path).unwrap());
    let without_data = |page: &str| page[..page.rfind("start(").unwrap()].to_owned();
    assert_eq!(without_data(&page), without_data(&flame));
    assert_ne!(page, flame);
}

#[test]
fn a_picture_of_nothing_is_refused_and_leaves_no_file() {
    let folder = Folder::new("nothing");
    let empty = folder.write("x.7.0.f.heap", "heap_v2/1\n  t*: 0: 0 [0: 0]\n\nMAPPED_LIBRARIES:\n");
    let output =
        Command::new(cli()).arg("flame").arg(&empty).arg("-o").arg(folder.path().join("x.svg")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing is live"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
