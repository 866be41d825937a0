//! Who imports whom, file by file: a small reader of Rust that follows `use` declarations and paths to the file that
//! defines the item. A module that only declares or re-exports another does not import it, and whoever goes through
//! a re-export imports the file behind it. Tests within the files are left out.

use std::collections::{BTreeMap, BTreeSet};

/// Files by what they import: paths below the folder that was read, `tap/os/file.rs`.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// The import graph of some files, given as path and text.
pub(crate) fn graph(files: &[(String, String)]) -> Graph {
    let modules: BTreeMap<Vec<String>, Module> =
        files.iter().map(|(path, text)| (module_path(path), Module::read(path, text))).collect();
    let mut graph = Graph::new();
    for (at, module) in &modules {
        let paths = module.paths(at);
        let imports = paths.iter().filter_map(|path| resolve(&modules, at, path, 0));
        graph.insert(module.file.clone(), imports.filter(|file| *file != module.file).collect());
    }
    graph
}

/// Sets of two or more files that all import each other, directly or through others.
pub(crate) fn circles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reach = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = graph[from].iter().collect();
        while let Some(file) = next.pop() {
            if seen.insert(file.clone()) {
                next.extend(graph.get(file).into_iter().flatten());
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = graph.keys().map(|file| (file, reach(file))).collect();
    let circle = |file: &&String| -> BTreeSet<String> {
        reached[file].iter().filter(|other| reached[other].contains(*file)).cloned().collect()
    };
    let circles: BTreeSet<_> = graph.keys().map(|file| circle(&file)).filter(|circle| !circle.is_empty()).collect();
    circles.into_iter().collect()
}

/// Imports of what the `mod.rs` of the importing file's own folder, or of one above it, defines.
pub(crate) fn upward(graph: &Graph) -> Vec<String> {
    let is_above = |file: &str, other: &str| {
        other.strip_suffix("mod.rs").is_some_and(|folder| file.starts_with(folder))
            || other.strip_suffix(".rs").is_some_and(|name| file.starts_with(&format!("{name}/")))
    };
    let arrows = graph.iter().flat_map(|(file, imports)| imports.iter().map(move |other| (file, other)));
    arrows.filter(|(file, other)| is_above(file, other)).map(|(file, other)| format!("{file} → {other}")).collect()
}

/// `tap/os/mod.rs` is the module `tap::os`, `tap/os/file.rs` is `tap::os::file`.
fn module_path(file: &str) -> Vec<String> {
    let name = file.strip_suffix(".rs").unwrap();
    let name = name.strip_suffix("/mod").unwrap_or(name);
    name.split('/').map(str::to_owned).filter(|part| part != "lib" && part != "main").collect()
}

/// What a file says about names.
struct Module {
    file: String,
    /// Names of the items that it defines.
    items: BTreeSet<String>,
    /// `use` declarations: name in this file, whole path, whether others may see it. A glob's name is `*`.
    uses: Vec<Use>,
    /// Paths of two names and more outside of `use` declarations.
    inline: BTreeSet<Vec<String>>,
    /// Every name outside of `use` declarations.
    words: BTreeSet<String>,
}

struct Use {
    name: String,
    path: Vec<String>,
    is_public: bool,
}

impl Module {
    fn read(file: &str, text: &str) -> Module {
        let tokens = without_tests(tokens(text));
        let (mut items, mut words) = (BTreeSet::new(), BTreeSet::new());
        let (mut uses, mut inline) = (Vec::new(), BTreeSet::new());
        let word = |at: usize| tokens.get(at).filter(|token| is_word(token)).map(String::as_str);
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            if token == "use" && tokens.get(at + 1).is_some_and(|next| next != "<") {
                let is_public = at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")");
                at += 1;
                use_tree(&tokens, &mut at, &[], is_public, &mut uses);
                continue;
            }
            let defines = ["fn", "struct", "enum", "trait", "const", "static", "type", "union", "mod"];
            if defines.contains(&token.as_str()) {
                let is_elsewhere = token == "mod" && tokens.get(at + 2).is_some_and(|next| next == ";");
                items.extend(word(at + 1).filter(|_| !is_elsewhere).map(str::to_owned));
            } else if token == "macro_rules" {
                items.extend(word(at + 2).map(str::to_owned));
            }
            if is_word(token) && (at == 0 || tokens[at - 1] != "::") {
                let mut path = vec![token.clone()];
                while let (Some("::"), Some(next)) = (tokens.get(at + 1).map(String::as_str), word(at + 2)) {
                    path.push(next.to_owned());
                    at += 2;
                }
                words.insert(path[0].clone());
                if path.len() > 1 {
                    inline.insert(path);
                }
            }
            at += 1;
        }
        Module { file: file.to_owned(), items, uses, inline, words }
    }

    /// The paths that this module follows. A re-export counts if the file itself uses the name.
    fn paths(&self, at: &[String]) -> Vec<Vec<String>> {
        let followed = self.uses.iter().filter(|entry| !entry.is_public || self.words.contains(&entry.name));
        let mut paths: Vec<_> = followed.map(|entry| entry.path.clone()).collect();
        for path in &self.inline {
            // Not the path of another crate, nor of an enum of this file.
            let is_known = ["crate", "self", "super"].contains(&path[0].as_str())
                || self.uses.iter().any(|entry| entry.name == path[0])
                || !self.items.contains(&path[0]);
            paths.extend(is_known.then(|| path.clone()));
        }
        paths.retain(|path| !at.is_empty() || path.len() > 1);
        paths
    }
}

/// The files that a path, as it is written in the module `at`, leads to: none if it leads to a module or away.
fn resolve(modules: &BTreeMap<Vec<String>, Module>, at: &[String], path: &[String], depth: usize) -> Option<String> {
    let mut here: Vec<String> = at.to_vec();
    let mut rest = path;
    let mut is_first = true;
    while let Some(name) = rest.first() {
        let child: Vec<String> = here.iter().chain([name]).cloned().collect();
        match name.as_str() {
            "crate" => here.clear(),
            "self" => {}
            "super" => {
                here.pop();
            }
            _ if modules.contains_key(&child) => here = child,
            // The root of a library declares its modules, and nothing else.
            _ if here.is_empty() && is_folder(modules, &child) => here = child,
            "*" => return modules.get(&here).map(|module| module.file.clone()),
            _ => {
                let module = modules.get(&here)?;
                if module.items.contains(name) || depth > 8 {
                    return Some(module.file.clone());
                }
                let renamed = module.uses.iter().find(|entry| entry.name == *name && entry.path != rest);
                if let Some(entry) = renamed {
                    let whole: Vec<String> = entry.path.iter().chain(&rest[1..]).cloned().collect();
                    return resolve(modules, &here, &whole, depth + 1);
                }
                let globs = module.uses.iter().filter(|entry| entry.name == "*");
                let whole = |entry: &Use| entry.path.iter().filter(|part| *part != "*").chain(rest).cloned().collect();
                let globs: Vec<Vec<String>> = globs.map(whole).collect();
                let found = globs.iter().filter(|whole| *whole != rest).find_map(|whole| {
                    resolve(modules, &here, whole, depth + 1).filter(|file| {
                        modules.values().any(|module| module.file == *file && module.items.contains(name))
                    })
                });
                // An unknown name that begins a path is another crate's or a generic's; one behind a module is its.
                return found.or_else(|| (!is_first).then(|| module.file.clone()));
            }
        }
        rest = &rest[1..];
        is_first = false;
    }
    None
}

fn is_folder(modules: &BTreeMap<Vec<String>, Module>, path: &[String]) -> bool {
    modules.keys().any(|module| module.starts_with(path))
}

/// Reads one tree of a `use` declaration, to its end.
fn use_tree(tokens: &[String], at: &mut usize, prefix: &[String], is_public: bool, uses: &mut Vec<Use>) {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        match token.as_str() {
            "{" => {
                while tokens.get(*at).is_some_and(|next| next != "}") {
                    use_tree(tokens, at, &path, is_public, uses);
                    if tokens.get(*at).is_some_and(|next| next == ",") {
                        *at += 1;
                    }
                }
                *at += 1;
                return;
            }
            "::" => {}
            "as" => {
                uses.push(Use { name: tokens[*at].clone(), path, is_public });
                *at += 1;
                return;
            }
            "," | "}" | ";" => {
                *at -= 1;
                break;
            }
            word => path.push(word.to_owned()),
        }
    }
    if path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if let Some(name) = path.last().cloned() {
        uses.push(Use { name, path, is_public });
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Takes out the items under `#[cfg(test)]`, and those that a model under loom leaves out as well.
fn without_tests(code: Vec<String>) -> Vec<String> {
    let marks = ["#[cfg(test)]", "#[cfg(all(test, not(loom)))]"].map(tokens);
    let mut kept = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let Some(mark) = marks.iter().find(|mark| code[at..].starts_with(mark)) else {
            kept.push(code[at].clone());
            at += 1;
            continue;
        };
        let mut depth = 0;
        at += mark.len();
        while let Some(token) = code.get(at) {
            at += 1;
            depth += i32::from(token == "{") - i32::from(token == "}");
            if depth == 0 && (token == ";" || token == "}") {
                break;
            }
        }
    }
    kept
}

/// Words, `::` and single signs; comments, strings, characters and lifetimes are left out.
fn tokens(text: &str) -> Vec<String> {
    let text: Vec<char> = text.chars().collect();
    let get = |at: usize| text.get(at).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let sign = text[at];
        match sign {
            '/' if get(at + 1) == '/' => {
                while at < text.len() && text[at] != '\n' {
                    at += 1;
                }
            }
            '"' => at = end_of_string(&text, at),
            // A raw string ends at the quote that as many `#` follow as stand before it.
            'r' if get(at + 1) == '"' || get(at + 1) == '#' && ['#', '"'].contains(&get(at + 2)) => {
                let marks = (1..).take_while(|more| get(at + more) == '#').count();
                let end = |from: usize| get(from) == '"' && (1..=marks).all(|more| get(from + more) == '#');
                at += marks + 2;
                while at < text.len() && !end(at) {
                    at += 1;
                }
                at += marks + 1;
            }
            '\'' if get(at + 1) == '\\' || get(at + 2) == '\'' => {
                at += if get(at + 1) == '\\' { 3 } else { 2 };
                while at < text.len() && text[at] != '\'' {
                    at += 1;
                }
                at += 1;
            }
            '\'' => at += 1 + word_len(&text[at + 1..]),
            ':' if get(at + 1) == ':' => {
                tokens.push("::".to_owned());
                at += 2;
            }
            _ if sign.is_alphabetic() || sign == '_' => {
                let len = word_len(&text[at..]);
                tokens.push(text[at..at + len].iter().collect());
                at += len;
            }
            _ => {
                if !sign.is_whitespace() {
                    tokens.push(sign.to_string());
                }
                at += 1;
            }
        }
    }
    tokens
}

fn word_len(text: &[char]) -> usize {
    text.iter().take_while(|sign| sign.is_alphanumeric() || **sign == '_').count()
}

fn end_of_string(text: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}
