//! `heaptap unit NAME`: a drop-in for a systemd service that has it profiled, and what about that service may be in the
//! way. Printed, or written to where `systemctl edit` would write it; systemd itself is not asked or told anything.
//! `heaptap unit --agent`: the unit of `heaptap push`, as packages have it among their documents.

use super::run::DEFAULT_CONF;
use super::shell::words;
use crate::cli::attach::unit_file::{self, UnitFile};
use crate::cli::attach::{capability, program};
use crate::cli::inert::say;
use crate::cli::open;
use crate::wire::whole_file;
use anyhow::{Context, Result, bail};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The drop-in's file.
const FILE: &str = "heaptap.conf";
/// Where units of the machine's administrator lie.
const FOLDER: &str = "/etc/systemd/system";
/// The agent's unit, its name, where its options stand, and the program that it names.
const AGENT: &str = include_str!("../../../examples/systemd/heaptap-push.service");
const AGENT_NAME: &str = "heaptap-push.service";
const AGENT_OPTIONS: &str = "/etc/default/heaptap-push";
const PACKAGED: &str = "/usr/bin/heaptap";

/// Print a systemd drop-in that has a service profiled, and what may be in its way
///
/// Warnings about the unit go to stderr. With --write the drop-in is put where `systemctl edit` would put it; systemd
/// reads it at `systemctl daemon-reload`, and the service has it from its next start on. Dumps go to the service's
/// directory of logs (systemd 235 or later makes it). With --agent it is the whole unit of `heaptap push`.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The service: elasticsearch, or elasticsearch.service
    #[arg(value_name = "NAME", required_unless_present = "agent")]
    name: Option<String>,

    /// Write it to /etc/systemd/system/NAME.service.d/heaptap.conf, or to heaptap-push.service there
    #[arg(long)]
    write: bool,

    /// The unit heaptap-push.service: the agent that sends the profiles of this machine's services to an engine
    #[arg(long, conflicts_with_all = ["name", "conf", "lib", "dumps"])]
    agent: bool,

    /// MALLOC_CONF for the service; with prof_active:false nothing is sampled, and nothing costs anything, until
    /// `heaptap start PID` [default: prof:true,lg_prof_sample:17,prof_final:true]
    #[arg(long, value_name = "CONF")]
    conf: Option<String>,

    /// The library to preload [default: as for `heaptap run`]
    #[arg(long, value_name = "PATH")]
    lib: Option<PathBuf>,

    /// A folder for the dumps that the service can write to [default: a directory of its logs]
    #[arg(long, value_name = "DIR")]
    dumps: Option<PathBuf>,

    /// Where the units lie: another system's root folder, such as an image's
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.name {
        Some(name) => of_service(name, arguments),
        None => of_agent(arguments),
    }
}

/// The agent's unit, for the program that prints it.
fn of_agent(arguments: &Arguments) -> Result<ExitCode> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    // Another system has it where its package puts it.
    let is_here = arguments.root == Path::new("/");
    let text = agent(if is_here { &own } else { Path::new(PACKAGED) })?;
    if !arguments.write {
        io::stdout().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = below(&arguments.root, Path::new(FOLDER)).join(AGENT_NAME);
    put(&path, &text)?;
    writeln!(io::stdout(), "{}", path.display())?;
    say(&format!(
        "first: echo 'HEAPTAP_PUSH=--url http://pyroscope:4040 --metrics :9465' > {AGENT_OPTIONS}\n  \
         now:   systemctl daemon-reload && systemctl enable --now {AGENT_NAME}\n  \
         look:  journalctl -u {AGENT_NAME}\n  \
         undo:  systemctl disable --now {AGENT_NAME}; rm {} && systemctl daemon-reload",
        words(&[path]).join(" ")
    ));
    Ok(ExitCode::SUCCESS)
}

/// The agent's unit with a program that lies elsewhere than in a package.
fn agent(program: &Path) -> Result<String> {
    let shown = program.to_str().unwrap_or_default();
    if !shown.starts_with('/') || shown.chars().any(|letter| letter.is_whitespace() || "\"'\\%$;".contains(letter)) {
        bail!("{}: a unit cannot name that path as it is (heaptap install /opt/heaptap)", program.display());
    }
    Ok(AGENT.replace(&format!("ExecStart={PACKAGED} "), &format!("ExecStart={shown} ")))
}

/// A service's drop-in.
fn of_service(name: &str, arguments: &Arguments) -> Result<ExitCode> {
    let name = service(name)?;
    let tap = program::find_tap(arguments.lib.as_deref())?;
    let unit = UnitFile::find(&arguments.root, &name, FILE);
    if unit.is_none() {
        let missing = format!("there is no {name} below {}", arguments.root.display());
        match arguments.write {
            true => bail!("{missing}: `systemctl list-units --type=service` lists what there is"),
            false => say(&format!("{missing}: what may be in the way of this drop-in cannot be told")),
        }
    }
    let unit = unit.unwrap_or_default();
    if let Some(program) = unit.program().map(|program| below(&arguments.root, &program)).filter(|path| path.is_file())
    {
        refuse(&tap, &program, &arguments.root)?;
    }
    let dumps = Dumps::of(&unit, &name, arguments.dumps.as_deref());
    warnings(&unit, &tap, &dumps, &arguments.root).iter().for_each(|warning| say(warning));
    let text = drop_in(&name, &unit, &tap, &dumps, arguments.conf.as_deref().unwrap_or(DEFAULT_CONF))?;
    if !arguments.write {
        io::stdout().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = below(&arguments.root, Path::new(FOLDER)).join(format!("{name}.d")).join(FILE);
    put(&path, &text)?;
    writeln!(io::stdout(), "{}", path.display())?;
    say(&format!(
        "now:  systemctl daemon-reload && systemctl restart {name}\n  \
         look: heaptap ps; heaptap status $(systemctl show -p MainPID --value {name})\n  \
         undo: rm {} && systemctl daemon-reload && systemctl restart {name}\n  \
         (`systemctl revert {name}` removes this file, too, and all other local changes to the unit)",
        words(&[path]).join(" ")
    ));
    Ok(ExitCode::SUCCESS)
}

/// The unit's full name.
fn service(name: &str) -> Result<String> {
    let is_known = |letter: char| letter.is_ascii_alphanumeric() || "-_.@:\\".contains(letter);
    let stem = name.strip_suffix(".service").unwrap_or(name);
    if stem.is_empty() || stem.starts_with('.') || !stem.chars().all(is_known) {
        bail!(
            "{name} is no name of a service: letters, digits and -_.@:\\ make one (elasticsearch, postgresql@15-main)"
        );
    }
    let others = [".socket", ".target", ".timer", ".scope", ".slice", ".mount"];
    if others.iter().any(|other| stem.ends_with(other)) {
        bail!("{name} is no service: name the service that runs the program");
    }
    Ok(format!("{stem}.service"))
}

/// What the loader would not preload into this program, or only to its end, must not be written into its unit.
fn refuse(tap: &Path, program: &Path, root: &Path) -> Result<()> {
    // Links and loaders of another root lead into ours.
    if root != Path::new("/") {
        return Ok(());
    }
    program::check(tap, program)?;
    if capability::has_some(program) {
        bail!(
            "{0} has file capabilities (setcap): the loader ignores LD_PRELOAD in it. Take them away (setcap -r {0}) and \
             give the unit AmbientCapabilities= in their place",
            program.display()
        );
    }
    Ok(())
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Where the service's dumps go, and what its unit must say for that.
struct Dumps {
    folder: PathBuf,
    setting: Option<String>,
}

impl Dumps {
    fn of(unit: &UnitFile, name: &str, given: Option<&Path>) -> Dumps {
        let (stem, logs) = (name.trim_end_matches(".service"), Path::new("/var/log"));
        match (given.map(whole_file::absolute), unit.values("LogsDirectory").first()) {
            (Some(folder), _) => {
                // `-`: a folder that is not there yet keeps no service from starting.
                let setting = is_strict(unit).then(|| format!("ReadWritePaths=-{}", folder.display()));
                Dumps { folder, setting }
            }
            // Another one would change $LOGS_DIRECTORY, which the service may read.
            (None, Some(logs_of_its)) => {
                let first = logs_of_its.split_whitespace().next().unwrap_or(logs_of_its);
                let first = first.split(':').next().unwrap_or(first);
                Dumps { folder: logs.join(first), setting: None }
            }
            (None, None) => Dumps {
                folder: logs.join("heaptap").join(stem),
                setting: Some(format!("LogsDirectory=heaptap/{stem}\nLogsDirectoryMode=0750")),
            },
        }
    }
}

/// Whether the whole file system is read-only for the service.
fn is_strict(unit: &UnitFile) -> bool {
    unit.value("ProtectSystem") == Some("strict")
}

/// The drop-in's text.
fn drop_in(name: &str, unit: &UnitFile, tap: &Path, dumps: &Dumps, conf: &str) -> Result<String> {
    let ours = preload(tap);
    let preload = match unit.variable("LD_PRELOAD") {
        Some(others) if !others.contains("libheaptap") => format!("{ours}:{others}"),
        _ => ours,
    };
    let conf = match unit.variable("MALLOC_CONF") {
        Some(present) if !present.contains("prof:true") => format!("{present},{conf}"),
        _ => conf.to_owned(),
    };
    let prefix = match conf.contains("prof_prefix:") {
        true => String::new(),
        false => format!(",prof_prefix:{}/jeprof", dumps.folder.display()),
    };
    let mut text = format!(
        "# Has {name} profiled by heaptap, from its next start on. Made by `heaptap unit {}`; to undo it, remove this\n\
         # file (or: systemctl revert {name}), then: systemctl daemon-reload && systemctl restart {name}\n[Service]\n",
        name.trim_end_matches(".service")
    );
    text += &format!("Environment={}\n", assignment("LD_PRELOAD", &preload)?);
    text += &format!("Environment={}\n", assignment("MALLOC_CONF", &format!("{conf}{prefix}"))?);
    if let Some(setting) = &dumps.setting {
        text += &format!("{}\n", setting.replace('%', "%%"));
    }
    Ok(text)
}

/// The library as the loader is told it: where packages put it, one string fits deb and rpm, 32 and 64 bits.
fn preload(tap: &Path) -> String {
    let shown = tap.display().to_string();
    let package = shown.strip_prefix("/usr/").and_then(|rest| rest.strip_suffix("/heaptap/libheaptap.so"));
    let triplet = format!("lib/{}-linux-gnu", std::env::consts::ARCH);
    match package.is_some_and(|lib| lib == "lib64" || lib == triplet) {
        true => "/usr/$LIB/heaptap/libheaptap.so".to_owned(),
        false => shown,
    }
}

/// `NAME=value` for `Environment=`, where `%` begins a specifier and quotes and backslashes have a meaning.
fn assignment(name: &str, value: &str) -> Result<String> {
    if value.chars().any(|letter| letter.is_control() || "\"'\\".contains(letter)) {
        bail!("{name}: {value:?} has quotes, backslashes or control characters, which a unit cannot hold as they are");
    }
    let value = value.replace('%', "%%");
    Ok(if value.contains(char::is_whitespace) { format!("\"{name}={value}\"") } else { format!("{name}={value}") })
}

/// What about this unit may be in the way, or surprise its administrator.
fn warnings(unit: &UnitFile, tap: &Path, dumps: &Dumps, root: &Path) -> Vec<String> {
    let mut found = overridden(unit, root);
    let mut when = |is_so: bool, warning: String| found.extend(is_so.then_some(warning));
    let folder = dumps.folder.display();
    when(
        unit.is_on("PrivateTmp"),
        format!("PrivateTmp=: its /tmp is its own, and goes with it; its dumps go to {folder} and are seen outside"),
    );
    let protects = unit.value("ProtectSystem").filter(|value| !["no", "false", "0", "off"].contains(value));
    when(
        protects.is_some(),
        format!(
            "ProtectSystem={}: it can write to few places; {folder} is one of them by {}",
            protects.unwrap_or_default(),
            dumps.setting.as_deref().map_or("its LogsDirectory=", |setting| setting.lines().next().unwrap_or(setting))
        ),
    );
    when(
        unit.is_on("MemoryDenyWriteExecute"),
        "MemoryDenyWriteExecute=: prof_allocator:keep cannot change its few bytes of code and leaves jemalloc in place; the \
         rest works. (A Java VM does not start under it, heaptap or not.)"
            .into(),
    );
    when(
        unit.is_on("DynamicUser") || unit.is_on("RemoveIPC"),
        format!(
            "RemoveIPC= or DynamicUser=: systemd empties /dev/shm of its user when it stops; after a kill the mirror in \
             {folder} remains, at most some seconds older"
        ),
    );
    let home = unit.value("ProtectHome").is_some_and(|value| !["no", "false", "0", "off"].contains(&value));
    when(
        home && ["/home", "/root", "/run/user"].iter().any(|hidden| tap.starts_with(hidden)),
        format!(
            "ProtectHome=: it cannot see {}: copy the library elsewhere (heaptap install /opt/heaptap)",
            tap.display()
        ),
    );
    let roots = ["RootDirectory", "RootImage", "MountImages"].into_iter().find(|key| unit.value(key).is_some());
    when(
        roots.is_some(),
        format!(
            "{}=: {} must lie inside (heaptap install DIR puts it there)",
            roots.unwrap_or_default(),
            tap.display()
        ),
    );
    when(
        unit.value("SystemCallFilter").is_some(),
        "SystemCallFilter=: it may keep the tap from its files; `heaptap status PID` tells after the start".into(),
    );
    when(
        hidden_shm(unit),
        "its /dev/shm is hidden or read-only: the profile stays in its own memory, and a kill takes it along".into(),
    );
    let unreadable = unreadable(tap);
    when(
        unreadable.is_some() && unit.value("User").is_none_or(|user| user != "root"),
        format!("{}: its user may not read that (chmod a+rX)", unreadable.unwrap_or(tap).display()),
    );
    let is_enforcing = open::kernel(Path::new("/sys/fs/selinux/enforce")).is_ok_and(|text| text.trim() == "1");
    when(
        is_enforcing && root == Path::new("/"),
        "SELinux is enforcing: where the service changes its domain the loader ignores LD_PRELOAD; `heaptap status PID` \
         tells after the start"
            .into(),
    );
    found
}

/// Whether the folder of the live profile is out of the service's reach.
fn hidden_shm(unit: &UnitFile) -> bool {
    let keys = ["InaccessiblePaths", "ReadOnlyPaths"];
    let mut paths = keys.iter().flat_map(|key| unit.values(key)).flat_map(str::split_whitespace);
    paths.any(|path| ["/dev/shm", "/dev"].contains(&path.trim_start_matches(['-', '+'])))
}

/// What files of variables set wins over the drop-in.
fn overridden(unit: &UnitFile, root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in unit.environment_files() {
        for name in ["LD_PRELOAD", "MALLOC_CONF"] {
            if unit_file::sets(&below(root, &file), name) {
                found.push(format!(
                    "{} sets {name}, and wins over this drop-in: add what it says here to that line",
                    file.display()
                ));
            }
        }
    }
    found
}

/// The first part of a path that not everybody may read or enter.
fn unreadable(path: &Path) -> Option<&Path> {
    let may =
        |part: &&Path| part.metadata().is_ok_and(|meta| meta.mode() & if meta.is_dir() { 0o001 } else { 0o004 } != 0);
    path.ancestors().filter(|part| !part.as_os_str().is_empty()).find(|part| !may(part))
}

/// Puts a drop-in or a unit in its place, whole.
fn put(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let cannot = || format!("cannot write {} as user {} (sudo heaptap …)", path.display(), open::reader());
    DirBuilder::new().recursive(true).mode(0o755).create(folder).with_context(cannot)?;
    let mut write = |file: &mut File| {
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(0o644))
    };
    whole_file::replace(path, &mut write).with_context(cannot)?;
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o755));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_services_are_told_from_others() {
        assert_eq!(service("elasticsearch").unwrap(), "elasticsearch.service");
        assert_eq!(service("postgresql@15-main.service").unwrap(), "postgresql@15-main.service");
        for wrong in ["", "a/b", "../x", "a b", "x.socket", ".service"] {
            assert!(service(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn packages_are_named_for_every_loader() {
        let triplet = format!("/usr/lib/{}-linux-gnu/heaptap/libheaptap.so", std::env::consts::ARCH);
        for path in [triplet.as_str(), "/usr/lib64/heaptap/libheaptap.so"] {
            assert_eq!(preload(Path::new(path)), "/usr/$LIB/heaptap/libheaptap.so");
        }
        assert_eq!(preload(Path::new("/opt/heaptap/libheaptap.so")), "/opt/heaptap/libheaptap.so");
    }

    #[test]
    fn the_agents_unit_is_the_packaged_one_but_for_its_program() {
        assert_eq!(agent(Path::new(PACKAGED)).unwrap(), AGENT);
        let moved = agent(Path::new("/opt/heaptap/heaptap")).unwrap();
        let differ = moved.lines().zip(AGENT.lines()).filter(|(ours, packaged)| ours != packaged);
        let program =
            ("ExecStart=/opt/heaptap/heaptap push $HEAPTAP_PUSH", "ExecStart=/usr/bin/heaptap push $HEAPTAP_PUSH");
        assert_eq!(differ.collect::<Vec<_>>(), [program]);
        assert!(AGENT.contains(&format!("EnvironmentFile={AGENT_OPTIONS}\n")));
        assert!(agent(Path::new("/a b/heaptap")).is_err() && agent(Path::new("heaptap")).is_err());
    }

    #[test]
    fn what_a_unit_would_read_otherwise_is_refused_or_doubled() {
        assert_eq!(assignment("A", "x%p").unwrap(), "A=x%%p");
        assert_eq!(assignment("A", "x y").unwrap(), "\"A=x y\"");
        assert!(assignment("A", "x\ny").is_err() && assignment("A", "\"").is_err());
    }
}
