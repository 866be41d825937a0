//! The interactive page of `heaptap flame`: its arithmetic in node, the page itself in a headless browser, and
//! hostile names that must stay inert.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Folder, chromium, cli, needs};

fn dumps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps")
}

fn flame(folder: &Folder, name: &str, arguments: &[&Path]) -> PathBuf {
    let path = folder.path().join(name);
    let output = Command::new(cli()).arg("flame").args(arguments).arg("-o").arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

fn node(arguments: &[&Path]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/model.js");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/render/flame/page.js");
    Command::new("node").arg(script).arg(page).args(arguments).output().unwrap()
}

#[test]
fn the_pages_sums_are_the_reports_in_every_view() {
    if !needs("node") {
        return;
    }
    let folder = Folder::new("flame");
    let page = flame(&folder, "shop.html", &[&dumps().join("shop")]);
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
    let page = std::fs::read_to_string(flame(&folder, "evil.html", &[&dump])).unwrap();
    assert!(!page.contains("alert(1)") && page.matches("</script>").count() == 2);
    assert!(page.contains("default-src 'none'"));
    assert!(!["src=", "href=", "http:", "https:", "@import", "fetch("].iter().any(|way| page.contains(way)));
    let svg = std::fs::read_to_string(flame(&folder, "evil.svg", &[&dump])).unwrap();
    assert!(!svg.contains("<script>window.evil") && !svg.contains("<img"));
}

/// A dump like `shop` whose names would do harm, if any program took them for more than text.
fn evil(folder: &Folder) -> PathBuf {
    let dump = std::fs::read_to_string(dumps().join("shop/shop.4711.2.f.heap")).unwrap();
    let evil = "</script><script>window.evil=1;alert(1)</script><img/src=x/onerror=alert(2)>";
    let long = "x".repeat(1 << 20);
    folder.write("x.7.0.f.heap", &dump.replace("com/shop/Catalog unpack", &format!("com/shop/Catalog {evil}{long}")))
}

/// A dump of 40,000 stacks that share little: more frames than a page shows.
fn big(folder: &Folder) -> PathBuf {
    let mut text = String::from("heap_v2/524288\n  t*: 1: 1 [0: 0]\n  t0: 0: 0 [0: 0] main\n");
    for number in 0..40_000u64 {
        let frame = |depth: u64| format!(" {:#x}", 0x40_0000 + ((number * 7) >> depth) % 30_000 * 32 + depth);
        let frames: String = (0..10).map(frame).collect();
        let bytes = 1024 + number * 13 % 70_000;
        text += &format!("@{frames}\n  t*: 1: {bytes} [0: 0]\n  t0: 1: {bytes} [0: 0]\n");
    }
    text += "\nMAPPED_LIBRARIES:\n00400000-7000000 r-xp 00000000 00:00 7 /srv/no/such/program\n";
    folder.write("x.8.0.f.heap", &text)
}

#[test]
fn a_page_of_fifty_thousand_frames_is_small() {
    let folder = Folder::new("big");
    let page = flame(&folder, "big.html", &[&big(&folder)]);
    let bytes = std::fs::metadata(page).unwrap().len();
    assert!((100_000..2 << 20).contains(&bytes), "{bytes}");
}

#[test]
fn a_browser_searches_zooms_and_walks_by_keyboard() {
    let (Some(browser), true) = (chromium(), needs("node")) else { return };
    let folder = Folder::new("browser");
    let pages = [("shop.html", dumps().join("shop")), ("evil.html", evil(&folder)), ("big.html", big(&folder))];
    let pages = pages.map(|(name, dump)| flame(&folder, name, &[&dump]));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/flame.js");
    let output = Command::new("node").arg(script).arg(browser).args(pages).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("all checks passed"), "{told:.2000}");
}

#[test]
fn an_address_opens_the_page_in_a_state() {
    let Some(browser) = chromium() else { return };
    let folder = Folder::new("address");
    let page = flame(&folder, "shop.html", &[&dumps().join("shop")]);
    for (view, share) in
        [("search=Inflater", "63.9 %"), ("search=Inflater&invert&dark", "63.9 %"), ("search=com.shop&before", "79.2 %")]
    {
        let output = Command::new(&browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .arg(format!("file://{}#{view}", page.display()))
            .output()
            .unwrap();
        let dom = String::from_utf8_lossy(&output.stdout);
        assert!(dom.contains("java (pid 4711)"), "{dom}");
        assert!(dom.contains(&format!("{share} in ")), "{view}: {dom}");
    }
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
