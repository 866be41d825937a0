//! A server of profiles on the loopback that keeps the strictest rules of the real ones, and misbehaves on demand.
//!
//! It wants a length, no chunks; gzipped pprof that the strict reader accepts, of the pair in use only, within 16,000
//! samples and 2 MiB; and labels that no start changes. What breaks a rule is noted, and fails the test at its end.

use super::Pprof;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    /// Takes it.
    Take,
    /// Answers with this status, and further headers.
    Say(u16, &'static str),
    /// Closes the connection before it asks for the body.
    Hang,
    /// Reads the half of the body, then closes.
    Half,
    /// Takes the whole of it, and closes without an answer.
    Swallow,
    /// Takes it, and answers after so long.
    Slow(Duration),
    /// Takes it without asking for the body first, as old servers do.
    Mute,
    /// Answers as a web server that knows nothing of profiles.
    Page,
}

/// A request that came whole.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    /// Path and query, decoded.
    pub(crate) target: String,
    /// Headers, in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// What was sent.
    pub(crate) body: Vec<u8>,
    /// Whether the server took it: said so, or may have.
    pub(crate) is_taken: bool,
}

#[derive(Debug, Default)]
struct Seen {
    pushes: Vec<Push>,
    script: Vec<Does>,
    always: Option<Does>,
    broken: Vec<String>,
    requests: usize,
}

/// The server.
pub(crate) struct Engine {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// One that takes everything.
    pub(crate) fn start() -> Engine {
        Engine::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// One at an address that nobody else of this machine takes while it is away: a loopback address of its own.
    pub(crate) fn start_apart() -> Engine {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [high, low] = (std::process::id() as u16).to_be_bytes();
        Engine::at(SocketAddr::from(([127, high.max(1), low, NEXT.fetch_add(1, Ordering::Relaxed)], 0)))
    }

    /// One at an address that was another's before.
    pub(crate) fn at(address: SocketAddr) -> Engine {
        let listener = TcpListener::bind(address).unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Seen::default())));
        let ends = Arc::new(AtomicBool::new(false));
        let (its, its_end) = (Arc::clone(&seen), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if its_end.load(Ordering::Relaxed) {
                    return;
                }
                serve(stream, &its);
            }
        });
        Engine { address, seen, ends, thread: Some(thread) }
    }

    /// None at all: nobody listens there.
    pub(crate) fn dead(address: SocketAddr) -> Engine {
        Engine { address, seen: Arc::default(), ends: Arc::default(), thread: None }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it does with the next requests; after that it takes everything.
    pub(crate) fn script(&self, script: &[Does]) {
        let mut seen = self.seen.lock().unwrap();
        seen.script = script.to_vec();
        seen.script.reverse();
    }

    /// What it does from now on.
    pub(crate) fn always(&self, does: Option<Does>) {
        self.seen.lock().unwrap().always = does;
    }

    /// Requests that began.
    pub(crate) fn requests(&self) -> usize {
        self.seen.lock().unwrap().requests
    }

    /// What came whole and was taken, of this service.
    pub(crate) fn taken(&self, service: &str) -> Vec<Push> {
        let seen = self.seen.lock().unwrap();
        let is_its = |push: &&Push| push.is_taken && (push.target.contains(service) || has(&push.body, service));
        seen.pushes.iter().filter(is_its).cloned().collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if self.thread.is_some() {
            let _ = TcpStream::connect(self.address);
        }
        self.thread.take().map(JoinHandle::join);
        let broken = std::mem::take(&mut self.seen.lock().unwrap().broken);
        assert!(broken.is_empty() || thread::panicking(), "{broken:#?}");
    }
}

fn has(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

fn serve(stream: TcpStream, seen: &Mutex<Seen>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return; // somebody looked whether it is there
    }
    let target = decoded(line.split(' ').nth(1).unwrap_or_default());
    let is_post = line.starts_with("POST ");
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.trim().split_once(':').unwrap();
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let does = {
        let mut seen = seen.lock().unwrap();
        seen.requests += 1;
        let always = seen.always.clone();
        seen.script.pop().or(always).unwrap_or(Does::Take)
    };
    let mut broken: Vec<String> = Vec::new();
    if !is_post || headers.contains_key("transfer-encoding") {
        broken.push(format!("{line}: chunked, or no POST"));
    }
    let Some(length) = headers.get("content-length").and_then(|text| text.parse::<usize>().ok()) else {
        broken.push(format!("{line}: no length"));
        seen.lock().unwrap().broken.extend(broken);
        return;
    };
    let mut writer = stream;
    let early = matches!(does, Does::Hang | Does::Say(401 | 413, _));
    if let Does::Say(status, more) = does
        && early
    {
        return answer(&mut writer, status, more, "no");
    }
    if early {
        let _ = writer.shutdown(Shutdown::Both);
        return;
    }
    if headers.get("expect").is_some_and(|value| value == "100-continue") && !matches!(does, Does::Mute) {
        let _ = writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    let mut body = vec![0; if matches!(does, Does::Half) { length / 2 } else { length }];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    if matches!(does, Does::Half) {
        return;
    }
    let is_taken = !matches!(does, Does::Say(..) | Does::Page);
    let push = Push { target, headers, body, is_taken };
    if let Err(why) = catch_unwind(AssertUnwindSafe(|| check(&push))) {
        let why = why.downcast_ref::<String>().cloned().unwrap_or_else(|| "a rule".to_owned());
        broken.push(format!("{}: {why}", push.target));
    }
    {
        let mut seen = seen.lock().unwrap();
        seen.broken.extend(broken);
        seen.pushes.push(push);
    }
    match does {
        Does::Swallow => {}
        Does::Say(status, more) => answer(&mut writer, status, more, "not now"),
        Does::Page => answer(&mut writer, 200, "content-type: text/html\r\n", "<html>"),
        Does::Slow(pause) => {
            thread::sleep(pause);
            answer(&mut writer, 200, "", "{}");
        }
        _ => answer(&mut writer, 200, "", "{}"),
    }
}

fn answer(out: &mut TcpStream, status: u16, more: &str, body: &str) {
    let text = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n{more}\r\n{body}", body.len());
    let _ = out.write_all(text.as_bytes());
}

/// The rules of engines, by path.
fn check(push: &Push) {
    for cardinal in ["pid", "token", "path"] {
        assert!(!push.target.contains(&format!("{cardinal}=")), "{}", push.target);
    }
    if push.target == "/v1development/profiles" {
        return; // Python's reader judges these
    }
    let pprof = push.pprof();
    assert_eq!(
        pprof.sample_types,
        [("inuse_objects", "count"), ("inuse_space", "bytes")].map(|(a, b)| (a.into(), b.into()))
    );
    assert!(pprof.samples.len() <= 16_000 && pprof.bytes <= 2 << 20, "{} samples", pprof.samples.len());
    if push.target.starts_with("/ingest") {
        assert!(push.target.contains("format=pprof") && push.target.contains("spyName=javaspy"), "{}", push.target);
        let name = push.target.split("name=").nth(1).unwrap().split("&format").next().unwrap();
        let service = name.split('{').next().unwrap();
        assert!(
            !service.is_empty() && service.chars().all(|c| c.is_ascii_alphanumeric() || "-._/:@".contains(c)),
            "{name}"
        );
    }
}

impl Push {
    /// The profile that it carries.
    pub(crate) fn pprof(&self) -> Pprof {
        match self.body.first() {
            Some(b'{') => {
                let json: serde_json::Value = serde_json::from_slice(&self.body).expect("JSON");
                let sample = &json["series"][0]["samples"][0];
                let coded = sample["rawProfile"].as_str().or(sample["raw_profile"].as_str()).expect("a profile");
                Pprof::of(&debased(coded))
            }
            _ => Pprof::of(&self.body),
        }
    }
}

fn debased(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut word, mut bits) = (Vec::new(), 0u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = LETTERS.iter().position(|known| *known == letter).expect("a letter of base64") as u32;
        (word, bits) = (word << 6 | value, bits + 6);
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
        }
    }
    assert_eq!(text.len() % 4, 0, "padded");
    bytes
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap() as u8;
        bytes.push(if byte == b'%' { digit() << 4 | digit() } else { byte });
    }
    String::from_utf8(bytes).unwrap()
}

/// Reads all that a server at an address answers to a GET.
pub(crate) fn get(address: &str, path: &str, more: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{more}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
