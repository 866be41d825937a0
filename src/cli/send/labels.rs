//! The labels of a profile, by templates: `{POD_NAME}` is a variable of the process's environment, else of ours.
//!
//! Each combination of values is a series in an engine, for good. So labels are few, and what is another value with
//! each start (pid, token, path) is refused.

use crate::cli::inert::clean;

/// The label that every engine groups by.
pub(crate) const SERVICE: &str = "service_name";
/// The label that tells processes with equal labels apart, and is not to be written.
pub(crate) const LIFE: &str = "life";
/// What is not written otherwise.
const DEFAULTS: [(&str, &str); 5] = [
    (SERVICE, "{OTEL_SERVICE_NAME|program}"),
    ("namespace", "{POD_NAMESPACE}"),
    ("pod", "{POD_NAME}"),
    ("cluster", "{CLUSTER_NAME}"),
    ("node", "{NODE_NAME}"),
];
/// Letters of a value.
const MOST_LETTERS: usize = 128;
/// Labels, at most.
const MOST_LABELS: usize = 24;
/// Names in braces that are no variables.
const WORDS: [&str; 3] = [PROGRAM, HOST, UNIT];
/// The program's name, with its main class, jar or script.
pub(crate) const PROGRAM: &str = "program";
/// The machine's name.
pub(crate) const HOST: &str = "host";
/// The service or container that a process runs in.
pub(crate) const UNIT: &str = "unit";
/// Those that people would like, and engines would not.
const REFUSED: [&str; 6] = ["pid", "token", "path", "exe", "thread", "time"];

/// One label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    /// Its name.
    pub(crate) name: String,
    template: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// Names, of which the first that has a value counts.
    Names(Vec<String>),
}

/// Reads `name=template`.
pub(crate) fn parse(text: &str) -> Result<Label, String> {
    let (name, template) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=TEMPLATE"))?;
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !name.starts_with("__");
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("`{name}` is no label's name: letters, digits and single underscores in front"));
    }
    if name == LIFE {
        return Err(format!("`{LIFE}` is the number that heaptap gives to processes with equal labels"));
    }
    Ok(Label { name: name.to_owned(), template: parts(template)? })
}

fn parts(mut text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    while let Some((before, rest)) = text.split_once('{') {
        let (names, after) = rest.split_once('}').ok_or_else(|| format!("`{{{rest}` has no closing brace"))?;
        let names: Vec<String> = names.split('|').map(|name| name.trim().to_owned()).collect();
        if let Some(name) = names.iter().find(|name| REFUSED.contains(&name.as_str())) {
            return Err(format!(
                "`{{{name}}}` is another value with each start, and each value makes a series in the engine"
            ));
        }
        let is_variable =
            |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if let Some(name) = names.iter().find(|name| !is_variable(name)) {
            let words = WORDS.join("}, {");
            return Err(format!("`{{{name}}}` is no environment variable's name, nor one of {{{words}}}"));
        }
        parts.push(Part::Text(before.to_owned()));
        parts.push(Part::Names(names));
        text = after;
    }
    parts.push(Part::Text(text.to_owned()));
    parts.retain(|part| *part != Part::Text(String::new()));
    Ok(parts)
}

/// What is asked for, and where nothing is said of a name, what is usual.
pub(crate) fn complete(given: &[Label]) -> Result<Vec<Label>, String> {
    let usual = DEFAULTS.iter().filter(|(name, _)| !given.iter().any(|label| label.name == *name));
    let usual: Vec<Label> = usual.map(|(name, text)| parse(&format!("{name}={text}"))).collect::<Result<_, _>>()?;
    let mut all: Vec<Label> = usual.into_iter().chain(given.iter().cloned()).collect();
    all.sort_by_key(|label| label.name != SERVICE);
    match all.iter().enumerate().find(|(at, label)| all.iter().skip(at + 1).any(|other| other.name == label.name)) {
        Some((_, twice)) => Err(format!("--label {} is given twice", twice.name)),
        None if all.len() > MOST_LABELS => Err(format!("more than {MOST_LABELS} labels")),
        None => Ok(all),
    }
}

/// What these labels want to know of a process.
pub(crate) fn names(labels: &[Label]) -> Vec<String> {
    let parts = labels.iter().flat_map(|label| &label.template);
    let names = parts.flat_map(|part| match part {
        Part::Text(_) => &[][..],
        Part::Names(names) => names,
    });
    names.filter(|name| ![PROGRAM, HOST].contains(&name.as_str())).cloned().collect()
}

/// The labels of one life. `value`: of `program`, `host`, `unit`, or of a variable. Labels without a value are left
/// out, but for the service.
pub(crate) fn fill(labels: &[Label], value: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let mut filled = Vec::new();
    for label in labels {
        let of_part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Names(names) => {
                names.iter().find_map(|name| value(name).filter(|value| !value.is_empty())).unwrap_or_default()
            }
        };
        let text: String = label.template.iter().map(of_part).collect();
        let text: String = clean(text.trim()).chars().take(MOST_LETTERS).collect();
        let text = if label.name == SERVICE { plain(&text) } else { text };
        match (text.is_empty(), label.name.as_str()) {
            (true, SERVICE) => filled.push((SERVICE.to_owned(), "unknown".to_owned())),
            (true, _) => {}
            (false, name) => filled.push((name.to_owned(), text)),
        }
    }
    filled
}

/// A service's name as every engine takes it: it is part of an address somewhere.
fn plain(text: &str) -> String {
    text.replace(|c: char| !(c.is_ascii_alphanumeric() || "-._/:@".contains(c)), "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(given: &[&str], variables: &[(&str, &str)]) -> Vec<(String, String)> {
        let given: Vec<Label> = given.iter().map(|text| parse(text).unwrap()).collect();
        let value =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        fill(&complete(&given).unwrap(), &value)
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_downward_api_names_a_pod() {
        let variables = [("POD_NAME", "es-0"), ("POD_NAMESPACE", "search"), ("program", "java Elasticsearch")];
        let expected = [("service_name", "java-Elasticsearch"), ("namespace", "search"), ("pod", "es-0")];
        assert_eq!(filled(&[], &variables), pairs(&expected));
        assert_eq!(filled(&[], &[("OTEL_SERVICE_NAME", "es"), ("program", "java")]), pairs(&[("service_name", "es")]));
        // A service always has a name.
        assert_eq!(filled(&[], &[]), pairs(&[("service_name", "unknown")]));
    }

    #[test]
    fn templates_replace_and_add() {
        let variables = [("host", "n1"), ("TEAM", "a\u{1b}b")];
        let given = ["service_name=shop", "node={NODE|host}", "team=x-{TEAM}", "empty={NOTHING}"];
        let expected = [("service_name", "shop"), ("node", "n1"), ("team", "x-a?b")];
        assert_eq!(filled(&given, &variables), pairs(&expected));
    }

    #[test]
    fn what_makes_a_series_of_each_start_is_refused() {
        for wrong in ["pid={pid}", "a", "__name__=x", "9=x", "a-b=x", "a={b", "a={b c}", "a={}", "a={X|token}"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("life=1").unwrap_err().contains("equal labels"));
        assert!(parse("p={pid}").unwrap_err().contains("makes a series"));
        let twice = [parse("a=1").unwrap(), parse("a=2").unwrap()];
        assert!(complete(&twice).unwrap_err().contains("twice"));
    }
}
