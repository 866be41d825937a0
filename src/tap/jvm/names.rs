//! Class names without the suffixes that make hidden and generated classes unique.
//!
//! A lambda, a method handle form or a reflection stub is spun again and again under a new number or address; with
//! these kept, a server that runs for weeks would fill every table with names of the same code, and no two samples
//! would share a stack. All of it stands at the end of a name, so that a folded name is a prefix of the true one.

/// Generated classes that are numbered throughout the life of a process.
const NUMBERED: [&[u8]; 6] = [
    b"$$Lambda$",
    b"$$Lambda",
    b"/GeneratedMethodAccessor",
    b"/GeneratedConstructorAccessor",
    b"/GeneratedSerializationConstructorAccessor",
    b"/$Proxy",
];

/// The part of an internal class name that is the same each time the class is generated.
pub(super) fn folded(class: &[u8]) -> &[u8] {
    let class = without_address(class);
    let digits = class.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (stem, number) = class.split_at(class.len() - digits);
    if number.is_empty() || !NUMBERED.iter().any(|end| stem.ends_with(end)) {
        return class;
    }
    stem.strip_suffix(b"$").unwrap_or(stem)
}

/// Cuts `+0x…` (hidden classes, JDK 15 and later), `/0x…` and `/123` (anonymous classes before).
fn without_address(class: &[u8]) -> &[u8] {
    let Some(mark) = class.iter().rposition(|byte| matches!(byte, b'+' | b'/')) else { return class };
    let (stem, suffix) = class.split_at(mark);
    let (mark, digits) = suffix.split_at(1);
    let is_address = digits.strip_prefix(b"0x").is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    let is_number = mark == b"/" && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if is_address || is_number { stem } else { class }
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn what_is_unique_is_cut_and_nothing_else() {
        let cases = [
            ("java/lang/String", "java/lang/String"),
            ("Main$$Lambda$14+0x0000000800c03000", "Main$$Lambda"),
            ("Main$$Lambda+0x00007f3c4c000a00", "Main$$Lambda"),
            ("Main$$Lambda$14/1234567", "Main$$Lambda"),
            ("Main$$Lambda$14/0x0000000840066840", "Main$$Lambda"),
            ("java/lang/invoke/LambdaForm$DMH/0x0000000800c00400", "java/lang/invoke/LambdaForm$DMH"),
            ("java/lang/invoke/LambdaForm$MH+0x1f", "java/lang/invoke/LambdaForm$MH"),
            ("jdk/internal/reflect/GeneratedMethodAccessor17", "jdk/internal/reflect/GeneratedMethodAccessor"),
            ("com/sun/proxy/$Proxy103", "com/sun/proxy/$Proxy"),
            ("org/example/Outer$1", "org/example/Outer$1"),
            ("org/example/Sha256", "org/example/Sha256"),
            ("a/b+0xyz", "a/b+0xyz"),
            ("", ""),
            ("7", "7"),
        ];
        for (class, expected) in cases {
            assert_eq!(folded(class.as_bytes()), expected.as_bytes(), "{class}");
        }
    }
}
