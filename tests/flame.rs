//! The interactive page of `heaptap flame`: its arithmetic in node, the page itself in a headless browser, and
//! hostile names that must stay inert.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Folder, cli, needs, which};

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
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flame.js");
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
    let dump = std::fs::read_to_string(dumps().join("shop/shop.4711.2.f.heap")).unwrap();
    let evil = "</script><script>alert(1)</script>";
    let long = "x".repeat(1 << 20);
    let dump = dump.replace("com/shop/Catalog unpack", &format!("com/shop/{evil} {long}"));
    let page = std::fs::read_to_string(flame(&folder, "evil.html", &[&folder.write("x.7.0.f.heap", &dump)])).unwrap();
    assert!(!page.contains("alert(1)") && page.matches("</script>").count() == 2);
    assert!(page.contains("default-src 'none'"));
    assert!(!["src=", "href=", "http:", "https:", "@import", "fetch("].iter().any(|way| page.contains(way)));
    let svg = std::fs::read_to_string(flame(&folder, "evil.svg", &[&folder.path().join("x.7.0.f.heap")])).unwrap();
    assert!(!svg.contains("<script>alert"));
}

#[test]
fn a_browser_shows_the_page_and_finds_what_is_searched() {
    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| which(name)) else {
        eprintln!("skipped: no chromium is installed");
        return;
    };
    let folder = Folder::new("browser");
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
