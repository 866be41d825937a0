//! Labels of a life: what an operator calls it by, beside its pid. Pure.
//!
//! They are written as `key=value`: in the name of a folder (`version=1.4.2/pod=es-0/`, the way in which Spark, Hive
//! and DuckDB name parts of a table; `%2F` is `/`), and in lines of a file, where a value may stand in quotes as in
//! Go (Kubernetes' downward API writes `metadata.labels` so: `app.kubernetes.io/version="1.4.2"`).

use std::collections::BTreeMap;

/// By key.
pub(crate) type Labels = BTreeMap<String, String>;

/// Labels that a life has, at most, and bytes of a key and of a value: a file of labels is foreign text.
const MOST: usize = 64;
const MOST_KEY: usize = 256;
const MOST_VALUE: usize = 1024;

/// Reads `key=value`; `None`: it is no label.
pub(crate) fn parse(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let is_word = |text: &str| !text.chars().any(char::is_control);
    let fits = !key.is_empty() && key.len() <= MOST_KEY && value.len() <= MOST_VALUE;
    (fits && is_word(key) && is_word(value)).then(|| (key.to_owned(), value.to_owned()))
}

/// Reads the name of a folder; `None`: it is no label.
pub(crate) fn of_folder(name: &str) -> Option<(String, String)> {
    let (key, value) = parse(name)?;
    Some((decoded(&key), decoded(&value)))
}

/// Adds the labels of a file, one a line; what it says stands above what was said before. Returns the lines, counted
/// from 1, that say nothing.
pub(crate) fn add_lines(labels: &mut Labels, text: &str) -> Vec<usize> {
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse(line).and_then(|(key, value)| Some((key, unquoted(&value)?))) {
            Some((key, value)) if labels.len() < MOST || labels.contains_key(&key) => {
                labels.insert(key, value);
            }
            _ => wrong.push(number + 1),
        }
    }
    wrong
}

/// A value in quotes without them; `None`: the quotes do not end, or something is behind them.
fn unquoted(value: &str) -> Option<String> {
    let Some(inside) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    let mut text = String::new();
    let mut chars = inside.strip_suffix('"')?.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '"' => return None,
            '\\' => match chars.next()? {
                'n' | 't' | 'r' => ' ',
                other => other,
            },
            other => other,
        });
    }
    Some(text)
}

/// `%2F` as `/`; what is no such pair of digits, or no text, stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let code = digits.filter(|_| byte == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        match code.filter(|code| !code.is_ascii_control()) {
            Some(code) => {
                bytes.push(code);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> Option<(String, String)> {
        Some((key.to_owned(), value.to_owned()))
    }

    #[test]
    fn folders_are_labels_as_spark_writes_them() {
        assert_eq!(of_folder("version=1.4.2"), pair("version", "1.4.2"));
        assert_eq!(of_folder("image=registry%2Fshop%3A7"), pair("image", "registry/shop:7"));
        assert_eq!(of_folder("a=50%"), pair("a", "50%"));
        assert_eq!(of_folder("a=%zz%0a%ff"), pair("a", "%zz%0a%ff"));
        assert_eq!(of_folder("a=b=c"), pair("a", "b=c"));
        for text in ["es-0", "=x", "", "a\u{1}=b", &format!("{}=x", "k".repeat(257)), &"v=".repeat(600)] {
            assert_eq!(of_folder(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_of_labels_is_what_kubernetes_writes() {
        let mut labels = Labels::from([("version".to_owned(), "1".to_owned()), ("pod".to_owned(), "es-0".to_owned())]);
        let text =
            "# of the pod\napp.kubernetes.io/name=\"es \\\"hot\\\"\"\n\nversion = 2\nnonsense\nx=\"open\ny=\"a\"b\"\n";
        assert_eq!(add_lines(&mut labels, text), [5, 6, 7]);
        let told: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(told, [("app.kubernetes.io/name", "es \"hot\""), ("pod", "es-0"), ("version", "2")]);
    }

    #[test]
    fn a_file_cannot_make_labels_without_end() {
        let text: String = (0..100).map(|number| format!("key{number}=x\n")).collect();
        let mut labels = Labels::new();
        assert_eq!(add_lines(&mut labels, &text).len(), 100 - MOST);
        assert_eq!(labels.len(), MOST);
    }
}
