//! Demangles a name, and makes a demangled one short: without parameters, return type and compiler suffixes.
//!
//! `void* os::malloc(unsigned long, MEMFLAGS) [clone .isra.0]` becomes `os::malloc`. Works on
//! any text; what has no parameter list (C, Rust, Java) stays as it is.

use std::borrow::Cow;

/// The name as it stands in the source, if it is a mangled one of Rust or C++.
pub(super) fn demangled(name: &str) -> Cow<'_, str> {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}").into();
    }
    let cpp = cpp_demangle::Symbol::new(name).ok().and_then(|symbol| symbol.demangle().ok());
    cpp.map_or(Cow::Borrowed(name), Cow::Owned)
}

/// The name without what only a compiler needs.
pub(super) fn short(name: &str) -> &str {
    let name = name.split(" [clone ").next().unwrap_or(name);
    let name = name.split("@@").next().unwrap_or(name);
    let name = name.strip_suffix(" (.cold)").unwrap_or(name);
    let Some(end) = parameter_list(name) else { return without_suffix(name) };
    let head = name.get(..end).unwrap_or(name);
    head.get(name_start(head)..).filter(|short| !short.is_empty()).unwrap_or(name)
}

/// `.part.0`, `.isra.0`, `.constprop.0`, `.cold` of C functions.
fn without_suffix(name: &str) -> &str {
    if !name.contains('.') {
        return name;
    }
    let suffixes = [".part.", ".isra.", ".constprop.", ".cold", ".lto_priv."];
    let cut = suffixes.iter().filter_map(|suffix| name.find(suffix)).filter(|&at| at > 0).min();
    cut.and_then(|at| name.get(..at)).unwrap_or(name)
}

/// Where the parameters begin: the first `(` outside templates that is not part of the name.
fn parameter_list(name: &str) -> Option<usize> {
    let bytes = name.as_bytes();
    let (mut depth, mut at) = (0usize, 0usize);
    while at < bytes.len() {
        let rest = bytes.get(at..)?;
        at += match rest.first()? {
            b'o' => operator_length(rest).unwrap_or(1),
            b'(' if rest.starts_with(b"(anonymous namespace)") => "(anonymous namespace)".len(),
            b'(' if depth == 0 => return (at > 0).then_some(at),
            b'<' => {
                depth += 1;
                1
            }
            b'>' => {
                depth = depth.saturating_sub(1);
                1
            }
            _ => 1,
        };
    }
    None
}

/// Length of `operator` and its symbol, whose brackets are no brackets; `None` if it is not one.
fn operator_length(rest: &[u8]) -> Option<usize> {
    let after = rest.strip_prefix(b"operator")?;
    let symbol = if after.starts_with(b"()") {
        2
    } else {
        after.iter().take_while(|byte| b"<>=-+*/[]!&|^%~,".contains(byte)).count()
    };
    (symbol > 0).then_some("operator".len() + symbol)
}

/// Where the name begins behind a return type: after the last blank outside templates.
fn name_start(head: &str) -> usize {
    // An operator's own name may hold blanks and brackets: look before it.
    let is_operator =
        |at: &usize| !head.as_bytes().get(at + 8).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if let Some(at) = head.find("operator").filter(is_operator) {
        return name_start(head.get(..at).unwrap_or(""));
    }
    let mut depth = 0usize;
    for (at, byte) in head.bytes().enumerate().rev() {
        match byte {
            b'>' | b')' => depth += 1,
            b'<' | b'(' => depth = depth.saturating_sub(1),
            b' ' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn names_lose_what_only_a_compiler_needs() {
        let cases = [
            ("os::malloc(unsigned long, MEMFLAGS)", "os::malloc"),
            ("void* os::malloc(unsigned long) [clone .isra.0]", "os::malloc"),
            (
                "std::vector<std::pair<int, long>, X>::push_back(int&&)",
                "std::vector<std::pair<int, long>, X>::push_back",
            ),
            ("void (anonymous namespace)::Pool::grow(int) const", "(anonymous namespace)::Pool::grow"),
            ("operator new(unsigned long)", "operator new"),
            ("CHeapObj<(MEMFLAGS)5>::operator new(unsigned long)", "CHeapObj<(MEMFLAGS)5>::operator new"),
            ("X::operator()(int) const", "X::operator()"),
            ("std::ostream& operator<< <char>(std::ostream&, char const*)", "operator<< <char>"),
            ("decode.part.0", "decode"),
            ("malloc", "malloc"),
            ("<alloc::vec::Vec<T> as core::fmt::Debug>::fmt", "<alloc::vec::Vec<T> as core::fmt::Debug>::fmt"),
            ("read@@GLIBC_2.2.5", "read"),
            ("", ""),
            ("(", "("),
        ];
        for (long, expected) in cases {
            assert_eq!(short(long), expected, "{long}");
        }
    }
}
