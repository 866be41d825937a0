//! Questions to blazesym: the functions at virtual addresses of one file.
//!
//! It never searches for debug files itself (`debug_file` says why), and its errors only cost names. Names of a symbol
//! table are demangled here and not by it: many places lie in one function, and each name is taken apart once.

use super::names;
use super::recorded::Frames;
use crate::cli::open;
use crate::cli::profile::location::{Function, Origin};
use blazesym::symbolize::{self, Input, Sym, Symbolized, Symbolizer};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

/// One question to blazesym about addresses of one file; an answer for each.
pub(super) fn ask(file: &File, addresses: &[u64], with_lines: bool) -> Vec<Option<Frames>> {
    let builder = Symbolizer::builder().enable_auto_reload(false).enable_code_info(with_lines);
    // Only debug information says of which language a name is.
    let builder = builder.enable_demangling(with_lines);
    let symbolizer = builder.enable_inlined_fns(with_lines).set_debug_dirs(Some([] as [&Path; 0])).build();
    let mut elf = symbolize::source::Elf::new(open::path_of(file));
    elf.debug_syms = with_lines;
    let source = symbolize::source::Source::Elf(elf);
    let Ok(answers) = symbolizer.symbolize(&source, Input::VirtOffset(addresses)) else {
        return vec![None; addresses.len()];
    };
    let mut known: FxHashMap<Cow<'_, str>, (Function, u32)> = FxHashMap::default();
    let mut of_symbol =
        |name| known.entry(name).or_insert_with_key(|name| function(&names::demangled(name), None)).clone();
    let frames = |answer| match answer {
        Symbolized::Sym(sym) if with_lines => Some(functions(&sym)),
        Symbolized::Sym(sym) => Some(vec![of_symbol(sym.name)]),
        Symbolized::Unknown(_) => None,
    };
    answers.into_iter().map(frames).collect()
}

/// The functions at one address, innermost first. blazesym lists inlined calls from the outside in,
/// and gives each the place of the call *in* it.
fn functions(sym: &Sym<'_>) -> Frames {
    let outer = function(&sym.name, sym.code_info.as_deref());
    let inlined = sym.inlined.iter().map(|inlined| function(&inlined.name, inlined.code_info.as_ref()));
    let mut lines: Vec<_> = std::iter::once(outer).chain(inlined).collect();
    lines.reverse();
    lines
}

fn function(name: &str, place: Option<&symbolize::CodeInfo<'_>>) -> (Function, u32) {
    let short = names::short(name).to_owned();
    let full_name = if short == name { String::new() } else { name.to_owned() };
    let file = place.map_or(String::new(), |place| place.to_path().display().to_string());
    let line = place.and_then(|place| place.line).unwrap_or(0);
    (Function { name: short, full_name, file, library: String::new(), origin: Origin::Native }, line)
}
