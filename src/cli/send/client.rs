//! One HTTP request, and what became of it: taken, refused, not taken, or nobody knows.
//!
//! The same profile counted twice is a wrong answer in an engine, so a request is repeated only where the server said
//! that it did not take it (429, 5xx), or cannot have the whole of it: the body is counted as it goes out, and it goes
//! out only when the server asked for it (`Expect: 100-continue`) or has let a second pass. What was sent whole and
//! not answered is *unclear*. Connections are not kept: on one that the server has closed meanwhile a request would be
//! lost without a word.

use super::authority;
use super::credentials::Credentials;
use super::engine::{Engine, Request};
use super::payload::Payload;
use anyhow::{Context, Result, bail};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::{Response, Uri};
use ureq::tls::{ClientCert, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body, SendBody};

/// What a server may take to let a connection be made.
const CONNECT: Duration = Duration::from_secs(10);
/// What it may take for all of one request.
const WHOLE: Duration = Duration::from_secs(60);
/// How long the body waits for the server to ask for it.
const ASKED: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read.
const MOST_ANSWER: u64 = 64 << 10;
/// Letters of an answer that are told.
const SHOWN: usize = 200;
/// The longest pause that a server may ask for.
const MOST_PAUSE: u64 = 600;

/// What became of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server has it.
    Taken,
    /// The server will never take this one.
    Refused(String),
    /// The server does not have it, and may take it later.
    Later {
        /// In words.
        why: String,
        /// When, if the server says so.
        after: Option<Duration>,
    },
    /// It was sent whole, and there was no answer: the server may have it.
    Unclear(String),
}

/// Where profiles go, and how.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// What kind of server it is.
    pub(crate) engine: Engine,
    /// Its address.
    pub(crate) url: String,
    /// What opens it.
    pub(crate) credentials: Credentials,
    /// Whose word is taken for who it is, in PEM; the system's authorities otherwise.
    pub(crate) authorities: Option<PathBuf>,
    /// What we say who we are: certificate and key, in PEM.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// Sends payloads to one server.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    target: Target,
    url: Uri,
}

/// A body that knows how much of it went out.
struct Counted<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Read for Counted<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.get(self.at..).unwrap_or(&[]).read(room)?;
        self.at += read;
        Ok(read)
    }
}

impl Client {
    /// Looks at the address and the certificates; nothing is sent.
    pub(crate) fn new(target: Target) -> Result<Client> {
        let url: Uri = target.url.parse().with_context(|| format!("--url {}", target.url))?;
        let scheme = url.scheme_str().unwrap_or_default().to_owned();
        if !["http", "https"].contains(&scheme.as_str()) || url.host().is_none_or(str::is_empty) {
            bail!("--url {}: it must be http://HOST[:PORT][/PATH] or https://…", target.url);
        }
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            bail!(
                "--url holds a password, which `ps` shows to everybody: put USER:PASSWORD into a file for --basic-file"
            );
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .user_agent(concat!("heaptap/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_await_100(Some(ASKED))
            .timeout_global(Some(WHOLE));
        if scheme == "https" {
            config = config.tls_config(tls(&target)?);
        }
        Ok(Client { agent: config.build().new_agent(), target, url })
    }

    /// Whether credentials go out unprotected to another machine.
    pub(crate) fn is_bare(&self) -> bool {
        let host = self.url.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        self.url.scheme_str() == Some("http") && !is_here && self.target.credentials.has_secret()
    }

    /// Sends one payload.
    pub(crate) fn send(&self, payload: &Payload) -> Outcome {
        let request = match self.target.engine.request(payload) {
            Ok(request) => request,
            Err(why) => return Outcome::Refused(why),
        };
        let headers = match self.target.credentials.headers() {
            Ok(headers) => headers,
            Err(why) => return Outcome::Later { why: format!("{why:#}"), after: None },
        };
        let mut post = self.agent.post(self.address(&request));
        for (name, value) in &headers {
            post = post.header(name, value);
        }
        let post = post
            .header("content-type", request.content_type)
            .header("content-length", request.body.len().to_string())
            .header("expect", "100-continue")
            .header("connection", "close");
        let mut body = Counted { bytes: &request.body, at: 0 };
        match post.send(SendBody::from_reader(&mut body)) {
            Ok(answer) => self.judge(answer),
            Err(ureq::Error::Http(error)) => {
                Outcome::Later { why: format!("a header that cannot be sent: {error}"), after: None }
            }
            Err(error) if body.at < request.body.len() => {
                Outcome::Later { why: format!("{}: {error}", self.target.url), after: None }
            }
            Err(error) => Outcome::Unclear(format!("{}: sent, and not answered: {error}", self.target.url)),
        }
    }

    /// The address of a request: below `--url`, unless that leads there already.
    fn address(&self, request: &Request) -> String {
        let given = self.target.url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        let path = if given.ends_with(request.path) { "" } else { request.path };
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
        format!("{given}{path}{query}")
    }

    fn judge(&self, mut answer: Response<Body>) -> Outcome {
        let (status, is_page) = (answer.status().as_u16(), is_page(&answer));
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (after, place) = (header("retry-after"), header("location").unwrap_or_default());
        let body = answer.body_mut().with_config().limit(MOST_ANSWER).read_to_vec().unwrap_or_default();
        let text: String = self.target.engine.words(&body).trim().chars().take(SHOWN).collect();
        let url = &self.target.url;
        let later = |why: String| Outcome::Later { why, after: pause(after.as_deref()) };
        match status {
            200..=299 if is_page => {
                later(format!("{url} answers with a web page: is that the address of {}?", self.target.engine))
            }
            200..=299 => match self.target.engine.complaint(&body) {
                Some(why) => Outcome::Refused(why),
                None => Outcome::Taken,
            },
            300..=399 => later(format!("{url} has moved to {place}: write that as --url")),
            // The proxy waited for the server, which may have it.
            504 => Outcome::Unclear(format!("{url}: {status} {text}")),
            // Of this payload there is nothing good to be expected; of the others there is.
            400 | 406 | 409..=415 | 422 => Outcome::Refused(format!("{url}: {status} {text}")),
            404 => later(format!("{url}: {status} {text}: {}", self.target.engine.question())),
            _ => later(format!("{url}: {status} {text}")),
        }
    }
}

fn is_page(answer: &Response<Body>) -> bool {
    answer.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// `Retry-After` in seconds; a date is not read.
fn pause(header: Option<&str>) -> Option<Duration> {
    let seconds: u64 = header?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(MOST_PAUSE)))
}

fn tls(target: &Target) -> Result<TlsConfig> {
    let authorities = authority::certificates(target.authorities.as_deref())?;
    let identity = match &target.identity {
        Some((certificate, key)) => {
            let (chain, key) = (authority::read(certificate)?, authority::key(key)?);
            Some(ClientCert::new_with_certs(&chain, key))
        }
        None => None,
    };
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&authorities))
        .client_cert(identity)
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        let credentials = Credentials::default();
        Target { engine: Engine::Pyroscope, url: url.to_owned(), credentials, authorities: None, identity: None }
    }

    #[test]
    fn addresses_are_looked_at_before_anything_is_sent() {
        for wrong in ["", "host:4040", "ftp://host", "http://", "http:///x", "http://a b"] {
            assert!(Client::new(target(wrong)).is_err(), "{wrong:?}");
        }
        let error = Client::new(target("https://user:secret@host")).unwrap_err().to_string();
        assert!(error.contains("--basic-file"), "{error}");
    }

    #[test]
    fn an_address_may_lead_to_the_path_already() {
        let request = Request { path: "/ingest", query: "a=b".into(), content_type: "", body: Vec::new() };
        let address = |url: &str| Client::new(target(url)).unwrap().address(&request);
        assert_eq!(address("http://host:1/"), "http://host:1/ingest?a=b");
        assert_eq!(address("http://host/prefix"), "http://host/prefix/ingest?a=b");
        assert_eq!(address("http://host/ingest?x"), "http://host/ingest?a=b");
    }

    #[test]
    fn a_pause_is_bounded() {
        assert_eq!(pause(Some(" 7 ")), Some(Duration::from_secs(7)));
        assert_eq!(pause(Some("99999999")), Some(Duration::from_secs(MOST_PAUSE)));
        assert_eq!((pause(Some("Wed, 21 Oct 2026 07:28:00 GMT")), pause(None)), (None, None));
    }

    #[test]
    fn secrets_do_not_go_out_bare_without_a_word() {
        let secret = Credentials { bearer: Some("file".into()), ..Credentials::default() };
        let bare = |url: &str| Client::new(Target { credentials: secret.clone(), ..target(url) }).unwrap().is_bare();
        assert!(
            bare("http://engine")
                && !bare("http://127.0.0.1:4040")
                && !bare("http://[::1]:1")
                && !bare("http://localhost")
        );
    }
}
