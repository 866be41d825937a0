//! Patterns: words with `*` for any text. `prof_exe` and `prof_arg` may have several, separated by `|`.

/// Whether a text is one of the words.
pub(crate) fn matches(patterns: &[u8], text: &[u8]) -> bool {
    patterns.split(|&byte| byte == b'|').any(|pattern| fits(pattern, text))
}

/// Whether a text is this word. By trying again from the last `*`, one byte further on: no recursion, no allocation.
pub(crate) fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if text.get(t) == Some(byte) => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn words_stars_and_choices() {
        let is = |pattern: &str, text: &str| matches(pattern.as_bytes(), text.as_bytes());
        assert!(is("java", "java") && !is("java", "javac") && !is("java", "jav") && is("*", "") && is("", ""));
        assert!(is("*bootstrap.Elasticsearch", "org.elasticsearch.bootstrap.Elasticsearch"));
        assert!(!is("*bootstrap.Elasticsearch", "org.elasticsearch.bootstrap.ElasticsearchX"));
        assert!(is("a*b*c", "aXbYbZc") && !is("a*b*c", "aXbYbZ") && is("python3*|java", "python3.11"));
        assert!(is("x|java", "java") && !is("x|java", "y"));
    }
}
