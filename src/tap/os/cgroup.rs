//! How much memory this process's container may use, and uses: control groups, version 2 and 1.
//!
//! Reads files: for whoever writes a dump, and for the keeper if an option asks for it.

use std::fs;

/// Memory in use and its limit, bytes; `None` where there is no limit, or it cannot be told.
pub(crate) fn memory() -> Option<(u64, u64)> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    places(&groups).iter().find_map(|[used, limit]| {
        // Version 2 says "max", version 1 a huge number, where there is no limit.
        let limit = number(limit).filter(|&limit| limit < 1 << 60)?;
        Some((number(used)?, limit))
    })
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim_ascii().parse().ok()
}

/// The pairs of files that may know, the most specific first. In a container the group's path, as the host
/// sees it, is not there, and the root of the mount is the container's own group.
fn places(groups: &str) -> Vec<[String; 2]> {
    let mut places = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_end_matches('/');
        if controllers.is_empty() {
            for base in [format!("/sys/fs/cgroup{path}"), "/sys/fs/cgroup".into()] {
                places.push([format!("{base}/memory.current"), format!("{base}/memory.max")]);
            }
        } else if controllers.split(',').any(|controller| controller == "memory") {
            for base in [format!("/sys/fs/cgroup/memory{path}"), "/sys/fs/cgroup/memory".into()] {
                places.push([format!("{base}/memory.usage_in_bytes"), format!("{base}/memory.limit_in_bytes")]);
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::places;

    #[test]
    fn both_versions_are_looked_for() {
        let found: Vec<String> =
            places("4:memory,cpu:/a/b\n0::/c/\nrubbish\n").into_iter().map(|[used, _]| used).collect();
        assert_eq!(
            found,
            [
                "/sys/fs/cgroup/memory/a/b/memory.usage_in_bytes",
                "/sys/fs/cgroup/memory/memory.usage_in_bytes",
                "/sys/fs/cgroup/c/memory.current",
                "/sys/fs/cgroup/memory.current",
            ]
        );
    }
}
