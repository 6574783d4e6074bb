//! How much memory this process may use: that of its cgroup, or that of the machine.

use std::path::{Path, PathBuf};

/// The assumption where neither can be read, in bytes.
const UNKNOWN: usize = 2 << 30;

/// Returns the memory of this process's cgroup or of the machine, whichever is less, in bytes.
pub fn available() -> usize {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_total(&text));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = limit_files(&groups)
        .into_iter()
        .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<usize>().ok())
        .min();
    machine.into_iter().chain(group).min().unwrap_or(UNKNOWN)
}

/// Reads `MemTotal` of `/proc/meminfo`.
fn mem_total(text: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// Returns the files that may hold a limit, by the text of `/proc/self/cgroup`: those of the group
/// and of all groups around it. In a container the group is often mounted as the root.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = Path::new(path.trim_start_matches('/'));
        files.extend(group.ancestors().map(|group| Path::new(root).join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_groups() {
        assert_eq!(mem_total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        let files = limit_files("0::/a/b\n");
        let expected = ["a/b/", "a/", ""].map(|group| PathBuf::from(format!("/sys/fs/cgroup/{group}memory.max")));
        assert_eq!(files, expected);
        let files = limit_files("5:cpu:/x\n4:memory:/\n");
        assert_eq!(files, [PathBuf::from("/sys/fs/cgroup/memory/memory.limit_in_bytes")]);
        assert!(available() > 0);
    }
}
