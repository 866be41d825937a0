//! What each engine wants to be told: its path, and how a profile is wrapped.
//!
//! The rules stand in examples/fleet/README.md: profiles of what is in use only, a time, few labels, and for Pyroscope
//! the word that this is Java's (`javaspy`): a method called `go` would make it Go's, and its stacks would be
//! rewritten.

use super::otlp;
use super::payload::{Head, Payload};
use crate::cli::render::base64::base64;
use serde_json::{Value, json};
use std::fmt;

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// Pyroscope, and Grafana Alloy's receiver: POST /ingest
    Pyroscope,
    /// Pyroscope's push API: POST /push.v1.PusherService/Push
    PyroscopePush,
    /// Parca: POST /api/profiles/writeraw
    Parca,
    /// An OpenTelemetry Collector's pprof receiver (alpha): POST /v1/pprof
    Pprof,
    /// OTLP profiles over HTTP (alpha, as the Collector's own support): POST /v1development/profiles
    Otlp,
}

/// A request that is ready to go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Its path.
    pub(crate) path: &'static str,
    /// What follows a question mark.
    pub(crate) query: String,
    /// What the body is.
    pub(crate) content_type: &'static str,
    /// What is sent.
    pub(crate) body: Vec<u8>,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Pyroscope | Engine::PyroscopePush => "a Pyroscope",
            Engine::Parca => "a Parca",
            Engine::Pprof | Engine::Otlp => "a Collector",
        })
    }
}

impl Engine {
    /// The request that carries a payload.
    pub(crate) fn request(self, payload: &Payload) -> Result<Request, String> {
        let head = &payload.head;
        Ok(match self {
            Engine::Pyroscope => Request {
                path: "/ingest",
                query: format!("name={}&format=pprof&spyName=javaspy", escaped(&application(head))),
                content_type: "application/octet-stream",
                body: payload.pprof.clone(),
            },
            Engine::PyroscopePush => {
                let labels = labels(head, &[("__name__", "memory"), ("pyroscope_spy", "javaspy")]);
                let series = json!([{"labels": labels, "samples": [{"rawProfile": base64(&payload.pprof)}]}]);
                json_request("/push.v1.PusherService/Push", &json!({ "series": series }))
            }
            Engine::Parca => {
                let labels = labels(head, &[("__name__", "memory")]);
                let samples = json!([{"raw_profile": base64(&payload.pprof)}]);
                json_request(
                    "/api/profiles/writeraw",
                    &json!({"series": [{"labels": {"labels": labels}, "samples": samples}]}),
                )
            }
            Engine::Pprof => Request {
                path: "/v1/pprof",
                query: String::new(),
                content_type: "application/octet-stream",
                body: payload.pprof.clone(),
            },
            Engine::Otlp => Request {
                path: "/v1development/profiles",
                query: String::new(),
                content_type: "application/x-protobuf",
                body: otlp::request(head, &payload.pprof).ok_or("it is no profile of ours")?,
            },
        })
    }

    /// What a server that knows no such path may lack.
    pub(crate) fn question(self) -> String {
        match self {
            Engine::Otlp => {
                "has that Collector a pipeline of profiles, and the gate service.profilesSupport on?".to_owned()
            }
            _ => format!("is that the address of {self}?"),
        }
    }

    /// The words in an answer.
    pub(crate) fn words(self, answer: &[u8]) -> String {
        let words = if self == Engine::Otlp { otlp::words(answer) } else { None };
        words.unwrap_or_else(|| String::from_utf8_lossy(answer).into_owned())
    }

    /// What a server that answers "taken" found wrong all the same.
    pub(crate) fn complaint(self, answer: &[u8]) -> Option<String> {
        if self == Engine::Otlp { otlp::rejected(answer) } else { None }
    }
}

fn json_request(path: &'static str, body: &Value) -> Request {
    let body = body.to_string().into_bytes();
    Request { path, query: String::new(), content_type: "application/json", body }
}

/// A profile's labels behind those that an engine wants, as the push APIs write them.
fn labels(head: &Head, first: &[(&str, &str)]) -> Value {
    let own = head.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    first.iter().copied().chain(own).map(|(name, value)| json!({"name": name, "value": value})).collect()
}

/// `service{name=value,…}`, Pyroscope's key. It has no way to quote, so what separates is taken out of values.
fn application(head: &Head) -> String {
    let plain = |text: &str| text.replace(|c: char| "{}=,\"".contains(c), "_");
    let labels: Vec<String> = head.others().map(|(name, value)| format!("{name}={}", plain(value))).collect();
    match labels.is_empty() {
        true => plain(head.service()),
        false => format!("{}{{{}}}", plain(head.service()), labels.join(",")),
    }
}

/// A value in a query.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload() -> Payload {
        let labels = [("service_name", "java Elastic"), ("namespace", "a=b,{c}"), ("pod", "es-0")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Payload { head: Head::new(5, labels, String::new()), pprof: vec![0x1f, 0x8b, 1] }
    }

    #[test]
    fn pyroscope_gets_the_labels_in_the_name() {
        let request = Engine::Pyroscope.request(&payload()).unwrap();
        let name = "java%20Elastic%7Bnamespace%3Da_b__c_%2Cpod%3Des-0%7D";
        assert_eq!(request.query, format!("name={name}&format=pprof&spyName=javaspy"));
        assert_eq!((request.path, request.body), ("/ingest", vec![0x1f, 0x8b, 1]));
    }

    #[test]
    fn the_push_apis_get_json() {
        let text = |engine: Engine| String::from_utf8(engine.request(&payload()).unwrap().body).unwrap();
        let pyroscope = text(Engine::PyroscopePush);
        assert!(pyroscope.contains(r#"{"name":"pyroscope_spy","value":"javaspy"}"#), "{pyroscope}");
        assert!(pyroscope.contains(r#""rawProfile":"H4sB""#) && pyroscope.contains(r#""value":"a=b,{c}""#));
        let parca = text(Engine::Parca);
        assert!(
            parca.starts_with(r#"{"series":[{"labels":{"labels":[{"name":"__name__","value":"memory"}"#),
            "{parca}"
        );
        assert!(parca.contains(r#""raw_profile":"H4sB""#) && !parca.contains("spy"));
    }
}
