//! How much memory there is to have: of the machine, or of the group of processes that the system confines this one to.
//!
//! It says nothing where the system does not: callers then go without.

use std::{fs, path::Path};

/// What the machine or the group has in all, in bytes.
pub(crate) fn total_bytes() -> Option<u64> {
    least(meminfo("MemTotal:"), limit(Path::new("/sys/fs/cgroup")))
}

/// What could be had without others giving up theirs, in bytes.
pub(crate) fn free_bytes() -> Option<u64> {
    let group = Path::new("/sys/fs/cgroup");
    let used = number(&group.join("memory.current"));
    let left = limit(group).map(|limit| limit.saturating_sub(used.unwrap_or(0)));
    least(meminfo("MemAvailable:"), left)
}

fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    [a, b].into_iter().flatten().min()
}

/// A group without a limit says `max`.
fn limit(group: &Path) -> Option<u64> {
    number(&group.join("memory.max"))
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn meminfo(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    kibibytes(&text, name).map(|kib| kib * 1024)
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_name() {
        let text = "MemTotal:       24689764 kB\nMemFree:  1 kB\nMemAvailable:   20000000 kB\n";
        assert_eq!(kibibytes(text, "MemAvailable:"), Some(20_000_000));
        assert_eq!(kibibytes(text, "MemTotal:"), Some(24_689_764));
        assert_eq!(kibibytes(text, "SwapTotal:"), None);
        assert_eq!(least(None, Some(3)), Some(3));
        assert_eq!(least(Some(2), Some(3)), Some(2));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn less_is_free_than_there_is() {
        assert!(free_bytes().unwrap() <= total_bytes().unwrap());
    }
}
