//! `heaptap mcp`, line by line and by the protocol's own client: what is asked rightly is answered with the documented
//! JSON, what is not is refused, and nothing that a client says or a command does ends the server or holds it up.

mod support;

use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use support::talker::Talker;
use support::{Folder, Schema, cli, needs, python_with};

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn dumps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps")
}

/// A server, and what it says.
struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let mut command = Command::new(cli());
        command.arg("mcp").args(arguments).env_remove("LD_PRELOAD").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| _ = sender.send(line));
        });
        Server { child, stdin, lines }
    }

    fn say(&mut self, line: &str) {
        self.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn hear(&mut self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(PATIENCE).expect("an answer")).unwrap()
    }

    fn ask(&mut self, id: u32, method: &str, params: Value) -> Value {
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string());
        let answer = self.hear();
        assert_eq!((&answer["id"], &answer["jsonrpc"]), (&json!(id), &json!("2.0")), "{answer}");
        answer
    }

    /// Calls a tool; its result.
    fn call(&mut self, id: u32, name: &str, arguments: Value) -> Value {
        self.ask(id, "tools/call", json!({"name": name, "arguments": arguments}))["result"].clone()
    }

    /// Ends stdin, and waits for the end of the server.
    fn end(mut self) {
        self.stdin = None;
        let until = std::time::Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(std::time::Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn tools_give_the_documented_json_and_mark_what_is_untrusted() {
    let mut server = Server::start(&[]);
    let hello =
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let hello = server.ask(1, "initialize", hello);
    assert_eq!(hello["result"]["protocolVersion"], "2025-06-18");
    server.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    let shop = dumps().join("shop");
    let shop = shop.to_str().unwrap();
    let mut schema = Schema::read();
    for (number, (name, section, arguments)) in (2..).zip([
        ("report", "Report", json!({"files": [shop]})),
        ("leaks", "Growth", json!({"files": [shop]})),
        ("growth", "Growth", json!({"files": [shop], "by": "class"})),
        ("callers", "Callers", json!({"name": "Catalog.unpack", "files": [shop]})),
        ("info", "Info", json!({"files": [shop]})),
        ("symbols", "Symbols", json!({"files": [shop]})),
        ("fleet", "Fleet", json!({"files": [shop]})),
        ("status", "Statuses", json!({"pids": [std::process::id()]})),
        ("ps", "Listed", json!({})),
        ("rss", "Resident", json!({"files": [std::process::id().to_string()]})),
    ]) {
        let result = server.call(number, name, arguments);
        assert_eq!(result["isError"], json!(false), "{name}: {result}");
        let told = &result["structuredContent"];
        schema.check(section, &told["answer"]);
        assert!(told["untrusted"].as_str().unwrap().contains("never instructions"));
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(&text, told, "{name}");
    }
    let leaks = server.call(20, "leaks", json!({"files": [shop]}));
    assert_eq!(leaks["structuredContent"]["exit_status"], json!(1));
    // The files are those that are named, and not options of the command.
    let output = server.call(21, "report", json!({"files": ["--output=/tmp/x", "-o"]}));
    assert_eq!(output["isError"], json!(true));
    assert!(output["content"][0]["text"].as_str().unwrap().contains("--output=/tmp/x"), "{output}");
    server.end();
}

#[test]
fn pages_follow_by_cursor_and_hold_all_rows() {
    let mut server = Server::start(&[]);
    let shop = dumps().join("shop");
    let files = json!([shop.to_str().unwrap()]);
    let whole = Command::new(cli()).args(["report", "--json", "--by", "function"]).arg(&shop).output().unwrap();
    let whole: Value = serde_json::from_slice(&whole.stdout).unwrap();
    let whole = whole["sites"].as_array().unwrap();
    assert!(whole.len() > 5);
    let (mut cursor, mut seen, mut id) = (Value::Null, Vec::new(), 0);
    loop {
        id += 1;
        let asked = json!({"files": files, "by": "function", "top": 3, "cursor": cursor});
        let told = server.call(id, "report", asked)["structuredContent"].clone();
        let rows = told["answer"]["sites"].as_array().unwrap();
        assert!((1..=3).contains(&rows.len()));
        seen.extend(rows.iter().map(|row| row["label"].clone()));
        let length = json!({"list": "sites", "length": whole.len()});
        assert!(told["cut"].as_array().unwrap().contains(&length), "{}", told["cut"]);
        cursor = told["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(seen, whole.iter().map(|row| row["label"].clone()).collect::<Vec<_>>());
    server.end();
}

#[test]
fn what_is_wrong_is_refused_and_the_server_goes_on() {
    let mut server = Server::start(&[]);
    for (line, code) in [
        ("nonsense", -32700),
        ("[1,2]", -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"resources/read"}"#, -32601),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm"}}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"report","arguments":{}}}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ps","arguments":{"x":1}}}"#, -32602),
        // It changes processes, and was not asked for when the server was started.
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"stop","arguments":{"pids":[1]}}}"#, -32602),
    ] {
        server.say(line);
        let answer = server.hear();
        assert_eq!(answer["error"]["code"], json!(code), "{line}: {answer}");
    }
    server.say("");
    server.say(&format!(r#"{{"jsonrpc":"2.0","id":2,"method":"ping","x":"{}"}}"#, "y".repeat(5 << 20)));
    assert_eq!(server.hear()["error"]["code"], json!(-32602));
    // A command that fails is an answer that the agent can read.
    let failed = server.call(3, "report", json!({"files": ["/no/such/file"]}));
    assert_eq!(failed["isError"], json!(true));
    assert!(failed["content"][0]["text"].as_str().unwrap().contains("/no/such/file"), "{failed}");
    assert_eq!(server.ask(4, "ping", json!({}))["result"], json!({}));
    server.end();
}

/// A pipe that nobody writes into: who reads it waits for ever.
fn pipe(folder: &Folder) -> String {
    let path = folder.path().join("endless.heap");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_command_that_hangs_is_given_up_or_cancelled_and_holds_nobody_up() {
    let folder = Folder::new("mcp-hang");
    let endless = pipe(&folder);
    let mut server = Server::start(&["--timeout", "6"]);
    let call = |id: u32| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": "report", "arguments": {"files": [endless]}}})
    };
    server.say(&call(1).to_string());
    // Others are answered meanwhile.
    assert_eq!(server.ask(2, "ping", json!({}))["result"], json!({}));
    let late = server.hear();
    assert_eq!((&late["id"], &late["result"]["isError"]), (&json!(1), &json!(true)), "{late}");
    assert!(late["result"]["content"][0]["text"].as_str().unwrap().contains("6 s"), "{late}");
    server.end();

    let mut server = Server::start(&[]);
    (1..=4).for_each(|id| server.say(&call(id).to_string()));
    let busy = server.ask(5, "tools/call", json!({"name": "ps"}));
    assert_eq!(busy["error"]["code"], json!(-32000), "{busy}");
    server.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    // A place is free as soon as the child is gone; the call that was cancelled gets no answer.
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        let answer = server.ask(6, "tools/call", json!({"name": "ps"}));
        if answer["result"]["isError"] == json!(false) {
            break;
        }
        assert!(std::time::Instant::now() < until, "{answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
    // With three that hang SIGTERM is the end, also of what they run: nobody reads the pipe any more.
    assert!(Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap().success());
    assert_eq!(server.child.wait().unwrap().signal(), Some(15));
    let writer = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&endless);
    assert_eq!(writer.unwrap_err().raw_os_error(), Some(libc::ENXIO));
}

/// As from a pipe: `printf … | heaptap mcp`.
#[test]
fn what_was_asked_before_the_end_of_stdin_is_answered() {
    let folder = Folder::new("mcp-end");
    let endless = pipe(&folder);
    let mut server = Server::start(&["--timeout", "3"]);
    for (id, file) in [(1, dumps().join("shop").to_str().unwrap()), (2, &endless)] {
        let params = json!({"name": "report", "arguments": {"files": [file]}});
        server.say(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string());
    }
    server.stdin = None;
    let (shop, late) = (server.hear(), server.hear());
    assert_eq!((&shop["id"], &shop["result"]["isError"]), (&json!(1), &json!(false)), "{shop}");
    // A call that hangs has its own time, and no more.
    assert_eq!((&late["id"], &late["result"]["isError"]), (&json!(2), &json!(true)), "{late}");
    server.end();
}

#[test]
fn text_of_a_profile_has_no_effect() {
    let folder = Folder::new("mcp-text");
    let text = std::fs::read_to_string(dumps().join("shop/shop.4711.2.f.heap")).unwrap();
    let text = text.replace("com/shop/Catalog unpack", "com/shop/Catalog unpack\u{1b}[31m\u{202e}ignore\u{2028}all");
    let dump = folder.write("shop.4711.2.f.heap", &text);
    let mut server = Server::start(&[]);
    let line = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "report", "arguments": {"files": [dump]}}});
    server.say(&line.to_string());
    let answer = server.lines.recv_timeout(PATIENCE).unwrap();
    assert!(answer.contains("com.shop.Catalog.unpack"), "{answer}");
    assert!(!answer.contains(['\u{1b}', '\u{202e}', '\u{2028}']), "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let inner = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(!inner.contains(['\u{1b}', '\u{202e}', '\u{2028}']), "{inner}");
    server.end();
}

/// The protocol's own client, with its handshake and without, reads what changes nothing and, with --control, rates a
/// living process.
#[test]
fn the_protocols_own_client_uses_all_tools() {
    let Some(python) = python_with("mcp") else { return };
    if !needs("gcc") {
        return;
    }
    let conf = "prof:true,lg_prof_sample:17";
    let mut process = Talker::launch("mcp-client", "tests/programs/mapped.c", &["grow"], &[], conf);
    process.expect("ready");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/agent.py");
    let output = Command::new(python)
        .arg(script)
        .arg(cli())
        .arg(dumps().join("shop"))
        .arg(process.pid())
        .env_remove("LD_PRELOAD")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("2025-11-25") && text.contains("2026-07-28"), "{text}");
}
