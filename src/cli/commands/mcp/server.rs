//! Reads messages, has tools called, writes answers: one line each, whole, in the order in which they are ready.
//!
//! Every call has a thread that waits for its child, so a long one holds nobody up, and can be cancelled. When stdin
//! ends, calls that still run get some time, as requests from a pipe end before their answers are there; a client that
//! ends a session sends SIGTERM if it does not want to wait.

use super::child::{self, Said, Trouble};
use super::page::{self, Page};
use super::protocol::{self, Ask, Message, Refusal, UNTRUSTED};
use super::tools::{self, Call, Tool};
use crate::cli::held::held;
use crate::cli::inert::Inert;
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::io::{self, BufRead, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

/// Bytes of a message, at most.
const MOST_LINE: u64 = 4 << 20;
/// Calls that run at a time.
const MOST_CALLS: usize = 4;
/// What calls that still run get when stdin ends.
const LAST: Duration = Duration::from_secs(30);
/// How often they are looked at then.
const TICK: Duration = Duration::from_millis(10);
/// Sentences that are passed on of what a command says beside its answer.
const MOST_NOTES: usize = 20;

/// The server.
pub(super) struct Server {
    with_control: bool,
    time: Duration,
    /// Calls that run, by the text of their id, with the flag that cancels them.
    running: Mutex<HashMap<String, Arc<AtomicBool>>>,
    /// Whoever writes has it.
    out: Mutex<io::Stdout>,
}

impl Server {
    /// One that offers what changes processes, or not, and gives a command so much time.
    pub(super) fn new(with_control: bool, time: Duration) -> Server {
        Server { with_control, time, running: Mutex::default(), out: Mutex::new(io::stdout()) }
    }

    /// Answers until its input ends, and what is asked by then.
    pub(super) fn serve(&self, input: &mut impl BufRead) -> Result<()> {
        thread::scope(|scope| {
            let end = self.read(input, scope);
            // Who does not take answers gets no more of them.
            self.end(if end.is_ok() { LAST } else { Duration::ZERO });
            end
        })
    }

    /// Gives calls so much time, and has no child left soon after.
    pub(super) fn end(&self, within: Duration) {
        let is_over = |until: Instant| {
            while !held(&self.running).is_empty() {
                if Instant::now() >= until {
                    return false;
                }
                thread::sleep(TICK);
            }
            true
        };
        if !is_over(Instant::now() + within) {
            held(&self.running).values().for_each(|flag| flag.store(true, Ordering::Relaxed));
            is_over(Instant::now() + child::ENDED);
        }
    }

    fn read<'scope>(&'scope self, input: &mut impl BufRead, scope: &'scope Scope<'scope, '_>) -> Result<()> {
        loop {
            let mut line = Vec::new();
            let read = (&mut *input).take(MOST_LINE + 1).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            if read as u64 > MOST_LINE {
                input.skip_until(b'\n')?;
                let refusal = Refusal::of_arguments(format!("a message has more than {MOST_LINE} bytes"));
                self.write(&Value::Null, Err(refusal))?;
                continue;
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match protocol::parse(&line) {
                Ok(message) => self.take(message, scope)?,
                Err((id, refusal)) => self.write(&id, Err(refusal))?,
            }
        }
    }

    fn take<'scope>(&'scope self, message: Message, scope: &'scope Scope<'scope, '_>) -> Result<()> {
        let Message { id, ask, is_stateless } = message;
        let Some(id) = id else {
            if let Ask::Cancel(id) = ask {
                held(&self.running)
                    .get(&id.to_string())
                    .into_iter()
                    .for_each(|flag| flag.store(true, Ordering::Relaxed));
            }
            return Ok(());
        };
        let result = match ask {
            Ask::Initialize(revision) => Ok(protocol::initialized(&revision)),
            Ask::Discover => Ok(protocol::complete(protocol::discovered())),
            Ask::Ping | Ask::Cancel(_) | Ask::Nothing => Ok(json!({})),
            Ask::List => Ok(tools::listed(self.with_control)),
            Ask::Call(name, arguments) => match self.prepare(&id, &name, arguments) {
                Ok((tool, call, flag)) => {
                    scope.spawn(move || self.call(&id, (tool, &call), &flag, is_stateless));
                    return Ok(());
                }
                Err(refusal) => Err(refusal),
            },
        };
        let result = result.map(|result| if is_stateless { protocol::complete(result) } else { result });
        self.write(&id, result)
    }

    /// Takes a place for a call.
    fn prepare(
        &self,
        id: &Value,
        name: &str,
        arguments: Map<String, Value>,
    ) -> Result<(&'static Tool, Call, Arc<AtomicBool>), Refusal> {
        let tool = tools::all(self.with_control).find(|tool| tool.name == name);
        let tool = tool.ok_or_else(|| {
            let is_control = tools::all(true).any(|tool| tool.name == name);
            let why = if is_control { " without --control, which `heaptap mcp` was not started with" } else { "" };
            Refusal::of_arguments(format!("there is no tool `{name}`{why}"))
        })?;
        let call = tool.call(arguments)?;
        let mut running = held(&self.running);
        if running.len() >= MOST_CALLS {
            return Err(Refusal::busy(format!("{MOST_CALLS} calls run already: wait for one of them")));
        }
        let flag = Arc::new(AtomicBool::new(false));
        if running.insert(id.to_string(), Arc::clone(&flag)).is_some() {
            return Err(Refusal::busy(format!("a call with the id {id} runs already")));
        }
        Ok((tool, call, flag))
    }

    /// Runs a call and answers it; one that was cancelled gets no answer.
    fn call(&self, id: &Value, (tool, call): (&Tool, &Call), flag: &AtomicBool, is_stateless: bool) {
        let said = child::run(&call.arguments, self.time, flag);
        held(&self.running).remove(&id.to_string());
        let result = match said {
            Err(Trouble::Cancelled) => return,
            Err(trouble) => failed(&self.words(&trouble)),
            Ok(said) => result(&said, tool, call),
        };
        let result = if is_stateless { protocol::complete(result) } else { result };
        // Who does not read answers is gone; the end of stdin says so, too.
        let _ = self.write(id, Ok(result));
    }

    fn words(&self, trouble: &Trouble) -> String {
        match trouble {
            Trouble::Late => {
                format!("no answer within {} s, given up; `heaptap mcp --timeout` gives more", self.time.as_secs())
            }
            Trouble::TooLarge => "the answer is too large: --focus or another filter makes it smaller".to_owned(),
            Trouble::System(error) => format!("the command could not be run: {error}"),
            Trouble::Cancelled => "cancelled".to_owned(),
        }
    }

    fn write(&self, id: &Value, result: Result<Value, Refusal>) -> Result<()> {
        let line = inert(&protocol::answer(id, result)) + "\n";
        let mut out = held(&self.out);
        out.write_all(line.as_bytes())?;
        Ok(out.flush()?)
    }
}

/// JSON in which no text has an effect on a terminal, or hides what it says.
fn inert(value: &Value) -> String {
    let mut text = Vec::new();
    // A vector takes everything.
    let _ = serde_json::to_writer(Inert::json(&mut text), value);
    String::from_utf8(text).unwrap_or_default()
}

/// What a command's end is to a client: trouble, or an answer and a page of it.
fn result(said: &Said, tool: &Tool, call: &Call) -> Value {
    let words = said.words.trim();
    let status = match said.status {
        Some(status @ (0 | 1 | 3)) => status,
        Some(_) => return failed(if words.is_empty() { "the command failed and said nothing" } else { words }),
        None => return failed(&format!("the command was ended by a signal\n{words}")),
    };
    let notes: Vec<&str> = words.lines().map(|line| line.trim_start_matches("heaptap: ")).take(MOST_NOTES).collect();
    let structured = match tool.list {
        None => {
            let text = String::from_utf8_lossy(&said.answer).into_owned();
            // `heaptap dump` of a process that is not there says so and ends with status 1.
            if status != 0 {
                return failed(&format!("{text}\n{words}"));
            }
            json!({"untrusted": UNTRUSTED, "exit_status": status, "answer": {"text": text}, "cut": [],
                "next_cursor": null, "notes": notes})
        }
        Some(list) => {
            let Ok(answer) = serde_json::from_slice(&said.answer) else {
                return failed(if words.is_empty() { "the command gave no answer" } else { words });
            };
            let cut = page::cut(answer, list, Page { from: call.from, count: call.count });
            let next = cut.next.map(|next| next.to_string());
            let told = cut.told();
            json!({"untrusted": UNTRUSTED, "exit_status": status, "answer": cut.answer, "cut": told,
                "next_cursor": next, "notes": notes})
        }
    };
    json!({
        "content": [{"type": "text", "text": inert(&structured)}],
        "structuredContent": structured,
        "isError": false,
    })
}

/// What went wrong, as the protocol wants it of a tool that was called rightly: the agent can read it.
fn failed(why: &str) -> Value {
    json!({"content": [{"type": "text", "text": why.trim()}], "isError": true})
}
