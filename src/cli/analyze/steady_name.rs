//! The part of a function's name that is the same in every life of a program.
//!
//! HotSpot numbers what it makes itself, anew in each process: the classes of lambdas and other hidden classes
//! (`Shop$$Lambda$14/0x00000008000c4.run`, `Shop$$Lambda/0x00007f10.run`, `LambdaForm$MH/0x…`; with a dot from JDK 21
//! on), proxies (`$Proxy12`), and the accessors of reflection (`GeneratedMethodAccessor7`).
//! Two lives that are joined by such a name must not be told apart by the number.

use std::borrow::Cow;

/// Beginnings of names behind which a number stands.
const NUMBERED: [&str; 4] = ["$$Lambda$", "$Proxy", "GeneratedMethodAccessor", "GeneratedConstructorAccessor"];

/// A name without the numbers that each life draws anew.
pub(crate) fn steady(name: &str) -> Cow<'_, str> {
    let has_number = NUMBERED.iter().any(|word| name.contains(word));
    if !has_number && !name.contains("/0x") && !name.contains(".0x") {
        return Cow::Borrowed(name);
    }
    let mut text = name.to_owned();
    for word in NUMBERED {
        let Some(at) = text.find(word).map(|at| at + word.len()) else { continue };
        let digits = text.get(at..).map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        // `$$Lambda$` goes with its number: later releases have neither.
        let from = if word.ends_with('$') && digits > 0 { at - 1 } else { at };
        text.replace_range(from..at + digits, "");
    }
    for mark in ["/0x", ".0x"] {
        while let Some(at) = text.find(mark) {
            let digits = text.get(at + 3..).map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_hexdigit).count());
            text.replace_range(at..at + 3 + digits, "");
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_one_life_go_and_all_else_stays() {
        for (name, expected) in [
            ("com.shop.Catalog.unpack", "com.shop.Catalog.unpack"),
            ("a.B$$Lambda$14/0x00000008000c4.run", "a.B$$Lambda.run"),
            ("a.B$$Lambda$14.run", "a.B$$Lambda.run"),
            ("a.B$$Lambda/0x00ff.run", "a.B$$Lambda.run"),
            ("a.B$$Lambda.0x7f.run", "a.B$$Lambda.run"),
            ("java.lang.invoke.LambdaForm$MH/0x00007f.invoke", "java.lang.invoke.LambdaForm$MH.invoke"),
            ("com.sun.proxy.$Proxy12.get", "com.sun.proxy.$Proxy.get"),
            (
                "jdk.internal.reflect.GeneratedMethodAccessor7.invoke",
                "jdk.internal.reflect.GeneratedMethodAccessor.invoke",
            ),
            ("libz.so.1+0x1f30", "libz.so.1+0x1f30"),
            ("a.B$1.run", "a.B$1.run"),
            ("std::vector<int, 0x10>::push", "std::vector<int, 0x10>::push"),
            ("/0x", ""),
            ("$$Lambda$", "$$Lambda$"),
        ] {
            assert_eq!(steady(name), expected);
        }
    }
}
