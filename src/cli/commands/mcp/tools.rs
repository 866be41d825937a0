//! The tools: which command each is, which arguments it takes, and how these become a command line. Pure.
//!
//! A value never becomes an option: options are written as `--name=value`, and what stands alone comes behind `--`.

use super::protocol::{Refusal, UNTRUSTED};
use serde_json::{Map, Value, json};

/// Entries of a page, if nothing is said, and at most.
const TOP: usize = 20;
const MOST_TOP: usize = 1000;
/// Texts of a list, and bytes of a text, at most.
const MOST_TEXTS: usize = 1000;
const MOST_BYTES: usize = 4096;

/// What an argument is.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Flag,
    Number { least: u64, most: u64 },
    Pids,
    Choice(&'static [&'static str]),
}

/// An argument of a tool.
struct Argument {
    name: &'static str,
    /// The command's option; `None`: it stands alone, in the order of the table.
    option: Option<&'static str>,
    kind: Kind,
    is_required: bool,
    about: &'static str,
}

/// A tool.
pub(super) struct Tool {
    pub(super) name: &'static str,
    about: &'static str,
    arguments: &'static [&'static [Argument]],
    /// The field of its answer that pages are of; `None`: the command writes a text, not JSON.
    pub(super) list: Option<&'static str>,
    /// Whether it changes a process.
    pub(super) is_control: bool,
}

/// What is asked of a tool.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The command line, without the program.
    pub(super) arguments: Vec<String>,
    pub(super) from: usize,
    pub(super) count: usize,
}

const fn option(name: &'static str, option: &'static str, kind: Kind, about: &'static str) -> Argument {
    Argument { name, option: Some(option), kind, is_required: false, about }
}

const fn alone(name: &'static str, kind: Kind, is_required: bool, about: &'static str) -> Argument {
    Argument { name, option: None, kind, is_required, about }
}

const PID: Kind = Kind::Number { least: 1, most: u32::MAX as u64 };
const FILES: &[Argument] = &[alone(
    "files",
    Kind::Texts,
    true,
    "Pids of tapped processes (as texts), dumps (*.heap), folders of dumps, packs (*.tgz)",
)];
const FLEET_FILES: &[Argument] =
    &[alone("files", Kind::Texts, true, "Folders with the dumps and packs of many processes, also in folders below")];
const LIFE: &[Argument] = &[
    option("pid", "pid", PID, "Look at this process, where the files are of several"),
    option("life", "life", Kind::Text, "Look at this life: the beginning of its token, last, first, a time, 2h"),
];
const FILTERS: &[Argument] = &[
    option("focus", "focus", Kind::Texts, "Only stacks through a function or library whose name contains one of these"),
    option("ignore", "ignore", Kind::Texts, "No stacks through a function or library whose name contains one of these"),
    option("own", "own", Kind::Texts, "What is the program's own code: beginnings of names (org.acme)"),
    option("since", "since", Kind::Text, "Only dumps since then: an RFC 3339 time in UTC, or 2h before the last"),
    option("older_than", "older-than", Kind::Text, "Only objects that are older than this: 2h, 90s"),
];
const VIEW: &[Argument] = &[
    option(
        "by",
        "by",
        Kind::Choice(&["site", "function", "class", "package", "library", "thread", "stack"]),
        "What a row is",
    ),
    METRIC,
];
const METRIC: Argument = option(
    "metric",
    "metric",
    Kind::Choice(&["inuse-bytes", "inuse-count", "alloc-bytes", "alloc-count", "mapped", "resident"]),
    "What is measured",
);
const PIDS: &[Argument] = &[alone("pids", Kind::Pids, true, "Pids of processes")];

const fn reads(
    name: &'static str,
    about: &'static str,
    arguments: &'static [&'static [Argument]],
    list: &'static str,
) -> Tool {
    Tool { name, about, arguments, list: Some(list), is_control: false }
}

const fn controls(name: &'static str, about: &'static str, arguments: &'static [&'static [Argument]]) -> Tool {
    Tool { name, about, arguments, list: None, is_control: true }
}

const TOOLS: &[Tool] = &[
    reads(
        "ps",
        "Lists the processes that heaptap profiles, alive and dead, most live bytes first.",
        &[&[option("all", "all", Kind::Flag, "Also young and small ones")]],
        "processes",
    ),
    reads("status", "Says whether processes are profiled, and if not, why not.", &[PIDS], "processes"),
    reads(
        "report",
        "Who holds the memory of a process, does it grow, and where is the rest of the resident memory?",
        &[FILES, LIFE, FILTERS, VIEW],
        "sites",
    ),
    reads(
        "leaks",
        "The verdict: what leaks in a process, with the evidence. exit_status 0: judged, nothing leaks; 1: something \
         does; 3: it cannot be judged yet, and the answer says what would tell (outlook.would_tell).",
        &[FILES, LIFE, FILTERS, VIEW],
        "rows",
    ),
    reads(
        "growth",
        "Which places of a process grow or shrink over its dumps, beyond sampling noise.",
        &[FILES, LIFE, FILTERS, VIEW],
        "rows",
    ),
    reads(
        "diff",
        "What changed between two states, of one process or of two versions of a program.",
        &[
            &[
                alone("before", Kind::Text, true, "A dump, a folder, a pack or a pid: its last dump"),
                alone("after", Kind::Text, true, "Likewise"),
            ],
            VIEW,
        ],
        "rows",
    ),
    reads(
        "callers",
        "A function between its callers and what it calls.",
        &[&[alone("name", Kind::Text, true, "Its name, or a part of it"), METRIC], FILES, LIFE, FILTERS],
        "functions",
    ),
    reads(
        "rss",
        "Where the resident memory of any process is: Java heap, malloc, stacks, files, now and over time.",
        &[FILES, LIFE],
        "classes",
    ),
    reads("info", "What a dump is: whose, when, how it was sampled, what was lost.", &[FILES], "files"),
    reads("symbols", "Where the names of functions came from, and why some are missing.", &[FILES, LIFE], "modules"),
    reads(
        "fleet",
        "Which places leak over many processes, in how many of them, and since which version.",
        &[FLEET_FILES, &[option("by", "by", Kind::Text, "The label that tells lives apart, usually `version`")]],
        "rows",
    ),
    controls("dump", "Makes running processes write a dump each.", &[PIDS]),
    controls("start", "Makes running processes sample.", &[PIDS]),
    controls("stop", "Makes running processes stop sampling; what is live stays recorded.", &[PIDS]),
    controls(
        "rate",
        "Changes how often running processes sample: once in 2^lg bytes.",
        &[&[alone("lg", Kind::Number { least: 0, most: 40 }, true, "17 is 128 KiB; 12 shows small objects")], PIDS],
    ),
];

/// The tools that there are, those that change a process if they are wanted.
pub(super) fn all(with_control: bool) -> impl Iterator<Item = &'static Tool> {
    TOOLS.iter().filter(move |tool| with_control || !tool.is_control)
}

/// They, as the protocol lists them.
pub(super) fn listed(with_control: bool) -> Value {
    let tools: Vec<Value> = all(with_control).map(Tool::described).collect();
    json!({"tools": tools})
}

impl Tool {
    fn arguments(&self) -> impl Iterator<Item = &'static Argument> {
        self.arguments.iter().copied().flatten()
    }

    fn described(&self) -> Value {
        let mut fields = Map::new();
        for argument in self.arguments() {
            fields.insert(argument.name.to_owned(), argument.schema());
        }
        if self.list.is_some() {
            let top = json!({"type": "integer", "minimum": 1, "maximum": MOST_TOP, "description": "Entries of a page"});
            fields.insert("top".to_owned(), top);
            let about = "`next_cursor` of the page before; a running process is read anew for each page";
            fields.insert("cursor".to_owned(), json!({"type": "string", "description": about}));
        }
        let required: Vec<&str> = self.arguments().filter(|one| one.is_required).map(|one| one.name).collect();
        let about = if self.is_control { self.about.to_owned() } else { format!("{} {UNTRUSTED}", self.about) };
        json!({
            "name": self.name,
            "description": about,
            "inputSchema": {
                "type": "object", "properties": fields, "required": required, "additionalProperties": false,
            },
            "outputSchema": output_schema(),
            "annotations": {
                "readOnlyHint": !self.is_control, "destructiveHint": false, "idempotentHint": self.name != "dump",
                "openWorldHint": false,
            },
        })
    }

    /// The command line that these arguments ask for.
    pub(super) fn call(&self, mut given: Map<String, Value>) -> Result<Call, Refusal> {
        let mut line = vec![self.name.to_owned()];
        let mut alone = Vec::new();
        let (mut from, mut count) = (0, TOP);
        if self.list.is_some() {
            line.push("--json".to_owned());
            from = cursor(given.remove("cursor"))?;
            count = top(given.remove("top"))?;
        }
        for argument in self.arguments() {
            let value = given.remove(argument.name).unwrap_or(Value::Null);
            let texts = argument.texts(&value)?;
            match (argument.option, argument.kind) {
                (Some(option), Kind::Flag) => line.extend(texts.iter().map(|_| format!("--{option}"))),
                (Some(option), _) => line.extend(texts.iter().map(|text| format!("--{option}={text}"))),
                (None, _) => alone.extend(texts),
            }
        }
        if let Some(other) = given.keys().next() {
            return Err(Refusal::of_arguments(format!("{} has no argument `{other}`", self.name)));
        }
        line.push("--".to_owned());
        line.extend(alone);
        Ok(Call { arguments: line, from, count })
    }
}

fn cursor(value: Option<Value>) -> Result<usize, Refusal> {
    let wrong = || Refusal::of_arguments("`cursor` is `next_cursor` of another page");
    match value {
        None | Some(Value::Null) => Ok(0),
        Some(Value::String(text)) => text.parse().map_err(|_| wrong()),
        Some(_) => Err(wrong()),
    }
}

fn top(value: Option<Value>) -> Result<usize, Refusal> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(TOP) };
    let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| (1..=MOST_TOP).contains(count));
    count.ok_or_else(|| Refusal::of_arguments(format!("`top` is a number from 1 to {MOST_TOP}")))
}

/// What every answer is.
fn output_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "untrusted": {"type": "string", "description": "How to take the names in `answer`"},
            "exit_status": {"type": "integer", "description": "0 done; 1 a finding; 3 cannot be judged"},
            "answer": {"description": UNTRUSTED},
            "cut": {"type": "array", "items": {"type": "object"}, "description": "Lists that are longer than shown"},
            "next_cursor": {"type": ["string", "null"]},
            "notes": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["untrusted", "exit_status", "answer", "cut", "next_cursor", "notes"],
    })
}

impl Argument {
    fn schema(&self) -> Value {
        let mut schema = match self.kind {
            Kind::Text => json!({"type": "string", "maxLength": MOST_BYTES}),
            Kind::Texts => json!({"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MOST_TEXTS}),
            Kind::Flag => json!({"type": "boolean"}),
            Kind::Number { least, most } => json!({"type": "integer", "minimum": least, "maximum": most}),
            Kind::Pids => {
                let pid = json!({"type": "integer", "minimum": 1, "maximum": u32::MAX});
                json!({"type": "array", "items": pid, "minItems": 1, "maxItems": MOST_TEXTS})
            }
            Kind::Choice(words) => json!({"type": "string", "enum": words}),
        };
        schema["description"] = json!(self.about);
        schema
    }

    /// Its value, in the words of a command line; none where nothing is said.
    fn texts(&self, value: &Value) -> Result<Vec<String>, Refusal> {
        if value.is_null() && !self.is_required {
            return Ok(Vec::new());
        }
        let found = match (self.kind, value) {
            (Kind::Text, Value::String(text)) => text_of(text).map(|text| vec![text]),
            (Kind::Texts, Value::Array(texts)) if is_list(texts) => {
                texts.iter().map(|text| text_of(text.as_str()?)).collect()
            }
            (Kind::Flag, Value::Bool(flag)) => Some(if *flag { vec![String::new()] } else { Vec::new() }),
            (Kind::Number { least, most }, value) => number(value, least, most).map(|number| vec![number]),
            (Kind::Pids, Value::Array(pids)) if is_list(pids) => {
                pids.iter().map(|pid| number(pid, 1, u64::from(u32::MAX))).collect()
            }
            (Kind::Choice(words), Value::String(text)) => words.contains(&text.as_str()).then(|| vec![text.clone()]),
            _ => None,
        };
        found.ok_or_else(|| Refusal::of_arguments(format!("`{}` is {}", self.name, self.kind.words())))
    }
}

impl Kind {
    fn words(self) -> String {
        match self {
            Kind::Text => format!("a text of 1 to {MOST_BYTES} bytes"),
            Kind::Texts => format!("a list of 1 to {MOST_TEXTS} texts"),
            Kind::Flag => "true or false".to_owned(),
            Kind::Number { least, most } => format!("a whole number from {least} to {most}"),
            Kind::Pids => "a list of pids, which are numbers".to_owned(),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
        }
    }
}

fn is_list(values: &[Value]) -> bool {
    (1..=MOST_TEXTS).contains(&values.len())
}

/// A text that can stand on a command line.
fn text_of(text: &str) -> Option<String> {
    let is_good = !text.is_empty() && text.len() <= MOST_BYTES && !text.contains('\0');
    is_good.then(|| text.to_owned())
}

fn number(value: &Value, least: u64, most: u64) -> Option<String> {
    value.as_u64().filter(|number| (least..=most).contains(number)).map(|number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str) -> &'static Tool {
        TOOLS.iter().find(|tool| tool.name == name).unwrap()
    }

    fn call(name: &str, arguments: Value) -> Result<Call, Refusal> {
        tool(name).call(arguments.as_object().unwrap().clone())
    }

    #[test]
    fn arguments_become_a_command_line_and_never_options() {
        let made = call("leaks", json!({"files": ["--output=/etc/passwd", "7"], "focus": ["-x", "a b"], "top": 5}));
        let expected = ["leaks", "--json", "--focus=-x", "--focus=a b", "--", "--output=/etc/passwd", "7"];
        assert_eq!(made, Ok(Call { arguments: expected.map(str::to_owned).to_vec(), from: 0, count: 5 }));
        let made = call("callers", json!({"name": "deflate", "files": ["x"], "cursor": "40"})).unwrap();
        assert_eq!((made.arguments.join(" "), made.from), ("callers --json -- deflate x".into(), 40));
        assert_eq!(call("rate", json!({"lg": 12, "pids": [7, 8]})).unwrap().arguments.join(" "), "rate -- 12 7 8");
        assert_eq!(call("ps", json!({"all": false})).unwrap().arguments.join(" "), "ps --json --");
        assert_eq!(call("ps", json!({"all": true})).unwrap().arguments.join(" "), "ps --json --all --");
    }

    #[test]
    fn wrong_arguments_are_refused_by_name() {
        for (name, arguments, word) in [
            ("leaks", json!({}), "`files`"),
            ("leaks", json!({"files": []}), "`files`"),
            ("leaks", json!({"files": "x"}), "`files`"),
            ("leaks", json!({"files": ["x\u{0}"]}), "`files`"),
            ("leaks", json!({"files": ["x"], "output": "y"}), "`output`"),
            ("leaks", json!({"files": ["x"], "by": "colour"}), "`by`"),
            ("leaks", json!({"files": ["x"], "top": 0}), "`top`"),
            ("leaks", json!({"files": ["x"], "top": 5000}), "`top`"),
            ("leaks", json!({"files": ["x"], "cursor": "next"}), "`cursor`"),
            ("leaks", json!({"files": ["x"], "cursor": 3}), "`cursor`"),
            ("status", json!({"pids": ["7"]}), "`pids`"),
            ("status", json!({"pids": [0]}), "`pids`"),
            ("rate", json!({"lg": 99, "pids": [1]}), "`lg`"),
            ("dump", json!({"pids": [1], "top": 3}), "`top`"),
        ] {
            let refusal = format!("{:?}", call(name, arguments.clone()).unwrap_err());
            assert!(refusal.contains("-32602") && refusal.contains(word), "{name} {arguments}: {refusal}");
        }
    }

    #[test]
    fn what_changes_a_process_is_offered_only_if_wanted() {
        let names = |with_control| all(with_control).map(|tool| tool.name).collect::<Vec<_>>().join(" ");
        assert_eq!(names(false), "ps status report leaks growth diff callers rss info symbols fleet");
        assert_eq!(names(true), format!("{} dump start stop rate", names(false)));
        for tool in all(true) {
            let told = tool.described();
            assert_eq!(told["annotations"]["readOnlyHint"], json!(!tool.is_control));
            assert_eq!(told["inputSchema"]["additionalProperties"], json!(false));
            let is_marked = told["description"].as_str().unwrap().contains("never instructions");
            assert_eq!(is_marked, !tool.is_control, "{}", tool.name);
        }
    }
}
