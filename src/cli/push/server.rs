//! Answers who asks for metrics: GET /metrics, one connection at a time, and nothing else.
//!
//! It listens where it is told to, by default nowhere, and reads a bounded head with a deadline: nobody can keep it.

use super::sender::Watcher;
use crate::cli::analyze::gauges::Gauges;
use crate::cli::held::held;
use crate::cli::render::exposition::{Exposition, Kind};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What a client may take to ask, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a request that are read.
const MOST_HEAD: usize = 8 << 10;
const OPEN_METRICS: &str = "application/openmetrics-text";

/// What is shown of a life: labels and figures.
pub(super) type Shown = (Vec<(String, String)>, Gauges);
/// What is shown, by owner and token.
pub(super) type Board = Arc<Mutex<BTreeMap<(u32, u64), Shown>>>;

/// Begins to answer at an address.
pub(super) fn begin(address: SocketAddr, board: Board, sender: Option<Watcher>) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot serve metrics at {address}"))?;
    let serve = move || {
        for stream in listener.incoming().flatten() {
            // Who does not ask in time, or goes away, misses it.
            let _ = answer(stream, &board, sender.as_ref());
        }
    };
    thread::Builder::new().name("metrics".to_owned()).spawn(serve).context("cannot start a thread")?;
    Ok(())
}

fn answer(mut stream: TcpStream, board: &Board, sender: Option<&Watcher>) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = head(&mut stream)?;
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let (status, kind, body) = match (method, path) {
        ("GET" | "HEAD", "/metrics") => {
            let is_open = head.lines().any(|line| is_accepted(line, OPEN_METRICS));
            let kind = match is_open {
                true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
                false => "text/plain; version=0.0.4; charset=utf-8",
            };
            ("200 OK", kind, page(board, sender).text(is_open))
        }
        ("GET" | "HEAD", _) => ("404 Not Found", "text/plain", "metrics are at /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "text/plain", "GET /metrics\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    if method == "HEAD" { Ok(()) } else { stream.write_all(body.as_bytes()) }
}

fn is_accepted(line: &str, kind: &str) -> bool {
    line.split_once(':').is_some_and(|(name, value)| name.eq_ignore_ascii_case("accept") && value.contains(kind))
}

/// The request's head, as far as it comes in time.
fn head(stream: &mut TcpStream) -> io::Result<String> {
    let (end, mut bytes, mut room) = (Instant::now() + PATIENCE, Vec::new(), [0; 1024]);
    loop {
        let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        stream.set_read_timeout(Some(left.ok_or(io::ErrorKind::TimedOut)?))?;
        let read = stream.read(&mut room)?;
        bytes.extend_from_slice(room.get(..read).unwrap_or(&[]));
        if read == 0 || bytes.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        if bytes.len() > MOST_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn page(board: &Board, sender: Option<&Watcher>) -> Exposition {
    let mut page = Exposition::default();
    let version = vec![("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    page.add(Kind::Gauge, "heaptap_agent_info", "The agent", version, 1.0);
    let lives: Vec<_> = held(board).values().cloned().collect();
    page.add(Kind::Gauge, "heaptap_lives", "Processes that are read", Vec::new(), lives.len() as f64);
    lives.iter().for_each(|(labels, gauges)| page.add_life(labels, gauges));
    if let Some(sender) = sender {
        add_sender(&mut page, sender);
    }
    page
}

fn add_sender(page: &mut Exposition, sender: &Watcher) {
    let (tally, (waiting, bytes), dropped) = sender.look();
    let results = [
        ("taken", tally.taken),
        ("refused", tally.refused),
        ("unclear", tally.unclear),
        ("too-old", tally.too_old),
        ("dropped", dropped),
    ];
    for (result, count) in results {
        let labels = vec![("result".to_owned(), result.to_owned())];
        let help = "Profiles by what became of them: dropped ones found the spool full";
        page.add(Kind::Counter, "heaptap_push_profiles_total", help, labels, count as f64);
    }
    let help = "Attempts that are repeated";
    page.add(Kind::Counter, "heaptap_push_repeated_total", help, Vec::new(), tally.repeated as f64);
    page.add(Kind::Gauge, "heaptap_push_waiting_profiles", "Profiles that wait", Vec::new(), waiting as f64);
    page.add(Kind::Gauge, "heaptap_push_waiting_bytes", "Bytes that wait", Vec::new(), bytes as f64);
    if let Some(last) = tally.last_taken {
        let help = "When the server last took a profile, since 1970";
        page.add(Kind::Gauge, "heaptap_push_last_taken_time_seconds", help, Vec::new(), last as f64);
    }
}
