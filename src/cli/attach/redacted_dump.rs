//! A dump's text without what tells of a machine or a user. Only lines of known shapes pass: numbers as they are, texts
//! through [`Redaction`]. So what a later tap adds is left out until it is looked at here.

use super::redaction::Redaction;
use crate::wire::maps_line::MapsLine;
use std::io::{self, BufRead};

/// Metadata whose values are words and numbers of the tap's own.
const OWN_WORDS: [&str; 9] =
    ["event", "failure", "heaptap_version", "java_vm", "mapped", "reason", "since", "time", "token"];

/// The dump's text.
pub(crate) fn text(input: &mut dyn BufRead, redaction: &mut Redaction) -> io::Result<Vec<u8>> {
    let (mut out, mut line) = (Vec::new(), Vec::new());
    let mut state = State { redaction, program: String::new(), is_behind_stacks: false };
    while input.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        if let Some(text) = state.line(text.trim_end_matches(['\n', '\r'])) {
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
        }
        line.clear();
    }
    Ok(out)
}

struct State<'a> {
    redaction: &'a mut Redaction,
    /// Last part of the executable's path.
    program: String,
    /// Maps and metadata come.
    is_behind_stacks: bool,
}

impl State<'_> {
    /// What a line becomes; `None`: it is left out.
    fn line(&mut self, line: &str) -> Option<String> {
        let text = line.trim();
        if self.is_behind_stacks {
            return match text.strip_prefix('#') {
                Some(text) => self.metadata(text.trim()),
                None if text.is_empty() => Some(String::new()),
                None => self.mapping(text),
            };
        }
        if text.starts_with("MAPPED_LIBRARIES:") || text.starts_with("--- Memory map:") {
            self.is_behind_stacks = true;
            return Some("MAPPED_LIBRARIES:".into());
        }
        if let Some((counts, name)) = text.split_once(']').filter(|_| text.starts_with('t')) {
            let name = name.trim();
            let name = if name.is_empty() { String::new() } else { format!(" {}", self.redaction.thread(name)) };
            return is_numbers(counts).then(|| format!("  {counts}]{name}"));
        }
        let rest = text.strip_prefix("heap profile:").or_else(|| text.strip_prefix("heap_v2/")).unwrap_or(text);
        (is_numbers(rest.trim_end_matches("heapprofile").replace("heap_v2/", "").as_str())).then(|| line.to_owned())
    }

    /// Only code: other mappings are data files, in dumps of a stock jemalloc.
    fn mapping(&mut self, text: &str) -> Option<String> {
        let line = MapsLine::read(text.as_bytes()).filter(MapsLine::is_code)?;
        let MapsLine { start, end, permissions, offset, path, is_deleted } = line;
        let (permissions, path) = (String::from_utf8_lossy(permissions), String::from_utf8_lossy(path));
        let (path, deleted) = (self.redaction.path(&path), if is_deleted { " (deleted)" } else { "" });
        Some(format!("{start:x}-{end:x} {permissions} {offset:08x} 00:00 0                          {path}{deleted}"))
    }

    fn metadata(&mut self, text: &str) -> Option<String> {
        if text.strip_prefix("heaptap ").is_some_and(is_numbers) {
            return Some(format!("# {text}"));
        }
        let (key, value) = text.split_once(':')?;
        let value = value.trim();
        let value = match key {
            "exe" => {
                let path = self.redaction.path(value);
                path.rsplit('/').next().unwrap_or_default().clone_into(&mut self.program);
                path
            }
            "title" if self.program.is_empty() => return None,
            "title" => Redaction::title(value, &self.program),
            "allocator" => value.rsplit('/').next()?.to_owned(),
            "build_id" => {
                let (id, path) = value.split_once(' ').filter(|(id, _)| is_numbers(id))?;
                format!("{id} {}", self.redaction.path(path.trim()))
            }
            "java" => self.java(value)?,
            _ if OWN_WORDS.contains(&key) => self.redaction.name(value),
            _ if is_numbers(value) => value.to_owned(),
            _ => return None,
        };
        Some(format!("# {key}: {value}"))
    }

    /// `0x7f01 java/util/zip/Inflater <init> 120`, `0x7f02 - [/data/indices/*.cfs] 0`.
    fn java(&mut self, value: &str) -> Option<String> {
        let (pc, name) = value.split_once(' ').filter(|(pc, _)| is_numbers(pc))?;
        let (name, line) = name.rsplit_once(' ').filter(|(_, line)| is_numbers(line))?;
        let name = match name.strip_prefix("- ") {
            Some(mark) => format!("- {}", self.redaction.name(mark)),
            None => self.redaction.name(name),
        };
        Some(format!("{pc} {name} {line}"))
    }
}

/// Decimal and hexadecimal numbers, and what stands between them in a dump.
fn is_numbers(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit() || b" \tx:@[]*/-|?t".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::heap_v2;

    const DUMP: &str = "heap_v2/131072\n  t*: 2: 200 [0: 0]\n  t0: 2: 200 [0: 0] worker-SECRET\n@ 0x1010 0x2010\n  \
        t*: 2: 200 [0: 0]\n  t0: 2: 200 [0: 0]\nSECRET\n\nMAPPED_LIBRARIES:\n1000-2000 r-xp 00000000 fe:00 7  \
        /SECRET/x.so\n2000-3000 r-xp 00000000 fe:00 8  /SECRET/server (deleted)\n4000-5000 r--p 00000000 fe:00 9  \
        /usr/SECRET.db\nSECRET\n\n# heaptap 1\n# pid: 7\n# token: 9f\n# exe: /SECRET/server\n# title: server --SECRET\n\
        # run: /tmp/SECRET\n# prefix: /SECRET\n# colour: SECRET\n# build_id: ab12 /SECRET/x.so\n\
        # java: 0x7f01 java/util/Map get 12\n# java: 0x7f02 - [/SECRET/SECRET.db] 0\n# SECRET\n# rss_bytes: 9\n\
        # stack_end_no-rule: 5\n# ages: 1\n# age: 0 3/2/200 | 4/1\n# exact: 0 131072 200 131072 200 0/131072/200\n\
        # moment: 1764367386123456789 1 2 3 4 - - - - 0 - -\n# event: 1764367386123456789 governor 3\n";

    #[test]
    fn nothing_that_tells_of_the_user_is_left_and_every_number_is() {
        let text = text(&mut DUMP.as_bytes(), &mut Redaction::default()).unwrap();
        let shown = String::from_utf8(text.clone()).unwrap();
        assert!(!shown.contains("SECRET"), "{shown}");
        let (plain, redacted) = (heap_v2::parse(DUMP.as_bytes()).unwrap(), heap_v2::parse(text.as_slice()).unwrap());
        assert!(redacted.warnings.lines().next().is_none(), "{:?}", redacted.warnings);
        assert_eq!((&redacted.samples, &redacted.locations), (&plain.samples, &plain.locations));
        assert_eq!(redacted.history, plain.history);
        assert_eq!(redacted.metadata.rss_bytes, Some(9));
        assert_eq!(redacted.metadata.stack_ends, plain.metadata.stack_ends);
        assert_eq!(redacted.metadata.java.first(), plain.metadata.java.first());
        assert_eq!((redacted.title(), redacted.program()), (Some("server"), Some("/d1/server")));
        let mapping = redacted.mappings.first().unwrap();
        assert_eq!((mapping.path.as_str(), mapping.build_id.as_deref()), ("/d1/x.so", Some("ab12")));
    }

    #[test]
    fn redacting_twice_changes_nothing() {
        let once = text(&mut DUMP.as_bytes(), &mut Redaction::default()).unwrap();
        assert_eq!(text(&mut once.as_slice(), &mut Redaction::default()).unwrap(), once);
    }
}
