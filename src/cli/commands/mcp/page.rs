//! An answer cut to what fits into a conversation: a page of its main list, and the beginnings of all others.
//!
//! The main list is what the tool is about (places, rows, processes); a cursor leads to its next page. Every other list
//! keeps its first [`OTHERS`] entries. What was cut is told by its path and its whole length, so that nothing looks
//! complete that is not. Pure.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Entries kept of lists that are not the main one.
const OTHERS: usize = 20;

/// A part of the main list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) from: usize,
    pub(super) count: usize,
}

/// What is left of an answer.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) answer: Value,
    /// By path: how many entries a list had, at most.
    pub(super) cut: BTreeMap<String, usize>,
    /// Where the next page begins.
    pub(super) next: Option<usize>,
}

/// Cuts an answer; `main`: the field that holds the main list.
pub(super) fn cut(answer: Value, main: &str, page: Page) -> Cut {
    let mut left = Cut { answer: Value::Null, cut: BTreeMap::new(), next: None };
    left.answer = match answer {
        // A list by itself is the main one.
        Value::Array(list) if main.is_empty() => left.page(list, "", page),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| {
                let value = match value {
                    Value::Array(list) if name == main => left.page(list, main, page),
                    value => left.other(value, &name),
                };
                (name, value)
            });
            Value::Object(fields.collect::<Map<String, Value>>())
        }
        value => value,
    };
    left
}

impl Cut {
    fn page(&mut self, list: Vec<Value>, path: &str, page: Page) -> Value {
        let all = list.len();
        let end = page.from.saturating_add(page.count);
        if page.from > 0 || end < all {
            self.cut.insert(path.to_owned(), all);
        }
        self.next = Some(end).filter(|end| *end < all);
        let entry = format!("{path}[]");
        let entries = list.into_iter().skip(page.from).take(page.count);
        Value::Array(entries.map(|value| self.other(value, &entry)).collect())
    }

    fn other(&mut self, value: Value, path: &str) -> Value {
        match value {
            Value::Array(list) => {
                if list.len() > OTHERS {
                    let most = self.cut.entry(path.to_owned()).or_default();
                    *most = list.len().max(*most);
                }
                let entry = format!("{path}[]");
                Value::Array(list.into_iter().take(OTHERS).map(|value| self.other(value, &entry)).collect())
            }
            Value::Object(fields) => {
                let inner = |(name, value): (String, Value)| {
                    let path = format!("{path}.{name}");
                    let value = self.other(value, &path);
                    (name, value)
                };
                Value::Object(fields.into_iter().map(inner).collect())
            }
            value => value,
        }
    }

    /// The list of what was cut.
    pub(super) fn told(&self) -> Value {
        self.cut.iter().map(|(path, length)| json!({"list": path, "length": length})).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Value {
        let course: Vec<u32> = (0..50).collect();
        let rows: Vec<Value> =
            (0..5).map(|number| json!({"n": number, "course": course, "frames": ["a", "b"]})).collect();
        json!({"schema": 1, "rows": rows, "moments": course})
    }

    #[test]
    fn pages_follow_each_other_and_say_what_is_missing() {
        let mut seen = Vec::new();
        let mut from = Some(0);
        while let Some(at) = from {
            let cut = cut(answer(), "rows", Page { from: at, count: 2 });
            for row in cut.answer["rows"].as_array().unwrap() {
                seen.push(row["n"].as_u64().unwrap());
                assert_eq!((row["course"].as_array().unwrap().len(), &row["frames"]), (OTHERS, &json!(["a", "b"])));
            }
            assert_eq!(cut.answer["moments"].as_array().unwrap().len(), OTHERS);
            let told: Vec<(&str, usize)> = cut.cut.iter().map(|(path, length)| (path.as_str(), *length)).collect();
            assert_eq!(told, [("moments", 50), ("rows", 5), ("rows[].course", 50)]);
            from = cut.next;
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_fits_is_whole_and_a_page_beyond_the_end_is_empty() {
        let small = json!({"rows": [1, 2], "n": 7});
        let whole = cut(small.clone(), "rows", Page { from: 0, count: 2 });
        assert_eq!((whole.answer, whole.next, whole.cut.len()), (small.clone(), None, 0));
        let beyond = cut(small, "rows", Page { from: usize::MAX, count: 2 });
        assert_eq!((beyond.answer["rows"].as_array().unwrap().len(), beyond.next), (0, None));
        let list = cut(json!([1, 2, 3]), "", Page { from: 1, count: 1 });
        assert_eq!((list.answer, list.next), (json!([2]), Some(2)));
    }
}
