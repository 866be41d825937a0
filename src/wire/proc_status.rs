//! Fields of `/proc/<pid>/status` (proc_pid_status(5)).

/// The number that a field begins with; `key` with its colon: `Threads:`.
pub(crate) fn number(status: &str, key: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// The bytes of a field that counts them in units of 1024 (`VmRSS:`).
pub(crate) fn bytes(status: &str, key: &str) -> Option<u64> {
    number(status, key)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_keys() {
        let status = "Name:\tx\nVmRSS:\t      12 kB\nThreads:\t3\nRssAnon:\t18014398509481984 kB\n";
        assert_eq!((number(status, "Threads:"), bytes(status, "VmRSS:")), (Some(3), Some(12 << 10)));
        assert_eq!((number(status, "Name:"), number(status, "VmSwap:"), bytes(status, "RssAnon:")), (None, None, None));
    }
}
