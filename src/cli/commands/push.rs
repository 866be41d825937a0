//! `heaptap push`: the agent that sends the profiles of a pod or a node to an engine.

use crate::cli::push::{Agent, Settings, usual_state};
use crate::cli::render::units;
use crate::cli::send::client::Target;
use crate::cli::send::credentials::{self, Credentials};
use crate::cli::send::engine::Engine;
use crate::cli::send::labels::{self, Label};
use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Send the profiles of this pod or node to Pyroscope, Parca or a Collector, and serve metrics
///
/// Finds tapped processes by itself (in /proc and /dev/shm; root those of all users), reads each from outside without a
/// signal, and sends what is live, at each interval and at its end, also after a kill. New dumps in DIRS are sent once
/// each, also those that were written meanwhile. What the server does not take waits on the disk. Runs until SIGTERM.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Folders of dumps and mirrors, each with the folders in it
    #[arg(value_name = "DIRS")]
    folders: Vec<PathBuf>,

    /// What kind of server it is
    #[arg(long, value_enum, value_name = "ENGINE", default_value = "pyroscope")]
    to: Engine,

    /// Its address: http://pyroscope:4040, or https
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// How often each process is read: 60s, 5min (15 s at least)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = interval)]
    every: Duration,

    /// One look at everything, send it, and end; status 2 if something was not taken
    #[arg(long)]
    once: bool,

    /// Serve metrics to Prometheus here; :9465 is the loopback's
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    metrics: Option<SocketAddr>,

    /// Growing places named in the metrics, for each process
    #[arg(long, value_name = "N", default_value_t = 5)]
    places: usize,

    /// A label of each profile: NAME=TEXT, where {VARIABLE} is a variable of the process, else of this command;
    /// {A|B} the first that is set; {program}, {unit}, {host} [default: service_name, namespace, pod, cluster, node by
    /// OTEL_SERVICE_NAME, POD_NAMESPACE, POD_NAME, CLUSTER_NAME, NODE_NAME]
    #[arg(long, value_name = "NAME=TEXT", value_parser = labels::parse)]
    label: Vec<Label>,

    /// Where unsent profiles, and the list of what was sent, are kept [default: $STATE_DIRECTORY, else
    /// ~/.local/state/heaptap]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Unsent profiles kept at most; the oldest go first
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = units::parse_size)]
    spool: u64,

    /// Profiles that are older are not sent: Pyroscope refuses them after an hour
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    max_age: Duration,

    /// Only the dumps in DIRS; processes are not looked for
    #[arg(long, requires = "folders", conflicts_with_all = ["all", "metrics"])]
    dumps_only: bool,

    /// Also processes that are not worth a dump: helpers of start scripts
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    access: Access,
}

/// What opens the server.
#[derive(clap::Args, Debug)]
struct Access {
    /// The tenant (X-Scope-OrgID)
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,

    /// A header that is no secret
    #[arg(long, value_name = "NAME: VALUE", value_parser = credentials::parse)]
    header: Vec<(String, String)>,

    /// A file of headers, one a line; read anew for each request, as all files of secrets are
    #[arg(long, value_name = "FILE")]
    headers_file: Option<PathBuf>,

    /// A file that holds a bearer token
    #[arg(long, value_name = "FILE", conflicts_with = "basic_file")]
    bearer_file: Option<PathBuf>,

    /// A file that holds USER:PASSWORD
    #[arg(long, value_name = "FILE")]
    basic_file: Option<PathBuf>,

    /// Authorities that an https server is believed by, PEM [default: $SSL_CERT_FILE, else the system's]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Our certificate, PEM
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,

    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let settings = settings(arguments)?;
    let ends = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // A second one ends it at once.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&ends)).context("cannot catch signals")?;
        signal_hook::flag::register(signal, Arc::clone(&ends)).context("cannot catch signals")?;
    }
    let is_all_sent = Agent::new(settings)?.run(&ends)?;
    Ok(if is_all_sent || !arguments.once { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn settings(arguments: &Arguments) -> Result<Settings> {
    if arguments.url.is_none() && arguments.metrics.is_none() {
        bail!("nothing to do: name a server (--url http://pyroscope:4040), or serve metrics (--metrics :9465)");
    }
    if let Some(missing) = arguments.folders.iter().find(|folder| !folder.is_dir()) {
        bail!("{} is no folder", missing.display());
    }
    let state = arguments.state.clone().or_else(usual_state);
    let access = &arguments.access;
    Ok(Settings {
        target: arguments.url.clone().map(|url| Target {
            engine: arguments.to,
            url,
            credentials: access.credentials(),
            authorities: access.ca.clone(),
            identity: access.client_cert.clone().zip(access.client_key.clone()),
        }),
        folders: arguments.folders.clone(),
        every: arguments.every,
        state: state.context("there is no home for what is to be sent: name a folder with --state")?,
        spool_bytes: arguments.spool,
        most_age: arguments.max_age,
        labels: labels::complete(&arguments.label).map_err(anyhow::Error::msg)?,
        dumps_only: arguments.dumps_only,
        all: arguments.all,
        once: arguments.once,
        metrics: arguments.metrics,
        places: arguments.places,
    })
}

impl Access {
    fn credentials(&self) -> Credentials {
        Credentials {
            headers: self.header.clone(),
            headers_file: self.headers_file.clone(),
            bearer: self.bearer_file.clone(),
            basic: self.basic_file.clone(),
            tenant: self.tenant.clone(),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let seconds = units::parse_duration(text).map_err(|_| format!("`{text}` is no duration (60s, 5min, 1h)"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{text}` is no duration (60s, 5min, 1h)"))
}

/// Engines add up what lies in one step of a picture: below 15 s that would be several profiles.
fn interval(text: &str) -> Result<Duration, String> {
    let every = duration(text)?;
    let (least, most) = (Duration::from_secs(15), Duration::from_secs(86_400));
    if (least..=most).contains(&every) { Ok(every) } else { Err(format!("`{text}` is not between 15s and 24h")) }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("`{text}` is no ADDR:PORT (127.0.0.1:9465, [::1]:9465, :9465 for the loopback)");
    let port = text.strip_prefix(':').unwrap_or(text);
    match port.parse() {
        Ok(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        Err(_) => text.parse().map_err(|_| wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_stay_on_the_loopback_unless_told() {
        for (text, expected) in [
            (":9465", "127.0.0.1:9465"),
            ("9465", "127.0.0.1:9465"),
            ("0.0.0.0:1", "0.0.0.0:1"),
            ("[::1]:2", "[::1]:2"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected);
        }
        assert!(["", ":", "host:1", ":70000"].iter().all(|text| address(text).is_err()));
    }

    #[test]
    fn profiles_are_no_denser_than_the_steps_of_a_picture() {
        assert_eq!(interval("60s"), Ok(Duration::from_secs(60)));
        assert!(["1s", "2d", "often", ""].iter().all(|text| interval(text).is_err()));
    }
}
